//! The one codec: strict borsh.
//!
//! Owns encoding to canonical bytes and decoding from bytes of strangers. One encoding per value, trailing
//! bytes refused, the input's length bounded before anything is allocated. Refuses nothing else: structural
//! rules of a type are checked by the type's own `BorshDeserialize` or `validate`.

use borsh::{BorshDeserialize, BorshSerialize};

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input is longer than the cap for its type.
    #[error("decode {what}: {len} bytes, at most {cap} are allowed")]
    TooLong {
        /// What was being decoded.
        what: &'static str,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// The bytes are not the canonical encoding of a value.
    #[error("decode {what}: {why}")]
    Malformed {
        /// What was being decoded.
        what: &'static str,
        /// The codec's reason.
        why: String,
    },
}

/// Canonical bytes of a value.
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    value.serialize(&mut out).expect("writing to a Vec cannot fail and lengths are bounded by u32");
    out
}

/// Decodes exactly one value from `bytes`, which may be at most `cap` bytes long.
///
/// The value is encoded again and compared, so that a decoder that is ever laxer than its encoder is refused.
pub fn decode<T: BorshDeserialize + BorshSerialize>(
    what: &'static str,
    bytes: &[u8],
    cap: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > cap {
        return Err(DecodeError::TooLong { what, len: bytes.len(), cap });
    }
    let value = T::try_from_slice(bytes).map_err(|e| DecodeError::Malformed { what, why: e.to_string() })?;
    if encode(&value) != bytes {
        return Err(DecodeError::Malformed { what, why: "not the canonical encoding".into() });
    }
    Ok(value)
}

/// An `InvalidData` error for hand-written `BorshDeserialize` implementations.
pub(crate) fn invalid(why: impl Into<String>) -> borsh::io::Error {
    borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, why.into())
}

/// Borsh decoding of a vector with at most `max` elements; the bound is checked before allocation.
pub fn bounded_vec<T: BorshDeserialize, R: borsh::io::Read>(
    r: &mut R,
    max: usize,
) -> borsh::io::Result<Vec<T>> {
    let len = u32::deserialize_reader(r)? as usize;
    if len > max {
        return Err(invalid(format!("{len} elements, at most {max} are allowed")));
    }
    let mut out = Vec::with_capacity(len.min(1024));
    for _ in 0..len {
        out.push(T::deserialize_reader(r)?);
    }
    Ok(out)
}
