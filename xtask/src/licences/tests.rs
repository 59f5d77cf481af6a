//! Licence expressions and made-up package lists: what is not allowed must be seen.

use super::*;

const TEXT: &str = r#"
[licenses]
allow = ["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"]
[bans]
deny = [{ crate = "openssl-sys" }]
[sources]
allow-registry = ["https://example.org/index"]
"#;

fn allowed(expression: &str) -> bool {
    is_allowed(expression, &read_lists(TEXT).unwrap().allowed).unwrap()
}

#[test]
fn an_expression_is_satisfied_by_one_choice_and_by_all_parts() {
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "Apache-2.0 WITH LLVM-exception",
        "(GPL-3.0 OR ISC) AND MIT",
    ] {
        assert!(allowed(fine), "{fine}");
    }
    for wrong in
        ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0 WITH other", "MIT AND (GPL-3.0 OR MPL-2.0)", "mit"]
    {
        assert!(!allowed(wrong), "{wrong}");
    }
    assert!(allowed("GPL-3.0 AND GPL-2.0 OR MIT"), "AND binds closer than OR");
    assert!(!allowed("GPL-3.0 AND (GPL-2.0 OR MIT)"));
}

#[test]
fn an_expression_that_can_not_be_read_is_an_error() {
    for wrong in ["", "MIT OR", "(MIT", "MIT)", "MIT ISC", "AND MIT", "MIT WITH"] {
        assert!(is_allowed(wrong, &["MIT".to_owned()]).is_err(), "{wrong:?}");
    }
}

#[test]
fn banned_and_unlicensed_packages_are_reported() {
    let output = "metanode-node v0.1.0 (node)|MIT\nopenssl-sys v0.9.0|MIT (*)\nodd v1.0.0|\nodd v1.0.0|\n\
                  bad v2.0.0|GPL-3.0\n";
    let found = judge(&packages(output).unwrap(), &read_lists(TEXT).unwrap());
    let texts: Vec<_> = found.iter().map(|f| f.text.split([' ', ':']).next().unwrap_or_default()).collect();
    assert_eq!(texts, ["bad", "odd", "openssl-sys"]);
}

#[test]
fn missing_lists_and_empty_trees_are_errors() {
    assert!(read_lists("[licenses]\nallow = []\n").is_err());
    assert!(packages("").is_err());
    assert!(packages("no separator\n").is_err());
}

#[test]
fn a_package_from_another_place_is_reported() {
    let package = |name: &str, source: &str| format!("[[package]]\nname = {name:?}\nsource = {source:?}\n");
    let own = "[[package]]\nname = \"own\"\n";
    let good = package("good", "registry+https://example.org/index");
    let bad = package("bad", "git+https://example.org/index");
    let lists = read_lists(TEXT).unwrap();
    assert!(judge_sources(&format!("{own}{good}"), &lists).unwrap().is_empty());
    let found = judge_sources(&format!("{own}{good}{bad}"), &lists).unwrap();
    assert_eq!(
        found.iter().map(|f| f.text.as_str()).collect::<Vec<_>>(),
        ["bad comes from git+https://example.org/index"]
    );
    assert!(judge_sources("", &lists).is_err(), "an empty lock file is no proof of anything");
}
