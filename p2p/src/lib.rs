//! The network of a metanode: who may talk to us, how bytes travel, and what each peer may cost us.
//!
//! Owns transports (QUIC, and TCP with TLS; never Noise), the chain handshake, gossip topics,
//! request-response protocols, per-peer budgets and bans, redialling, and the transfer of content-addressed
//! blobs. Refuses to know what it carries: consensus, transactions and blocks are opaque bytes here, and no
//! libp2p type leaves the crate.
//!
//! There are two twins behind one trait, [`Network`]: [`LiveNetwork`] over sockets and [`mem::MemNetwork`]
//! inside a seeded hub under virtual time. A core loop written against the trait runs unchanged in the
//! simulator.
//!
//! ```text
//!   core loop (synchronous)                 swarm task (tokio)                       peers
//!        | publish / request / respond -----> commands --------> libp2p swarm <-----> QUIC | TCP+TLS
//!        | <----- try_next ------------------ bounded events <---- budgets, scoring
//!        | validated(message, verdict) -----> forward, drop, or drop and score the sender
//! ```
//!
//! Invariants: every queue and every decode is bounded by a name in [`limits`]; bytes from outside can only
//! become an `Err`, an [`Event`] or an [`Offence`]; [`Event::PeerConnected`] is reported only for a peer
//! that has proven to be of our chain and to be subscribed, so that what is published after it does reach
//! that peer.
#![forbid(unsafe_code)]

pub mod blob;
mod conduct;
mod envelope;
mod error;
pub mod limits;
mod live;
pub mod mem;
mod network;
mod peer;
mod queue;
mod redial;

pub use conduct::Offence;
pub use error::Error;
pub use live::{Config, LiveNetwork, Wake};
pub use network::{
    Event, Failure, InboundId, MessageId, Network, PeerInfo, Protocol, RequestId, Stats, Topic, Verdict,
};
pub use peer::{NodeKey, PeerAddress, PeerId};
