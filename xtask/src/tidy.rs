//! `cargo xtask tidy`: the rules of this repository that rustfmt and clippy do not know.
//!
//! Owns the list of rules; each rule is a pure function from the tree to findings, in a module named after
//! its subject. Sizes are ratcheted: what is recorded in `xtask/ratchet.toml` may only shrink. Other rules
//! have no exceptions, except that a line may carry `tidy: allow(rule): reason`, on itself or on the line
//! above, for `names`, `paths` and `determinism`.

mod documents;
mod lines;
mod manifests;
mod names;
mod ratchet;
mod sizes;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};

use crate::tree::{Finding, Report, Tree};

/// Where the recorded size exceptions live.
pub const RATCHET: &str = "xtask/ratchet.toml";

/// Runs every rule.
pub fn check(tree: &Tree) -> Result<Report> {
    let recorded = ratchet::Ratchet::parse(tree.text(RATCHET).unwrap_or_default())?;
    let mut findings = rules(tree)?;
    findings.extend(recorded.judge(&sizes::measure(tree)));
    findings.sort();
    Ok(Report { summary: summary(tree, &recorded), findings })
}

/// Lowers the recorded exceptions to what the tree needs now; findings are what it refused to record.
pub fn update(tree: &Tree) -> Result<Report> {
    let recorded = ratchet::Ratchet::parse(tree.text(RATCHET).unwrap_or_default())?;
    let measured = sizes::measure(tree);
    let lowered = recorded.lowered(&measured);
    let path = tree.root.join(RATCHET);
    if lowered != recorded {
        std::fs::write(&path, lowered.render()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(Report { summary: summary(tree, &lowered), findings: lowered.judge(&measured) })
}

fn rules(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = lines::check(tree);
    findings.extend(names::check(tree));
    findings.extend(documents::check(tree)?);
    findings.extend(manifests::check(tree)?);
    Ok(findings)
}

fn summary(tree: &Tree, recorded: &ratchet::Ratchet) -> String {
    let files = sizes::Spread::of(sizes::file_lines(tree));
    let functions = sizes::Spread::of(sizes::function_lines(tree));
    format!(
        "{} files, {} of them Rust (lines {files}), {} functions (lines {functions}), {} recorded exception(s)",
        tree.paths.len(),
        files.count,
        functions.count,
        recorded.len()
    )
}

/// Whether the line (from 1) or the one above it carries `tidy: allow(rule): reason` with a reason.
fn is_allowed(raw: &str, line: usize, rule: &str) -> bool {
    let marker = format!("tidy: allow({rule}):");
    raw.lines().skip(line.saturating_sub(2)).take(2).any(|text| {
        let reason = text.split(&marker).nth(1).unwrap_or_default();
        reason.split_whitespace().count() >= 2
    })
}
