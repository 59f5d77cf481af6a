//! The network's twin in memory: seeded, synchronous, under virtual time.
//!
//! Owns a [`Hub`] that stands for all wires, and a [`MemNetwork`] per node that behaves as the live one
//! does: the same bounds, envelopes, budgets, bans, verdicts and events. No socket, no thread, no clock, no
//! randomness but the seed's, and no hash-map iteration: one seed and one sequence of calls is one run, to
//! the byte.
//!
//! ```text
//!   loop {
//!       let Some(at) = hub.next_event_at() else { break };
//!       hub.advance_to(at);                                    // deliveries due by now reach the inboxes
//!       for node in nodes { while let Some(event) = node.network.try_next() { node.step(at, event) } }
//!   }
//! ```
//!
//! What it simplifies: every two nodes that are not cut apart are connected, and an accepted message is
//! forwarded to every neighbour (as the live mesh does up to nine nodes). Loss hits each hop of gossip,
//! each request and each response; a live stream would hide it until the connection breaks, so this is the
//! harsher world.

mod world;

use crate::{
    Error, Event, InboundId, MessageId, Network, Offence, PeerId, PeerInfo, Protocol, RequestId, Stats,
    Topic, Verdict,
};
use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use world::World;

/// What the wires do to messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Time a message takes, in milliseconds.
    pub latency_ms: RangeInclusive<u64>,
    /// Of a thousand messages, how many are lost.
    pub loss_permille: u32,
    /// Of a thousand gossip messages, how many are delivered a second time, late and under another message
    /// id (an exact copy would be dropped before the core loop sees it, here as in the live network).
    pub duplicate_permille: u32,
    /// Whether messages on one wire may overtake each other.
    pub reorder: bool,
}

impl Default for Conditions {
    /// A good local network: 1 to 5 ms, nothing lost, in order.
    fn default() -> Self {
        Conditions { latency_ms: 1..=5, loss_permille: 0, duplicate_permille: 0, reorder: false }
    }
}

/// All wires of one simulated network. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    world: Arc<Mutex<World>>,
}

/// One node's end of a [`Hub`].
pub struct MemNetwork {
    world: Arc<Mutex<World>>,
    peer: PeerId,
    /// Which life of the node this handle belongs to: after a crash it is cut off for good.
    life: u64,
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    // A panic in a test's step leaves the world as sound as it was.
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub without nodes, at time 0.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Hub { world: Arc::new(Mutex::new(World::new(seed, conditions))) }
    }

    /// The id that the node of this name has, in every hub.
    pub fn peer_id(name: &str) -> PeerId {
        PeerId::from_key(metanode_types::hash::sha256(&[b"metanode/mem-peer/", name.as_bytes()].concat()))
    }

    /// Brings a node into the network, or a crashed one back (with an empty inbox and no memory).
    pub fn join(&self, name: &str) -> MemNetwork {
        let peer = Self::peer_id(name);
        let life = lock(&self.world).join(peer, name);
        MemNetwork { world: self.world.clone(), peer, life }
    }

    /// Virtual time, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        lock(&self.world).now_ms()
    }

    /// When the next delivery is due.
    pub fn next_event_at(&self) -> Option<u64> {
        lock(&self.world).next_event_at()
    }

    /// Delivers everything due up to and including `ms`, in order, and sets the time. Time never goes back.
    pub fn advance_to(&self, ms: u64) {
        lock(&self.world).advance_to(ms);
    }

    /// Changes what the wires do from now on.
    pub fn set_conditions(&self, conditions: Conditions) {
        lock(&self.world).conditions = conditions;
    }

    /// Cuts the wire between two nodes: both notice, and what is under way is lost.
    pub fn cut(&self, a: &PeerId, b: &PeerId) {
        lock(&self.world).cut(*a, *b);
    }

    /// Mends the wire between two nodes.
    pub fn heal(&self, a: &PeerId, b: &PeerId) {
        lock(&self.world).heal(*a, *b);
    }

    /// Mends every wire.
    pub fn heal_all(&self) {
        lock(&self.world).heal_all();
    }

    /// Cuts every wire between the groups, and mends those within each.
    pub fn partition(&self, groups: &[&[PeerId]]) {
        let mut world = lock(&self.world);
        for (i, group) in groups.iter().enumerate() {
            for a in *group {
                group.iter().for_each(|b| world.heal(*a, *b));
                groups[i + 1..].iter().flat_map(|g| g.iter()).for_each(|b| world.cut(*a, *b));
            }
        }
    }

    /// Kills a node: its inbox and what is under way to and from it are lost, its handle is dead, the
    /// others notice.
    pub fn crash(&self, peer: &PeerId) {
        lock(&self.world).crash(*peer);
    }

    /// A digest over every event that reached an inbox so far, with its time: equal for equal runs.
    pub fn trace(&self) -> [u8; 32] {
        lock(&self.world).trace
    }
}

impl Network for MemNetwork {
    fn local_peer_id(&self) -> PeerId {
        self.peer
    }

    fn publish(&self, topic: Topic, data: Vec<u8>) -> Result<(), Error> {
        let (len, cap) = (data.len(), topic.max_bytes());
        if len > cap {
            return Err(Error::PublishTooLong { topic, len, cap });
        }
        self.alive(|world| world.publish(self.peer, topic, &data))
    }

    fn validated(&self, message: &MessageId, verdict: Verdict) {
        // A dead node's verdicts go nowhere, as with the live network.
        let _ = self.alive(|world| world.validated(self.peer, *message, verdict));
    }

    fn request(&self, peer: PeerId, protocol: Protocol, data: Vec<u8>) -> Result<RequestId, Error> {
        let (len, cap) = (data.len(), protocol.max_request());
        if len > cap {
            return Err(Error::RequestTooLong { peer, protocol, len, cap });
        }
        self.alive(|world| world.request(self.peer, peer, protocol, data))
    }

    fn respond(&self, request: InboundId, data: Vec<u8>) -> Result<(), Error> {
        let (protocol, len, cap) = (request.protocol, data.len(), request.protocol.max_response());
        if len > cap {
            return Err(Error::RespondTooLong { protocol, len, cap });
        }
        self.alive(|world| world.respond(self.peer, request, Some(data)))
    }

    fn refuse(&self, request: InboundId) {
        let _ = self.alive(|world| world.respond(self.peer, request, None));
    }

    fn penalize(&self, peer: &PeerId, offence: Offence) {
        let _ = self.alive(|world| world.offend(self.peer, *peer, offence));
    }

    fn peers(&self) -> Vec<PeerInfo> {
        self.alive(|world| world.peers(&self.peer)).unwrap_or_default()
    }

    fn try_next(&self) -> Option<Event> {
        self.alive(|world| world.pop(&self.peer)).ok().flatten()
    }

    fn stats(&self) -> Stats {
        self.alive(|world| world.stats(&self.peer)).unwrap_or_default()
    }
}

impl MemNetwork {
    /// Does something if this life of the node has not ended.
    fn alive<T>(&self, act: impl FnOnce(&mut World) -> T) -> Result<T, Error> {
        let mut world = lock(&self.world);
        if world.is_alive(&self.peer, self.life) { Ok(act(&mut world)) } else { Err(Error::NetworkDown) }
    }
}

#[cfg(test)]
mod tests;
