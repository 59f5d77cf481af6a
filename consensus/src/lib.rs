//! Consensus of one chain at one node: Tendermint without I/O, clock or randomness.
//!
//! ```text
//!   network, timers,          step(Input)            ┌───────────────────────────────┐
//!   application  ───────────────────────────────────▶│ ingest: decode, verify, bound │
//!                                                    ├───────────────────────────────┤
//!                                                    │ core: arc-malachitebft 0.8.2  │
//!                                                    ├───────────────────────────────┤
//!   disk, network, timers,    Vec<Effect>, in order  │ answer: sign, log, certify    │
//!   application  ◀───────────────────────────────────└───────────────────────────────┘
//! ```
//!
//! Owns vote bytes on the wire, certificates, proposer choice, evidence, the write-ahead log's records, the
//! sign guard and the block-sync protocol state. Refuses to touch a socket, a file or a clock: the node performs
//! effects and reports what happened. Invariants:
//!
//! * Effects are performed in the order of the list. A log sync and the sign guard come before anything that
//!   reveals a signature, starts a round or decides.
//! * Nothing enters the core's vote keeper before its signature was verified on its own.
//! * A failure to sign, log, replay or certify is [`Fatal`]: the process must stop. After it, every step fails.
//! * The same inputs give the same effects.

#![forbid(unsafe_code)]

mod answer;
mod api;
mod certify;
mod consensus;
mod context;
mod convert;
mod ingest;
#[cfg(test)]
mod vectors;

pub mod evidence;
pub mod guard;
pub mod proposer;
pub mod scheme;
pub mod sync;
pub mod wal;
pub mod wire;

pub use answer::MAX_TIMEOUT_MS;
pub use api::{Effect, Input, OffenceReason, PeerId, TimeoutId, TimeoutKind};
pub use consensus::{Config, Consensus, Local};
pub use evidence::{Evidence, EvidenceError};
pub use guard::{HistoryError, SignGuard, SignHistory, SignRecord, SignRefused, Step};
pub use scheme::{Bls, Scheme, Signer, verify_certificate};
pub use wal::{Recovery, WalError, WalRecord};
pub use wire::ConsensusMessage;

/// Why the process must stop. Nothing of the failed step may be performed.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// An earlier step failed.
    #[error("consensus stopped at an earlier failure")]
    Stopped,
    /// A signature was refused.
    #[error("sign: {0}")]
    Sign(#[from] SignRefused),
    /// Replaying the log led to another message than the one logged.
    #[error("replay the write-ahead log: it leads to a different {what} at height {height}, round {round}")]
    Replay {
        /// Proposal, prevote or precommit.
        what: String,
        /// Its height.
        height: u64,
        /// Its round.
        round: i64,
    },
    /// The log holds a record of a later height than the one that starts.
    #[error("start height {height}: the write-ahead log holds a record of height {record}")]
    ReplayAhead {
        /// Height to start.
        height: u64,
        /// Height of the record.
        record: u64,
    },
    /// The precommits of a decision do not make a certificate.
    #[error("certify the decision at height {height}, round {round}: {why}")]
    Certify {
        /// Height decided.
        height: u64,
        /// Round decided in.
        round: i64,
        /// What is wrong.
        why: &'static str,
    },
    /// Heights only go up.
    #[error("start height {asked}: height {current} was already started")]
    StartHeight {
        /// Height asked for.
        asked: u64,
        /// Height started last.
        current: u64,
    },
    /// The core left its protocol.
    #[error("drive the consensus core: {0}")]
    Drive(String),
}

/// Why a [`Consensus`] could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The sign history does not fit the key or the chain.
    #[error("load the sign history: {0}")]
    History(#[from] HistoryError),
}

// The node moves both into a task of its own.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Consensus>();
    is_send::<sync::BlockSync>();
};
