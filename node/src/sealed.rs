//! Reports of verified jobs that this node has committed to, or is about to.
//!
//! ```text
//!   cage ended ──▶ report and salt on disk, synced ──▶ CommitReport ──▶ … all committed … ──▶ RevealReport ──▶ forget
//! ```
//! Owns one file per execution. **Invariant**: a commitment leaves this node only when what opens it is durable, so a
//! crash between the two costs no bond; a second report of the same execution is never sealed over the first.

use crate::chain::{JournalError, write_atomic};
use crate::keys;
use metanode_runtime::reconcile::CageKey;
use metanode_types::cage_report::{CageReport, commitment};
use metanode_types::ids::{Address, Digest};
use metanode_types::tx::TxBody;
use metanode_types::workload::ReplicaId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What opens one commitment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    replica: ReplicaId,
    epoch: u64,
    /// What the cage measured.
    pub report: CageReport,
    salt: Digest,
    /// Restarts to acknowledge to the driver.
    pub restarts: u32,
}

impl Sealed {
    /// The transaction that commits `node` to it.
    pub fn commit(&self, node: &Address) -> TxBody {
        let commitment = commitment(&self.report, &self.salt, node, &self.replica, self.epoch);
        TxBody::CommitReport { replica: self.replica.clone(), epoch: self.epoch, commitment }
    }
    /// The transaction that opens the commitment.
    pub fn reveal(&self) -> TxBody {
        let (replica, report) = (self.replica.clone(), self.report.clone());
        TxBody::RevealReport { replica, epoch: self.epoch, report, salt: self.salt }
    }
    fn key(&self) -> CageKey {
        CageKey { replica: self.replica.clone(), epoch: self.epoch }
    }
}

/// What the disk or the system refused.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file or directory.
    #[error("{intent} {}: {source}", path.display())]
    Access {
        /// What was tried.
        intent: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what was written.
    #[error("read the sealed report {}: {why}; without it this node cannot reveal and loses its bond", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Not written durably.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No salt.
    #[error(transparent)]
    Salt(#[from] keys::KeyError),
}

/// The sealed reports of this node.
pub struct SealedReports {
    dir: PathBuf,
    all: BTreeMap<CageKey, Sealed>,
}

impl SealedReports {
    /// Reads what an earlier process left in `dir`, which is made if it is missing.
    pub fn open(dir: &Path) -> Result<SealedReports, SealError> {
        let access = |intent, source| SealError::Access { intent, path: dir.to_path_buf(), source };
        fs::create_dir_all(dir).map_err(|e| access("create", e))?;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(|e| access("list", e))? {
            let path = entry.map_err(|e| access("list", e))?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue; // what was being written when the process ended; nothing was committed to it
            }
            let damaged = |why: String| SealError::Damaged { path: path.clone(), why };
            let bytes = fs::read(&path).map_err(|e| damaged(e.to_string()))?;
            let sealed: Sealed = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
            all.insert(sealed.key(), sealed);
        }
        Ok(SealedReports { dir: dir.to_path_buf(), all })
    }

    fn path(&self, key: &CageKey) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }

    /// Makes a report durable with a salt of its own. What was sealed before stays.
    pub fn seal(&mut self, key: &CageKey, report: CageReport, restarts: u32) -> Result<(), SealError> {
        if self.all.contains_key(key) {
            return Ok(());
        }
        let salt = Digest(*keys::entropy()?);
        let sealed = Sealed { replica: key.replica.clone(), epoch: key.epoch, report, salt, restarts };
        let bytes = serde_json::to_vec(&sealed).expect("a report has only string keys");
        write_atomic(&self.path(key), &bytes)?;
        self.all.insert(key.clone(), sealed);
        Ok(())
    }

    /// What opens the commitment of an execution.
    pub fn get(&self, key: &CageKey) -> Option<&Sealed> {
        self.all.get(key)
    }

    /// Every execution with a sealed report.
    pub fn keys(&self) -> Vec<CageKey> {
        self.all.keys().cloned().collect()
    }

    /// The ledger waits for nothing more of this execution.
    pub fn forget(&mut self, key: &CageKey) -> Result<(), SealError> {
        if self.all.remove(key).is_some() {
            let path = self.path(key);
            fs::remove_file(&path).map_err(|source| SealError::Access { intent: "remove", path, source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
