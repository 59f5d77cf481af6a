//! POSIX timers: made, set, read and deleted, each the property of a process.
//!
//! Owns their numbers, the lowest free one each time. A timer tells its process or one thread by a signal, or nobody;
//! `SIGEV_THREAD` is made of these by the C library.

use super::timers::{Key, Target, Timer};
use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, ProcessId, TaskId};

const EINVAL: i64 = -(libc::EINVAL as i64);
/// Timers of one process.
const MOST: i32 = 1 << 16;
const TIMER_ABSTIME: u64 = 1;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let process = cage.task(id).process;
    let key = Key::Posix(process, call.int(0));
    if call.number == libc::SYS_timer_create {
        let made = create(cage, id, call, process);
        return Ok(Outcome::Return(made.map_or_else(|errno| errno, |()| 0)));
    }
    if !cage.classes.timers.all.contains_key(&key) {
        return Ok(err(libc::EINVAL));
    }
    let done = match call.number {
        libc::SYS_timer_settime => set(cage, id, call, key),
        libc::SYS_timer_gettime => show(cage, id, call.args[1], key).map(|()| 0),
        libc::SYS_timer_getoverrun => Ok(cage.classes.timers.all[&key].overrun as i64),
        libc::SYS_timer_delete => {
            cage.classes.timers.all.remove(&key);
            Ok(0)
        }
        _ => return Err(super::unmodelled(call)),
    };
    Ok(Outcome::Return(done.unwrap_or_else(|errno| errno)))
}

fn create(cage: &mut Supervisor, id: TaskId, call: &Call, process: ProcessId) -> Result<(), i64> {
    let tid = cage.tid(id);
    let [_, event, place, ..] = call.args;
    let clock = call.int(0);
    cage.clock.read(clock).ok_or(EINVAL)?;
    let timers = &cage.classes.timers.all;
    let number = (0..MOST).find(|number| !timers.contains_key(&Key::Posix(process, *number)));
    let number = number.ok_or(-i64::from(libc::EAGAIN))?;
    let target = match event {
        0 => Target::Signal { thread: None, signal: libc::SIGALRM, value: number as u64 },
        event => {
            // struct sigevent: value, signal, how, thread
            let [value, signal_and_how, thread] = memory::words::<3>(tid, event)?;
            let (signal, how) = (signal_and_how as u32 as i32, (signal_and_how >> 32) as i32);
            let valid = (1..=64).contains(&signal);
            match how {
                libc::SIGEV_NONE => Target::Nobody,
                libc::SIGEV_SIGNAL if valid => Target::Signal { thread: None, signal, value },
                libc::SIGEV_THREAD_ID if valid => {
                    let thread = cage.thread_of(id, thread as u32 as i32).ok_or(EINVAL)?;
                    Target::Signal { thread: Some(thread), signal, value }
                }
                _ => return Err(EINVAL),
            }
        }
    };
    memory::write(tid, place, &number.to_le_bytes())?;
    cage.classes.timers.all.insert(Key::Posix(process, number), Timer::new(clock, target));
    Ok(())
}

fn set(cage: &mut Supervisor, id: TaskId, call: &Call, key: Key) -> Result<i64, i64> {
    let tid = cage.tid(id);
    let [_, flags, new, old, ..] = call.args;
    if new == 0 {
        return Err(EINVAL);
    }
    let (every, first) = (memory::timespec(tid, new)?, memory::timespec(tid, new + 16)?);
    if old != 0 {
        show(cage, id, old, key)?;
    }
    let now = cage.clock.now();
    let clock = cage.classes.timers.all[&key].clock;
    let deadline = match first {
        0 => None,
        at if flags & TIMER_ABSTIME != 0 => cage.clock.deadline(clock, at),
        length => Some(now.saturating_add(length)),
    };
    if let Some(timer) = cage.classes.timers.all.get_mut(&key) {
        timer.arm(deadline, every);
    }
    Ok(0)
}

fn show(cage: &Supervisor, id: TaskId, address: u64, key: Key) -> Result<(), i64> {
    let (left, every) = cage.classes.timers.all[&key].left(cage.clock.now());
    let words = [memory::as_timespec(every), memory::as_timespec(left)].concat();
    memory::write_words(cage.tid(id), address, &words)
}

impl Supervisor {
    /// The thread of the task's own process whose id inside the cage is `inner`.
    fn thread_of(&self, id: TaskId, inner: i32) -> Option<TaskId> {
        let process = self.task(id).process;
        let own = self.tasks.iter().filter(|(_, task)| task.process == process);
        own.map(|(id, task)| (*id, task.tid))
            .find(|(_, tid)| crate::pinned::inner_pid(*tid).is_ok_and(|found| found == inner))
            .map(|(id, _)| id)
    }
}
