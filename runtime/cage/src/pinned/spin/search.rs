//! The search for a cycle, and the walk to its least state.
//!
//! Invariant: while the search runs, `written` holds, for every byte that was written since the reference
//! state, its value in that state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::effects::{LONGEST, Touch, decode, touches};
use super::{Spin, Step, Stepper, Why};
use crate::sys::ptrace::Registers;
use iced_x86::{Instruction, InstructionInfoFactory};

/// The most bytes that a cycle may touch.
const TOUCHED_MAX: usize = 64 << 10;

/// The most states of one cycle that have the least registers.
const ALIKE_MAX: u64 = 64;

/// Flags that are not the program's: the trap flag of our own steps, and the resume flag.
const NOT_STATE: u64 = 1 << 8 | 1 << 16;

/// Parts of the extended state that are not the program's: the addresses and the opcode of the last x87 instruction,
/// which some CPUs save only after an exception, and the mask of components in use (unused ones are shown in
/// their initial state, so that it tells nothing more).
const NOT_EXTENDED_STATE: [std::ops::Range<usize>; 2] = [6..24, 512..520];

/// Why a walk ended without a spin.
#[derive(Debug)]
pub(super) enum End {
    Budget,
    Not(Why),
    Stopped(i32),
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Why> for End {
    fn from(why: Why) -> Self {
        Self::Not(why)
    }
}

/// The registers by which states are ordered, the instruction pointer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered([u64; 26]);

impl Ordered {
    fn of(r: &Registers) -> Self {
        Self([
            r.rip,
            r.rsp,
            r.rax,
            r.rbx,
            r.rcx,
            r.rdx,
            r.rsi,
            r.rdi,
            r.rbp,
            r.r8,
            r.r9,
            r.r10,
            r.r11,
            r.r12,
            r.r13,
            r.r14,
            r.r15,
            r.eflags & !NOT_STATE,
            r.fs_base,
            r.gs_base,
            r.cs,
            r.ds,
            r.es,
            r.fs,
            r.gs,
            r.ss,
        ])
    }
}

/// A task being stepped.
pub(super) struct Walk<'a, T> {
    task: &'a mut T,
    raw: Registers,
    now: Ordered,
    factory: InstructionInfoFactory,
    decoded: BTreeMap<u64, Instruction>,
    touching: Vec<Touch>,
}

impl<'a, T: Stepper> Walk<'a, T> {
    /// Begins where `task` is stopped.
    pub(super) fn new(task: &'a mut T) -> io::Result<Self> {
        let raw = task.registers()?;
        let now = Ordered::of(&raw);
        let (factory, decoded, touching) = (InstructionInfoFactory::new(), BTreeMap::new(), Vec::new());
        Ok(Self { task, raw, now, factory, decoded, touching })
    }

    /// Searches, and goes to the least state of the cycle found.
    pub(super) fn run(mut self, budget: u64) -> Result<Spin, End> {
        // A call interrupted in the kernel shows its number and one of the kernel's restart codes.
        if self.raw.orig_rax as i64 >= 0 && (-516..=-512).contains(&(self.raw.rax as i64)) {
            return Err(Why::InCall.into());
        }
        let period = self.period(budget)?;
        let round = self.round(period)?;
        let cells = ranges(&round.touched);
        if round.alike == 1 {
            self.walk_to(&round.least, period)?;
        } else {
            self.walk_to_least_of(&round, &cells, period)?;
        }
        let cells = cells.into_iter().map(|(address, length)| Ok((address, self.bytes(address, length)?)));
        Ok(Spin { period, cells: cells.collect::<Result<_, End>>()? })
    }

    /// All of `length` bytes at `address`.
    fn bytes(&self, address: u64, length: usize) -> Result<Vec<u8>, End> {
        let mut bytes = vec![0; length];
        match self.task.read(address, &mut bytes) {
            Ok(got) if got == length => Ok(bytes),
            // A conditional access, not made, to what is not mapped.
            _ => Err(Why::Unmodelled.into()),
        }
    }

    /// Steps until a state recurs; returns the number of steps between.
    fn period(&mut self, budget: u64) -> Result<u64, End> {
        let (mut power, mut since) = (1u64, 0u64);
        let mut reference = (self.now, self.extended()?);
        let mut written = BTreeMap::new();
        for _ in 0..budget {
            self.look()?;
            self.remember(&mut written)?;
            self.step()?;
            since += 1;
            if self.now == reference.0 && self.unchanged(&written)? && self.extended()? == reference.1 {
                return Ok(since);
            }
            if since == power {
                (power, since) = (power * 2, 0);
                reference = (self.now, self.extended()?);
                written.clear();
            }
        }
        Err(End::Budget)
    }

    /// Walks the cycle once around.
    fn round(&mut self, period: u64) -> Result<Round, End> {
        let mut round = Round { least: self.now, alike: 0, touched: BTreeSet::new() };
        for _ in 0..period {
            match self.now.cmp(&round.least) {
                std::cmp::Ordering::Less => (round.least, round.alike) = (self.now, 1),
                std::cmp::Ordering::Equal => round.alike += 1,
                std::cmp::Ordering::Greater => {}
            }
            let length = self.look()?.len() as u64;
            round.touched.extend((0..length).map(|i| self.raw.rip.wrapping_add(i)));
            for touch in &self.touching {
                round.touched.extend((0..touch.length).map(|i| touch.address.wrapping_add(i)));
            }
            if round.touched.len() > TOUCHED_MAX {
                return Err(Why::TooWide.into());
            }
            self.step()?;
        }
        if round.alike > ALIKE_MAX { Err(Why::TooWide.into()) } else { Ok(round) }
    }

    /// Steps to the one state of the cycle that has registers `least`.
    fn walk_to(&mut self, least: &Ordered, period: u64) -> Result<(), End> {
        for _ in 0..period {
            if self.now == *least {
                return Ok(());
            }
            self.look()?;
            self.step()?;
        }
        // One full round meets it, unless the cycle was left; then it is none.
        if self.now == *least { Ok(()) } else { Err(End::Budget) }
    }

    /// Steps to the least of the states that have the round's least registers, by all else that can differ.
    fn walk_to_least_of(&mut self, round: &Round, cells: &[(u64, usize)], period: u64) -> Result<(), End> {
        let mut least: Option<(Vec<u8>, u64)> = None;
        for index in 0..period {
            if self.now == round.least {
                let key = self.key(cells)?;
                if least.as_ref().is_none_or(|(known, _)| key < *known) {
                    least = Some((key, index));
                }
            }
            self.look()?;
            self.step()?;
        }
        let (_, index) = least.ok_or(End::Budget)?;
        for _ in 0..index {
            self.look()?;
            self.step()?;
        }
        Ok(())
    }

    /// Extended registers and touched memory, for comparison.
    fn key(&self, cells: &[(u64, usize)]) -> Result<Vec<u8>, End> {
        let mut key = self.extended()?;
        for (address, length) in cells {
            key.extend(self.bytes(*address, *length)?);
        }
        Ok(key)
    }

    /// Decodes the next instruction and computes what it touches; refuses what must not be stepped.
    fn look(&mut self) -> Result<Instruction, End> {
        let address = self.raw.rip;
        if self.raw.cs != 0x33 {
            return Err(Why::Impure.into());
        }
        let instruction = match self.decoded.get(&address) {
            Some(known) => *known,
            None => {
                let mut bytes = [0; LONGEST];
                let length = self.task.read(address, &mut bytes)?;
                let instruction = decode(&bytes[..length], address)?;
                self.decoded.insert(address, instruction);
                instruction
            }
        };
        self.touching.clear();
        touches(&mut self.factory, &instruction, &self.raw, &mut self.touching)?;
        Ok(instruction)
    }

    /// Records the bytes that the instruction looked at may write, as they are now.
    fn remember(&mut self, written: &mut BTreeMap<u64, u8>) -> Result<(), End> {
        for touch in self.touching.iter().filter(|t| t.written) {
            let mut bytes = [0; 64];
            let length = (touch.length as usize).min(bytes.len());
            if length < touch.length as usize {
                return Err(Why::Unmodelled.into());
            }
            // What cannot be read cannot be written either: the step itself will show the fault.
            let got = self.task.read(touch.address, &mut bytes[..length]).unwrap_or(0);
            for (i, byte) in bytes[..got].iter().enumerate() {
                written.entry(touch.address.wrapping_add(i as u64)).or_insert(*byte);
            }
        }
        if written.len() > TOUCHED_MAX { Err(Why::TooWide.into()) } else { Ok(()) }
    }

    /// Executes the instruction looked at.
    fn step(&mut self) -> Result<(), End> {
        let code_written = |t: &Touch| {
            let range = t.address.saturating_sub(LONGEST as u64)..t.address.saturating_add(t.length);
            self.decoded.range(range).next().is_some()
        };
        if self.touching.iter().any(|t| t.written && code_written(t)) {
            self.decoded.clear();
        }
        if let Step::Stopped(status) = self.task.step()? {
            return Err(End::Stopped(status));
        }
        self.raw = self.task.registers()?;
        self.now = Ordered::of(&self.raw);
        Ok(())
    }

    /// Whether every byte written since the reference state has its value of then.
    fn unchanged(&self, written: &BTreeMap<u64, u8>) -> Result<bool, End> {
        for (address, length) in ranges(written.keys()) {
            let bytes = self.bytes(address, length)?;
            let then = written.range(address..).map(|(_, byte)| byte);
            if bytes.iter().zip(then).any(|(now, then)| now != then) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The extended registers, comparable.
    fn extended(&self) -> io::Result<Vec<u8>> {
        let mut area = self.task.extended()?;
        for range in NOT_EXTENDED_STATE {
            if let Some(part) = area.get_mut(range) {
                part.fill(0);
            }
        }
        Ok(area)
    }
}

/// One round of a cycle.
struct Round {
    /// The least registers in it.
    least: Ordered,
    /// How many of its states have them.
    alike: u64,
    /// Every byte it fetches, reads or writes.
    touched: BTreeSet<u64>,
}

/// The maximal runs of consecutive addresses.
fn ranges<'a>(addresses: impl IntoIterator<Item = &'a u64>) -> Vec<(u64, usize)> {
    let mut found: Vec<(u64, usize)> = Vec::new();
    for &address in addresses {
        match found.last_mut() {
            Some((start, length)) if start.wrapping_add(*length as u64) == address => *length += 1,
            _ => found.push((address, 1)),
        }
    }
    found
}
