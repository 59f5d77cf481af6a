//! Block sync between the sync state machine, the network and the ledger.
//!
//! Owns the requests in flight and serving others. A delivered block was certified; it is executed like any other
//! before it is committed.

use super::gossip::{consensus_peer, network_peer};
use super::{Chain, ChainError, Notice};
use metanode_consensus::sync::{self, SyncEffect, SyncInput, SyncRequest, SyncResponse, SyncedBlock};
use metanode_p2p::{Failure, InboundId, Offence, PeerId, Protocol, RequestId};
use std::collections::VecDeque;

impl Chain {
    pub(super) fn sync_step(&mut self, input: SyncInput) -> Result<(), ChainError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.sync.step(self.now_ms, input) {
                if let Some(answer) = self.sync_perform(effect)? {
                    inputs.push_back(answer);
                }
            }
        }
        Ok(())
    }

    fn sync_perform(&mut self, effect: SyncEffect) -> Result<Option<SyncInput>, ChainError> {
        match effect {
            SyncEffect::Request { id, peer, request } => {
                let sent = network_peer(&peer)
                    .and_then(|p| self.network.request(p, Protocol::Sync, request.to_bytes()).ok());
                match sent {
                    Some(handle) => {
                        self.requests.insert(handle, id);
                    }
                    None => return Ok(Some(SyncInput::Failed { id, undecodable: false })),
                }
            }
            SyncEffect::Deliver(delivered) => return self.deliver(*delivered),
            SyncEffect::Blame { peer, why } => {
                self.notices.push(Notice::Offence(format!("block sync: {why}")));
                let harmless =
                    matches!(why, sync::Blame::TimedOut | sync::Blame::Unreachable | sync::Blame::Empty(_));
                if let (false, Some(peer)) = (harmless, network_peer(&peer)) {
                    self.network.penalize(&peer, Offence::InvalidMessage);
                }
            }
            SyncEffect::Forked { height, .. } => return Err(ChainError::Forked { height }),
            SyncEffect::Wake { at_ms } => self.sync_wake_ms = self.sync_wake_ms.min(at_ms.max(self.now_ms)),
        }
        Ok(None)
    }

    /// Commits a certified block from a peer.
    fn deliver(&mut self, delivered: SyncedBlock) -> Result<Option<SyncInput>, ChainError> {
        let height = delivered.block.header.height;
        if height != self.ledger.tip().height + 1 {
            return Ok(None);
        }
        if let Err(why) = self.ledger.judge(&delivered.block, &*self.scheme) {
            // A quorum certified it, so either this node's state or its software is wrong: never served, never guessed.
            self.notices
                .push(Notice::Alarm(format!("certified block {height} does not execute here: {why}")));
            return Ok(Some(SyncInput::Rejected { height }));
        }
        self.commit(delivered.block, delivered.certificate)?;
        Ok(None)
    }

    pub(super) fn sync_response(&mut self, handle: RequestId, data: &[u8]) -> Result<(), ChainError> {
        let Some(id) = self.requests.remove(&handle) else { return Ok(()) };
        match SyncResponse::from_bytes(data) {
            Ok(response) => self.sync_step(SyncInput::Response { id, response }),
            Err(_) => self.sync_step(SyncInput::Failed { id, undecodable: true }),
        }
    }

    pub(super) fn sync_failed(&mut self, handle: RequestId, why: Failure) -> Result<(), ChainError> {
        let Some(id) = self.requests.remove(&handle) else { return Ok(()) };
        self.sync_step(SyncInput::Failed { id, undecodable: why == Failure::Malformed })
    }

    /// Answers a peer's question about blocks.
    pub(super) fn serve(&mut self, peer: &PeerId, id: InboundId, data: &[u8]) {
        let Ok(request) = SyncRequest::from_bytes(data) else {
            self.network.penalize(peer, Offence::InvalidRequest);
            return self.network.refuse(id);
        };
        let tip = self.ledger.tip().height;
        let ledger = &self.ledger;
        let answer = sync::serve(&request, (1.min(tip), tip), |height| ledger.synced_block(height));
        if self.network.respond(id, answer.to_bytes()).is_err() {
            self.network.refuse(id);
        }
    }

    /// A peer showed that it holds blocks up to `last`.
    pub(super) fn hint(&mut self, peer: metanode_consensus::PeerId, last: u64) -> Result<(), ChainError> {
        if last > self.ledger.tip().height {
            self.sync_step(SyncInput::Hint { peer, last })?;
        }
        Ok(())
    }

    /// A peer works on a height that is decided here: it learns of our tip from our next status answer.
    pub(super) fn tell_tip(&mut self, peer: &metanode_consensus::PeerId) {
        let known = self.network.peers().iter().any(|p| consensus_peer(&p.peer) == *peer);
        if known {
            self.sync_wake_ms = self.now_ms;
        }
    }
}
