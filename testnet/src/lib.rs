//! Whole clusters: simulated under virtual time, and real processes on this machine.
//!
//! Owns the simulator ([`sim`]), the harness that drives real processes ([`cluster`]), the disk that forgets what
//! was not synced ([`lossy`]), and through its tests and benches the proof of what `docs/promises.md` says. Refuses
//! to hold product code: everything under test is the same code that a node runs.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod lossy;
pub mod sim;
