//! Bytes of strangers, bounds and the replacement of files.

use super::*;
use proptest::prelude::*;

fn parse_error(text: &str) -> String {
    match GenesisSpec::parse(text.as_bytes()) {
        Err(e @ Error::Parse(_)) => e.to_string(),
        other => panic!("expected a parse error, got {other:?}"),
    }
}

#[test]
fn bad_json_is_refused_with_its_place() {
    let line = |needle: &str| GOLDEN_JSON.lines().position(|l| l.contains(needle)).unwrap() + 1;
    let unknown = parse_error(&GOLDEN_JSON.replacen("\"power\"", "\"votes\"", 1));
    assert!(unknown.contains("unknown field `votes`"), "{unknown}");
    assert!(unknown.contains(&format!("line {}", line("\"power\""))), "{unknown}");
    let params = parse_error(&GOLDEN_JSON.replacen("\"retention_ms\"", "\"retentionMs\"", 1));
    assert!(params.contains("unknown field `retentionMs`"), "{params}");
    let twice = parse_error(&GOLDEN_JSON.replacen("\"format\": 1,", "\"format\": 1, \"format\": 1,", 1));
    assert!(twice.contains("duplicate field `format`"), "{twice}");
    let missing = parse_error(&GOLDEN_JSON.replacen("\"format\": 1,", "", 1));
    assert!(missing.contains("missing field `format`"), "{missing}");
    let after = parse_error(&format!("{GOLDEN_JSON}{{}}"));
    assert!(after.contains("trailing characters"), "{after}");
    let deep = parse_error(&"[".repeat(1000));
    assert!(deep.contains("line 1"), "{deep}");
    let nested =
        GOLDEN_JSON.replacen("1767225600000", &format!("{}0{}", "[".repeat(500), "]".repeat(500)), 1);
    parse_error(&nested);
    for (from, to) in [
        ("\"golden\"", "\"Golden Chain\""),
        ("1767225600000", "-1"),
        ("1767225600000", "1.5"),
        ("\"0.25\"", "0.25"),
        ("\"0.25\"", "\"-0.25\""),
        ("\"01:", "\"1:"),
        ("\"0x", "\"0X"),
    ] {
        parse_error(&GOLDEN_JSON.replacen(from, to, 1));
    }
    for end in (0..GOLDEN_JSON.trim_end().len()).step_by(37) {
        parse_error(&GOLDEN_JSON[..end]);
    }
}

#[test]
fn load_and_save() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("genesis.json");
    assert!(matches!(Genesis::load(&path), Err(Error::Read { .. })));
    assert!(matches!(Genesis::load(dir.path()), Err(Error::Read { .. })), "a directory is no file");
    let mut spec = spec();
    spec.save(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), GOLDEN_JSON);
    spec.validators[0].power = 77;
    spec.save(&path).unwrap();
    assert_eq!(GenesisSpec::load(&path).unwrap(), spec, "the second save replaced the first");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["genesis.json"], "no draft is left");
    let inside_a_file = path.join("genesis.json");
    assert!(matches!(spec.save(&inside_a_file), Err(Error::Write { .. })));
    std::fs::write(&path, vec![b' '; MAX_GENESIS_BYTES + 1]).unwrap();
    assert!(matches!(Genesis::load(&path), Err(Error::TooLong { cap: MAX_GENESIS_BYTES })));
}

#[test]
fn the_largest_genesis_fits_its_file() {
    let mut spec = spec();
    let mut widest = spec.validators[0].clone();
    widest.name = "n".repeat(63).parse().unwrap();
    widest.power = u64::MAX;
    spec.validators = vec![widest; MAX_VALIDATORS];
    let richest = GenesisAccount { address: Address([0xff; 32]), balance: Amount(u128::MAX) };
    spec.accounts = vec![richest; MAX_ACCOUNTS];
    assert!(spec.to_json_pretty().len() <= MAX_GENESIS_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_text_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Genesis::parse(&bytes).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_chain_or_the_same_value(
        at in 0..GOLDEN_JSON.len(),
        byte in 0x20u8..0x7f,
    ) {
        let mut text = GOLDEN_JSON.as_bytes().to_vec();
        text[at] = byte;
        let original = spec().validate().unwrap();
        if let Ok(parsed) = Genesis::parse(&text) {
            let same = parsed.to_json_pretty() == GOLDEN_JSON;
            prop_assert_eq!(same, parsed.chain_id() == original.chain_id());
        }
    }
}
