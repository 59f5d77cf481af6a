//! Every bound of the network by name.
//!
//! Owns what concerns only this crate; what other layers must know too comes from `metanode_types::limits`.
//! Relations between bounds are asserted at compile time.

pub use metanode_types::limits::{BLOB_CHUNK_BYTES, MAX_BLOB_BYTES, MAX_BLOCK_BYTES, MAX_SYNC_BYTES};

/// Bytes of one consensus message (vote, proposal, certificate) at most.
pub const MAX_CONSENSUS_MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes of one batch of transactions at most.
pub const MAX_TRANSACTIONS_MESSAGE_BYTES: usize = 512 * 1024;
/// Bytes of one message on the block topic at most: a block and what is sent along with it.
pub const MAX_BLOCK_MESSAGE_BYTES: usize = MAX_BLOCK_BYTES + 64 * 1024;
/// Bytes a gossip message may grow by when it is framed.
pub const GOSSIP_FRAME_BYTES: usize = 4 * 1024;

/// Bytes of one block-sync request at most.
pub const MAX_SYNC_REQUEST_BYTES: usize = 4 * 1024;
/// Bytes of one blob request at most.
pub const MAX_BLOB_REQUEST_BYTES: usize = 256;
/// Chunks in one blob request at most.
pub const MAX_CHUNKS_PER_REQUEST: u16 = 16;
/// Bytes of one blob response at most: a full run of chunks, or the chunk list of the largest blob.
pub const MAX_BLOB_RESPONSE_BYTES: usize = 2 * 1024 * 1024 + 4 * 1024;
/// How long a request may stay unanswered, in milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Requests of ours that may be under way to one peer.
pub const MAX_OUTSTANDING_PER_PEER: usize = 64;
/// Requests of one peer that may wait for our answer.
pub const MAX_PENDING_PER_PEER: usize = 16;

/// Static peers at most.
pub const MAX_STATIC_PEERS: usize = 256;
/// Addresses of one peer at most.
pub const MAX_ADDRESSES_PER_PEER: usize = 8;
/// Peers that are redialled because they told us their address, at most.
pub const MAX_LEARNT_PEERS: usize = 64;
/// Dials to a learnt peer before it is forgotten. Static peers are never forgotten.
pub const MAX_LEARNT_DIALS: u32 = 60;
/// First pause before a redial, in milliseconds.
pub const REDIAL_MIN_MS: u64 = 200;
/// Longest pause before a redial (jitter comes on top), in milliseconds.
pub const REDIAL_MAX_MS: u64 = 5_000;
/// Pause before a peer of another chain is tried again, in milliseconds.
pub const MISMATCH_PAUSE_MS: u64 = 30_000;
/// How long a connection to a peer of another chain lingers, so that both sides learn why it ends.
pub const MISMATCH_LINGER_MS: u64 = 500;

/// Established connections at most.
pub const MAX_CONNECTIONS: u32 = 256;
/// Established inbound connections at most, so that strangers cannot fill every slot.
pub const MAX_INBOUND_CONNECTIONS: u32 = 192;
/// Inbound connections in their handshake at most.
pub const MAX_PENDING_INBOUND: u32 = 64;
/// Connections to one peer at most (both sides may dial at once, over both transports).
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Time a new peer has to prove its chain and subscribe, in milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 15_000;
/// Interval of the sign of life asked of every peer, in milliseconds.
pub const LIVENESS_INTERVAL_MS: u64 = 15_000;
/// A peer that gave no sign of life for so long is disconnected, in milliseconds.
pub const LIVENESS_TIMEOUT_MS: u64 = 50_000;
/// A second connection of a peer within this time is a simultaneous dial; later, the first one is dead.
pub const SIMULTANEOUS_DIAL_MS: u64 = 5_000;
/// Characters of a peer's self-description that are kept.
pub const MAX_PEER_TEXT: usize = 128;

/// Gossip messages per second one peer may bring us.
pub const GOSSIP_MESSAGES_PER_SECOND: u64 = 4_000;
/// Gossip messages one peer may bring in a burst.
pub const GOSSIP_MESSAGES_BURST: u64 = 8_000;
/// Gossip bytes per second one peer may bring us.
pub const GOSSIP_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;
/// Gossip bytes one peer may bring in a burst.
pub const GOSSIP_BYTES_BURST: u64 = 64 * 1024 * 1024;
/// Requests per second one peer may make.
pub const REQUESTS_PER_SECOND: u64 = 200;
/// Requests one peer may make in a burst.
pub const REQUESTS_BURST: u64 = 400;
/// Response bytes per second one peer may draw from us.
pub const SERVED_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;
/// Response bytes one peer may draw in a burst.
pub const SERVED_BYTES_BURST: u64 = 128 * 1024 * 1024;

/// Score at which a peer is disconnected and banned.
pub const BAN_SCORE: u32 = 100;
/// Score forgiven per second.
pub const FORGIVEN_PER_SECOND: u32 = 1;
/// Length of a peer's first ban, in milliseconds; it doubles with each further ban.
pub const BAN_MIN_MS: u64 = 60_000;
/// Longest ban, in milliseconds.
pub const BAN_MAX_MS: u64 = 3_600_000;
/// Peers whose conduct is remembered at most.
pub const MAX_REMEMBERED_PEERS: usize = 4_096;

/// Gossip messages and requests that may wait for the core loop, in number.
pub const MAX_WAITING_EVENTS: usize = 8_192;
/// Gossip messages and requests that may wait for the core loop, in bytes.
pub const MAX_WAITING_EVENT_BYTES: usize = 64 * 1024 * 1024;
/// Messages and requests of ours that may wait for the swarm, in number.
pub const MAX_OUTBOX_MESSAGES: usize = 8_192;
/// Messages and requests of ours that may wait for the swarm, in bytes.
pub const MAX_OUTBOX_BYTES: usize = 64 * 1024 * 1024;
/// Commands of every kind (verdicts and answers too) that may wait for the swarm.
pub const MAX_COMMANDS: usize = 32_768;
/// Gossip messages waiting to be written to one slow peer at most.
pub const MAX_GOSSIP_QUEUE_PER_PEER: usize = 1_024;

/// How long a shutdown waits for the ports to become free, in milliseconds.
pub const SHUTDOWN_TIMEOUT_MS: u64 = 5_000;

/// Heartbeat of the gossip mesh, in milliseconds.
pub const GOSSIP_HEARTBEAT_MS: u64 = 500;
/// Heartbeats for which a message can still be forwarded or asked for.
pub const GOSSIP_HISTORY: usize = 10;
/// How long a message id is remembered, in milliseconds.
pub const DUPLICATE_CACHE_MS: u64 = 60_000;
/// Repetitions of one content within this time are neither delivered nor forwarded (consensus, blocks).
pub const REPEAT_QUIET_MS: u64 = 500;
/// The same for transactions, which nobody needs to repeat quickly.
pub const REPEAT_QUIET_TRANSACTIONS_MS: u64 = 10_000;
/// Contents remembered for the rule above at most.
pub const MAX_REMEMBERED_CONTENTS: usize = 65_536;

/// Blob requests under way at most, over all peers.
pub const MAX_BLOB_REQUESTS: usize = 16;
/// Blob requests under way to one peer at most.
pub const MAX_BLOB_REQUESTS_PER_PEER: usize = 2;
/// A blob request that stayed unanswered for so long is given to another peer, in milliseconds.
pub const BLOB_REQUEST_TIMEOUT_MS: u64 = REQUEST_TIMEOUT_MS + 2_000;
/// First pause before a peer that could not serve is asked again, in milliseconds.
pub const BLOB_BACKOFF_MIN_MS: u64 = 200;
/// Longest such pause, in milliseconds.
pub const BLOB_BACKOFF_MAX_MS: u64 = 10_000;

const _: () = assert!(MAX_CONSENSUS_MESSAGE_BYTES <= MAX_BLOCK_MESSAGE_BYTES);
const _: () = assert!(MAX_TRANSACTIONS_MESSAGE_BYTES <= MAX_BLOCK_MESSAGE_BYTES);
const _: () =
    assert!(MAX_CHUNKS_PER_REQUEST as usize * (BLOB_CHUNK_BYTES + 4) + 16 <= MAX_BLOB_RESPONSE_BYTES);
const _: () = assert!((MAX_BLOB_BYTES / BLOB_CHUNK_BYTES as u64) * 32 + 64 <= MAX_BLOB_RESPONSE_BYTES as u64);
const _: () = assert!(REQUEST_TIMEOUT_MS < BLOB_REQUEST_TIMEOUT_MS);
const _: () = assert!(MAX_BLOCK_MESSAGE_BYTES as u64 <= GOSSIP_BYTES_BURST);
const _: () = assert!(MAX_SYNC_BYTES as u64 <= SERVED_BYTES_BURST);
const _: () = assert!(MAX_OUTBOX_MESSAGES + MAX_WAITING_EVENTS <= MAX_COMMANDS);
const _: () = assert!(LIVENESS_INTERVAL_MS * 3 < LIVENESS_TIMEOUT_MS);
const _: () =
    assert!(REPEAT_QUIET_MS < DUPLICATE_CACHE_MS && REPEAT_QUIET_TRANSACTIONS_MS < DUPLICATE_CACHE_MS);
