//! The address of a blob and the list of its chunks' hashes.
//!
//! Owns how content becomes chunks, leaves, a root and an id, and the check that a list is the one an id
//! names.

use crate::{
    Error,
    limits::{BLOB_CHUNK_BYTES, MAX_BLOB_BYTES},
};
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::{
    codec,
    hash::{Domain, Hash, hash},
    merkle,
};
use std::{fmt, io};

/// Chunks of the largest blob.
const MAX_CHUNKS: usize = (MAX_BLOB_BYTES / BLOB_CHUNK_BYTES as u64) as usize;

/// The address of a blob: what its bytes are, and how many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct BlobId(pub [u8; 32]);

impl BlobId {
    /// The id of a blob of `length` bytes whose chunks have this RFC 9162 root.
    pub fn of_root(length: u64, root: &Hash) -> Self {
        BlobId(hash(Domain::Blob, &[&length.to_le_bytes(), root]))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The length of a blob and the hash of each of its chunks: enough to check any chunk alone.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct ChunkList {
    length: u64,
    leaves: Vec<Hash>,
}

impl BorshDeserialize for ChunkList {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let length = u64::deserialize_reader(reader)?;
        let leaves = codec::bounded_vec(reader, MAX_CHUNKS)?;
        Ok(ChunkList { length, leaves })
    }
}

impl ChunkList {
    /// The list of a blob that is at hand.
    pub fn of(content: &[u8]) -> Result<Self, Error> {
        Self::read(content)
    }

    /// The list of a blob that is read to its end, chunk by chunk.
    pub fn read(mut content: impl io::Read) -> Result<Self, Error> {
        let mut list = ChunkList { length: 0, leaves: Vec::new() };
        let mut chunk = Vec::with_capacity(BLOB_CHUNK_BYTES);
        loop {
            chunk.clear();
            let mut part = io::Read::take(&mut content, BLOB_CHUNK_BYTES as u64);
            let read =
                io::Read::read_to_end(&mut part, &mut chunk).map_err(|source| Error::ReadBlob { source })?;
            if read == 0 {
                return Ok(list);
            }
            list.length += read as u64;
            if list.length > MAX_BLOB_BYTES {
                return Err(Error::BlobTooLong { len: list.length, cap: MAX_BLOB_BYTES });
            }
            list.leaves.push(merkle::leaf_hash(&chunk));
        }
    }

    /// The list of a blob whose leaf hashes were stored beside it. It is checked like any other list.
    pub fn from_leaves(length: u64, leaves: Vec<Hash>) -> Self {
        ChunkList { length, leaves }
    }

    /// The hashes of the chunks, in order.
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// The id of the blob that the list describes.
    pub fn id(&self) -> BlobId {
        BlobId::of_root(self.length, &merkle::root(&self.leaves))
    }

    /// Checks that this is the list of `id`, and that its parts agree.
    pub fn check(&self, id: BlobId) -> Result<(), Error> {
        let fail = |why: String| Err(Error::CheckChunkList { blob: id, why });
        if self.length > MAX_BLOB_BYTES {
            return fail(format!("{} bytes, at most {MAX_BLOB_BYTES} are allowed", self.length));
        }
        let expected = self.length.div_ceil(BLOB_CHUNK_BYTES as u64);
        if self.leaves.len() as u64 != expected {
            return fail(format!("{} chunks for {} bytes, not {expected}", self.leaves.len(), self.length));
        }
        if self.id() != id {
            return fail(format!("it describes {}", self.id()));
        }
        Ok(())
    }

    /// Bytes of the blob.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Chunks of the blob.
    pub fn chunks(&self) -> u32 {
        self.leaves.len() as u32
    }

    /// Where chunk `n` starts in the blob.
    pub fn offset(&self, n: u32) -> u64 {
        u64::from(n) * BLOB_CHUNK_BYTES as u64
    }

    /// Bytes of chunk `n`; `None` if there is no such chunk.
    pub fn chunk_length(&self, n: u32) -> Option<usize> {
        let rest = self.length.checked_sub(self.offset(n)).filter(|rest| *rest > 0)?;
        Some(rest.min(BLOB_CHUNK_BYTES as u64) as usize)
    }

    /// Whether `bytes` are chunk `n`.
    pub fn verifies(&self, n: u32, bytes: &[u8]) -> bool {
        self.chunk_length(n) == Some(bytes.len())
            && self.leaves.get(n as usize).is_some_and(|leaf| *leaf == merkle::leaf_hash(bytes))
    }
}
