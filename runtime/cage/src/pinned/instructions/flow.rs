//! Which bytes of a function are instructions: the judge of every byte match.
//!
//! Disassembly starts at addresses known to be instruction boundaries and follows the edges that a CPU can
//! take: the next instruction, direct branches, and the return from a call. It does not guess at indirect jumps,
//! so that what it reaches are instructions, and what it does not reach stays open, with one exception. A plain
//! sweep from the function's start that meets every reached instruction, decodes without a gap and ends exactly
//! with the function speaks for the rest (the arms of a jump table): it may *clear* a match that lies within a
//! longer instruction, but it never confirms one, because a wrong patch would destroy the program while a
//! needless watch costs nothing.

use std::collections::BTreeMap;

use iced_x86::{FlowControl, Instruction};

use super::bounds::Function;
use super::opcode::{Code, LONGEST, Opcode, decode};

/// What is known of one byte match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is this instruction, at this address.
    Confirmed(u64, Opcode, Code),
    /// It is part of another instruction, at this address.
    Cleared(u64, Code),
    /// It may be anything.
    Open,
}

/// A disassembled function.
pub(super) struct Disassembly<'a> {
    function: Function<'a>,
    /// Instructions reached along edges, by address; empty when two of them overlap.
    reached: BTreeMap<u64, u8>,
    /// Those of the plain sweep, if it may speak.
    swept: BTreeMap<u64, u8>,
}

impl<'a> Disassembly<'a> {
    /// Disassembles `function`.
    pub(super) fn new(function: Function<'a>) -> Self {
        let mut reached = follow(&function);
        let mut swept = BTreeMap::new();
        if overlaps(&reached) {
            reached.clear(); // somebody jumps into the middle of an instruction: nothing is certain here
        } else if let Some(sweep) = sweep(&function)
            && reached.keys().all(|address| sweep.contains_key(address))
        {
            swept = sweep;
        }
        Self { function, reached, swept }
    }

    /// Whether `address` is in the function.
    pub(super) fn contains(&self, address: u64) -> bool {
        self.function.contains(address)
    }

    /// Judges the match whose `0F` is at `address` in the function.
    pub(super) fn judge(&self, address: u64) -> Judgement {
        if let Some((start, code)) = self.around(&self.reached, address) {
            return match decode(code.bytes(), start).as_ref().and_then(Opcode::of) {
                // The match is the opcode of the instruction around it, not, say, an immediate in it.
                Some(opcode) if start + code.len() == address + 3 => {
                    Judgement::Confirmed(start, opcode, code)
                }
                _ => Judgement::Cleared(start, code),
            };
        }
        match self.around(&self.swept, address) {
            Some((start, code)) if decode(code.bytes(), start).as_ref().and_then(Opcode::of).is_none() => {
                Judgement::Cleared(start, code)
            }
            _ => Judgement::Open,
        }
    }

    /// The instruction among `known` that holds the byte at `address`.
    fn around(&self, known: &BTreeMap<u64, u8>, address: u64) -> Option<(u64, Code)> {
        let (&start, &length) = known.range(..=address).next_back()?;
        let end = start + u64::from(length);
        if end <= address {
            return None;
        }
        Some((start, Code::new(self.function.bytes(start, usize::from(length)))))
    }
}

/// The instructions of `function` that a CPU reaches from its certain starts.
fn follow(function: &Function<'_>) -> BTreeMap<u64, u8> {
    let mut reached = BTreeMap::new();
    let mut todo = function.roots.clone();
    while let Some(address) = todo.pop() {
        if !function.contains(address) || reached.contains_key(&address) {
            continue;
        }
        let Some(instruction) = decode(function.bytes(address, LONGEST), address) else { continue };
        reached.insert(address, instruction.len() as u8);
        successors(&instruction, &mut todo);
    }
    reached
}

/// Adds the addresses to which `instruction` can lead directly.
fn successors(instruction: &Instruction, todo: &mut Vec<u64>) {
    let next = instruction.next_ip();
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => todo.push(next),
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
            todo.extend([instruction.near_branch_target(), next]);
        }
        FlowControl::UnconditionalBranch => todo.push(instruction.near_branch_target()),
        // `int3` and `ud2` and the like: what follows them may be padding.
        FlowControl::IndirectBranch
        | FlowControl::Return
        | FlowControl::Interrupt
        | FlowControl::Exception => {}
    }
}

/// Whether two of the instructions share a byte.
fn overlaps(instructions: &BTreeMap<u64, u8>) -> bool {
    let ends = instructions.iter().map(|(start, length)| start + u64::from(*length));
    ends.zip(instructions.keys().skip(1)).any(|(end, next)| end > *next)
}

/// Every instruction from the start of `function` to its end, if the end is known and met exactly.
fn sweep(function: &Function<'_>) -> Option<BTreeMap<u64, u8>> {
    if !function.exact_end {
        return None;
    }
    let mut swept = BTreeMap::new();
    let mut address = function.start;
    while function.contains(address) {
        let instruction = decode(function.bytes(address, LONGEST), address)?;
        swept.insert(address, instruction.len() as u8);
        address = instruction.next_ip();
    }
    (address == function.start + function.code.len() as u64).then_some(swept)
}
