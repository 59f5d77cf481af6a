//! What validators say to each other, as bytes.
//!
//! Owns the message enum and its strict, bounded encoding: one version byte, then borsh, nothing behind it.
//! Refuses oversized lists before allocating. Knows nothing of validity: a decoded message is only well formed.

use crate::guard::Step;
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::bls::BlsSignature;
use metanode_types::codec::{self, DecodeError, bounded_vec};
use metanode_types::ids::{Address, BlockId, ChainId};
use metanode_types::limits::MAX_VALIDATORS;
use metanode_types::vote::{ProposalContent, VoteContent, VoteKind};

/// First byte of every message.
pub const WIRE_VERSION: u8 = 1;
/// Bytes of one message at most: a round certificate with every validator of the largest set.
pub const MAX_MESSAGE_BYTES: usize = 32 + MAX_VALIDATORS * RoundVote::MAX_BYTES;

/// A vote with its voter and signature. The voter is not part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct SignedVote {
    /// What was voted.
    pub content: VoteContent,
    /// Who voted.
    pub voter: Address,
    /// Signature of `content` under the chain's id.
    pub signature: BlsSignature,
}

/// A proposal with its proposer and signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct SignedProposal {
    /// What was proposed.
    pub content: ProposalContent,
    /// Who proposed.
    pub proposer: Address,
    /// Signature of `content` under the chain's id.
    pub signature: BlsSignature,
}

/// A quorum of prevotes for one block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub struct PolkaCertificate {
    /// Height voted on.
    pub height: u64,
    /// Round voted in.
    pub round: u32,
    /// Block voted for.
    pub block: BlockId,
    /// The voters and their signatures.
    pub signatures: Vec<(Address, BlsSignature)>,
}

/// What a round certificate justifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum RoundCertificateKind {
    /// More than a third voted in `round`: enter it.
    Skip = 1,
    /// More than two thirds precommitted in `round`: enter the next one.
    Precommit = 2,
}

/// One vote inside a round certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct RoundVote {
    /// Prevote or precommit.
    pub kind: VoteKind,
    /// Block voted for, or nil.
    pub block: Option<BlockId>,
    /// Who voted.
    pub voter: Address,
    /// The vote's signature.
    pub signature: BlsSignature,
}

impl RoundVote {
    /// Bytes of one encoded vote at most.
    pub const MAX_BYTES: usize = 1 + 33 + 32 + 96;
}

/// Votes that justify entering a round.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub struct RoundCertificate {
    /// Height voted on.
    pub height: u64,
    /// Round voted in.
    pub round: u32,
    /// What it justifies.
    pub kind: RoundCertificateKind,
    /// The votes.
    pub votes: Vec<RoundVote>,
}

impl PolkaCertificate {
    /// The votes in it, with who cast them.
    pub fn votes(&self) -> Vec<(VoteContent, Address, BlsSignature)> {
        let content = VoteContent {
            kind: VoteKind::Prevote,
            height: self.height,
            round: self.round,
            block: Some(self.block),
        };
        self.signatures.iter().map(|(voter, signature)| (content, *voter, *signature)).collect()
    }
}

impl RoundCertificate {
    /// The votes in it, with who cast them.
    pub fn votes(&self) -> Vec<(VoteContent, Address, BlsSignature)> {
        let content = |v: &RoundVote| VoteContent {
            kind: v.kind,
            height: self.height,
            round: self.round,
            block: v.block,
        };
        self.votes.iter().map(|v| (content(v), v.voter, v.signature)).collect()
    }
}

impl BorshDeserialize for PolkaCertificate {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(PolkaCertificate {
            height: BorshDeserialize::deserialize_reader(r)?,
            round: BorshDeserialize::deserialize_reader(r)?,
            block: BorshDeserialize::deserialize_reader(r)?,
            signatures: bounded_vec(r, MAX_VALIDATORS)?,
        })
    }
}

impl BorshDeserialize for RoundCertificate {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(RoundCertificate {
            height: BorshDeserialize::deserialize_reader(r)?,
            round: BorshDeserialize::deserialize_reader(r)?,
            kind: BorshDeserialize::deserialize_reader(r)?,
            votes: bounded_vec(r, MAX_VALIDATORS)?,
        })
    }
}

/// One message on the consensus topic.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum ConsensusMessage {
    /// A prevote or precommit.
    Vote(SignedVote) = 1,
    /// A proposal; its block travels on the block topic.
    Proposal(SignedProposal) = 2,
    /// Liveness: a quorum of prevotes.
    Polka(PolkaCertificate) = 3,
    /// Liveness: why a round was entered.
    Round(RoundCertificate) = 4,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Envelope {
    version: u8,
    message: ConsensusMessage,
}

impl ConsensusMessage {
    /// The bytes to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![WIRE_VERSION];
        self.serialize(&mut out)
            .expect("writing to a Vec cannot fail and lists are bounded by the validator set");
        debug_assert!(out.len() <= MAX_MESSAGE_BYTES, "lists are bounded by the validator set");
        out
    }

    /// Reads bytes from a stranger.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let what = "a consensus message";
        match bytes.first() {
            Some(&WIRE_VERSION) => Ok(codec::decode::<Envelope>(what, bytes, MAX_MESSAGE_BYTES)?.message),
            Some(version) => Err(DecodeError::Malformed {
                what,
                why: format!("version {version}, expected {WIRE_VERSION}"),
            }),
            None => Err(DecodeError::Malformed { what, why: "it is empty".into() }),
        }
    }

    /// Height the message is about.
    pub fn height(&self) -> u64 {
        match self {
            ConsensusMessage::Vote(v) => v.content.height,
            ConsensusMessage::Proposal(p) => p.content.height,
            ConsensusMessage::Polka(c) => c.height,
            ConsensusMessage::Round(c) => c.height,
        }
    }
}

impl SignedVote {
    /// What the voter signed.
    pub fn preimage(&self, chain: &ChainId) -> [u8; 32] {
        self.content.signed_bytes(chain)
    }

    /// The vote's place in its voter's history.
    pub fn step(&self) -> Step {
        step_of(self.content.kind)
    }
}

impl SignedProposal {
    /// What the proposer signed.
    pub fn preimage(&self, chain: &ChainId) -> [u8; 32] {
        self.content.signed_bytes(chain)
    }
}

pub(crate) fn step_of(kind: VoteKind) -> Step {
    match kind {
        VoteKind::Prevote => Step::Prevote,
        VoteKind::Precommit => Step::Precommit,
    }
}

#[cfg(test)]
mod tests;
