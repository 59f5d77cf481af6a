//! Timers on the logical clock: interval timers, POSIX timers and timer descriptors.
//!
//! Owns every armed timer; the kernel arms none. A timer that is due becomes a signal, sent as the kernel would send
//! it, or a count in an event counter, which is what a timer descriptor really is here. Timers fire in the order of
//! their deadlines, then of their making. Processor time is logical time too, so timers on it fire like others.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{Outcome, Stop, Supervisor, descriptor_timers, posix_timers};
use crate::pinned::memory;
use crate::pinned::task::{Call, ProcessId, TaskId};
use crate::sys;

/// `alarm` and `setitimer`: real, virtual, profiling.
const INTERVALS: [i32; 3] = [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF];

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// An interval timer of a process.
    Interval(ProcessId, usize),
    /// A POSIX timer of a process.
    Posix(ProcessId, i32),
    /// A timer descriptor, by the number of its counter.
    Descriptor(u64),
}

/// Who is told.
#[derive(Debug)]
pub(super) enum Target {
    /// Nobody.
    Nobody,
    /// A process, or one thread of it, by this signal with this value.
    Signal { thread: Option<TaskId>, signal: i32, value: u64 },
    /// The counter behind a timer descriptor.
    Counter(OwnedFd),
}

/// One timer.
#[derive(Debug)]
pub(super) struct Timer {
    /// Clock that its absolute times are meant on.
    pub clock: i32,
    /// When it fires next.
    pub deadline: Option<u64>,
    /// How often after that; 0: never.
    pub interval: u64,
    /// Who is told.
    pub target: Target,
    /// Expirations since the pending signal was sent.
    pub missed: u64,
    /// Those that the last delivered signal told of.
    pub overrun: u64,
}

impl Timer {
    pub(super) fn new(clock: i32, target: Target) -> Self {
        Self { clock, deadline: None, interval: 0, target, missed: 0, overrun: 0 }
    }

    /// What is left until it fires, and its interval.
    pub(super) fn left(&self, now: u64) -> (u64, u64) {
        // A timer that is due and not yet fired still shows that it is armed.
        (self.deadline.map_or(0, |at| at.saturating_sub(now).max(1)), self.interval)
    }

    /// Arms it at `deadline`, or disarms it.
    pub(super) fn arm(&mut self, deadline: Option<u64>, interval: u64) {
        self.deadline = deadline;
        self.interval = interval;
        self.missed = 0;
    }
}

/// All timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub all: BTreeMap<Key, Timer>,
}

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_alarm => Ok(alarm(cage, id, call)),
        libc::SYS_setitimer | libc::SYS_getitimer => {
            Ok(Outcome::Return(interval(cage, id, call).map_or_else(|errno| errno, |()| 0)))
        }
        libc::SYS_timerfd_create | libc::SYS_timerfd_settime | libc::SYS_timerfd_gettime => {
            descriptor_timers::handle(cage, id, call)
        }
        _ => posix_timers::handle(cage, id, call),
    }
}

fn interval_timer(cage: &mut Supervisor, id: TaskId, which: usize) -> &mut Timer {
    let process = cage.task(id).process;
    let target = Target::Signal { thread: None, signal: INTERVALS[which], value: 0 };
    let timers = &mut cage.classes.timers.all;
    timers.entry(Key::Interval(process, which)).or_insert_with(|| Timer::new(libc::CLOCK_MONOTONIC, target))
}

fn alarm(cage: &mut Supervisor, id: TaskId, call: &Call) -> Outcome {
    let now = cage.clock.now();
    let seconds = u64::from(call.args[0] as u32);
    let timer = interval_timer(cage, id, 0);
    let left = timer.left(now).0.div_ceil(1_000_000_000);
    timer.arm((seconds > 0).then(|| now + seconds * 1_000_000_000), 0);
    Outcome::Return(left as i64)
}

fn interval(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<(), i64> {
    let tid = cage.tid(id);
    let which = call.args[0] as u32 as usize;
    if which >= INTERVALS.len() {
        return Err(-i64::from(libc::EINVAL));
    }
    let sets = call.number == libc::SYS_setitimer;
    let (new, old) = if sets { (call.args[1], call.args[2]) } else { (0, call.args[1]) };
    let wanted = match (sets, new) {
        (false, _) => None,
        (true, 0) => Some((0, 0)),
        (true, new) => Some((memory::timeval(tid, new + 16)?, memory::timeval(tid, new)?)),
    };
    let now = cage.clock.now();
    let timer = interval_timer(cage, id, which);
    let (left, every) = timer.left(now);
    if let Some((first, every)) = wanted {
        timer.arm((first > 0).then(|| now.saturating_add(first)), every);
    }
    if old != 0 {
        let left = left.next_multiple_of(1_000);
        let words = [memory::as_timeval(every), memory::as_timeval(left)].concat();
        memory::write_words(tid, old, &words)?;
    }
    Ok(())
}

/// The signals of timers that carry the kernel's own code, which only the kernel may send.
pub(super) fn kernel_sent(signal: i32) -> bool {
    INTERVALS.contains(&signal)
}

/// A process has executed a program: its POSIX timers are gone, its interval timers go on.
pub(super) fn executed(cage: &mut Supervisor, process: ProcessId) {
    cage.classes.timers.all.retain(|key, _| !matches!(key, Key::Posix(owner, _) if *owner == process));
}

/// A process has ended.
pub(super) fn process_ended(cage: &mut Supervisor, process: ProcessId) {
    cage.classes
        .timers
        .all
        .retain(|key, _| !matches!(key, Key::Posix(owner, _) | Key::Interval(owner, _) if *owner == process));
}

impl Supervisor {
    /// The next moment at which a timer fires.
    pub(in crate::pinned) fn next_timer(&self) -> Option<u64> {
        self.classes.timers.all.values().filter_map(|timer| timer.deadline).min()
    }

    /// Fires the timers that are due.
    pub(in crate::pinned) fn fire_timers(&mut self) -> Result<(), Stop> {
        let now = self.clock.now();
        let due = |(key, timer): (&Key, &Timer)| timer.deadline.filter(|at| *at <= now).map(|at| (at, *key));
        let mut list: Vec<(u64, Key)> = self.classes.timers.all.iter().filter_map(due).collect();
        list.sort_unstable();
        for (at, key) in list {
            self.fire(key, at, now)?;
        }
        Ok(())
    }

    fn fire(&mut self, key: Key, at: u64, now: u64) -> Result<(), Stop> {
        let Some(timer) = self.classes.timers.all.get_mut(&key) else { return Ok(()) };
        let (times, next) = match timer.interval {
            0 => (1, None),
            every => {
                let times = 1 + (now - at) / every;
                (times, Some(at.saturating_add(times.saturating_mul(every))))
            }
        };
        timer.deadline = next;
        match &timer.target {
            Target::Nobody => Ok(()),
            Target::Counter(counter) => {
                let unread = descriptor_timers::add(counter, times);
                if unread && !descriptor_timers::held(self, counter_number(key)) {
                    self.classes.timers.all.remove(&key);
                }
                Ok(())
            }
            Target::Signal { thread, signal, value } => {
                let (thread, signal, value) = (*thread, *signal, *value);
                self.send_expiry(key, thread, signal, value, times)
            }
        }
    }

    fn send_expiry(
        &mut self,
        key: Key,
        thread: Option<TaskId>,
        signal: i32,
        value: u64,
        times: u64,
    ) -> Result<(), Stop> {
        let (Key::Interval(process, _) | Key::Posix(process, _)) = key else { return Ok(()) };
        let Some(pid) = self.processes.get(&process).map(|p| p.pid) else { return Ok(()) };
        let tid = match thread.map(|id| self.tasks.get(&id).map(|task| task.tid)) {
            Some(None) => return Ok(()), // its thread has ended
            Some(Some(tid)) => Some(tid),
            None => None,
        };
        let Key::Posix(_, number) = key else {
            sys::kill(pid, signal);
            self.stir(true);
            return Ok(());
        };
        let pending = crate::pinned::signals::signals_of(tid.unwrap_or(pid)).is_some_and(|found| {
            let waiting = if tid.is_some() { found.own } else { found.shared };
            waiting & crate::pinned::signals::bit(signal) != 0
        });
        let timer = self.classes.timers.all.get_mut(&key).expect("it is firing");
        if pending {
            timer.missed += times;
            return Ok(());
        }
        timer.missed = times - 1;
        // The head of siginfo_t: number, errno, code; then the timer, its overrun and its value.
        let mut info = [0; 16];
        info[0] = signal as u32 as u64;
        info[1] = u64::from(libc::SI_TIMER as u32);
        info[2] = u64::from(number as u32);
        info[3] = value;
        match sys::queue_signal(pid, tid, signal, &info) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(Stop::broken("send a timer's signal", &e)),
            _ => {
                self.stir(true);
                Ok(())
            }
        }
    }

    /// A signal of a timer is delivered: it tells now how many expirations it stands for.
    pub(in crate::pinned) fn complete_expiry(&mut self, id: TaskId, info: &mut [u64; 16]) -> bool {
        let (signal, code) = (info[0] as u32 as i32, info[1] as u32 as i32);
        if code == libc::SI_TIMER {
            let process = self.task(id).process;
            let key = Key::Posix(process, info[2] as u32 as i32);
            let Some(timer) = self.classes.timers.all.get_mut(&key) else { return false };
            timer.overrun = std::mem::take(&mut timer.missed).min(i32::MAX as u64);
            info[2] = info[2] & 0xffff_ffff | timer.overrun << 32;
            return true;
        }
        // Sent by the supervisor, which lives outside every pid of the cage: what the kernel would have sent.
        if code == libc::SI_USER && info[2] as u32 == 0 && kernel_sent(signal) {
            const SI_KERNEL: u64 = 0x80;
            info[1] = SI_KERNEL;
            info[2] = 0;
            return true;
        }
        false
    }
}

fn counter_number(key: Key) -> u64 {
    match key {
        Key::Descriptor(number) => number,
        Key::Interval(..) | Key::Posix(..) => 0,
    }
}

/// The number of the event counter behind a descriptor; `None` when it is something else.
pub(super) fn number_of(fd: &OwnedFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("eventfd-id:"))?.trim().parse().ok()
}
