//! Waits for time or for a signal.

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::signals::{bit, signals_of};
use crate::pinned::task::{Call, TaskId, Wait, Woken};

const TIMER_ABSTIME: u64 = 1;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => nanosleep(cage, id, call),
        libc::SYS_sched_yield => Ok(yielded(cage, id)),
        libc::SYS_pause => Ok(for_a_signal(cage, None)),
        libc::SYS_rt_sigsuspend => {
            let tid = cage.tid(id);
            match memory::words::<1>(tid, call.args[0]) {
                Ok([mask]) => Ok(for_a_signal(cage, Some(mask))),
                Err(errno) => Ok(Outcome::Return(errno)),
            }
        }
        libc::SYS_rt_sigtimedwait => sigtimedwait(cage, id, call),
        _ => Err(super::unmodelled(call)),
    }
}

fn for_a_signal(cage: &mut Supervisor, mask: Option<u64>) -> Outcome {
    cage.stir(true); // it may be pending already, only blocked until now
    Outcome::Block(Wait { mask, ..Wait::default() })
}

/// Others that can run have their turn first.
fn yielded(cage: &mut Supervisor, id: TaskId) -> Outcome {
    if cage.task(id).woken != Woken::Not {
        return Outcome::Return(0);
    }
    let now = cage.clock.now();
    Outcome::Block(Wait::until(Some(now)))
}

/// The deadline of a sleep, or its errno.
fn deadline(cage: &Supervisor, id: TaskId, call: &Call) -> Result<u64, i64> {
    let tid = cage.tid(id);
    if call.number == libc::SYS_nanosleep {
        return Ok(cage.clock.now().saturating_add(memory::timespec(tid, call.args[0])?));
    }
    let clock = call.int(0);
    let length = memory::timespec(tid, call.args[2])?;
    let einval = -i64::from(libc::EINVAL);
    if call.args[1] & TIMER_ABSTIME != 0 {
        cage.clock.deadline(clock, length).ok_or(einval)
    } else {
        cage.clock.read(clock).map(|_| cage.clock.now().saturating_add(length)).ok_or(einval)
    }
}

fn nanosleep(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let at = match cage.task(id).deadline {
        Some(at) => at,
        None => match deadline(cage, id, call) {
            Ok(at) => at,
            Err(errno) => return Ok(Outcome::Return(errno)),
        },
    };
    if at <= cage.clock.now() && cage.task(id).woken != Woken::Not {
        return Ok(Outcome::Return(0));
    }
    Ok(Outcome::Block(Wait::until(Some(at))))
}

/// A signal ended the sleep: the time that was left goes back to the program.
pub(super) fn interrupted(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    let left = cage.task(id).deadline.map_or(0, |at| at.saturating_sub(cage.clock.now()));
    let (relative, place) = match call.number {
        libc::SYS_nanosleep => (true, call.args[1]),
        _ => (call.args[1] & TIMER_ABSTIME == 0, call.args[3]),
    };
    if relative && place != 0 && memory::write_words(tid, place, &memory::as_timespec(left)).is_err() {
        return Ok(err(libc::EFAULT));
    }
    Ok(err(libc::EINTR))
}

/// The kernel takes the signal from the queue; the wait for it is ours.
fn sigtimedwait(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    let [set] = match memory::words::<1>(tid, call.args[0]) {
        Ok(words) => words,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let set = set & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
    let pending = signals_of(tid).is_some_and(|s| (s.own | s.shared) & set != 0);
    if pending {
        return super::executed_as_is(cage, id, call);
    }
    if cage.task(id).woken == Woken::TimedOut {
        return Ok(err(libc::EAGAIN));
    }
    let at = match (cage.task(id).deadline, call.args[2]) {
        (Some(at), _) => Some(at),
        (None, 0) => None,
        (None, address) => match memory::timespec(tid, address) {
            Ok(0) => return Ok(err(libc::EAGAIN)),
            Ok(length) => Some(cage.clock.now().saturating_add(length)),
            Err(errno) => return Ok(Outcome::Return(errno)),
        },
    };
    Ok(Outcome::Block(Wait { signals: set, deadline: at, ..Wait::default() }))
}
