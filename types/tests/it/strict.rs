//! Decoders on bytes of strangers: one encoding per value, no panic, no allocation by a stranger's number.
//!
//! These are the fuzz targets in the form that every run of the tests executes. Every sample's decoder gets
//! truncations, trailing bytes, every bit flipped, hostile length prefixes, splices and noise.

use crate::samples::{self, Sample};
use metanode_types::certificate::Certificate;
use metanode_types::codec::{DecodeError, decode};
use metanode_types::ids::Name;
use metanode_types::quantity::Amount;
use metanode_types::tx::SignedTx;
use proptest::prelude::*;
use std::sync::LazyLock;

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(samples::all);

/// Whatever is accepted must be the canonical encoding of what was read.
fn accepts(s: &Sample, bytes: &[u8]) -> bool {
    match (s.decode)(bytes, s.cap) {
        Ok(again) => {
            assert_eq!(again, bytes, "{}: accepted bytes that are not canonical", s.name);
            true
        }
        Err(_) => false,
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for s in SAMPLES.iter() {
        assert!(accepts(s, &s.bytes));
        for end in 0..s.bytes.len() {
            assert!(!accepts(s, &s.bytes[..end]), "{} cut at {end}", s.name);
        }
        for extra in [0u8, 1, 0xff] {
            let mut longer = s.bytes.clone();
            longer.push(extra);
            assert!(!accepts(s, &longer), "{} with a trailing {extra}", s.name);
        }
    }
}

#[test]
fn input_beyond_the_cap_is_refused_before_it_is_read() {
    for s in SAMPLES.iter() {
        let (len, cap) = (s.bytes.len(), s.bytes.len() - 1);
        assert_eq!(
            (s.decode)(&s.bytes, cap),
            Err(DecodeError::TooLong { what: "sample", len, cap }),
            "{}",
            s.name
        );
    }
}

#[test]
fn every_flipped_bit_is_refused_or_another_value() {
    let mut plain = Vec::new();
    for s in SAMPLES.iter() {
        let mut bytes = s.bytes.clone();
        let mut refused = 0;
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(!accepts(s, &bytes));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if refused == 0 {
            plain.push(s.name.as_str());
        }
    }
    // Fixed sizes, integers and opaque bytes only: every string of the right length is a value.
    assert_eq!(plain, ["Validator", "AccountKey", "AccountSignature", "TxEnvelope"]);
}

#[test]
fn a_flipped_bit_of_a_signed_transaction_is_always_refused() {
    let tx = SAMPLES.iter().find(|s| s.name == "SignedTx").unwrap();
    assert_eq!(SignedTx::decode(&tx.bytes).unwrap().check(&samples::chain()), Ok(()));
    for bit in 0..tx.bytes.len() * 8 {
        let mut bytes = tx.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let ok = SignedTx::decode(&bytes).and_then(|tx| tx.check(&samples::chain()));
        assert!(ok.is_err(), "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_of_a_certificate_is_always_refused() {
    let s = SAMPLES.iter().find(|s| s.name == "Certificate").unwrap();
    let verifies = |bytes: &[u8]| match decode::<Certificate>("certificate", bytes, s.cap) {
        Ok(certificate) => certificate.verify(&samples::chain(), &samples::validators()).is_ok(),
        Err(_) => false,
    };
    assert!(verifies(&s.bytes));
    for byte in 0..s.bytes.len() {
        for bit in [byte % 8, (byte + 3) % 8] {
            let mut bytes = s.bytes.clone();
            bytes[byte] ^= 1 << bit;
            assert!(!verifies(&bytes), "byte {byte}, bit {bit}");
        }
    }
}

#[test]
fn hostile_lengths_anywhere_are_refused_or_read_as_data() {
    for s in SAMPLES.iter() {
        for len in [u32::MAX, 1 << 31, 0x00ff_ffff] {
            for at in 0..s.bytes.len().saturating_sub(3) {
                let mut bytes = s.bytes.clone();
                bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
                accepts(s, &bytes);
            }
        }
    }
}

#[test]
fn bytes_of_other_types_never_panic() {
    for (i, s) in SAMPLES.iter().enumerate() {
        for (_, other) in SAMPLES.iter().enumerate().filter(|(j, _)| *j != i) {
            accepts(s, &other.bytes);
        }
        assert!(!accepts(s, &[]), "{} of nothing", s.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for s in SAMPLES.iter() {
            accepts(s, &bytes);
        }
    }

    #[test]
    fn small_numbers_never_panic(bytes in proptest::collection::vec(0u8..4, 0..600)) {
        for s in SAMPLES.iter() {
            accepts(s, &bytes);
        }
    }

    #[test]
    fn splices_never_panic(
        which in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        insert in proptest::collection::vec(any::<u8>(), 0..16),
    ) {
        let s = &SAMPLES[which.index(SAMPLES.len())];
        let (from, to) = (from.index(s.bytes.len()), to.index(s.bytes.len()));
        let bytes = [&s.bytes[..from], &insert, &s.bytes[to..]].concat();
        accepts(s, &bytes);
    }

    #[test]
    fn names_are_what_the_rule_says(text in "[a-z0-9A-Z._-]{0,70}") {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        let inner = bytes.iter().all(|b| edge(Some(b)) || *b == b'-');
        let want = inner && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= 63;
        prop_assert_eq!(text.parse::<Name>().is_ok(), want);
    }

    #[test]
    fn amounts_read_back(micros in any::<u128>()) {
        prop_assert_eq!(Amount(micros).to_string().parse(), Ok(Amount(micros)));
    }
}
