//! Flags that others promise and that nothing here enforces: known, so that they can be refused by name.
//!
//! Owns the table of such flags of `deploy` and `start`. They are hidden from the help. A flag leaves this table when
//! something enforces it, never before.

use super::failure::{Done, Failure};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Flag, and what there is in its place.
const DEPLOY: &[(&str, &str)] = &[
    ("gpu", "no node offers GPUs"),
    ("gpu-enabled", "no node offers GPUs"),
    ("auto-scale", "replicas change by `metanode scale` alone"),
    ("auto-scaling", "replicas change by `metanode scale` alone"),
    ("min-replicas", "replicas change by `metanode scale` alone"),
    ("max-replicas", "replicas change by `metanode scale` alone"),
    ("health-check", "state it as --health-port PORT and --health-path PATH"),
    ("load-balancer", "a caged service has a loopback-only network"),
    ("ssl-enabled", "a caged service has a loopback-only network"),
    ("waf-enabled", "a caged service has a loopback-only network"),
    ("compliance", "no compliance framework is evaluated"),
    ("cross-zone", "nodes have no zones"),
    ("namespace", "names are unique on the chain; there are no namespaces"),
    ("file", "manifests are not read; state the workload as options"),
    ("storage-type", "replicas have a size-limited writable space, see --storage"),
    ("encryption-at-rest", "images and logs are stored in plain"),
    ("zero-trust", "it names no mechanism"),
    ("quantum-crypto", "signatures are Ed25519 and BLS12-381; the hybrid scheme is reserved"),
    ("zk-privacy", "what is on the ledger is public"),
    ("ml-acceleration", "it names no mechanism"),
    ("inference-optimization", "it names no mechanism"),
    ("syscall-filtering", "every cage filters syscalls; it cannot be switched"),
    ("witness-recording", "no witness is recorded yet"),
    ("rng-seed", "the seed follows from the ledger and is public"),
];

/// Adds the flags to the tree.
pub fn declare(command: Command) -> Command {
    let flags = DEPLOY.iter().map(|(flag, _)| {
        let arg = Arg::new(*flag).long(*flag).hide(true);
        arg.num_args(0..=1).action(ArgAction::Append).value_name("VALUE").allow_hyphen_values(false)
    });
    command.mut_subcommand("deploy", |deploy| deploy.args(flags))
}

/// Refuses the command line if it has one of them.
pub fn check(matches: &ArgMatches) -> Done {
    let Some(("deploy", deploy)) = matches.subcommand() else { return Ok(()) };
    for (flag, instead) in DEPLOY {
        if deploy.value_source(flag).is_some_and(|source| source == clap::parser::ValueSource::CommandLine) {
            let failure =
                Failure::usage(format!("honour --{flag}"), format!("it is not enforced here: {instead}"));
            return Err(failure.next(format!("leave --{flag} out; nothing was changed")));
        }
    }
    Ok(())
}
