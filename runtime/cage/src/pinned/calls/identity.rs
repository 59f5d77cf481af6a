//! The machine as the program sees it: one processor, a fixed name.

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId};

/// Bytes of one field of `struct utsname`.
const FIELD: usize = 65;
/// Bytes of the kernel's own mask of processors that programs are told about.
const MASK: usize = 8;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    let [a, b, c, ..] = call.args;
    let done = match call.number {
        libc::SYS_uname => memory::write(tid, a, &names(&cage.settings().hostname)).map(|()| 0),
        libc::SYS_getcpu => {
            let zero = |at: u64| if at == 0 { Ok(()) } else { memory::write(tid, at, &[0; 4]) };
            zero(a).and_then(|()| zero(b)).map(|()| 0)
        }
        libc::SYS_sched_getaffinity if b < MASK as u64 || b % 8 != 0 => return Ok(err(libc::EINVAL)),
        libc::SYS_sched_getaffinity => memory::write(tid, c, &1u64.to_le_bytes()).map(|()| MASK as i64),
        libc::SYS_sched_setaffinity => {
            let length = (b as usize).min(128);
            match memory::read(tid, c, length) {
                Ok(mask) if mask.first().is_some_and(|byte| byte & 1 != 0) => Ok(0),
                Ok(_) => return Ok(err(libc::EINVAL)),
                Err(errno) => Err(errno),
            }
        }
        libc::SYS_sched_getparam => memory::write(tid, b, &[0; 4]).map(|()| 0),
        libc::SYS_getpriority => Ok(20), // the kernel's way to say niceness 0
        // A limit on processor time would strike by the host's clock: it is remembered nowhere and never strikes.
        libc::SYS_setrlimit => Ok(0),
        libc::SYS_getrlimit => memory::write_words(tid, b, &[u64::MAX; 2]).map(|()| 0),
        libc::SYS_prlimit64 => {
            let old = call.args[3];
            if old == 0 { Ok(0) } else { memory::write_words(tid, old, &[u64::MAX; 2]).map(|()| 0) }
        }
        _ => return Err(super::unmodelled(call)),
    };
    Ok(Outcome::Return(done.unwrap_or_else(|errno| errno)))
}

/// `struct utsname`. The release is the one the C library was told at its start anyway; it is part of the class within
/// which runs compare.
fn names(hostname: &str) -> Vec<u8> {
    let release = crate::sys::kernel();
    let release = release.split(' ').nth(1).unwrap_or("unavailable").to_owned();
    let fields = ["Linux", hostname, &release, "#1 SMP", "x86_64", "(none)"];
    let mut out = vec![0; FIELD * fields.len()];
    for (place, text) in out.chunks_exact_mut(FIELD).zip(fields) {
        let length = text.len().min(FIELD - 1);
        place[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    out
}
