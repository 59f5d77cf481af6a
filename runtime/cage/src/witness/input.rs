//! One external input: as the supervisor hands it over, as bytes, and as it is read back.
//!
//! An input is one *opening* (when, what, how long in all) and, unless it is empty, *parts*. A part takes all
//! the room its chunk has left, or all that is left of the input, so the cut depends on the inputs alone.

use std::io::{self, Read};

use serde::Serialize;

use super::bytes::{Cursor, Malformed, put_bytes, put_uint};

/// Longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 4096;

const OPENING: u8 = 0;
const PART: u8 = 1;

/// Where an input came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Bytes of standard input; empty: its end.
    Stdin,
    /// A declared file; the label is its path.
    File,
    /// The answer to a connection attempt; the label names the connection, the bytes are the outcome.
    Connect,
    /// Bytes that a peer sent; the label names the connection; empty: the peer closed it.
    Receive,
    /// Any other value that the host gave; the label says which.
    Host,
}

impl InputKind {
    const ALL: [Self; 5] = [Self::Stdin, Self::File, Self::Connect, Self::Receive, Self::Host];

    const fn tag(self) -> u8 {
        match self {
            Self::Stdin => 1,
            Self::File => 2,
            Self::Connect => 3,
            Self::Receive => 4,
            Self::Host => 5,
        }
    }

    fn from_tag(tag: u8) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag).ok_or("an input of no known kind")
    }
}

impl std::fmt::Display for InputKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stdin => "stdin",
            Self::File => "file",
            Self::Connect => "connect",
            Self::Receive => "receive",
            Self::Host => "host",
        })
    }
}

/// One external input.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Where it came from.
    pub kind: InputKind,
    /// Which one, at most [`MAX_LABEL_BYTES`].
    pub label: &'a str,
    /// What came.
    pub bytes: &'a [u8],
    /// How many trapped calls had been recorded when it came; never less than that of the input before.
    pub at_event: u64,
}

/// One external input as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedInput {
    /// Its position among the inputs, from 0.
    pub seq: u64,
    /// How many trapped calls had been recorded when it came.
    pub at_event: u64,
    /// Where it came from.
    pub kind: InputKind,
    /// Which one.
    pub label: String,
    /// What came.
    pub bytes: Vec<u8>,
}

/// The opening of an input: everything but its bytes.
pub(super) struct Opening<'a> {
    pub at_event: u64,
    pub kind: InputKind,
    pub label: &'a str,
    pub length: u64,
}

/// A record of the input log.
pub(super) enum Record<'a> {
    Opening(Opening<'a>),
    Part(&'a [u8]),
}

/// Appends the opening of an input. The caller has checked the label.
pub(super) fn put_opening(out: &mut Vec<u8>, opening: &Opening<'_>) {
    out.push(OPENING);
    put_uint(out, opening.at_event);
    out.push(opening.kind.tag());
    put_bytes(out, opening.label.as_bytes());
    put_uint(out, opening.length);
}

/// Appends a part of `length` bytes, read from `from`.
pub(super) fn put_part(out: &mut Vec<u8>, length: usize, from: &mut dyn Read) -> io::Result<()> {
    out.push(PART);
    put_uint(out, length as u64);
    let start = out.len();
    out.resize(start + length, 0);
    from.read_exact(&mut out[start..])
}

/// The longest part, of at most `wanted` bytes, whose record fits in `room` bytes.
pub(super) fn part_len(room: usize, wanted: usize) -> usize {
    let fits = |length: usize| 1 + super::bytes::uint_len(length as u64) + length <= room;
    let guess = room.saturating_sub(2).min(wanted);
    (guess.saturating_sub(8)..=guess).rev().find(|&length| fits(length)).unwrap_or(0)
}

/// Reads one record.
pub(super) fn take<'a>(from: &mut Cursor<'a>) -> Result<Record<'a>, Malformed> {
    match from.byte()? {
        OPENING => {
            let (at_event, kind, label) = (from.uint()?, InputKind::from_tag(from.byte()?)?, from.text()?);
            if label.len() > MAX_LABEL_BYTES {
                return Err("a label that is too long");
            }
            Ok(Record::Opening(Opening { at_event, kind, label, length: from.uint()? }))
        }
        PART => from.bytes().map(Record::Part),
        _ => Err("a record of no known kind"),
    }
}
