//! The words of names: what this repository calls its files, items, fields and variables.
//!
//! Owns the banned words. Only names given here count: what an external crate calls its items is its own
//! affair, so methods (`.x`), path segments (`a::x`), attributes and names imported from outside are
//! skipped. Also checks that a test's tier suffix stands at the end of its name, because the runners select
//! by it.

use std::collections::BTreeSet;

use super::is_allowed;
use crate::source::{Source, Word, words};
use crate::tree::{Finding, Tree};

const BANNED: [&str; 10] =
    ["manager", "managers", "handler", "handlers", "helper", "helpers", "util", "utils", "engine", "engines"];
const TIERS: [&str; 3] = ["_slow", "_soak", "_needs_root"];

/// Checks the names of all files and of what the Rust sources define.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in &tree.paths {
        if let Some(word) = path.split(['/', '.']).find_map(banned_word) {
            findings.push(Finding::new(
                "names",
                path,
                0,
                format!("`{word}` says nothing: name the file after what it does"),
            ));
        }
    }
    for source in &tree.sources {
        identifiers(source, &mut findings);
        tiers(source, &mut findings);
    }
    findings
}

/// The banned word inside a name in snake, camel or kebab case.
fn banned_word(name: &str) -> Option<&'static str> {
    let mut parts = vec![String::new()];
    let mut previous_lower = false;
    for character in name.chars() {
        let boundary = !character.is_alphanumeric() || (character.is_uppercase() && previous_lower);
        if boundary {
            parts.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(last) = parts.last_mut()
        {
            last.extend(character.to_lowercase());
        }
        previous_lower = character.is_lowercase() || character.is_ascii_digit();
    }
    // `HTTPHandler` has no boundary before its last word by the rule above; the suffix catches it.
    BANNED.into_iter().find(|banned| {
        parts
            .iter()
            .any(|part| part == banned || (part.ends_with(banned) && name.chars().any(char::is_uppercase)))
    })
}

fn identifiers(source: &Source, findings: &mut Vec<Finding>) {
    let (mut foreign, skipped) = imports(source);
    for word in source.words() {
        let Some(banned) = banned_word(word.text) else { continue };
        let inside = skipped.iter().any(|(from, to)| (*from..*to).contains(&word.at));
        if inside || is_foreign_position(source, word) || foreign.contains(word.text) {
            continue;
        }
        let line = source.line_of(word.at);
        // One finding per name and file is enough to act on.
        foreign.insert(word.text.to_owned());
        if !is_allowed(&source.raw, line, "names") {
            let text = format!("`{}`: `{banned}` says nothing, use a word of docs/glossary.md", word.text);
            findings.push(Finding::new("names", &source.path, line, text));
        }
    }
}

/// Whether the word is a method, a field access or a segment of a path, and so named elsewhere.
fn is_foreign_position(source: &Source, word: Word<'_>) -> bool {
    let head = source.code[..word.at].trim_end();
    (head.ends_with('.') && !head.ends_with("..")) || head.ends_with("::")
}

/// Names imported from external crates, and the byte ranges of `use` items and attributes.
fn imports(source: &Source) -> (BTreeSet<String>, Vec<(usize, usize)>) {
    let mut names = BTreeSet::new();
    let mut ranges = Vec::new();
    for word in source.words().into_iter().filter(|w| w.text == "use") {
        let end = source.code[word.at..].find(';').map_or(source.code.len(), |at| word.at + at);
        let tree = &source.code[word.at + word.text.len()..end];
        let items = words(tree);
        let root = items.first().map_or("", |first| first.text);
        let ours = matches!(root, "crate" | "self" | "super") || root.starts_with("metanode_");
        if !ours {
            names.extend(items.iter().map(|item| item.text.to_owned()));
            ranges.push((word.at, end));
        }
    }
    for (at, _) in source.code.match_indices("#[") {
        let end = source.code[at..].find(']').map_or(source.code.len(), |close| at + close);
        ranges.push((at, end));
    }
    (names, ranges)
}

fn tiers(source: &Source, findings: &mut Vec<Finding>) {
    for function in source.functions().into_iter().filter(|f| f.is_test) {
        let misplaced =
            TIERS.iter().find(|tier| function.name.contains(*tier) && !function.name.ends_with(*tier));
        if let Some(tier) = misplaced {
            let text =
                format!("test `{}`: the tier `{tier}` is the end of a name or not in it", function.name);
            findings.push(Finding::new("names", &source.path, function.first_line, text));
        }
    }
}
