//! One trapped call: as the supervisor hands it over, as bytes, and as it is read back.
//!
//! Data longer than [`INLINE_BYTES`], or past [`EVENT_INLINE_BYTES`] in one event, stands as length and digest,
//! so that an event always fits one chunk. The rule depends on the event alone.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::CHUNK_BYTES;
use super::bytes::{Cursor, Malformed, folded, put_uint};

/// Longest piece of data that is kept as it is.
pub(super) const INLINE_BYTES: usize = 4 << 10;
/// Most bytes that one event keeps as they are.
pub(super) const EVENT_INLINE_BYTES: usize = 16 << 10;
/// Most pieces of data in one event (the kernel's limit for one scattered read).
pub const MAX_SLICES: usize = 1024;

/// Longest integer.
const UINT: usize = 9;
/// Bytes of an event without its data.
const FIXED: usize = UINT * 11;
/// Longest piece that is not inline.
const DIGESTED: usize = 1 + UINT + 32;
const _: () = assert!(FIXED + EVENT_INLINE_BYTES + MAX_SLICES * DIGESTED <= CHUNK_BYTES);

const INLINE: u8 = 0;
const DIGEST: u8 = 1;

/// One trapped call.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The task as the cage numbers it, never a process number of the host.
    pub task: u32,
    /// System call number.
    pub number: u32,
    /// Its arguments; one that carries a host value must be given as 0.
    pub args: [u64; 6],
    /// What it returned, `-errno` on failure.
    pub result: i64,
    /// The logical clock when it returned.
    pub clock_ns: u64,
    /// What it read from and wrote to the task's memory, at most [`MAX_SLICES`] pieces.
    pub data: &'a [&'a [u8]],
}

/// One trapped call as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnedEvent {
    /// Its position in the trace, from 0.
    pub seq: u64,
    /// The task.
    pub task: u32,
    /// System call number.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
    /// What it returned.
    pub result: i64,
    /// The logical clock when it returned.
    pub clock_ns: u64,
    /// Its data.
    pub data: Vec<Data>,
}

/// A piece of an event's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// Too long to keep.
    Digest {
        /// How many bytes there were.
        length: u64,
        /// Their SHA-256.
        sha256: [u8; 32],
    },
}

/// The integers of an event, gathered where eight bytes can be stored whatever their number counts: a run makes
/// millions of these records.
struct Fixed {
    bytes: [u8; FIXED + 8],
    used: usize,
}

impl Fixed {
    /// As [`put_uint`].
    #[inline]
    fn uint(&mut self, value: u64) {
        let width = (u64::BITS - value.leading_zeros()).div_ceil(8) as usize;
        self.bytes[self.used] = width as u8;
        self.bytes[self.used + 1..self.used + 9].copy_from_slice(&value.to_le_bytes());
        self.used += 1 + width;
    }
}

/// Appends the record of an event. The caller has checked the number of pieces.
pub(super) fn put(out: &mut Vec<u8>, event: &Event<'_>) {
    let mut fixed = Fixed { bytes: [0; FIXED + 8], used: 0 };
    fixed.uint(u64::from(event.task));
    fixed.uint(u64::from(event.number));
    for arg in event.args {
        fixed.uint(arg);
    }
    fixed.uint(folded(event.result));
    fixed.uint(event.clock_ns);
    fixed.uint(event.data.len() as u64);
    out.extend_from_slice(&fixed.bytes[..fixed.used]);
    let mut room = EVENT_INLINE_BYTES;
    for piece in event.data {
        if piece.len() <= INLINE_BYTES.min(room) {
            room -= piece.len();
            out.push(INLINE);
            put_uint(out, piece.len() as u64);
            out.extend_from_slice(piece);
        } else {
            out.push(DIGEST);
            put_uint(out, piece.len() as u64);
            out.extend_from_slice(&Sha256::digest(piece));
        }
    }
}

/// Reads one record.
pub(super) fn take(from: &mut Cursor<'_>, seq: u64) -> Result<OwnedEvent, Malformed> {
    let (task, number) = (from.uint32()?, from.uint32()?);
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = from.uint()?;
    }
    let (result, clock_ns) = (from.int()?, from.uint()?);
    let pieces = from.uint()?;
    if pieces > MAX_SLICES as u64 {
        return Err("an event with too many pieces of data");
    }
    let (mut data, mut room) = (Vec::new(), EVENT_INLINE_BYTES);
    for _ in 0..pieces {
        data.push(take_piece(from, &mut room)?);
    }
    Ok(OwnedEvent { seq, task, number, args, result, clock_ns, data })
}

fn take_piece(from: &mut Cursor<'_>, room: &mut usize) -> Result<Data, Malformed> {
    let (tag, length) = (from.byte()?, from.uint()?);
    let inline = length <= INLINE_BYTES.min(*room) as u64;
    match tag {
        INLINE if inline => {
            *room -= length as usize;
            Ok(Data::Inline(from.take(length as usize)?.to_vec()))
        }
        DIGEST if !inline => Ok(Data::Digest { length, sha256: from.array()? }),
        INLINE | DIGEST => Err("data in the wrong form for its length"),
        _ => Err("data of no known form"),
    }
}
