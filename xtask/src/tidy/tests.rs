//! Every rule of tidy on made-up trees: one input that breaks it and one, as close as possible, that does
//! not.

use super::*;

/// A tree of the given files. Paths of machines are spelled `@work@` in fixtures, so that this file obeys the rule.
fn tree(files: &[(&str, &str)]) -> Tree {
    let spelled = |text: &str| text.replace('@', "/").into_bytes();
    Tree::from_files(files.iter().map(|(path, text)| ((*path).to_owned(), spelled(text))).collect())
}

fn found(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    rule(&tree(files)).iter().map(ToString::to_string).collect()
}

/// Rules and lines that are broken in one Rust file with a right opening.
fn broken(path: &str, code: &str) -> Vec<(&'static str, usize)> {
    let text = format!("//! Owns a test.\n{code}");
    let tree = tree(&[(path, &text)]);
    lines::check(&tree).into_iter().chain(names::check(&tree)).map(|f| (f.rule, f.line)).collect()
}

#[test]
fn a_long_line_is_found_and_a_full_one_is_not() {
    let line = |width: usize| format!("// {}\n", "x".repeat(width - 3));
    assert_eq!(broken("a/src/x.rs", &line(121)), [("width", 2)]);
    assert_eq!(broken("a/src/x.rs", &line(120)), []);
}

#[test]
fn machine_paths_are_found_in_every_kind_of_file() {
    for (path, text) in
        [("a.md", "see @work@x"), ("a.toml", "x = \"@home@me\"\n"), ("a.sh", "cd @root@.cargo")]
    {
        assert!(found(lines::check, &[(path, text)]).iter().any(|f| f.contains("[paths]")), "{path}: {text}");
    }
    assert_eq!(broken("a/src/x.rs", "// @work@x\n"), [("paths", 2)]);
    for fine in
        ["// $HOME@work@x\n", "// testnet@work@x\n", "// https:@@example.org@home@x\n", "// @workload\n"]
    {
        assert_eq!(broken("a/src/x.rs", fine), [], "{fine}");
    }
    assert_eq!(broken("a/src/x.rs", "// tidy: allow(paths): inside the guest\nlet p = \"@root@x\";\n"), []);
    assert_eq!(broken("a/src/x.rs", "// tidy: allow(paths):\nlet p = \"@root@x\";\n"), [("paths", 3)]);
}

#[test]
fn a_source_without_an_opening_paragraph_is_found() {
    assert_eq!(found(lines::check, &[("a/src/x.rs", "// plain\n")]).len(), 1);
    assert_eq!(found(lines::check, &[("a/src/x.rs", "")]).len(), 1);
    assert!(found(lines::check, &[("a/src/x.rs", "//! Owns x.\n")]).is_empty());
}

#[test]
fn a_crate_root_must_forbid_unsafe_code() {
    assert_eq!(broken("a/src/lib.rs", "fn f() {}\n"), [("unsafe", 1)]);
    assert_eq!(broken("a/src/main.rs", "// #![forbid(unsafe_code)]\n"), [("unsafe", 1)]);
    assert_eq!(broken("a/src/bin/tool.rs", ""), [("unsafe", 1)]);
    assert_eq!(broken("a/src/bin/tool/part.rs", ""), []);
    assert_eq!(broken("a/src/lib.rs", "#![forbid(unsafe_code)]\n"), []);
    assert_eq!(broken("runtime/cage/src/lib.rs", ""), []);
}

#[test]
fn unfinished_code_is_found_even_in_tests() {
    assert_eq!(broken("a/src/x.rs", "fn f() { todo!() }\n"), [("unfinished", 2)]);
    assert_eq!(broken("a/tests/x.rs", "fn f() { unimplemented!(\"x\") }\n"), [("unfinished", 2)]);
    assert_eq!(broken("a/src/x.rs", "fn todo() { let s = \"todo!()\"; }\n"), []);
}

#[test]
fn unwrap_is_found_outside_tests_only() {
    let code = "fn f() { x.unwrap(); }\n";
    assert_eq!(broken("a/src/x.rs", code), [("unwrap", 2)]);
    assert_eq!(broken("a/src/x.rs", "fn f() {\n    x()\n        .unwrap ();\n}\n"), [("unwrap", 4)]);
    assert_eq!(broken("a/tests/x.rs", code), []);
    assert_eq!(broken("a/src/x/tests.rs", code), []);
    assert_eq!(broken("a/src/x.rs", "#[cfg(test)]\nmod t {\n    fn f() { x.unwrap(); }\n}\n"), []);
    assert_eq!(
        broken("a/src/x.rs", "#[cfg(not(test))]\nmod t {\n    fn f() { x.unwrap(); }\n}\n"),
        [("unwrap", 4)]
    );
    assert_eq!(broken("a/src/x.rs", "// x.unwrap()\nfn f() { x.unwrap_or(1); unwrap(); }\n"), []);
}

#[test]
fn indeterminate_types_are_found_in_hashed_crates_only() {
    let names = ["f64", "f32", "HashMap", "HashSet", "SystemTime", "Instant"];
    for name in names {
        let code = format!("type T = {name};\n");
        for folder in ["state", "consensus", "genesis", "types"] {
            assert_eq!(broken(&format!("{folder}/src/x.rs"), &code), [("determinism", 2)], "{folder} {name}");
        }
        assert_eq!(broken("p2p/src/x.rs", &code), []);
        assert_eq!(broken("state/tests/x.rs", &code), []);
    }
    assert_eq!(broken("state/src/x.rs", "// HashMap and f64\ntype InstantReceipt = u8;\n"), []);
}

#[test]
fn float_literals_are_told_from_fields_ranges_and_methods() {
    for float in ["1.5", "1.", "2e3", "1_f64", "3f32"] {
        assert_eq!(broken("types/src/x.rs", &format!("let a = {float};\n")), [("determinism", 2)], "{float}");
    }
    let marked = "// tidy: allow(determinism): an option of the store, never hashed\nset_bits(10.0);\n";
    assert_eq!(broken("state/src/x.rs", marked), []);
    for integer in ["x.0.1", "1..2", "1.max(2)", "0x1e3", "0x1f32", "1_000", "a[0].1"] {
        assert_eq!(broken("types/src/x.rs", &format!("let a = {integer};\n")), [], "{integer}");
    }
}

#[test]
fn scripts_open_with_a_comment_and_stop_on_errors() {
    let good = "#!/usr/bin/env bash\n# Owns nothing.\nset -euo pipefail\n";
    assert!(found(lines::check, &[("a/run", good)]).is_empty());
    assert_eq!(found(lines::check, &[("a/run", "#!/usr/bin/env bash\n# Owns nothing.\nset -eu\n")]).len(), 1);
    assert_eq!(found(lines::check, &[("a.sh", "set -euo pipefail\n")]).len(), 1);
}

#[test]
fn banned_words_are_found_in_what_is_named_here() {
    for code in [
        "struct PeerManager;\n",
        "fn run_handler() {}\n",
        "mod helpers;\n",
        "fn f(engine: u8) {}\n",
        "struct S { util: u8 }\n",
        "enum HTTPHandler {}\n",
    ] {
        assert_eq!(broken("a/src/x.rs", code), [("names", 2)], "{code}");
    }
}

#[test]
fn names_given_elsewhere_and_longer_words_pass() {
    for code in [
        "use wasmtime::Engine;\nfn f() { let e = Engine::default(); }\n",
        "fn f() { let e = wasmtime::Engine::default(); e.engine(); }\n",
        "#[command(next_help_heading = \"x\", helper)]\nstruct S;\n",
        "fn handle() {}\nstruct Utility;\nfn managed() {}\nstruct Engineered;\n",
        "// the manager of the engine\nconst S: &str = \"handler\";\n",
        "// tidy: allow(names): the trait of libp2p calls it so\nfn handler() {}\n",
    ] {
        assert_eq!(broken("a/src/x.rs", code), [], "{code}");
    }
}

#[test]
fn banned_words_are_found_in_file_names() {
    assert_eq!(broken("a/src/peer_manager.rs", ""), [("names", 0)]);
    assert_eq!(found(names::check, &[("utils/a.txt", "")]).len(), 1);
    assert!(found(names::check, &[("docs/manage.md", "")]).is_empty());
}

#[test]
fn a_tier_stands_at_the_end_of_a_test_name() {
    assert_eq!(broken("a/tests/x.rs", "#[test]\nfn a_slow_start() {}\n"), [("names", 3)]);
    assert_eq!(broken("a/tests/x.rs", "#[test]\nfn start_slow() {}\nfn a_slow_start() {}\n"), []);
}

#[test]
fn a_promise_names_a_test_of_the_tree_or_says_untested() {
    let check = |row: &str| {
        let test = "//! Owns a test.\n#[test]\nfn holds() {}\nfn not_a_test() {}\n";
        let dependencies = ("docs/dependencies.md", "");
        let promises = format!("| # | promise | test |\n|---|---|---|\n{row}\n");
        let tree = tree(&[("a/tests/x.rs", test), ("docs/promises.md", &promises), dependencies]);
        documents::check(&tree).unwrap().len()
    };
    assert_eq!(check("| 1 | one | `a::x::holds` |"), 0);
    assert_eq!(check("| 1 | one | *untested* |"), 0);
    assert_eq!(check("| 1 | one | `holds`; *untested* on a full disk |"), 0);
    assert_eq!(check("| 1 | one | `not_a_test` |"), 1);
    assert_eq!(check("| 1 | one | `holds`, `gone` |"), 1);
    assert_eq!(check("| 1 | one | soon |"), 1);
    assert_eq!(check("| 1 | one |"), 1);
    assert_eq!(check(""), 1, "a table without rows promises nothing and is refused");
}

#[test]
fn a_dependency_and_its_argument_go_together() {
    let check = |line: &str| {
        let manifest =
            "[workspace]\n[workspace.dependencies]\nmine = { path = \"mine\" }\nhex = { version = \"1\" }\n";
        let promises = ("docs/promises.md", "| 1 | one | *untested* |");
        documents::check(&tree(&[("Cargo.toml", manifest), promises, ("docs/dependencies.md", line)]))
            .unwrap()
            .len()
    };
    assert_eq!(check("- `hex`: prints bytes without our own table.\n"), 0);
    assert_eq!(check(""), 1);
    assert_eq!(check("- `hex`: useful.\n"), 1);
    assert_eq!(
        check("- `hex`: prints bytes without our own table.\n- `gone`: was once used for something.\n"),
        1
    );
}

#[test]
fn a_relative_link_leads_into_the_tree() {
    let check = |link: &str| {
        let text = format!("[x]({link})\n```\n[y](nowhere.md)\n```\n");
        let promises = ("docs/promises.md", "| 1 | one | *untested* |");
        documents::check(&tree(&[("docs/a.md", &text), promises, ("README.md", "")])).unwrap().len()
    };
    for fine in ["promises.md", "../README.md#part", "../docs", "#part", "https://example.org/x", ".."] {
        assert_eq!(check(fine), 0, "{fine}");
    }
    for wrong in ["gone.md", "../gone", "../../README.md"] {
        assert_eq!(check(wrong), 1, "{wrong}");
    }
}

#[test]
fn manifests_take_versions_and_lints_from_the_workspace() {
    let check = |root: &str, member: &str| {
        let root = format!("[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\n{root}\n");
        manifests::check(&tree(&[("Cargo.toml", &root), ("a/Cargo.toml", member)])).unwrap().len()
    };
    let lints = "[lints]\nworkspace = true\n";
    let off = "hex = { version = \"1\", default-features = false }";
    let good = format!("[dependencies]\nhex.workspace = true\n{lints}");
    assert_eq!(check(off, &good), 0);
    assert_eq!(check("hex = \"1\"", &good), 1, "default features are on");
    assert_eq!(check(off, lints), 1, "nobody uses hex");
    assert_eq!(check(off, "[dependencies]\nhex.workspace = true\n"), 1, "no lints");
    assert_eq!(check(off, &format!("[dev-dependencies]\nhex = \"1\"\n{lints}")), 1);
    assert_eq!(check(off, &format!("[target.'cfg(unix)'.dependencies]\nhex = \"1\"\n{lints}")), 1);
}

mod sizes_and_ratchet {
    use super::super::ratchet::Ratchet;
    use super::super::sizes::measure;
    use super::*;

    fn file(lines: usize) -> String {
        format!("//! Owns a test.\n{}", "// x\n".repeat(lines - 1))
    }

    fn function(lines: usize) -> String {
        format!("//! Owns a test.\nfn long() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    fn judged(recorded: &str, text: &str) -> Vec<String> {
        let tree = tree(&[("a/src/x.rs", text)]);
        Ratchet::parse(recorded).unwrap().judge(&measure(&tree)).iter().map(|f| f.text.clone()).collect()
    }

    #[test]
    fn sizes_at_the_limit_pass_and_one_more_line_does_not() {
        assert!(judged("", &file(500)).is_empty());
        assert_eq!(judged("", &file(501)).len(), 1);
        assert!(judged("", &function(70)).is_empty());
        assert_eq!(judged("", &function(71)).len(), 1);
    }

    #[test]
    fn a_recorded_size_may_not_grow_and_its_shrinking_must_be_recorded() {
        let recorded = "[files]\n\"a/src/x.rs\" = 600\n";
        assert!(judged(recorded, &file(600)).is_empty());
        assert!(judged(recorded, &file(601))[0].contains("may only shrink from 600"));
        assert!(judged(recorded, &file(599))[0].contains("--update"));
        assert!(judged(recorded, &file(500))[0].contains("no longer above the limit"));
        let functions = "[functions]\n\"a/src/x.rs::long\" = 80\n";
        assert!(judged(functions, &function(80)).is_empty());
        assert_eq!(judged(functions, &function(81)).len(), 1);
    }

    #[test]
    fn no_record_allows_a_file_above_the_hard_limit() {
        assert_eq!(judged("[files]\n\"a/src/x.rs\" = 801\n", &file(801)).len(), 1);
    }

    #[test]
    fn update_lowers_and_removes_but_never_raises_or_adds() {
        let lower = |recorded: &str, text: &str| {
            let measured = measure(&tree(&[("a/src/x.rs", text)]));
            Ratchet::parse(recorded).unwrap().lowered(&measured)
        };
        let at = |lines: usize| Ratchet::parse(&format!("[files]\n\"a/src/x.rs\" = {lines}\n")).unwrap();
        assert_eq!(lower("[files]\n\"a/src/x.rs\" = 600\n", &file(550)), at(550));
        assert_eq!(lower("[files]\n\"a/src/x.rs\" = 600\n", &file(700)), at(600));
        assert_eq!(lower("[files]\n\"a/src/x.rs\" = 600\n", &file(400)).len(), 0);
        assert_eq!(lower("", &file(700)).len(), 0);
    }

    #[test]
    fn the_record_survives_writing_and_reading() {
        let text = "[files]\n\"a/src/x.rs\" = 600\n[functions]\n\"a/src/x.rs::long\" = 80\n";
        let ratchet = Ratchet::parse(text).unwrap();
        assert_eq!(ratchet.len(), 2);
        assert_eq!(Ratchet::parse(&ratchet.render()).unwrap(), ratchet);
        for wrong in
            ["[other]\nx = 1\n", "files = 3\n", "[files]\nx = -1\n", "[files]\nx = \"1\"\n", "[files"]
        {
            assert!(Ratchet::parse(wrong).is_err(), "{wrong}");
        }
    }
}
