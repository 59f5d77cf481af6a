//! Tasks that come, go, and wait for each other.

use super::{Outcome, Stop, Supervisor};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Wait, Woken};

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_clone | libc::SYS_fork | libc::SYS_vfork => super::executed_as_is(cage, id, call),
        libc::SYS_execve | libc::SYS_execveat => execute(cage, id, call),
        libc::SYS_exit => {
            cage.task_mut(id).exits_alone = true;
            Ok(Outcome::Native)
        }
        libc::SYS_exit_group => Ok(Outcome::Native),
        libc::SYS_set_tid_address => {
            cage.task_mut(id).clear_tid = call.args[0];
            Ok(Outcome::Native)
        }
        libc::SYS_wait4 => wait(cage, id, call, 2),
        libc::SYS_waitid => wait(cage, id, call, 3),
        _ => Err(super::unmodelled(call)),
    }
}

fn execute(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let path = if call.number == libc::SYS_execve { call.args[0] } else { call.args[1] };
    if let Ok(path) = memory::string(cage.tid(id), path) {
        cage.note(path);
    }
    Ok(cage.execute_program(id)?.map_or(Outcome::Gone, Outcome::Done))
}

/// The kernel looks without waiting; if there is nothing yet, the call is made again when a child has changed.
fn wait(cage: &mut Supervisor, id: TaskId, call: &Call, options: usize) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    if call.args[options] & libc::WNOHANG as u64 != 0 {
        return super::executed_as_is(cage, id, call);
    }
    let info = if call.number == libc::SYS_waitid { call.args[2] } else { 0 };
    if info != 0 && memory::write(tid, info, &[0; 16]).is_err() {
        return Ok(super::err(libc::EFAULT));
    }
    let mut now = *call;
    now.args[options] |= libc::WNOHANG as u64;
    let Some(result) = cage.execute(id, &now)? else { return Ok(Outcome::Gone) };
    let nothing = result == 0
        && match info {
            0 => call.number == libc::SYS_wait4,
            info => memory::word32(tid, info) == Ok(0),
        };
    if !nothing {
        note_status(cage, id, call, result);
        return Ok(Outcome::Done(result));
    }
    debug_assert_ne!(cage.task(id).woken, Woken::Signal, "signals are handled before");
    cage.rewind(id)?;
    Ok(Outcome::Block(Wait { child: true, ..Wait::default() }))
}

/// The status goes into the trace; the resources used, which the kernel measured, become zero.
fn note_status(cage: &mut Supervisor, id: TaskId, call: &Call, result: i64) {
    let tid = cage.tid(id);
    if call.number == libc::SYS_wait4
        && result > 0
        && call.args[1] != 0
        && let Ok(status) = memory::read(tid, call.args[1], 4)
    {
        cage.note(status);
    }
    let usage = if call.number == libc::SYS_wait4 { call.args[3] } else { call.args[4] };
    if usage != 0 {
        let _ = memory::write_words(tid, usage, &[0; 18]); // the kernel has just written there
    }
}
