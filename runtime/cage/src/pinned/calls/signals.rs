//! Signals between tasks: queued by the kernel, at the point where the program sends them.

use super::{Outcome, Stop, Supervisor};
use crate::pinned::task::{Call, TaskId};

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_kill
        | libc::SYS_tkill
        | libc::SYS_tgkill
        | libc::SYS_rt_sigqueueinfo
        | libc::SYS_rt_tgsigqueueinfo => send(cage, id, call),
        libc::SYS_signalfd | libc::SYS_signalfd4 => super::executed_as_is(cage, id, call),
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
