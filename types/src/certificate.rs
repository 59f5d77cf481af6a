//! Commit certificates: one aggregate BLS signature and a bitmap of who signed.
//!
//! Owns the certificate's encoding and its verification against a validator set. A certificate proves that
//! more than two thirds of the voting power precommitted one block id at one height and round. Only
//! `consensus` makes certificates; anyone verifies them.

use crate::bls::{BlsError, BlsPublic, BlsSignature};
use crate::codec::{bounded_vec, invalid};
use crate::ids::{Address, BlockId, ChainId};
use crate::limits::MAX_VALIDATORS;
use crate::validator::ValidatorSet;
use crate::vote::{VoteContent, VoteKind};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// A set of validator positions, least significant bit first, without trailing zero bytes.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Default)]
pub struct Bitmap {
    bytes: Vec<u8>,
}

impl Bitmap {
    /// Empty bitmap.
    pub fn new() -> Self {
        Bitmap::default()
    }
    /// Sets bit `i`.
    pub fn set(&mut self, i: usize) {
        assert!(i < MAX_VALIDATORS, "a bitmap has one bit per validator");
        if self.bytes.len() <= i / 8 {
            self.bytes.resize(i / 8 + 1, 0);
        }
        self.bytes[i / 8] |= 1 << (i % 8);
    }
    /// Whether bit `i` is set.
    pub fn get(&self, i: usize) -> bool {
        self.bytes.get(i / 8).is_some_and(|b| b & (1 << (i % 8)) != 0)
    }
    /// Positions set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.bytes.len() * 8).filter(|i| self.get(*i))
    }
    /// Number of bits set.
    pub fn count(&self) -> usize {
        self.bytes.iter().map(|b| b.count_ones() as usize).sum()
    }
}

impl BorshDeserialize for Bitmap {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let bytes: Vec<u8> = bounded_vec(r, MAX_VALIDATORS / 8)?;
        if bytes.last() == Some(&0) {
            return Err(invalid("a bitmap has no trailing zero byte"));
        }
        Ok(Bitmap { bytes })
    }
}
impl Serialize for Bitmap {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(&self.bytes))
    }
}
impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bytes =
            hex::decode(<String as serde::Deserialize>::deserialize(d)?).map_err(serde::de::Error::custom)?;
        if bytes.len() > MAX_VALIDATORS / 8 || bytes.last() == Some(&0) {
            return Err(serde::de::Error::custom("not a canonical bitmap"));
        }
        Ok(Bitmap { bytes })
    }
}

/// Proof that a block is final.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Certificate {
    /// Height decided.
    pub height: u64,
    /// Round in which the quorum precommitted.
    pub round: u32,
    /// Block decided.
    pub block: BlockId,
    /// Who signed, by position in the validator set of this height.
    pub signers: Bitmap,
    /// Aggregate of the signers' precommits.
    pub signature: BlsSignature,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A bit is set beyond the validator set.
    #[error("the bitmap names validator {index}, but the set has {len}")]
    UnknownSigner {
        /// Position named.
        index: usize,
        /// Size of the set.
        len: usize,
    },
    /// Not more than two thirds of the power.
    #[error("signers hold {power} of {total} voting power, more than two thirds are needed")]
    NoQuorum {
        /// Power of the signers.
        power: u64,
        /// Total power of the set.
        total: u64,
    },
    /// The aggregate signature does not verify.
    #[error("the aggregate signature does not verify: {0}")]
    Signature(#[from] BlsError),
}

impl Certificate {
    /// The content that every signer precommitted.
    pub fn vote(&self) -> VoteContent {
        VoteContent {
            kind: VoteKind::Precommit,
            height: self.height,
            round: self.round,
            block: Some(self.block),
        }
    }

    /// Voting power of the signers, or an error when a bit lies outside `set`.
    pub fn power(&self, set: &ValidatorSet) -> Result<u64, CertificateError> {
        self.signers.iter().try_fold(0u64, |sum, index| {
            let member = set.members().get(index);
            let member = member.ok_or(CertificateError::UnknownSigner { index, len: set.len() })?;
            Ok(sum + member.power)
        })
    }

    /// Addresses of the signers, ascending.
    pub fn signer_addresses(&self, set: &ValidatorSet) -> Vec<Address> {
        self.signers.iter().filter_map(|i| set.members().get(i)).map(|v| v.address()).collect()
    }

    /// Checks quorum and signature under `chain` and `set`; returns the signers' power.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet) -> Result<u64, CertificateError> {
        let power = self.power(set)?;
        if !set.is_quorum(power) {
            return Err(CertificateError::NoQuorum { power, total: set.total_power() });
        }
        let keys: Vec<BlsPublic> = self.signers.iter().map(|i| set.members()[i].bls).collect();
        self.signature.verify_aggregate(&keys, &self.vote().signed_bytes(chain))?;
        Ok(power)
    }
}
