//! Transactions that wait for a block.
//!
//! Owns the queue, its bounds and its order (arrival), duplicates by id, and per-account shares. A transaction
//! is checked once when it comes in (signature included) and again, cheaply, when a block is built. Refuses to
//! decide validity by itself: the ledger says what is invalid. Heartbeats alone never call for a block.

use metanode_types::ids::{Address, TxId};
use metanode_types::limits::{MAX_MEMPOOL_BYTES, MAX_MEMPOOL_TXS, MAX_MEMPOOL_TXS_PER_ACCOUNT};
use metanode_types::tx::{SignedTx, TxBody};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a transaction does not wait here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Already waiting: submitting again is harmless.
    #[error("the transaction is already waiting")]
    Known,
    /// The queue is full.
    #[error("the mempool is full ({0}); try again in a moment")]
    Full(&'static str),
    /// This account has too many transactions waiting.
    #[error("account {0} has {MAX_MEMPOOL_TXS_PER_ACCOUNT} transactions waiting, no more are taken")]
    Account(Address),
}

struct Waiting {
    tx: Arc<SignedTx>,
    bytes: usize,
}

/// The queue.
pub struct Mempool {
    max: usize,
    by_order: BTreeMap<u64, Waiting>,
    order_of: BTreeMap<TxId, u64>,
    per_account: BTreeMap<Address, usize>,
    bytes: usize,
    next: u64,
    /// Transactions waiting that call for a block.
    urgent: BTreeSet<u64>,
}

fn calls_for_block(tx: &SignedTx) -> bool {
    !matches!(tx.body, TxBody::Heartbeat { .. })
}

impl Default for Mempool {
    fn default() -> Self {
        Mempool::new(MAX_MEMPOOL_TXS)
    }
}

impl Mempool {
    /// A queue of at most `max` transactions, and never more than [`MAX_MEMPOOL_TXS`].
    pub fn new(max: usize) -> Self {
        Mempool {
            max: max.min(MAX_MEMPOOL_TXS),
            by_order: BTreeMap::new(),
            order_of: BTreeMap::new(),
            per_account: BTreeMap::new(),
            bytes: 0,
            next: 0,
            urgent: BTreeSet::new(),
        }
    }
    /// Number waiting.
    pub fn len(&self) -> usize {
        self.by_order.len()
    }
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty()
    }
    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Whether something waits that is not a heartbeat.
    pub fn calls_for_block(&self) -> bool {
        !self.urgent.is_empty()
    }
    /// Whether this transaction waits.
    pub fn contains(&self, id: &TxId) -> bool {
        self.order_of.contains_key(id)
    }
    /// The transaction with this id.
    pub fn get(&self, id: &TxId) -> Option<Arc<SignedTx>> {
        self.order_of.get(id).and_then(|o| self.by_order.get(o)).map(|w| w.tx.clone())
    }

    /// Room for one more of `sender`, or why not.
    pub fn room(&self, id: &TxId, sender: &Address, bytes: usize) -> Result<(), Refused> {
        if self.contains(id) {
            return Err(Refused::Known);
        }
        if self.len() >= self.max {
            return Err(Refused::Full("too many transactions"));
        }
        if self.bytes + bytes > MAX_MEMPOOL_BYTES {
            return Err(Refused::Full("too many bytes"));
        }
        if self.per_account.get(sender).copied().unwrap_or(0) >= MAX_MEMPOOL_TXS_PER_ACCOUNT {
            return Err(Refused::Account(*sender));
        }
        Ok(())
    }

    /// Takes a checked transaction of `bytes` encoded bytes.
    pub fn insert(&mut self, tx: SignedTx, bytes: usize) -> Result<Arc<SignedTx>, Refused> {
        let (id, sender) = (tx.id(), tx.envelope.sender);
        self.room(&id, &sender, bytes)?;
        let order = self.next;
        self.next += 1;
        if calls_for_block(&tx) {
            self.urgent.insert(order);
        }
        let tx = Arc::new(tx);
        self.by_order.insert(order, Waiting { tx: tx.clone(), bytes });
        self.order_of.insert(id, order);
        *self.per_account.entry(sender).or_default() += 1;
        self.bytes += bytes;
        Ok(tx)
    }

    /// Forgets a transaction: it is in a block, or became invalid.
    pub fn remove(&mut self, id: &TxId) {
        let Some(order) = self.order_of.remove(id) else { return };
        let waiting = self.by_order.remove(&order).expect("both maps hold the same transactions");
        self.urgent.remove(&order);
        self.bytes -= waiting.bytes;
        let sender = waiting.tx.envelope.sender;
        let count = self.per_account.get_mut(&sender).expect("counted when inserted");
        *count -= 1;
        if *count == 0 {
            self.per_account.remove(&sender);
        }
    }

    /// Waiting transactions in order of arrival, up to the bounds of a block.
    pub fn candidates(&self, max_txs: usize, max_bytes: usize) -> Vec<Arc<SignedTx>> {
        let mut room = max_bytes;
        let mut out = Vec::new();
        for w in self.by_order.values() {
            if out.len() >= max_txs {
                break;
            }
            if w.bytes <= room {
                room -= w.bytes;
                out.push(w.tx.clone());
            }
        }
        out
    }

    /// Ids of everything that expires before `time_ms`.
    pub fn expired(&self, time_ms: u64) -> Vec<TxId> {
        let late = |w: &&Waiting| w.tx.envelope.valid_until < time_ms;
        self.by_order.values().filter(late).map(|w| w.tx.id()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metanode_types::account::AccountSecret;
    use metanode_types::ids::ChainId;
    use metanode_types::quantity::Amount;
    use metanode_types::workload::Resources;

    fn tx(nonce: u64, body: TxBody) -> SignedTx {
        SignedTx::sign(
            &AccountSecret::from_seed([1; 32]),
            ChainId::default(),
            nonce,
            1000 + nonce,
            Amount(1),
            body,
        )
    }
    fn transfer(nonce: u64) -> SignedTx {
        tx(nonce, TxBody::Transfer { to: Address::default(), amount: Amount(1) })
    }

    #[test]
    fn keeps_order_and_counts_and_drops_duplicates() {
        let mut pool = Mempool::default();
        for n in 0..5 {
            pool.insert(transfer(n), 100).unwrap();
        }
        assert_eq!(pool.insert(transfer(3), 100).unwrap_err(), Refused::Known);
        let nonces: Vec<u64> = pool.candidates(3, 10_000).iter().map(|t| t.envelope.nonce).collect();
        assert_eq!(nonces, [0, 1, 2]);
        assert_eq!(pool.candidates(10, 250).len(), 2);
        pool.remove(&transfer(0).id());
        assert_eq!((pool.len(), pool.bytes()), (4, 400));
        assert_eq!(pool.expired(1003).len(), 2);
    }

    #[test]
    fn heartbeats_alone_call_for_no_block() {
        let mut pool = Mempool::default();
        pool.insert(tx(1, TxBody::Heartbeat { boot_id: 1, free: Resources::default() }), 100).unwrap();
        assert!(!pool.calls_for_block());
        pool.insert(transfer(2), 100).unwrap();
        assert!(pool.calls_for_block());
    }

    #[test]
    fn one_account_cannot_fill_the_queue() {
        let mut pool = Mempool::default();
        for n in 0..MAX_MEMPOOL_TXS_PER_ACCOUNT as u64 {
            pool.insert(transfer(n), 1).unwrap();
        }
        let one_more = transfer(MAX_MEMPOOL_TXS_PER_ACCOUNT as u64);
        assert!(matches!(pool.insert(one_more, 1), Err(Refused::Account(_))));
    }
}
