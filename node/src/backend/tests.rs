//! The backend on a chain of one validator: blocks are executed, certified and committed for real, in memory.

mod answers;
mod live;
mod proofs;
mod story;
