//! Tasks that burn the processor while others wait.
//!
//! Owns the decision what to do about one. Host time only says when to look ([`super::spin`] finds, whenever it looks,
//! the same cycle or none), and how long to put up with a task that computes without a trapped call while others have
//! to wait: beyond that the run ends without a verdict, which is no statement about the program.

use std::time::{Duration, Instant};

use super::spin::{Examination, STEPS, Why, examine};
use super::stopped::Stopped;
use super::task::{Call, TaskId, Wait};
use super::{Stop, Supervisor};
use crate::sys::ptrace;

/// How long a task may compute without a trapped call while others wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// Processor time of its own, in clock ticks, that makes a task worth examining.
const WORTH: u64 = 5;

/// What is known of the task that runs, since it was resumed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Burn {
    since: Option<Instant>,
    /// Ticks in user space when it was first looked at.
    ticks: u64,
    examinations: u32,
    next: Option<Instant>,
    /// Why the latest examination ended early.
    obstacle: Option<Why>,
}

/// What the trace says a recognised spin is, as a call number; its argument is the period in instructions.
const SPIN: i64 = 0x8002_0000;

/// Instructions that the first examination of a task looks at; each further one looks at four times as many.
const FIRST_STEPS: u64 = 256;

/// The instruction that makes a call.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// A stop at which there is nothing to do but to ask for the state of the task.
pub(super) const NOTHING: i32 = libc::PTRACE_EVENT_STOP << 16 | libc::SIGTRAP << 8 | 0x7f;

/// Clock ticks that a task has spent in user space.
fn user_ticks(tid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().nth(11).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

impl Supervisor {
    /// The task has not stopped for some time although others live: looks whether it spins. A status when it has
    /// stopped meanwhile or been parked.
    pub(super) fn burning(&mut self, id: TaskId) -> Result<Option<i32>, Stop> {
        let tid = self.tid(id);
        let now = Instant::now();
        let ticks = user_ticks(tid);
        let since = *self.burn.since.get_or_insert(now);
        if self.burn.next.is_none() {
            (self.burn.ticks, self.burn.next) = (ticks, Some(now));
        }
        if now.duration_since(since) > PATIENCE {
            return Err(Stop::Unmodelled(format!(
                "E_SPIN_NO_PROGRESS: task {} ran for {} s without a trapped call while others waited ({})",
                id.0,
                PATIENCE.as_secs(),
                self.burn.obstacle.map_or("its state does not repeat", Why::text)
            )));
        }
        if self.burn.next.is_some_and(|next| now < next) || ticks.saturating_sub(self.burn.ticks) < WORTH {
            return Ok(None);
        }
        self.burn.examinations += 1;
        self.burn.ticks = ticks;
        self.burn.next = Some(now + Duration::from_millis(200) * (1 << self.burn.examinations.min(8)));
        self.look(id)
    }

    fn look(&mut self, id: TaskId) -> Result<Option<i32>, Stop> {
        let tid = self.tid(id);
        let fail = |e| Stop::broken("examine a task", &e);
        ptrace::interrupt(tid).map_err(fail)?;
        let status = self.await_stop(tid)?;
        if status != NOTHING {
            return self.settle(tid, status).map(Some);
        }
        // A spin is short as a rule, and one that is not may wait: work that is none costs little to look at.
        let steps = STEPS.min(FIRST_STEPS << (2 * (self.burn.examinations - 1).min(8)));
        match examine(&mut Stopped { tid }, steps).map_err(fail)? {
            Examination::Spinning(spin) => {
                // Nobody else can run before this, whenever it is seen: it is an event like a call.
                let event = Call { number: SPIN, args: [spin.period, 0, 0, 0, 0, 0] };
                self.record(id, &event, 0, &[])?;
                self.park(id, Wait { spin: Some(spin), ..Wait::default() })?;
                Ok(Some(NOTHING))
            }
            found @ (Examination::Progressing | Examination::NotRecognised(_)) => {
                self.burn.obstacle =
                    if let Examination::NotRecognised(why) = found { Some(why) } else { None };
                ptrace::resume(tid, 0).map_err(fail)?;
                Ok(None)
            }
            Examination::Stopped(status) => Ok(Some(status)),
        }
    }

    /// The task stopped by itself before it was interrupted. The interruption is still to come, as soon as it goes on,
    /// and the kernel would give up or cut short the call at whose entry it may stand: a difference that the program
    /// could see. So the call is left, the interruption taken, and the call made again.
    fn settle(&mut self, tid: i32, status: i32) -> Result<i32, Stop> {
        let fail = |e| Stop::broken("take an interruption", &e);
        if !libc::WIFSTOPPED(status) || status >> 16 != libc::PTRACE_EVENT_SECCOMP {
            return Ok(status);
        }
        let mut registers = ptrace::registers(tid).map_err(fail)?;
        let mut instruction = [0; 2];
        let before = registers.rip.wrapping_sub(2);
        match ptrace::read_memory(tid, before, &mut instruction) {
            Ok(2) if instruction == SYSCALL => {}
            _ => return Ok(status),
        }
        (registers.rip, registers.rax, registers.orig_rax) = (before, registers.orig_rax, u64::MAX);
        ptrace::set_registers(tid, &registers).map_err(fail)?;
        ptrace::resume(tid, 0).map_err(fail)?;
        let status = self.await_stop(tid)?;
        if status != NOTHING {
            return Ok(status);
        }
        ptrace::resume(tid, 0).map_err(fail)?;
        self.await_stop(tid)
    }
}
