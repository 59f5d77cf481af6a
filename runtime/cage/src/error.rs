//! Every way a cage operation can fail, named after what was being attempted.
//!
//! Owns the crate's one `Error`. It refuses to carry free text where a field will do: each variant holds the
//! path, the step or the field a reader needs in order to act.

use std::io;
use std::path::PathBuf;

/// Why a cage could not be described, started, observed or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The specification file could not be read.
    #[error("cannot read the cage specification {path}: {source}")]
    ReadSpec {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The specification is not the JSON this version understands.
    #[error("cage specification is not valid: {0}")]
    ParseSpec(#[source] serde_json::Error),
    /// One field of the specification holds a value that cannot be used.
    #[error("cage specification field `{field}`: {why}")]
    BadSpec {
        /// Dotted name of the field.
        field: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// A cage must be launched from a single-threaded process, or its first process inherits locks nobody
    /// releases.
    #[error("a cage can only be launched by a single-threaded process; this one has {0} threads")]
    ManyThreads(usize),
    /// The cage's own directory could not be prepared or written.
    #[error("cannot write the cage state at {path}: {source}")]
    WriteState {
        /// The file or directory concerned.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The cage's own directory could not be read.
    #[error("cannot read the cage state at {path}: {source}")]
    ReadState {
        /// The file or directory concerned.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file of the cage's state does not hold what this version writes.
    #[error("cage state at {path} is not valid: {source}")]
    ParseState {
        /// The file concerned.
        path: PathBuf,
        /// Where it went wrong.
        source: serde_json::Error,
    },
    /// A program file could not be searched for instructions.
    #[error("cannot search {path} for instructions: {source}")]
    SearchFile {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// One step of building the cage failed; nothing is left running.
    #[error("cannot build the cage: {step}: {source}")]
    Launch {
        /// The step, in the order the launcher takes them.
        step: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The cage broke while its program was running.
    #[error("cannot watch the cage: {step}: {source}")]
    Supervise {
        /// What was being done.
        step: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The cage asked for is not running.
    #[error("no running cage at {state_dir}: {why}")]
    NotRunning {
        /// Where its state is kept.
        state_dir: PathBuf,
        /// How that was found out.
        why: &'static str,
    },
    /// The seccomp table could not be turned into a filter: a mistake in this crate, reported rather than
    /// ignored.
    #[error("cannot compile the syscall table: {0}")]
    CompileFilter(String),
}

impl Error {
    /// A launch failure of `step` with the errno left by the last system call.
    pub(crate) fn launch(step: impl Into<String>, source: io::Error) -> Self {
        Self::Launch { step: step.into(), source }
    }
}
