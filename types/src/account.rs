//! Account keys and signatures.
//!
//! Owns the one signature function for accounts: Ed25519 with the ZIP-215 validity rules, through
//! `ed25519-zebra`, so that single and batch verification always agree (RFC 8032 leaves that open, which
//! would be a consensus split). Scheme tag 1 is Ed25519; tag 2 is reserved for the hybrid with ML-DSA-87 and
//! refused until it exists. Refuses to hold keys on disk: that is `node`'s business.

use crate::hash::{Domain, hash};
use crate::ids::Address;
use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_zebra as zebra;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Signature scheme tag of Ed25519 with ZIP-215 rules.
pub const SCHEME_ED25519: u8 = 1;
/// Reserved: Ed25519 together with ML-DSA-87, both must verify.
pub const SCHEME_HYBRID: u8 = 2;

/// Why a key or signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The scheme tag is reserved or unknown.
    #[error("signature scheme {0} is not supported (1 = Ed25519; 2 is reserved for the hybrid scheme)")]
    Scheme(u8),
    /// The public key is not a point of the curve.
    #[error("the public key is not a valid Ed25519 point")]
    Key,
    /// The signature does not verify under the key.
    #[error("the signature does not verify under the sender's key")]
    Signature,
}

/// A public account key with its scheme tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize)]
pub struct AccountKey {
    /// Signature scheme tag.
    pub scheme: u8,
    /// Public key bytes.
    pub key: [u8; 32],
}

impl AccountKey {
    /// The account's address: hash of scheme and key.
    pub fn address(&self) -> Address {
        Address(hash(Domain::Address, &[&[self.scheme], &self.key]))
    }

    /// Checks `signature` over `message` by this key.
    pub fn verify(&self, message: &[u8], signature: &AccountSignature) -> Result<(), SignatureError> {
        if self.scheme != SCHEME_ED25519 {
            return Err(SignatureError::Scheme(self.scheme));
        }
        let key = zebra::VerificationKey::try_from(self.key).map_err(|_| SignatureError::Key)?;
        key.verify(&zebra::Signature::from(signature.0), message).map_err(|_| SignatureError::Signature)
    }
}

impl Serialize for AccountKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:02x}:{}", self.scheme, hex::encode(self.key)))
    }
}
impl<'de> Deserialize<'de> for AccountKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(d)?;
        let parse = || {
            let (scheme, key) = text.split_once(':')?;
            let mut out = [0u8; 32];
            hex::decode_to_slice(key, &mut out).ok()?;
            let mut tag = [0u8; 1];
            hex::decode_to_slice(scheme, &mut tag).ok()?;
            Some(AccountKey { scheme: tag[0], key: out })
        };
        parse().ok_or_else(|| serde::de::Error::custom("an account key is `01:` and 64 hex digits"))
    }
}

/// A 64-byte account signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct AccountSignature(pub [u8; 64]);

impl Serialize for AccountSignature {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}
impl<'de> Deserialize<'de> for AccountSignature {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut out = [0u8; 64];
        hex::decode_to_slice(<String as serde::Deserialize>::deserialize(d)?, &mut out)
            .map_err(|_| serde::de::Error::custom("a signature is 128 hex digits"))?;
        Ok(AccountSignature(out))
    }
}

/// A secret account key; wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct AccountSecret {
    seed: Zeroizing<[u8; 32]>,
}

impl AccountSecret {
    /// From 32 bytes of entropy.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        AccountSecret { seed: Zeroizing::new(seed) }
    }

    /// The 32 secret bytes, for storage.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public key.
    pub fn public(&self) -> AccountKey {
        let sk = zebra::SigningKey::from_bytes(&self.seed);
        AccountKey { scheme: SCHEME_ED25519, key: sk.verification_key().into() }
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.public().address()
    }

    /// Signs `message` (deterministic, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> AccountSignature {
        AccountSignature(zebra::SigningKey::from_bytes(&self.seed).sign(message).into())
    }
}

impl std::fmt::Debug for AccountSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountSecret({})", self.address().short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_refuses_other_messages_keys_and_schemes() {
        let a = AccountSecret::from_seed([1; 32]);
        let b = AccountSecret::from_seed([2; 32]);
        let sig = a.sign(b"m");
        assert_eq!(a.public().verify(b"m", &sig), Ok(()));
        assert_eq!(a.public().verify(b"n", &sig), Err(SignatureError::Signature));
        assert_eq!(b.public().verify(b"m", &sig), Err(SignatureError::Signature));
        let hybrid = AccountKey { scheme: SCHEME_HYBRID, ..a.public() };
        assert_eq!(hybrid.verify(b"m", &sig), Err(SignatureError::Scheme(2)));
        assert_ne!(hybrid.address(), a.address(), "the scheme is part of the address");
    }
}
