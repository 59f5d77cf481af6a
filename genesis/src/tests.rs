//! Tests of the checks, the canonical form, the file and the differences.

use crate::*;
use metanode_types::account::{AccountKey, AccountSecret, SCHEME_HYBRID};
use metanode_types::bls::{BlsPublic, BlsSecret};
use metanode_types::ids::{Address, ChainId};
use metanode_types::limits::MAX_VALIDATORS;
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;

/// Chain id of [`spec`]. It changes only together with every chain in existence: that needs an ADR.
const GOLDEN_CHAIN_ID: &str = "0x442b3b75448d5241eeb8ca67af82b8797eda8fc30e03ff84552f26a503c323e4";
/// The file of [`spec`], byte by byte.
const GOLDEN_JSON: &str = include_str!("../tests/golden.json");

fn bls(i: u8) -> BlsSecret {
    BlsSecret::from_seed(&[i; 32])
}

fn account(i: u8) -> AccountSecret {
    AccountSecret::from_seed([i; 32])
}

fn validator(i: u8, power: u64) -> GenesisValidator {
    let name = format!("validator-{i}").parse().unwrap();
    GenesisValidator::new(name, &bls(i), account(i).public(), power)
}

/// Three validators with different powers and two accounts, all made from fixed seeds.
fn spec() -> GenesisSpec {
    // Not the defaults: those may change while the golden values may not.
    let params = GenesisSpec::parse(GOLDEN_JSON.as_bytes()).unwrap().params;
    let mut spec = GenesisSpec::new("golden".parse().unwrap(), 1_767_225_600_000, params);
    for i in 1..=3 {
        spec.add_validator(validator(i, 10 * u64::from(i))).unwrap();
    }
    spec.add_account(account(4).address(), Amount(1_000_000 * Amount::MICROS)).unwrap();
    spec.add_account(account(5).address(), "0.25".parse().unwrap()).unwrap();
    spec
}

fn refusal(spec: &GenesisSpec) -> (String, Problem) {
    match spec.validate() {
        Err(Error::Invalid { entry, problem }) => (entry, problem),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

mod canonical;
mod differences;
mod files;
mod rules;
