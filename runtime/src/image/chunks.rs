//! Owns the chunk tree of a blob: 64 KiB chunks under an RFC 9162 SHA-256 tree (leaf `0x00`, node `0x01`). Refuses
//! I/O. Invariant: a proof binds a chunk to its index. The blob's size is the caller's to certify (the descriptor's
//! hash covers it): it fixes the proof's length and each chunk's, so an inner node can never pass for a leaf.

use metanode_types::hash::Hash;
use metanode_types::merkle;

use crate::limits::CHUNK_BYTES;

/// How many chunks a blob of `size` bytes has.
#[must_use]
pub fn chunk_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(u32::MAX)
}

/// The length of chunk `index` of a blob of `size` bytes, or none when there is no such chunk.
#[must_use]
pub fn chunk_len(size: u64, index: u32) -> Option<usize> {
    let start = u64::from(index) * CHUNK_BYTES as u64;
    (start < size).then(|| (size - start).min(CHUNK_BYTES as u64) as usize)
}

/// Whether `chunk` is chunk `index` of a blob of `size` bytes whose chunk root is `root`.
#[must_use]
pub fn verify_chunk(root: &Hash, size: u64, index: u32, chunk: &[u8], proof: &[Hash]) -> bool {
    let (leaf, count) = (merkle::leaf_hash(chunk), u64::from(chunk_count(size)));
    chunk_len(size, index) == Some(chunk.len())
        && merkle::verify_inclusion(&leaf, u64::from(index), count, proof, root).is_ok()
}

/// Feeds a stream into leaves, whatever pieces it arrives in.
#[derive(Default)]
pub(crate) struct LeafBuilder {
    pending: Vec<u8>,
    leaves: Vec<Hash>,
}

impl LeafBuilder {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let take = bytes.len().min(CHUNK_BYTES - self.pending.len());
            self.pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.pending.len() == CHUNK_BYTES {
                self.leaves.push(merkle::leaf_hash(&self.pending));
                self.pending.clear();
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Hash> {
        if !self.pending.is_empty() {
            self.leaves.push(merkle::leaf_hash(&self.pending));
        }
        self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i / 7) as u8 ^ (i >> 16) as u8).collect()
    }

    #[test]
    fn every_chunk_of_every_shape_of_tree_proves_and_nothing_else_does() {
        for chunks in 1_usize..=9 {
            let bytes = blob(chunks * CHUNK_BYTES - 5);
            let mut builder = LeafBuilder::default();
            bytes.chunks(1000).for_each(|piece| builder.push(piece));
            let leaves = builder.finish();
            assert_eq!(leaves.len(), chunks);
            let (top, size) = (merkle::root(&leaves), bytes.len() as u64);
            for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
                let proof = merkle::inclusion_path(&leaves, index).expect("in range");
                assert!(verify_chunk(&top, size, index as u32, chunk, &proof));
                let mut flipped = chunk.to_vec();
                flipped[3] ^= 1;
                assert!(!verify_chunk(&top, size, index as u32, &flipped, &proof));
                for other in (0..chunks as u32).filter(|other| *other != index as u32) {
                    assert!(
                        !verify_chunk(&top, size, other, chunk, &proof),
                        "{index} passed for {other} of {chunks}"
                    );
                }
                assert!(!verify_chunk(&top, size, chunks as u32, chunk, &proof));
                let mut longer = proof.clone();
                longer.push(top);
                assert!(!verify_chunk(&top, size, index as u32, chunk, &longer));
            }
        }
    }

    #[test]
    fn an_empty_blob_has_no_chunk_to_prove() {
        assert_eq!(chunk_count(0), 0);
        assert!(!verify_chunk(&merkle::empty_root(), 0, 0, b"", &[]));
    }
}
