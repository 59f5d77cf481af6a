//! Rules about single lines and words of source text: length, opening paragraph, unfinished code, `unwrap`,
//! machine paths, and what deterministic crates must not name.
//!
//! Owns no exception list. Comments and strings are invisible to the rules about code, because only the
//! masked text is read; the rule about machine paths reads everything, because a path in a comment leaks
//! just as well.

use super::is_allowed;
use crate::source::{Source, Word};
use crate::tree::{Finding, Tree};

const MAX_WIDTH: usize = 120;

/// Folders whose results are hashed or voted on: integers only, no clock, no iteration in an order that may differ.
const DETERMINISTIC: [&str; 4] = ["state/src/", "consensus/src/", "genesis/src/", "types/src/"];

/// What those folders must not name, with what to use instead.
const INDETERMINATE: [(&str, &str); 8] = [
    ("f32", "use scaled integers"),
    ("f64", "use scaled integers"),
    ("HashMap", "use BTreeMap: its order is the same everywhere"),
    ("HashSet", "use BTreeSet: its order is the same everywhere"),
    ("RandomState", "use a BTreeMap"),
    ("SystemTime", "take the time as an input"),
    ("Instant", "take the time as an input"),
    ("thread_rng", "take the randomness as an input"),
];

/// The only crate that may contain unsafe code.
const UNSAFE_CRATE: &str = "runtime/cage/";

/// Absolute paths that exist on some machine only. Spelled in two parts, so that this file obeys its own rule.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Checks every file of the tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        width(&source.path, &source.raw, &mut findings);
        machine_paths(&source.path, &source.raw, &mut findings);
        opening(source, &mut findings);
        words(source, &mut findings);
    }
    for file in &tree.texts {
        machine_paths(&file.path, &file.text, &mut findings);
        if is_shell(&file.path, &file.text) {
            width(&file.path, &file.text, &mut findings);
            shell(&file.path, &file.text, &mut findings);
        }
    }
    findings
}

fn width(path: &str, text: &str, findings: &mut Vec<Finding>) {
    // Programs and scripts that others might have written: data, whose lines are theirs.
    if path.contains("/tests/catalogue/") {
        return;
    }
    for (index, line) in text.lines().enumerate() {
        let width = line.chars().count();
        if width > MAX_WIDTH {
            let text = format!("{width} characters; a line has at most {MAX_WIDTH}");
            findings.push(Finding::new("width", path, index + 1, text));
        }
    }
}

fn machine_paths(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        let found = MACHINE_PATHS.iter().find(|machine| has_absolute(line, machine));
        if let Some(machine) = found
            && !is_allowed(text, index + 1, "paths")
        {
            findings.push(Finding::new(
                "paths",
                path,
                index + 1,
                format!("absolute path of a machine: {machine}"),
            ));
        }
    }
}

/// Whether the line names `machine` as the start of a path, rather than as the middle of a longer one.
fn has_absolute(line: &str, machine: &str) -> bool {
    line.match_indices(machine).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.~*/})>".contains(c))
    })
}

fn opening(source: &Source, findings: &mut Vec<Finding>) {
    if !source.raw.starts_with("//! ") {
        let text = "a file opens with a `//!` paragraph: what it owns, what it refuses, its invariants";
        findings.push(Finding::new("opening", &source.path, 1, text));
    }
    let is_root = ["/src/lib.rs", "/src/main.rs"].iter().any(|root| source.path.ends_with(root))
        || source
            .path
            .split_once("/src/bin/")
            .is_some_and(|(_, file)| !file.contains('/') || file.ends_with("/main.rs"));
    let forbids = source.code.contains("#![forbid(unsafe_code)]");
    if is_root && !forbids && !source.path.starts_with(UNSAFE_CRATE) {
        findings.push(Finding::new("unsafe", &source.path, 1, "a crate root says `#![forbid(unsafe_code)]`"));
    }
}

fn words(source: &Source, findings: &mut Vec<Finding>) {
    let deterministic = DETERMINISTIC.iter().any(|folder| source.path.starts_with(folder));
    for word in source.words() {
        let line = source.line_of(word.at);
        let mut report = |rule, text: String| findings.push(Finding::new(rule, &source.path, line, text));
        let next = source.after(word.at + word.text.len());
        if matches!(word.text, "todo" | "unimplemented") && next.starts_with('!') {
            report("unfinished", format!("{}! is unfinished work: finish it or leave it out", word.text));
        }
        if source.is_test_line(line) {
            continue;
        }
        if word.text == "unwrap" && next.starts_with('(') && source.before(word.at) == Some('.') {
            report(
                "unwrap",
                "unwrap() outside tests: return an error, or expect() the reason it can not fail".to_owned(),
            );
        }
        if deterministic
            && let Some(text) = indeterminate(source, word)
            && !is_allowed(&source.raw, line, "determinism")
        {
            report("determinism", text);
        }
    }
}

fn indeterminate(source: &Source, word: Word<'_>) -> Option<String> {
    if let Some((name, instead)) = INDETERMINATE.iter().find(|(name, _)| word.text == *name) {
        return Some(format!("{name} is banned here: {instead}"));
    }
    is_float(source, word)
        .then(|| format!("a float literal starting with {} is banned here: use integers", word.text))
}

/// Whether a word starts a float literal: `1.5`, `1.`, `2e3`, `1_f64`; not `x.0.1`, `1..2`, `1.max(2)` or `0x1e3`.
fn is_float(source: &Source, word: Word<'_>) -> bool {
    if !word.text.starts_with(|c: char| c.is_ascii_digit()) || source.before(word.at) == Some('.') {
        return false;
    }
    if word.text.ends_with("f32") || word.text.ends_with("f64") {
        return !word.text.starts_with("0x");
    }
    let digits = word.text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    if digits.starts_with(['e', 'E']) {
        return true;
    }
    let mut rest = source.code[word.at + word.text.len()..].chars();
    let first_is_point = digits.is_empty() && rest.next() == Some('.');
    first_is_point && !rest.next().is_some_and(|c| c == '.' || c == '_' || c.is_alphabetic())
}

fn is_shell(path: &str, text: &str) -> bool {
    path.ends_with(".sh") || (text.starts_with("#!") && text.lines().next().is_some_and(|l| l.contains("sh")))
}

fn shell(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut lines = text.lines();
    if !lines.next().unwrap_or_default().starts_with("#!")
        || !lines.next().unwrap_or_default().starts_with("# ")
    {
        let text = "a script opens with its interpreter and a comment that says what it owns";
        findings.push(Finding::new("shell", path, 1, text));
    }
    if !text.lines().any(|line| line == "set -euo pipefail") {
        findings.push(Finding::new("shell", path, 1, "a script stops on errors: `set -euo pipefail`"));
    }
}
