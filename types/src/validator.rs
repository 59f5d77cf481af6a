//! Validators and their set at a height.
//!
//! Owns the order (by address, so that the set has one encoding), the power arithmetic and the hash that the
//! header commits. Refuses duplicate keys, zero power and overflow of the total. Proofs of possession are
//! checked by `genesis` (and later by the joining transaction) before a key gets into any set.

use crate::account::AccountKey;
use crate::bls::BlsPublic;
use crate::hash::Hash;
use crate::ids::Address;
use crate::limits::MAX_VALIDATORS;
use crate::merkle;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// One validator.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Validator {
    /// Key of its votes.
    pub bls: BlsPublic,
    /// Key of its account; the account's address names the validator.
    pub account: AccountKey,
    /// Voting power, at least 1.
    pub power: u64,
}

impl Validator {
    /// The address that names this validator.
    pub fn address(&self) -> Address {
        self.account.address()
    }
}

/// Why a validator set was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// No validator at all.
    #[error("a validator set needs at least one validator")]
    Empty,
    /// More than [`MAX_VALIDATORS`].
    #[error("{0} validators, at most {MAX_VALIDATORS} are allowed")]
    TooMany(usize),
    /// Two validators share a key.
    #[error("validator {0} shares its account key or BLS key with another")]
    Duplicate(Address),
    /// A validator without power.
    #[error("validator {0} has no voting power")]
    NoPower(Address),
    /// The sum of powers does not fit.
    #[error("the total voting power exceeds 2^60")]
    PowerOverflow,
}

/// An ordered, checked set of validators.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize)]
#[serde(transparent)]
pub struct ValidatorSet {
    members: Vec<Validator>,
}

impl ValidatorSet {
    /// Sorts by address and checks every rule of the module.
    pub fn new(mut members: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if members.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if members.len() > MAX_VALIDATORS {
            return Err(ValidatorSetError::TooMany(members.len()));
        }
        members.sort_by_key(Validator::address);
        let mut keys = std::collections::BTreeSet::new();
        let mut total = 0u64;
        for (i, v) in members.iter().enumerate() {
            if (i > 0 && members[i - 1].address() == v.address()) || !keys.insert(v.bls) {
                return Err(ValidatorSetError::Duplicate(v.address()));
            }
            if v.power == 0 {
                return Err(ValidatorSetError::NoPower(v.address()));
            }
            total = total
                .checked_add(v.power)
                .filter(|t| *t <= 1 << 60)
                .ok_or(ValidatorSetError::PowerOverflow)?;
        }
        Ok(ValidatorSet { members })
    }

    /// Members in their order; a bitmap's bit `i` is member `i`.
    pub fn members(&self) -> &[Validator] {
        &self.members
    }
    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }
    /// Never true: an empty set cannot be constructed.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    /// Sum of all powers.
    pub fn total_power(&self) -> u64 {
        self.members.iter().map(|v| v.power).sum()
    }
    /// True when `power` is strictly more than two thirds of the total.
    pub fn is_quorum(&self, power: u64) -> bool {
        u128::from(power) * 3 > u128::from(self.total_power()) * 2
    }
    /// Position of the validator with this address.
    pub fn index_of(&self, address: &Address) -> Option<usize> {
        self.members.iter().position(|v| v.address() == *address)
    }
    /// The validator with this address.
    pub fn get(&self, address: &Address) -> Option<&Validator> {
        self.index_of(address).map(|i| &self.members[i])
    }
    /// RFC 9162 root over the members' encodings: `validators_hash` of the header.
    pub fn hash(&self) -> Hash {
        let leaves: Vec<Hash> =
            self.members.iter().map(|v| merkle::leaf_hash(&crate::codec::encode(v))).collect();
        merkle::root(&leaves)
    }
}

impl BorshDeserialize for ValidatorSet {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let members: Vec<Validator> = crate::codec::bounded_vec(r, MAX_VALIDATORS)?;
        let set = ValidatorSet::new(members.clone()).map_err(|e| crate::codec::invalid(e.to_string()))?;
        if set.members != members {
            return Err(crate::codec::invalid("validators are not ordered by address"));
        }
        Ok(set)
    }
}
