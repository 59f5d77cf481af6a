//! Rows: clocks, waits, timers and signals.
//!
//! Owns data only. Reading clocks and arming own timers is allowed; setting a clock is refused elsewhere. At
//! `pinned` all of it is logical: the supervisor has the only clock, and signals arrive at trapped calls.

use super::super::Class;
use super::{Part, Row, part, row};

const LOGICAL: &str = "the logical clock: one microsecond a trapped call, and jumps when every task waits";
const USED: &str = "logical or zero: the host's accounting is not shown";
const PARKED: &str = "the task is parked; when all wait, the clock jumps to the next deadline";
const ARMED: &str =
    "kept by the supervisor on the logical clock; expiry becomes a signal or a readable descriptor";
const SENT: &str = "delivered at trapped calls, in the order in which they were sent; parked tasks wake";
const HELD: &str = "private state of a serialised task; signals arrive at trapped calls only";

const fn clock(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Time, LOGICAL)
}

const fn used(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Time, USED)
}

const fn wait(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Sleep, PARKED)
}

const fn timer(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Timers, ARMED)
}

const fn sent(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Signals, SENT)
}

const fn held(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(HELD).tested("private_state_runs_untrapped")
}

/// Clocks, used time, load, and randomness.
pub(super) const CLOCKS: Part = part(
    "clocks_and_randomness_reach_the_supervisor",
    &[
        clock("clock_gettime", libc::SYS_clock_gettime, "reads a clock"),
        clock("clock_getres", libc::SYS_clock_getres, "constant"),
        clock("gettimeofday", libc::SYS_gettimeofday, "reads a clock"),
        clock("time", libc::SYS_time, "reads a clock"),
        used("times", libc::SYS_times, "own usage"),
        used("getrusage", libc::SYS_getrusage, "own usage"),
        used("sysinfo", libc::SYS_sysinfo, "memory and load figures; no secret, needed by allocators"),
        row("getrandom", libc::SYS_getrandom, "randomness")
            .trap(Class::Random, "a stream keyed by the seed, one for each task"),
    ],
);

/// Waiting for time or for a signal.
pub(super) const WAITS: Part = part(
    "sleeps_and_timers_reach_the_supervisor",
    &[
        wait("nanosleep", libc::SYS_nanosleep, "sleeps, nothing else"),
        wait("clock_nanosleep", libc::SYS_clock_nanosleep, "sleeps, nothing else"),
        wait("pause", libc::SYS_pause, "waits for a signal"),
        wait("rt_sigsuspend", libc::SYS_rt_sigsuspend, "own mask"),
        wait("rt_sigtimedwait", libc::SYS_rt_sigtimedwait, "own signals"),
        wait("sched_yield", libc::SYS_sched_yield, "gives the CPU away"),
        row("restart_syscall", libc::SYS_restart_syscall, "continues an interrupted wait")
            .native("no wait happens in the kernel, so there is none to continue: EINTR")
            .tested("private_state_runs_untrapped"),
    ],
);

/// Timers that act later.
pub(super) const TIMERS: Part = part(
    "sleeps_and_timers_reach_the_supervisor",
    &[
        timer("alarm", libc::SYS_alarm, "own timer"),
        timer("setitimer", libc::SYS_setitimer, "own timer"),
        timer("getitimer", libc::SYS_getitimer, "own timer"),
        timer("timer_create", libc::SYS_timer_create, "own timer, bounded by RLIMIT_SIGPENDING"),
        timer("timer_settime", libc::SYS_timer_settime, "own timer"),
        timer("timer_gettime", libc::SYS_timer_gettime, "own timer"),
        timer("timer_getoverrun", libc::SYS_timer_getoverrun, "own timer"),
        timer("timer_delete", libc::SYS_timer_delete, "own timer"),
        timer("timerfd_create", libc::SYS_timerfd_create, "own timer"),
        timer("timerfd_settime", libc::SYS_timerfd_settime, "own timer"),
        timer("timerfd_gettime", libc::SYS_timerfd_gettime, "own timer"),
    ],
);

/// Signals between tasks, and the caller's own signal state.
pub(super) const SIGNALS: Part = part(
    "signals_reach_the_supervisor",
    &[
        sent("kill", libc::SYS_kill, "reaches only the cage's pid namespace"),
        sent("tkill", libc::SYS_tkill, "reaches only the cage's pid namespace"),
        sent("tgkill", libc::SYS_tgkill, "reaches only the cage's pid namespace"),
        sent("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, "as kill, forged senders refused by the kernel"),
        sent("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo, "as tgkill"),
        sent("signalfd", libc::SYS_signalfd, "own signals as reads"),
        sent("signalfd4", libc::SYS_signalfd4, "own signals as reads"),
        row("pidfd_send_signal", libc::SYS_pidfd_send_signal, "as kill")
            .absent("looks missing, as pidfd_open does")
            .tested("what_is_not_offered_looks_missing"),
        held("rt_sigaction", libc::SYS_rt_sigaction, "what the caller does on a signal"),
        held("rt_sigprocmask", libc::SYS_rt_sigprocmask, "own mask"),
        held("rt_sigreturn", libc::SYS_rt_sigreturn, "return to where a signal interrupted"),
        held("rt_sigpending", libc::SYS_rt_sigpending, "own signals"),
        held("sigaltstack", libc::SYS_sigaltstack, "own stack"),
    ],
);
