//! Owns the report that leaves a machine: what the cage measured, beside what the run was given. Refuses bytes that
//! are too many or not such a report.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use metanode_cage::Report;
use metanode_types::level::CageLevel;
use serde::{Deserialize, Serialize};

use super::Inputs;
use crate::error::{AtPath, Result};

/// Longest report that is read.
pub const STATEMENT_BYTES_MAX: u64 = 4 << 20;

/// A report that can be checked: it says what to run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// What was measured.
    #[serde(flatten)]
    pub report: Report,
    /// The level that was asked for.
    pub asked: CageLevel,
    /// What the run was given.
    pub inputs: Inputs,
}

impl Statement {
    /// Reads a report from a file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut text = Vec::new();
        let file = File::open(path).at("open the report", path)?;
        file.take(STATEMENT_BYTES_MAX + 1).read_to_end(&mut text).at("read the report", path)?;
        if text.len() as u64 > STATEMENT_BYTES_MAX {
            let error = std::io::Error::other(format!("it is longer than {STATEMENT_BYTES_MAX} bytes"));
            return Err(error).at("read the report", path);
        }
        serde_json::from_slice(&text).map_err(std::io::Error::other).at("understand the report", path)
    }
}
