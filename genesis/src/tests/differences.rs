//! The first difference is named.

use super::*;

fn first(edit: impl FnOnce(&mut GenesisSpec)) -> FirstDifference {
    let original = spec().validate().unwrap();
    let mut edited = spec();
    edit(&mut edited);
    let edited = edited.validate().unwrap();
    diff(&original, &edited).expect("the edit changed something")
}

fn named(path: &str, left: impl ToString, right: impl ToString) -> FirstDifference {
    FirstDifference { path: path.into(), left: left.to_string(), right: right.to_string() }
}

#[test]
fn each_edited_field_is_named() {
    let (name, power) = (spec().validators[2].name.clone(), spec().validators[2].power);
    assert_eq!(
        first(|s| s.chain_name = "forged".parse().unwrap()),
        named("chain_name", "\"golden\"", "\"forged\"")
    );
    assert_eq!(
        first(|s| s.genesis_time_ms += 1),
        named("genesis_time_ms", 1_767_225_600_000u64, 1_767_225_600_001u64)
    );
    assert_eq!(first(|s| s.validators[2].power += 1), named("validators[2].power", power, power + 1));
    assert_eq!(
        first(|s| s.validators[2].name = "eve".parse().unwrap()),
        named("validators[2].name", format!("\"{name}\""), "\"eve\"")
    );
    let balance = spec().accounts[1].balance;
    assert_eq!(
        first(|s| s.accounts[1].balance = Amount(balance.0 + 1)),
        named("accounts[1].balance", format!("\"{balance}\""), format!("\"{}\"", Amount(balance.0 + 1)))
    );
    assert_eq!(
        first(|s| s.params.tariff.base_fee = Amount(101)),
        named("params.tariff.base_fee", "\"0.0001\"", "\"0.000101\"")
    );
    assert_eq!(first(|s| s.params.security[2].max_pids = 1), named("params.security[2].max_pids", 4096, 1));
}

#[test]
fn a_missing_or_added_entry_is_absent_on_one_side() {
    let removed = spec().validators[1].address();
    assert_eq!(first(|s| drop(s.validators.remove(1))), named("validators[1]", removed, "absent"));
    let added = Address([0; 32]);
    assert_eq!(first(|s| s.add_account(added, Amount(1)).unwrap()), named("accounts[0]", "absent", added));
    let last = Address([0xff; 32]);
    assert_eq!(first(|s| s.add_account(last, Amount(1)).unwrap()), named("accounts[2]", "absent", last));
}

#[test]
fn the_first_of_several_in_file_order_is_named() {
    let difference = first(|s| {
        s.params.retention_ms = 1;
        s.accounts[0].balance = Amount(1);
        s.validators[0].power = 99;
    });
    assert_eq!(difference.path, "validators[0].power");
}

#[test]
fn another_genesis_is_refused_with_both_sides_named() {
    let original = spec().validate().unwrap();
    let mut edited = spec();
    edited.validators[0].power = 11;
    let edited = edited.validate().unwrap();
    assert!(original.expect_same(&original).is_ok());
    assert!(original.expect_chain_id(&original.chain_id()).is_ok());
    let text = edited.expect_same(&original).unwrap_err().to_string();
    let stored = original.spec().validators[0].power;
    assert!(text.contains(&format!("at validators[0].power it has 11, stored is {stored}")), "{text}");
    let text = edited.expect_chain_id(&original.chain_id()).unwrap_err().to_string();
    assert!(text.contains(&original.chain_id().to_string()) && text.contains(&edited.chain_id().to_string()));
}
