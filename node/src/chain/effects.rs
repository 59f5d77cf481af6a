//! Performs what consensus asks for, in the order it asks.
//!
//! Owns the mapping from effects to journal, network, timers and ledger. A failed write returns at once: nothing
//! behind it in the list is performed.

use super::gossip::network_peer;
use super::{Chain, ChainError, Notice};
use metanode_consensus::{Effect, Input};
use metanode_p2p::{Offence, Topic};
use metanode_types::certificate::Certificate;
use metanode_types::codec;
use std::collections::VecDeque;

impl Chain {
    /// Feeds one input to consensus and performs the effects; inputs that answer them follow in order.
    pub(super) fn step(&mut self, input: Input) -> Result<(), ChainError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.consensus.step(input)? {
                if let Some(answer) = self.perform(effect)? {
                    inputs.push_back(answer);
                }
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<Option<Input>, ChainError> {
        match effect {
            Effect::WalReset { .. } => self.journal.reset()?,
            Effect::WalAppend(record) => self.journal.append(&record)?,
            Effect::WalSync => self.journal.sync()?,
            Effect::PersistGuard(history) => self.journal.persist_guard(&history)?,
            Effect::PersistBlock { block } => {
                if let Some(body) = self.bodies.get(&block) {
                    self.journal.persist_block(block, body)?;
                }
            }
            Effect::Publish(bytes) => self.publish(Topic::Consensus, bytes),
            Effect::RepublishBlock { block, .. } => {
                if let Some(body) = self.bodies.get(&block) {
                    self.publish(Topic::Blocks, codec::encode(body));
                }
            }
            Effect::GetValue { height, round, .. } => return self.propose(height, round),
            Effect::NeedBlockVerdict { height, round, block, .. } => {
                self.bodies.want(height, round, block);
                return self.judge(&block);
            }
            Effect::ScheduleTimeout { id, after_ms } => {
                self.timers.insert(id, self.now_ms + after_ms);
            }
            Effect::CancelTimeout(id) => {
                self.timers.remove(&id);
            }
            Effect::CancelAllTimeouts => self.timers.clear(),
            Effect::Decide(certificate) => self.decided(certificate)?,
            other => self.perform_notice(other)?,
        }
        Ok(None)
    }

    fn perform_notice(&mut self, effect: Effect) -> Result<(), ChainError> {
        match effect {
            Effect::HeightSeen { height, peer } => {
                self.seen_height = self.seen_height.max(height);
                self.hint(peer, height.saturating_sub(1))?;
            }
            Effect::PeerBehind { peer, .. } => self.tell_tip(&peer),
            Effect::Offence { peer, why } => {
                self.notices.push(Notice::Offence(why.to_string()));
                if let Some(peer) = network_peer(&peer) {
                    self.network.penalize(&peer, Offence::InvalidMessage);
                }
            }
            Effect::Evidence(evidence) => self.notices.push(Notice::Alarm(format!(
                "validator {} signed two messages at height {}",
                evidence.author(),
                evidence.height()
            ))),
            Effect::Muted { height } => self.notices.push(Notice::Alarm(format!(
                "the write-ahead log of height {height} is gone; this validator signs nothing until the height is over"
            ))),
            Effect::TwinDetected { height, round } => self.notices.push(Notice::Alarm(format!(
                "this validator's key signed at height {height}, round {round} elsewhere: stop one of the two"
            ))),
            Effect::Degraded { what } => self.notices.push(Notice::Degraded(what)),
            Effect::StartedRound { .. } => {}
            _ => unreachable!("performed by the caller"),
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, topic: Topic, bytes: Vec<u8>) {
        // Nobody connected is no failure: consensus sends again, and sync serves whoever comes later.
        if let Err(error) = self.network.publish(topic, bytes) {
            self.notices.push(Notice::Degraded(format!("publish on {topic}: {error}")));
        }
    }

    /// Commits the decided block: its body is here, because consensus decides only blocks that were judged.
    fn decided(&mut self, certificate: Certificate) -> Result<(), ChainError> {
        let block = self.bodies.get(&certificate.block).cloned();
        let block = block.ok_or_else(|| ChainError::Diverged {
            height: certificate.height,
            block: certificate.block,
            why: "its body is not here".into(),
        })?;
        self.commit(block, certificate)
    }
}
