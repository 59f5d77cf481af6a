//! Executable mappings, and instructions that the cage made trap.

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId};
use crate::sys::ptrace;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_mmap | libc::SYS_mprotect | libc::SYS_pkey_mprotect => Ok(Outcome::Native),
        libc::SYS_mincore => {
            // Every page is resident, as far as the program can know.
            let [address, length, vector, ..] = call.args;
            let pages = length.div_ceil(4096);
            if address % 4096 != 0 || pages > 1 << 20 {
                return Ok(err(libc::EINVAL));
            }
            let put = memory::write(cage.tid(id), vector, &vec![1; pages as usize]);
            Ok(Outcome::Return(put.map_or_else(|errno| errno, |()| 0)))
        }
        _ => Err(super::unmodelled(call)),
    }
}

/// The time stamp counter, which this process may not read: logical time.
pub(super) fn instruction(cage: &mut Supervisor, id: TaskId, signal: i32) -> Result<bool, Stop> {
    if signal != libc::SIGSEGV {
        return Ok(false);
    }
    let tid = cage.tid(id);
    let mut registers = ptrace::registers(tid).map_err(|e| Stop::broken("read registers", &e))?;
    let mut code = [0; 3];
    let _ = crate::sys::ptrace::read_memory(tid, registers.rip, &mut code); // shorter at the end of a mapping
    let (length, processor) = match code {
        [0x0f, 0x31, _] => (2, false),
        [0x0f, 0x01, 0xf9] => (3, true),
        _ => return Ok(false),
    };
    cage.clock.tick();
    let value = cage.clock.monotonic();
    registers.rax = value & 0xffff_ffff;
    registers.rdx = value >> 32;
    if processor {
        registers.rcx = 0;
    }
    registers.rip += length;
    ptrace::set_registers(tid, &registers).map_err(|e| Stop::broken("write registers", &e))?;
    Ok(true)
}
