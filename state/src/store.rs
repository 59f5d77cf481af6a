//! The key-value store below everything: columns, ordered scans, atomic batches with one sync.
//!
//! Owns the traits [`Read`] and [`Store`] and the list of columns. [`RocksStore`] keeps them on disk,
//! [`MemStore`] in memory with the crash semantics of a disk, for tests and the simulator; both pass one
//! conformance suite. Refuses to know what the bytes mean.
//!
//! **Invariants.** A batch is visible entirely or not at all. `commit` returns `Ok` only after one sync. After a
//! failed commit every later call fails ([`Error::Poisoned`]): the only way on is a restart.

#[cfg(any(test, doc))]
use crate::error::Error;
use crate::error::Result;

mod mem;
mod rocks;
#[cfg(test)]
mod tests;

pub use mem::{Fault, MemStore};
pub use rocks::RocksStore;

/// A logical column; its number is the first byte of every key on disk and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Column {
    /// Genesis and head.
    Meta = 0,
    /// State entries by module and key: what the trees commit.
    Entries = 1,
    /// Replicas waiting for a node, oldest first.
    Pending = 2,
    /// Nodes by the chain-alive time of their last heartbeat.
    HeartbeatDue = 3,
    /// Replicas by the node that holds them.
    NodeReplicas = 4,
    /// Finished deployments by the time at which their records go.
    Expiry = 5,
    /// Used nonces by bucket.
    Nonces = 6,
    /// Hash chain of each live bucket of nonces.
    NonceBuckets = 7,
    /// Proposer turns taken and missed by validator.
    Production = 8,
    /// Nodes of the modules' trees.
    TreeNodes = 9,
    /// Tree nodes that a later version replaced.
    TreeStale = 10,
    /// Blocks by height.
    Blocks = 11,
    /// Heights by block id.
    BlockIds = 12,
    /// Certificates by height.
    Certificates = 13,
    /// Where each transaction is and how it ended.
    Txs = 14,
    /// Receipts by index in the log.
    Receipts = 15,
    /// Log indices by receipt id.
    ReceiptIds = 16,
    /// Roots of complete subtrees of the receipts log, by level and index.
    LogNodes = 17,
    /// Log indices by subject and sequence number.
    SubjectReceipts = 18,
    /// Log indices by deployment.
    DeploymentReceipts = 19,
    /// Verifications by the chain-alive time or height at which their stage ends.
    VerifyDue = 20,
}

/// One change of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Writes a value.
    Put(Column, Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Column, Vec<u8>),
    /// Removes every key that starts with the prefix (not empty, not all 0xff).
    DeletePrefix(Column, Vec<u8>),
}

/// Changes that become durable together, applied in order.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// Empty batch.
    pub fn new() -> Self {
        Batch::default()
    }
    /// Writes `value` at `key`.
    pub fn put(&mut self, column: Column, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.ops.push(Op::Put(column, key.into(), value.into()));
    }
    /// Removes `key`.
    pub fn delete(&mut self, column: Column, key: impl Into<Vec<u8>>) {
        self.ops.push(Op::Delete(column, key.into()));
    }
    /// Removes every key that starts with `prefix`.
    pub fn delete_prefix(&mut self, column: Column, prefix: impl Into<Vec<u8>>) {
        let prefix = prefix.into();
        assert!(!prefix.is_empty(), "a whole column is never removed");
        assert!(successor(&prefix).is_some(), "a prefix of 0xff bytes has no end");
        self.ops.push(Op::DeletePrefix(column, prefix));
    }
    /// The changes in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reading, at one point in time.
pub trait Read: Send + Sync {
    /// Value at `key`.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// At most `limit` rows whose keys start with `prefix` and are greater than `after`, ascending.
    fn scan(&self, column: Column, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>>;

    /// Every row whose key starts with `prefix`, ascending.
    fn scan_all(&self, column: Column, prefix: &[u8]) -> Result<Vec<Row>> {
        self.scan(column, prefix, None, usize::MAX)
    }
}

/// A durable store. `Read` on the store itself sees the latest commit; a snapshot stays at its point in time.
pub trait Store: Read {
    /// Applies `batch` atomically and returns after one sync.
    fn commit(&self, batch: &Batch) -> Result<()>;

    /// The store as it is now, unaffected by later commits.
    fn snapshot(&self) -> Result<Box<dyn Read + '_>>;
}

/// Key on disk: the column's number, then the key.
fn physical(column: Column, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(column as u8);
    out.extend_from_slice(key);
    out
}

/// Smallest key greater than every key that starts with `prefix`; `None` if there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut out = prefix[..=keep].to_vec();
    out[keep] += 1;
    Some(out)
}

/// First physical key of a scan, inclusive.
fn scan_start(column: Column, prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    let first = physical(column, prefix);
    match after {
        // The key right after `k` in byte order is `k` and a zero byte.
        Some(k) => first.max([physical(column, k), vec![0]].concat()),
        None => first,
    }
}
