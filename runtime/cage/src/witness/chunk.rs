//! Chunks: the head that stands before each in the file, and the log that a writer cuts into them.
//!
//! A leaf's hash covers the log, the position and the records, so a chunk cannot stand for another. The head
//! carries a short check of itself: damage to it is told from damage to the records.

use std::io;

use sha2::{Digest, Sha256};

use super::bytes::Cursor;
use super::merkle::{Hash, LEAF, Tree};
use super::{CHUNK_BYTES, Log, PREFIX_DOMAIN};

/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 58;
/// Bytes of the head that its check covers.
const CHECKED_BYTES: usize = HEAD_BYTES - 8;

/// What a chunk's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub log: Log,
    /// Whether the records follow; else only their hash is kept.
    pub kept: bool,
    /// Events, or openings of inputs, before this chunk.
    pub first: u64,
    /// Events, or openings of inputs, in this chunk.
    pub count: u32,
    /// Bytes of the records.
    pub length: u32,
    /// The leaf.
    pub leaf: Hash,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[0] = self.log.tag();
        out[1] = u8::from(self.kept);
        out[2..10].copy_from_slice(&self.first.to_le_bytes());
        out[10..14].copy_from_slice(&self.count.to_le_bytes());
        out[14..18].copy_from_slice(&self.length.to_le_bytes());
        out[18..CHECKED_BYTES].copy_from_slice(&self.leaf);
        let check = Sha256::digest(&out[..CHECKED_BYTES]);
        out[CHECKED_BYTES..].copy_from_slice(&check[..8]);
        out
    }

    /// Nothing when the check, a tag or a length is wrong.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let log = [Log::Trace, Log::Input].into_iter().find(|log| log.tag() == bytes[0])?;
        let mut from = Cursor::new(&bytes[2..]);
        let first = u64::from_le_bytes(from.array().ok()?);
        let count = u32::from_le_bytes(from.array().ok()?);
        let length = u32::from_le_bytes(from.array().ok()?);
        let head = Self { log, kept: bytes[1] == 1, first, count, length, leaf: from.array().ok()? };
        let possible = length > 0 && length as usize <= CHUNK_BYTES && count <= length;
        (possible && head.encode() == *bytes).then_some(head)
    }
}

/// The leaf of a chunk.
pub(super) fn leaf(log: Log, first: u64, count: u32, records: &[u8]) -> Hash {
    let mut hash = Sha256::new_with_prefix([LEAF, log.tag()]);
    hash.update(first.to_le_bytes());
    hash.update(count.to_le_bytes());
    hash.update((records.len() as u32).to_le_bytes());
    hash.update(records);
    hash.finalize().into()
}

/// Chains a leaf to those before it. Not in the file: a reader computes it to find where two logs part.
pub(super) fn prefix(before: Option<&Hash>, leaf: &Hash) -> Hash {
    let before = before.copied().unwrap_or_default();
    Sha256::new_with_prefix(PREFIX_DOMAIN).chain_update(before).chain_update(leaf).finalize().into()
}

/// What a log amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// Events, or inputs.
    pub count: u64,
    pub chunks: u64,
    /// Bytes of all records.
    pub bytes: u64,
    pub root: Hash,
}

impl Totals {
    /// The digest of the log under a domain, bound to `before`.
    pub(super) fn seal(&self, domain: &[u8], before: &[u8]) -> Hash {
        let mut hash = Sha256::new_with_prefix(domain);
        hash.update(before);
        for number in [self.count, self.chunks, self.bytes] {
            hash.update(number.to_le_bytes());
        }
        hash.update(self.root);
        hash.finalize().into()
    }
}

/// A log being written: one chunk in memory, the others hashed and handed on.
pub(super) struct Growing {
    log: Log,
    /// Room for the head, then the records of the open chunk.
    open: Vec<u8>,
    /// Records counted in the open chunk.
    count: u32,
    /// Records counted before it.
    first: u64,
    /// Bytes of the chunks before it.
    bytes: u64,
    tree: Tree,
}

impl Growing {
    pub(super) fn new(log: Log) -> Self {
        let mut open = Vec::with_capacity(HEAD_BYTES + 2 * CHUNK_BYTES);
        open.resize(HEAD_BYTES, 0);
        Self { log, open, count: 0, first: 0, bytes: 0, tree: Tree::default() }
    }

    /// Records counted so far.
    pub(super) fn count(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Bytes that the open chunk can still take.
    pub(super) fn room(&self) -> usize {
        HEAD_BYTES + CHUNK_BYTES - self.open.len()
    }

    /// Appends one counted record of at most a chunk; when it does not fit, the open chunk is closed before it.
    #[inline]
    pub(super) fn record(
        &mut self,
        put: impl FnOnce(&mut Vec<u8>),
        close: impl FnOnce(&[u8], &Head) -> io::Result<()>,
    ) -> io::Result<()> {
        let start = self.open.len();
        put(&mut self.open);
        debug_assert!(self.open.len() - start <= CHUNK_BYTES);
        if self.open.len() > HEAD_BYTES + CHUNK_BYTES {
            self.cut(start, close)?;
        }
        self.count += 1;
        Ok(())
    }

    /// Appends bytes that are known to fit and are not counted.
    pub(super) fn uncounted(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.open);
        debug_assert!(self.open.len() <= HEAD_BYTES + CHUNK_BYTES);
    }

    /// Closes the open chunk, if there is anything in it.
    pub(super) fn flush(&mut self, close: impl FnOnce(&[u8], &Head) -> io::Result<()>) -> io::Result<()> {
        if self.open.len() > HEAD_BYTES { self.cut(self.open.len(), close) } else { Ok(()) }
    }

    /// Closes the chunk at `end`; what lies behind it opens the next. `close` gets head and records as one.
    fn cut(&mut self, end: usize, close: impl FnOnce(&[u8], &Head) -> io::Result<()>) -> io::Result<()> {
        let records = &self.open[HEAD_BYTES..end];
        let leaf = leaf(self.log, self.first, self.count, records);
        let length = records.len() as u32;
        let (first, count) = (self.first, self.count);
        let head = Head { log: self.log, kept: true, first, count, length, leaf };
        self.tree.push(leaf);
        self.bytes += u64::from(length);
        self.first += u64::from(count);
        self.count = 0;
        self.open[..HEAD_BYTES].copy_from_slice(&head.encode());
        let closed = close(&self.open[..end], &head);
        self.open.drain(HEAD_BYTES..end);
        closed
    }

    /// What it amounts to, once flushed.
    pub(super) fn totals(&self) -> Totals {
        assert!(self.open.len() == HEAD_BYTES, "the last chunk is closed before totals are drawn");
        Totals { count: self.first, chunks: self.tree.leaves(), bytes: self.bytes, root: self.tree.root() }
    }
}
