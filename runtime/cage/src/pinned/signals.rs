//! Signals: queued by the kernel, delivered when the scheduler says so.
//!
//! Owns the question which parked task a pending signal wakes. The kernel keeps the queues, masks and handlers; since
//! a task takes its signals only when it is resumed, their order is the scheduler's. A task that is woken by one makes
//! its call natively: with a signal pending the kernel gives the call up at once, with the right restart behaviour.

use super::task::{State, TaskId, Woken};
use super::{Stop, Supervisor};
use crate::sys::ptrace;

/// Signals that do nothing unless they are caught.
const IGNORED_BY_DEFAULT: u64 =
    bit(libc::SIGCHLD) | bit(libc::SIGCONT) | bit(libc::SIGURG) | bit(libc::SIGWINCH);

/// The bit of a signal in a mask.
pub(crate) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// What the kernel says about the signals of a task.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signals {
    /// Standing still in a trace stop, as every task but the running one should.
    pub tracing_stop: bool,
    /// Pending for the task alone.
    pub own: u64,
    /// Pending for its process.
    pub shared: u64,
    /// Blocked by the task.
    pub blocked: u64,
    /// Ignored by the process, one way or another.
    pub ignored: u64,
    /// Caught by a handler.
    pub caught: u64,
}

/// Reads `/proc/TID/status`.
pub(crate) fn signals_of(tid: i32) -> Option<Signals> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let mut found = Signals::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let mask = || u64::from_str_radix(value, 16).unwrap_or(0);
        match name {
            "State" => found.tracing_stop = value.starts_with('t'),
            "SigPnd" => found.own = mask(),
            "ShdPnd" => found.shared = mask(),
            "SigBlk" => found.blocked = mask(),
            "SigIgn" => found.ignored = mask(),
            "SigCgt" => found.caught = mask(),
            _ => {}
        }
    }
    found.ignored |= IGNORED_BY_DEFAULT & !found.caught;
    Some(found)
}

impl Supervisor {
    /// Something may have sent signals: wakes whom they concern, and buries whom they killed.
    pub(super) fn deliver_signals(&mut self) -> Result<(), Stop> {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            let Some(task) = self.tasks.get(&id) else { continue };
            if task.state == State::Ended {
                continue;
            }
            match signals_of(task.tid) {
                // One that was killed while it stood still leaves its stop at once, and may stand in the next already.
                Some(found) if found.tracing_stop => match self.new_status(task.tid)? {
                    Some(status) => drop(self.event(id, status)?),
                    None => self.consider(id, found),
                },
                _ => {
                    let tid = task.tid;
                    let status = self.await_stop(tid)?;
                    self.event(id, status)?;
                }
            }
        }
        Ok(())
    }

    fn consider(&mut self, id: TaskId, found: Signals) {
        let task = self.task(id);
        if task.state != State::Parked {
            return;
        }
        let process = task.process;
        let wait = task.wait.as_ref().expect("a parked task waits for something");
        let blocked = wait.mask.unwrap_or(found.blocked);
        if (found.own | found.shared) & wait.signals != 0 {
            self.wake(id, Woken::Ready);
            return;
        }
        let own = found.own & !blocked & !found.ignored;
        let shared = found.shared & !blocked & !found.ignored;
        // A signal to a process is taken by one of its threads: the first that is on its way to it.
        let taken = self
            .tasks
            .values()
            .any(|t| t.process == process && t.state == State::Ready && t.woken == Woken::Signal);
        if own != 0 || (shared != 0 && !taken) {
            self.wake(id, Woken::Signal);
        }
    }

    /// The task is about to receive a signal.
    pub(super) fn signalled(&mut self, id: TaskId, signal: i32) -> Result<(), Stop> {
        if matches!(signal, libc::SIGSEGV | libc::SIGTRAP | libc::SIGILL)
            && super::calls::instruction(self, id, signal)?
        {
            return Ok(());
        }
        let tid = self.tid(id);
        let mut info = ptrace::signal_info(tid).map_err(|e| Stop::broken("read a signal", &e))?;
        if self.complete_expiry(id, &mut info) {
            ptrace::set_signal_info(tid, &info).map_err(|e| Stop::broken("complete a signal", &e))?;
        }
        let event = super::task::Call { number: 0x8000_0000 | i64::from(signal), args: [0; 6] };
        let code = (info[1] as u32).to_le_bytes(); // si_code; what follows may hold host addresses of nothing
        self.record(id, &event, 0, &[&code])?;
        self.leave_rewound(id)?;
        let task = self.task_mut(id);
        (task.signal, task.woken) = (signal, Woken::Not);
        Ok(())
    }

    /// A signal comes while the task stands before a call that it has to make again: the kernel shall see a call that
    /// was interrupted, so that it restarts it or not as the handler asks for.
    fn leave_rewound(&mut self, id: TaskId) -> Result<(), Stop> {
        const RESTART_IF_ASKED: i64 = -512; // ERESTARTSYS, known to the kernel and its tracers only
        let task = self.task_mut(id);
        let Some(call) = task.call.filter(|_| task.rewound) else { return Ok(()) };
        task.rewound = false;
        task.call = None;
        let tid = task.tid;
        let mut registers = ptrace::registers(tid).map_err(|e| Stop::broken("read registers", &e))?;
        registers.rip += 2;
        registers.orig_rax = call.number as u64;
        let moved = self.task(id).moved;
        registers.rax = if moved > 0 { moved } else { RESTART_IF_ASKED as u64 };
        self.task_mut(id).registers = registers;
        self.write_registers(id)
    }

    /// A signal has stopped the task's process.
    pub(super) fn stopped(&mut self, id: TaskId) {
        let process = self.task(id).process;
        self.task_mut(id).state = State::Stopped;
        if let Some(process) = self.processes.get_mut(&process) {
            process.stopped = true;
        }
        self.tell_parents();
        self.stir(true);
    }

    /// Lets the stopped processes for which `chosen` holds go on.
    pub(crate) fn continue_processes(&mut self, chosen: impl Fn(&super::task::Process) -> bool) {
        let going: Vec<_> =
            self.processes.iter().filter(|(_, p)| p.stopped && chosen(p)).map(|(id, _)| *id).collect();
        for process in going {
            if let Some(process) = self.processes.get_mut(&process) {
                process.stopped = false;
            }
            let tasks: Vec<TaskId> = self
                .tasks
                .iter()
                .filter(|(_, t)| t.process == process && t.state == State::Stopped)
                .map(|(id, _)| *id)
                .collect();
            for id in tasks {
                self.task_mut(id).state = State::Ready;
                self.ready.push_back(id);
            }
            self.tell_parents();
        }
    }
}
