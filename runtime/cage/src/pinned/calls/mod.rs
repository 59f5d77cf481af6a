//! The trapped calls, one file per class; the table in `seccomp` says which call is whose.
//!
//! Owns the dispatch and the state that classes keep. A handler is called at the entry of the call and, when it
//! blocked, again whenever what it waits for may have come; it decides by what the program did, never by the host's
//! time, load or order of events.

mod descriptor_timers;
mod files;
pub(crate) mod futex;
mod identity;
mod listing;
mod locks;
mod mapping;
mod metadata;
mod moving;
mod names;
mod options;
pub(super) mod outside;
mod posix_timers;
mod process;
mod procfs;
mod random;
mod readiness;
mod settle;
mod signals;
mod sleep;
mod sockets;
mod streams;
mod time;
mod timers;

use super::memory;
use super::task::{Call, ProcessId, TaskId, Woken};
use super::{Outcome, Stop, Supervisor};
use crate::seccomp::{self, Class};

/// What the classes remember.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// Bytes that go into the trace with the call being handled.
    pub(super) data: Vec<Vec<u8>>,
    /// The code of every address space.
    pub(super) code: mapping::Code,
    /// Directory listings that are being read.
    lists: listing::Lists,
    /// Opens that take more than one attempt.
    openings: files::Openings,
    /// Every signal that some signal descriptor shows.
    signal_descriptors: u64,
    /// Sockets of the network that exist inside the cage.
    network: settle::Network,
    /// Sockets (by number) whose buffers the program has sized itself.
    chosen_sizes: std::collections::BTreeSet<u64>,
    /// Connections to the world.
    outside: outside::Outside,
    /// Armed timers.
    timers: timers::Timers,
}

impl Classes {
    /// What the run did that its level does not fully cover.
    pub(super) fn weaknesses(&self) -> Vec<String> {
        self.code.weaknesses()
    }

    /// Takes over the sockets that the first process made inside the cage: the probe, then the listeners.
    pub(super) fn take_over(&mut self, sockets: Vec<std::os::fd::OwnedFd>, outside: outside::Outside) {
        let mut sockets = sockets.into_iter();
        self.network.probe = sockets.next();
        self.outside = outside.with_listeners(sockets.collect());
    }
}

/// An errno as a result.
pub(super) const fn err(errno: i32) -> Outcome {
    Outcome::Return(-(errno as i64))
}

/// One attempt of a call.
pub(super) fn dispatch(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    if cage.task(id).woken == Woken::Signal {
        return interrupted(cage, id, call);
    }
    let class = seccomp::lookup(call.number).and_then(seccomp::Row::class);
    match class {
        Some(Class::Time) => time::handle(cage, id, call),
        Some(Class::Sleep) => sleep::handle(cage, id, call),
        Some(Class::Random) => random::handle(cage, id, call),
        Some(Class::Identity) => identity::handle(cage, id, call),
        Some(Class::Metadata) => metadata::handle(cage, id, call),
        Some(Class::Files) => files::handle(cage, id, call),
        Some(Class::Streams) => streams::handle(cage, id, call),
        Some(Class::Readiness) => readiness::handle(cage, id, call),
        Some(Class::Futex) => futex::handle(cage, id, call),
        Some(Class::Process) => process::handle(cage, id, call),
        Some(Class::Signals) => signals::handle(cage, id, call),
        Some(Class::Timers) => timers::handle(cage, id, call),
        Some(Class::Sockets) => sockets::handle(cage, id, call),
        Some(Class::Memory) => mapping::handle(cage, id, call),
        Some(Class::Locks) => locks::handle(cage, id, call),
        None => Err(unmodelled(call)),
    }
}

/// The end of a run that made a call nobody modelled.
pub(super) fn unmodelled(call: &Call) -> Stop {
    Stop::Unmodelled(format!("E_UNMODELLED_SYSCALL {}", seccomp::name(call.number)))
}

/// The end of a run that made a known call in a form nobody modelled.
pub(super) fn unmodelled_form(call: &Call, form: &str) -> Stop {
    Stop::Unmodelled(format!("E_UNMODELLED_SYSCALL {} ({form})", seccomp::name(call.number)))
}

/// A signal ends the wait. What was moved already is the result; else the kernel makes the call itself and, with a
/// signal pending, gives it up at once with the restart behaviour that the handler asks for.
fn interrupted(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let moved = cage.task(id).moved;
    if moved > 0 {
        return Ok(Outcome::Return(moved as i64));
    }
    if !still_pending(cage, id, call) {
        // Another thread of the process ran first and took it: this one goes on waiting.
        let futex = call.number == libc::SYS_futex; // which takes any other reason for a wake-up of its own
        cage.task_mut(id).woken = if futex { Woken::Not } else { Woken::Ready };
        return dispatch(cage, id, call);
    }
    if matches!(call.number, libc::SYS_nanosleep | libc::SYS_clock_nanosleep) {
        return sleep::interrupted(cage, id, call);
    }
    if matches!(call.number, libc::SYS_open | libc::SYS_openat | libc::SYS_creat) {
        return files::interrupted(cage, id, call);
    }
    Ok(cage.execute(id, call)?.map_or(Outcome::Gone, Outcome::Done))
}

/// Whether a signal that ends the call is pending for the task now.
fn still_pending(cage: &Supervisor, id: TaskId, call: &Call) -> bool {
    let tid = cage.tid(id);
    let Some(found) = super::signals::signals_of(tid) else { return true };
    let own = match call.number {
        libc::SYS_rt_sigsuspend => memory::words::<1>(tid, call.args[0]).ok().map(|[mask]| mask),
        _ => readiness::mask(tid, call).unwrap_or(None),
    };
    (found.own | found.shared) & !own.unwrap_or(found.blocked) & !found.ignored != 0
}

/// Has the kernel make the call as it is.
pub(super) fn executed_as_is(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    Ok(cage.execute(id, call)?.map_or(Outcome::Gone, Outcome::Done))
}

/// A task was made by another.
pub(super) fn born(cage: &mut Supervisor, parent: TaskId, child: TaskId) -> Result<(), Stop> {
    cage.note_birth(child);
    mapping::born(cage, parent, child)
}

/// A process has executed a program.
pub(super) fn executed(cage: &mut Supervisor, id: TaskId) -> Result<(), Stop> {
    let process = cage.task(id).process;
    timers::executed(cage, process);
    let tid = cage.tid(id);
    if let Some(tree) = cage.tree_mut() {
        tree.note_executed(tid);
    }
    mapping::executed(cage, id)
}

/// A process has ended.
pub(super) fn process_ended(cage: &mut Supervisor, process: ProcessId) -> Result<(), Stop> {
    timers::process_ended(cage, process);
    Ok(())
}

/// A signal that an instruction may have raised because the cage made it trap. True when the instruction was
/// emulated, and then there is no signal.
pub(super) fn instruction(cage: &mut Supervisor, id: TaskId, signal: i32) -> Result<bool, Stop> {
    mapping::instruction(cage, id, signal)
}
