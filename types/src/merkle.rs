//! The RFC 9162 Merkle tree: roots, inclusion proofs, consistency proofs, and an append-only frontier.
//!
//! Owns the tree's shape (leaf = SHA-256(0x00 | data), node = SHA-256(0x01 | left | right), split at the
//! largest power of two below the size). Used for the receipts log, transactions of a block, validators and
//! module roots. Refuses to store anything: whoever keeps a log keeps its leaf hashes and passes them in.
//! Source: RFC 9162 section 2.1; cross-tested against the crate `ct-merkle`.

use crate::hash::Hash;
use crate::limits::MAX_PROOF_HASHES;
use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest as _, Sha256};

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf index lies outside the tree.
    #[error("leaf {index} is outside a tree of {size} leaves")]
    IndexOutsideTree {
        /// Leaf index claimed.
        index: u64,
        /// Tree size claimed.
        size: u64,
    },
    /// The old size is larger than the new one.
    #[error("a log of {new} leaves cannot extend one of {old} leaves")]
    Shrunk {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// The path has too few or too many hashes for the index and size.
    #[error("the path has {got} hashes, which does not fit the index and size")]
    WrongLength {
        /// Hashes in the path.
        got: usize,
    },
    /// The path leads to another root.
    #[error("the path leads to another root")]
    WrongRoot,
}

/// Hash of a leaf's data.
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut h = Sha256::new();
    h.update([0u8]);
    h.update(data);
    h.finalize().into()
}

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut h = Sha256::new();
    h.update([1u8]);
    h.update(left);
    h.update(right);
    h.finalize().into()
}

/// Root of a tree without leaves: SHA-256 of nothing (RFC 9162 section 2.1.1).
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Largest power of two strictly below `n` (n >= 2).
fn split(n: usize) -> usize {
    debug_assert!(n >= 2);
    1 << (usize::BITS - 1 - (n - 1).leading_zeros())
}

/// Root over leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let k = split(leaves.len());
            node_hash(&root(&leaves[..k]), &root(&leaves[k..]))
        }
    }
}

/// Inclusion path of leaf `index` in the tree over `leaves`, from the leaf upwards. `None` if out of range.
pub fn inclusion_path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    fn walk(leaves: &[Hash], index: usize, out: &mut Vec<Hash>) {
        if leaves.len() < 2 {
            return;
        }
        let k = split(leaves.len());
        if index < k {
            walk(&leaves[..k], index, out);
            out.push(root(&leaves[k..]));
        } else {
            walk(&leaves[k..], index - k, out);
            out.push(root(&leaves[..k]));
        }
    }
    if index >= leaves.len() {
        return None;
    }
    let mut out = Vec::new();
    walk(leaves, index, &mut out);
    Some(out)
}

/// Root that `path` leads to from `leaf` at `index` in a tree of `size` leaves (RFC 9162 section 2.1.3.2).
pub fn root_from_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutsideTree { index, size });
    }
    if path.len() > MAX_PROOF_HASHES {
        return Err(ProofError::WrongLength { got: path.len() });
    }
    let (mut fn_, mut sn) = (index, size - 1);
    let mut r = *leaf;
    for p in path {
        if sn == 0 {
            return Err(ProofError::WrongLength { got: path.len() });
        }
        if fn_ & 1 == 1 || fn_ == sn {
            r = node_hash(p, &r);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            r = node_hash(&r, p);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    if sn != 0 {
        return Err(ProofError::WrongLength { got: path.len() });
    }
    Ok(r)
}

/// Checks that `leaf` stands at `index` in the tree of `size` leaves with root `expected`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    expected: &Hash,
) -> Result<(), ProofError> {
    if root_from_inclusion(leaf, index, size, path)? == *expected {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

/// Consistency proof between the first `old` leaves and all of `leaves` (RFC 9162 section 2.1.4.1).
/// `None` if `old` is zero or beyond the end.
pub fn consistency_path(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    fn walk(m: usize, leaves: &[Hash], whole: bool, out: &mut Vec<Hash>) {
        let n = leaves.len();
        if m == n {
            if !whole {
                out.push(root(leaves));
            }
            return;
        }
        let k = split(n);
        if m <= k {
            walk(m, &leaves[..k], whole, out);
            out.push(root(&leaves[k..]));
        } else {
            walk(m - k, &leaves[k..], false, out);
            out.push(root(&leaves[..k]));
        }
    }
    if old == 0 || old > leaves.len() {
        return None;
    }
    let mut out = Vec::new();
    walk(old, leaves, true, &mut out);
    Some(out)
}

/// Checks that the log of `new` leaves extends the log of `old` leaves (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(
    old: u64,
    new: u64,
    path: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old > new || old == 0 {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == new {
        return match (path.is_empty(), old_root == new_root) {
            (true, true) => Ok(()),
            (false, _) => Err(ProofError::WrongLength { got: path.len() }),
            (true, false) => Err(ProofError::WrongRoot),
        };
    }
    let wrong = ProofError::WrongLength { got: path.len() };
    if path.is_empty() || path.len() > MAX_PROOF_HASHES {
        return Err(wrong);
    }
    let (mut fn_, mut sn) = (old - 1, new - 1);
    while fn_ & 1 == 1 {
        fn_ >>= 1;
        sn >>= 1;
    }
    let mut rest = path.iter();
    let first = if old.is_power_of_two() { *old_root } else { *rest.next().ok_or(wrong)? };
    let (mut fr, mut sr) = (first, first);
    for c in rest {
        if sn == 0 {
            return Err(wrong);
        }
        if fn_ & 1 == 1 || fn_ == sn {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    if sn != 0 {
        return Err(wrong);
    }
    if fr == *old_root && sr == *new_root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// The right edge of an append-only tree: enough to append leaves and to know the root, O(log n) hashes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, largest first; one per set bit of `size`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// True when the peaks fit the size (checked after decoding bytes from disk).
    pub fn is_well_formed(&self) -> bool {
        self.peaks.len() == self.size.count_ones() as usize
    }

    /// Appends one leaf hash.
    pub fn append(&mut self, leaf: Hash) {
        assert!(self.is_well_formed(), "a frontier has one peak per set bit of its size");
        let mut node = leaf;
        let mut bits = self.size;
        while bits & 1 == 1 {
            let left = self.peaks.pop().expect("one peak per set bit of the size");
            node = node_hash(&left, &node);
            bits >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
        debug_assert!(self.is_well_formed());
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests;
