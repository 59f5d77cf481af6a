//! The state behind a hub: nodes, wires, and what is under way.
//!
//! Owns virtual time, the schedule and the seed's generator. Everything happens in the order of (time,
//! number), and each draw from the generator has its place in that order.

use super::Conditions;
use crate::{
    Event, Failure, InboundId, MessageId, Offence, PeerId, PeerInfo, Protocol, RequestId, Stats, Topic,
    Verdict, conduct::Conduct, envelope, limits, queue::Queue, redial::mix,
};
use metanode_types::hash::sha256;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod links;
mod requests;

/// A message between two nodes.
pub(super) enum Cargo {
    Gossip { topic: Topic, envelope: Vec<u8> },
    Request { id: RequestId, protocol: Protocol, data: Vec<u8> },
    Answer { id: RequestId, protocol: Protocol, data: Option<Vec<u8>> },
}

/// Something that will happen.
pub(super) enum Due {
    /// A message arrives, if the wire is still the one it left on.
    Arrival { from: PeerId, to: PeerId, epoch: u64, cargo: Cargo },
    /// A request has waited long enough.
    Timeout { node: PeerId, id: RequestId },
    /// Two nodes have found each other.
    Up { a: PeerId, b: PeerId, epoch: u64 },
    /// A ban may have ended.
    Relink,
}

/// When something is due: time, then number of scheduling.
type At = (u64, u64);

#[derive(Default)]
pub(super) struct Node {
    name: String,
    life: u64,
    inbox: Queue,
    conduct: Conduct,
    recent: envelope::Recent,
    /// Message ids seen, as gossipsub's duplicate cache.
    seen: BTreeSet<[u8; 32]>,
    seen_order: VecDeque<(u64, [u8; 32])>,
    /// Envelopes that wait for their verdict, as gossipsub's message cache.
    judged: BTreeMap<[u8; 32], (Topic, Vec<u8>)>,
    judged_order: VecDeque<(u64, [u8; 32])>,
    nonce: u64,
    next_request: u64,
    next_inbound: u64,
    outstanding: BTreeMap<RequestId, (PeerId, Protocol, At)>,
    pending: BTreeMap<InboundId, (PeerId, RequestId)>,
    stats: Stats,
}

/// A wire between two nodes that want to talk.
struct Link {
    epoch: u64,
    up: bool,
}

pub(super) struct World {
    pub(super) conditions: Conditions,
    pub(super) trace: [u8; 32],
    now_ms: u64,
    random: u64,
    number: u64,
    nodes: BTreeMap<PeerId, Node>,
    cuts: BTreeSet<(PeerId, PeerId)>,
    links: BTreeMap<(PeerId, PeerId), Link>,
    /// Latest arrival scheduled on each directed wire, for order.
    last: BTreeMap<(PeerId, PeerId), u64>,
    schedule: BTreeMap<At, Due>,
}

impl World {
    pub(super) fn new(seed: u64, conditions: Conditions) -> Self {
        World {
            conditions,
            trace: sha256(&seed.to_le_bytes()),
            now_ms: 0,
            random: seed,
            number: 0,
            nodes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            links: BTreeMap::new(),
            last: BTreeMap::new(),
            schedule: BTreeMap::new(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn next_event_at(&self) -> Option<u64> {
        self.schedule.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn advance_to(&mut self, ms: u64) {
        while let Some(next) = self.schedule.first_entry().filter(|e| e.key().0 <= ms) {
            let (at, due) = next.remove_entry();
            self.now_ms = self.now_ms.max(at.0);
            self.happen(due);
        }
        self.now_ms = self.now_ms.max(ms);
    }

    pub(super) fn is_alive(&self, peer: &PeerId, life: u64) -> bool {
        self.nodes.get(peer).is_some_and(|n| n.life == life)
    }

    pub(super) fn pop(&mut self, peer: &PeerId) -> Option<Event> {
        self.nodes.get(peer)?.inbox.pop()
    }

    pub(super) fn stats(&self, peer: &PeerId) -> Stats {
        self.nodes.get(peer).map(|n| n.stats).unwrap_or_default()
    }

    pub(super) fn peers(&self, me: &PeerId) -> Vec<PeerInfo> {
        let Some(node) = self.nodes.get(me) else { return Vec::new() };
        let info = |peer: PeerId| PeerInfo {
            peer,
            address: self.nodes.get(&peer).map(|n| address(&n.name)).unwrap_or_default(),
            inbound: peer < *me,
            agent: "metanode-mem".into(),
            score: node.conduct.score(&peer),
        };
        self.neighbours(me).into_iter().map(info).collect()
    }

    pub(super) fn publish(&mut self, me: PeerId, topic: Topic, content: &[u8]) {
        let neighbours = self.neighbours(&me);
        let now = self.now_ms;
        let Some(node) = self.nodes.get_mut(&me) else { return };
        node.nonce += 1;
        node.recent.admit(topic, content, now);
        let envelope = envelope::seal(node.nonce, content);
        node.see(message_id(topic, &envelope), now);
        match neighbours.is_empty() {
            true => node.stats.unheard += 1,
            false => node.stats.published += 1,
        }
        for to in neighbours {
            self.gossip(me, to, topic, envelope.clone());
        }
    }

    pub(super) fn validated(&mut self, me: PeerId, message: MessageId, verdict: Verdict) {
        let Some(node) = self.nodes.get_mut(&me) else { return };
        let Some((topic, envelope)) = node.judged.remove(&message.hash) else { return };
        match verdict {
            Verdict::Accept => {
                for to in self.neighbours(&me).into_iter().filter(|to| *to != message.from) {
                    self.gossip(me, to, topic, envelope.clone());
                }
            }
            Verdict::Ignore => {}
            Verdict::Reject => self.offend(me, message.from, Offence::InvalidMessage),
        }
    }

    pub(super) fn offend(&mut self, me: PeerId, peer: PeerId, offence: Offence) {
        let now = self.now_ms;
        let Some(node) = self.nodes.get_mut(&me).filter(|_| me != peer) else { return };
        node.stats.offences += 1;
        let Some(ban) = node.conduct.offend(&peer, offence, now) else { return };
        node.stats.bans += 1;
        self.tell(me, Event::Banned { peer, reason: ban.reason, for_ms: ban.for_ms });
        self.plan(now + ban.for_ms, Due::Relink);
        self.relink();
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrival { from, to, epoch, cargo } => {
                let up = self.links.get(&pair(from, to)).is_some_and(|l| l.up && l.epoch == epoch);
                match cargo {
                    _ if !up => {}
                    Cargo::Gossip { topic, envelope } => self.receive(from, to, topic, envelope),
                    Cargo::Request { id, protocol, data } => self.serve(from, to, id, protocol, data),
                    Cargo::Answer { id, protocol, data } => self.conclude(from, to, id, protocol, data),
                }
            }
            Due::Timeout { node, id } => self.fail(node, id, Failure::Timeout),
            Due::Up { a, b, epoch } => self.up(a, b, epoch),
            Due::Relink => {
                let now = self.now_ms;
                self.nodes.values_mut().for_each(|n| {
                    n.conduct.pardon(now);
                });
                self.relink();
            }
        }
    }

    fn receive(&mut self, from: PeerId, me: PeerId, topic: Topic, envelope: Vec<u8>) {
        let now = self.now_ms;
        let Some(node) = self.nodes.get_mut(&me) else { return };
        let hash = message_id(topic, &envelope);
        if !node.see(hash, now) {
            return;
        }
        if !node.conduct.allow_gossip(&from, envelope.len(), now) {
            node.stats.dropped += 1;
            return self.offend(me, from, Offence::Flood);
        }
        let Some(data) = envelope::open(topic, envelope.clone()) else {
            return self.offend(me, from, Offence::InvalidMessage);
        };
        if !node.recent.admit(topic, &data, now) {
            node.stats.repeated += 1;
            return;
        }
        let id = MessageId { hash, from };
        if self.tell(me, Event::Gossip { topic, from, id, data })
            && let Some(node) = self.nodes.get_mut(&me)
        {
            node.stats.delivered += 1;
            node.keep(hash, topic, envelope, now);
        }
    }

    /// Sends one gossip message over one wire, and perhaps a second one after it.
    fn gossip(&mut self, from: PeerId, to: PeerId, topic: Topic, envelope: Vec<u8>) {
        if self.chance(self.conditions.duplicate_permille)
            && let Some(content) = envelope::open(topic, envelope.clone())
        {
            // Later than the quiet time, so that it does reach the core loop, and under an id of its own.
            let late = limits::REPEAT_QUIET_MS + mix(&mut self.random) % (4 * limits::REPEAT_QUIET_MS);
            let again = envelope::seal(mix(&mut self.random), &content);
            self.send(from, to, late, Cargo::Gossip { topic, envelope: again });
        }
        self.send(from, to, 0, Cargo::Gossip { topic, envelope });
    }

    /// Puts a message on a wire; the conditions decide whether and when it arrives.
    fn send(&mut self, from: PeerId, to: PeerId, later_ms: u64, cargo: Cargo) {
        let Some(epoch) = self.links.get(&pair(from, to)).filter(|l| l.up).map(|l| l.epoch) else { return };
        let latency = self.latency();
        if self.chance(self.conditions.loss_permille) {
            return;
        }
        let mut at = self.now_ms + latency + later_ms;
        if !self.conditions.reorder && later_ms == 0 {
            let last = self.last.entry((from, to)).or_default();
            at = at.max(*last);
            *last = at;
        }
        self.plan(at, Due::Arrival { from, to, epoch, cargo });
    }

    fn plan(&mut self, at_ms: u64, due: Due) -> At {
        self.number += 1;
        let at = (at_ms, self.number);
        self.schedule.insert(at, due);
        at
    }

    fn latency(&mut self) -> u64 {
        let (low, high) = (*self.conditions.latency_ms.start(), *self.conditions.latency_ms.end());
        low + mix(&mut self.random) % (high.saturating_sub(low) + 1)
    }

    fn chance(&mut self, permille: u32) -> bool {
        mix(&mut self.random) % 1000 < u64::from(permille)
    }

    /// Puts an event into an inbox and into the trace; says whether there was room.
    fn tell(&mut self, to: PeerId, event: Event) -> bool {
        let Some(node) = self.nodes.get_mut(&to) else { return false };
        let mark = mark(&event);
        if node.inbox.push(event).is_err() {
            node.stats.dropped += 1;
            return false;
        }
        self.trace = sha256(&[&self.trace[..], &self.now_ms.to_le_bytes(), to.as_key(), &mark].concat());
        true
    }
}

impl Node {
    /// Notes a message id; says whether it is new.
    fn see(&mut self, hash: [u8; 32], now_ms: u64) -> bool {
        while self.seen_order.front().is_some_and(|(until, _)| *until <= now_ms) {
            let (_, old) = self.seen_order.pop_front().expect("there is a front");
            self.seen.remove(&old);
        }
        let new = self.seen.insert(hash);
        if new {
            self.seen_order.push_back((now_ms + limits::DUPLICATE_CACHE_MS, hash));
        }
        new
    }

    /// Keeps an envelope until its verdict, or until it is too late for one.
    fn keep(&mut self, hash: [u8; 32], topic: Topic, envelope: Vec<u8>, now_ms: u64) {
        while self.judged_order.front().is_some_and(|(until, _)| *until <= now_ms) {
            let (_, old) = self.judged_order.pop_front().expect("there is a front");
            self.judged.remove(&old);
        }
        self.judged.insert(hash, (topic, envelope));
        self.judged_order
            .push_back((now_ms + limits::GOSSIP_HEARTBEAT_MS * limits::GOSSIP_HISTORY as u64, hash));
    }
}

/// What of an event goes into the trace: all of it, contents by their digest.
fn mark(event: &Event) -> Vec<u8> {
    let (text, data): (String, &[u8]) = match event {
        Event::Gossip { topic, from, id, data } => (format!("gossip {topic} {from:?} {:?}", id.hash), data),
        Event::Request { peer, protocol, id, data } => (format!("request {peer:?} {protocol} {id:?}"), data),
        Event::Response { peer, protocol, id, data } => {
            (format!("response {peer:?} {protocol} {id:?}"), data)
        }
        other => (format!("{other:?}"), &[]),
    };
    [text.as_bytes(), &sha256(data)].concat()
}

fn message_id(topic: Topic, envelope: &[u8]) -> [u8; 32] {
    envelope::message_id(topic.name(), envelope)
}

fn address(name: &str) -> String {
    format!("/memory/{name}")
}

fn pair(a: PeerId, b: PeerId) -> (PeerId, PeerId) {
    (a.min(b), a.max(b))
}
