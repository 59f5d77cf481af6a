//! Rules about Cargo manifests: one table of versions and features, lints for everybody.
//!
//! Owns four checks: an external dependency in the workspace table switches its default features off; some
//! member uses each entry; a member takes every dependency from that table; a member inherits the
//! workspace's lints.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::tree::{Finding, Tree};

const RULE: &str = "manifests";
const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks the root manifest and those of the members it lists.
pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let Some(text) = tree.text("Cargo.toml") else { return Ok(Vec::new()) };
    let root: toml::Table = text.parse().context("parse Cargo.toml")?;
    let workspace = root.get("workspace").context("find [workspace] in Cargo.toml")?;
    let mut findings = Vec::new();
    let table_of_versions = workspace.get("dependencies").and_then(toml::Value::as_table);
    for (name, value) in table_of_versions.into_iter().flatten() {
        let off = value.get("default-features").and_then(toml::Value::as_bool) == Some(false);
        if !off && value.get("path").is_none() {
            let text = format!("{name}: choose its features, with default-features = false");
            findings.push(Finding::new(RULE, "Cargo.toml", 0, text));
        }
    }
    let members = workspace.get("members").and_then(toml::Value::as_array).into_iter().flatten();
    let mut used = BTreeSet::new();
    for folder in members.filter_map(toml::Value::as_str) {
        let path = format!("{folder}/Cargo.toml");
        let text = tree.text(&path).with_context(|| format!("find {path}"))?;
        let manifest: toml::Table = text.parse().with_context(|| format!("parse {path}"))?;
        findings.extend(member(&path, &manifest));
        used.extend(dependencies(&manifest).into_iter().map(|(name, _)| name.to_owned()));
    }
    for name in
        table_of_versions.into_iter().flatten().map(|(name, _)| name).filter(|name| !used.contains(*name))
    {
        findings.push(Finding::new(RULE, "Cargo.toml", 0, format!("{name}: no member uses it, take it out")));
    }
    Ok(findings)
}

/// Every dependency of a member, of every kind and target.
fn dependencies(manifest: &toml::Table) -> Vec<(&str, &toml::Value)> {
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    let kinds = tables.flat_map(|table| TABLES.iter().filter_map(|kind| table.get(*kind)?.as_table()));
    kinds.flatten().map(|(name, value)| (name.as_str(), value)).collect()
}

fn member(path: &str, manifest: &toml::Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, value) in dependencies(manifest) {
        if !is_inherited(value) {
            let text = format!("{name}: take it from [workspace.dependencies] with workspace = true");
            findings.push(Finding::new(RULE, path, 0, text));
        }
    }
    if !manifest.get("lints").is_some_and(is_inherited) {
        findings.push(Finding::new(RULE, path, 0, "no `[lints] workspace = true`"));
    }
    findings
}

fn is_inherited(value: &toml::Value) -> bool {
    value.get("workspace").and_then(toml::Value::as_bool) == Some(true)
}
