//! When a height begins: at once if something calls for a block or others have begun, else at the idle interval.
//!
//! Owns quietness. Heartbeats never call for a block; they ride in the next one.

use super::{Chain, ChainError};
use metanode_consensus::Input;

impl Chain {
    /// Time that a block built now would carry.
    pub(super) fn candidate_time(&self) -> u64 {
        self.now_ms.max(self.ledger.tip().time_ms + 1)
    }

    /// Whether the height behind the tip has been started.
    fn under_way(&self) -> bool {
        self.consensus.height() > self.ledger.tip().height
    }

    /// When the next height begins by itself; `u64::MAX` while one is under way.
    pub(super) fn height_due_ms(&self) -> u64 {
        if self.under_way() {
            return u64::MAX;
        }
        let next = self.ledger.tip().height + 1;
        let awaited = self.seen_height >= next || self.mempool.calls_for_block() || !self.replay.is_empty();
        // The first block is made at once: a chain is alive when its first block is final.
        if awaited || next == 1 { self.now_ms } else { self.last_commit_ms + self.params.idle_interval_ms }
    }

    /// Starts the height behind the tip when it is due and no peer holds a later block.
    pub(super) fn start_height_if_due(&mut self) -> Result<(), ChainError> {
        if self.height_due_ms() > self.now_ms {
            return Ok(());
        }
        let tip = self.ledger.tip();
        let (height, validators) = (tip.height + 1, tip.validators.clone());
        let replay = std::mem::take(&mut self.replay);
        self.timers.clear();
        self.step(Input::StartHeight { height, validators, replay })
    }
}
