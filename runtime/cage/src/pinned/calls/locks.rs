//! Locks on files, and settings of descriptors that would make signals.
//!
//! A lock is tried without waiting; the task parks and tries again when some task did something that may have freed
//! one, and soon in any case, because closing a descriptor frees locks too and nobody tells. Locks of an open file
//! description are taken through the supervisor's copy, which is the same description; those of a process by itself.

use std::os::fd::AsFd;

use super::moving::{self, Stream};
use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId};
use crate::sys;

/// Refusals that mean: somebody else holds it.
const HELD: [i64; 2] = [-(libc::EAGAIN as i64), -(libc::EACCES as i64)];

/// Requests of `fcntl` that the C library does not name.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_flock => flock(cage, id, call),
        libc::SYS_fcntl => fcntl(cage, id, call),
        libc::SYS_ioctl => ioctl(cage, id, call),
        _ => Err(super::unmodelled(call)),
    }
}

fn flock(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let operation = call.int(1);
    let stream = match Stream::of(cage, id, call.int(0)) {
        Ok(stream) => stream,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    match sys::lock_description(stream.fd.as_fd(), operation) {
        Ok(()) => {
            cage.stir(false); // released, or a stronger lock made weaker
            Ok(Outcome::Return(0))
        }
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && operation & libc::LOCK_NB == 0 => {
            Ok(moving::look_again(cage))
        }
        Err(e) => Ok(err(e.raw_os_error().unwrap_or(libc::EINVAL))),
    }
}

fn fcntl(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let patient = match call.int(1) {
        libc::F_SETLK | libc::F_OFD_SETLK => None,
        libc::F_SETLKW => Some(libc::F_SETLK),
        libc::F_OFD_SETLKW => Some(libc::F_OFD_SETLK),
        // Signals of descriptors would come when the host pleases, so none ever comes: servers ask for them by habit
        // and wait in other ways; a program that really waits for one ends in a deadlock, which is told.
        libc::F_SETOWN | F_SETSIG | F_SETOWN_EX => return Ok(Outcome::Return(0)),
        libc::F_SETFL => {
            let Call { number, mut args } = *call;
            args[2] &= !(libc::O_ASYNC as u64);
            return Ok(cage.execute_as(id, number, args)?.map_or(Outcome::Gone, Outcome::Done));
        }
        _ => return Ok(err(libc::EINVAL)),
    };
    let mut now = *call;
    now.args[1] = patient.unwrap_or(call.int(1)) as u64;
    let Some(done) = cage.execute(id, &now)? else { return Ok(Outcome::Gone) };
    if patient.is_some() && HELD.contains(&done) {
        cage.rewind(id)?;
        return Ok(moving::look_again(cage));
    }
    if done == 0 {
        cage.stir(false);
    }
    Ok(Outcome::Done(done))
}

fn ioctl(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    if call.args[1] as u32 != libc::FIOASYNC as u32 {
        return super::executed_as_is(cage, id, call);
    }
    let readable = memory::word32(cage.tid(id), call.args[2]);
    Ok(Outcome::Return(readable.map_or_else(|errno| errno, |_| 0))) // as for F_SETOWN
}
