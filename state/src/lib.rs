//! The replicated state machine: execution, storage and queries of the ledger.
#![forbid(unsafe_code)]
pub mod error;
pub mod keys;
pub mod limits;
pub mod log;
pub mod records;
pub mod store;
pub mod tree;
pub use error::{Error, Result};
