//! The replicated state machine: execution, storage and queries of the ledger.
//!
//! **Invariants.** Synchronous, integers only; no clock, no randomness, no floats, no iteration over hash maps. All I/O
//! is behind [`store::Store`]. `execute` is a pure function; only [`Ledger::commit`] writes, one atomic batch with one
//! sync per block. Only this crate makes receipts. It has no key and signs nothing.
//!
//! The interface, in the order of use:
//! * [`store::RocksStore::open`] or [`store::MemStore::new`], then [`Ledger::open`]`(store, GenesisState)`;
//! * [`Ledger::view`] -> [`View`]: a snapshot, from which everything below reads;
//! * [`check_tx`] for a mempool; [`propose`] fills a block, [`validate_block`] re-executes one, [`execute`] is both's
//!   core; [`Executed::block`] assembles header and body; [`Ledger::commit`] makes it final;
//! * [`query::assignments_of`] for an agent, [`schedule::explain`], and the methods of [`View`] and [`StateRead`] for
//!   RPC: blocks, certificates, transactions and receipts by id or prefix, pages, balances, proofs;
//! * [`Ledger::verify`], [`audit::audit_supply`], [`audit::audit_replicas`] check what is stored.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod audit;
mod draft;
mod error;
mod failure;
pub mod keys;
mod ledger;
pub mod limits;
pub mod log;
mod machine;
mod money;
mod node_life;
pub mod nonces;
pub mod query;
pub mod records;
pub mod replica;
pub mod schedule;
pub mod store;
pub mod tree;
mod tx;
mod validity;
mod verified;
mod view;

pub use error::{Error, Result};
pub use failure::{Code, Failure};
pub use ledger::{DEFAULT_CLUSTER, Ledger};
pub use machine::{BlockContext, BlockRejected, Executed, Proposal, execute, propose, validate_block};
pub use records::{GenesisState, Head};
pub use tx::challenge::minimum_bond;
pub use tx::deploy::{minimum_deposit, stop_reason};
pub use validity::{Invalid, Rejected, Signatures, check_tx};
pub use view::{StateRead, View};

#[cfg(test)]
mod tests;
