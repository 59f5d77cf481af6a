//! The system call wall: one table of rows, and what each level makes of it.
//!
//! Owns the meaning of a row. Two readers are served from it: the filter that the kernel runs (`program`), and at
//! `pinned` the supervisor, which asks [`lookup`] for the class of a call that was trapped. Invariants, checked
//! while this file is compiled: one row for a number, and what is refused at `contained` is refused at `pinned`
//! with the same errno. It refuses to look at memory: a rule sees registers only, so what is behind a pointer is
//! never the ground of a decision.
//!
//! `contained` allows or refuses. `pinned` allows what follows from hashed or private state, answers what is not
//! offered with an errno, and hands everything else to the supervisor (`SECCOMP_RET_TRACE`). A number without a
//! row is refused at `contained` and handed over marked at `pinned`, where it ends the run.

mod print;
mod program;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

pub use print::{Syscall, syscalls, syscalls_page};
pub(crate) use program::{Filter, compile};

/// Which of the two filters is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// All walls, nothing virtualised.
    Contained,
    /// All walls, and a tracer that answers what is trapped. Without a tracer a trapped call fails: `ENOSYS`.
    Pinned,
}

/// `PTRACE_GETEVENTMSG` at the stop of a call that has a row.
pub(crate) const TRACED: u32 = 0;
/// The same for a call without a row, which is also every x32 call.
pub(crate) const UNKNOWN: u32 = 1;

/// One system call at every level, and the reasons.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The kernel's name of the call.
    pub name: &'static str,
    /// Its number on x86_64.
    pub number: i64,
    /// What happens when it is called at `contained`.
    pub contained: Rule,
    /// What happens at `pinned` when `contained` allows it and no case says otherwise.
    pub pinned: Pinned,
    /// What happens at `pinned` instead; the first case that holds decides.
    pub cases: &'static [Case],
    /// Why that is safe.
    pub why: &'static str,
    /// Untrapped: why its result follows from hashed or private state. Trapped: what the supervisor answers.
    pub follows: &'static str,
    /// The test that covers the row.
    pub test: &'static str,
}

/// The outcome of a call at `contained`, decided by number and register arguments only.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Always allowed.
    Allow,
    /// Allowed when `arg & mask == value`.
    Masked {
        /// Which argument.
        arg: u8,
        /// The bits looked at.
        mask: u64,
        /// What they must be.
        value: u64,
    },
    /// Allowed when the low 32 bits of the argument are one of `values`.
    OneOf {
        /// Which argument.
        arg: u8,
        /// The values allowed.
        values: &'static [u64],
    },
    /// Allowed when `arg & mask` is one of `values`.
    MaskedOneOf {
        /// Which argument.
        arg: u8,
        /// The bits looked at.
        mask: u64,
        /// The values allowed.
        values: &'static [u64],
    },
    /// `socket(2)`: family, type and protocol as in [`rows::SOCKETS`].
    Sockets,
    /// Refused with this errno.
    Errno(i32),
}

/// The outcome of a call at `pinned`, after `contained` has refused what it refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pinned {
    /// Runs untrapped.
    Native,
    /// Handed to the supervisor.
    Trap(Class),
    /// Not made; the program is told zero, which means success or that there is none.
    Zero,
    /// Refused with this errno.
    Errno(i32),
}

/// Another outcome for some values of an argument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Which argument.
    pub arg: u8,
    /// What is asked of it.
    pub test: Test,
    /// The outcome if that holds.
    pub then: Pinned,
}

/// A question about the low 32 bits of one argument.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Test {
    /// One of these bits is set.
    AnyBit(u64),
    /// It is one of these values.
    OneOf(&'static [u64]),
}

/// Who in the supervisor answers a trapped call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Reads of clocks, of used time and of load.
    Time,
    /// Waits for time or for a signal, and the yield.
    Sleep,
    /// Random bytes.
    Random,
    /// Facts about machine and CPUs.
    Identity,
    /// Facts about files and directories.
    Metadata,
    /// Descriptors and names that come and go.
    Files,
    /// Bytes that may have to wait for somebody.
    Streams,
    /// Waits for several descriptors.
    Readiness,
    /// Waits on words of memory.
    Futex,
    /// Tasks that come, go and wait for each other.
    Process,
    /// Signals between tasks.
    Signals,
    /// Timers that act later.
    Timers,
    /// Sockets, whose other end may be a task or a recording.
    Sockets,
    /// Executable mappings, and facts about residency.
    Memory,
    /// File locks, and the settings of descriptors that make signals.
    Locks,
}

impl Row {
    /// Who answers the call when it is trapped; nothing if it never is.
    pub(crate) const fn class(&self) -> Option<Class> {
        if let Pinned::Trap(class) = self.pinned {
            return Some(class);
        }
        let mut at = 0;
        while at < self.cases.len() {
            if let Pinned::Trap(class) = self.cases[at].then {
                return Some(class);
            }
            at += 1;
        }
        None
    }
}

/// The kernel's name of a call, if the table has a row for it.
pub fn call_name(number: u32) -> Option<&'static str> {
    lookup(i64::from(number)).map(|row| row.name)
}

/// The name of a call, also of one without a row.
pub(crate) fn name(number: i64) -> String {
    lookup(number).map_or_else(|| format!("number {number}"), |row| row.name.to_owned())
}

/// The row of a number, in constant time.
pub(crate) fn lookup(number: i64) -> Option<&'static Row> {
    rows::TABLE.get(usize::try_from(number).ok()?)?.as_ref()
}

/// Every row, by number.
pub(crate) fn table() -> impl Iterator<Item = &'static Row> {
    rows::TABLE.iter().flatten()
}
