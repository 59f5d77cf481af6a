//! The tree of RFC 9162 (leaf prefix 0x00, node prefix 0x01), grown leaf by leaf in logarithmic memory.
//!
//! Owns nothing but the stack of full subtrees. The root of no leaves is the hash of nothing.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub(super) type Hash = [u8; 32];

/// Prefix of a leaf's hash; the caller hashes what follows.
pub(super) const LEAF: u8 = 0;
/// Prefix of an inner node's hash.
const NODE: u8 = 1;

/// The tree so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Roots of the full subtrees, largest first; their sizes are the set bits of `leaves`.
    peaks: Vec<Hash>,
    leaves: u64,
}

impl Tree {
    /// Appends the hash of a leaf.
    pub(super) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for every set bit of the count");
            hash = node(&left, &hash);
        }
        self.peaks.push(hash);
        self.leaves += 1;
    }

    /// How many leaves there are.
    pub(super) fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root over all leaves so far.
    pub(super) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Sha256::digest([]).into() };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([NODE]).chain_update(left).chain_update(right).finalize().into()
}
