//! The first state of a chain and the rules it starts under: layer 1.
//!
//! Owns the readable JSON file (`genesis.json`), its checks, its canonical form and thereby the chain id.
//! A [`GenesisSpec`] is what people edit; a [`Genesis`] is one that passed every check and cannot change any
//! more, so whoever holds one never asks again. Refuses to make keys, to read a clock and to know where a
//! node keeps its files: the caller passes secrets, time and paths in.
//!
//! **Invariants.** The chain id depends on the canonical form alone: neither white space nor the order of
//! fields or entries in the file matters, every value does. Every BLS key in a [`Genesis`] has proved
//! possession, so its aggregate signatures are safe. The supply is the sum of the balances and at most
//! [`MAX_SUPPLY`]. Whatever is refused is refused with the entry named and the next step.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod canonical;
mod check;
mod diff;
mod error;
mod file;
mod genesis;
mod spec;

pub use check::{MAX_ACCOUNTS, MAX_SUPPLY, MAX_TIME_MS};
pub use diff::{FirstDifference, diff};
pub use error::{Error, Problem};
pub use file::MAX_GENESIS_BYTES;
pub use genesis::Genesis;
pub use spec::{FORMAT, GenesisAccount, GenesisSpec, GenesisValidator};

#[cfg(test)]
mod tests;
