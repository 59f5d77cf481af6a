//! The sign guard: what this validator's key signed last, so that it never signs anything that contradicts it.
//!
//! Owns the position `(height, round, step)` and the digest of the last signed message. Positions only move
//! forward; at the same position only the same bytes may be signed again (after a crash they are). Refuses to
//! touch disk: [`crate::Effect::PersistGuard`] carries the history to make durable *before* the signature is
//! published. That effect always comes after the sync of the write-ahead log that holds the signed message,
//! so a guard that is ahead of the log means that the log was lost, and the node then only listens until the
//! height is over. History can be exported and imported when a key moves to another machine, in the spirit of
//! EIP-3076: importing only ever raises the position.

use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::bls::BlsPublic;
use metanode_types::codec::{self, DecodeError};
use metanode_types::ids::{ChainId, Digest};
use serde::{Deserialize, Serialize};

/// Version of the stored and exported form.
pub const HISTORY_VERSION: u32 = 1;
/// Bytes of a stored history at most.
pub const MAX_HISTORY_BYTES: usize = 256;

/// What is signed within a round, in the order it may be signed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A proposal.
    Proposal,
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
}

/// One signature's place and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignRecord {
    /// Height signed at.
    pub height: u64,
    /// Round signed at.
    pub round: u32,
    /// What was signed.
    pub step: Step,
    /// SHA-256 of the signed bytes.
    pub digest: Digest,
}

impl SignRecord {
    /// The record of signing `preimage` at a position.
    pub fn of(height: u64, round: u32, step: Step, preimage: &[u8]) -> Self {
        SignRecord { height, round, step, digest: Digest(metanode_types::hash::sha256(preimage)) }
    }

    /// Positions compare in the order of the protocol.
    pub fn position(&self) -> (u64, u32, Step) {
        (self.height, self.round, self.step)
    }
}

/// Everything that must survive about what a key signed. Fixed and small, so it is rewritten as a whole.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignHistory {
    /// [`HISTORY_VERSION`].
    pub version: u32,
    /// The chain that was signed for.
    pub chain_id: ChainId,
    /// The key that signed.
    pub validator: BlsPublic,
    /// The furthest position signed, if any.
    pub last: Option<SignRecord>,
}

/// Why the guard refused to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignRefused {
    /// Something else was signed at this very position.
    #[error("sign at height {}, round {}, {:?}: a different message was already signed there",
        .0.height, .0.round, .0.step)]
    Conflict(SignRecord),
    /// A later position was signed.
    #[error("sign at height {}, round {}, {:?}: already signed at height {}, round {}, {:?}",
        .asked.height, .asked.round, .asked.step, .last.height, .last.round, .last.step)]
    Backwards {
        /// What was asked for.
        asked: SignRecord,
        /// The furthest position signed.
        last: SignRecord,
    },
    /// The key could not be used.
    #[error("the signer failed: {0}")]
    Signer(&'static str),
}

/// Why a history could not be read or imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The stored bytes are damaged.
    #[error("the stored sign history is damaged: {0}")]
    Damaged(&'static str),
    /// The stored bytes are not a history.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is of a version this software does not know.
    #[error("sign history of version {0}, expected {HISTORY_VERSION}")]
    Version(u32),
    /// It belongs to another chain.
    #[error("sign history of chain {theirs}, expected {ours}")]
    Chain {
        /// This guard's chain.
        ours: ChainId,
        /// The history's chain.
        theirs: ChainId,
    },
    /// It belongs to another key.
    #[error("sign history of key {theirs}, expected {ours}")]
    Key {
        /// This guard's key.
        ours: BlsPublic,
        /// The history's key.
        theirs: BlsPublic,
    },
    /// Both histories hold the same position with different messages: the key has already signed twice.
    #[error("the histories disagree about height {}, round {}, {:?}: this key signed two messages there",
        .0.height, .0.round, .0.step)]
    DoubleSigned(SignRecord),
}

impl SignHistory {
    /// The history of a key that signed nothing on `chain_id`.
    pub fn empty(chain_id: ChainId, validator: BlsPublic) -> Self {
        SignHistory { version: HISTORY_VERSION, chain_id, validator, last: None }
    }

    /// The bytes to store: borsh and a CRC-32, so that a half-written file is noticed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = codec::encode(self);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HistoryError> {
        let body = bytes.len().checked_sub(4).ok_or(HistoryError::Damaged("it is too short"))?;
        let (body, crc) = bytes.split_at(body);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Err(HistoryError::Damaged("the checksum does not match"));
        }
        let history: SignHistory = codec::decode("a sign history", body, MAX_HISTORY_BYTES)?;
        if history.version != HISTORY_VERSION {
            return Err(HistoryError::Version(history.version));
        }
        Ok(history)
    }
}

/// Decides what may be signed.
#[derive(Clone, Debug)]
pub struct SignGuard {
    history: SignHistory,
}

impl SignGuard {
    /// A guard that continues `history`, which must belong to `chain_id` and `validator`.
    pub fn new(chain_id: ChainId, validator: BlsPublic, history: SignHistory) -> Result<Self, HistoryError> {
        let mut guard = SignGuard { history: SignHistory::empty(chain_id, validator) };
        guard.import(&history)?;
        Ok(guard)
    }

    /// The history so far.
    pub fn history(&self) -> &SignHistory {
        &self.history
    }

    /// Raises the position to that of another history of the same key.
    pub fn import(&mut self, other: &SignHistory) -> Result<(), HistoryError> {
        let ours = &self.history;
        if other.version != HISTORY_VERSION {
            return Err(HistoryError::Version(other.version));
        }
        if other.chain_id != ours.chain_id {
            return Err(HistoryError::Chain { ours: ours.chain_id, theirs: other.chain_id });
        }
        if other.validator != ours.validator {
            return Err(HistoryError::Key { ours: ours.validator, theirs: other.validator });
        }
        match (ours.last, other.last) {
            (Some(a), Some(b)) if a.position() == b.position() && a.digest != b.digest => {
                return Err(HistoryError::DoubleSigned(a));
            }
            (Some(a), Some(b)) if a.position() >= b.position() => {}
            (_, None) => {}
            (_, Some(b)) => self.history.last = Some(b),
        }
        Ok(())
    }

    /// Whether `record` may be signed, without signing it.
    pub fn check(&self, record: &SignRecord) -> Result<(), SignRefused> {
        match self.history.last {
            None => Ok(()),
            Some(last) if record.position() > last.position() => Ok(()),
            Some(last) if record == &last => Ok(()),
            Some(last) if record.position() == last.position() => Err(SignRefused::Conflict(*record)),
            Some(last) => Err(SignRefused::Backwards { asked: *record, last }),
        }
    }

    /// Checks `record` and moves the position. True when the history changed and has to be made durable.
    pub fn advance(&mut self, record: SignRecord) -> Result<bool, SignRefused> {
        self.check(&record)?;
        let changed = self.history.last != Some(record);
        self.history.last = Some(record);
        Ok(changed)
    }
}

#[cfg(test)]
mod tests;
