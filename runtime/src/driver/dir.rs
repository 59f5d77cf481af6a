//! Owns the directory of one cage: what was asked (`assignment.json`), how far it got (`state.json`), and whether
//! its shim lives.
//!
//! ```text
//! cages/<deployment>.<replica>.<epoch>/
//!   assignment.json  state.json     ours
//!   spec.json                       what the shim was told
//!   shim.log                        the shim's own complaints; locked for as long as the shim lives
//!   run/                            the cage's: cage.json report.json verdict.json stdout.log stderr.log
//! ```
//!
//! The shim inherits a descriptor of `shim.log` on which the driver took an exclusive lock before the spawn. The
//! kernel drops the lock when the shim ends, however it ends, so "is there a shim" has one answer that needs no pid
//! and no bookkeeping, and a node killed between the spawn and its first note cannot start a second one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use metanode_types::workload::{ReplicaId, Workload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{AtPath, Error, Result};
use crate::reconcile::CageKey;

/// What the ledger asked this node to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The replica.
    pub replica: ReplicaId,
    /// The assignment's epoch.
    pub epoch: u64,
    /// What to run.
    pub workload: Workload,
    /// What a deterministic cage's randomness comes from.
    #[serde(with = "metanode_types::ids::hex32")]
    pub seed: [u8; 32],
    /// The wall clock a deterministic cage starts at, in nanoseconds since 1970: the assigning block's time.
    pub epoch_ns: u64,
}

impl Assignment {
    /// The execution this assigns.
    #[must_use]
    pub fn key(&self) -> CageKey {
        CageKey { replica: self.replica.clone(), epoch: self.epoch }
    }
}

/// How far a cage got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Starts after the first.
    pub(crate) restarts: u32,
    /// See `reconcile::count_failures`.
    pub(crate) failures: u32,
    /// When the shim was last spawned.
    pub(crate) spawned_ms: u64,
    /// When its end was noticed; none while it lives.
    pub(crate) ended_ms: Option<u64>,
    /// The ledger has the report of that end.
    pub(crate) reported: bool,
    /// A stop was asked for: its end is not a failure.
    pub(crate) stopping: bool,
    /// Why it never became a cage, when it did not.
    pub(crate) refusal: Option<String>,
}

/// The directory of one cage.
#[derive(Clone, Debug)]
pub(crate) struct CageDir {
    pub(crate) path: PathBuf,
}

impl CageDir {
    pub(crate) fn of(cages: &Path, key: &CageKey) -> Self {
        Self { path: cages.join(key.to_string()) }
    }

    /// The part that belongs to the cage.
    pub(crate) fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    pub(crate) fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    fn shim_log(&self) -> PathBuf {
        self.path.join("shim.log")
    }

    /// Makes the directory whole or not at all: the assignment is in it from the first moment it has its name.
    pub(crate) fn create(cages: &Path, assignment: &Assignment) -> Result<Self> {
        let dir = Self::of(cages, &assignment.key());
        let partial =
            tempfile::TempDir::with_prefix_in(".new-", cages).at("create cage directory in", cages)?;
        write_json(&partial.path().join("assignment.json"), assignment)?;
        write_json(&partial.path().join("state.json"), &Progress::default())?;
        let run = partial.path().join("run");
        std::fs::create_dir(&run).at("create", &run)?;
        let partial = partial.keep();
        std::fs::rename(&partial, &dir.path).at("move into place", &dir.path)?;
        File::open(cages).and_then(|cages| cages.sync_all()).at("sync", cages)?;
        Ok(dir)
    }

    pub(crate) fn assignment(&self) -> Result<Assignment> {
        read_json(&self.path.join("assignment.json"))
    }

    pub(crate) fn progress(&self) -> Result<Progress> {
        read_json(&self.path.join("state.json"))
    }

    pub(crate) fn save(&self, progress: &Progress) -> Result<()> {
        write_json(&self.path.join("state.json"), progress)
    }

    /// Takes the shim's lock, or nothing when a shim holds it. What is returned must go to the shim as a descriptor.
    pub(crate) fn claim(&self) -> Result<Option<File>> {
        let path = self.shim_log();
        let file = OpenOptions::new().create(true).append(true).open(&path).at("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }

    pub(crate) fn has_shim(&self) -> Result<bool> {
        Ok(self.claim()?.is_none())
    }

    /// The last words of the shim, for an error message.
    pub(crate) fn complaint(&self) -> String {
        let text = std::fs::read(self.shim_log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(400)..]).trim().to_owned();
        if text.is_empty() { "the shim left no report and no message".to_owned() } else { text }
    }

    pub(crate) fn remove(&self) -> Result<()> {
        // Out of the way in one step: a directory half removed is never taken for a cage.
        let name = self.path.file_name().expect("a cage directory has a name").to_string_lossy().into_owned();
        let doomed = self.path.with_file_name(format!(".gone-{name}"));
        std::fs::rename(&self.path, &doomed).at("remove", &self.path)?;
        std::fs::remove_dir_all(&doomed).at("remove", &doomed)
    }
}

/// The cages that exist below `cages`. Leftovers of interrupted creations and removals go.
pub(crate) fn scan(cages: &Path) -> Result<Vec<(Assignment, CageDir)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(cages).at("read", cages)? {
        let path = entry.at("read", cages)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(".new-") || name.starts_with(".gone-") {
            std::fs::remove_dir_all(&path).at("remove", &path)?;
        } else if path.is_dir() {
            let dir = CageDir { path };
            let assignment = dir.assignment()?;
            if assignment.key().to_string() != name {
                let reason = format!("its directory describes {}", assignment.key());
                return Err(Error::DriveCage { intent: "read", cage: name, reason });
            }
            found.push((assignment, dir));
        }
    }
    Ok(found)
}

/// Writes a file whole or not at all, and on disk when this returns.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let dir = path.parent().expect("a file in a cage directory");
    let mut file = tempfile::NamedTempFile::new_in(dir).at("create file in", dir)?;
    let bytes = serde_json::to_vec(value).expect("our own types have only string keys");
    file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).at("write", path)?;
    file.persist(path).map_err(|error| error.error).at("move into place", path)?;
    File::open(dir).and_then(|dir| dir.sync_all()).at("sync", dir)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).at("read", path)?;
    serde_json::from_slice(&bytes).map_err(std::io::Error::other).at("read", path)
}
