//! What can go wrong with the ledger on disk.
//!
//! Owns the crate's one error type. A failed transaction is not an error (it is a [`crate::Failure`] with a
//! receipt), an invalid one is [`crate::Invalid`]; an `Error` here means that this process must stop.

use std::path::PathBuf;

/// Why the ledger could not be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another process holds the store's lock.
    #[error("open store {path:?}: another process uses this home; stop it or choose another --home")]
    HomeInUse {
        /// Directory of the store.
        path: PathBuf,
    },
    /// The store could not be opened.
    #[error("open store {path:?}: {why}")]
    OpenStore {
        /// Directory of the store.
        path: PathBuf,
        /// The store's reason.
        why: String,
    },
    /// A read failed (checksum mismatch, missing file).
    #[error("read store: {0}")]
    ReadStore(String),
    /// A commit failed; whether it is on disk is unknown.
    #[error("commit to store: {0}; the node must stop")]
    CommitStore(String),
    /// An earlier commit failed; only a restart helps.
    #[error("the store refuses to work after a failed commit; restart the node")]
    Poisoned,
    /// Stored bytes are not what this code writes.
    #[error("stored {what} is corrupt: {why}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// Why it was refused.
        why: String,
    },
    /// A module's tree could not be read or updated.
    #[error("tree of module {module}: {why}")]
    Tree {
        /// Module.
        module: &'static str,
        /// The tree's reason.
        why: String,
    },
    /// The genesis values cannot start a chain.
    #[error("genesis: {0}")]
    Genesis(String),
    /// The home holds another chain.
    #[error("this home holds chain {stored}, the genesis file is of chain {given}")]
    OtherChain {
        /// Chain found.
        stored: String,
        /// Chain asked for.
        given: String,
    },
    /// A check on open found two stored values that contradict each other.
    #[error("ledger check {check} failed: stored {stored}, computed {computed}")]
    Inconsistent {
        /// Name of the check.
        check: &'static str,
        /// What is stored.
        stored: String,
        /// What follows from the rest of the store.
        computed: String,
    },
    /// The block does not follow the head.
    #[error("commit block {height}: the head is at height {head}")]
    NotNext {
        /// Height offered.
        height: u64,
        /// Height of the head.
        head: u64,
    },
    /// What was executed is not what the block's header says.
    #[error("commit block {height}: header field {field} differs from the execution")]
    OtherExecution {
        /// Height offered.
        height: u64,
        /// First field that differs.
        field: &'static str,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
