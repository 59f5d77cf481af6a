//! The native cage: one program, behind every wall that this kernel offers, watched from launch to report.
//!
//! This crate owns all `unsafe` and all privileged system calls of the workspace. It knows nothing of nodes,
//! chains or images: it is given a [`CageSpec`] and leaves a [`Report`]. It refuses to run a program when a
//! wall that should stand does not, except for those that need root or an optional kernel feature; these are
//! named in [`Report::weaker`].
//!
//! Map: `spec` what is asked; `launch` (supervisor side) and `child` (inside) build the cage from `mounts`,
//! `procfs`, `walls`, `seccomp` and `cgroup`; `watch` runs it; `supervise` ties these together; `record`,
//! `logs`, `output`, `report` and `witness` are what remains; `stop` (with `sweep`), `health`, `usage` and `detect` are
//! asked from outside.

#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the cage's system call table and signal layouts are those of x86_64 Linux");

mod cgroup;
mod child;
mod cpu;
pub mod detect;
mod error;
pub mod health;
mod launch;
mod logs;
mod mounts;
mod netns;
mod output;
mod pinned;
mod procfs;
pub mod record;
pub mod report;
mod seccomp;
pub mod spec;
pub mod stop;
pub mod supervise;
mod sys;
pub mod usage;
mod walls;
mod watch;
pub mod witness;

pub use cpu::class as cpu_class;
pub use detect::detect;
pub use error::Error;
pub use pinned::instructions::{FoundInstruction, FoundInstructions, find_instructions};
pub use pinned::session::CAGE_ABI;
pub use record::Record;
pub use report::{Exit, Report, Verdict};
pub use seccomp::{Syscall, call_name, syscalls, syscalls_page};
pub use spec::{CageSpec, Level, Limits, Root};
pub use stop::{Swept, stop, sweep};
pub use supervise::supervise;
pub use usage::LiveUsage;

/// What runs in the cage.
pub enum Entry<'a> {
    /// The program named by `argv`.
    Exec,
    /// A closure, in a fork of the supervising process that holds no descriptor but the standard streams.
    /// Everything it needs must already be in memory. Its result is the exit code; a panic is exit code 101.
    Call(Box<dyn FnOnce() -> i32 + 'a>),
    /// The same, with one file that was opened outside and that the closure writes its witness to. It may grow to
    /// the specification's `witness_bytes` and what frames them; a write beyond that kills the cage.
    Recorded {
        /// What runs.
        call: Box<dyn FnOnce(std::fs::File) -> i32 + 'a>,
        /// The file.
        witness: std::fs::File,
    },
}

/// Kernel name, release and machine of this host, as reports name it.
#[must_use]
pub fn kernel() -> String {
    sys::kernel()
}
