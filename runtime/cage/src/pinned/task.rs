//! Tasks (threads) and processes of a pinned cage, as the supervisor knows them.
//!
//! Owns their records. Invariants: at most one task is not stopped; a parked task stands at the entry of the call in
//! `call` (or, when `rewound`, just before the instruction that makes it) and has a `wait`.

use std::os::fd::OwnedFd;

use super::random::Stream;
use super::spin::Spin;
use crate::sys::ptrace::Registers;

/// Number of a task in order of creation: the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(pub u32);

/// Number of a process in order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(pub u32);

/// Number of an address space in order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SpaceId(pub u32);

/// One trapped call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its number.
    pub number: i64,
    /// Its arguments.
    pub args: [u64; 6],
}

impl Call {
    pub(crate) fn of(registers: &Registers) -> Self {
        let r = registers;
        Self { number: r.orig_rax as i64, args: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] }
    }

    /// Puts the arguments into their registers.
    pub(crate) fn place(&self, registers: &mut Registers) {
        let [a, b, c, d, e, f] = self.args;
        (registers.rdi, registers.rsi, registers.rdx) = (a, b, c);
        (registers.r10, registers.r8, registers.r9) = (d, e, f);
    }

    /// An argument as the kernel reads an `int`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.args[index] as u32 as i32
    }
}

/// Why a parked task may try its call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Its first attempt: nothing has happened yet.
    Not,
    /// Something it waited for may have come.
    Ready,
    /// Its deadline passed.
    TimedOut,
    /// A signal that it does not block is pending.
    Signal,
}

/// Address of a futex, in a form that is the same for everybody who shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FutexKey {
    /// Private to an address space.
    Private(SpaceId, u64),
    /// In a shared mapping: device, inode, offset.
    Shared(u64, u64, u64),
}

/// A descriptor that is waited for.
#[derive(Debug)]
pub(crate) struct Watched {
    /// The supervisor's copy of it.
    pub fd: OwnedFd,
    /// `POLLIN`, `POLLOUT` and so on.
    pub events: i16,
}

/// What a parked task waits for: whatever comes first.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    /// One of these descriptors becomes ready.
    pub descriptors: Vec<Watched>,
    /// The logical clock reaches this.
    pub deadline: Option<u64>,
    /// A futex is woken under these bits.
    pub futex: Option<(FutexKey, u32)>,
    /// A child changes state.
    pub child: bool,
    /// Any task did something that may matter: locks, named pipes, pending signals.
    pub any: bool,
    /// Signals (bit n-1 for signal n) that end the wait although they are blocked.
    pub signals: u64,
    /// It spins: its memory changes under what it looks at.
    pub spin: Option<Spin>,
    /// Mask of blocked signals during the call, when it brings its own.
    pub mask: Option<u64>,
}

impl Wait {
    /// Until the clock shows `deadline`, or for ever.
    pub(crate) fn until(deadline: Option<u64>) -> Self {
        Self { deadline, ..Self::default() }
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the queue, or running.
    Ready,
    /// Waits, see its `wait`.
    Parked,
    /// Its process was stopped by a signal.
    Stopped,
    /// Waits inside the kernel until the child it lent its memory to executes or ends.
    Lender,
    /// Its thread has ended; the kernel tells so only when the rest of the process has.
    Ended,
}

/// One thread.
#[derive(Debug)]
pub(crate) struct Task {
    /// Kernel's id, in the supervisor's pid namespace.
    pub tid: i32,
    /// Its process.
    pub process: ProcessId,
    /// Its address space.
    pub space: SpaceId,
    /// Where it stands.
    pub state: State,
    /// The call it is in, while that is not finished.
    pub call: Option<Call>,
    /// It is inside the kernel in the middle of `call` (a lender).
    pub inside: bool,
    /// The call has been tried and must be made again by the instruction before which the task stands.
    pub rewound: bool,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// Order of parking.
    pub parked: u64,
    /// Why it may try again.
    pub woken: Woken,
    /// Deadline of the current call, kept over its attempts.
    pub deadline: Option<u64>,
    /// Bytes moved by earlier attempts of the current call.
    pub moved: u64,
    /// Registers at the latest stop.
    pub registers: Registers,
    /// Signal to deliver when it runs on.
    pub signal: i32,
    /// It has asked to end by itself, not with its whole process.
    pub exits_alone: bool,
    /// Word to clear and wake when the thread ends (0: none).
    pub clear_tid: u64,
    /// Randomness of its calls.
    pub random: Stream,
    /// Randomness of its instructions.
    pub instructions: Stream,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Kernel's id of its leader, in the supervisor's pid namespace.
    pub pid: i32,
    /// Its id inside the cage.
    pub inner: i32,
    /// Its parent, while that lives.
    pub parent: Option<ProcessId>,
    /// Descriptor for it.
    pub pidfd: OwnedFd,
    /// Its task that leads.
    pub leader: TaskId,
    /// The task that lent it its memory.
    pub lender: Option<TaskId>,
    /// Stopped by a signal.
    pub stopped: bool,
}
