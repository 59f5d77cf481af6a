//! Real nodes on loopback, with free ports, and waiting for conditions instead of sleeping.
#![allow(dead_code, reason = "each test file uses its part")]

use metanode_p2p::{Config, Event, LiveNetwork, Network as _, NodeKey, PeerAddress, PeerId};
use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub const CHAIN: [u8; 32] = [0xc4; 32];
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";

pub fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

pub fn config(n: u8, listen: &str, peers: Vec<PeerAddress>) -> Config {
    Config {
        key: key(n),
        chain: CHAIN,
        listen: vec![listen.into()],
        peers,
        agent: "metanode/test".into(),
        wake: None,
    }
}

/// Starts a node and waits until it listens.
pub async fn start(config: Config) -> (LiveNetwork, PeerAddress) {
    let node = LiveNetwork::spawn(config).expect("the node starts");
    let peer = node.local_peer_id();
    let address = wait_for(&node, |e| match e {
        Event::Listening { address } => Some(PeerAddress::new(peer, &address).unwrap()),
        _ => None,
    })
    .await;
    (node, address)
}

/// `n` nodes, each of which knows those before it, all connected.
pub async fn cluster(n: u8, listen: &str) -> Vec<LiveNetwork> {
    let (mut nodes, mut known) = (Vec::new(), Vec::new());
    for i in 1..=n {
        let (node, address) = start(config(i, listen, known.clone())).await;
        nodes.push(node);
        known.push(address);
    }
    for node in &nodes {
        until(|| node.peers().len() == usize::from(n) - 1).await;
    }
    nodes
}

/// Takes events until one fits; the others are dropped.
pub async fn wait_for<T>(node: &LiveNetwork, mut fits: impl FnMut(Event) -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = fits(node.next().await) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the event came in time")
}

pub async fn wait_connected(node: &LiveNetwork, expected: PeerId) {
    wait_for(node, |e| matches!(e, Event::PeerConnected { peer } if peer == expected).then_some(())).await;
}

/// Looks until a condition holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "the condition held in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
