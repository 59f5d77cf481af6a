//! Bounds that only the state machine needs.
//!
//! Owns the numbers; all are rules of the chain (changing one forks it) but for those of pruning and paging.

/// Versions of a module's tree that stay readable behind the latest.
pub const TREE_VERSIONS_KEPT: u64 = 64;
/// Stale tree nodes removed per commit and module beyond as many as the commit added.
pub const TREE_PRUNE_EXTRA: usize = 64;
/// Nodes that a deployment avoids at once, at most.
pub const MAX_AVOIDED: usize = 64;
/// Times a replica is tried before it is given up.
pub const MAX_ATTEMPTS: u32 = 5;
/// A node that could not run a replica is avoided this long, times the attempts so far (block time).
pub const AVOID_MS: u64 = 30_000;
/// A service that ran this long starts with a clean record of attempts (block time).
pub const STABLE_RUN_MS: u64 = 600_000;
/// A service's deposit covers at least this much time at its limits.
pub const MIN_SERVICE_MS: u64 = 60_000;
/// Opening balances sum to at most this, so that no cumulative counter can overflow in any lifetime.
pub const MAX_SUPPLY: u128 = 1 << 80;
/// Finished deployments whose records are removed per block, at most.
pub const MAX_EXPIRED_PER_BLOCK: usize = 32;
/// A node's free heartbeats and meterings are at least this share of the heartbeat interval apart.
pub const FREE_INTERVAL_DIVISOR: u64 = 2;
/// Replicas placed per block, at most; the rest waits for the next.
pub const MAX_PLACED_PER_BLOCK: usize = 2048;
/// Nodes declared lost per block, at most; the rest follows with the next.
pub const MAX_LOST_PER_BLOCK: usize = 256;

/// Verifications whose time is over that are looked at per block and kind, at most; the rest follows with the next.
pub const MAX_DUE_PER_BLOCK: usize = 256;
/// Runs for a challenge that may come to no verdict before no further challenge is taken.
pub const MAX_VOID_CHALLENGES: usize = 3;
/// What differing from a majority adds to a node's faults.
pub const FAULT_DIFFERS: u32 = 8;
/// What missing a commitment or a reveal adds to a node's faults.
pub const FAULT_MISSED: u32 = 4;
/// A node with faults of this weight runs no verified jobs.
pub const FAULT_LIMIT: u32 = 32;
/// A node's faults weigh half after this many blocks.
pub const FAULT_HALF_LIFE_BLOCKS: u64 = 1000;

const _: () = assert!(FAULT_MISSED < FAULT_DIFFERS && FAULT_DIFFERS < FAULT_LIMIT);
const _: () = assert!(TREE_VERSIONS_KEPT > 0 && MAX_ATTEMPTS > 0);
const _: () = assert!(MIN_SERVICE_MS >= 1000);
