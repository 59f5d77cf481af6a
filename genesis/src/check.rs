//! The rules that a spec must keep.
//!
//! Owns every check between the parsed file and a [`crate::Genesis`]. The first broken rule is reported, cheap
//! rules before signatures, with the path of the entry. Refuses nothing for the order of entries: the
//! canonical form sorts them.

use crate::error::{Error, Problem};
use crate::spec::{FORMAT, GenesisSpec, GenesisValidator};
use metanode_types::account::{AccountKey, AccountSignature, SignatureError};
use metanode_types::limits::MAX_VALIDATORS;
use metanode_types::quantity::Amount;
use std::collections::BTreeMap;

/// Accounts in one genesis at most; with [`MAX_VALIDATORS`] validators the file still fits its byte bound.
pub const MAX_ACCOUNTS: usize = 16_384;
/// Money in existence at most: balances stay exact in signed 128 bits, also when multiplied by a permille.
pub const MAX_SUPPLY: Amount = Amount(1 << 100);
/// Last accepted time: the end of the year 9999. Sums of times and durations stay far from overflow.
pub const MAX_TIME_MS: u64 = 253_402_300_799_999;
/// Voting power in a set at most; the bound of `ValidatorSet`.
const MAX_POWER: u64 = 1 << 60;

fn refuse<T>(entry: impl Into<String>, problem: Problem) -> Result<T, Error> {
    Err(Error::Invalid { entry: entry.into(), problem })
}

/// Checks everything; returns the supply.
pub(crate) fn all(spec: &GenesisSpec) -> Result<Amount, Error> {
    if spec.format != FORMAT {
        return refuse("format", Problem::Format(spec.format));
    }
    if spec.genesis_time_ms == 0 || spec.genesis_time_ms > MAX_TIME_MS {
        return refuse("genesis_time_ms", Problem::Time(spec.genesis_time_ms));
    }
    if spec.validators.is_empty() {
        return refuse("validators", Problem::NoValidators);
    }
    validators_together(spec)?;
    for at in 0..spec.validators.len() {
        validator(&spec.validators, at)?;
    }
    let supply = accounts(spec)?;
    spec.params.validate().or_else(|e| refuse(format!("params.{}", e.name), Problem::Params(e.why)))?;
    Ok(supply)
}

/// Checks one validator by itself: power, keys, proof of possession.
pub(crate) fn validator(validators: &[GenesisValidator], at: usize) -> Result<(), Error> {
    let v = &validators[at];
    let entry = |field: &str| format!("validators[{at}].{field} ({})", v.name);
    v.bls_key.validate().or_else(|e| refuse(entry("bls_key"), Problem::BlsKey(e)))?;
    v.bls_key
        .verify_possession(&v.proof_of_possession)
        .or_else(|e| refuse(entry("proof_of_possession"), Problem::Possession(e)))?;
    account_key(&v.account_key).or_else(|why| refuse(entry("account_key"), Problem::AccountKey(why)))
}

/// Checks that a key is of a known scheme, is a point, and that not just anybody can sign for it.
fn account_key(key: &AccountKey) -> Result<(), &'static str> {
    // R of order four and S = 0: under ZIP-215 these bytes are a signature of every message exactly when the
    // key itself is of small order, which means that the key has no secret.
    match key.verify(&[], &AccountSignature([0; 64])) {
        Err(SignatureError::Signature) => Ok(()),
        Err(SignatureError::Scheme(_)) => Err("its scheme is not 01 (Ed25519)"),
        Err(SignatureError::Key) => Err("not a point of the Ed25519 curve"),
        Ok(()) => Err("a point of small order: anybody could sign for it"),
    }
}

/// Checks what concerns all validators: number, names, keys, power.
pub(crate) fn validators_together(spec: &GenesisSpec) -> Result<(), Error> {
    let validators = &spec.validators;
    if validators.len() > MAX_VALIDATORS {
        return refuse("validators", Problem::TooManyValidators(validators.len()));
    }
    let (mut names, mut bls, mut keys) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut total = 0u64;
    for (at, v) in validators.iter().enumerate() {
        let seen = [
            ("name", names.insert(&v.name, at)),
            ("bls_key", bls.insert(v.bls_key, at)),
            ("account_key", keys.insert(v.account_key, at)),
        ];
        for (field, earlier) in seen {
            if let Some(earlier) = earlier {
                let other = format!("validators[{earlier}].{field} ({})", validators[earlier].name);
                return refuse(
                    format!("validators[{at}].{field} ({})", v.name),
                    Problem::Duplicate { other },
                );
            }
        }
        let power = format!("validators[{at}].power ({})", v.name);
        if v.power == 0 {
            return refuse(power, Problem::NoPower);
        }
        match total.checked_add(v.power).filter(|t| *t <= MAX_POWER) {
            Some(sum) => total = sum,
            None => return refuse(power, Problem::PowerOverflow),
        }
    }
    Ok(())
}

/// Checks the accounts; returns the supply.
pub(crate) fn accounts(spec: &GenesisSpec) -> Result<Amount, Error> {
    if spec.accounts.len() > MAX_ACCOUNTS {
        return refuse("accounts", Problem::TooManyAccounts(spec.accounts.len()));
    }
    let mut seen = BTreeMap::new();
    let mut supply = Amount::ZERO;
    for (at, a) in spec.accounts.iter().enumerate() {
        if let Some(earlier) = seen.insert(a.address, at) {
            let other = format!("accounts[{earlier}].address");
            return refuse(format!("accounts[{at}].address ({})", a.address), Problem::Duplicate { other });
        }
        let entry = || format!("accounts[{at}].balance ({})", a.address);
        if a.balance == Amount::ZERO {
            return refuse(entry(), Problem::NoBalance);
        }
        match supply.checked_add(a.balance).filter(|s| *s <= MAX_SUPPLY) {
            Some(sum) => supply = sum,
            None => return refuse(entry(), Problem::SupplyOverflow),
        }
    }
    Ok(supply)
}
