//! Blocks before they are final: built, received, judged by re-execution, committed.
//!
//! Owns the undecided bodies of the height under way and the questions that wait for one. A block is valid when
//! its shape, time and parent fit and executing it gives exactly the header. The overlay of a valid block is kept
//! for its commit.

use super::{Chain, ChainError, Notice};
use metanode_consensus::Input;
use metanode_consensus::sync::SyncInput;
use metanode_p2p::Topic;
use metanode_types::block::{Block, Header};
use metanode_types::certificate::Certificate;
use metanode_types::codec;
use metanode_types::ids::BlockId;
use metanode_types::tx::SignedTx;
use std::collections::BTreeMap;

/// Undecided bodies kept at most: two rounds of every proposer would fit.
const MAX_BODIES: usize = 64;

/// A question of consensus that waits for a body.
#[derive(Clone, Copy)]
struct Wanted {
    height: u64,
    round: u32,
}

/// Undecided blocks.
#[derive(Default)]
pub(super) struct Bodies {
    by_id: BTreeMap<BlockId, Block>,
    wanted: BTreeMap<BlockId, Wanted>,
}

impl Bodies {
    pub(super) fn get(&self, id: &BlockId) -> Option<&Block> {
        self.by_id.get(id)
    }
    pub(super) fn keep(&mut self, block: Block) -> BlockId {
        let id = block.id();
        if self.by_id.len() >= MAX_BODIES && !self.wanted.contains_key(&id) {
            let spare = self.by_id.keys().find(|k| !self.wanted.contains_key(*k)).copied();
            if let Some(spare) = spare {
                self.by_id.remove(&spare);
            }
        }
        self.by_id.insert(id, block);
        id
    }
    pub(super) fn want(&mut self, height: u64, round: u32, block: BlockId) {
        self.wanted.insert(block, Wanted { height, round });
    }
    fn forget_up_to(&mut self, height: u64) {
        self.by_id.retain(|_, b| b.header.height > height);
        self.wanted.retain(|_, w| w.height > height);
    }
}

impl Chain {
    /// Builds a block in answer to consensus.
    pub(super) fn propose(&mut self, height: u64, round: u32) -> Result<Option<Input>, ChainError> {
        let Some(me) = self.me else { return Ok(None) };
        if height != self.ledger.tip().height + 1 {
            return Ok(None);
        }
        let time_ms = self.candidate_time();
        for id in self.mempool.expired(time_ms) {
            self.drop_waiting(&id);
        }
        let max_txs = self.params.max_block_txs as usize;
        let candidates = self.mempool.candidates(max_txs, self.params.max_block_bytes as usize);
        let candidates = candidates.iter().map(|tx| SignedTx::clone(tx)).collect();
        let (block, stale) = self.ledger.build(me, time_ms, candidates)?;
        for id in stale {
            self.drop_waiting(&id);
        }
        let body = codec::encode(&block);
        let id = self.bodies.keep(block);
        self.publish(Topic::Blocks, body);
        Ok(Some(Input::Propose { height, round, block: id }))
    }

    /// A waiting transaction became invalid.
    fn drop_waiting(&mut self, id: &metanode_types::ids::TxId) {
        if let Some(tx) = self.mempool.get(id) {
            self.ledger.forget(&tx);
        }
        self.mempool.remove(id);
    }

    /// Judges a wanted block if its body is here.
    pub(super) fn judge(&mut self, id: &BlockId) -> Result<Option<Input>, ChainError> {
        let Some(wanted) = self.bodies.wanted.get(id).copied() else { return Ok(None) };
        if wanted.height != self.ledger.tip().height + 1 {
            return Ok(None);
        }
        let Some(block) = self.bodies.get(id).cloned() else { return Ok(None) };
        let verdict =
            self.timely(&block.header, wanted.round).and_then(|()| self.ledger.judge(&block, &*self.scheme));
        if let Err(why) = &verdict {
            self.notices.push(Notice::Degraded(format!(
                "block {} at height {}: {why}",
                id.short(),
                wanted.height
            )));
        }
        self.bodies.wanted.remove(id);
        Ok(Some(Input::BlockVerdict { height: wanted.height, block: *id, valid: verdict.is_ok() }))
    }

    /// A block's time is the proposer's clock within the stated skew of ours. A block that is offered again in
    /// a later round keeps the time of its first offer, so only a time ahead of ours is refused there.
    fn timely(&self, header: &Header, round: u32) -> Result<(), String> {
        let (time, skew) = (header.time_ms, self.params.max_clock_skew_ms);
        if time > self.now_ms.saturating_add(skew) {
            return Err(format!("its time is {} ms ahead of this node's clock", time - self.now_ms));
        }
        if round == 0 && time.saturating_add(skew) < self.now_ms {
            return Err(format!("its time is {} ms behind this node's clock", self.now_ms - time));
        }
        Ok(())
    }

    /// A body arrived on the block topic; true when it is of use.
    pub(super) fn body_arrived(&mut self, block: Block) -> Result<bool, ChainError> {
        let height = block.header.height;
        let next = self.ledger.tip().height + 1;
        if height < next || height > next + 1 || block.header.chain_id != self.chain_id {
            return Ok(false);
        }
        let id = self.bodies.keep(block);
        if let Some(answer) = self.judge(&id)? {
            self.step(answer)?;
        }
        Ok(true)
    }

    /// Commits a final block: one atomic write, one sync; then everyone who waits is told.
    pub(super) fn commit(&mut self, block: Block, certificate: Certificate) -> Result<(), ChainError> {
        let (height, id, round) = (block.header.height, block.id(), certificate.round);
        self.ledger.commit(&block, &certificate, &*self.scheme).map_err(|e| match e {
            super::LedgerError::Diverged(why) => ChainError::Diverged { height, block: id, why },
            other => ChainError::Ledger(other),
        })?;
        for tx in &block.txs {
            self.mempool.remove(&tx.id());
        }
        self.bodies.forget_up_to(height);
        self.last_commit_ms = self.now_ms;
        self.notices.push(Notice::Committed { height, block: id, txs: block.txs.len(), round });
        let next = self.ledger.tip().validators.clone();
        self.sync_step(SyncInput::Advanced { height, block: id, next })
    }
}
