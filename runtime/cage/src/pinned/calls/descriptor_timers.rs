//! Timer descriptors: event counters to which the supervisor adds expirations.
//!
//! A counter reads as a timer descriptor does: eight bytes of count, then zero, waiting while it is zero. Owns the way
//! from a descriptor to its timer, by the number that the kernel gives every counter. A periodic timer whose
//! descriptor nobody holds any more is dropped when it has fired unread.

use std::os::fd::{AsFd, OwnedFd};

use super::moving::Stream;
use super::timers::{Key, Target, Timer, number_of};
use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId};
use crate::sys;

const FLAGS: u64 = (libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) as u64;
const SETTING_FLAGS: u64 = (libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET) as u64;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    if call.number == libc::SYS_timerfd_create {
        return create(cage, id, call);
    }
    let stream = match Stream::of(cage, id, call.int(0)) {
        Ok(stream) => stream,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let key = number_of(&stream.fd).map(Key::Descriptor);
    let Some(key) = key.filter(|key| cage.classes.timers.all.contains_key(key)) else {
        return Ok(err(libc::EINVAL));
    };
    let done = if call.number == libc::SYS_timerfd_settime {
        set(cage, id, call, key, &stream)
    } else {
        show(cage, id, call.args[1], key)
    };
    Ok(Outcome::Return(done.map_or_else(|errno| errno, |()| 0)))
}

fn create(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let (clock, flags) = (call.int(0), call.args[1]);
    let known = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME];
    if !known.contains(&clock) || flags & !FLAGS != 0 {
        return Ok(err(libc::EINVAL)); // the clocks that wake a sleeping machine need a privilege
    }
    let Some(made) = cage.execute_as(id, libc::SYS_eventfd2, [0, flags, 0, 0, 0, 0])? else {
        return Ok(Outcome::Gone);
    };
    if made >= 0
        && let Ok(counter) = cage.descriptor(id, made as i32)
        && let Some(number) = number_of(&counter)
    {
        let timer = Timer::new(clock, Target::Counter(counter));
        cage.classes.timers.all.insert(Key::Descriptor(number), timer);
    }
    Ok(Outcome::Done(made))
}

fn set(cage: &mut Supervisor, id: TaskId, call: &Call, key: Key, stream: &Stream) -> Result<(), i64> {
    let tid = cage.tid(id);
    let [_, flags, new, old, ..] = call.args;
    let (every, first) = (memory::timespec(tid, new)?, memory::timespec(tid, new + 16)?);
    if flags & !SETTING_FLAGS != 0 {
        return Err(-i64::from(libc::EINVAL));
    }
    if old != 0 {
        show(cage, id, old, key)?;
    }
    let (now, clock) = (cage.clock.now(), cage.classes.timers.all[&key].clock);
    let deadline = match first {
        0 => None,
        at if flags & libc::TFD_TIMER_ABSTIME as u64 != 0 => cage.clock.deadline(clock, at),
        length => Some(now.saturating_add(length)),
    };
    let mut count = [0; 8];
    if stream.ready(libc::POLLIN) {
        let _ = sys::read_now(stream.fd.as_fd(), &mut count); // expirations of the old setting are forgotten
    }
    if let Some(timer) = cage.classes.timers.all.get_mut(&key) {
        timer.arm(deadline, every);
    }
    Ok(())
}

fn show(cage: &Supervisor, id: TaskId, address: u64, key: Key) -> Result<(), i64> {
    let (left, every) = cage.classes.timers.all[&key].left(cage.clock.now());
    let words = [memory::as_timespec(every), memory::as_timespec(left)].concat();
    memory::write_words(cage.tid(id), address, &words)
}

/// Adds expirations. True when earlier ones have not been read.
pub(super) fn add(counter: &OwnedFd, times: u64) -> bool {
    let mut one = [libc::pollfd {
        fd: std::os::fd::AsRawFd::as_raw_fd(counter),
        events: libc::POLLIN | libc::POLLOUT,
        revents: 0,
    }];
    let _ = sys::poll(&mut one, Some(0)); // a counter can always be asked
    let (unread, room) = (one[0].revents & libc::POLLIN != 0, one[0].revents & libc::POLLOUT != 0);
    if room {
        let _ = sys::write(counter.as_fd(), &times.to_ne_bytes()); // full only after 2^64 expirations
    }
    unread
}

/// Whether a task of the cage still holds the counter.
pub(super) fn held(cage: &Supervisor, number: u64) -> bool {
    let line = format!("eventfd-id: {number}");
    cage.processes.values().any(|process| {
        let Ok(list) = std::fs::read_dir(format!("/proc/{}/fdinfo", process.pid)) else { return false };
        list.flatten().any(|entry| {
            std::fs::read_to_string(entry.path()).is_ok_and(|info| info.lines().any(|l| l.trim() == line))
        })
    })
}
