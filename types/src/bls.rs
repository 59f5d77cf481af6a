//! Validator signatures: BLS12-381, min-pk, proof-of-possession suite, through `blst`.
//!
//! Owns signing, single verification, proofs of possession, and aggregation of signatures over the *same*
//! message. Every public key is subgroup-checked when it is decoded and the identity is refused; a key is
//! used in an aggregate only after its proof of possession was checked (genesis validation), else a rogue
//! key could forge. Refuses plain batch verification of different votes: without random weights two
//! invalid signatures can cancel out. Source: draft-irtf-cfrg-bls-signature, ciphersuite
//! `BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_`.

use blst::BLST_ERROR;
use blst::min_pk as blst_pk;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Domain separation tag of signatures.
pub const DST_SIG: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
/// Domain separation tag of proofs of possession.
pub const DST_POP: &[u8] = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// Why a BLS key or signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlsError {
    /// Not a valid, subgroup-checked, non-identity public key.
    #[error("not a valid BLS public key")]
    Key,
    /// Not a valid encoding of a signature in the right subgroup.
    #[error("not a valid BLS signature encoding")]
    Encoding,
    /// The signature does not verify.
    #[error("the BLS signature does not verify")]
    Signature,
    /// Nothing to aggregate.
    #[error("an aggregate needs at least one signature")]
    Empty,
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; $len]);
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}…", hex::encode(&self.0[..6]))
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let mut out = [0u8; $len];
                hex::decode_to_slice(<String as serde::Deserialize>::deserialize(d)?, &mut out)
                    .map_err(|_| serde::de::Error::custom($what))?;
                Ok($name(out))
            }
        }
    };
}

bytes_newtype!(
    /** Compressed public key (G1, 48 bytes). */
    BlsPublic,
    48,
    "a BLS public key is 96 hex digits"
);
bytes_newtype!(
    /** Compressed signature (G2, 96 bytes), single or aggregate. */
    BlsSignature,
    96,
    "a BLS signature is 192 hex digits"
);

impl BlsPublic {
    fn point(&self) -> Result<blst_pk::PublicKey, BlsError> {
        blst_pk::PublicKey::key_validate(&self.0).map_err(|_| BlsError::Key)
    }

    /// Checks that the bytes are a key in the right subgroup and not the identity.
    pub fn validate(&self) -> Result<(), BlsError> {
        self.point().map(|_| ())
    }

    /// Checks one signature over `message`.
    pub fn verify(&self, message: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
        let key = self.point()?;
        // `true, false`: the signature is subgroup-checked; the key already was.
        check(signature.point()?.verify(true, message, DST_SIG, &[], &key, false))
    }

    /// Checks a proof of possession of this key.
    pub fn verify_possession(&self, proof: &BlsSignature) -> Result<(), BlsError> {
        let key = self.point()?;
        check(proof.point()?.verify(true, &self.0, DST_POP, &[], &key, false))
    }
}

impl BlsSignature {
    fn point(&self) -> Result<blst_pk::Signature, BlsError> {
        blst_pk::Signature::from_bytes(&self.0).map_err(|_| BlsError::Encoding)
    }

    /// Aggregates signatures of the same message. Every signature is subgroup-checked.
    ///
    /// The caller has verified each one: an aggregate of unverified signatures may be invalid as a whole.
    pub fn aggregate(signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError> {
        let points = signatures.iter().map(BlsSignature::point).collect::<Result<Vec<_>, _>>()?;
        let refs: Vec<&blst_pk::Signature> = points.iter().collect();
        if refs.is_empty() {
            return Err(BlsError::Empty);
        }
        let agg = blst_pk::AggregateSignature::aggregate(&refs, true).map_err(|_| BlsError::Encoding)?;
        Ok(BlsSignature(agg.to_signature().to_bytes()))
    }

    /// Checks this aggregate: every key in `keys` signed `message`. Keys must have proved possession.
    pub fn verify_aggregate(&self, keys: &[BlsPublic], message: &[u8]) -> Result<(), BlsError> {
        if keys.is_empty() {
            return Err(BlsError::Empty);
        }
        let points = keys.iter().map(BlsPublic::point).collect::<Result<Vec<_>, _>>()?;
        let refs: Vec<&blst_pk::PublicKey> = points.iter().collect();
        check(self.point()?.fast_aggregate_verify(true, message, DST_SIG, &refs))
    }
}

fn check(result: BLST_ERROR) -> Result<(), BlsError> {
    match result {
        BLST_ERROR::BLST_SUCCESS => Ok(()),
        BLST_ERROR::BLST_BAD_ENCODING
        | BLST_ERROR::BLST_POINT_NOT_ON_CURVE
        | BLST_ERROR::BLST_POINT_NOT_IN_GROUP => Err(BlsError::Encoding),
        _ => Err(BlsError::Signature),
    }
}

/// A secret validator key; wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct BlsSecret {
    bytes: Zeroizing<[u8; 32]>,
}

impl BlsSecret {
    /// Derives a key from 32 bytes of entropy (`KeyGen` of the draft).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let sk = blst_pk::SecretKey::key_gen(seed, &[]).expect("32 bytes of key material are enough");
        BlsSecret { bytes: Zeroizing::new(sk.to_bytes()) }
    }

    /// From the 32-byte secret scalar; `Key` when it is zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsError> {
        blst_pk::SecretKey::from_bytes(bytes).map_err(|_| BlsError::Key)?;
        Ok(BlsSecret { bytes: Zeroizing::new(*bytes) })
    }

    /// The 32-byte secret scalar, for storage.
    pub fn to_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    fn key(&self) -> blst_pk::SecretKey {
        blst_pk::SecretKey::from_bytes(self.bytes.as_slice()).expect("checked when constructed")
    }

    /// The public key.
    pub fn public(&self) -> BlsPublic {
        BlsPublic(self.key().sk_to_pk().to_bytes())
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> BlsSignature {
        BlsSignature(self.key().sign(message, DST_SIG, &[]).to_bytes())
    }

    /// Proves possession of this key: a signature of the public key under its own tag.
    pub fn prove_possession(&self) -> BlsSignature {
        let public = self.public();
        BlsSignature(self.key().sign(&public.0, DST_POP, &[]).to_bytes())
    }
}

impl std::fmt::Debug for BlsSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlsSecret({:?})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregate_of_one_message_verifies_and_rogue_use_does_not() {
        let keys: Vec<BlsSecret> = (1..5u8).map(|i| BlsSecret::from_seed(&[i; 32])).collect();
        let publics: Vec<BlsPublic> = keys.iter().map(BlsSecret::public).collect();
        let sigs: Vec<BlsSignature> = keys.iter().map(|k| k.sign(b"m")).collect();
        let agg = BlsSignature::aggregate(&sigs).unwrap();
        assert_eq!(agg.verify_aggregate(&publics, b"m"), Ok(()));
        assert_eq!(agg.verify_aggregate(&publics[..3], b"m"), Err(BlsError::Signature));
        assert_eq!(agg.verify_aggregate(&publics, b"n"), Err(BlsError::Signature));
        assert_eq!(BlsSignature::aggregate(&[]), Err(BlsError::Empty));
        for k in &keys {
            assert_eq!(k.public().verify_possession(&k.prove_possession()), Ok(()));
            assert!(k.public().verify_possession(&k.sign(&k.public().0)).is_err(), "tags differ");
        }
    }

    #[test]
    fn identity_and_garbage_keys_are_refused() {
        let mut identity = [0u8; 48];
        identity[0] = 0xc0;
        assert_eq!(BlsPublic(identity).validate(), Err(BlsError::Key));
        assert_eq!(BlsPublic([7; 48]).validate(), Err(BlsError::Key));
    }
}
