//! The three instructions that are looked for, as bytes and as meanings.
//!
//! `RDRAND` is `0F C7 /6`, `RDSEED` is `0F C7 /7` and `RDPID` is `F3 0F C7 /7`, all with a register operand, so
//! that the third byte is at least 0xf0; size and further registers come from prefixes before these. Owns the
//! one place where bytes become a meaning, which is the decoder's word and nobody's guess.

use std::fmt;

use iced_x86::{Code as Form, Decoder, DecoderOptions, Instruction};

/// The longest instruction of the architecture, in bytes.
pub(super) const LONGEST: usize = 15;

/// An instruction whose result is not a function of the program's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "the architecture's names")]
pub(crate) enum Opcode {
    /// Random bits.
    RdRand,
    /// Seed-grade random bits.
    RdSeed,
    /// The number of the processor.
    RdPid,
}

impl Opcode {
    /// The meaning of a decoded instruction, if it is one of ours.
    pub(super) fn of(instruction: &Instruction) -> Option<Self> {
        match instruction.code() {
            Form::Rdrand_r16 | Form::Rdrand_r32 | Form::Rdrand_r64 => Some(Self::RdRand),
            Form::Rdseed_r16 | Form::Rdseed_r32 | Form::Rdseed_r64 => Some(Self::RdSeed),
            Form::Rdpid_r32 | Form::Rdpid_r64 => Some(Self::RdPid),
            _ => None,
        }
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RdRand => "rdrand",
            Self::RdSeed => "rdseed",
            Self::RdPid => "rdpid",
        })
    }
}

/// The bytes of one instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Code {
    /// The first `LONGEST` of `bytes`; callers pass one instruction.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let length = bytes.len().min(LONGEST);
        let mut code = Self { bytes: [0; LONGEST], length: length as u8 };
        code.bytes[..length].copy_from_slice(&bytes[..length]);
        code
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// How many they are.
    pub(crate) fn len(&self) -> u64 {
        self.length.into()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::sys::hex(self.bytes()))
    }
}

/// The instruction that starts with `bytes` at `address`; `None` when it is cut off or invalid.
pub(super) fn decode(bytes: &[u8], address: u64) -> Option<Instruction> {
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// Positions in `bytes` of `0F C7` followed by a register form of `/6` or `/7`.
pub(super) fn matches(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(bytes, &[0x0f, 0xc7])
        .filter(|&at| bytes.get(at + 2).is_some_and(|&b| b >= 0xf0))
}

/// Whether `byte` can stand before the opcode of an instruction and change its meaning without ending it.
fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// Every place at or before `at` from which a CPU would decode one of our instructions whose opcode is the match
/// at `at` in `bytes`: that of the opcode itself and those of the prefixes before it.
pub(super) fn candidates(bytes: &[u8], at: usize) -> Vec<(usize, Opcode)> {
    let end = at + 3;
    let first = end.saturating_sub(LONGEST);
    let mut found = Vec::new();
    for start in (first..=at).rev() {
        if start < at && !is_prefix(bytes[start]) {
            break;
        }
        let Some(instruction) = bytes.get(start..end).and_then(|code| decode(code, 0)) else { continue };
        if let (true, Some(opcode)) = (instruction.len() == end - start, Opcode::of(&instruction)) {
            found.push((start, opcode));
        }
    }
    found
}
