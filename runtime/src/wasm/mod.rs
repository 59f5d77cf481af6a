//! The WASM cage: a command module runs with every input virtual, so that the same spec gives the same outcome,
//! fuel included.
//!
//! Owns what a run is asked (`WasmSpec`) and what it gives (`WasmOutcome`), the compiler settings, the execution
//! and our own WASI preview 1 (`wasi`). Refuses sockets, threads, host files, host clocks and host randomness.
//! `contained` puts all of it behind the barriers of `metanode-cage`: in a node, nothing here runs beside the
//! node's keys.

mod contained;
mod execute;
mod module;
mod settings;
mod spec;
mod wasi;

pub use contained::{WasmJob, WasmVerdict, run_contained, run_shim};
pub use execute::{Output, execute};
pub(crate) use module::{to_binary, validate};
pub use settings::CAGE_ABI;
pub use spec::{End, NamedFile, Stream, TrapKind, WasmLimits, WasmOutcome, WasmSpec};
pub use wasi::call_name;

#[cfg(test)]
mod tests;
