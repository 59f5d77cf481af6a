//! Proof that a validator contradicted itself: two signed messages for the same place.
//!
//! Owns the values, their canonical order (so that one contradiction has one encoding) and their
//! verification, which needs only the chain id and the validator set of the height. Refuses to judge: what
//! follows from evidence is the state machine's business.

use crate::scheme::Scheme;
use crate::wire::{SignedProposal, SignedVote};
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::bls::{BlsError, BlsPublic};
use metanode_types::ids::{Address, ChainId};
use metanode_types::validator::ValidatorSet;

/// Two messages that no honest validator signs both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Evidence {
    /// Two votes of one kind in one round, for different blocks.
    Votes {
        /// The smaller one.
        first: SignedVote,
        /// The larger one.
        second: SignedVote,
    } = 1,
    /// Two proposals in one round.
    Proposals {
        /// The smaller one.
        first: SignedProposal,
        /// The larger one.
        second: SignedProposal,
    } = 2,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The messages have different authors.
    #[error("the messages are of different validators")]
    Authors,
    /// The messages are for different heights, rounds or steps.
    #[error("the messages are for different places")]
    Places,
    /// The messages say the same, or stand in the wrong order.
    #[error("the messages do not contradict each other in canonical order")]
    NoContradiction,
    /// The author is not a validator.
    #[error("{0} is not a validator of that height")]
    NotAValidator(Address),
    /// A signature does not verify.
    #[error("a signature does not verify: {0}")]
    Signature(#[from] BlsError),
}

impl Evidence {
    /// Orders two votes.
    pub fn votes(a: SignedVote, b: SignedVote) -> Self {
        let (first, second) = if a.content <= b.content { (a, b) } else { (b, a) };
        Evidence::Votes { first, second }
    }

    /// Orders two proposals.
    pub fn proposals(a: SignedProposal, b: SignedProposal) -> Self {
        let (first, second) = if a.content <= b.content { (a, b) } else { (b, a) };
        Evidence::Proposals { first, second }
    }

    /// Who contradicted itself.
    pub fn author(&self) -> Address {
        match self {
            Evidence::Votes { first, .. } => first.voter,
            Evidence::Proposals { first, .. } => first.proposer,
        }
    }

    /// Height at which it did.
    pub fn height(&self) -> u64 {
        match self {
            Evidence::Votes { first, .. } => first.content.height,
            Evidence::Proposals { first, .. } => first.content.height,
        }
    }

    /// Checks the proof against the validator set of its height.
    pub fn verify(
        &self,
        scheme: &dyn Scheme,
        chain: &ChainId,
        set: &ValidatorSet,
    ) -> Result<(), EvidenceError> {
        let (a, b) = match self {
            Evidence::Votes { first, second } => {
                let (x, y) = (&first.content, &second.content);
                place(
                    first.voter == second.voter,
                    (x.height, x.round, x.kind) == (y.height, y.round, y.kind),
                    x < y,
                )?;
                ((first.preimage(chain), first.signature), (second.preimage(chain), second.signature))
            }
            Evidence::Proposals { first, second } => {
                let (x, y) = (&first.content, &second.content);
                place(first.proposer == second.proposer, (x.height, x.round) == (y.height, y.round), x < y)?;
                ((first.preimage(chain), first.signature), (second.preimage(chain), second.signature))
            }
        };
        let key: BlsPublic = set.get(&self.author()).ok_or(EvidenceError::NotAValidator(self.author()))?.bls;
        scheme.verify(&key, &a.0, &a.1)?;
        scheme.verify(&key, &b.0, &b.1)?;
        Ok(())
    }
}

fn place(same_author: bool, same_place: bool, ordered: bool) -> Result<(), EvidenceError> {
    match (same_author, same_place, ordered) {
        (false, ..) => Err(EvidenceError::Authors),
        (_, false, _) => Err(EvidenceError::Places),
        (.., false) => Err(EvidenceError::NoContradiction),
        _ => Ok(()),
    }
}
