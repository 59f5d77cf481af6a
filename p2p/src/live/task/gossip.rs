//! Gossip in and out: envelopes, budgets, verdicts.

use super::Task;
use crate::{Event, MessageId, Offence, PeerId, Topic, Verdict, envelope};
use libp2p::gossipsub::{self, MessageAcceptance, PublishError};

impl Task {
    pub(super) fn publish(&mut self, topic: Topic, content: Vec<u8>) {
        self.nonce = self.nonce.wrapping_add(1);
        let now = self.now_ms();
        // Our own content coming back by another way is a repetition.
        self.recent.admit(topic, &content, now);
        let envelope = envelope::seal(self.nonce, &content);
        let name = self.topics[&topic].clone();
        match self.swarm.behaviour_mut().gossip.publish(name, envelope) {
            Ok(_) => self.shared.count(|s| s.published += 1),
            Err(PublishError::NoPeersSubscribedToTopic) => self.shared.count(|s| s.unheard += 1),
            Err(error) => {
                tracing::warn!(%topic, %error, "publish");
                self.shared.count(|s| s.dropped += 1);
            }
        }
    }

    pub(super) fn validated(&mut self, message: MessageId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        self.settle(&message, acceptance);
        if verdict == Verdict::Reject {
            self.offend(&message.from, Offence::InvalidMessage);
        }
    }

    fn settle(&mut self, message: &MessageId, acceptance: MessageAcceptance) {
        let (id, from) = (gossipsub::MessageId::new(&message.hash), message.from.to_libp2p());
        // False says that the message has left the cache: it came too late to be forwarded, which is no harm.
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
    }

    pub(super) fn hear_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let (Some(from), Ok(hash)) =
                    (PeerId::from_libp2p(&propagation_source), <[u8; 32]>::try_from(message_id.0.as_slice()))
                else {
                    return;
                };
                self.receive(MessageId { hash, from }, &message.topic, message.data);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => self.subscribed(&peer_id, &topic, true),
            gossipsub::Event::Unsubscribed { peer_id, topic } => self.subscribed(&peer_id, &topic, false),
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                // A peer of another chain speaks its own gossip; identify will tell. Others time out.
                tracing::debug!(%peer_id, "it does not speak this chain's gossip");
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::warn!(%peer_id, ?failed_messages, "it does not read what it is sent");
            }
        }
    }

    fn subscribed(&mut self, id: &libp2p::PeerId, name: &gossipsub::TopicHash, on: bool) {
        let topic = self.topics.iter().find(|(_, hash)| *hash == name).map(|(topic, _)| *topic);
        let (Some(peer), Some(topic)) = (PeerId::from_libp2p(id), topic) else { return };
        if let Some(state) = self.peers.get_mut(&peer) {
            state.subscribe(topic, on);
        }
        self.announce(peer);
    }

    fn receive(&mut self, id: MessageId, name: &gossipsub::TopicHash, envelope: Vec<u8>) {
        let now = self.now_ms();
        if let Some(state) = self.peers.get_mut(&id.from) {
            state.alive(now);
        }
        if !self.conduct.allow_gossip(&id.from, envelope.len(), now) {
            self.shared.count(|s| s.dropped += 1);
            self.settle(&id, MessageAcceptance::Ignore);
            self.offend(&id.from, Offence::Flood);
            return;
        }
        let Some(topic) = self.topics.iter().find(|(_, hash)| *hash == name).map(|(topic, _)| *topic) else {
            self.settle(&id, MessageAcceptance::Ignore);
            return;
        };
        let Some(data) = envelope::open(topic, envelope) else {
            self.settle(&id, MessageAcceptance::Reject);
            self.offend(&id.from, Offence::InvalidMessage);
            return;
        };
        if !self.recent.admit(topic, &data, now) {
            self.shared.count(|s| s.repeated += 1);
            self.settle(&id, MessageAcceptance::Ignore);
            return;
        }
        match self.shared.tell(Event::Gossip { topic, from: id.from, id, data }) {
            Ok(()) => self.shared.count(|s| s.delivered += 1),
            Err(_) => {
                self.shared.count(|s| s.dropped += 1);
                self.settle(&id, MessageAcceptance::Ignore);
            }
        }
    }
}
