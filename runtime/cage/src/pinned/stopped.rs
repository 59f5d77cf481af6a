//! A stopped task, as `instructions` and `spin` ask to see one.
//!
//! Owns the step from their words to ptrace's and nothing else. The task is a tracee of the calling thread.

use std::io;

use super::instructions::Tracee;
use super::spin::{Step, Stepper};
use crate::sys::ptrace::{self, Registers};

/// The `si_code` of a SIGTRAP after a single step.
const TRAP_TRACE: i32 = 2;

/// A stopped task, by the kernel's id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    /// Kernel's id, in the supervisor's pid namespace.
    pub(super) tid: i32,
}

impl Stopped {
    fn wait(self) -> io::Result<i32> {
        loop {
            match ptrace::wait_trace(self.tid, 0) {
                Ok(Some((_, status))) => return Ok(status),
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Up to `buffer.len()` bytes at `address`: page by page, since the kernel copies a range that ends in a hole only
/// up to some page before it.
fn read(tid: i32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    const PAGE: u64 = 4096;
    match ptrace::read_memory(tid, address, buffer) {
        Ok(got) if got == buffer.len() => return Ok(got),
        _ => {}
    }
    let mut got = 0;
    while got < buffer.len() {
        let at = address.wrapping_add(got as u64);
        let part = ((PAGE - at % PAGE) as usize).min(buffer.len() - got);
        match ptrace::read_memory(tid, at, &mut buffer[got..got + part]) {
            Ok(n) if n == part => got += part,
            Ok(n) => return Ok(got + n),
            Err(error) if got == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(got)
}

impl Tracee for Stopped {
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read(self.tid, address, buffer)
    }

    fn poke_text(&mut self, address: u64, byte: u8) -> io::Result<()> {
        let aligned = address & !7;
        let mut word = ptrace::peek(self.tid, aligned)?.to_le_bytes();
        word[(address - aligned) as usize] = byte;
        ptrace::poke(self.tid, aligned, u64::from_le_bytes(word))
    }

    fn set_debug_register(&mut self, index: usize, value: u64) -> io::Result<()> {
        ptrace::set_debug_register(self.tid, index, value)
    }
}

impl Stepper for Stopped {
    fn step(&mut self) -> io::Result<Step> {
        ptrace::step(self.tid)?;
        let status = self.wait()?;
        if !libc::WIFSTOPPED(status) || status >> 8 != libc::SIGTRAP {
            return Ok(Step::Stopped(status));
        }
        let code = ptrace::signal_info(self.tid)?[1] as i32;
        Ok(if code == TRAP_TRACE { Step::Done } else { Step::Stopped(status) })
    }

    fn registers(&self) -> io::Result<Registers> {
        ptrace::registers(self.tid)
    }

    fn extended(&self) -> io::Result<Vec<u8>> {
        ptrace::extended_state(self.tid)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read(self.tid, address, buffer)
    }
}
