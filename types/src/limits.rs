//! Every bound of the system by name.
//!
//! Owns decode caps (what a node is willing to *look at*) and structural bounds (what a value may *be*).
//! Consensus limits that operators may choose per chain (`max_tx_bytes`, `max_block_bytes`) live in
//! [`crate::params`] and are hashed; they may never exceed the caps here. Relations between bounds are
//! asserted at compile time.

/// Bytes of one signed transaction at most, whatever the chain's parameters say.
pub const MAX_TX_BYTES: usize = 64 * 1024;
/// Bytes of one encoded block at most.
pub const MAX_BLOCK_BYTES: usize = 1024 * 1024;
/// Transactions in one block at most.
pub const MAX_BLOCK_TXS: usize = 8192;
/// Bytes of one encoded receipt at most.
pub const MAX_RECEIPT_BYTES: usize = 16 * 1024;
/// Validators in one set at most (the bitmap's length in bits).
pub const MAX_VALIDATORS: usize = 1024;
/// Bytes of one proof bundle at most, with everything (`--full`).
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a core bundle: the promise that the bench checks.
pub const CORE_BUNDLE_BYTES: usize = 4096;
/// Hashes in one inclusion or consistency proof at most (a log of 2^63 leaves).
pub const MAX_PROOF_HASHES: usize = 128;
/// How far ahead of the block's time `valid_until` may lie, in milliseconds.
pub const MAX_TX_LIFETIME_MS: u64 = 10 * 60 * 1000;
/// Width of one bucket of used nonces, in milliseconds.
pub const NONCE_BUCKET_MS: u64 = 60 * 1000;
/// Characters of a name (deployment, cluster, node, chain) at most.
pub const MAX_NAME_LEN: usize = 63;
/// Arguments of one workload at most.
pub const MAX_ARGS: usize = 256;
/// Environment variables of one workload at most.
pub const MAX_ENV: usize = 256;
/// Bytes of one argument or environment value at most.
pub const MAX_STRING_BYTES: usize = 8 * 1024;
/// Replicas of one deployment at most.
pub const MAX_REPLICAS: u32 = 1000;
/// Nodes that run one replica of a verified job at most.
pub const MAX_VERIFY: u32 = 9;
/// Bytes of a kernel release at most (`utsname` has room for 65 with its NUL).
pub const MAX_KERNEL_BYTES: usize = 64;
/// Nodes in one cluster's member list at most.
pub const MAX_CLUSTER_NODES: usize = 4096;
/// Reasons in one Pipeline receipt at most.
pub const MAX_REASONS: usize = 32;
/// Bytes of one chunk of a content-addressed blob.
pub const BLOB_CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of one blob at most.
pub const MAX_BLOB_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Blocks in one sync response at most.
pub const MAX_SYNC_BLOCKS: usize = 64;
/// Bytes of one sync response at most.
pub const MAX_SYNC_BYTES: usize = 4 * 1024 * 1024;
/// Transactions waiting on one node at most.
pub const MAX_MEMPOOL_TXS: usize = 20_000;
/// Bytes of transactions waiting on one node at most.
pub const MAX_MEMPOOL_BYTES: usize = 64 * 1024 * 1024;
/// Transactions of one account waiting on one node at most.
pub const MAX_MEMPOOL_TXS_PER_ACCOUNT: usize = 4096;
/// Length of a list in one page of an RPC answer at most.
pub const MAX_PAGE: usize = 1000;

const _: () = assert!(MAX_TX_BYTES < MAX_BLOCK_BYTES);
const _: () = assert!(MAX_BLOCK_BYTES < MAX_SYNC_BYTES);
const _: () = assert!(MAX_RECEIPT_BYTES < MAX_BLOCK_BYTES);
const _: () = assert!(MAX_TX_LIFETIME_MS.is_multiple_of(NONCE_BUCKET_MS));
const _: () = assert!(MAX_VALIDATORS.is_multiple_of(8));
const _: () = assert!(!MAX_VERIFY.is_multiple_of(2));
