//! Clocks and used time: what the logical clock shows.

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId};

/// Resolution of every clock.
const RESOLUTION_NS: u64 = 1;
/// Bytes of memory that `sysinfo` tells.
pub(super) const MEMORY: u64 = 4 << 30;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    let [a, b, ..] = call.args;
    let put = |address: u64, words: &[u64]| {
        if address == 0 { Ok(()) } else { memory::write_words(tid, address, words) }
    };
    let done = match call.number {
        libc::SYS_clock_gettime => match cage.clock.read(call.int(0)) {
            Some(ns) => memory::write_words(tid, b, &memory::as_timespec(ns)).map(|()| 0),
            None => return Ok(err(libc::EINVAL)),
        },
        libc::SYS_clock_getres => match cage.clock.read(call.int(0)) {
            Some(_) => put(b, &memory::as_timespec(RESOLUTION_NS)).map(|()| 0),
            None => return Ok(err(libc::EINVAL)),
        },
        libc::SYS_gettimeofday => {
            let now = memory::as_timeval(cage.clock.real());
            put(a, &now).and_then(|()| put(b, &[0])).map(|()| 0)
        }
        libc::SYS_time => {
            let seconds = cage.clock.real() / 1_000_000_000;
            put(a, &[seconds]).map(|()| seconds as i64)
        }
        libc::SYS_times => {
            let ticks = cage.clock.now() / 10_000_000;
            put(a, &[ticks, 0, 0, 0]).map(|()| (cage.clock.monotonic() / 10_000_000) as i64)
        }
        libc::SYS_getrusage => {
            let mut usage = [0; 18];
            usage[..2].copy_from_slice(&memory::as_timeval(cage.clock.now()));
            memory::write_words(tid, b, &usage).map(|()| 0)
        }
        libc::SYS_sysinfo => memory::write_words(tid, a, &sysinfo(cage.clock.monotonic())).map(|()| 0),
        _ => return Err(super::unmodelled(call)),
    };
    Ok(Outcome::Return(done.unwrap_or_else(|errno| errno)))
}

/// `struct sysinfo`: uptime, loads, memory, counts.
fn sysinfo(monotonic: u64) -> [u64; 14] {
    let mut words = [0; 14];
    words[0] = monotonic / 1_000_000_000;
    words[4] = MEMORY; // after uptime and three loads
    words[5] = MEMORY / 2; // free
    words[10] = 1; // processes, then padding
    words[13] = 1; // unit of memory
    words
}
