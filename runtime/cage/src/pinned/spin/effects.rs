//! What one instruction touches, before it is executed.
//!
//! Allowed are instructions whose whole effect is on the registers that ptrace shows and on memory whose addresses can
//! be computed from them. Refused are those that leave the program (calls, traps), that read what is not the task's
//! state (time, randomness, the CPU), that would show the trap flag of single-stepping to the program
//! (`PUSHF`) or meddle with it, and those whose memory operands are not modelled.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use super::Why;
use crate::sys::ptrace::Registers;

/// The longest instruction, in bytes.
pub(super) const LONGEST: usize = 15;

/// Memory that an instruction may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// First byte.
    pub(super) address: u64,
    /// Number of bytes.
    pub(super) length: u64,
    /// It may be written.
    pub(super) written: bool,
}

/// The instruction at the start of `bytes`, which are at `address`.
pub(super) fn decode(bytes: &[u8], address: u64) -> Result<Instruction, Why> {
    let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
    if instruction.is_invalid() || is_impure(&instruction) {
        return Err(Why::Impure);
    }
    if instruction.is_save_restore_instruction() {
        return Err(Why::Unmodelled);
    }
    Ok(instruction)
}

/// Whether the effect of `instruction` is not a function of the task's own state, or is not only on it.
fn is_impure(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let leaves = matches!(
        instruction.flow_control(),
        FlowControl::Interrupt | FlowControl::Exception | FlowControl::XbeginXabortXend
    );
    let far = instruction.is_call_far()
        || instruction.is_call_far_indirect()
        || instruction.is_jmp_far()
        || instruction.is_jmp_far_indirect();
    let named = matches!(
        instruction.mnemonic(),
        M::Syscall
            | M::Sysenter
            | M::Sysret
            | M::Sysexit
            | M::Retf
            | M::Iret
            | M::Iretd
            | M::Iretq
            | M::Pushf
            | M::Pushfd
            | M::Pushfq
            | M::Popf
            | M::Popfd
            | M::Popfq
            | M::Rdtsc
            | M::Rdtscp
            | M::Rdrand
            | M::Rdseed
            | M::Rdpid
            | M::Rdpmc
            | M::Rdpru
            | M::Xgetbv
            | M::Xtest
            | M::Tpause
            | M::Umwait
            | M::Umonitor
            | M::Monitorx
            | M::Mwaitx
            | M::Lsl
            | M::Enter
    );
    // Loading SS puts off the step's trap by one instruction.
    leaves || far || named || instruction.is_privileged() || instruction.op0_register() == Register::SS
}

/// Adds what `instruction` touches, given the registers before it, to `touches`.
pub(super) fn touches(
    factory: &mut InstructionInfoFactory,
    instruction: &Instruction,
    regs: &Registers,
    touches: &mut Vec<Touch>,
) -> Result<(), Why> {
    for used in factory.info(instruction).used_memory() {
        let written = match used.access() {
            OpAccess::None | OpAccess::NoMemAccess => continue,
            OpAccess::Read | OpAccess::CondRead => false,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => true,
        };
        let mut length = used.memory_size().size() as u64;
        if length == 0 && instruction.is_string_instruction() {
            // A repeated one is stepped element by element.
            length = instruction.memory_size().size() as u64;
        }
        if length == 0 || used.vsib_size() != 0 {
            return Err(Why::Unmodelled);
        }
        let address =
            used.virtual_address(0, |register, _, _| value(regs, register)).ok_or(Why::Unmodelled)?;
        touches.push(Touch { address, length, written });
    }
    Ok(())
}

/// The value of an address register, or the base of a segment.
fn value(regs: &Registers, register: Register) -> Option<u64> {
    let full = match register.full_register() {
        Register::RAX => regs.rax,
        Register::RBX => regs.rbx,
        Register::RCX => regs.rcx,
        Register::RDX => regs.rdx,
        Register::RSI => regs.rsi,
        Register::RDI => regs.rdi,
        Register::RBP => regs.rbp,
        Register::RSP => regs.rsp,
        Register::R8 => regs.r8,
        Register::R9 => regs.r9,
        Register::R10 => regs.r10,
        Register::R11 => regs.r11,
        Register::R12 => regs.r12,
        Register::R13 => regs.r13,
        Register::R14 => regs.r14,
        Register::R15 => regs.r15,
        Register::FS => return Some(regs.fs_base),
        Register::GS => return Some(regs.gs_base),
        Register::CS | Register::DS | Register::ES | Register::SS => return Some(0),
        _ => return None,
    };
    match register.size() {
        8 => Some(full),
        4 => Some(full & 0xffff_ffff),
        1 => Some(full & 0xff), // AL, of XLAT
        _ => None,
    }
}
