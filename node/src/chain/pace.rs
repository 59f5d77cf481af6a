//! When a height begins: at once if something calls for a block or others have begun, else at the idle interval.
//!
//! Owns quietness. Heartbeats never call for a block; they ride in the next one.

use super::{Chain, ChainError};
use metanode_consensus::Input;

/// How long a process that has just started waits for peers.
const COMPANY_PATIENCE_MS: u64 = 3_000;

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
        let due = if awaited || next == 1 { 0 } else { self.last_commit_ms + self.params.idle_interval_ms };
        due.max(self.company_due_ms()).max(self.now_ms)
    }

    /// A process that has just started waits a moment for enough peers to decide with, so that its first round is
    /// not spent alone; when they do not come, it goes on all the same.
    fn company_due_ms(&self) -> u64 {
        let validators = self.ledger.tip().validators.len();
        let enough = (self.network.peers().len() + 1) * 3 > validators * 2;
        if enough || self.me.is_none() { 0 } else { self.started_ms + COMPANY_PATIENCE_MS }
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
