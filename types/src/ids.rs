//! Identifiers: one newtype per idea, so that a block id can never be passed where a transaction id is meant.
//!
//! Owns the textual forms: blocks, transactions, digests and addresses print as `0x…`, receipts as `rx_…`,
//! image digests as `sha256:…`. Parsing is strict (lower-case hex of full length); prefixes are resolved by
//! whoever holds the set of ids, with [`matches_prefix`].

use crate::hash::Hash;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Why a text is not an identifier or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not `<prefix>` + 64 lower-case hex digits.
    #[error("{text:?} is not {what}: expected {prefix:?} and 64 lower-case hex digits")]
    Id {
        /// Kind of identifier expected.
        what: &'static str,
        /// Its textual prefix.
        prefix: &'static str,
        /// The text given (shortened).
        text: String,
    },
    /// Not a name.
    #[error("{text:?} is not a name: {why}")]
    Name {
        /// The text given (shortened).
        text: String,
        /// The rule it breaks.
        why: &'static str,
    },
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn parse_hex(what: &'static str, prefix: &'static str, text: &str) -> Result<Hash, ParseError> {
    let fail = || ParseError::Id { what, prefix, text: shorten(text) };
    let hex = text.strip_prefix(prefix).ok_or_else(fail)?;
    if hex.len() != 64 || hex.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(fail());
    }
    let mut out = [0u8; 32];
    hex::decode_to_slice(hex, &mut out).map_err(|_| fail())?;
    Ok(out)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Default)]
        pub struct $name(pub Hash);

        impl $name {
            /// Textual prefix.
            pub const PREFIX: &'static str = $prefix;
            /// The raw digest.
            pub const fn as_bytes(&self) -> &Hash { &self.0 }
            /// First eight hex digits with the prefix: for people, never for machines.
            pub fn short(&self) -> String { format!("{}{}", $prefix, hex::encode(&self.0[..4])) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(s: &str) -> Result<Self, ParseError> { parse_hex($what, $prefix, s).map($name) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /** Hash of the canonical genesis: names the chain. */
    ChainId,
    "0x",
    "a chain id"
);
id!(
    /** Hash of a block header. */
    BlockId,
    "0x",
    "a block id"
);
id!(
    /** Hash of the unsigned part of a transaction. */
    TxId,
    "0x",
    "a transaction id"
);
id!(
    /** Hash of a receipt. */
    ReceiptId,
    "rx_",
    "a receipt id"
);
id!(
    /** Account address: hash of the signature scheme and the public key. A node is named by its account. */
    Address,
    "0x",
    "an address"
);
id!(
    /** Domain-separated digest of a value. */
    Digest,
    "0x",
    "a digest"
);
id!(
    /** Plain SHA-256 of content: an OCI manifest, a layer, a WASM module, an output stream. */
    ContentDigest,
    "sha256:",
    "a content digest"
);

/// True when `id`'s text starts with `prefix` (with or without the textual prefix, at least four digits).
pub fn matches_prefix(id: &impl fmt::Display, textual: &str, prefix: &str) -> bool {
    let full = id.to_string();
    let bare = prefix.strip_prefix(textual).unwrap_or(prefix);
    bare.len() >= 4 && full[textual.len()..].starts_with(bare)
}

/// A short DNS-label-like name: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), ParseError> {
        let fail = |why| Err(ParseError::Name { text: shorten(text), why });
        if text.is_empty() {
            return fail("it is empty");
        }
        if text.len() > crate::limits::MAX_NAME_LEN {
            return fail("it has more than 63 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return fail("only a-z, 0-9 and '-' are allowed");
        }
        if text.starts_with('-') || text.ends_with('-') {
            return fail("it may not start or end with '-'");
        }
        Ok(())
    }
}

impl FromStr for Name {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        Name::check(s)?;
        Ok(Name(s.to_owned()))
    }
}
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
impl BorshDeserialize for Name {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let bytes: Vec<u8> = crate::codec::bounded_vec(r, crate::limits::MAX_NAME_LEN)?;
        let text = String::from_utf8(bytes).map_err(|_| crate::codec::invalid("a name is UTF-8"))?;
        text.parse().map_err(|e: ParseError| crate::codec::invalid(e.to_string()))
    }
}

/// Serde form of raw 32-byte hashes: `0x…` (for struct fields that carry a root rather than an id).
pub mod hex32 {
    use super::*;

    /// Writes `0x` + 64 hex digits.
    pub fn serialize<S: Serializer>(h: &Hash, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&Digest(*h))
    }
    /// Reads `0x` + 64 hex digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Hash, D::Error> {
        <Digest as serde::Deserialize>::deserialize(d).map(|d| d.0)
    }
}
