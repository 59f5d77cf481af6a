//! The WASM cage: a command runs with every input virtual, so that the same spec gives the same outcome, fuel and
//! trace included. A command is a core module of WASI preview 1 or a component of WASI 0.2.
//!
//! Owns what a run is asked (`WasmSpec`) and what it gives (`WasmOutcome`), the compiler settings, the execution,
//! our own WASI of both generations (`wasi`), its witness (`recording`) and the levels that follow from one (`levels`).
//! Refuses sockets, threads, host files, host clocks and host randomness.
//! `contained` puts all of it behind the barriers of `metanode-cage`: in a node, nothing here runs beside the
//! node's keys.

mod contained;
mod execute;
mod levels;
mod module;
mod recording;
mod settings;
mod spec;
mod wasi;

pub use contained::{WasmJob, WasmVerdict, run_contained};
pub use execute::{Output, execute};
pub use levels::{ReplayJob, replay_shim, replay_wasm, reproduce_wasm, run_shim, run_wasm};
pub(crate) use module::{to_binary, validate};
pub use recording::WITNESS_BYTES;
pub use settings::CAGE_ABI;
pub use spec::{End, NamedFile, Stream, TrapKind, WasmLimits, WasmOutcome, WasmSpec};
pub use wasi::call_name;

#[cfg(test)]
mod tests;
