//! What is known of each connection's peer: where it stands in the handshake.
//!
//! Owns the states below and the questions that depend on time alone. Sans-I/O.
//!
//! ```text
//!   connected --- identify: our chain ---> known --- subscribed to all topics ---> ready (PeerConnected)
//!       |                                    |                                      |
//!       |--- identify: another chain --------|---> foreign (ChainMismatch), lingers, closed
//!       '--- too late ---> closed            '--- too late ---> closed              '--- silent ---> closed
//! ```

use crate::{Topic, limits};

/// Which chain a peer is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    Unknown,
    Ours,
    Foreign { close_at_ms: u64 },
}

/// A peer with at least one connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) inbound: bool,
    pub(crate) agent: String,
    pub(crate) chain: Chain,
    pub(crate) announced: bool,
    /// Requests of ours that are under way.
    pub(crate) outstanding: usize,
    /// Requests of the peer that wait for our answer.
    pub(crate) pending: usize,
    subscribed: [bool; Topic::ALL.len()],
    since_ms: u64,
    alive_ms: u64,
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    Foreign,
    HandshakeTimeout,
    Silent,
}

impl Peer {
    pub(crate) fn new(address: String, inbound: bool, now_ms: u64) -> Self {
        Peer {
            address,
            inbound,
            agent: String::new(),
            chain: Chain::Unknown,
            announced: false,
            outstanding: 0,
            pending: 0,
            subscribed: [false; Topic::ALL.len()],
            since_ms: now_ms,
            alive_ms: now_ms,
        }
    }

    /// The peer has given a sign of life.
    pub(crate) fn alive(&mut self, now_ms: u64) {
        self.alive_ms = now_ms;
    }

    pub(crate) fn subscribe(&mut self, topic: Topic, on: bool) {
        self.subscribed[topic as usize] = on;
    }

    /// Whether the peer has just become ready, and is to be announced.
    pub(crate) fn announce(&mut self) -> bool {
        let ready = self.chain == Chain::Ours && self.subscribed.iter().all(|s| *s);
        let now = ready && !self.announced;
        self.announced |= ready;
        now
    }

    /// Whether the first connection is so old that a further one means that the peer has lost it.
    pub(crate) fn is_stale(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) > limits::SIMULTANEOUS_DIAL_MS
    }

    /// Whether the peer is to be disconnected.
    pub(crate) fn verdict(&self, now_ms: u64) -> Option<Close> {
        match self.chain {
            Chain::Foreign { close_at_ms } => (close_at_ms <= now_ms).then_some(Close::Foreign),
            _ if !self.announced && now_ms.saturating_sub(self.since_ms) > limits::HANDSHAKE_TIMEOUT_MS => {
                Some(Close::HandshakeTimeout)
            }
            _ if now_ms.saturating_sub(self.alive_ms) > limits::LIVENESS_TIMEOUT_MS => Some(Close::Silent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_announced_once_and_only_when_chain_and_topics_are_proven() {
        let mut peer = Peer::new(String::new(), true, 0);
        for topic in Topic::ALL {
            assert!(!peer.announce());
            peer.subscribe(topic, true);
        }
        assert!(!peer.announce(), "the chain is not proven yet");
        peer.chain = Chain::Ours;
        assert!(peer.announce());
        assert!(!peer.announce());
    }

    #[test]
    fn who_proves_nothing_or_falls_silent_is_closed() {
        let mut peer = Peer::new(String::new(), true, 0);
        assert_eq!(peer.verdict(limits::HANDSHAKE_TIMEOUT_MS), None);
        assert_eq!(peer.verdict(limits::HANDSHAKE_TIMEOUT_MS + 1), Some(Close::HandshakeTimeout));
        peer.announced = true;
        peer.alive(100_000);
        assert_eq!(peer.verdict(100_000 + limits::LIVENESS_TIMEOUT_MS), None);
        assert_eq!(peer.verdict(100_001 + limits::LIVENESS_TIMEOUT_MS), Some(Close::Silent));
        peer.chain = Chain::Foreign { close_at_ms: 7 };
        assert_eq!((peer.verdict(6), peer.verdict(7)), (None, Some(Close::Foreign)));
    }
}
