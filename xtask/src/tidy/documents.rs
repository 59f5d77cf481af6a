//! Rules about documents: they may not claim what is not in the tree.
//!
//! Owns three checks: each row of the promises and of the threat model names a test that exists or says
//! *untested*; each workspace dependency has a line of argument and each argument a dependency; each
//! relative link leads to a file of the tree.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::tree::{Finding, Tree};

/// Documents whose numbered rows end with the test that holds them to it; the first must have rows.
const CLAIMS: [&str; 2] = ["docs/promises.md", "docs/threat-model.md"];
const DEPENDENCIES: &str = "docs/dependencies.md";
const UNTESTED: &str = "*untested*";

/// Checks every document.
pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let tests: BTreeSet<String> = tree
        .sources
        .iter()
        .flat_map(|source| source.functions())
        .filter(|function| function.is_test)
        .map(|function| function.name)
        .collect();
    let mut findings: Vec<Finding> =
        CLAIMS.iter().flat_map(|path| claims(path, tree.text(path).unwrap_or_default(), &tests)).collect();
    let manifest: toml::Table =
        tree.text("Cargo.toml").unwrap_or_default().parse().context("parse Cargo.toml")?;
    findings.extend(dependencies(tree.text(DEPENDENCIES), &external_dependencies(&manifest)));
    for file in tree.texts.iter().filter(|file| file.path.ends_with(".md")) {
        findings.extend(links(tree, &file.path, &file.text));
    }
    Ok(findings)
}

/// Names in `[workspace.dependencies]` that come from a registry.
fn external_dependencies(manifest: &toml::Table) -> Vec<String> {
    let table = manifest.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table);
    let is_ours = |value: &toml::Value| value.get("path").is_some();
    table.into_iter().flatten().filter(|(_, value)| !is_ours(value)).map(|(name, _)| name.clone()).collect()
}

fn claims(path: &str, text: &str, tests: &BTreeSet<String>) -> Vec<Finding> {
    let rule = "claims";
    let mut rows = 0;
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        // A row starts with its number; the heading and the ruler do not.
        let (Some(number), Some(last)) = (cells.first(), cells.last()) else { continue };
        if !line.starts_with('|') || number.parse::<u32>().is_err() {
            continue;
        }
        rows += 1;
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if cells.len() < 3 || (named.is_empty() && !last.contains(UNTESTED)) {
            let text = format!("row {number} names no test in its last column and does not say {UNTESTED}");
            findings.push(Finding::new(rule, path, index + 1, text));
        }
        for name in named {
            if !tests.contains(name.rsplit("::").next().unwrap_or(name)) {
                let text = format!("row {number}: there is no test `{name}` in the tree");
                findings.push(Finding::new(rule, path, index + 1, text));
            }
        }
    }
    if rows == 0 && path == CLAIMS[0] {
        findings.push(Finding::new(rule, path, 0, "no row `| 1 | promise | test |` was found"));
    }
    findings
}

fn dependencies(text: Option<&str>, wanted: &[String]) -> Vec<Finding> {
    let rule = "dependencies";
    let mut argued = BTreeSet::new();
    let mut findings = Vec::new();
    for (index, line) in text.unwrap_or_default().lines().enumerate() {
        let Some((name, argument)) = line.strip_prefix("- `").and_then(|rest| rest.split_once("`:")) else {
            continue;
        };
        if argument.split_whitespace().count() < 4 {
            let text = format!("`{name}` needs a sentence: why it, and not something we have");
            findings.push(Finding::new(rule, DEPENDENCIES, index + 1, text));
        }
        if !wanted.iter().any(|dependency| dependency == name) {
            let text = format!("`{name}` is not in [workspace.dependencies]");
            findings.push(Finding::new(rule, DEPENDENCIES, index + 1, text));
        }
        argued.insert(name.to_owned());
    }
    for name in wanted.iter().filter(|name| !argued.contains(*name)) {
        let text = format!("no line of the form \"- `{name}`: argument\" for this dependency");
        findings.push(Finding::new(rule, DEPENDENCIES, 0, text));
    }
    findings
}

fn links(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            if !join(folder, file).is_some_and(|joined| joined.is_empty() || tree.contains(&joined)) {
                findings.push(Finding::new("links", path, index + 1, format!("{target} is not in the tree")));
            }
        }
    }
    findings
}

/// A relative link seen from a folder; `None` when it leaves the tree.
fn join(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
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
