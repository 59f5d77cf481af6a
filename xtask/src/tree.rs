//! The committed files of the workspace, read once, and the form in which a check reports what it found.
//!
//! Owns which files count: those that git tracks or would track (not the ignored ones), or, in a copy
//! without git, all but the build output. Refuses to guess about content: a file that is not UTF-8 is binary
//! and only its name is checked.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::source::Source;

/// Folders that are never part of the tree when git can not be asked.
const NOT_COMMITTED: [&str; 3] = [".git", "target", ".testnet"];

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the workspace root.
    pub path: String,
    /// Line counted from 1; 0 speaks of the whole file.
    pub line: usize,
    /// Short name of the rule, as used by `tidy: allow(...)`.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

impl Finding {
    /// A finding at a line (0 for the whole file).
    pub fn new(rule: &'static str, path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { rule, path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: [{}] {}", self.path, self.rule, self.text),
            line => write!(f, "{}:{line}: [{}] {}", self.path, self.rule, self.text),
        }
    }
}

/// The result of one check.
#[derive(Debug, Default)]
pub struct Report {
    /// Figures of this run, all of them counted.
    pub summary: String,
    /// Broken rules in path order; empty means that the check passed.
    pub findings: Vec<Finding>,
}

/// A text file of the tree that is not Rust.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Path from the workspace root.
    pub path: String,
    /// Whole content.
    pub text: String,
}

/// Every committed file, Rust sources already scanned.
#[derive(Debug, Default)]
pub struct Tree {
    /// Workspace root; empty for made-up trees.
    pub root: PathBuf,
    /// Every path from the root, binary files too.
    pub paths: BTreeSet<String>,
    /// Rust sources.
    pub sources: Vec<Source>,
    /// Other text files.
    pub texts: Vec<TextFile>,
}

impl Tree {
    /// Reads the committed files below `root`.
    pub fn load(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for path in list_files(root)? {
            let full = root.join(&path);
            // A tracked file that is deleted but not yet committed has no content to check.
            if full.symlink_metadata().is_ok_and(|data| data.is_file()) {
                files.push((path, std::fs::read(&full).with_context(|| format!("read {}", full.display()))?));
            }
        }
        Ok(Self { root: root.to_owned(), ..Self::from_files(files) })
    }

    /// Builds a tree from names and contents; the unit tests make up theirs this way.
    pub fn from_files(files: Vec<(String, Vec<u8>)>) -> Self {
        let mut tree = Self::default();
        for (path, bytes) in files {
            tree.paths.insert(path.clone());
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if path.ends_with(".rs") {
                tree.sources.push(Source::new(path, text));
            } else {
                tree.texts.push(TextFile { path, text });
            }
        }
        crate::source::mark_test_modules(&mut tree.sources);
        tree
    }

    /// The text of a file that is not Rust.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Whether a file or folder of this name is in the tree.
    pub fn contains(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.paths.contains(path)
            || self.paths.range(folder.clone()..).next().is_some_and(|p| p.starts_with(&folder))
    }
}

/// The folder that holds the workspace's `Cargo.toml`, wherever the command was started.
pub fn workspace_root() -> PathBuf {
    // Cargo sets the variable for `cargo xtask`; the compiled-in one serves a binary that is started directly.
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

fn list_files(root: &Path) -> Result<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    if let Ok(output) = listed
        && output.status.success()
        && !output.stdout.is_empty()
    {
        let names = String::from_utf8(output.stdout).context("read file names from git")?;
        let unique: BTreeSet<String> =
            names.split('\0').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        return Ok(unique.into_iter().collect());
    }
    let mut found = Vec::new();
    walk(root, "", &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(root: &Path, prefix: &str, found: &mut Vec<String>) -> Result<()> {
    let folder = root.join(prefix);
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if NOT_COMMITTED.contains(&name.as_str()) {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type().with_context(|| format!("look at {path}"))?.is_dir() {
            walk(root, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
