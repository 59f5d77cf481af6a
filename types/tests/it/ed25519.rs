//! Account signatures: Wycheproof, and the points on which ZIP-215 and other rules part.
//!
//! What ZIP-215 demands (zips.z.cash/zip-0215): A and R may be any encodings of points, canonical or not, of
//! any order; S must be canonical; the equation is multiplied by the cofactor. Only then do single and batch
//! verification agree on every input.

use curve25519_dalek::{EdwardsPoint, Scalar, constants};
use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use metanode_types::account::{AccountKey, AccountSecret, AccountSignature, SCHEME_ED25519, SignatureError};
use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use sha2::{Digest as _, Sha512};

fn single(key: [u8; 32], signature: [u8; 64], message: &[u8]) -> bool {
    AccountKey { scheme: SCHEME_ED25519, key }.verify(message, &AccountSignature(signature)).is_ok()
}

fn batched(items: &[([u8; 32], [u8; 64])], message: &[u8]) -> bool {
    let mut verifier = batch::Verifier::new();
    for (key, signature) in items {
        verifier.queue((VerificationKeyBytes::from(*key), Signature::from(*signature), message));
    }
    verifier.verify(ChaCha20Rng::from_seed([7; 32])).is_ok()
}

/// Verifies alone and together with an honest signature; fails when the two disagree.
fn verifies(key: [u8; 32], signature: [u8; 64], message: &[u8]) -> bool {
    let alone = single(key, signature, message);
    let honest = AccountSecret::from_seed([42; 32]);
    let honest = (honest.public().key, honest.sign(message).0);
    assert_eq!(batched(&[(key, signature)], message), alone, "a batch of one disagrees");
    assert_eq!(batched(&[honest, (key, signature)], message), alone, "a batch of two disagrees");
    alone
}

/// Wycheproof cases (by `tcId`) that the suite calls invalid after RFC 8032 and that ZIP-215 accepts.
///
/// 151: R encodes y = 1 with the sign of x set. RFC 8032 refuses that encoding, because x is 0 there; ZIP-215
/// reads it as the identity, and the equation holds.
const ZIP215_ACCEPTS: [u64; 1] = [151];

#[test]
fn wycheproof() {
    let path = crate::vectors().join("wycheproof/ed25519_test.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut differing = Vec::new();
    let (mut run, mut wrong_length) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let text = |v: &Value| hex::decode(v.as_str().unwrap()).unwrap();
        let key: [u8; 32] = text(&group["publicKey"]["pk"]).try_into().unwrap();
        for case in group["tests"].as_array().unwrap() {
            run += 1;
            let ok = match <[u8; 64]>::try_from(text(&case["sig"])) {
                Ok(signature) => verifies(key, signature, &text(&case["msg"])),
                // Our type holds 64 bytes and nothing else: refused before any arithmetic.
                Err(_) => {
                    wrong_length += 1;
                    false
                }
            };
            let valid = match case["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("result {other:?} is not defined for Ed25519"),
            };
            let id = case["tcId"].as_u64().unwrap();
            assert!(ok || !valid, "case {id}: stricter than RFC 8032");
            if ok != valid {
                differing.push(id);
            }
        }
    }
    assert_eq!(run, file["numberOfTests"].as_u64().unwrap());
    assert_eq!(run, 151, "the file is the one described in its README");
    assert!(wrong_length > 0 && wrong_length < 30, "{wrong_length} cases of another length");
    assert_eq!(differing, ZIP215_ACCEPTS);
}

/// The 14 encodings of the 8 points of small order: 8 canonical ones, then 6 that are not.
fn small_order() -> Vec<[u8; 32]> {
    let canonical = constants::EIGHT_TORSION.iter().map(|p| p.compress().to_bytes());
    let y = |first: u8, rest: u8, last: u8| {
        let mut bytes = [rest; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    let others = [
        y(0x01, 0x00, 0x80), // y = 1, x = 0 with a sign
        y(0xec, 0xff, 0xff), // y = -1, x = 0 with a sign
        y(0xed, 0xff, 0x7f), // y = p, that is 0
        y(0xed, 0xff, 0xff), // the same with a sign
        y(0xee, 0xff, 0x7f), // y = p + 1, that is 1
        y(0xee, 0xff, 0xff), // the same, x = 0 with a sign
    ];
    canonical.chain(others).collect()
}

#[test]
fn zip215_accepts_every_small_order_pair() {
    let points = small_order();
    assert_eq!(points.iter().collect::<std::collections::BTreeSet<_>>().len(), 14);
    let mut accepted = 0;
    for a in &points {
        for r in &points {
            let mut signature = [0u8; 64];
            signature[..32].copy_from_slice(r);
            assert!(verifies(*a, signature, b"Zcash"), "A {} R {}", hex::encode(a), hex::encode(r));
            signature[32] = 1; // S = 1: the equation no longer holds
            assert!(!single(*a, signature, b"Zcash"));
            accepted += 1;
        }
    }
    assert_eq!(accepted, 196);
}

fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    let digest = Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&digest.into())
}

/// Signs with the secrets `a` and `r` after adding torsion points to A and R.
fn mixed(
    a: Scalar,
    r: Scalar,
    ta: &EdwardsPoint,
    tr: &EdwardsPoint,
    message: &[u8],
) -> ([u8; 32], [u8; 64], bool) {
    let big_a = EdwardsPoint::mul_base(&a) + ta;
    let big_r = EdwardsPoint::mul_base(&r) + tr;
    let (key, r_bytes) = (big_a.compress().to_bytes(), big_r.compress().to_bytes());
    let k = challenge(&r_bytes, &key, message);
    let s = r + k * a;
    let mut signature = [0u8; 64];
    signature[..32].copy_from_slice(&r_bytes);
    signature[32..].copy_from_slice(s.as_bytes());
    let without_cofactor = EdwardsPoint::mul_base(&s) == big_r + k * big_a;
    (key, signature, without_cofactor)
}

#[test]
fn zip215_accepts_mixed_torsion_where_others_disagree() {
    let (a, r) = (Scalar::from(0xa5a5_u64), Scalar::from(0x5a5a_u64));
    let mut disputed = 0;
    for ta in &constants::EIGHT_TORSION {
        for tr in &constants::EIGHT_TORSION {
            let (key, signature, without_cofactor) = mixed(a, r, ta, tr, b"mixed");
            assert!(verifies(key, signature, b"mixed"));
            assert!(!verifies(key, signature, b"other"));
            disputed += usize::from(!without_cofactor);
        }
    }
    // Verifiers without the cofactor refuse about seven of eight, so a network of both kinds would split.
    assert!(disputed >= 40, "only {disputed} of 64 cases tell the rules apart");
}

#[test]
fn a_scalar_that_is_not_reduced_is_refused() {
    let secret = AccountSecret::from_seed([3; 32]);
    let good = secret.sign(b"m").0;
    assert!(verifies(secret.public().key, good, b"m"));
    // S + l, little endian: the same value modulo l in another encoding.
    let order: [u8; 32] = hex_array("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let (mut malleated, mut carry) = (good, 0u16);
    for i in 0..32 {
        let sum = u16::from(good[32 + i]) + u16::from(order[i]) + carry;
        malleated[32 + i] = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!verifies(secret.public().key, malleated, b"m"));
}

#[test]
fn a_key_that_is_no_point_is_refused_as_such() {
    let key = AccountKey { scheme: SCHEME_ED25519, key: [2; 32] };
    assert!(curve25519_dalek::edwards::CompressedEdwardsY(key.key).decompress().is_none());
    assert_eq!(key.verify(b"m", &AccountSignature([0; 64])), Err(SignatureError::Key));
}

fn hex_array(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn single_and_batch_agree_on_anything(
        seed in any::<[u8; 32]>(),
        message in proptest::collection::vec(any::<u8>(), 0..100),
        at in 0usize..64,
        flip in any::<u8>(),
        torsion in 0usize..8,
    ) {
        let secret = AccountSecret::from_seed(seed);
        let mut signature = secret.sign(&message).0;
        prop_assert!(verifies(secret.public().key, signature, &message));
        signature[at] ^= flip;
        prop_assert_eq!(verifies(secret.public().key, signature, &message), flip == 0);
        let (a, r) = (Scalar::from_bytes_mod_order(seed), Scalar::from(u64::from(flip) + 1));
        let t = &constants::EIGHT_TORSION[torsion];
        let (key, signature, _) = mixed(a, r, t, &-t, &message);
        prop_assert!(verifies(key, signature, &message));
    }
}
