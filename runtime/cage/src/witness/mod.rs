//! The witness of a run: what came in from outside, what the supervisor answered, and how it ended.
//!
//! Two logs, both cut into chunks of at most [`CHUNK_BYTES`] whose hashes form a tree: the *input log* (every
//! external input in order, enough to run again without the outside) and the *trace log* (every trapped call
//! with its data, enough to name the first difference of two runs). [`Recorder`] writes them as they happen,
//! in bounded memory, with or without a file; [`Witness`] reads a file back and believes nothing in it;
//! [`Replay`] hands its inputs out again; [`diff`] compares two. The byte layout is `docs/formats/witness.md`.
//!
//! Invariants: the hashes are the same with a file, without one, and past its limit; nothing that the host
//! decides (its clock, its process numbers, where the file is) is hashed.

mod bytes;
mod check;
mod chunk;
mod diff;
mod divergence;
mod error;
mod event;
mod header;
mod input;
mod inspect;
mod merkle;
mod read;
mod recorder;
mod replay;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use diff::{CallNames, diff};
pub use divergence::{
    ByteDifference, CallView, DataView, Divergence, Excerpt, FieldDifference, InputView, LogDivergence, Side,
};
pub use error::WitnessError;
pub use event::{Data, Event, MAX_SLICES, OwnedEvent};
pub use header::{MAX_HEADER_BYTES, Outcome, RunHeader};
pub use input::{Input, InputKind, MAX_LABEL_BYTES, OwnedInput};
pub use inspect::{CallCount, InputLine, LogSummary, Summary};
pub use read::{Events, Inputs, Witness};
pub use recorder::{Recorded, Recorder};
pub use replay::{Asked, Replay, ReplayError};

/// Most bytes of records in one chunk.
pub const CHUNK_BYTES: usize = 64 << 10;

/// First bytes of a witness file; the last two are the version of the layout.
const MAGIC: &[u8; 8] = b"MNWITN01";
/// Hashed before the header's bound part.
const HEADER_DOMAIN: &[u8] = b"metanode.cage.witness-header.v1\0";
/// Hashed before the whole header block, to find damage.
const BLOCK_DOMAIN: &[u8] = b"metanode.cage.witness-block.v1\0";
/// Hashed before what makes a witness root.
const WITNESS_DOMAIN: &[u8] = b"metanode.cage.witness.v1\0";
/// Hashed before what makes a trace hash.
const TRACE_DOMAIN: &[u8] = b"metanode.cage.trace.v1\0";

/// Hashed before a link of the chain over a log's leaves.
const PREFIX_DOMAIN: &[u8] = b"metanode.cage.chunk-prefix.v1\0";

/// One of the two logs of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// Trapped calls.
    Trace,
    /// External inputs.
    Input,
}

impl Log {
    /// The byte that stands for it in chunk heads.
    const fn tag(self) -> u8 {
        match self {
            Self::Trace => 1,
            Self::Input => 2,
        }
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Input => "input",
        })
    }
}
