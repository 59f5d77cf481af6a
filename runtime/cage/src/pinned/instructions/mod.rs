//! Instructions whose result no state of the cage determines: found, trapped, and answered from the seed.
//!
//! What the CPU lets user space read, and what becomes of it at `pinned`:
//!
//! * `RDTSC`, `RDTSCP`: `PR_SET_TSC` makes them fault; `tsc` answers from the logical clock.
//! * `RDRAND`, `RDSEED` never fault: `scan` finds them in what becomes executable, `space` traps them, and
//!   `emulate` answers from the task's random stream.
//! * `RDPID` reads the number of the CPU, which differs between hosts: trapped likewise, it always reads 0.
//! * `RDPMC`, `RDPRU` fault natively (without `perf_event_open` the kernel never sets `CR4.PCE`, and with the TSC
//!   trapped it sets `CR4.TSD`), so that the program sees the same signal everywhere.
//! * `CPUID`, and `XGETBV` of register 0, are the same on one CPU class, which the report names; except for the
//!   number of the APIC in leaves 1, 0xb, 0x1f and 0x8000001e, which is the CPU's own.
//! * Left alone: `XGETBV` of register 1 and the headers that `XSAVEC` and `XSAVEOPT` write (they tell which registers
//!   the CPU believes to be in their initial state), `LSL` of the kernel's CPU-number segment, transactional aborts
//!   (`XBEGIN`), and APX encodings (`REX2`) of the above.
//!
//! The last item and the APIC's number are residual sources: a program that prints them differs between hosts, and a
//! second execution says so. None of them weakens a wall; this module is no security boundary.
//!
//! A byte match is never patched for being a match. `flow` disassembles from addresses that are known to be
//! instruction boundaries (`bounds`) along the edges a CPU can take; only an instruction reached in this way is
//! *confirmed*, and only a confirmed one is replaced, by `int3`, in the address space of the program alone.
//! A match that lies within another reached instruction is *cleared*. Anything else is *unconfirmed*: it is
//! watched by one of the four debug registers, which changes no byte and fires only when the CPU really starts
//! an instruction there; when they do not suffice, the program is refused.
//!
//! A program that reads its own text (a checksum of itself, a copier of code) sees `0xcc` as the first byte of
//! a confirmed site. It sees it on every node and in every run, so that this stays deterministic.
//!
//! This module does not trace anybody: it is given a [`Tracee`], and says what to refuse; the supervisor decides.

mod bounds;
mod emulate;
mod flow;
mod listing;
mod opcode;
mod scan;
mod space;
mod tsc;

#[cfg(test)]
mod tests;

use std::io;

pub(crate) use emulate::{Emulated, at_trap};
pub use listing::{FoundInstruction, FoundInstructions, find_instructions};
pub(crate) use scan::ScanCache;
pub(crate) use space::{Backing, Mapping, Space, Weaker};
pub(crate) use tsc::emulate_tsc;

/// What this module asks of a stopped task.
pub(crate) trait Tracee {
    /// Reads up to `buffer.len()` bytes at `address`; fewer when the mapping ends.
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Replaces one byte of text, copying the page when it is a private mapping.
    fn poke_text(&mut self, address: u64, byte: u8) -> io::Result<()>;
    /// Sets debug register `index` (0 to 3, or 7) of this task alone.
    fn set_debug_register(&mut self, index: usize, value: u64) -> io::Result<()>;
}
