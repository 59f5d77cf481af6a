//! Rows: tasks of the cage's own pid namespace, what they know of themselves, and their settings.
//!
//! Owns data only. At `pinned` one task runs at a time and pids are given out in the order of serialised calls, so
//! what a task asks about itself needs no trap. What starts, ends, waits or asks about the machine goes to the
//! supervisor.

use super::super::{Case, Class, Rule, Test};
use super::{Part, Row, part, refuse, row, trap};

/// Every flag of `clone` and `unshare` that makes a namespace (all but time, whose bit `clone` uses for a
/// signal).
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// `CLONE_NEWTIME`, which only `unshare` and `clone3` take.
const CLONE_NEWTIME: u64 = 0x80;

/// Requests that name, time or tighten the caller and can loosen nothing.
const PRCTLS: &[u64] = &[
    libc::PR_SET_PDEATHSIG as u64,
    libc::PR_GET_PDEATHSIG as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_SET_DUMPABLE as u64,
    libc::PR_GET_KEEPCAPS as u64,
    libc::PR_SET_KEEPCAPS as u64,
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_GET_SECCOMP as u64,
    libc::PR_SET_SECCOMP as u64,
    libc::PR_CAPBSET_READ as u64,
    libc::PR_CAPBSET_DROP as u64,
    libc::PR_GET_SECUREBITS as u64,
    libc::PR_SET_TIMERSLACK as u64,
    libc::PR_GET_TIMERSLACK as u64,
    libc::PR_SET_CHILD_SUBREAPER as u64,
    libc::PR_GET_CHILD_SUBREAPER as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
    libc::PR_GET_NO_NEW_PRIVS as u64,
    libc::PR_GET_TID_ADDRESS as u64,
    libc::PR_SET_THP_DISABLE as u64,
    libc::PR_GET_THP_DISABLE as u64,
    libc::PR_CAP_AMBIENT as u64,
    libc::PR_GET_TSC as u64,
    PR_SET_VMA,
];
const PR_SET_VMA: u64 = 0x5356_4d41;

/// Of these, what `pinned` cannot offer: a filter of the program's own could answer a call before the
/// supervisor sees it, and the timer slack is inherited from the host.
const UNPINNED_PRCTLS: &[u64] = &[libc::PR_SET_SECCOMP as u64, libc::PR_GET_TIMERSLACK as u64];

/// Thread pointers, shadow-stack status and the permission to use large vector state.
const ARCH_PRCTLS: &[u64] = &[0x1001, 0x1002, 0x1003, 0x1004, 0x1021, 0x1022, 0x1023, 0x3001, 0x5005];

/// `SCHED_FIFO`, `SCHED_RR` and `SCHED_DEADLINE`, also with `SCHED_RESET_ON_FORK`.
const PRIVILEGED_POLICIES: &[u64] = &[1, 2, 6, 0x4000_0001, 0x4000_0002, 0x4000_0006];

const TASKED: &str = "tasks come, go and are waited for in an order that depends on the program only";
const ASLEEP: &str = "waiters are kept by the supervisor and woken in the order in which they came";
const MODERN_FUTEX: &str = "looks missing: the older call, which is modelled, does the same";
const SELF: &str = "the pid namespace is the cage's own and tasks are serialised, so numbers repeat";
const USER: &str = "the cage's user and its empty capability set are always the same";
const RANGE: &str = "a constant of the kernel";
const NEUTRAL: &str =
    "the default, always: one task runs at a time, so no policy has an effect; privileged ones are refused";
const LIMIT: &str =
    "limits are the launcher's; the one on time, which the host would enforce, is the supervisor's";
const ONE_CPU: &str = "one CPU, number 0";
const STRICTER: &str = "private state; what it forbids is judged by the path alone";

const fn tasked(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Process, TASKED)
}

const fn asked(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(SELF)
}

const fn user(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(USER)
}

const fn policy(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(RANGE)
}

const fn neutral(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).zero(NEUTRAL).tested("what_the_host_lends_is_answered_with_zero")
}

/// The resource is this argument, and it is the limit on time.
const fn time_limit(arg: u8) -> Case {
    trap(arg, Test::OneOf(&[libc::RLIMIT_CPU as u64]), Class::Identity)
}

const fn limit(name: &'static str, number: i64, cases: &'static [Case], why: &'static str) -> Row {
    row(name, number, why).native(LIMIT).but(cases).tested("the_limit_on_time_reaches_the_supervisor")
}

/// Tasks that come, go and wait for each other.
pub(super) const TASKS: Part = part(
    "tasks_that_come_and_go_reach_the_supervisor",
    &[
        tasked("clone", libc::SYS_clone, "threads and processes yes, new namespaces no")
            .only(Rule::Masked { arg: 0, mask: NAMESPACE_FLAGS, value: 0 })
            .but(&[
                refuse(0, Test::AnyBit(libc::CLONE_UNTRACED as u64), libc::EPERM),
                refuse(0, Test::AnyBit(libc::CLONE_PIDFD as u64), libc::EINVAL),
            ])
            .tested("new_namespaces_and_untraced_tasks_are_refused"),
        tasked("fork", libc::SYS_fork, "bounded by the pids limit"),
        tasked("vfork", libc::SYS_vfork, "bounded by the pids limit"),
        tasked("execve", libc::SYS_execve, "no_new_privs: never gains a privilege"),
        tasked("execveat", libc::SYS_execveat, "no_new_privs: never gains a privilege"),
        tasked("exit", libc::SYS_exit, "ends the thread"),
        tasked("exit_group", libc::SYS_exit_group, "ends the process"),
        tasked("wait4", libc::SYS_wait4, "own children"),
        tasked("waitid", libc::SYS_waitid, "own children"),
        tasked("set_tid_address", libc::SYS_set_tid_address, "thread bookkeeping"),
        row("unshare", libc::SYS_unshare, "own descriptor table yes, new namespaces no")
            .only(Rule::Masked { arg: 0, mask: NAMESPACE_FLAGS | CLONE_NEWTIME, value: 0 })
            .native("only parts a private table from shared ones")
            .tested("new_namespaces_and_untraced_tasks_are_refused"),
        row("pidfd_open", libc::SYS_pidfd_open, "handle on a process of the cage")
            .absent("looks missing: its readiness is not modelled; callers fall back to waits")
            .tested("what_is_not_offered_looks_missing"),
        row("rseq", libc::SYS_rseq, "own thread")
            .absent("looks missing: it shows the CPU number and each preemption by the host")
            .tested("what_is_not_offered_looks_missing"),
    ],
);

/// Waits on words of memory.
pub(super) const FUTEXES: Part = part(
    "futexes_reach_the_supervisor",
    &[
        row("futex", libc::SYS_futex, "own memory").trap(Class::Futex, ASLEEP),
        row("set_robust_list", libc::SYS_set_robust_list, "thread bookkeeping").trap(Class::Futex, ASLEEP),
        row("get_robust_list", libc::SYS_get_robust_list, "thread bookkeeping, own user only")
            .trap(Class::Futex, ASLEEP),
        row("futex_waitv", libc::SYS_futex_waitv, "own memory").absent(MODERN_FUTEX),
        row("futex_wake", 454, "own memory").absent(MODERN_FUTEX),
        row("futex_wait", 455, "own memory").absent(MODERN_FUTEX),
        row("futex_requeue", 456, "own memory").absent(MODERN_FUTEX),
    ],
);

/// Numbers and rights of the caller.
pub(super) const IDENTITY: Part = part(
    "private_state_runs_untrapped",
    &[
        asked("getpid", libc::SYS_getpid, "own identity"),
        asked("getppid", libc::SYS_getppid, "own identity"),
        asked("gettid", libc::SYS_gettid, "own identity"),
        asked("getpgid", libc::SYS_getpgid, "own namespace"),
        asked("setpgid", libc::SYS_setpgid, "own namespace"),
        asked("getpgrp", libc::SYS_getpgrp, "own namespace"),
        asked("getsid", libc::SYS_getsid, "own namespace"),
        asked("setsid", libc::SYS_setsid, "own namespace"),
        user("getuid", libc::SYS_getuid, "own identity"),
        user("geteuid", libc::SYS_geteuid, "own identity"),
        user("getgid", libc::SYS_getgid, "own identity"),
        user("getegid", libc::SYS_getegid, "own identity"),
        user("getresuid", libc::SYS_getresuid, "own identity"),
        user("getresgid", libc::SYS_getresgid, "own identity"),
        row("getgroups", libc::SYS_getgroups, "own identity")
            .zero("none: without root the launcher cannot drop those of the host's user")
            .tested("what_the_host_lends_is_answered_with_zero"),
        user("setuid", libc::SYS_setuid, "no CAP_SETUID: cannot gain"),
        user("setgid", libc::SYS_setgid, "no CAP_SETGID: cannot gain"),
        user("setreuid", libc::SYS_setreuid, "no CAP_SETUID: cannot gain"),
        user("setregid", libc::SYS_setregid, "no CAP_SETGID: cannot gain"),
        user("setresuid", libc::SYS_setresuid, "no CAP_SETUID: cannot gain"),
        user("setresgid", libc::SYS_setresgid, "no CAP_SETGID: cannot gain"),
        user("setgroups", libc::SYS_setgroups, "no CAP_SETGID: refused by the kernel with its own errno"),
        user("setfsuid", libc::SYS_setfsuid, "no CAP_SETUID: cannot gain"),
        user("setfsgid", libc::SYS_setfsgid, "no CAP_SETGID: cannot gain"),
        user("capget", libc::SYS_capget, "reads an empty set"),
        user("capset", libc::SYS_capset, "the bounding set is empty: nothing can be added"),
    ],
);

/// Policy, limits and CPUs.
pub(super) const SCHEDULING: Part = part(
    "private_state_runs_untrapped",
    &[
        row("uname", libc::SYS_uname, "the cage's own host name")
            .trap(Class::Identity, "one fixed release and host name")
            .tested(MACHINE),
        row("getcpu", libc::SYS_getcpu, "CPU facts").trap(Class::Identity, ONE_CPU).tested(MACHINE),
        row("sched_getaffinity", libc::SYS_sched_getaffinity, "CPU facts")
            .trap(Class::Identity, ONE_CPU)
            .tested(MACHINE),
        row("sched_setaffinity", libc::SYS_sched_setaffinity, "only narrows what the cpuset allows")
            .trap(Class::Identity, ONE_CPU)
            .tested(MACHINE),
        limit("getrlimit", libc::SYS_getrlimit, &[time_limit(0)], "own limits"),
        limit("setrlimit", libc::SYS_setrlimit, &[time_limit(0)], "hard limits only go down"),
        limit(
            "prlimit64",
            libc::SYS_prlimit64,
            &[time_limit(1)],
            "hard limits only go down; other processes are the cage's own",
        ),
        policy("sched_get_priority_max", libc::SYS_sched_get_priority_max, "constant"),
        policy("sched_get_priority_min", libc::SYS_sched_get_priority_min, "constant"),
        row("sched_getparam", libc::SYS_sched_getparam, "own scheduling")
            .trap(Class::Identity, "priority 0, as of every ordinary task")
            .tested(MACHINE),
        row("getpriority", libc::SYS_getpriority, "own scheduling")
            .trap(Class::Identity, "niceness 0, whatever the launcher inherited")
            .tested(MACHINE),
        neutral("sched_getscheduler", libc::SYS_sched_getscheduler, "own scheduling"),
        neutral("sched_setparam", libc::SYS_sched_setparam, "RLIMIT_RTPRIO is 0"),
        neutral("sched_setscheduler", libc::SYS_sched_setscheduler, "RLIMIT_RTPRIO is 0").but(&[refuse(
            1,
            Test::OneOf(PRIVILEGED_POLICIES),
            libc::EPERM,
        )]),
        neutral("setpriority", libc::SYS_setpriority, "RLIMIT_NICE is 0: only downwards").but(&[refuse(
            2,
            Test::AnyBit(1 << 31),
            libc::EACCES,
        )]),
        neutral("ioprio_get", libc::SYS_ioprio_get, "own scheduling"),
        neutral("ioprio_set", libc::SYS_ioprio_set, "real-time class needs a capability"),
        row("sched_rr_get_interval", libc::SYS_sched_rr_get_interval, "length of an own time slice")
            .absent("looks missing: the slice grows with the host's CPUs")
            .tested("what_is_not_offered_looks_missing"),
        row("sched_getattr", libc::SYS_sched_getattr, "own scheduling")
            .absent("looks missing: it shows the slice")
            .tested("what_is_not_offered_looks_missing"),
        row("sched_setattr", libc::SYS_sched_setattr, "RLIMIT_RTPRIO is 0")
            .absent("looks missing: it sets what sched_getattr does not show")
            .tested("what_is_not_offered_looks_missing"),
    ],
);

const MACHINE: &str = "facts_about_the_machine_reach_the_supervisor";

/// Settings of the caller, judged by what is asked for.
pub(super) const SETTINGS: Part = part(
    "settings_that_loosen_are_refused",
    &[
        row("prctl", libc::SYS_prctl, "names, timers, death signals and stricter settings only")
            .only(Rule::OneOf { arg: 0, values: PRCTLS })
            .native("own settings; a filter of the program's own and the host's timer slack look unknown")
            .but(&[refuse(0, Test::OneOf(UNPINNED_PRCTLS), libc::EINVAL)]),
        row("arch_prctl", libc::SYS_arch_prctl, "thread pointers and vector state; no CPUID or vDSO games")
            .only(Rule::OneOf { arg: 0, values: ARCH_PRCTLS })
            .native("own registers, and facts of the CPU class that the report names"),
        row("personality", libc::SYS_personality, "asking and the default only")
            .only(Rule::OneOf { arg: 0, values: &[0, 0xffff_ffff] })
            .native("asking gives a constant; the default would randomise the layout again and is refused")
            .but(&[refuse(0, Test::OneOf(&[0]), libc::EPERM)]),
        row("seccomp", libc::SYS_seccomp, "filters only add up, never loosen").absent(
            "looks missing: a filter of the program's own could answer before the supervisor sees a call",
        ),
        row("landlock_create_ruleset", libc::SYS_landlock_create_ruleset, "only makes the cage stricter")
            .native(STRICTER)
            .tested("private_state_runs_untrapped"),
        row("landlock_add_rule", libc::SYS_landlock_add_rule, "only makes the cage stricter")
            .native(STRICTER)
            .tested("private_state_runs_untrapped"),
        row("landlock_restrict_self", libc::SYS_landlock_restrict_self, "only makes the cage stricter")
            .native(STRICTER)
            .tested("private_state_runs_untrapped"),
    ],
);
