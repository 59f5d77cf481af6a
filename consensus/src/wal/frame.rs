//! Framing of the write-ahead log: `magic u32 | length u32 | crc32(length, payload) u32 | payload`, little endian.
//!
//! Owns the distinction between a torn end and damage in the middle. Invariant: `split(wrap(a) ++ wrap(b))`
//! gives `a`, `b`; for any single flipped bit in a log of several frames, `split` either names the offset or
//! cuts at most the last frame.

use super::WalError;

/// Bytes of one record at most (a round certificate of the largest set fits).
pub const MAX_WAL_RECORD_BYTES: usize = crate::wire::MAX_MESSAGE_BYTES;
/// Bytes of one log at most: what a height can add is bounded by the consensus core.
pub const MAX_WAL_BYTES: usize = 256 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"MnW1";
const HEADER: usize = 12;

/// The unreadable end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// Where it starts.
    pub offset: usize,
    /// How many bytes it has.
    pub len: usize,
    /// Why it is unreadable.
    pub why: &'static str,
}

pub(super) struct Frames<'a> {
    pub(super) payloads: Vec<(usize, &'a [u8])>,
    pub(super) valid_len: usize,
    pub(super) torn: Option<Torn>,
}

/// One frame around `payload`.
pub(super) fn wrap(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= MAX_WAL_RECORD_BYTES, "records are bounded when they are made");
    let len = (payload.len() as u32).to_le_bytes();
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&len);
    out.extend_from_slice(&checksum(&len, payload).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// Splits a log into payloads with their offsets.
pub(super) fn split(bytes: &[u8]) -> Result<Frames<'_>, WalError> {
    if bytes.len() > MAX_WAL_BYTES {
        return Err(WalError::TooLong { len: bytes.len() });
    }
    let mut payloads = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match read(&bytes[at..]) {
            Ok(payload) => {
                payloads.push((at, payload));
                at += HEADER + payload.len();
            }
            Err(why) => {
                if let Some(next) = next_intact(bytes, at + 1) {
                    return Err(WalError::Damaged { offset: at, next, why });
                }
                let torn = Torn { offset: at, len: bytes.len() - at, why };
                return Ok(Frames { payloads, valid_len: at, torn: Some(torn) });
            }
        }
    }
    Ok(Frames { payloads, valid_len: at, torn: None })
}

fn read(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let header = bytes.get(..HEADER).ok_or("the header is cut short")?;
    if header[..4] != MAGIC {
        return Err("no frame starts here");
    }
    let len: [u8; 4] = header[4..8].try_into().expect("four bytes");
    let size = u32::from_le_bytes(len) as usize;
    if size > MAX_WAL_RECORD_BYTES {
        return Err("the length is out of bounds");
    }
    let payload = bytes.get(HEADER..HEADER + size).ok_or("the payload is cut short")?;
    let stored = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    if stored != checksum(&len, payload) {
        return Err("the checksum does not match");
    }
    Ok(payload)
}

fn next_intact(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len().saturating_sub(HEADER - 1))
        .filter(|at| bytes[*at..*at + 4] == MAGIC)
        .find(|at| read(&bytes[*at..]).is_ok())
}

fn checksum(len: &[u8; 4], payload: &[u8]) -> u32 {
    let mut h = crc32fast::Hasher::new();
    h.update(len);
    h.update(payload);
    h.finalize()
}
