//! The receipts log on disk: one node per complete subtree, so that proofs read O(log² n) nodes.
//!
//! Owns the nodes by `(level, index)`; level 0 is the leaves. Appending leaf `i` completes one subtree per
//! trailing one bit of `i`. Refuses to know what a leaf means; shape and verification are
//! `metanode_types::merkle`.

use crate::error::{Error, Result};
use crate::keys::log_node;
use crate::store::{Column, Read};
use metanode_types::hash::Hash;
use metanode_types::merkle::{Frontier, empty_root, node_hash};
use std::collections::BTreeMap;

/// Leaves appended by one block, on top of what is stored.
pub struct Appender<'a> {
    read: &'a dyn Read,
    frontier: Frontier,
    nodes: BTreeMap<[u8; 9], Hash>,
}

impl<'a> Appender<'a> {
    /// Continues the log at `frontier`.
    pub fn new(read: &'a dyn Read, frontier: Frontier) -> Self {
        assert!(frontier.is_well_formed(), "a frontier has one peak per set bit of its size");
        Appender { read, frontier, nodes: BTreeMap::new() }
    }

    /// Appends one leaf hash; returns its index.
    pub fn append(&mut self, leaf: Hash) -> Result<u64> {
        let index = self.frontier.size();
        let (mut level, mut at, mut hash) = (0u8, index, leaf);
        self.nodes.insert(log_node(level, at), hash);
        while at & 1 == 1 {
            let left = match self.nodes.get(&log_node(level, at - 1)) {
                Some(h) => *h,
                None => node(self.read, level, at - 1)?,
            };
            hash = node_hash(&left, &hash);
            (level, at) = (level + 1, at >> 1);
            self.nodes.insert(log_node(level, at), hash);
        }
        self.frontier.append(leaf);
        Ok(index)
    }

    /// The new frontier and the nodes to store.
    pub fn finish(self) -> (Frontier, BTreeMap<[u8; 9], Hash>) {
        (self.frontier, self.nodes)
    }
}

fn node(read: &dyn Read, level: u8, index: u64) -> Result<Hash> {
    let bytes = read.get(Column::LogNodes, &log_node(level, index))?;
    let bytes = bytes.ok_or_else(|| corrupt(format!("node {level}/{index} is missing")))?;
    bytes.try_into().map_err(|_| corrupt(format!("node {level}/{index} is not 32 bytes")))
}

fn corrupt(why: String) -> Error {
    Error::Corrupt { what: "receipts log", why }
}

/// Root of leaves `start .. start + len`, where `start` is a multiple of every power of two used below it.
fn range_root(read: &dyn Read, start: u64, len: u64) -> Result<Hash> {
    match len {
        0 => Ok(empty_root()),
        _ if len.is_power_of_two() => {
            let level = len.trailing_zeros();
            debug_assert_eq!(start % len, 0, "complete subtrees are aligned");
            node(read, level as u8, start >> level)
        }
        _ => {
            let k = split(len);
            Ok(node_hash(&range_root(read, start, k)?, &range_root(read, start + k, len - k)?))
        }
    }
}

/// Largest power of two below `n`, for `n >= 2`.
fn split(n: u64) -> u64 {
    assert!(n >= 2, "a leaf is not split");
    1 << (63 - (n - 1).leading_zeros())
}

/// Root of the first `size` leaves.
pub fn root(read: &dyn Read, size: u64) -> Result<Hash> {
    range_root(read, 0, size)
}

/// Inclusion path of leaf `index` in the log of `size` leaves; `None` if it is not in there.
pub fn inclusion_path(read: &dyn Read, index: u64, size: u64) -> Result<Option<Vec<Hash>>> {
    if index >= size {
        return Ok(None);
    }
    let (mut start, mut len, mut path) = (0, size, Vec::new());
    while len > 1 {
        let k = split(len);
        if index - start < k {
            path.push(range_root(read, start + k, len - k)?);
            len = k;
        } else {
            path.push(range_root(read, start, k)?);
            (start, len) = (start + k, len - k);
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// Consistency path from the log of `old` leaves to that of `new`; `None` if `old` is 0 or beyond `new`.
pub fn consistency_path(read: &dyn Read, old: u64, new: u64) -> Result<Option<Vec<Hash>>> {
    if old == 0 || old > new {
        return Ok(None);
    }
    let (mut start, mut len, mut m, mut whole, mut path) = (0, new, old, true, Vec::new());
    while m < len {
        let k = split(len);
        if m <= k {
            path.push(range_root(read, start + k, len - k)?);
            len = k;
        } else {
            path.push(range_root(read, start, k)?);
            (start, len, m, whole) = (start + k, len - k, m - k, false);
        }
    }
    if !whole {
        path.push(range_root(read, start, len)?);
    }
    path.reverse();
    Ok(Some(path))
}

#[cfg(test)]
mod tests;
