//! Block sync: catching up with blocks that others have decided.
//!
//! ```text
//!   peer                              BlockSync                              application
//!    │◀── Request{Status} ────────────│◀── Connected                              │
//!    │─── Status{first,last} ────────▶│                                           │
//!    │◀── Request{Blocks{from,count}}─│   ranges to several peers at once         │
//!    │─── Blocks ────────────────────▶│   buffered; the next height is verified   │
//!    │                                │── Deliver{block, certificate} ───────────▶│ execute, commit
//!    │                                │◀── Advanced{height, next set} ────────────│
//! ```
//!
//! Owns which heights are wanted, from whom, and what a peer is blamed for. Sans-I/O: time is an argument. A
//! block is delivered only in order and only after its certificate was verified against the validator set of
//! its height, which is known only when its parent was executed: at most one block is with the application.
//! Refuses to trust a peer's word for anything but the wish to ask it, and gives up on nobody for ever: blame
//! means waiting longer, and one good answer clears it. Bounded: requests in flight, buffered heights, answers.

mod message;
mod state;

pub use message::{SyncRequest, SyncResponse, SyncedBlock, serve};
pub use state::BlockSync;

use crate::api::PeerId;
use metanode_types::block::BlockError;
use metanode_types::certificate::{Certificate, CertificateError};
use metanode_types::ids::{BlockId, ChainId};
use metanode_types::validator::ValidatorSet;

/// Bounds and patience.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// The chain.
    pub chain_id: ChainId,
    /// Requests in flight at most, at most one to each peer.
    pub max_in_flight: usize,
    /// Heights in one request at most.
    pub batch: u32,
    /// Heights kept ahead of the next one at most.
    pub window: u64,
    /// An answer takes at most this long.
    pub request_timeout_ms: u64,
    /// A peer is left alone for this long after its first offence, doubled with each further one.
    pub backoff_ms: u64,
    /// But never longer than this.
    pub max_backoff_ms: u64,
    /// Peers are asked for their height this often.
    pub status_every_ms: u64,
}

impl SyncConfig {
    /// Sensible bounds for `chain_id`.
    pub fn new(chain_id: ChainId) -> Self {
        SyncConfig {
            chain_id,
            max_in_flight: 4,
            batch: 16,
            // Blocks of the largest size fill 64 MiB.
            window: 64,
            request_timeout_ms: 5_000,
            backoff_ms: 500,
            max_backoff_ms: 60_000,
            status_every_ms: 10_000,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum SyncInput {
    /// A peer can be asked.
    Connected(PeerId),
    /// A peer is gone.
    Disconnected(PeerId),
    /// A peer showed that it holds blocks up to `last` (a status push, or a consensus message for `last + 1`).
    Hint {
        /// The peer.
        peer: PeerId,
        /// Height it holds.
        last: u64,
    },
    /// An answer.
    Response {
        /// Number of the request.
        id: u64,
        /// The answer.
        response: SyncResponse,
    },
    /// The network could not deliver a request or its answer, or the answer could not be decoded.
    Failed {
        /// Number of the request.
        id: u64,
        /// True when the peer is at fault: it sent bytes that are not an answer.
        undecodable: bool,
    },
    /// A block was committed, delivered by sync or decided by consensus.
    Advanced {
        /// Its height.
        height: u64,
        /// Its id.
        block: BlockId,
        /// Validators of the next height.
        next: ValidatorSet,
    },
    /// The delivered block was certified but does not execute to its roots. Nothing is delivered until
    /// the height advances by other means.
    Rejected {
        /// Its height.
        height: u64,
    },
    /// Time passed.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEffect {
    /// Ask a peer.
    Request {
        /// Number to give back with the answer.
        id: u64,
        /// Whom.
        peer: PeerId,
        /// What.
        request: SyncRequest,
    },
    /// Execute and commit this block; its certificate is verified.
    Deliver(Box<SyncedBlock>),
    /// A peer's answer was refused.
    Blame {
        /// The peer.
        peer: PeerId,
        /// Why.
        why: Blame,
    },
    /// A quorum certified a block that does not follow ours. Promise 1 is broken, or this node is on a fork.
    Forked {
        /// The height.
        height: u64,
        /// The proof.
        certificate: Box<Certificate>,
    },
    /// Call again with [`SyncInput::Tick`] not later than this.
    Wake {
        /// When.
        at_ms: u64,
    },
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blame {
    /// It answers another question.
    #[error("the answer does not fit the request")]
    WrongAnswer,
    /// It holds nothing although the peer said that it has these heights.
    #[error("no block, although the peer announced height {0}")]
    Empty(u64),
    /// More blocks than asked for, or other heights.
    #[error("block of height {got} where height {expected} was asked for")]
    WrongHeight {
        /// Height asked for.
        expected: u64,
        /// Height given.
        got: u64,
    },
    /// The certificate is for another block.
    #[error("height {0}: the certificate is for another block")]
    OtherBlock(u64),
    /// The certificate proves nothing.
    #[error("height {height}: {error}")]
    Certificate {
        /// The height.
        height: u64,
        /// Why.
        error: CertificateError,
    },
    /// The body does not belong to the header.
    #[error("height {height}: {error}")]
    Body {
        /// The height.
        height: u64,
        /// Why.
        error: BlockError,
    },
    /// The bytes are not an answer.
    #[error("undecodable answer")]
    Undecodable,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The network failed; nobody's fault, but the peer is left alone for a while.
    #[error("the request could not be delivered")]
    Unreachable,
}

#[cfg(test)]
mod tests;
