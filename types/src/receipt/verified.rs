//! What the nodes that ran one replica of a verified job said, and who is in the majority.
//!
//! Owns the count, so that the state machine and an offline verifier count alike.

use crate::codec::bounded_vec;
use crate::ids::{Address, Digest, Name};
use crate::limits::MAX_VERIFY;
use crate::tx::ShortText;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What became of one execution.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// It came to this ([`crate::cage_report::CageReport::outcome`]).
    Outcome(Digest),
    /// The run says nothing about the program: no vote and no fault.
    NoVerdict(ShortText),
    /// The node did not commit in time.
    NoCommit,
    /// The node committed and did not reveal in time.
    NoReveal,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Said::Outcome(d) => write!(f, "outcome {}", d.short()),
            Said::NoVerdict(why) => write!(f, "no verdict: {why}"),
            Said::NoCommit => f.write_str("did not commit in time"),
            Said::NoReveal => f.write_str("did not reveal in time"),
        }
    }
}

/// One node's execution.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Node.
    pub node: Address,
    /// Its name at the time.
    pub name: Name,
    /// What became of it.
    pub said: Said,
}

/// The executions of one replica, in order of assignment, at most [`MAX_VERIFY`].
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Votes(#[serde(deserialize_with = "bounded_votes")] pub Vec<Vote>);

fn bounded_votes<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<Vote>, D::Error> {
    let votes = <Vec<Vote> as serde::Deserialize>::deserialize(d)?;
    if votes.len() > MAX_VERIFY as usize {
        return Err(serde::de::Error::custom("at most 9 nodes run one replica"));
    }
    Ok(votes)
}

impl BorshDeserialize for Votes {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(Votes(bounded_vec(r, MAX_VERIFY as usize)?))
    }
}

impl Votes {
    /// Votes for an outcome.
    pub fn count(&self, outcome: &Digest) -> usize {
        self.0.iter().filter(|v| v.said == Said::Outcome(*outcome)).count()
    }

    /// Nodes that said another outcome.
    pub fn differing<'a>(&'a self, outcome: &'a Digest) -> impl Iterator<Item = &'a Vote> {
        self.0.iter().filter(move |v| matches!(&v.said, Said::Outcome(d) if d != outcome))
    }
}

/// The outcome that more than half of the nodes *asked* came to, not of those that answered.
pub fn majority(asked: u32, votes: &Votes) -> Option<Digest> {
    let outcomes = votes.0.iter().filter_map(|v| match &v.said {
        Said::Outcome(d) => Some(*d),
        _ => None,
    });
    outcomes.into_iter().find(|d| votes.count(d) * 2 > asked as usize)
}
