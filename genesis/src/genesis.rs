//! A genesis that passed every check.
//!
//! Owns the derived values (chain id, validator set, supply), computed once. There is no way to change a
//! [`Genesis`] and no way to make one around the checks.

use crate::diff::diff;
use crate::error::Error;
use crate::spec::{GenesisAccount, GenesisSpec};
use crate::{canonical, check};
use metanode_types::ids::{Address, ChainId, Name};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use metanode_types::validator::{Validator, ValidatorSet};
use metanode_types::verify::TrustRoot;

/// A checked genesis, in canonical order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    spec: GenesisSpec,
    chain_id: ChainId,
    validators: ValidatorSet,
    supply: Amount,
}

impl Genesis {
    /// Checks `spec` and brings it into canonical order.
    pub fn from_spec(mut spec: GenesisSpec) -> Result<Self, Error> {
        let supply = check::all(&spec)?;
        spec.validators.sort_by_key(|v| v.address());
        spec.accounts.sort_by_key(|a| a.address);
        let members = spec.validators.iter().map(|v| Validator {
            bls: v.bls_key,
            account: v.account_key,
            power: v.power,
        });
        let validators = ValidatorSet::new(members.collect()).expect("every rule of a set was checked");
        let chain_id = canonical::chain_id(&spec);
        assert_eq!(validators.len(), spec.validators.len());
        Ok(Genesis { spec, chain_id, validators, supply })
    }

    /// Names the chain: hash of the canonical form.
    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// Name of the chain, for people.
    pub fn chain_name(&self) -> &Name {
        &self.spec.chain_name
    }

    /// Unix milliseconds; the time of height 0.
    pub fn time_ms(&self) -> u64 {
        self.spec.genesis_time_ms
    }

    /// Validators of height 1.
    pub fn validator_set(&self) -> &ValidatorSet {
        &self.validators
    }

    /// Rules of the chain.
    pub fn params(&self) -> &ChainParams {
        &self.spec.params
    }

    /// First accounts, ascending by address, each with money.
    pub fn accounts(&self) -> &[GenesisAccount] {
        &self.spec.accounts
    }

    /// Sum of the first balances.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// What offline verification needs of this genesis.
    pub fn trust_root(&self) -> TrustRoot {
        let (validators, params) = (self.validators.clone(), self.spec.params.clone());
        TrustRoot { chain_id: self.chain_id, validators, params, supply: self.supply }
    }

    /// Name of the validator with this address.
    pub fn validator_name(&self, address: &Address) -> Option<&Name> {
        self.spec.validators.iter().find(|v| v.address() == *address).map(|v| &v.name)
    }

    /// The spec, in canonical order.
    pub fn spec(&self) -> &GenesisSpec {
        &self.spec
    }

    /// Refuses when this is not the genesis of chain `expected`.
    pub fn expect_chain_id(&self, expected: &ChainId) -> Result<(), Error> {
        if self.chain_id == *expected {
            return Ok(());
        }
        Err(Error::WrongChain { expected: *expected, got: self.chain_id })
    }

    /// Refuses when this is not the `stored` genesis; names the first difference.
    pub fn expect_same(&self, stored: &Genesis) -> Result<(), Error> {
        let difference = diff(stored, self);
        assert_eq!(difference.is_none(), self.chain_id == stored.chain_id, "the chain id covers every value");
        difference.map_or(Ok(()), |difference| Err(Error::Differs { difference }))
    }
}
