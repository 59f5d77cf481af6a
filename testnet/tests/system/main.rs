//! Whole networks of real processes: what `docs/promises.md` says of them, asked through RPC and the command line.
//!
//! Owns the tests and their common means. Refuses to look inside a node, and to wait without a condition and a bound.
//! Every test has its own directory and ports and ends what it started.

mod crash;
mod ledger;
mod load;
mod quorum;
mod rpc;
mod verified;
mod workload;
