//! `pinned`: the supervisor that makes an ordinary Linux program repeat itself.
//!
//! One thread traces every task of the cage. Exactly one task runs at a time, up to its next trapped call; which one
//! is next depends on nothing but what the program did. Time, randomness, identity and metadata are answered from
//! the specification instead of the host. Containment is not its business: the walls of `contained` stand without it.
//!
//! Map: `stops` resumes tasks and reads the kernel's events; `schedule` picks the next task, wakes those that wait
//! and moves the clock; `calls` has one file per class of system call; `task`, `clock`, `random` and `memory` are the
//! nouns. It refuses to go on when it meets what it does not model: the run ends without a verdict, with the reason.

pub(crate) mod calls;
pub(crate) mod clock;
mod exits;
pub(crate) mod given;
pub(crate) mod instructions;
pub(crate) mod memory;
mod opened;
mod paths;
pub(crate) mod random;
mod schedule;
pub(crate) mod session;
mod signals;
pub(crate) mod spin;
mod spinning;
mod stopped;
mod stops;
#[cfg(test)]
mod subject;
pub(crate) mod task;
pub(crate) mod tree;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use crate::logs::Stream;
use crate::sys;
use crate::witness::{Event, Recorder};
use clock::Clock;
use stops::inner_pid;
use task::{Call, Process, ProcessId, SpaceId, State, Task, TaskId, Wait, Woken};
use tree::Tree;

/// Trapped calls after which a task that could go on lets the others have their turn.
const QUANTUM: u32 = 50;

/// The result in the trace of a call that the kernel makes unseen: it follows from what the trace holds.
const UNSEEN: i64 = i64::MIN;

/// Why a run ended without a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The program did what is not modelled; the text begins with its code (`E_…`).
    Unmodelled(String),
    /// Somebody killed the cage from outside.
    Killed,
    /// Tracing itself failed.
    Broken(String),
}

impl Stop {
    /// A failure of the tracing itself.
    pub(crate) fn broken(step: &str, error: &std::io::Error) -> Self {
        // A task that is gone although nobody in the cage ended it: somebody outside did.
        if error.raw_os_error() == Some(libc::ESRCH) {
            Self::Killed
        } else {
            Self::Broken(format!("{step}: {error}"))
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unmodelled(why) => f.write_str(why),
            Self::Killed => f.write_str("E_KILLED: ended from outside"),
            Self::Broken(why) => write!(f, "E_SUPERVISOR: {why}"),
        }
    }
}

/// What a class makes of one attempt of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The supervisor has done it: this is the result (negative: errno).
    Return(i64),
    /// The kernel shall do it; the result follows from what the program did before.
    Native,
    /// The kernel has done it ([`Supervisor::execute`]): this is the result.
    Done(i64),
    /// Not now: try again when this has happened. After an [`Supervisor::execute`] the call is made anew.
    Block(Wait),
    /// The task does not return from the call: it has ended, or waits inside the kernel.
    Gone,
}

/// What the thread that watches the cage may see of the run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Stops of tasks so far.
    pub stops: AtomicU64,
    /// Thread id of the tracer.
    pub tracer: AtomicI32,
    /// The cage is being killed: waiting for tasks makes no sense any more.
    pub abandoned: AtomicBool,
}

/// What is given to a run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Keys every random stream.
    pub seed: [u8; 32],
    /// Where the wall clock begins, milliseconds since 1970.
    pub epoch_ms: u64,
    /// What `uname` and `gethostname` say.
    pub hostname: String,
    /// Bytes and inodes that the file systems are said to have.
    pub disk: [u64; 2],
    /// The root is a directory that nobody else has: tell which of its files were opened.
    pub local_root: bool,
}

/// A pinned run.
pub(crate) struct Supervisor {
    settings: Settings,
    tasks: BTreeMap<TaskId, Task>,
    processes: BTreeMap<ProcessId, Process>,
    by_tid: BTreeMap<i32, TaskId>,
    ready: VecDeque<TaskId>,
    /// Wait statuses that came for another task than the one waited for.
    stash: BTreeMap<i32, VecDeque<i32>>,
    next_task: u32,
    next_process: u32,
    next_space: u32,
    next_parking: u64,
    executions: u64,
    /// The logical clock.
    pub(crate) clock: Clock,
    /// Signals may have become pending.
    signals_dirty: bool,
    /// Something that waits without a descriptor may be satisfied.
    any_dirty: bool,
    /// The program has been executed, and made a call since.
    program: bool,
    /// Wait status of the cage's first process, once it has ended.
    ending: Option<i32>,
    recorder: Recorder,
    /// Standard output and error.
    pub(crate) streams: [Stream; 2],
    progress: Arc<Progress>,
    /// The cage's first process.
    init: i32,
    /// How long the running task has burned.
    burn: spinning::Burn,
    /// Errno of a failure that is the supervisor's, found while a call was handled (0: none).
    short: Cell<i32>,
    /// State of the call classes.
    pub(crate) classes: calls::Classes,
    /// The cage's files, once there is a program.
    tree: Option<Tree>,
    /// When processes began, on the monotonic clock.
    births: BTreeMap<ProcessId, u64>,
}

/// What a finished run leaves.
pub(crate) struct Finished {
    /// Wait status of the program, or why there is none.
    pub status: Result<i32, Stop>,
    /// What makes the level weaker than it is meant to be.
    pub weaker: Vec<String>,
    /// What was recorded.
    pub recorder: Recorder,
    /// Logical nanoseconds that passed.
    pub logical_ns: u64,
    /// Files of the root that were opened, when that was asked for.
    pub opened: BTreeSet<Vec<u8>>,
}

impl Supervisor {
    /// A supervisor for the program whose launched but not yet executed process is `pid`.
    pub(crate) fn new(
        settings: Settings,
        streams: [Stream; 2],
        recorder: Recorder,
        progress: Arc<Progress>,
        init: i32,
    ) -> Self {
        let clock = Clock::new(settings.epoch_ms);
        Self {
            settings,
            tasks: BTreeMap::new(),
            processes: BTreeMap::new(),
            by_tid: BTreeMap::new(),
            ready: VecDeque::new(),
            stash: BTreeMap::new(),
            next_task: 0,
            next_process: 0,
            next_space: 0,
            next_parking: 0,
            executions: 0,
            clock,
            signals_dirty: false,
            any_dirty: false,
            program: false,
            ending: None,
            recorder,
            streams,
            progress,
            init,
            burn: spinning::Burn::default(),
            short: Cell::new(0),
            classes: calls::Classes::default(),
            tree: None,
            births: BTreeMap::new(),
        }
    }

    /// Gives it the sockets that were made inside the cage, and the world.
    pub(in crate::pinned) fn connect(&mut self, sockets: Vec<OwnedFd>, outside: calls::outside::Outside) {
        self.classes.take_over(sockets, outside);
    }

    /// Runs the program `pid`, which waits for `go`, to its end.
    pub(crate) fn run(
        mut self,
        pid: i32,
        go: impl FnOnce() -> std::io::Result<()>,
    ) -> (Finished, [Stream; 2]) {
        let status = self.begin(pid, go).and_then(|()| self.drive());
        self.pump();
        self.close_outside();
        let weaker = self.classes.weaknesses();
        let opened = self.tree.as_mut().map(Tree::take_opened).unwrap_or_default();
        let logical_ns = self.clock.now();
        (Finished { status, weaker, logical_ns, recorder: self.recorder, opened }, self.streams)
    }

    fn drive(&mut self) -> Result<i32, Stop> {
        loop {
            if let Some(status) = self.ending {
                return Ok(status);
            }
            let id = self.next()?;
            self.turn(id)?;
        }
    }

    /// Lets a task run until it waits, ends, or has had its share.
    fn turn(&mut self, id: TaskId) -> Result<(), Stop> {
        for _ in 0..QUANTUM {
            let Some(task) = self.tasks.get(&id) else { return Ok(()) };
            if task.state != State::Ready {
                return Ok(());
            }
            let call = match task.call {
                Some(_) if task.inside => {
                    self.finish_inside(id)?;
                    continue;
                }
                Some(call) if !task.rewound => call,
                _ => match self.go(id)? {
                    Some(call) => call,
                    None => continue,
                },
            };
            self.attempt(id, call)?;
        }
        if self.tasks.get(&id).is_some_and(|task| task.state == State::Ready) {
            self.ready.push_back(id);
        }
        Ok(())
    }

    /// One attempt of the call at whose entry the task stands.
    fn attempt(&mut self, id: TaskId, call: Call) -> Result<(), Stop> {
        self.program |= self.executions > 0;
        let first = self.task(id).call.is_none();
        if first {
            self.clock.tick();
            let task = self.task_mut(id);
            task.call = Some(call);
            task.woken = Woken::Not;
            task.deadline = None;
            task.moved = 0;
        }
        self.task_mut(id).rewound = false;
        let outcome = calls::dispatch(self, id, &call)?;
        match self.short.take() {
            0 => {}
            errno => {
                let error = std::io::Error::from_raw_os_error(errno);
                return Err(Stop::broken("copy a descriptor of the program", &error));
            }
        }
        match outcome {
            Outcome::Return(value) => self.finish(id, &call, value, true),
            Outcome::Done(value) => self.finish(id, &call, value, false),
            Outcome::Native => {
                let data = std::mem::take(&mut self.classes.data);
                let parts: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
                self.record(id, &call, UNSEEN, &parts)?;
                self.task_mut(id).call = None;
                Ok(())
            }
            Outcome::Block(wait) => self.park(id, wait),
            Outcome::Gone => Ok(()),
        }
    }

    /// Gives the task the result of its call. `emulated`: the kernel must not make the call any more.
    fn finish(&mut self, id: TaskId, call: &Call, value: i64, emulated: bool) -> Result<(), Stop> {
        let data = std::mem::take(&mut self.classes.data);
        let parts: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        self.record(id, call, value, &parts)?;
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        task.call = None;
        if emulated {
            task.registers.orig_rax = u64::MAX;
            task.registers.rax = value as u64;
            self.write_registers(id)?;
        }
        Ok(())
    }

    /// Adds one event to the trace.
    fn record(&mut self, id: TaskId, call: &Call, result: i64, data: &[&[u8]]) -> Result<(), Stop> {
        // Until the program is there, the addresses are those of the supervisor's own copy.
        let args = if self.program { call.args } else { [0; 6] };
        let event =
            Event { task: id.0, number: call.number as u32, args, result, clock_ns: self.clock.now(), data };
        self.recorder.event(&event).map_err(|e| Stop::broken("record an event", &e))
    }

    /// Adds to the trace that the world outside was asked.
    pub(crate) fn record_outside(&mut self, asked: &Call) -> Result<(), Stop> {
        self.record(TaskId(0), asked, 0, &[])
    }

    /// Bytes that go into the trace with the call being handled.
    pub(crate) fn note(&mut self, bytes: impl Into<Vec<u8>>) {
        self.classes.data.push(bytes.into());
    }

    /// The task; it must exist.
    pub(crate) fn task(&self, id: TaskId) -> &Task {
        self.tasks.get(&id).expect("callers hold ids of tasks that live")
    }

    /// The task; it must exist.
    pub(crate) fn task_mut(&mut self, id: TaskId) -> &mut Task {
        self.tasks.get_mut(&id).expect("callers hold ids of tasks that live")
    }

    /// The task's process.
    pub(crate) fn process(&self, id: TaskId) -> &Process {
        self.processes.get(&self.task(id).process).expect("a task's process lives as long as it")
    }

    /// Kernel's id of the task.
    pub(crate) fn tid(&self, id: TaskId) -> i32 {
        self.task(id).tid
    }

    /// The supervisor's copy of a descriptor of the task's process.
    pub(crate) fn descriptor(&self, id: TaskId, fd: i32) -> Result<OwnedFd, i64> {
        let pidfd = self.process(id).pidfd.as_fd();
        sys::ptrace::pidfd_getfd(pidfd, fd).map_err(|e| {
            let errno = e.raw_os_error().unwrap_or(libc::EBADF);
            if errno != libc::EBADF {
                // Our own shortage, of which the program must not hear: the run cannot go on.
                self.short.set(errno);
            }
            -i64::from(errno)
        })
    }

    /// What is known of the cage's files.
    pub(crate) fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// The same, to note something.
    pub(crate) fn tree_mut(&mut self) -> Option<&mut Tree> {
        self.tree.as_mut()
    }

    /// The living processes, in order of creation.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (ProcessId, &Process)> {
        self.processes.iter().map(|(id, process)| (*id, process))
    }

    /// How many processes there have been.
    pub(crate) fn processes_made(&self) -> u32 {
        self.next_process
    }

    /// `R`, `S` or `T`: whether a process runs, waits, is stopped.
    pub(crate) fn process_letter(&self, id: ProcessId) -> char {
        if self.processes.get(&id).is_some_and(|process| process.stopped) {
            return 'T';
        }
        let runs = self.tasks.values().any(|task| task.process == id && task.state == State::Ready);
        if runs { 'R' } else { 'S' }
    }

    /// When a process began, on the monotonic clock.
    pub(crate) fn began(&self, id: ProcessId) -> u64 {
        self.births.get(&id).copied().unwrap_or_default()
    }

    fn note_birth(&mut self, id: TaskId) {
        let (process, now) = (self.task(id).process, self.clock.monotonic());
        self.births.entry(process).or_insert(now);
    }

    /// Changes the result of the call at whose exit the task stands.
    pub(crate) fn set_result(&mut self, id: TaskId, result: i64) -> Result<(), Stop> {
        self.task_mut(id).registers.rax = result as u64;
        self.write_registers(id)
    }

    /// Settings of the run.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What waits for "anything" tries again; signals are looked at again.
    pub(crate) fn stir(&mut self, signals: bool) {
        self.any_dirty = true;
        self.signals_dirty |= signals;
    }

    /// Takes what arrived in the pipes of standard output and error.
    pub(crate) fn pump(&mut self) {
        let mut buffer = [0; 4096];
        self.streams.iter_mut().for_each(|stream| stream.pump(&mut buffer, usize::MAX));
    }

    fn count_stop(&self) {
        self.progress.stops.fetch_add(1, Ordering::Relaxed);
    }

    fn new_space(&mut self) -> SpaceId {
        self.next_space += 1;
        SpaceId(self.next_space)
    }
}
