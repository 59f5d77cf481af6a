//! Torn ends are cut and reported, damage is named, and nothing is skipped.

use super::*;
use crate::api::{TimeoutId, TimeoutKind};
use proptest::prelude::*;

fn records(n: u64) -> Vec<WalRecord> {
    (0..n)
        .map(|i| WalRecord::Timeout(TimeoutId { height: 9, round: i as u32, kind: TimeoutKind::Prevote }))
        .collect()
}

fn log(records: &[WalRecord]) -> Vec<u8> {
    records.iter().flat_map(encode).collect()
}

#[test]
fn what_was_appended_comes_back() {
    let records = records(5);
    let bytes = log(&records);
    assert_eq!(recover(&bytes), Ok(Recovery { records, valid_len: bytes.len(), torn: None }));
    assert_eq!(recover(&[]), Ok(Recovery { records: vec![], valid_len: 0, torn: None }));
}

#[test]
fn a_torn_end_is_cut_at_every_length() {
    let all = records(3);
    let bytes = log(&all);
    let frame = bytes.len() / 3;
    for len in 0..bytes.len() {
        let got = recover(&bytes[..len]).unwrap();
        assert_eq!(got.records, all[..len / frame], "cut at {len}");
        assert_eq!(got.valid_len, len / frame * frame);
        assert_eq!(
            got.torn.map(|t| (t.offset, t.len)),
            (len % frame > 0).then_some((len / frame * frame, len % frame))
        );
    }
}

#[test]
fn zeros_behind_the_log_are_a_torn_end() {
    let all = records(2);
    let mut bytes = log(&all);
    let len = bytes.len();
    bytes.resize(len + 4096, 0);
    let got = recover(&bytes).unwrap();
    assert_eq!((got.records, got.valid_len), (all, len));
    assert_eq!(got.torn.map(|t| t.why), Some("no frame starts here"));
}

#[test]
fn every_flipped_bit_is_an_error_that_names_the_frame_or_cuts_only_the_last() {
    let all = records(4);
    let good = log(&all);
    let frame = good.len() / 4;
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hit = bit / 8 / frame;
        match recover(&bytes) {
            Err(WalError::Damaged { offset, next, .. }) => {
                assert!(hit < 3, "bit {bit}");
                assert_eq!((offset, next), (hit * frame, (hit + 1) * frame), "bit {bit}");
            }
            Ok(r) => {
                assert_eq!(hit, 3, "bit {bit} of frame {hit} was swallowed");
                assert_eq!((r.records, r.valid_len), (all[..3].to_vec(), 3 * frame));
                assert!(r.torn.is_some());
            }
            Err(e) => panic!("bit {bit}: {e}"),
        }
    }
}

#[test]
fn an_intact_frame_that_is_no_record_is_an_error() {
    for payload in [&b""[..], b"\x02\x05", b"\x01\x09", b"\x01\x05\x00"] {
        let mut bytes = log(&records(1));
        let at = bytes.len();
        bytes.extend(frame::wrap(payload));
        assert!(
            matches!(recover(&bytes), Err(WalError::Undecodable { offset, .. }) if offset == at),
            "{payload:?}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(r) = recover(&bytes) {
            prop_assert!(r.valid_len <= bytes.len());
        }
    }

    #[test]
    fn garbage_behind_an_intact_log_never_changes_what_is_read(tail in prop::collection::vec(any::<u8>(), 1..200)) {
        let all = records(3);
        let mut bytes = log(&all);
        let len = bytes.len();
        bytes.extend(tail);
        let r = recover(&bytes).unwrap();
        prop_assert_eq!((r.records, r.valid_len), (all, len));
    }
}
