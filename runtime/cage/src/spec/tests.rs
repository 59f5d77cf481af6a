//! Tests of the specification: what is refused, and that the refusal names the field.

use super::{CageSpec, Limits, Root};
use crate::Error;

const GOOD: &str = r#"{"id":"a-1","state_dir":"/s","root":"empty","argv":["/bin/x"],"env":["A=b"],
    "limits":{"memory_bytes":8388608}}"#;

fn field(change: impl FnOnce(&mut CageSpec)) -> &'static str {
    let mut spec = CageSpec::from_json(GOOD.as_bytes()).expect("parses");
    change(&mut spec);
    match spec.validate(true) {
        Ok(()) => "",
        Err(Error::BadSpec { field, .. }) => field,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_short_specification_gets_defaults_and_survives_a_round_trip() {
    let spec = CageSpec::from_json(GOOD.as_bytes()).expect("parses");
    assert_eq!(spec.limits, Limits { memory_bytes: 8 << 20, ..Limits::default() });
    assert_eq!((spec.root.clone(), spec.cwd.as_str(), spec.stdin.is_none()), (Root::Empty, "/", true));
    assert_eq!(field(|_| ()), "");
    let text = serde_json::to_vec(&spec).expect("json");
    assert_eq!(CageSpec::from_json(&text).expect("parses"), spec);
}

#[test]
fn unknown_and_missing_fields_are_named() {
    for (text, word) in [
        (GOOD.replace("\"env\"", "\"environment\""), "environment"),
        (GOOD.replace("memory_bytes", "memory"), "memory"),
        (GOOD.replace("\"state_dir\":\"/s\",", ""), "state_dir"),
        (GOOD.replace("\"empty\"", r#"{"dir":{"path":"/","writable":true}}"#), "writable"),
        (GOOD.replace("8388608", "-1"), "-1"),
        ("[".repeat(100_000), "invalid type"),
    ] {
        let error = CageSpec::from_json(text.as_bytes()).expect_err("refused").to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn every_bad_value_is_refused_by_the_name_of_its_field() {
    assert_eq!(field(|s| s.id = "../x".into()), "id");
    assert_eq!(field(|s| s.id = ".hidden".into()), "id");
    assert_eq!(field(|s| s.id = "x".repeat(65)), "id");
    assert_eq!(field(|s| s.state_dir = "relative".into()), "state_dir");
    assert_eq!(field(|s| s.root = Root::Dir { path: "rel".into() }), "root.dir.path");
    assert_eq!(field(|s| s.root = Root::Dir { path: "/etc/passwd".into() }), "root.dir.path");
    assert_eq!(field(|s| s.argv.clear()), "argv");
    assert_eq!(field(|s| s.argv = vec!["x".repeat(200_000)]), "argv");
    assert_eq!(field(|s| s.argv.push("a\0b".into())), "argv, env or cwd");
    assert_eq!(field(|s| s.env.push("=b".into())), "env");
    assert_eq!(field(|s| s.env.push("novalue".into())), "env");
    assert_eq!(field(|s| s.cwd = "tmp".into()), "cwd");
    assert_eq!(field(|s| s.hostname = "a b".into()), "hostname");
    assert_eq!(field(|s| s.stdin = Some("x".into())), "stdin");
    assert_eq!(field(|s| s.limits.memory_bytes = 1), "limits.memory_bytes");
    assert_eq!(field(|s| s.limits.cpu_milli = 0), "limits.cpu_milli");
    assert_eq!(field(|s| s.limits.pids = 0), "limits.pids");
    assert_eq!(field(|s| s.limits.tmpfs_bytes = 0), "limits.tmpfs_bytes");
    assert_eq!(field(|s| s.limits.tmpfs_inodes = 0), "limits.tmpfs_inodes");
    assert_eq!(field(|s| s.limits.nofile = 1), "limits.nofile");
    assert_eq!(field(|s| s.limits.output_bytes = 0), "limits.output_bytes");
    assert_eq!(field(|s| s.limits.wall_ms = u64::MAX), "limits.wall_ms");
}
