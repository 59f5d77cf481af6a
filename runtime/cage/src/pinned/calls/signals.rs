//! Signals between tasks: queued by the kernel, at the point where the program sends them; and signal descriptors,
//! which show each reader its own signals, so that only the reader itself can ask them.

use std::os::fd::{AsRawFd, OwnedFd};

use super::moving::Stream;
use super::{Outcome, Stop, Supervisor};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Wait};

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_kill
        | libc::SYS_tkill
        | libc::SYS_tgkill
        | libc::SYS_rt_sigqueueinfo
        | libc::SYS_rt_tgsigqueueinfo => send(cage, id, call),
        libc::SYS_signalfd | libc::SYS_signalfd4 => descriptor(cage, id, call),
        _ => Err(super::unmodelled(call)),
    }
}

fn send(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let signal = if matches!(call.number, libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo) { 2 } else { 1 };
    let signal = call.int(signal);
    let target = call.int(0);
    let result = cage.execute(id, call)?;
    if result.is_none_or(|r| r == 0) && signal != 0 {
        cage.stir(true);
        if signal == libc::SIGCONT {
            resume(cage, id, target);
        }
    }
    Ok(result.map_or(Outcome::Gone, Outcome::Done))
}

/// Lets the stopped processes meant by `target`, as `kill` takes it, go on.
fn resume(cage: &mut Supervisor, sender: TaskId, target: i32) {
    let group_of = |pid: i32| -> Option<i32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("NSpgid:"))?;
        line.split_whitespace().last()?.parse().ok()
    };
    let own = group_of(cage.process(sender).pid);
    cage.continue_processes(|process| match target {
        0 => group_of(process.pid) == own,
        -1 => true,
        pid if pid > 0 => process.inner == pid,
        group => group_of(process.pid) == group.checked_neg(),
    });
}

/// Makes a signal descriptor, or changes one. Its signals are those that end waits on descriptors from now on.
fn descriptor(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let Some(made) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if made >= 0
        && let Ok([mask]) = memory::words::<1>(cage.tid(id), call.args[1])
    {
        cage.classes.signal_descriptors |= mask;
    }
    Ok(Outcome::Done(made))
}

/// Whether the supervisor's copy of a descriptor is one of signals.
pub(super) fn is_descriptor(fd: &OwnedFd) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    link.is_ok_and(|path| path.as_os_str() == "anon_inode:[signalfd]")
}

/// The signals that make one of the descriptors readable, if any of them is one of signals.
pub(super) fn descriptors(cage: &Supervisor, id: TaskId, fds: impl Iterator<Item = i32>) -> Option<u64> {
    if cage.classes.signal_descriptors == 0 {
        return None;
    }
    let masks = fds.filter(|fd| *fd >= 0).filter_map(|fd| mask(&cage.descriptor(id, fd).ok()?));
    masks.reduce(|all, mask| all | mask)
}

/// The signals of a signal descriptor.
fn mask(fd: &OwnedFd) -> Option<u64> {
    if !is_descriptor(fd) {
        return None;
    }
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("sigmask:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Waits until the reader of a signal descriptor has one of its signals.
pub(super) fn wait_readable(stream: &Stream) -> Outcome {
    let signals = mask(&stream.fd).unwrap_or(0);
    Outcome::Block(Wait { signals, ..Wait::default() })
}

impl Supervisor {
    /// Whether only the task itself can read this.
    pub(super) fn reads_in_task(&self, stream: &Stream) -> bool {
        self.classes.signal_descriptors != 0 && is_descriptor(&stream.fd)
    }
}
