//! The libp2p swarm: which protocols are spoken, with which settings.
//!
//! Owns every libp2p parameter and the reason for it. Decides nothing while running.

use super::codec::Codec;
use crate::{Error, NodeKey, Protocol, Topic, envelope, limits};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, connection_limits, gossipsub, identify, identity,
    request_response, swarm::NetworkBehaviour, tcp, tls, yamux,
};
use std::{collections::HashSet, time::Duration};

/// gossipsub restricted to our topics: a peer cannot make us remember others.
pub(crate) type Gossip =
    gossipsub::Behaviour<gossipsub::IdentityTransform, gossipsub::WhitelistSubscriptionFilter>;

/// Everything that is spoken on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // The two that can deny a connection come first.
    pub(crate) banned: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) gossip: Gossip,
    pub(crate) sync: request_response::Behaviour<Codec>,
    pub(crate) blob: request_response::Behaviour<Codec>,
}

impl Behaviour {
    /// The behaviour of one protocol. Each has its own, because a shared one would negotiate whichever of the
    /// protocols the peer happens to prefer.
    pub(crate) fn requests(&mut self, protocol: Protocol) -> &mut request_response::Behaviour<Codec> {
        match protocol {
            Protocol::Sync => &mut self.sync,
            Protocol::Blob => &mut self.blob,
        }
    }
}

/// What this node says it is, in identify: the handshake by which chains are told apart.
pub(crate) fn chain_version(chain: &str) -> String {
    format!("metanode/{chain}")
}

/// Builds the swarm. Must be called within a tokio runtime.
pub(crate) fn build_swarm(key: &NodeKey, chain: &str, agent: &str) -> Result<Swarm<Behaviour>, Error> {
    let fail = |what| move |why: String| Error::BuildSwarm { what, why };
    let pair = key.to_libp2p();
    let behaviour = behaviour(&pair, chain, agent)?;
    let builder = SwarmBuilder::with_existing_identity(pair)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), tls::Config::new, yamux::Config::default)
        .map_err(|e| fail("TCP with TLS")(e.to_string()))?
        .with_quic()
        .with_behaviour(|_| behaviour)
        .map_err(|e| fail("the protocols")(e.to_string()))?;
    // Connections carry no keep-alive of their own: in a mesh larger than gossipsub's degree a healthy peer
    // can be silent for long. What is dead is found by QUIC's own timeout and by our sign of life; what is
    // too much is bounded by the connection limits.
    let forever = Duration::from_secs(365 * 24 * 3600);
    Ok(builder.with_swarm_config(|c| c.with_idle_connection_timeout(forever)).build())
}

fn behaviour(pair: &identity::Keypair, chain: &str, agent: &str) -> Result<Behaviour, Error> {
    let identify = identify::Config::new(chain_version(chain), pair.public())
        .with_agent_version(agent.to_string())
        .with_interval(Duration::from_millis(limits::LIVENESS_INTERVAL_MS))
        .with_cache_size(0);
    let connections = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(limits::MAX_CONNECTIONS))
        .with_max_established_incoming(Some(limits::MAX_INBOUND_CONNECTIONS))
        .with_max_pending_incoming(Some(limits::MAX_PENDING_INBOUND))
        .with_max_established_per_peer(Some(limits::MAX_CONNECTIONS_PER_PEER));
    Ok(Behaviour {
        banned: Default::default(),
        limits: connection_limits::Behaviour::new(connections),
        identify: identify::Behaviour::new(identify),
        gossip: gossip(chain)?,
        sync: requests(Protocol::Sync, chain)?,
        blob: requests(Protocol::Blob, chain)?,
    })
}

fn requests(protocol: Protocol, chain: &str) -> Result<request_response::Behaviour<Codec>, Error> {
    let name = StreamProtocol::try_from_owned(protocol.wire_name(chain))
        .map_err(|e| Error::BuildSwarm { what: "the request protocols", why: e.to_string() })?;
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_millis(limits::REQUEST_TIMEOUT_MS))
        .with_max_concurrent_streams(limits::MAX_OUTSTANDING_PER_PEER + limits::MAX_PENDING_PER_PEER);
    let support = [(name, request_response::ProtocolSupport::Full)];
    Ok(request_response::Behaviour::with_codec(Codec::new(protocol), support, config))
}

fn gossip(chain: &str) -> Result<Gossip, Error> {
    let fail = |why: String| Error::BuildSwarm { what: "gossip", why };
    let config = gossip_config(chain)?;
    let topics: Vec<_> = Topic::ALL.iter().map(|t| gossipsub::IdentTopic::new(t.wire_name(chain))).collect();
    let filter =
        gossipsub::WhitelistSubscriptionFilter(topics.iter().map(|t| t.hash()).collect::<HashSet<_>>());
    // Anonymous: contents are signed by those who are bound by them (votes, transactions, blocks); an
    // author's signature per envelope would be paid for at every hop and would prove nothing that we use.
    let anonymous = gossipsub::MessageAuthenticity::Anonymous;
    let mut gossip =
        Gossip::new_with_subscription_filter(anonymous, config, filter).map_err(|e| fail(e.into()))?;
    for topic in &topics {
        gossip.subscribe(topic).map_err(|e| fail(e.to_string()))?;
    }
    Ok(gossip)
}

fn gossip_config(chain: &str) -> Result<gossipsub::Config, Error> {
    let heartbeat = Duration::from_millis(limits::GOSSIP_HEARTBEAT_MS);
    let mut config = gossipsub::ConfigBuilder::default();
    config
        .protocol_id_prefix(format!("/metanode/{chain}/gossip"))
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|m| gossipsub::MessageId::new(&envelope::message_id(m.topic.as_str(), &m.data)))
        // Nothing is forwarded before the core loop has judged it.
        .validate_messages()
        // Publish to every subscribed peer and not only to the mesh: with 4 to 20 nodes that is one hop to
        // everybody, and it works from the moment a peer has subscribed, before any mesh has formed.
        .flood_publish(true)
        // Degrees for 4 to 20 nodes: up to nine everybody is in the mesh, beyond that forwarding is bounded.
        .mesh_n(8)
        .mesh_n_low(5)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(heartbeat)
        .history_length(limits::GOSSIP_HISTORY)
        .history_gossip(3)
        // Pruned peers may come back soon: small networks have no others to choose from.
        .prune_backoff(Duration::from_secs(10))
        .unsubscribe_backoff(Duration::from_secs(2))
        .duplicate_cache_time(Duration::from_millis(limits::DUPLICATE_CACHE_MS))
        .connection_handler_queue_len(limits::MAX_GOSSIP_QUEUE_PER_PEER)
        .max_transmit_size(limits::MAX_BLOCK_MESSAGE_BYTES + 2 * limits::GOSSIP_FRAME_BYTES);
    for topic in Topic::ALL {
        // The receiver compares this with the length of the framed message, the publisher with that of the
        // content: without room for the frame a message of full size would be sent by the one and refused
        // by the other. The exact bound on the content is ours to check, on both sides.
        let cap = topic.max_bytes() + limits::GOSSIP_FRAME_BYTES;
        let name = gossipsub::IdentTopic::new(topic.wire_name(chain)).hash();
        config.max_transmit_size_for_topic(cap, name);
    }
    config.build().map_err(|e| Error::BuildSwarm { what: "gossip", why: e.to_string() })
}
