//! The composition root: everything below meets here, and the command line drives it.
//!
//! Reading order: `cli` (what a person asks), `home`, `config` and `keys` (what a node starts from). Refuses to compute
//! anything that the chain decides: that is `state`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod agent;
pub mod backend;
pub mod blobs;
pub mod chain;
pub mod cli;
pub mod config;
pub mod home;
pub mod keys;
pub mod ledger_reader;
pub mod replay;
pub mod sealed;
pub mod start;
