//! The swarm's task: the only place where libp2p runs.
//!
//! Owns the swarm and the tables about its peers. Turns commands into calls, swarm events into [`Event`]s,
//! and carries out what [`Conduct`] and [`Redial`] decide. Invariant: nothing in here waits for the core
//! loop.

mod connections;
mod gossip;
mod requests;

use super::{
    Command, Config, Shared,
    behaviour::{self, Behaviour, BehaviourEvent},
    peers::{Close, Peer},
};
use crate::{
    Error, Event, InboundId, Offence, PeerId, Protocol, RequestId, Topic,
    conduct::Conduct,
    envelope::Recent,
    limits, peer,
    redial::{self, Redial},
};
use futures::StreamExt as _;
use libp2p::{Multiaddr, Swarm, gossipsub, request_response, swarm::SwarmEvent};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// How often redials, timeouts and pardons are looked after.
const TICK: Duration = Duration::from_millis(100);
/// Commands taken in one go, so that the swarm is never starved.
const COMMANDS_PER_TURN: usize = 64;

/// A request of a peer that waits for our answer.
struct Pending {
    peer: PeerId,
    channel: request_response::ResponseChannel<super::codec::Answer>,
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    chain: String,
    topics: BTreeMap<Topic, gossipsub::TopicHash>,
    started: Instant,
    peers: BTreeMap<PeerId, Peer>,
    conduct: Conduct,
    redial: Redial,
    recent: Recent,
    nonce: u64,
    /// Requests of ours that are under way: which of them the library's number stands for.
    outstanding: BTreeMap<(Protocol, request_response::OutboundRequestId), (RequestId, PeerId)>,
    pending: BTreeMap<InboundId, Pending>,
    pending_numbers: BTreeMap<(Protocol, request_response::InboundRequestId), InboundId>,
    next_inbound: u64,
    /// When each peer of another chain was last reported, so that one that insists is not reported at every
    /// try.
    foreigners: BTreeMap<PeerId, u64>,
}

impl Task {
    /// Builds the swarm and binds the listen addresses. Must be called within a tokio runtime.
    pub(crate) fn new(config: Config, shared: Arc<Shared>) -> Result<Self, Error> {
        let chain: String = config.chain.iter().map(|b| format!("{b:02x}")).collect();
        let mut swarm = behaviour::build_swarm(&config.key, &chain, &peer::shorten(&config.agent))?;
        for address in &config.listen {
            listen(&mut swarm, address)?;
        }
        // The time of the start makes nonces differ between runs; what they must be is different, not secret.
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let mut seed = start ^ u64::from(config.key.peer_id().as_key()[0]);
        let mut redial = Redial::new(redial::mix(&mut seed));
        for address in &config.peers {
            if address.peer != shared.local && !redial.add_static(address, 0) {
                return Err(Error::AddPeer { peer: address.peer, cap: limits::MAX_STATIC_PEERS });
            }
        }
        let hash = |t: Topic| (t, gossipsub::IdentTopic::new(t.wire_name(&chain)).hash());
        Ok(Task {
            topics: Topic::ALL.into_iter().map(hash).collect(),
            swarm,
            shared,
            chain,
            started: Instant::now(),
            peers: BTreeMap::new(),
            conduct: Conduct::default(),
            redial,
            recent: Recent::default(),
            nonce: start,
            outstanding: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_numbers: BTreeMap::new(),
            next_inbound: 1,
            foreigners: BTreeMap::new(),
        })
    }

    /// Runs until every handle is gone.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(COMMANDS_PER_TURN);
        loop {
            tokio::select! {
                taken = inbox.recv_many(&mut batch, COMMANDS_PER_TURN) => {
                    if taken == 0 {
                        return;
                    }
                    batch.drain(..).for_each(|c| self.obey(c));
                }
                event = self.swarm.select_next_some() => self.hear(event),
                _ = tick.tick() => self.look_after(),
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn obey(&mut self, command: Command) {
        if let Some(weight) = command.weight() {
            self.shared.unload(weight);
        }
        match command {
            Command::Publish { topic, content } => self.publish(topic, content),
            Command::Validated { message, verdict } => self.validated(message, verdict),
            Command::Request { id, peer, protocol, data } => self.request(id, peer, protocol, data),
            Command::Respond { id, answer } => self.respond(id, answer),
            Command::Penalize { peer, offence } => self.offend(&peer, offence),
            Command::AddPeer { address } => {
                let now = self.now_ms();
                if address.peer != self.shared.local && !self.redial.add_static(&address, now) {
                    tracing::warn!(peer = %address.peer, "too many static peers, this one is not added");
                }
            }
        }
    }

    fn hear(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.hear_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.hear_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => self.hear_request(Protocol::Sync, event),
            SwarmEvent::Behaviour(BehaviourEvent::Blob(event)) => self.hear_request(Protocol::Blob, event),
            other => self.hear_connection(other),
        }
    }

    /// What has to be done as time passes.
    fn look_after(&mut self) {
        let now = self.now_ms();
        for peer in self.conduct.pardon(now) {
            self.swarm.behaviour_mut().banned.unblock_peer(peer.to_libp2p());
        }
        let closing: Vec<(PeerId, Close)> =
            self.peers.iter().filter_map(|(id, peer)| Some((*id, peer.verdict(now)?))).collect();
        for (peer, why) in closing {
            tracing::info!(%peer, ?why, "disconnect");
            self.disconnect(&peer);
        }
        for (peer, addresses) in self.redial.due(now) {
            self.dial(peer, &addresses);
        }
    }

    /// Counts an offence, and bans the peer if that fills the measure.
    fn offend(&mut self, peer: &PeerId, offence: Offence) {
        if *peer == self.shared.local {
            return;
        }
        let now = self.now_ms();
        self.shared.count(|s| s.offences += 1);
        let ban = self.conduct.offend(peer, offence, now);
        let score = self.conduct.score(peer);
        self.shared.with_peers(|peers| peers.get_mut(peer).map(|p| p.score = score));
        let Some(ban) = ban else { return };
        self.shared.count(|s| s.bans += 1);
        self.redial.hold(peer, now + ban.for_ms);
        self.swarm.behaviour_mut().banned.block_peer(peer.to_libp2p());
        self.disconnect(peer);
        self.tell(Event::Banned { peer: *peer, reason: ban.reason, for_ms: ban.for_ms });
    }

    /// Closes every connection to a peer; the tables follow when the swarm reports it.
    fn disconnect(&mut self, peer: &PeerId) {
        // An error says that the peer is not connected, which is what is wanted.
        let _ = self.swarm.disconnect_peer_id(peer.to_libp2p());
    }

    /// Tells the core loop what it must know. Events of this kind always have room.
    fn tell(&self, event: Event) {
        let told = self.shared.tell(event);
        debug_assert!(told.is_ok(), "only gossip and requests of peers can be turned away");
    }
}

/// Binds one listen address.
fn listen(swarm: &mut Swarm<Behaviour>, address: &str) -> Result<(), Error> {
    let fail = |why: String| Error::Listen { address: address.into(), why };
    let parsed: Multiaddr = address.parse().map_err(|_| fail("it is not a multiaddress".into()))?;
    if !peer::is_transport(&parsed) {
        let form = "it must be /ip4|ip6/<address>/udp/<port>/quic-v1 or /ip4|ip6/<address>/tcp/<port>";
        return Err(fail(form.into()));
    }
    // libp2p binds TCP listeners with SO_REUSEPORT (so that it can dial from the port it listens on): a second
    // node on the same port would not fail but silently take half of the first one's connections. Binding once
    // without that option finds out who is there.
    if let Some((socket, true)) = peer::socket_of(&parsed) {
        TcpListener::bind(socket).map_err(|e| fail(e.to_string()))?;
    }
    swarm.listen_on(parsed).map(|_| ()).map_err(|e| fail(innermost(&e)))
}

/// The message at the bottom of a chain of errors: that of the operating system, usually.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
