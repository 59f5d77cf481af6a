//! Tests of the table as data. What the filter does in a real cage is tested by the probes in `tests/`.

use std::collections::BTreeSet;

use super::{Rule, compile, table};

#[test]
fn numbers_and_names_are_unique_and_every_row_has_a_reason() {
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    for row in table() {
        assert!(numbers.insert(row.number), "two rows for number {} ({})", row.number, row.name);
        assert!(names.insert(row.name), "two rows named {}", row.name);
        assert!(row.why.len() >= 6, "{} has no reason", row.name);
    }
    assert!(numbers.len() > 350, "only {} rows", numbers.len());
}

#[test]
fn every_call_of_the_installed_headers_has_a_row() {
    let path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
    let Ok(header) = std::fs::read_to_string(path) else {
        eprintln!("skipped: {path} is not installed");
        return;
    };
    let mut seen = 0;
    for line in header.lines() {
        let mut words = line.split_whitespace();
        let (Some("#define"), Some(name), Some(number)) = (words.next(), words.next(), words.next()) else { continue };
        let (Some(name), Ok(number)) = (name.strip_prefix("__NR_"), number.parse::<i64>()) else { continue };
        seen += 1;
        let row = table().find(|row| row.number == number);
        assert!(row.is_some(), "no row for {name} ({number})");
        assert_eq!(row.map(|r| r.name), Some(name), "wrong name for {number}");
    }
    assert!(seen > 300, "the header was not understood: {seen} calls");
}

#[test]
fn the_most_dangerous_calls_are_refused_rows() {
    for name in ["mount", "ptrace", "bpf", "io_uring_setup", "keyctl", "setns", "clone3", "open_by_handle_at"] {
        let row = table().find(|row| row.name == name).expect("row exists");
        assert!(matches!(row.rule, Rule::Errno(_)), "{name} is not refused");
    }
}

#[test]
fn the_table_compiles_within_the_kernel_limit() {
    let filters = compile().expect("compiles");
    assert!(filters.len() > 400 && filters.len() < 4096, "{} instructions", filters.len());
}
