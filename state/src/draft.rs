//! The state while a block changes it.
//!
//! Owns [`Draft`]: changes on top of a [`View`], in two layers so that a failed transaction is taken back whole, and
//! the making of receipts. **Invariant**: a receipt's `before` is its predecessor's `after`; code that changes what a
//! subject's digest covers without a receipt stops here.

use crate::error::Result;
use crate::failure::Abort;
use crate::keys::{self, Key};
use crate::machine::BlockContext;
use crate::records::*;
use crate::store::Row;
use crate::view::{StateRead, View, load};
use borsh::BorshSerialize;
use metanode_types::codec::encode;
use metanode_types::ids::{Address, Digest, ReceiptId, TxId};
use metanode_types::limits::MAX_RECEIPT_BYTES;
use metanode_types::receipt::{Receipt, ReceiptBody, Subject};
use std::collections::BTreeMap;

/// Changes by key; `None` removes.
pub type Changes = BTreeMap<Key, Option<Vec<u8>>>;

/// See the module.
pub(crate) struct Draft<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) block: BlockContext,
    /// Chain-alive time of this block.
    pub(crate) alive_ms: u64,
    kept: Changes,
    layer: Changes,
    receipts: Vec<Receipt>,
    receipts_kept: usize,
    cause: Option<(u32, TxId)>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(view: &'a View<'a>, block: BlockContext) -> Self {
        let head = view.head();
        assert_eq!(block.height, head.height + 1, "a block is executed on its parent's state");
        assert!(block.time_ms > head.time_ms, "time only advances; the caller checks blocks from outside");
        let alive = (block.time_ms - head.time_ms).min(view.params().idle_interval_ms);
        Draft {
            view,
            alive_ms: head.alive_ms + alive,
            block,
            kept: Changes::new(),
            layer: Changes::new(),
            receipts: Vec::new(),
            receipts_kept: 0,
            cause: None,
        }
    }

    /// Names the transaction that causes what follows; `None` for the block's end.
    pub(crate) fn set_cause(&mut self, cause: Option<(u32, TxId)>) {
        assert!(self.layer.is_empty(), "a transaction ends before the next begins");
        self.cause = cause;
    }

    /// Keeps everything since the last keep or discard.
    pub(crate) fn keep(&mut self) {
        self.kept.append(&mut self.layer);
        self.receipts_kept = self.receipts.len();
    }

    /// Takes back everything since the last keep.
    pub(crate) fn discard(&mut self) {
        self.layer.clear();
        self.receipts.truncate(self.receipts_kept);
    }

    /// What was changed and which receipts were made.
    pub(crate) fn finish(self) -> (Changes, Vec<Receipt>) {
        assert!(self.layer.is_empty(), "everything is kept or discarded before the end");
        (self.kept, self.receipts)
    }

    /// Changes kept so far.
    pub(crate) fn changes(&self) -> &Changes {
        &self.kept
    }

    /// Receipts made so far.
    pub(crate) fn receipts_len(&self) -> usize {
        self.receipts.len()
    }

    pub(crate) fn put<T: BorshSerialize>(&mut self, key: Key, value: &T) {
        self.layer.insert(key, Some(encode(value)));
    }
    pub(crate) fn remove(&mut self, key: Key) {
        self.layer.insert(key, None);
    }

    pub(crate) fn put_account(&mut self, a: &Address, r: &AccountRecord) {
        assert!(r.credited >= r.debited, "no account spends more than it received");
        self.put(keys::account(a), r);
    }
    pub(crate) fn put_node(&mut self, a: &Address, r: &NodeRecord) {
        self.put(keys::node(a), r);
    }
    pub(crate) fn put_deployment(&mut self, r: &DeploymentRecord) {
        self.put(keys::deployment(&r.name), r);
    }
    pub(crate) fn put_replica(&mut self, r: &ReplicaRecord) {
        self.put(keys::replica(&r.id), r);
    }

    /// Makes a receipt; returns its id.
    pub(crate) fn emit(
        &mut self,
        subject: Subject,
        before: Digest,
        after: Digest,
        body: ReceiptBody,
    ) -> Result<ReceiptId> {
        let key = keys::subject(&subject);
        let head: Option<SubjectHead> = load(self, &key, "subject head")?;
        let stood_at = head.as_ref().map_or(Digest::default(), |h| h.digest);
        assert_eq!(stood_at, before, "the record of {subject} changed without a receipt");
        let seq = head.as_ref().map_or(0, |h| h.count);
        let receipt = Receipt {
            subject,
            seq,
            previous: head.map(|h| h.last),
            height: self.block.height,
            tx_index: self.cause.map(|c| c.0),
            tx: self.cause.map(|c| c.1),
            before,
            after,
            body,
        };
        let id = receipt.id();
        debug_assert!(encode(&receipt).len() <= MAX_RECEIPT_BYTES, "every text in a receipt is bounded");
        self.put(key, &SubjectHead { count: seq + 1, last: id, digest: after });
        self.receipts.push(receipt);
        Ok(id)
    }
}

impl StateRead for Draft<'_> {
    fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        match self.layer.get(key).or_else(|| self.kept.get(key)) {
            Some(changed) => Ok(changed.clone()),
            None => self.view.raw(key),
        }
    }

    fn first_rows(&self, prefix: &Key, limit: usize) -> Result<Vec<Row>> {
        let under = |changes: &Changes| -> Vec<(Key, Option<Vec<u8>>)> {
            let from = changes.range(prefix.clone()..);
            let same = |k: &Key| k.column == prefix.column && k.bytes.starts_with(&prefix.bytes);
            from.take_while(|(k, _)| same(k)).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        let changes = [under(&self.kept), under(&self.layer)].concat();
        // Each change removes one committed row at most, so this many are enough.
        let committed = self.view.first_rows(prefix, limit.saturating_add(changes.len()))?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = committed.into_iter().collect();
        for (key, value) in changes {
            match value {
                Some(v) => rows.insert(key.bytes, v),
                None => rows.remove(&key.bytes),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    fn chain(&self) -> &GenesisState {
        self.view.chain()
    }
}

/// Result of executing a part of a transaction.
pub(crate) type Step<T = ()> = std::result::Result<T, Abort>;
