//! What validators sign: prevotes, precommits and proposals, as exact bytes.
//!
//! Owns the preimages. A vote does not contain its voter's address, so that all precommits for one
//! (height, round, block) sign identical bytes and aggregate into one signature. Refuses to know how votes
//! travel: that is `consensus`.

use crate::hash::{Domain, hash};
use crate::ids::{BlockId, ChainId};
use borsh::{BorshDeserialize, BorshSerialize};

/// Prevote or precommit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum VoteKind {
    /// First step of voting.
    Prevote = 1,
    /// Second step: precommits make the certificate.
    Precommit = 2,
}

/// The content of a vote; `block: None` is a vote for nil.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize)]
pub struct VoteContent {
    /// Prevote or precommit.
    pub kind: VoteKind,
    /// Height voted on.
    pub height: u64,
    /// Round voted in.
    pub round: u32,
    /// Block voted for, or nil.
    pub block: Option<BlockId>,
}

impl VoteContent {
    /// The bytes that a validator signs: `H(vote domain | chain id | borsh(content))`.
    pub fn signed_bytes(&self, chain: &ChainId) -> [u8; 32] {
        hash(Domain::Vote, &[&chain.0, &crate::codec::encode(self)])
    }
}

/// The content of a proposal: the proposer offers `block`, locked on in `pol_round` if any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize)]
pub struct ProposalContent {
    /// Height proposed for.
    pub height: u64,
    /// Round proposed in.
    pub round: u32,
    /// Block offered.
    pub block: BlockId,
    /// Round of the proof of lock, if the proposer re-proposes.
    pub pol_round: Option<u32>,
}

impl ProposalContent {
    /// The bytes that the proposer signs.
    pub fn signed_bytes(&self, chain: &ChainId) -> [u8; 32] {
        hash(Domain::Proposal, &[&chain.0, &crate::codec::encode(self)])
    }
}
