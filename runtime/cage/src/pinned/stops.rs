//! Resuming tasks and reading what the kernel says when they stop.
//!
//! Owns every wait for a task. Invariant: when these functions return, every task of the cage stands in a stop again,
//! except those that have ended. It refuses to guess about a stop it does not know.

use std::io;
use std::sync::atomic::Ordering;

use super::calls;
use super::random::{Purpose, Stream};
use super::spinning::{Burn, NOTHING};
use super::task::{Call, Process, ProcessId, SpaceId, State, Task, TaskId, Woken};
use super::tree::Tree;
use super::{Stop, Supervisor};
use crate::sys::{self, ptrace};

/// Stops that the kernel reports, and: nothing outlives the tracer.
const OPTIONS: i32 = libc::PTRACE_O_TRACESECCOMP
    | libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEVFORKDONE
    | libc::PTRACE_O_TRACEEXIT;
/// How a stop at the entry or exit of a call looks.
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

impl Supervisor {
    /// Takes over the process that waits for `go` before it executes the program.
    pub(super) fn begin(&mut self, pid: i32, go: impl FnOnce() -> io::Result<()>) -> Result<(), Stop> {
        let fail = |step: &'static str| move |e: io::Error| Stop::broken(step, &e);
        ptrace::seize(pid, OPTIONS).map_err(fail("seize the program"))?;
        ptrace::interrupt(pid).map_err(fail("stop the program"))?;
        let status = self.await_stop(pid)?;
        if !libc::WIFSTOPPED(status) {
            return Err(Stop::Killed);
        }
        let process = self.add_process(pid, None, None)?;
        let space = self.new_space();
        let first = self.add_task(pid, process, space)?;
        self.note_birth(first);
        let tree = Tree::open(pid, self.clock.epoch(), self.settings.local_root);
        self.tree = Some(tree.map_err(fail("look at the cage's files"))?);
        go().map_err(fail("say go"))
    }

    fn add_process(
        &mut self,
        pid: i32,
        parent: Option<ProcessId>,
        lender: Option<TaskId>,
    ) -> Result<ProcessId, Stop> {
        self.next_process += 1;
        let id = ProcessId(self.next_process);
        let pidfd = sys::pidfd_open(pid).map_err(|e| Stop::broken("open a process", &e))?;
        let leader = TaskId(self.next_task);
        let inner = inner_pid(pid).map_err(|e| Stop::broken("read a process id", &e))?;
        self.processes.insert(id, Process { pid, inner, parent, pidfd, leader, lender, stopped: false });
        Ok(id)
    }

    fn add_task(&mut self, tid: i32, process: ProcessId, space: SpaceId) -> Result<TaskId, Stop> {
        let id = TaskId(self.next_task);
        self.next_task += 1;
        let registers = ptrace::registers(tid).map_err(|e| Stop::broken("read registers", &e))?;
        let seed = &self.settings.seed;
        let task = Task {
            tid,
            process,
            space,
            state: State::Ready,
            call: None,
            inside: false,
            rewound: false,
            wait: None,
            parked: 0,
            woken: Woken::Not,
            deadline: None,
            moved: 0,
            registers,
            signal: 0,
            exits_alone: false,
            clear_tid: 0,
            random: Stream::new(seed, Purpose::Task, id.0.into()),
            instructions: Stream::new(seed, Purpose::Instruction, id.0.into()),
        };
        self.tasks.insert(id, task);
        self.by_tid.insert(tid, id);
        self.ready.push_back(id);
        Ok(id)
    }

    /// The next status of `tid`.
    pub(super) fn await_stop(&mut self, tid: i32) -> Result<i32, Stop> {
        if let Some(status) = self.stash.get_mut(&tid).and_then(std::collections::VecDeque::pop_front) {
            return Ok(status);
        }
        loop {
            match ptrace::wait_trace(tid, 0) {
                Ok(Some((_, status))) => {
                    self.count_stop();
                    return Ok(status);
                }
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    if let Some(status) = self.long_running(tid)? {
                        return Ok(status);
                    }
                }
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Err(Stop::Killed),
                Err(e) => return Err(Stop::broken("wait for a task", &e)),
            }
        }
    }

    /// A status of `tid` that nobody has seen yet, without waiting.
    pub(super) fn new_status(&mut self, tid: i32) -> Result<Option<i32>, Stop> {
        match ptrace::wait_trace(tid, libc::WNOHANG) {
            Ok(found) => Ok(found.map(|(_, status)| status)),
            Err(e) => Err(Stop::broken("look at a task", &e)),
        }
    }

    /// Somebody outside wondered why nothing happens: the task `tid` has run for long without a trapped call, or will
    /// never stop again.
    fn long_running(&mut self, tid: i32) -> Result<Option<i32>, Stop> {
        if self.progress.abandoned.load(Ordering::Acquire) || sys::is_exiting(self.init) {
            return Err(Stop::Killed);
        }
        let Some(id) = self.by_tid.get(&tid).copied() else { return Ok(None) };
        // Alone, without a timer that could free it, or inside the kernel: nobody waits for it, or it will come out.
        if (self.tasks.len() < 2 && self.next_timer().is_none()) || self.task(id).inside {
            return Ok(None);
        }
        self.burning(id)
    }

    /// Lets the task run to its next event. A trapped call, if that was it.
    pub(super) fn go(&mut self, id: TaskId) -> Result<Option<Call>, Stop> {
        let task = self.task_mut(id);
        let (tid, mut signal) = (task.tid, std::mem::take(&mut task.signal));
        self.burn = Burn::default();
        loop {
            ptrace::resume(tid, signal).map_err(|e| Stop::broken("resume a task", &e))?;
            let status = self.await_stop(tid)?;
            // An interruption that came too late is nothing of the program's: it must not count in its turn.
            if status == NOTHING && self.task(id).state == State::Ready {
                signal = 0;
                continue;
            }
            return self.event(id, status);
        }
    }

    /// Has the kernel make the call at whose entry the task stands, with `call`'s arguments, and gives the result.
    /// `None` when the task does not come back from it (now).
    pub(crate) fn execute(&mut self, id: TaskId, call: &Call) -> Result<Option<i64>, Stop> {
        let task = self.task_mut(id);
        let own = Call::of(&task.registers);
        if own != *call {
            call.place(&mut task.registers);
            task.registers.orig_rax = call.number as u64;
            self.write_registers(id)?;
        }
        self.task_mut(id).inside = true;
        self.finish_call(id)
    }

    /// On to the end of the call that the task is in.
    pub(super) fn finish_call(&mut self, id: TaskId) -> Result<Option<i64>, Stop> {
        loop {
            let tid = self.tid(id);
            ptrace::resume_to_call(tid, 0).map_err(|e| Stop::broken("resume a task into a call", &e))?;
            let status = self.await_stop(tid)?;
            if libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == AT_CALL {
                return self.leave_call(id).map(Some);
            }
            self.event(id, status)?;
            if self.tasks.get(&id).is_none_or(|t| t.state != State::Ready) {
                return Ok(None);
            }
        }
    }

    /// The task stands at the exit of its call: its own arguments come back.
    pub(super) fn leave_call(&mut self, id: TaskId) -> Result<i64, Stop> {
        let tid = self.tid(id);
        let registers = ptrace::registers(tid).map_err(|e| Stop::broken("read registers", &e))?;
        let task = self.task_mut(id);
        task.inside = false;
        let now = Call::of(&registers);
        let own = task.call.expect("a task leaves a call that it is in");
        let executed = matches!(own.number, libc::SYS_execve | libc::SYS_execveat) && registers.rax == 0;
        task.registers = registers;
        if own != now && !executed {
            own.place(&mut task.registers);
            task.registers.orig_rax = own.number as u64; // what a restart would make
            self.write_registers(id)?;
        }
        Ok(registers.rax as i64)
    }

    /// A task that was inside the kernel may come out.
    pub(super) fn finish_inside(&mut self, id: TaskId) -> Result<(), Stop> {
        let call = self.task(id).call.expect("a task inside a call has one");
        match self.finish_call(id)? {
            Some(value) => self.finish(id, &call, value, false),
            None => Ok(()),
        }
    }

    /// Puts a task that stands at the exit of its call back before the instruction that made it.
    pub(crate) fn rewind(&mut self, id: TaskId) -> Result<(), Stop> {
        let task = self.task_mut(id);
        let call = task.call.expect("only a task in a call is put back");
        task.registers.rip -= 2; // the length of `syscall`
        task.registers.rax = call.number as u64;
        task.rewound = true;
        self.write_registers(id)
    }

    /// Writes the task's registers back.
    pub(crate) fn write_registers(&mut self, id: TaskId) -> Result<(), Stop> {
        let task = self.task(id);
        ptrace::set_registers(task.tid, &task.registers).map_err(|e| Stop::broken("write registers", &e))
    }

    /// What a status means for the task. A trapped call, if that is it.
    pub(super) fn event(&mut self, id: TaskId, status: i32) -> Result<Option<Call>, Stop> {
        if !libc::WIFSTOPPED(status) {
            self.ended(id, status)?;
            return Ok(None);
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        match event {
            libc::PTRACE_EVENT_SECCOMP => return self.trapped(id).map(Some),
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => self.born(id)?,
            libc::PTRACE_EVENT_EXEC => self.executed(id)?,
            libc::PTRACE_EVENT_EXIT => self.leaving(id)?,
            libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => self.stopped(id),
            libc::PTRACE_EVENT_STOP | libc::PTRACE_EVENT_VFORK_DONE => {}
            0 if signal == AT_CALL => {}
            0 => self.signalled(id, signal)?,
            other => return Err(Stop::Broken(format!("a stop of kind {other} that nobody asked for"))),
        }
        Ok(None)
    }

    pub(super) fn trapped(&mut self, id: TaskId) -> Result<Call, Stop> {
        let registers = ptrace::registers(self.tid(id)).map_err(|e| Stop::broken("read registers", &e))?;
        let call = Call::of(&registers);
        let task = self.task_mut(id);
        task.registers = registers;
        // The same call again after it was put back: not a new one.
        if task.rewound {
            task.rewound = false;
            if task.call != Some(call) {
                task.call = None; // a handler ran in between and made a call of its own
            } else if task.woken == Woken::Signal {
                task.woken = Woken::Ready; // what was pending has been delivered on the way here
            }
        }
        Ok(call)
    }

    /// The task has made another one.
    fn born(&mut self, id: TaskId) -> Result<(), Stop> {
        let tid = self.tid(id);
        let message = ptrace::event_message(tid).map_err(|e| Stop::broken("read a new task's id", &e))?;
        let child = message as i32;
        let status = self.await_stop(child)?;
        if !libc::WIFSTOPPED(status) {
            return Ok(()); // killed before its first instruction
        }
        let call = self.task(id).call.expect("tasks are made by calls");
        let flags = match call.number {
            libc::SYS_clone => call.args[0] as i32,
            libc::SYS_vfork => libc::CLONE_VM | libc::CLONE_VFORK,
            _ => 0,
        };
        let own_process = self.task(id).process;
        let lends = flags & libc::CLONE_VFORK != 0;
        let process = if flags & libc::CLONE_THREAD != 0 {
            own_process
        } else {
            self.add_process(child, Some(own_process), lends.then_some(id))?
        };
        let space = if flags & libc::CLONE_VM != 0 { self.task(id).space } else { self.new_space() };
        let new = self.add_task(child, process, space)?;
        if flags & libc::CLONE_CHILD_CLEARTID != 0 {
            self.task_mut(new).clear_tid = call.args[3];
        }
        if lends {
            self.task_mut(id).state = State::Lender;
        }
        calls::born(self, id, new)
    }

    /// Makes the lender of a process's memory ready again.
    pub(super) fn release_lender(&mut self, process: ProcessId) {
        let lender = self.processes.get_mut(&process).and_then(|p| p.lender.take());
        if let Some(id) = lender
            && let Some(task) = self.tasks.get_mut(&id)
            && task.state == State::Lender
        {
            task.state = State::Ready;
            self.ready.push_back(id);
        }
    }
}

/// The id of a process in its own pid namespace.
pub(super) fn inner_pid(pid: i32) -> io::Result<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|ids| ids.split_whitespace().last())
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| io::Error::other("no NSpid in its status"))
}
