//! The recorded size exceptions: they may shrink or vanish, and no command can make them grow.
//!
//! Owns `xtask/ratchet.toml`. An entry must equal what is measured: a larger file is refused, and a smaller
//! one asks for `cargo xtask tidy --update`, so that a gain can not be spent again. A new entry is an edit
//! by hand, seen in review.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::RATCHET;
use super::sizes::{FILE_HARD, FILE_SOFT, FUNCTION_HARD, Kind, Oversize};
use crate::tree::Finding;

const RULE: &str = "sizes";
const HEAD: &str = "\
# Files and functions above the limits of `cargo xtask tidy`, with their size in lines. Entries may only shrink:
# `cargo xtask tidy --update` lowers and removes them and never adds one.
";

/// Recorded sizes by kind and subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ratchet {
    entries: BTreeMap<(Kind, String), usize>,
}

impl Ratchet {
    /// Reads the file; an empty text means no exceptions.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().with_context(|| format!("parse {RATCHET}"))?;
        let mut entries = BTreeMap::new();
        for (section, content) in table {
            let kind = match section.as_str() {
                "files" => Kind::File,
                "functions" => Kind::Function,
                other => bail!("{RATCHET}: unknown section {other}"),
            };
            for (subject, value) in
                content.as_table().with_context(|| format!("{RATCHET}: {section} is no table"))?
            {
                let lines = value.as_integer().and_then(|lines| usize::try_from(lines).ok());
                let lines = lines.with_context(|| format!("{RATCHET}: {subject} has no size in lines"))?;
                entries.insert((kind, subject.clone()), lines);
            }
        }
        Ok(Self { entries })
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = HEAD.to_owned();
        for (kind, section) in [(Kind::File, "files"), (Kind::Function, "functions")] {
            text.push_str(&format!("\n[{section}]\n"));
            for ((_, subject), lines) in self.entries.iter().filter(|((k, _), _)| *k == kind) {
                text.push_str(&format!("{subject:?} = {lines}\n"));
            }
        }
        text
    }

    /// How many exceptions are recorded.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is too large, and what is recorded for no reason.
    pub fn judge(&self, measured: &[Oversize]) -> Vec<Finding> {
        let mut findings: Vec<Finding> = measured.iter().filter_map(|size| self.judge_one(size)).collect();
        for ((kind, subject), lines) in &self.entries {
            if !measured.iter().any(|size| size.kind == *kind && size.subject == *subject) {
                let text = format!(
                    "{subject} ({lines} lines) is no longer above the limit: run `cargo xtask tidy --update`"
                );
                findings.push(Finding::new(RULE, RATCHET, 0, text));
            }
        }
        findings
    }

    fn judge_one(&self, size: &Oversize) -> Option<Finding> {
        let recorded = self.entries.get(&(size.kind, size.subject.clone())).copied();
        let limit = match size.kind {
            Kind::File => FILE_SOFT,
            Kind::Function => FUNCTION_HARD,
        };
        let lines = size.lines;
        let text = match recorded {
            _ if size.kind == Kind::File && lines > FILE_HARD => {
                format!("{lines} lines; no file may exceed {FILE_HARD}: split it")
            }
            None => format!("{lines} lines; the limit is {limit}: split it"),
            Some(known) if lines > known => format!("{lines} lines; it may only shrink from {known}"),
            Some(known) if lines < known => {
                format!(
                    "{lines} lines, recorded as {known}: run `cargo xtask tidy --update` to keep the gain"
                )
            }
            Some(_) => return None,
        };
        let (path, name) = size.subject.split_once("::").unwrap_or((&size.subject, ""));
        let text = if name.is_empty() { text } else { format!("function {name} has {text}") };
        Some(Finding::new(RULE, path, size.line, text))
    }

    /// The same exceptions, lowered to what is measured and without those no longer needed.
    pub fn lowered(&self, measured: &[Oversize]) -> Self {
        let mut entries = BTreeMap::new();
        for (key, known) in &self.entries {
            if let Some(size) = measured.iter().find(|size| size.kind == key.0 && size.subject == key.1) {
                entries.insert(key.clone(), size.lines.min(*known));
            }
        }
        Self { entries }
    }
}
