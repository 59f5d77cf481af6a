//! Questions and answers of block sync, as bytes, and the serving side.
//!
//! Owns their strict, bounded encoding. Serving never sends more than the bounds, whatever is asked.

use crate::wire::WIRE_VERSION;
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::block::Block;
use metanode_types::certificate::Certificate;
use metanode_types::codec::{self, DecodeError, bounded_vec};
use metanode_types::limits::{MAX_SYNC_BLOCKS, MAX_SYNC_BYTES};

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum SyncRequest {
    /// Which heights do you hold?
    Status = 1,
    /// Blocks `from..from + count`, or as many of the first of them as fit.
    Blocks {
        /// First height.
        from: u64,
        /// How many at most.
        count: u32,
    } = 2,
}

/// A block with the proof that it is final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SyncedBlock {
    /// The block.
    pub block: Block,
    /// Its certificate.
    pub certificate: Certificate,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum SyncResponse {
    /// Heights held; both 0 when there is none.
    Status {
        /// Lowest.
        first: u64,
        /// Highest.
        last: u64,
    } = 1,
    /// Blocks of consecutive heights, the first of them the one asked for.
    Blocks(Vec<SyncedBlock>) = 2,
}

impl BorshDeserialize for SyncResponse {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        match u8::deserialize_reader(r)? {
            1 => Ok(SyncResponse::Status {
                first: BorshDeserialize::deserialize_reader(r)?,
                last: BorshDeserialize::deserialize_reader(r)?,
            }),
            2 => Ok(SyncResponse::Blocks(bounded_vec(r, MAX_SYNC_BLOCKS)?)),
            tag => {
                Err(borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, format!("unknown answer {tag}")))
            }
        }
    }
}

fn to_bytes<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut out = vec![WIRE_VERSION];
    value.serialize(&mut out).expect("writing to a Vec cannot fail and lists are bounded");
    out
}

fn from_bytes<T: BorshSerialize + BorshDeserialize>(
    what: &'static str,
    bytes: &[u8],
    cap: usize,
) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&WIRE_VERSION, body)) => codec::decode(what, body, cap),
        _ => Err(DecodeError::Malformed { what, why: "unknown version".into() }),
    }
}

impl SyncRequest {
    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }
    /// Reads bytes from a stranger.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_bytes("a sync request", bytes, 16)
    }
}

impl SyncResponse {
    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }
    /// Reads bytes from a stranger.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_bytes("a sync response", bytes, MAX_SYNC_BYTES)
    }
}

/// Answers a question from a store that holds `first..=last`. A block that cannot be read ends the answer.
pub fn serve(
    request: &SyncRequest,
    (first, last): (u64, u64),
    mut read: impl FnMut(u64) -> Option<SyncedBlock>,
) -> SyncResponse {
    let SyncRequest::Blocks { from, count } = *request else {
        return SyncResponse::Status { first, last };
    };
    let end = from.saturating_add(u64::from(count).min(MAX_SYNC_BLOCKS as u64)).min(last.saturating_add(1));
    let mut blocks = Vec::new();
    // Tag and length of the list, and the version byte.
    let mut size = 8;
    for height in from.max(first)..end {
        // An answer starts where the question does, or is empty.
        if from < first {
            break;
        }
        let Some(block) = read(height) else { break };
        size += codec::encode(&block).len();
        if size > MAX_SYNC_BYTES {
            break;
        }
        blocks.push(block);
    }
    SyncResponse::Blocks(blocks)
}
