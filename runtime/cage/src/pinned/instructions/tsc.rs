//! The time stamp counter, answered from the logical clock.
//!
//! Under `PR_SET_TSC = PR_TSC_SIGSEGV`, which is set before the program starts and cannot be undone from within
//! the cage, `RDTSC` and `RDTSCP` fault. The stop is a SIGSEGV like any other, so the bytes at the instruction
//! pointer decide: a valid `RDTSC` or `RDTSCP` can fault for no other reason once it has been fetched.

use super::opcode::decode;
use crate::sys::ptrace::Registers;
use iced_x86::Mnemonic;

/// Ticks per second of the counter a caged program sees: one per nanosecond of logical time, the same on
/// every CPU. A program that calibrates it against a clock finds exactly this.
pub(crate) const TSC_HZ: u64 = 1_000_000_000;

/// The code segment of 64-bit user code; bytes mean something else in the 32-bit one.
pub(super) const USER_CS: u64 = 0x33;

/// Answers the `RDTSC` or `RDTSCP` at the instruction pointer, of which `bytes` are the code (up to 15, fewer
/// at the end of a mapping), with `clock_ns`; `RDTSCP` tells processor 0. `None` leaves `regs` alone: the fault
/// is the program's own.
///
/// The caller advances its clock for this as for a trapped call, so that two readings differ.
pub(crate) fn emulate_tsc(regs: &mut Registers, bytes: &[u8], clock_ns: u64) -> Option<()> {
    if regs.cs != USER_CS {
        return None;
    }
    let instruction = decode(bytes, regs.rip)?;
    match instruction.mnemonic() {
        Mnemonic::Rdtsc => {}
        Mnemonic::Rdtscp => regs.rcx = 0,
        _ => return None,
    }
    const { assert!(TSC_HZ == 1_000_000_000, "one tick is one nanosecond") };
    regs.rax = clock_ns & 0xffff_ffff;
    regs.rdx = clock_ns >> 32;
    regs.rip = instruction.next_ip();
    Some(())
}
