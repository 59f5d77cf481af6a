//! Words, bytes, hashes, signatures, limits and offline verification: layer 0.
//!
//! **Invariants.** No I/O, no async, no unsafe, no clock, no randomness. A verifier of receipts links only
//! this crate: it builds without tokio, RocksDB, libp2p and wasmtime. Everything hashed is integers and bytes
//! in one strict encoding ([`codec`]), under one domain per type ([`hash`]).

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod account;
pub mod block;
pub mod bls;
pub mod bundle;
pub mod cage_report;
pub mod certificate;
pub mod codec;
pub mod hash;
pub mod ids;
pub mod level;
pub mod limits;
pub mod merkle;
pub mod params;
pub mod quantity;
pub mod receipt;
pub mod tx;
pub mod validator;
pub mod verify;
pub mod vote;
pub mod workload;
