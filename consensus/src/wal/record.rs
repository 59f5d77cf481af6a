//! The records of the write-ahead log: one version byte, then borsh, as strict as the wire.
//!
//! Owns what is worth logging: votes, proposals, verdicts on blocks, polkas and elapsed timeouts. Round
//! certificates are logged as the votes they contain.

use crate::api::TimeoutId;
use crate::wire::{PolkaCertificate, SignedProposal, SignedVote};
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::codec::{self, DecodeError};
use metanode_types::ids::{Address, BlockId};

/// First byte of every record.
pub const WAL_VERSION: u8 = 1;

/// A block that was judged by re-executing it, or that this node built itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct ProposedBlock {
    /// Height proposed for.
    pub height: u64,
    /// Round in which this node first saw it proposed.
    pub round: u32,
    /// Who proposed it then.
    pub proposer: Address,
    /// The block.
    pub block: BlockId,
    /// Whether re-execution gave the header's roots.
    pub valid: bool,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum WalRecord {
    /// A verified vote, ours or foreign.
    Vote(SignedVote) = 1,
    /// A verified proposal, ours or foreign.
    Proposal(SignedProposal) = 2,
    /// The verdict on a block. A valid block is durable before this is logged.
    Block(ProposedBlock) = 3,
    /// A verified quorum of prevotes.
    Polka(PolkaCertificate) = 4,
    /// A timeout that elapsed.
    Timeout(TimeoutId) = 5,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Envelope {
    version: u8,
    record: WalRecord,
}

impl WalRecord {
    /// Height the record belongs to.
    pub fn height(&self) -> u64 {
        match self {
            WalRecord::Vote(v) => v.content.height,
            WalRecord::Proposal(p) => p.content.height,
            WalRecord::Block(b) => b.height,
            WalRecord::Polka(c) => c.height,
            WalRecord::Timeout(t) => t.height,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![WAL_VERSION];
        self.serialize(&mut out)
            .expect("writing to a Vec cannot fail and lists are bounded by the validator set");
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "a write-ahead log record";
        if bytes.first() != Some(&WAL_VERSION) {
            return Err(DecodeError::Malformed { what, why: "unknown version".into() });
        }
        Ok(codec::decode::<Envelope>(what, bytes, super::MAX_WAL_RECORD_BYTES)?.record)
    }
}
