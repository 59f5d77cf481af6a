//! One case per rule: refused, with the entry named.

use super::*;

#[test]
fn head_of_the_file() {
    let mut s = spec();
    s.format = 2;
    assert_eq!(refusal(&s), ("format".into(), Problem::Format(2)));
    for time in [0, MAX_TIME_MS + 1, u64::MAX] {
        let mut s = spec();
        s.genesis_time_ms = time;
        assert_eq!(refusal(&s), ("genesis_time_ms".into(), Problem::Time(time)));
    }
    let mut s = spec();
    s.validators.clear();
    assert_eq!(refusal(&s), ("validators".into(), Problem::NoValidators));
}

#[test]
fn keys_and_proofs() {
    type Edit = fn(&mut GenesisValidator);
    let name = &spec().validators[1].name;
    let cases: [(&str, Edit); 8] = [
        ("bls_key", |v| v.bls_key = BlsPublic([7; 48])),
        ("bls_key", |v| {
            v.bls_key = BlsPublic([0; 48]);
            v.bls_key.0[0] = 0xc0; // the identity
        }),
        ("proof_of_possession", |v| v.bls_key = bls(99).public()),
        ("proof_of_possession", |v| v.proof_of_possession = bls(99).prove_possession()),
        // A signature of the key as an ordinary message is no proof: the tags differ.
        ("proof_of_possession", |v| {
            v.bls_key = bls(9).public();
            v.proof_of_possession = bls(9).sign(&v.bls_key.0);
        }),
        ("account_key", |v| v.account_key.scheme = SCHEME_HYBRID),
        ("account_key", |v| v.account_key.key = [2; 32]), // no point has y = 0x0202…02
        ("account_key", |v| v.account_key = AccountKey { scheme: 1, key: [0; 32] }), // order four
    ];
    for (i, (field, edit)) in cases.into_iter().enumerate() {
        let mut s = spec();
        edit(&mut s.validators[1]);
        let (entry, problem) = refusal(&s);
        assert_eq!(entry, format!("validators[1].{field} ({name})"), "case {i}");
        let fits = match field {
            "bls_key" => matches!(problem, Problem::BlsKey(_)),
            "proof_of_possession" => matches!(problem, Problem::Possession(_)),
            _ => matches!(problem, Problem::AccountKey(_)),
        };
        assert!(fits, "case {i}: {problem}");
    }
}

#[test]
fn duplicates_name_both_entries() {
    let names: Vec<String> = spec().validators.iter().map(|v| v.name.to_string()).collect();
    for field in ["name", "bls_key", "account_key"] {
        let mut s = spec();
        let first = s.validators[0].clone();
        match field {
            "name" => s.validators[2].name = first.name,
            "bls_key" => {
                s.validators[2].bls_key = first.bls_key;
                s.validators[2].proof_of_possession = first.proof_of_possession;
            }
            _ => s.validators[2].account_key = first.account_key,
        }
        let later = if field == "name" { &names[0] } else { &names[2] };
        let other = format!("validators[0].{field} ({})", names[0]);
        assert_eq!(refusal(&s), (format!("validators[2].{field} ({later})"), Problem::Duplicate { other }));
    }
    let mut s = spec();
    s.accounts.push(s.accounts[0]);
    let entry = format!("accounts[2].address ({})", s.accounts[0].address);
    assert_eq!(refusal(&s), (entry, Problem::Duplicate { other: "accounts[0].address".into() }));
}

#[test]
fn sums_and_counts() {
    let mut s = spec();
    s.validators[1].power = 0;
    let name = s.validators[1].name.clone();
    assert_eq!(refusal(&s), (format!("validators[1].power ({name})"), Problem::NoPower));
    for power in [1 << 60, u64::MAX] {
        s.validators[1].power = power;
        assert_eq!(refusal(&s), (format!("validators[1].power ({name})"), Problem::PowerOverflow));
    }
    s.validators[1].power = (1 << 60) - s.validators[0].power - s.validators[2].power;
    assert_eq!(s.validate().unwrap().validator_set().total_power(), 1 << 60);
    let many = vec![s.validators[0].clone(); MAX_VALIDATORS + 1];
    let crowd = GenesisSpec { validators: many, ..spec() };
    assert_eq!(refusal(&crowd), ("validators".into(), Problem::TooManyValidators(MAX_VALIDATORS + 1)));

    let mut s = spec();
    let entry = format!("accounts[1].balance ({})", s.accounts[1].address);
    s.accounts[1].balance = Amount::ZERO;
    assert_eq!(refusal(&s), (entry.clone(), Problem::NoBalance));
    for balance in [MAX_SUPPLY, Amount(u128::MAX)] {
        s.accounts[1].balance = balance;
        assert_eq!(refusal(&s), (entry.clone(), Problem::SupplyOverflow));
    }
    s.accounts[1].balance = Amount(MAX_SUPPLY.0 - s.accounts[0].balance.0);
    let genesis = s.validate().unwrap();
    assert_eq!(genesis.supply(), MAX_SUPPLY);
    assert_eq!(Genesis::parse(genesis.to_json_pretty().as_bytes()).unwrap(), genesis);
    s.accounts = vec![s.accounts[0]; MAX_ACCOUNTS + 1];
    assert_eq!(refusal(&s), ("accounts".into(), Problem::TooManyAccounts(MAX_ACCOUNTS + 1)));
}

#[test]
fn parameters_and_their_relations() {
    type Edit = fn(&mut ChainParams);
    let cases: [(&str, Edit); 8] = [
        ("max_tx_bytes", |p| p.max_tx_bytes = 65_537),
        ("max_block_bytes", |p| p.max_block_bytes = 2 * p.max_tx_bytes - 1),
        ("idle_interval_ms", |p| p.idle_interval_ms = p.node_timeout_ms / 3 + 1),
        ("heartbeat_interval_ms", |p| p.heartbeat_interval_ms = p.node_timeout_ms),
        ("tariff.burn_permille", |p| p.tariff.burn_permille = 1001),
        ("consensus", |p| p.consensus.propose_ms = 0),
        ("security", |p| p.security.swap(0, 1)),
        ("idle_interval_ms", |p| p.idle_interval_ms = u64::MAX),
    ];
    for (name, edit) in cases {
        let mut s = spec();
        edit(&mut s.params);
        let (entry, problem) = refusal(&s);
        assert_eq!(entry, format!("params.{name}"));
        assert!(matches!(problem, Problem::Params(_)));
    }
}

#[test]
fn a_refused_step_leaves_the_spec_as_it_was() {
    let mut s = spec();
    let mut rogue = validator(7, 1);
    rogue.proof_of_possession = bls(8).prove_possession();
    assert!(matches!(s.add_validator(rogue), Err(Error::Invalid { problem: Problem::Possession(_), .. })));
    assert!(s.add_validator(validator(1, 1)).is_err(), "the same keys and name again");
    assert!(s.add_validator(validator(7, 0)).is_err());
    assert!(s.add_account(account(4).address(), Amount(1)).is_err());
    assert!(s.add_account(account(9).address(), Amount::ZERO).is_err());
    assert!(s.add_account(account(9).address(), MAX_SUPPLY).is_err());
    assert_eq!(s, spec());
    assert!(
        s.add_validator(validator(7, 1)).is_ok() && s.add_account(account(9).address(), Amount(1)).is_ok()
    );
    assert!(s.validators.is_sorted_by_key(|v| v.address()) && s.accounts.is_sorted_by_key(|a| a.address));
}
