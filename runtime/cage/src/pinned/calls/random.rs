//! Random bytes: from the stream of the task that asks, also by way of the random devices.

use std::os::fd::{AsFd, OwnedFd};

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId};

/// Most bytes that one call gives; more is allowed to come short.
const MOST: u64 = 1 << 20;
/// Flags that the kernel knows.
const KNOWN: u64 = (libc::GRND_NONBLOCK | libc::GRND_RANDOM | libc::GRND_INSECURE) as u64;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [address, length, flags, ..] = call.args;
    if flags & !KNOWN != 0 {
        return Ok(err(libc::EINVAL));
    }
    let mut bytes = vec![0; length.min(MOST) as usize];
    cage.task_mut(id).random.fill(&mut bytes);
    let put = memory::write(cage.tid(id), address, &bytes);
    let length = bytes.len() as i64;
    cage.note(bytes);
    Ok(Outcome::Return(put.map_or_else(|errno| errno, |()| length)))
}

/// A read from one of the files that stand for random devices, into these buffers (address, length); `None` for every
/// other file. Those files are empty: whoever gets at them by another way finds nothing.
pub(super) fn device(
    cage: &mut Supervisor,
    id: TaskId,
    fd: &OwnedFd,
    list: &[(u64, u64)],
) -> Option<Outcome> {
    let st = crate::sys::fstat(fd.as_fd()).ok()?;
    cage.tree()?.random_device((st.st_dev, st.st_ino))?;
    let mut total = 0;
    for (address, length) in list {
        let mut bytes = vec![0; (*length).min(MOST - total) as usize];
        cage.task_mut(id).random.fill(&mut bytes);
        if let Err(errno) = memory::write(cage.tid(id), *address, &bytes) {
            return Some(Outcome::Return(if total == 0 { errno } else { total as i64 }));
        }
        total += bytes.len() as u64;
        cage.note(bytes);
    }
    Some(Outcome::Return(total as i64))
}
