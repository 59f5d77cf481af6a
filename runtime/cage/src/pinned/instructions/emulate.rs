//! Answering a trapped instruction in place of the CPU.

use super::Tracee;
use super::opcode::{Code, LONGEST, Opcode, decode};
use super::space::Space;
use super::tsc::USER_CS;
use crate::sys::ptrace::Registers;
use iced_x86::Register;

/// The flags that `RDRAND` and `RDSEED` write: carry, parity, adjust, zero, sign, overflow.
const STATUS_FLAGS: u64 = 0x8d5;

/// "The value is valid."
const CARRY: u64 = 1;

/// Resume: the next instruction does not raise its own execution breakpoint.
const RESUME: u64 = 1 << 16;

/// The `si_code` of `int3`.
const SI_KERNEL: i32 = 0x80;

/// The `si_code` of a debug register.
const TRAP_HWBKPT: i32 = 4;

/// What was done about a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emulated {
    /// The instruction was answered; `value` is what its register holds now. The trace should hold it.
    Answered {
        /// Which one.
        opcode: Opcode,
        /// Where.
        address: u64,
        /// The answer, in the width of the register.
        value: u64,
    },
    /// A watched address was reached, but another instruction is there now: it runs natively.
    Passed,
}

/// Answers the SIGTRAP with `si_code` at which a task of `space` has stopped, changing `regs`, which the caller
/// writes back before it lets the task go on without the signal. `None` when the trap is the program's own.
///
/// Random bits are drawn from `random`, the task's stream, in the order of execution; the value is always valid
/// at once, and `RDPID` reads processor 0.
pub(crate) fn at_trap(
    space: &Space,
    tracee: &impl Tracee,
    regs: &mut Registers,
    si_code: i32,
    random: &mut dyn FnMut(&mut [u8]),
) -> Option<Emulated> {
    if regs.cs != USER_CS {
        return None;
    }
    match si_code {
        SI_KERNEL => {
            let address = regs.rip.wrapping_sub(1);
            let (_, code) = space.patched(address)?;
            answer(code, address, regs, random)
        }
        TRAP_HWBKPT => {
            space.watched(regs.rip)?;
            let mut bytes = [0; LONGEST];
            let length = tracee.read(regs.rip, &mut bytes).ok()?;
            let now = decode(&bytes[..length], regs.rip).filter(|i| Opcode::of(i).is_some());
            let Some(instruction) = now else {
                regs.eflags |= RESUME;
                return Some(Emulated::Passed);
            };
            answer(Code::new(&bytes[..instruction.len()]), regs.rip, regs, random)
        }
        _ => None,
    }
}

/// Carries out the instruction `code` at `address`.
fn answer(
    code: Code,
    address: u64,
    regs: &mut Registers,
    random: &mut dyn FnMut(&mut [u8]),
) -> Option<Emulated> {
    let instruction = decode(code.bytes(), address)?;
    let opcode = Opcode::of(&instruction)?;
    let target = instruction.op0_register();
    let mut value = 0;
    if opcode != Opcode::RdPid {
        let mut bytes = [0; 8];
        random(&mut bytes[..target.size().min(8)]);
        value = u64::from_le_bytes(bytes);
        regs.eflags = regs.eflags & !STATUS_FLAGS | CARRY;
    }
    let slot = slot(regs, target)?;
    // As the CPU does: a 16-bit result keeps the rest of the register, a 32-bit one clears it.
    *slot = if target.size() == 2 { *slot & !0xffff | value } else { value };
    regs.rip = instruction.next_ip();
    // The kernel set it to step over the breakpoint; the next instruction may be watched too.
    regs.eflags &= !RESUME;
    Some(Emulated::Answered { opcode, address, value })
}

/// Where a general register, of any width, lives among the saved ones.
fn slot(regs: &mut Registers, register: Register) -> Option<&mut u64> {
    Some(match register.full_register() {
        Register::RAX => &mut regs.rax,
        Register::RBX => &mut regs.rbx,
        Register::RCX => &mut regs.rcx,
        Register::RDX => &mut regs.rdx,
        Register::RSI => &mut regs.rsi,
        Register::RDI => &mut regs.rdi,
        Register::RBP => &mut regs.rbp,
        Register::RSP => &mut regs.rsp,
        Register::R8 => &mut regs.r8,
        Register::R9 => &mut regs.r9,
        Register::R10 => &mut regs.r10,
        Register::R11 => &mut regs.r11,
        Register::R12 => &mut regs.r12,
        Register::R13 => &mut regs.r13,
        Register::R14 => &mut regs.r14,
        Register::R15 => &mut regs.r15,
        _ => return None,
    })
}
