//! What the options of `cage run` accept and refuse.

use super::given::{Net, parse_net, parse_seed};

#[test]
fn a_seed_is_a_number_in_hexadecimal() {
    assert_eq!(parse_seed("0").expect("zero"), "0".repeat(64));
    assert_eq!(parse_seed("aB").expect("short"), format!("{}ab", "0".repeat(62)));
    assert_eq!(parse_seed(&"f".repeat(64)).expect("whole"), "f".repeat(64));
    for wrong in ["", "xyz", "0x1", &"0".repeat(65)] {
        assert!(parse_seed(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_network_is_none_or_recorded() {
    assert_eq!(parse_net("none"), Ok(Net::default()));
    let two = Net(vec!["example.org:80".into(), "127.0.0.1:8080".into()]);
    assert_eq!(parse_net("record:example.org:80,127.0.0.1:8080").as_ref(), Ok(&two));
    assert_eq!(parse_net("record:example.org:80,record:127.0.0.1:8080"), Ok(two));
    for wrong in ["", "all", "record:", "record:host", "record::80", "record:a:99999", "record:a:1,"] {
        assert!(parse_net(wrong).is_err(), "{wrong:?}");
    }
}
