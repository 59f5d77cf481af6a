//! What can go wrong when the network is asked for something.
//!
//! Owns the crate's one error enum, each variant named after the intent that failed. What a *peer* does
//! wrong is not an error but an [`crate::Offence`]; a request that fails later is an
//! [`crate::Event::RequestFailed`].

use crate::{PeerId, Protocol, Topic};

/// Why the network refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment would have TLS secrets written to a file.
    #[error(
        "refuse to start: the environment variable {variable} is set, and with it the TLS library writes the \
         secrets of every connection to a file, so that whoever reads it can decrypt this node's traffic; \
         unset {variable}"
    )]
    KeepTlsSecrets {
        /// The variable's name.
        variable: &'static str,
    },
    /// There is no tokio runtime to run the swarm on.
    #[error("start the network: it must be started from within a tokio runtime")]
    FindRuntime,
    /// The swarm could not be put together.
    #[error("start the network: {what}: {why}")]
    BuildSwarm {
        /// The part that failed.
        what: &'static str,
        /// The library's reason.
        why: String,
    },
    /// A listen address cannot be used.
    #[error("listen on {address}: {why}")]
    Listen {
        /// The address.
        address: String,
        /// The operating system's or the parser's reason.
        why: String,
    },
    /// A text is not an address of a peer.
    #[error("read the peer address {address:?}: {why}")]
    ParseAddress {
        /// The text, shortened.
        address: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Bytes or text are not a peer id.
    #[error("read the peer id {text:?}: it is not the id of an Ed25519 key")]
    ParsePeerId {
        /// The text, shortened.
        text: String,
    },
    /// There are too many static peers.
    #[error("add the peer {peer}: {cap} static peers are known already")]
    AddPeer {
        /// The peer.
        peer: PeerId,
        /// The bound.
        cap: usize,
    },
    /// A message is longer than its topic allows.
    #[error("publish on {topic}: {len} bytes, at most {cap} are allowed")]
    PublishTooLong {
        /// The topic.
        topic: Topic,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// A request is longer than its protocol allows.
    #[error("request {protocol} from {peer}: {len} bytes, at most {cap} are allowed")]
    RequestTooLong {
        /// Who was to be asked.
        peer: PeerId,
        /// The protocol.
        protocol: Protocol,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// A response is longer than its protocol allows.
    #[error("respond on {protocol}: {len} bytes, at most {cap} are allowed")]
    RespondTooLong {
        /// The protocol.
        protocol: Protocol,
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// More is waiting to be sent than is allowed to wait.
    #[error("send: {messages} messages of {bytes} bytes are waiting already")]
    OutboxFull {
        /// Messages waiting.
        messages: usize,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The network was shut down, or (in a simulation) this node has crashed.
    #[error("send: the network has been shut down")]
    NetworkDown,
    /// The bytes are not a blob request.
    #[error("read a blob request: {why}")]
    ReadBlobRequest {
        /// The decoder's reason.
        why: String,
    },
    /// The bytes are not a chunk list of the blob.
    #[error("check the chunk list of {blob}: {why}")]
    CheckChunkList {
        /// The blob.
        blob: crate::blob::BlobId,
        /// What does not fit.
        why: String,
    },
    /// A blob is longer than a blob may be.
    #[error("chunk a blob: {len} bytes, at most {cap} are allowed")]
    BlobTooLong {
        /// Bytes given (at least).
        len: u64,
        /// Bytes allowed.
        cap: u64,
    },
    /// Reading the content of a blob failed.
    #[error("chunk a blob: {source}")]
    ReadBlob {
        /// The reader's reason.
        source: std::io::Error,
    },
}
