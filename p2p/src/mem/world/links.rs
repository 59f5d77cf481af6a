//! Who can talk to whom: joining, crashing, cutting, healing, banning.

use super::{Due, Link, Node, World, address, pair};
use crate::{Event, Failure, PeerId};
use std::collections::BTreeSet;

impl World {
    pub(in crate::mem) fn join(&mut self, peer: PeerId, name: &str) -> u64 {
        self.crash(peer);
        self.number += 1;
        // Nonces of different lives must differ, as the live network's do by the time of the start.
        let (life, nonce) = (self.number, self.number << 32);
        let node =
            Node { name: name.into(), life, nonce, next_request: 1, next_inbound: 1, ..Node::default() };
        self.nodes.insert(peer, node);
        self.tell(peer, Event::Listening { address: address(name) });
        self.relink();
        life
    }

    pub(in crate::mem) fn crash(&mut self, peer: PeerId) {
        if let Some(node) = self.nodes.remove(&peer) {
            node.inbox.clear();
            for (_, _, at) in node.outstanding.values() {
                self.schedule.remove(at);
            }
            self.relink();
        }
    }

    pub(in crate::mem) fn cut(&mut self, a: PeerId, b: PeerId) {
        if a != b && self.cuts.insert(pair(a, b)) {
            self.relink();
        }
    }

    pub(in crate::mem) fn heal(&mut self, a: PeerId, b: PeerId) {
        if self.cuts.remove(&pair(a, b)) {
            self.relink();
        }
    }

    pub(in crate::mem) fn heal_all(&mut self) {
        self.cuts.clear();
        self.relink();
    }

    /// Peers a node is connected to, in the order of their ids.
    pub(super) fn neighbours(&self, me: &PeerId) -> Vec<PeerId> {
        self.nodes
            .keys()
            .copied()
            .filter(|p| p != me && self.links.get(&pair(*p, *me)).is_some_and(|l| l.up))
            .collect()
    }

    /// Makes the wires what they should be now: takes down those that may not be, raises those that may.
    pub(super) fn relink(&mut self) {
        let wanted = self.wanted();
        let lost: Vec<_> = self.links.keys().copied().filter(|p| !wanted.contains(p)).collect();
        for (a, b) in lost {
            let was_up = self.links.remove(&(a, b)).is_some_and(|l| l.up);
            if was_up {
                self.down(a, b);
                self.down(b, a);
            }
        }
        for (a, b) in wanted {
            if !self.links.contains_key(&(a, b)) {
                self.number += 1;
                let epoch = self.number;
                self.links.insert((a, b), Link { epoch, up: false });
                let at = self.now_ms + self.latency();
                self.plan(at, Due::Up { a, b, epoch });
            }
        }
    }

    pub(super) fn up(&mut self, a: PeerId, b: PeerId, epoch: u64) {
        let Some(link) = self.links.get_mut(&(a, b)).filter(|l| l.epoch == epoch) else { return };
        link.up = true;
        self.last.remove(&(a, b));
        self.last.remove(&(b, a));
        self.tell(a, Event::PeerConnected { peer: b });
        self.tell(b, Event::PeerConnected { peer: a });
    }

    fn wanted(&self) -> BTreeSet<(PeerId, PeerId)> {
        let mut wanted = BTreeSet::new();
        for (a, node_a) in &self.nodes {
            for (b, node_b) in self.nodes.range(*a..).filter(|(b, _)| *b != a) {
                let banned =
                    node_a.conduct.is_banned(b, self.now_ms) || node_b.conduct.is_banned(a, self.now_ms);
                if !banned && !self.cuts.contains(&(*a, *b)) {
                    wanted.insert((*a, *b));
                }
            }
        }
        wanted
    }

    /// One side notices that a peer is gone.
    fn down(&mut self, me: PeerId, peer: PeerId) {
        let Some(node) = self.nodes.get_mut(&me) else { return };
        node.pending.retain(|_, (asker, _)| *asker != peer);
        let hanging: Vec<_> =
            node.outstanding.iter().filter(|(_, o)| o.0 == peer).map(|(id, _)| *id).collect();
        self.tell(me, Event::PeerDisconnected { peer });
        for id in hanging {
            self.fail(me, id, Failure::NotConnected);
        }
    }
}
