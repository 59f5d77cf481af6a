//! Bounds of the interface by name; all are on by default.
//!
//! Owns the budgets of one node's RPC port and their defaults. Bounds of *values* (a transaction, a page, a
//! proof bundle) live in `metanode_types::limits`; relations between the two are asserted at compile time.

use metanode_types::limits::{MAX_BUNDLE_BYTES, MAX_TX_BYTES};
use std::time::Duration;

/// Bytes of one request body or WebSocket message at most.
pub const MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of one answer at most, but for [`MAX_BUNDLE_RESPONSE_BYTES`].
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one answer that carries a proof bundle in hex at most.
pub const MAX_BUNDLE_RESPONSE_BYTES: usize = 2 * MAX_BUNDLE_BYTES + 64 * 1024;
/// Calls in one batch at most.
pub const MAX_BATCH: usize = 50;
/// Nesting depth of JSON in a request at most; an honest request needs four.
pub const MAX_JSON_DEPTH: usize = 16;
/// Open connections at most.
pub const MAX_CONNECTIONS: usize = 900;
/// Open connections of one address (IPv6: one /64) at most.
pub const MAX_CONNECTIONS_PER_IP: usize = 300;
/// Requests being read or answered at most.
pub const MAX_IN_FLIGHT: usize = 1024;
/// Requests of one address being read or answered at most.
pub const MAX_IN_FLIGHT_PER_IP: usize = 256;
/// A body declared to be at most this long is small: room for any transaction in hex and its call.
pub const SMALL_BODY_BYTES: usize = 2 * MAX_TX_BYTES + 1024;
/// Request bodies that are not small, being read or answered at once, at most. With [`MAX_IN_FLIGHT`] and
/// [`SMALL_BODY_BYTES`] it bounds memory, and who holds these places stops uploads only, never transactions.
pub const MAX_LARGE_BODIES: usize = 32;
/// Subscriptions of one WebSocket connection at most.
pub const MAX_SUBSCRIPTIONS: u32 = 5;
/// Messages waiting to be written to one WebSocket connection at most.
pub const MAX_WS_BUFFERED: u32 = 64;
/// Backend calls that may touch the disk, running at once, at most.
pub const MAX_STORE_CALLS: usize = 16;
/// Proof bundles being made at once at most.
pub const MAX_HEAVY_CALLS: usize = 2;
/// Headers of a request must have arrived, and an idle connection is closed, after this long.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A request body must have arrived within this time.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A call other than a wait must be answered within this time.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection is closed when its client takes none of the bytes sent to it for this long.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait that `tx_wait` accepts.
pub const MAX_WAIT: Duration = Duration::from_secs(120);
/// Wait of `tx_wait` when none is given.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// Events read from the store at once for one subscription.
pub const EVENT_PAGE: usize = 64;
/// A subscriber who does not take an event for this long is slow.
pub const EVENT_STALL: Duration = Duration::from_secs(1);
/// Heights that a slow subscriber who had caught up may fall behind before events are skipped with a gap notice.
pub const MAX_EVENT_LAG: u64 = 256;
/// Entries of a page when no limit is given.
pub const DEFAULT_PAGE: usize = 100;
/// Bytes of one log tail at most.
pub const MAX_LOG_TAIL_BYTES: usize = 1024 * 1024;
/// Bytes of a log tail when none is given.
pub const DEFAULT_LOG_TAIL_BYTES: usize = 64 * 1024;
/// Bytes of one chunk of an image upload at most.
pub const IMAGE_CHUNK_BYTES: usize = 512 * 1024;
/// Bytes of an image descriptor at most.
pub const MAX_DESCRIPTOR_BYTES: usize = 256 * 1024;
/// Refused connections that are told so at once; beyond it they are simply closed.
pub const MAX_REFUSALS: usize = 64;

const _: () = assert!(2 * MAX_TX_BYTES < MAX_REQUEST_BYTES, "a transaction in hex fits a request");
const _: () = assert!(2 * IMAGE_CHUNK_BYTES < MAX_REQUEST_BYTES, "a chunk in hex fits a request");
const _: () = assert!(2 * MAX_DESCRIPTOR_BYTES < MAX_REQUEST_BYTES, "a descriptor in hex fits a request");
const _: () = assert!(MAX_BUNDLE_RESPONSE_BYTES < u32::MAX as usize, "jsonrpsee counts bytes in u32");

/// Budgets that an operator may choose; [`Default`] gives the named bounds above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`MAX_REQUEST_BYTES`]; smaller values only.
    pub request_bytes: usize,
    /// See [`MAX_RESPONSE_BYTES`].
    pub response_bytes: usize,
    /// See [`MAX_BATCH`].
    pub batch: usize,
    /// See [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// See [`MAX_CONNECTIONS_PER_IP`].
    pub connections_per_ip: usize,
    /// See [`MAX_IN_FLIGHT`].
    pub in_flight: usize,
    /// See [`MAX_IN_FLIGHT_PER_IP`].
    pub in_flight_per_ip: usize,
    /// See [`MAX_SUBSCRIPTIONS`].
    pub subscriptions: u32,
    /// See [`HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// See [`BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// See [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// See [`CALL_TIMEOUT`].
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_bytes: MAX_REQUEST_BYTES,
            response_bytes: MAX_RESPONSE_BYTES,
            batch: MAX_BATCH,
            connections: MAX_CONNECTIONS,
            connections_per_ip: MAX_CONNECTIONS_PER_IP,
            in_flight: MAX_IN_FLIGHT,
            in_flight_per_ip: MAX_IN_FLIGHT_PER_IP,
            subscriptions: MAX_SUBSCRIPTIONS,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
        }
    }
}
