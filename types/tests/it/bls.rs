//! The vectors of `ethereum/bls12-381-tests`, every file of them.
//!
//! Where our interface is stricter than the suite, the test says so: a public key may not be the identity
//! even where the suite only deserializes, and lengths are fixed by the types.

use blst::BLST_ERROR::BLST_SUCCESS;
use blst::min_pk::{AggregateSignature, PublicKey, Signature};
use metanode_types::bls::{BlsError, BlsPublic, BlsSecret, BlsSignature, DST_SIG};
use serde_json::Value;

/// The files of a directory, by name; fails when there are not exactly `count`.
fn files(directory: &str, count: usize) -> Vec<(String, Value, Value)> {
    let path = crate::vectors().join("bls12-381").join(directory);
    let mut out: Vec<_> = std::fs::read_dir(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, value["input"].take(), value["output"].take())
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(out.len(), count, "files in {directory}");
    out
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).unwrap()
}

fn all(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

/// `None` when the length is wrong: our types cannot hold it.
fn public(bytes: &[u8]) -> Option<BlsPublic> {
    bytes.try_into().ok().map(BlsPublic)
}

fn signature(bytes: &[u8]) -> Option<BlsSignature> {
    bytes.try_into().ok().map(BlsSignature)
}

#[test]
fn sign() {
    for (name, input, output) in files("sign", 10) {
        let secret: [u8; 32] = bytes(&input["privkey"]).try_into().unwrap();
        let signed = BlsSecret::from_bytes(&secret).map(|k| k.sign(&bytes(&input["message"])));
        match output {
            Value::Null => assert_eq!(signed.err(), Some(BlsError::Key), "{name}"),
            want => assert_eq!(signed.map(|s| s.0.to_vec()), Ok(bytes(&want)), "{name}"),
        }
    }
}

#[test]
fn verify() {
    for (name, input, output) in files("verify", 29) {
        let (key, sig) = (public(&bytes(&input["pubkey"])), signature(&bytes(&input["signature"])));
        let ok = key.zip(sig).is_some_and(|(k, s)| k.verify(&bytes(&input["message"]), &s).is_ok());
        assert_eq!(ok, output.as_bool().unwrap(), "{name}");
    }
}

#[test]
fn aggregate() {
    for (name, input, output) in files("aggregate", 6) {
        let signatures: Vec<_> = all(&input).iter().map(|s| signature(s).unwrap()).collect();
        let aggregate = BlsSignature::aggregate(&signatures);
        match output {
            Value::Null => assert_eq!(aggregate, Err(BlsError::Empty), "{name}"),
            want => assert_eq!(aggregate.map(|s| s.0.to_vec()), Ok(bytes(&want)), "{name}"),
        }
    }
}

#[test]
fn fast_aggregate_verify() {
    for (name, input, output) in files("fast_aggregate_verify", 12) {
        let keys: Vec<_> = all(&input["pubkeys"]).iter().map(|k| public(k).unwrap()).collect();
        let sig = signature(&bytes(&input["signature"])).unwrap();
        let ok = sig.verify_aggregate(&keys, &bytes(&input["message"])).is_ok();
        assert_eq!(ok, output.as_bool().unwrap(), "{name}");
    }
}

#[test]
fn deserialize_keys() {
    let mut stricter = Vec::new();
    for (name, input, output) in files("deserialization_G1", 16) {
        let ok = public(&bytes(&input["pubkey"])).is_some_and(|k| k.validate().is_ok());
        if ok != output.as_bool().unwrap() {
            assert!(!ok, "{name}: laxer than the suite");
            stricter.push(name);
        }
    }
    // The identity is a point, but nobody's key: with it, everybody has signed everything.
    assert_eq!(stricter, ["deserialization_succeeds_infinity_with_true_b_flag.json"]);
}

#[test]
fn deserialize_signatures() {
    for (name, input, output) in files("deserialization_G2", 18) {
        // Aggregating one signature decodes it and checks its subgroup.
        let ok =
            signature(&bytes(&input["signature"])).is_some_and(|s| BlsSignature::aggregate(&[s]) == Ok(s));
        assert_eq!(ok, output.as_bool().unwrap(), "{name}");
    }
}

/// The identity as a signature decodes, but verifies under no key.
#[test]
fn the_identity_signs_nothing() {
    let mut identity = BlsSignature([0; 96]);
    identity.0[0] = 0xc0;
    let keys: Vec<_> = (1..4).map(|i| BlsSecret::from_seed(&[i; 32]).public()).collect();
    assert_eq!(keys[0].verify(b"m", &identity), Err(BlsError::Signature));
    assert_eq!(keys[0].verify_possession(&identity), Err(BlsError::Signature));
    assert_eq!(identity.verify_aggregate(&keys, b"m"), Err(BlsError::Signature));
}

/// Aggregates of different messages: not in our interface, so `blst` itself must agree with the suite.
#[test]
fn aggregate_verify_of_blst() {
    for (name, input, output) in files("aggregate_verify", 5) {
        let keys: Result<Vec<_>, _> =
            all(&input["pubkeys"]).iter().map(|k| PublicKey::key_validate(k)).collect();
        let messages = all(&input["messages"]);
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let sig = Signature::from_bytes(&bytes(&input["signature"]));
        let ok = match (keys, sig) {
            (Ok(keys), Ok(sig)) if !keys.is_empty() => {
                let keys: Vec<&PublicKey> = keys.iter().collect();
                sig.aggregate_verify(true, &messages, DST_SIG, &keys, false) == BLST_SUCCESS
            }
            _ => false,
        };
        assert_eq!(ok, output.as_bool().unwrap(), "{name}");
    }
}

/// Batches of single signatures: every one is verified by our interface, which must agree with the suite.
/// The forged batch is why there is no plain batch verification: its *sum* is valid.
#[test]
fn batch_verify() {
    let mut sums_that_deceive = Vec::new();
    for (name, input, output) in files("batch_verify", 4) {
        let keys: Vec<_> = all(&input["pubkeys"]).iter().map(|k| public(k).unwrap()).collect();
        let (messages, sigs) = (all(&input["messages"]), all(&input["signatures"]));
        let sigs: Vec<_> = sigs.iter().map(|s| signature(s).unwrap()).collect();
        let each = keys.iter().zip(&messages).zip(&sigs).all(|((k, m), s)| k.verify(m, s).is_ok());
        assert_eq!(each, output.as_bool().unwrap(), "{name}");
        if !each && sum_verifies(&keys, &messages, &sigs) {
            sums_that_deceive.push(name);
        }
    }
    assert_eq!(sums_that_deceive, ["batch_verify_invalid_forged_signature_set.json"]);
}

fn sum_verifies(keys: &[BlsPublic], messages: &[Vec<u8>], sigs: &[BlsSignature]) -> bool {
    let Ok(keys) = keys.iter().map(|k| PublicKey::key_validate(&k.0)).collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    let sigs: Vec<_> = sigs.iter().map(|s| Signature::from_bytes(&s.0).unwrap()).collect();
    let sum = AggregateSignature::aggregate(&sigs.iter().collect::<Vec<_>>(), true).unwrap().to_signature();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    sum.aggregate_verify(true, &messages, DST_SIG, &keys.iter().collect::<Vec<_>>(), false) == BLST_SUCCESS
}
