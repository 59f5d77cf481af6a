//! The layers of the workspace and the check that nobody imports sideways or upwards.
//!
//! Owns the layer table; a new crate or a new edge is a change here and an ADR. An edge is a Cargo
//! dependency of any kind (normal, dev, build), a `metanode_x` path in a source, or a `#[path]`/`include!`
//! that reaches into another crate. Refuses a workspace member that is not in the table, so a crate can not
//! enter unseen. The rule itself is pure; only `check` starts cargo, and `cargo tree` may fetch crates that
//! a fresh machine does not have yet.

mod edges;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo;
use crate::tree::{Finding, Report, Tree};

const RULE: &str = "layers";

/// Folder of each member and its layer; a crate may import from a strictly lower layer only.
const LAYERS: [(&str, u8); 11] = [
    ("types", 0),
    ("genesis", 1),
    ("consensus", 2),
    ("state", 2),
    ("p2p", 2),
    ("runtime", 2),
    ("runtime/cage", 2),
    ("rpc", 2),
    ("node", 3),
    ("testnet", 4),
    ("xtask", 5),
];

/// The only import inside one layer: a crate and the crate nested in its folder.
const NESTED: (&str, &str) = ("runtime", "runtime/cage");

/// The layer that nobody may import from.
const TOOLS: u8 = 5;

/// External crates that only the named members may depend on directly, with the reason.
const RESERVED: [(&str, &[&str], &str); 5] = [
    ("anyhow", &["node", "testnet", "xtask"], "libraries have one Error enum with thiserror"),
    ("tokio", &["p2p", "runtime", "rpc", "node", "testnet"], "the lower layers do no I/O and are not async"),
    ("libp2p", &["p2p"], "the network is p2p's"),
    ("rocksdb", &["state"], "everyone else sees trait Store"),
    ("wasmtime", &["runtime"], "a WASM module runs in runtime's child process only"),
];

/// Crates that must not be in the dependency tree of `metanode-types`: a verifier links only that.
const NOT_IN_TYPES: [&str; 5] = ["tokio", "rocksdb", "librocksdb-sys", "libp2p", "wasmtime"];

/// One workspace member, as cargo describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Folder from the workspace root.
    pub folder: String,
    /// Package name.
    pub package: String,
    /// Direct dependencies: package name and kind (`normal`, `dev`, `build`).
    pub dependencies: Vec<(String, String)>,
}

/// One import between members, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Folder of the importing member.
    pub from: String,
    /// Folder of the imported member.
    pub to: String,
    /// File that holds the import.
    pub path: String,
    /// Line of the import, 0 when it is a manifest entry.
    pub line: usize,
}

/// Checks the workspace: manifests, sources and the dependency tree of `metanode-types`.
pub fn check(tree: &Tree) -> Result<Report> {
    let members = read_members(&cargo::output(&tree.root, &METADATA)?, &tree.root)?;
    let edges = edges::collect(tree, &members);
    let mut findings = judge(&members, &edges);
    let below_types = judge_types(&tree.root, &mut findings);
    findings.sort();
    findings.dedup();
    let distinct: BTreeSet<_> = edges.iter().map(|e| (&e.from, &e.to)).collect();
    let summary = format!(
        "{} members, {} edges written in {} places, {below_types} packages below metanode-types",
        members.len(),
        distinct.len(),
        edges.len()
    );
    Ok(Report { summary, findings })
}

/// Judges the dependency tree of `metanode-types` and says how many packages it holds.
fn judge_types(root: &Path, findings: &mut Vec<Finding>) -> String {
    match cargo::output(root, &TYPES_TREE) {
        Ok(output) => {
            findings.extend(judge_types_tree(&output));
            package_names(&output).len().saturating_sub(1).to_string()
        }
        // The edges are known by then: a tree that can not be resolved is one more finding, not the end.
        Err(error) => {
            let text = format!("dependency tree unknown: {error}");
            findings.push(Finding::new(RULE, "types/Cargo.toml", 0, text));
            "an unknown number of".to_owned()
        }
    }
}

const METADATA: [&str; 5] = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
const TYPES_TREE: [&str; 8] =
    ["tree", "--package", "metanode-types", "--all-features", "--edges", "normal,build", "--prefix", "none"];

/// Reads the members from the JSON of `cargo metadata --no-deps`.
fn read_members(json: &str, root: &Path) -> Result<Vec<Member>> {
    let document: Value = serde_json::from_str(json).context("parse the output of cargo metadata")?;
    let packages = document["packages"].as_array().context("find packages in cargo metadata")?;
    ensure!(!packages.is_empty(), "cargo metadata lists no package");
    packages.iter().map(|package| read_member(package, root)).collect()
}

fn read_member(package: &Value, root: &Path) -> Result<Member> {
    let name = package["name"].as_str().context("find a package name in cargo metadata")?;
    let manifest = package["manifest_path"].as_str().context("find a manifest path in cargo metadata")?;
    let folder = Path::new(manifest)
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok())
        .with_context(|| format!("place package {name} inside the workspace"))?;
    let mut dependencies = Vec::new();
    for dependency in package["dependencies"].as_array().context("find dependencies in cargo metadata")? {
        let on = dependency["name"].as_str().context("find a dependency name in cargo metadata")?;
        let kind = dependency["kind"].as_str().unwrap_or("normal");
        dependencies.push((on.to_owned(), kind.to_owned()));
    }
    Ok(Member { folder: folder.to_string_lossy().into_owned(), package: name.to_owned(), dependencies })
}

/// Judges members and edges by the layer table.
fn judge(members: &[Member], edges: &[Edge]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        if layer(&member.folder).is_none() {
            findings.push(Finding::new(
                RULE,
                &manifest,
                0,
                "not in the layer table of xtask/src/layers.rs: write an ADR",
            ));
        }
        for (name, allowed, reason) in RESERVED {
            let used = member.dependencies.iter().any(|(on, kind)| on == name && kind != "dev");
            if used && !allowed.contains(&member.folder.as_str()) {
                let text = format!(
                    "{} -> {name}: reserved for {}, because {reason}",
                    member.folder,
                    allowed.join(", ")
                );
                findings.push(Finding::new(RULE, &manifest, 0, text));
            }
        }
    }
    for edge in edges {
        if let Some(fault) = fault(&edge.from, &edge.to) {
            let text = format!("{} -> {}: {fault}", edge.from, edge.to);
            findings.push(Finding::new(RULE, &edge.path, edge.line, text));
        }
    }
    findings
}

fn layer(folder: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == folder).map(|(_, layer)| *layer)
}

/// Why `from` may not import `to`, or `None` when it may.
fn fault(from: &str, to: &str) -> Option<&'static str> {
    if from == to || (from, to) == NESTED {
        return None;
    }
    match (layer(from), layer(to)) {
        (_, Some(TOOLS)) => Some("nobody reads xtask"),
        (Some(from), Some(to)) if from == to => Some("sideways"),
        (Some(from), Some(to)) if from < to => Some("upward"),
        (Some(_), Some(_)) => None,
        _ => Some("not in the layer table"),
    }
}

fn judge_types_tree(output: &str) -> Vec<Finding> {
    package_names(output)
        .into_iter()
        .filter(|name| {
            NOT_IN_TYPES.iter().any(|banned| name == banned || name.starts_with(&format!("{banned}-")))
        })
        .map(|name| {
            Finding::new(
                RULE,
                "types/Cargo.toml",
                0,
                format!("metanode-types depends on {name}: see `cargo tree`"),
            )
        })
        .collect()
}

/// Distinct package names in the output of `cargo tree --prefix none`.
fn package_names(output: &str) -> Vec<String> {
    let mut names: Vec<String> =
        output.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}
