//! Pure spins: a task that burns CPU without a trapped call while it can change nothing by itself.
//!
//! Tasks of a pinned cage are serialised and switched at trapped calls only, so that a task which waits for
//! another one in a loop without calls would wait for ever. Nothing on the machine can interrupt it at a
//! deterministic instruction. What can be done: when host time says that a task has burned for long, the
//! supervisor stops it and calls [`examine`], which executes it instruction by instruction and looks for its
//! *whole* state (general, segment and extended registers, and memory) to come round again.
//!
//! # Why the outcome does not depend on when the timer fired
//!
//! Between trapped calls nobody else runs and every instruction allowed here is a function of the task's state
//! (the others end the examination before they execute). The states are therefore one sequence, `S0, S1, ..`,
//! whatever the host does; the timer only picks where on it we begin to look.
//!
//! 1. If some state recurs, then all states after it recur, and the sequence is caught in one cycle. It never
//!    reaches a trapped call, so that yielding is the only way on, and there is nothing a late or early timer
//!    could have missed. If the timer fires before the cycle is entered, the examination either walks into it or
//!    ends with [`Examination::Progressing`], and the next one finds it.
//! 2. The states of the cycle are a set that does not depend on where it was entered or first seen. The task
//!    is left at its least element: by registers, instruction pointer first; among equal ones by
//!    extended registers and by the bytes at every address that the cycle touches. All runs leave the spinner,
//!    and the memory that others see, in that one state.
//! 3. Once begun on the cycle, the search (Brent's) takes `2^k - 1 + period` steps for the least `2^k` that is no less
//!    than the period. Whether the budget suffices depends on the period alone.
//!
//! A loop that counts (a back-off, a spin limit, an iteration count in memory) never repeats a state: it is
//! *progressing*, will end by itself or not, and is left to run. If it outlasts the limits, that is
//! `E_SPIN_NO_PROGRESS` and no verdict, never a wrong one.
//!
//! # Parking
//!
//! What the cycle does next is a function of its registers, which stay as they are, and of the bytes it
//! touches. While those hold the values of the least state, running the task again would lead
//! back to the same state: [`Spin::holds`] answers that without running it. If it holds for every task, only the clock
//! can help, and it advances.
//!
//! This module decides nothing about scheduling and handles no stop but its own steps.

mod effects;
mod search;

#[cfg(test)]
mod tests;

use std::io;

use crate::sys::ptrace::Registers;
use search::Walk;

/// Steps for [`examine`] that recognise every cycle of up to 8192 instructions: 16383 + 8192, and some to walk in.
pub(crate) const STEPS: u64 = 32_768;

/// What this module asks of a stopped task.
pub(crate) trait Stepper {
    /// Executes one instruction.
    fn step(&mut self) -> io::Result<Step>;
    /// General and segment registers.
    fn registers(&self) -> io::Result<Registers>;
    /// The extended state in the kernel's layout (`NT_X86_XSTATE`).
    fn extended(&self) -> io::Result<Vec<u8>>;
    /// Reads up to `buffer.len()` bytes at `address`; fewer when the mapping ends.
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// How a single step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// With a SIGTRAP whose code is `TRAP_TRACE`: one instruction has been executed.
    Done,
    /// In any other way; the wait status. The stop, if it is one, has not been dealt with.
    Stopped(i32),
}

/// What an examination found.
#[derive(Debug)]
pub(crate) enum Examination {
    /// A pure spin. The task is in the least state of its cycle, wherever it was stopped.
    Spinning(Spin),
    /// No state came round within the budget: the task goes on from where it is.
    Progressing,
    /// The task is about to do, or did, what cannot be judged; it goes on from where it is.
    NotRecognised(Why),
    /// The task met something else than a step, which is the caller's to deal with: a signal, an exit, a stop.
    Stopped(i32),
}

/// Why an examination ended without looking on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was stopped in a system call, which the next instruction would restart.
    InCall,
    /// The next instruction is a system call, a trap, or one that reads or shows what is not the task's own state.
    Impure,
    /// The next instruction touches memory in a way that is not modelled (scatter, gather, state saving).
    Unmodelled,
    /// The cycle touches more memory, or has more states alike, than is worth comparing.
    TooWide,
}

impl Why {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::InCall => "it was inside a system call",
            Self::Impure => "it executes what is not a function of its state",
            Self::Unmodelled => "it touches memory in a way that is not modelled",
            Self::TooWide => "its round touches too much memory",
        }
    }
}

/// A recognised pure spin, left in its least state.
#[derive(Clone, Debug)]
pub(crate) struct Spin {
    /// Instructions in one round.
    pub(crate) period: u64,
    /// Every range of memory that one round fetches, reads or writes, with its bytes in the least state.
    cells: Vec<(u64, Vec<u8>)>,
}

impl Spin {
    /// Whether the task, if it ran on now, would spin as before. The caller has neither run it nor changed its
    /// registers since, and has no signal for it.
    pub(crate) fn holds(&self, task: &impl Stepper) -> bool {
        let mut buffer = Vec::new();
        self.cells.iter().all(|(address, bytes)| {
            buffer.resize(bytes.len(), 0);
            matches!(task.read(*address, &mut buffer), Ok(n) if n == bytes.len()) && buffer == *bytes
        })
    }
}

/// Executes at most `budget` instructions of a stopped task in search of a cycle, and when there is one, at
/// most four rounds more to reach its least state.
pub(crate) fn examine(task: &mut impl Stepper, budget: u64) -> io::Result<Examination> {
    match Walk::new(task)?.run(budget) {
        Ok(spin) => Ok(Examination::Spinning(spin)),
        Err(search::End::Budget) => Ok(Examination::Progressing),
        Err(search::End::Not(why)) => Ok(Examination::NotRecognised(why)),
        Err(search::End::Stopped(status)) => Ok(Examination::Stopped(status)),
        Err(search::End::Failed(error)) => Err(error),
    }
}
