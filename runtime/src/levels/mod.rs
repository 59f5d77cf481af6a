//! Levels of native runs, and what it takes to check a run of any kind again.
//!
//! Owns the words of a run (`Inputs`), its report beside them (`Statement`), the comparison of two runs (`compare`) and
//! the way from one run to a level (`reach`): `pinned` is one run, `reproduced` two that agree, `replayed` one from
//! the witness alone that agrees. Refuses to launch anything itself, so that whoever launches can show what goes on,
//! and to lower a level silently: what differs is named, the first divergent call included. Modules go their own way
//! to a level (`wasm`) and come back here to be compared.

mod compare;
mod inputs;
mod reach;
mod statement;
#[cfg(test)]
mod tests;

pub use compare::{Difference, comparable, differences, from_recording, names};
pub use inputs::{Inputs, NativeInputs, Stdin, WasmInputs};
pub use reach::{Run, first_difference, reach};
pub use statement::{STATEMENT_BYTES_MAX, Statement};
