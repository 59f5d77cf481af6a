//! Content-addressed blobs, verified chunk by chunk while they arrive.
//!
//! Owns the address of a blob, the list of its chunks' hashes, the two messages of the transfer protocol,
//! the serving of a stored blob and the fetching of a foreign one. Sans-I/O: it says which bytes to send to
//! whom and judges what comes back; sockets, files and clocks are the caller's.
//!
//! ```text
//!   blob = chunk 0 | chunk 1 | …        64 KiB each, the last one shorter
//!   leaf = SHA-256(0x00 | chunk)         node = SHA-256(0x01 | left | right)       (RFC 9162)
//!   id   = SHA-256(domain "blob" | length (8 bytes, little endian) | root)
//!
//!   fetcher                                   peers
//!      | --- chunk list of id ------------------> A      checked against id: leaves, count and length
//!      | --- chunks 0…15 -----------------------> A
//!      | --- chunks 16…31 ----------------------> B      each checked against its leaf, alone
//! ```
//!
//! The length is bound into the id, so the tree has exactly one shape and no inner node can pass for a
//! leaf. A false chunk is found when it arrives, before anything depends on it; its sender is named, is not
//! asked again for this blob, and only that chunk is fetched elsewhere.

mod chunks;
mod fetch;
mod serve;

pub use chunks::{BlobId, ChunkList};
pub use fetch::{Blame, Fetch, FetchState, Outgoing, Progress, Ticket};
pub use serve::{BlobRequest, BlobResponse, BlobSource, serve};

#[cfg(test)]
mod tests;
