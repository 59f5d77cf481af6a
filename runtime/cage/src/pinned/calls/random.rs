//! Random bytes: from the stream of the task that asks.

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
