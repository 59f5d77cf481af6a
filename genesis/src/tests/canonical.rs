//! What the chain id covers and what it does not.

use super::*;
use proptest::prelude::*;

#[test]
fn golden_file_and_chain_id() {
    let genesis = spec().validate().unwrap();
    assert_eq!(genesis.to_json_pretty(), GOLDEN_JSON, "the file's form changed: that needs an ADR");
    assert_eq!(
        genesis.chain_id().to_string(),
        GOLDEN_CHAIN_ID,
        "the canonical form changed: that needs an ADR"
    );
    assert_eq!(Genesis::parse(GOLDEN_JSON.as_bytes()).unwrap(), genesis);
    assert_eq!(genesis.supply(), "1000000.25".parse().unwrap());
}

#[test]
fn layout_of_the_canonical_form_is_the_documented_one() {
    // Written out field by field, without borsh, after docs/formats/genesis.md.
    fn text(out: &mut Vec<u8>, s: &str) {
        out.extend((s.len() as u32).to_le_bytes());
        out.extend(s.as_bytes());
    }
    let spec = spec();
    let mut bytes = Vec::new();
    bytes.extend(1u16.to_le_bytes());
    text(&mut bytes, "golden");
    bytes.extend(1_767_225_600_000u64.to_le_bytes());
    bytes.extend(3u32.to_le_bytes());
    for v in &spec.validators {
        text(&mut bytes, v.name.as_str());
        bytes.extend(v.bls_key.0);
        bytes.extend(v.proof_of_possession.0);
        bytes.push(1);
        bytes.extend(v.account_key.key);
        bytes.extend(v.power.to_le_bytes());
    }
    bytes.extend(2u32.to_le_bytes());
    for a in &spec.accounts {
        bytes.extend(a.address.0);
        bytes.extend(a.balance.0.to_le_bytes());
    }
    bytes.extend(metanode_types::codec::encode(&spec.params));
    let mut preimage = vec![b"metanode/genesis/v1".len() as u8];
    preimage.extend(b"metanode/genesis/v1");
    preimage.extend(&bytes);
    assert_eq!(spec.hash().unwrap(), ChainId(metanode_types::hash::sha256(&preimage)));
}

#[test]
fn order_in_the_file_does_not_matter() {
    let ordered = spec().validate().unwrap();
    let mut shuffled = spec();
    shuffled.validators.rotate_left(1);
    shuffled.accounts.reverse();
    assert_ne!(shuffled, spec());
    assert_eq!(shuffled.validate().unwrap(), ordered);
    let set = ordered.validator_set();
    assert!(set.members().is_sorted_by_key(|v| v.address()));
    assert_eq!(set.total_power(), 60);
    for (member, entry) in set.members().iter().zip(&ordered.spec().validators) {
        assert_eq!(ordered.validator_name(&member.address()), Some(&entry.name));
        assert_eq!(member.power, entry.power);
    }
    assert_eq!(ordered.validator_name(&Address([9; 32])), None);
}

/// Every change of one value, and whether it keeps the spec valid.
fn change(spec: &mut GenesisSpec, which: u8, n: u64) {
    let at = usize::try_from(n).unwrap_or(0) % 3;
    match which {
        0 => spec.chain_name = format!("chain-{n}").parse().unwrap(),
        1 => spec.genesis_time_ms = 1 + n,
        2 => spec.validators[at].power = 100 + n,
        3 => spec.validators[at].name = format!("other-{n}").parse().unwrap(),
        4 => spec.accounts[at % 2].balance = Amount(7_000_000_000_000 + u128::from(n)),
        5 => spec.accounts[at % 2].address = Address([n as u8; 32]),
        6 => spec.params.retention_ms = 1_000_000 + n,
        7 => spec.params.tariff.cpu_ms = Amount(1_000 + u128::from(n)),
        8 => spec.params.security[at].max_pids = 5_000 + n as u32,
        9 => spec.validators[at] = validator(20 + (n % 100) as u8, 10),
        10 => drop(spec.validators.remove(at)),
        _ => drop(spec.accounts.remove(at % 2)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_value_is_covered_by_the_chain_id(which in 0u8..12, n in 0u64..1_000_000) {
        let original = spec().validate().unwrap();
        let mut edited = spec();
        change(&mut edited, which, n);
        let edited = edited.validate().unwrap();
        prop_assert_ne!(edited.chain_id(), original.chain_id());
        prop_assert!(diff(&original, &edited).is_some());
        prop_assert!(edited.expect_chain_id(&original.chain_id()).is_err());
        prop_assert!(edited.expect_same(&original).is_err());
    }

    #[test]
    fn text_and_back_is_the_same(which in 0u8..12, n in 0u64..1_000_000) {
        let mut spec = spec();
        change(&mut spec, which, n);
        let genesis = spec.validate().unwrap();
        let again = Genesis::parse(genesis.to_json_pretty().as_bytes()).unwrap();
        prop_assert_eq!(&again, &genesis);
        prop_assert_eq!(again.to_json_pretty(), genesis.to_json_pretty());
        prop_assert!(diff(&again, &genesis).is_none());
    }
}
