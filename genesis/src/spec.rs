//! The spec as people write it, and the steps by which the command line builds it.
//!
//! Owns the fields of `genesis.json` and their order in the file. The steps keep entries sorted by address
//! and refuse a bad entry at once, while its author still looks at it. Refuses to hash: only a checked
//! [`Genesis`] has a chain id.

use crate::check;
use crate::error::Error;
use crate::genesis::Genesis;
use metanode_types::account::AccountKey;
use metanode_types::bls::{BlsPublic, BlsSecret, BlsSignature};
use metanode_types::ids::{Address, ChainId, Name};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use serde::{Deserialize, Serialize};

/// Version of the file's format; a file of another version is refused.
pub const FORMAT: u16 = 1;

/// One validator of the first set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Name for people; unique.
    pub name: Name,
    /// Key of its votes.
    pub bls_key: BlsPublic,
    /// Signature of `bls_key` by itself: without it, a made-up key could forge aggregates.
    pub proof_of_possession: BlsSignature,
    /// Key of its account, whose address names the validator.
    pub account_key: AccountKey,
    /// Voting power, at least 1.
    pub power: u64,
}

impl GenesisValidator {
    /// The entry of whoever holds `bls`, with its proof of possession.
    pub fn new(name: Name, bls: &BlsSecret, account_key: AccountKey, power: u64) -> Self {
        let (bls_key, proof_of_possession) = (bls.public(), bls.prove_possession());
        GenesisValidator { name, bls_key, proof_of_possession, account_key, power }
    }

    /// The address that names this validator.
    pub fn address(&self) -> Address {
        self.account_key.address()
    }
}

/// One account of the first state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Its address.
    pub address: Address,
    /// Its balance, above zero.
    pub balance: Amount,
}

/// The contents of `genesis.json`, not yet checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisSpec {
    /// [`FORMAT`].
    pub format: u16,
    /// Name of the chain, for people.
    pub chain_name: Name,
    /// Unix milliseconds; the first block's time is greater.
    pub genesis_time_ms: u64,
    /// The first validators.
    pub validators: Vec<GenesisValidator>,
    /// The first accounts.
    pub accounts: Vec<GenesisAccount>,
    /// The rules of the chain.
    pub params: ChainParams,
}

impl GenesisSpec {
    /// A spec without validators and accounts.
    pub fn new(chain_name: Name, genesis_time_ms: u64, params: ChainParams) -> Self {
        let (validators, accounts) = (Vec::new(), Vec::new());
        GenesisSpec { format: FORMAT, chain_name, genesis_time_ms, validators, accounts, params }
    }

    /// Adds a validator in its place; refuses bad keys, a bad proof and anything it shares with another.
    pub fn add_validator(&mut self, validator: GenesisValidator) -> Result<(), Error> {
        let at = self.validators.partition_point(|v| v.address() < validator.address());
        self.validators.insert(at, validator);
        let checked = check::validator(&self.validators, at).and_then(|()| check::validators_together(self));
        if checked.is_err() {
            self.validators.remove(at);
        }
        checked
    }

    /// Adds an account in its place; refuses an address that is there already and a supply beyond the bound.
    pub fn add_account(&mut self, address: Address, balance: Amount) -> Result<(), Error> {
        let at = self.accounts.partition_point(|a| a.address < address);
        self.accounts.insert(at, GenesisAccount { address, balance });
        let checked = check::accounts(self);
        if checked.is_err() {
            self.accounts.remove(at);
        }
        checked.map(|_| ())
    }

    /// Checks every rule; the [`Genesis`] returned cannot change any more.
    pub fn validate(&self) -> Result<Genesis, Error> {
        Genesis::from_spec(self.clone())
    }

    /// The chain id of this spec, if it is valid.
    pub fn hash(&self) -> Result<ChainId, Error> {
        self.validate().map(|g| g.chain_id())
    }
}
