//! The one seam: what a core loop may ask of a network, and what a network may tell it.
//!
//! Owns the trait, the topics and protocols with their bounds, and the events. Holds no state and does no
//! I/O. Invariant: nothing here names a library, a socket or a clock, so the live network and its in-memory
//! twin cannot be told apart by what they report.

use crate::{Error, Offence, PeerId, limits};
use std::fmt;

/// What a gossip message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Votes, proposals, certificates.
    Consensus,
    /// Batches of transactions.
    Transactions,
    /// Blocks.
    Blocks,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 3] = [Topic::Consensus, Topic::Transactions, Topic::Blocks];

    /// Bytes of one message at most.
    pub const fn max_bytes(self) -> usize {
        match self {
            Topic::Consensus => limits::MAX_CONSENSUS_MESSAGE_BYTES,
            Topic::Transactions => limits::MAX_TRANSACTIONS_MESSAGE_BYTES,
            Topic::Blocks => limits::MAX_BLOCK_MESSAGE_BYTES,
        }
    }

    /// The last part of the topic's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Consensus => "consensus",
            Topic::Transactions => "transactions",
            Topic::Blocks => "blocks",
        }
    }

    /// The topic's name on the wire. The chain is part of it: chains never mix.
    pub fn wire_name(self, chain: &str) -> String {
        format!("metanode/{chain}/{}/1", self.name())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request-response protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Blocks with their certificates, by height range.
    Sync,
    /// Content-addressed blobs (see [`crate::blob`]).
    Blob,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 2] = [Protocol::Sync, Protocol::Blob];

    /// Bytes of one request at most.
    pub const fn max_request(self) -> usize {
        match self {
            Protocol::Sync => limits::MAX_SYNC_REQUEST_BYTES,
            Protocol::Blob => limits::MAX_BLOB_REQUEST_BYTES,
        }
    }

    /// Bytes of one response at most.
    pub const fn max_response(self) -> usize {
        match self {
            Protocol::Sync => limits::MAX_SYNC_BYTES,
            Protocol::Blob => limits::MAX_BLOB_RESPONSE_BYTES,
        }
    }

    /// The protocol's name.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Sync => "sync",
            Protocol::Blob => "blob",
        }
    }

    /// The protocol's name on the wire.
    pub fn wire_name(self, chain: &str) -> String {
        format!("/metanode/{chain}/{}/1", self.name())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A gossip message as it reached us: what it is, and which peer brought it (not who wrote it).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// SHA-256 over topic and envelope.
    pub(crate) hash: [u8; 32],
    /// The peer that brought it.
    pub(crate) from: PeerId,
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.hash[..8] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " from {}", self.from)
    }
}

/// What the core loop made of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and of use: forward it.
    Accept,
    /// Neither wrong nor of use (stale, already known, cannot be judged yet): do not forward it.
    Ignore,
    /// Invalid: do not forward it, and score the peer that brought it.
    Reject,
}

/// One of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// One request of a peer, waiting for our answer. Answering twice, or late, does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId {
    pub(crate) number: u64,
    pub(crate) protocol: Protocol,
}

/// Why a request got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer is not connected, or the connection was lost.
    NotConnected,
    /// No response in time.
    Timeout,
    /// The peer said that it will not answer now: its budget for us is used up, or it has nothing to say.
    Busy,
    /// The peer does not speak the protocol.
    Unsupported,
    /// The response was malformed or too long. The peer has been scored.
    Malformed,
    /// Too many of our requests to this peer are under way.
    TooMany,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::NotConnected => "the peer is not connected",
            Failure::Timeout => "no response in time",
            Failure::Busy => "the peer will not answer now",
            Failure::Unsupported => "the peer does not speak the protocol",
            Failure::Malformed => "the response was malformed or too long",
            Failure::TooMany => "too many requests to this peer are under way",
        })
    }
}

/// A connected peer of our chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// The address the connection runs to.
    pub address: String,
    /// Whether the peer dialled us.
    pub inbound: bool,
    /// What the peer says of its software; unverified.
    pub agent: String,
    /// Its score of offences (0 is best; [`limits::BAN_SCORE`] gets it banned).
    pub score: u32,
}

/// What a network tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// We listen on this address (with the actual port).
    Listening {
        /// The address, without our id.
        address: String,
    },
    /// A listener stopped; we are no longer reachable there.
    ListenerLost {
        /// The addresses.
        addresses: Vec<String>,
        /// Why.
        why: String,
    },
    /// A peer of our chain is connected and subscribed: what is published from now on reaches it.
    PeerConnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer that was reported as connected no longer is.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer was turned away because it is of another chain: its genesis is not ours.
    ChainMismatch {
        /// The peer.
        peer: PeerId,
        /// What we say we are: `metanode/<chain id>`.
        ours: String,
        /// What the peer says it is, shortened.
        theirs: String,
    },
    /// A peer was disconnected and will not be talked to for a time.
    Banned {
        /// The peer.
        peer: PeerId,
        /// The offence that filled the measure.
        reason: Offence,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A gossip message; it waits for [`Network::validated`]. It may precede its bringer's `PeerConnected`.
    Gossip {
        /// The topic.
        topic: Topic,
        /// The peer that brought it (not necessarily its author).
        from: PeerId,
        /// To be handed back with the verdict.
        id: MessageId,
        /// The content.
        data: Vec<u8>,
    },
    /// A request of a peer; it waits for [`Network::respond`].
    Request {
        /// Who asks.
        peer: PeerId,
        /// The protocol.
        protocol: Protocol,
        /// To be handed back with the response.
        id: InboundId,
        /// The request.
        data: Vec<u8>,
    },
    /// The response to one of our requests.
    Response {
        /// Who answered.
        peer: PeerId,
        /// The protocol.
        protocol: Protocol,
        /// Our request.
        id: RequestId,
        /// The response.
        data: Vec<u8>,
    },
    /// One of our requests got no response, and will get none.
    RequestFailed {
        /// Who was asked.
        peer: PeerId,
        /// The protocol.
        protocol: Protocol,
        /// Our request.
        id: RequestId,
        /// Why.
        why: Failure,
    },
}

/// Counters since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Gossip messages of ours that went out.
    pub published: u64,
    /// Gossip messages of ours that nobody was there to receive.
    pub unheard: u64,
    /// Gossip messages handed to the core loop.
    pub delivered: u64,
    /// Gossip messages dropped as repetitions.
    pub repeated: u64,
    /// Gossip messages and requests dropped because a budget or a queue was full.
    pub dropped: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests of peers handed to the core loop.
    pub served: u64,
    /// Offences counted against peers.
    pub offences: u64,
    /// Bans spoken.
    pub bans: u64,
}

/// A network, live or simulated. All calls return at once; what takes time is reported by an [`Event`].
pub trait Network: Send + Sync {
    /// Who we are.
    fn local_peer_id(&self) -> PeerId;

    /// Sends a message to every peer. Publishing the same content again sends it again.
    fn publish(&self, topic: Topic, data: Vec<u8>) -> Result<(), Error>;

    /// Says what became of a gossip message. Without a verdict a message is not forwarded.
    fn validated(&self, message: &MessageId, verdict: Verdict);

    /// Asks one peer. Exactly one `Response` or `RequestFailed` with the id follows.
    fn request(&self, peer: PeerId, protocol: Protocol, data: Vec<u8>) -> Result<RequestId, Error>;

    /// Answers a peer's request.
    fn respond(&self, request: InboundId, data: Vec<u8>) -> Result<(), Error>;

    /// Tells a peer that its request will not be answered, so that it asks elsewhere at once.
    fn refuse(&self, request: InboundId);

    /// Counts an offence against a peer, found by a layer that understands what the bytes mean.
    fn penalize(&self, peer: &PeerId, offence: Offence);

    /// The connected peers of our chain, in the order of their ids.
    fn peers(&self) -> Vec<PeerInfo>;

    /// The next event, if there is one.
    fn try_next(&self) -> Option<Event>;

    /// Counters since the start.
    fn stats(&self) -> Stats;
}
