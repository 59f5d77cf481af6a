//! Views of nodes, clusters and images.

use crate::schema::{view, words};
use metanode_types::ids::{Address, ContentDigest, Digest, Name};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::tx::PlacementPolicy;
use metanode_types::workload::{ImageRef, Resources};

words! {
    /// Whether a node counts for placement.
    NodeState {
        /// Its heartbeats arrive.
        Ready = "ready",
        /// It was silent for the node timeout.
        Lost = "lost",
    }
}

view! {
    /// A registered node.
    NodeView {
        /// Name.
        name: Name,
        /// Account address.
        address: Address,
        /// Whether it counts for placement.
        state: NodeState,
        /// True when the account is a validator.
        validator: bool,
        /// What it offers.
        capacity: Resources,
        /// What assigned replicas have not reserved of it.
        free: Resources,
        /// Replicas assigned to it.
        replicas: u32,
        /// Highest cage level that it declares for native programs.
        cage_level: CageLevel,
        /// Highest cage level that it declares for WASM modules.
        wasm_level: CageLevel,
        /// Whether it runs OCI images.
        runs_oci: bool,
        /// Digest of its CPU features.
        cpu_class: Digest,
        /// Release of its kernel.
        kernel: String,
        /// libp2p peer id, in hex.
        peer_id: String,
        /// Boot id that it last told.
        boot_id: u64,
        /// Height of its last heartbeat or registration.
        last_seen_height: u64,
        /// Block time of that height, Unix milliseconds.
        last_seen_ms: u64,
    }
}

view! {
    /// A cluster.
    ClusterView {
        /// Name.
        name: Name,
        /// Account that owns it; null for the cluster of the genesis.
        owner: Option<Address>,
        /// Least security level of its deployments.
        security: SecurityLevel,
        /// How fitting nodes are ranked.
        placement: PlacementPolicy,
        /// Member nodes; empty = every registered node.
        nodes: Vec<Address>,
        /// Limits of one replica.
        max_replica: Resources,
        /// Deployments in it that are not finished.
        deployments: u32,
    }
}

view! {
    /// The node behind this interface.
    NodeStatusView {
        /// Name.
        name: String,
        /// Account address.
        address: Address,
        /// libp2p peer id.
        peer_id: String,
        /// Addresses on which it listens for peers.
        listen: Vec<String>,
        /// Highest cage level that this machine reaches, as measured at start.
        cage_level: CageLevel,
        /// Whether it can run OCI images, as measured at start.
        runs_oci: bool,
        /// Cages running now.
        cages: u32,
        /// Bytes of images held.
        image_bytes: u64,
        /// What is missing on this machine, in words.
        missing: Vec<String>,
    }
}

view! {
    /// A blob that a node lacks of an image.
    BlobNeedView {
        /// Plain SHA-256 of the blob.
        blob: ContentDigest,
        /// Bytes of the blob.
        size: u64,
        /// Bytes already received, from the start.
        received: u64,
    }
}

view! {
    /// What a node has of an image.
    ImageHaveView {
        /// Hash of the descriptor.
        descriptor: Digest,
        /// True when the image can be deployed from here.
        complete: bool,
        /// Blobs that are missing or partial.
        missing: Vec<BlobNeedView>,
    }
}

view! {
    /// How far the upload of a blob is.
    ImagePutView {
        /// Blob.
        blob: ContentDigest,
        /// Bytes received, from the start.
        received: u64,
        /// True when all bytes are there and the digest is right.
        complete: bool,
    }
}

view! {
    /// An image that a node holds.
    ImageView {
        /// What a workload refers to.
        image: ImageRef,
        /// Bytes of all its blobs.
        bytes: u64,
        /// Name it was imported under, if any.
        name: Option<String>,
    }
}
