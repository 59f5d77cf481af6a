//! Every fixed form of the command line parses, and what is refused is refused by name.

use super::*;

fn parse(words: &[&str]) -> Result<Cli, String> {
    let argv = std::iter::once("metanode").chain(words.iter().copied());
    let matches = command().try_get_matches_from(argv).map_err(|e| e.to_string())?;
    refused::check(&matches).map_err(|e| e.text())?;
    Cli::from_arg_matches(&matches).map_err(|e| e.to_string())
}

/// Forms that scripts rely on. One a line; words are separated by single spaces.
const FIXED: &str = "\
testnet up
testnet up --validators 4 --dir d -o json
testnet status --dir d
testnet down
testnet kill 1
testnet start 1 --dir d
testnet logs 0
start
start --home h --port 8080 --dev
init
init --home h --genesis g.json
keys new
keys new alice
keys new --type validator --out v.json
keys list
keys show alice
keys import k.json --name bob
keys export alice --out k.json
status --rpc http://127.0.0.1:1
genesis new --chain-name c --out g.json
genesis add-validator g.json --name v --power 3 --from-home h
genesis add-account k.json 5.5 g.json
genesis validate g.json
genesis hash
image import oci:dir
image import m.wasm
image pack bin --entrypoint /bin/x --entrypoint -v
image list -o json
deploy web --image oci:dir
deploy job --image wasm:m.wat --job --timeout 60s --wait -- a -b --c
deploy web --image oci:d --replicas 2 --env A=1 --env B=2 --public-env --cpu 500m --memory 256Mi --storage 1Gi --pids 9
deploy web --image oci:d --cluster c --security-level military-grade --cage-level contained --wait --wait-timeout 5s
deploy web --image oci:d --level pinned --health-port 80 --health-path /healthz --deposit 1.5
deploy web --image oci:d --cpu-limit 1 --memory-limit 1Gi
scale web 3
stop web
challenge sum
challenge sum --replica 1 --bond 2.5 --wait --wait-timeout 9s
deploy sum --image wasm:m.wasm --job --level pinned --verify 3
get deployments
get nodes -o json
get clusters
get services
describe deployment web
describe node node-0
logs web
logs web --replica 1 --stderr --tail 10 -f
explain web --height 7
receipts web
ledger stats
ledger query rx_0123
mining status
proofs export rx_0123 --out f
proofs export rx_0123 --out f --full
proofs verify f --genesis g.json
proofs verify rx_0123
cluster create eu --security-level high --placement bin-pack
transfer 0x0000000000000000000000000000000000000000000000000000000000000001 5 --wait
account
cage run --rootfs d --memory 64Mi --cpu 1 --pids 5 --timeout 2s --env A=1 --report r.json -- /bin/true x
cage run --image oci:d -- x
cage run --wasm m.wasm
security audit
completions bash
completions zsh
completions fish
status --output json
status --json";

#[test]
fn every_fixed_form_parses() {
    for form in FIXED.lines() {
        let words: Vec<&str> = form.split(' ').collect();
        if let Err(error) = parse(&words) {
            panic!("`metanode {form}`\n{error}");
        }
    }
}

#[test]
fn the_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn flags_that_nothing_enforces_are_refused_by_name() {
    let flags =
        ["gpu", "auto-scale", "load-balancer", "ssl-enabled", "compliance", "waf-enabled", "health-check"];
    for flag in flags {
        for form in [format!("--{flag}"), format!("--{flag}=x")] {
            let error = parse(&["deploy", "web", "--image", "oci:d", &form]).expect_err(flag);
            assert!(error.contains(&format!("honour --{flag}")) && error.contains("next: "), "{error}");
        }
    }
}

#[test]
fn wrong_usage_is_refused() {
    for (form, says) in [
        ("", "Usage"),
        ("deplyo web", "deploy"),
        ("deploy web", "--image"),
        ("deploy Web --image oci:d", "a-z"),
        ("deploy web --image nginx:latest", "oci:PATH"),
        ("deploy web --image oci:d --security-level top", "standard, enterprise, high or maximum"),
        ("deploy web --image oci:d --cpu 1x", "500m"),
        ("deploy web --image oci:d --replicas 0", "1..=1000"),
        ("deploy web --image oci:d --timeout 5s", "--job"),
        ("deploy web --image oci:d --verify 3", "--job"),
        ("deploy web --image oci:d --job --health-port 80", "cannot be used"),
        ("deploy web --image oci:d --frobnicate", "--frobnicate"),
        ("get pods", "deployments"),
        ("cage run -- x", "--rootfs"),
        ("cage run --rootfs d --wasm m -- x", "cannot be used"),
        ("status -o yaml", "json"),
        ("start --port 99999", "99999"),
        ("testnet up --validators 0", "1..=64"),
        ("transfer 0x12 5", "address"),
    ] {
        let words: Vec<&str> = form.split(' ').filter(|w| !w.is_empty()).collect();
        let error = parse(&words).map(drop).expect_err(form);
        assert!(error.contains(says), "`metanode {form}` says\n{error}");
    }
}

#[test]
fn arguments_of_a_workload_are_not_ours() {
    let cli = parse(&["deploy", "web", "--image", "oci:d", "--", "--json", "-o", "x"]).expect("parses");
    let Command::Deploy(args) = cli.command else { panic!("deploy") };
    assert_eq!(args.args, ["--json", "-o", "x"]);
    assert_eq!(Session::new(cli.global).form, Form::Text);
    let argv = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
    assert_eq!(wanted_form(&argv("metanode deploy web -- --json")), Form::Text);
    for json in [
        "metanode status -o json",
        "metanode --json status",
        "metanode status --output=json",
        "metanode status -ojson",
    ] {
        assert_eq!(wanted_form(&argv(json)), Form::Json, "{json}");
    }
}

#[test]
fn every_command_and_option_has_a_help_text() {
    fn look(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
            assert!(arg.get_help().is_some(), "{path}: {} has no help", arg.get_id());
        }
        for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
            assert!(sub.get_about().is_some(), "{path} {} says nothing", sub.get_name());
            look(sub, &path);
        }
    }
    let mut tree = command();
    tree.build();
    look(&tree, "");
}
