//! The canonical form, whose hash is the chain id.
//!
//! Owns the byte layout written in `docs/formats/genesis.md`. It borrows from a spec that is already sorted
//! and checked. Frozen: a change to a field here changes the id of every chain.

use crate::spec::GenesisSpec;
use borsh::BorshSerialize;
use metanode_types::account::AccountKey;
use metanode_types::bls::{BlsPublic, BlsSignature};
use metanode_types::hash::{Domain, hash_value};
use metanode_types::ids::{Address, ChainId, Name};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;

#[derive(BorshSerialize)]
struct Canonical<'a> {
    format: u16,
    chain_name: &'a Name,
    genesis_time_ms: u64,
    validators: Vec<CanonicalValidator<'a>>,
    accounts: Vec<(Address, Amount)>,
    params: &'a ChainParams,
}

#[derive(BorshSerialize)]
struct CanonicalValidator<'a> {
    name: &'a Name,
    bls_key: &'a BlsPublic,
    proof_of_possession: &'a BlsSignature,
    account_key: &'a AccountKey,
    power: u64,
}

/// The chain id of a spec whose entries are sorted by address.
pub(crate) fn chain_id(spec: &GenesisSpec) -> ChainId {
    debug_assert!(spec.validators.is_sorted_by_key(|v| v.address()));
    debug_assert!(spec.accounts.is_sorted_by_key(|a| a.address));
    let validators = spec.validators.iter().map(|v| CanonicalValidator {
        name: &v.name,
        bls_key: &v.bls_key,
        proof_of_possession: &v.proof_of_possession,
        account_key: &v.account_key,
        power: v.power,
    });
    let canonical = Canonical {
        format: spec.format,
        chain_name: &spec.chain_name,
        genesis_time_ms: spec.genesis_time_ms,
        validators: validators.collect(),
        accounts: spec.accounts.iter().map(|a| (a.address, a.balance)).collect(),
        params: &spec.params,
    };
    ChainId(hash_value(Domain::Genesis, &canonical))
}
