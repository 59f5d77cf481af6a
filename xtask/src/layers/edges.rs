//! Finds every place where one member of the workspace imports another.
//!
//! Owns the three spellings of an import: a manifest entry, a crate path in code, and a file pulled in by
//! its path. Says nothing about whether an import is allowed.

use super::{Edge, Member};
use crate::source::Source;
use crate::tree::Tree;

/// Macros that pull in a file by its path.
const PULLS: [&str; 3] = ["include", "include_str", "include_bytes"];

/// Every edge between two different members, sorted.
pub fn collect(tree: &Tree, members: &[Member]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for member in members {
        for (on, _) in &member.dependencies {
            if let Some(target) = members.iter().find(|m| m.package == *on) {
                edges.push(edge(member, target, &format!("{}/Cargo.toml", member.folder), 0));
            }
        }
    }
    for source in &tree.sources {
        if let Some(owner) = owner_of(&source.path, members) {
            crate_paths(source, owner, members, &mut edges);
            pulled_files(source, owner, members, &mut edges);
        }
    }
    edges.retain(|edge| edge.from != edge.to);
    edges.sort();
    edges.dedup();
    edges
}

fn edge(from: &Member, to: &Member, path: &str, line: usize) -> Edge {
    Edge { from: from.folder.clone(), to: to.folder.clone(), path: path.to_owned(), line }
}

/// The member whose folder holds the file; the innermost one when folders nest.
fn owner_of<'a>(path: &str, members: &'a [Member]) -> Option<&'a Member> {
    members
        .iter()
        .filter(|m| path.strip_prefix(m.folder.as_str()).is_some_and(|rest| rest.starts_with('/')))
        .max_by_key(|m| m.folder.len())
}

fn crate_paths(source: &Source, owner: &Member, members: &[Member], edges: &mut Vec<Edge>) {
    for word in source.words() {
        // Only package-shaped names: a bare word such as `xtask` in code is not an import.
        let named =
            members.iter().find(|m| m.package.contains('-') && m.package.replace('-', "_") == word.text);
        if let Some(target) = named {
            edges.push(edge(owner, target, &source.path, source.line_of(word.at)));
        }
    }
}

fn pulled_files(source: &Source, owner: &Member, members: &[Member], edges: &mut Vec<Edge>) {
    for word in source.words() {
        let after = word.at + word.text.len();
        let pulls = match source.after(after).chars().next() {
            Some('!') => PULLS.contains(&word.text),
            Some('=') => word.text == "path" && source.before(word.at) == Some('['),
            _ => false,
        };
        if !pulls {
            continue;
        }
        // The literal is blanked in `code`, so it is read from `raw`, on the same line or the next.
        let Some(literal) = source.raw[after..].split('"').nth(1) else { continue };
        if let Some(target) = resolve(&source.path, literal).and_then(|path| owner_of(&path, members)) {
            edges.push(edge(owner, target, &source.path, source.line_of(word.at)));
        }
    }
}

/// The path from the root that a relative path in a file means; `None` when it leaves the tree.
fn resolve(from: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}
