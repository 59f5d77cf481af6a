//! `cargo xtask licences`: the licence, ban and source lists of `deny.toml`, applied without cargo-deny.
//!
//! Owns only the reading of `cargo tree` and of licence expressions; the lists themselves stay in
//! `deny.toml`, so that both programs judge by the same ones. Covers what is built on this platform. A crate
//! that states no licence is refused.

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::tree::{Finding, Report, Tree};

const LISTS: &str = "deny.toml";
const LOCK: &str = "Cargo.lock";
const RULE: &str = "licences";
/// Not a character of a package name, a version or a licence.
const SEPARATOR: char = '|';
const WHOLE_TREE: [&str; 8] =
    ["tree", "--workspace", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"];

/// What `deny.toml` allows and bans.
#[derive(Debug, Default)]
struct Lists {
    allowed: Vec<String>,
    banned: Vec<String>,
    sources: Vec<String>,
}

/// Judges every package that a build of the workspace on this platform uses.
pub fn check(tree: &Tree) -> Result<Report> {
    let lists = read_lists(tree.text(LISTS).with_context(|| format!("find {LISTS}"))?)?;
    let packages = packages(&cargo::output(&tree.root, &WHOLE_TREE)?)?;
    let summary = format!(
        "{} packages, {} licences allowed, {} crates banned",
        packages.len(),
        lists.allowed.len(),
        lists.banned.len()
    );
    let mut findings = judge(&packages, &lists);
    findings.extend(judge_sources(tree.text(LOCK).with_context(|| format!("find {LOCK}"))?, &lists)?);
    Ok(Report { summary, findings })
}

/// Finds packages of the lock file that come from somewhere else than an allowed registry or this tree.
fn judge_sources(lock: &str, lists: &Lists) -> Result<Vec<Finding>> {
    let table: toml::Table = lock.parse().with_context(|| format!("parse {LOCK}"))?;
    let packages = table.get("package").and_then(toml::Value::as_array);
    let mut findings = Vec::new();
    for package in packages.with_context(|| format!("find packages in {LOCK}"))? {
        let name = package.get("name").and_then(toml::Value::as_str).unwrap_or("a package without a name");
        if let Some(source) = package.get("source").and_then(toml::Value::as_str)
            && !lists.sources.iter().any(|allowed| allowed == source)
        {
            findings.push(Finding::new(RULE, LOCK, 0, format!("{name} comes from {source}")));
        }
    }
    Ok(findings)
}

fn read_lists(text: &str) -> Result<Lists> {
    let table: toml::Table = text.parse().with_context(|| format!("parse {LISTS}"))?;
    let list = |section: &str, key: &str| {
        let array = table.get(section).and_then(|s| s.get(key)).and_then(toml::Value::as_array);
        array.with_context(|| format!("find {section}.{key} in {LISTS}"))
    };
    let allowed = list("licenses", "allow")?.iter().filter_map(|v| v.as_str()).map(str::to_owned);
    let banned = list("bans", "deny")?.iter().filter_map(|v| v.get("crate")?.as_str()).map(str::to_owned);
    // Cargo.lock names a registry by its kind and its address.
    let sources = list("sources", "allow-registry")?.iter().filter_map(|v| v.as_str());
    let sources = sources.map(|address| format!("registry+{address}"));
    Ok(Lists { allowed: allowed.collect(), banned: banned.collect(), sources: sources.collect() })
}

/// Name and licence expression of each package, once.
fn packages(output: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for line in output.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once(SEPARATOR).with_context(|| format!("read {line:?}"))?;
        let name = package.split(' ').next().unwrap_or(package);
        found.push((name.to_owned(), licence.trim().to_owned()));
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        bail!("cargo tree lists no package");
    }
    Ok(found)
}

fn judge(packages: &[(String, String)], lists: &Lists) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |text: String| findings.push(Finding::new(RULE, LISTS, 0, text));
    for (name, licence) in packages {
        if lists.banned.contains(name) {
            report(format!("{name} is banned: see the reason beside it"));
        }
        match is_allowed(licence, &lists.allowed) {
            Ok(true) => {}
            Ok(false) => report(format!("{name}: no allowed choice in its licence {licence:?}")),
            Err(error) => report(format!("{name}: licence {licence:?} can not be read: {error}")),
        }
    }
    findings
}

/// Whether an SPDX expression can be satisfied by the allowed licences. An old-style `/` means `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens, at: 0, allowed };
    let result = reader.any()?;
    match reader.next() {
        None => Ok(result),
        Some(rest) => bail!("unexpected {rest:?}"),
    }
}

/// Reads `OR` of `AND` of licences or parentheses.
struct Reader<'a> {
    tokens: &'a [&'a str],
    at: usize,
    allowed: &'a [String],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<bool> {
        let mut result = self.all()?;
        while self.take("OR") {
            result |= self.all()?;
        }
        Ok(result)
    }

    fn all(&mut self) -> Result<bool> {
        let mut result = self.one()?;
        while self.take("AND") {
            result &= self.one()?;
        }
        Ok(result)
    }

    fn one(&mut self) -> Result<bool> {
        match self.next() {
            None => bail!("a licence is missing"),
            Some("(") => {
                let result = self.any()?;
                if !self.take(")") {
                    bail!("a closing parenthesis is missing");
                }
                Ok(result)
            }
            Some(word @ (")" | "OR" | "AND" | "WITH")) => bail!("unexpected {word:?}"),
            Some(name) => {
                let licence = match self.take("WITH") {
                    true => format!("{name} WITH {}", self.next().context("an exception is missing")?),
                    false => name.to_owned(),
                };
                Ok(self.allowed.contains(&licence))
            }
        }
    }
}
