//! Connections coming and going, and the chain handshake.

use super::Task;
use crate::{
    Event, PeerId, PeerInfo, limits,
    live::{
        behaviour::{BehaviourEvent, chain_version},
        peers::{Chain, Peer},
    },
    peer,
};
use libp2p::{
    Multiaddr,
    core::ConnectedPoint,
    identify,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use std::sync::PoisonError;

impl Task {
    pub(super) fn hear_connection(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => self.listening(&address),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let why = reason.map_or_else(|e| e.to_string(), |()| "it was closed".into());
                let addresses = addresses.iter().map(Multiaddr::to_string).collect();
                self.tell(Event::ListenerLost { addresses, why });
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } => {
                self.connected(&peer_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => self.closed(&peer_id),
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(?peer_id, %error, "dial failed");
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(%send_back_addr, %error, "incoming connection failed");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            _ => {}
        }
    }

    fn listening(&mut self, address: &Multiaddr) {
        if let Some((socket, false)) = peer::socket_of(address) {
            self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        }
        self.tell(Event::Listening { address: address.to_string() });
    }

    pub(super) fn dial(&mut self, peer: PeerId, addresses: &[String]) {
        let addresses = addresses.iter().filter_map(|a| a.parse().ok()).collect();
        let dial = DialOpts::peer_id(peer.to_libp2p()).addresses(addresses).build();
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%peer, %error, "dial refused");
        }
    }

    fn connected(&mut self, id: &libp2p::PeerId, endpoint: &ConnectedPoint, established: u32) {
        let Some(peer) = PeerId::from_libp2p(id) else {
            // Not an Ed25519 key: nothing here has a name for it.
            let _ = self.swarm.disconnect_peer_id(*id);
            return;
        };
        let now = self.now_ms();
        self.redial.connected(&peer);
        // A peer that is connected does not dial. If it does, long after the first connection was made, it
        // has lost that one without our noticing (it was killed, or the path broke). gossipsub greets a
        // peer on the first connection only and goes on writing to it, so the new connection would stay
        // mute: close all, and let the redial make a clean one.
        if established > 1 && self.peers.get(&peer).is_some_and(|p| p.is_stale(now)) {
            tracing::info!(%peer, "it connected anew: its former connection is dead");
            self.disconnect(&peer);
            return;
        }
        let address = endpoint.get_remote_address().to_string();
        self.peers.entry(peer).or_insert_with(|| Peer::new(address, endpoint.is_listener(), now));
    }

    fn closed(&mut self, id: &libp2p::PeerId) {
        let Some(peer) = PeerId::from_libp2p(id) else { return };
        let now = self.now_ms();
        self.redial.lost(&peer, now);
        let Some(state) = self.peers.remove(&peer) else { return };
        self.pending.retain(|_, p| p.peer != peer);
        self.pending_numbers.retain(|_, id| self.pending.contains_key(id));
        if matches!(state.chain, Chain::Foreign { .. }) {
            self.redial.hold(&peer, now + limits::MISMATCH_PAUSE_MS);
        }
        if state.announced {
            self.shared.with_peers(|peers| peers.remove(&peer));
            self.tell(Event::PeerDisconnected { peer });
        }
    }

    pub(super) fn hear_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let Some(peer) = PeerId::from_libp2p(&peer_id) else { return };
        let now = self.now_ms();
        let ours = chain_version(&self.chain);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.alive(now);
        if info.protocol_version != ours {
            if !matches!(state.chain, Chain::Foreign { .. }) {
                // It lingers for a moment, so that the other side learns it too and can tell its operator.
                state.chain = Chain::Foreign { close_at_ms: now + limits::MISMATCH_LINGER_MS };
                self.report_foreigner(peer, ours, &info.protocol_version);
            }
            return;
        }
        state.agent = peer::shorten(&info.agent_version);
        if state.chain == Chain::Unknown {
            state.chain = Chain::Ours;
            self.learn(peer, &info.listen_addrs);
        }
        self.announce(peer);
    }

    /// Tells the operator of a peer of another chain, at most once per pause and peer.
    fn report_foreigner(&mut self, peer: PeerId, ours: String, theirs: &str) {
        let now = self.now_ms();
        self.foreigners.retain(|_, told| now.saturating_sub(*told) < limits::MISMATCH_PAUSE_MS);
        if self.foreigners.len() < limits::MAX_REMEMBERED_PEERS && !self.foreigners.contains_key(&peer) {
            self.foreigners.insert(peer, now);
            self.tell(Event::ChainMismatch { peer, ours, theirs: peer::shorten(theirs) });
        }
    }

    /// Notes where a peer of our chain listens. Only addresses at the IP it is connected from are believed:
    /// else it could have us dial whomever it likes.
    fn learn(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let remote = self.peers.get(&peer).and_then(|p| peer::ip_of(&p.address.parse().ok()?));
        let credible = |a: &&Multiaddr| peer::is_transport(a) && remote.is_some() && peer::ip_of(a) == remote;
        let credible: Vec<String> = addresses.iter().filter(credible).map(Multiaddr::to_string).collect();
        let now = self.now_ms();
        self.redial.learn(peer, credible.iter().map(String::as_str), now);
    }

    /// Reports a peer that has just completed its handshake.
    pub(super) fn announce(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer).filter(|p| !p.announced) else { return };
        if !state.announce() {
            return;
        }
        let (address, inbound, agent) = (state.address.clone(), state.inbound, state.agent.clone());
        let score = self.conduct.score(&peer);
        self.redial.ready(&peer);
        self.shared.with_peers(|peers| peers.insert(peer, PeerInfo { peer, address, inbound, agent, score }));
        self.tell(Event::PeerConnected { peer });
    }
}
