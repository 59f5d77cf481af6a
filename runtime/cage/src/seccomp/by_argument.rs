//! The system call table, part calls judged by argument: what is allowed only with the arguments listed.
//!
//! Owns data only. A row is a name, its number, what the cage does with it, and why that is safe. It refuses
//! to hold logic: `seccomp::compile` turns rows into a filter and `seccomp::tests` check that no known call
//! is missing.

use super::{Row, Rule, row};

/// Every flag of `clone` and `unshare` that makes a namespace (all but time, whose bit `clone` uses for a
/// signal).
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// `CLONE_NEWTIME`, which only `unshare` and `clone3` take.
const CLONE_NEWTIME: u64 = 0x80;
/// The file type bits of a mode.
const S_IFMT: u64 = libc::S_IFMT as u64;

/// Node types that carry no device number. Zero means a regular file.
const NODE_TYPES: &[u64] = &[0, libc::S_IFREG as u64, libc::S_IFIFO as u64, libc::S_IFSOCK as u64];

/// Requests on terminals, readiness, and read-only facts about interfaces.
const IOCTLS: &[u64] = &[
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TCFLSH,
    libc::TCSBRK,
    libc::TIOCGWINSZ,
    libc::TIOCSWINSZ,
    libc::TIOCGPGRP,
    libc::TIOCSPGRP,
    libc::TIOCGSID,
    libc::TIOCOUTQ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOASYNC,
    libc::FIOCLEX,
    libc::FIONCLEX,
    libc::SIOCGIFCONF,
    libc::SIOCGIFFLAGS,
    libc::SIOCGIFADDR,
    libc::SIOCGIFNETMASK,
    libc::SIOCGIFBRDADDR,
    libc::SIOCGIFMTU,
    libc::SIOCGIFINDEX,
    SIOCGIFNAME,
    SIOCATMARK,
];
const SIOCGIFNAME: u64 = 0x8910;
const SIOCATMARK: u64 = 0x8905;

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

/// Thread pointers, shadow-stack status and the permission to use large vector state.
const ARCH_PRCTLS: &[u64] = &[0x1001, 0x1002, 0x1003, 0x1004, 0x1021, 0x1022, 0x1023, 0x3001, 0x5005];

/// Allowed under the condition given.
pub(super) const BY_ARGUMENT: &[Row] = &[
    row(
        "clone",
        libc::SYS_clone,
        Rule::Masked { arg: 0, mask: NAMESPACE_FLAGS, value: 0 },
        "threads and processes yes, new namespaces no",
    ),
    row(
        "unshare",
        libc::SYS_unshare,
        Rule::Masked { arg: 0, mask: NAMESPACE_FLAGS | CLONE_NEWTIME, value: 0 },
        "own descriptor table yes, new namespaces no",
    ),
    row(
        "socket",
        libc::SYS_socket,
        Rule::Sockets,
        "unix, IPv4 and IPv6 in their plain types only: vsock is not namespaced, the rest is attack surface",
    ),
    row(
        "socketpair",
        libc::SYS_socketpair,
        Rule::OneOf { arg: 0, values: &[libc::AF_UNIX as u64] },
        "unix pairs only",
    ),
    row(
        "ioctl",
        libc::SYS_ioctl,
        Rule::OneOf { arg: 1, values: IOCTLS },
        "terminals, readiness and interface facts; TIOCSTI and everything unknown refused",
    ),
    row(
        "prctl",
        libc::SYS_prctl,
        Rule::OneOf { arg: 0, values: PRCTLS },
        "names, timers, death signals and stricter settings only",
    ),
    row(
        "arch_prctl",
        libc::SYS_arch_prctl,
        Rule::OneOf { arg: 0, values: ARCH_PRCTLS },
        "thread pointers and vector-state permission; no CPUID or vDSO games",
    ),
    row(
        "personality",
        libc::SYS_personality,
        Rule::OneOf { arg: 0, values: &[0, 0xffff_ffff] },
        "asking and the default only",
    ),
    row(
        "mknod",
        libc::SYS_mknod,
        Rule::MaskedOneOf { arg: 1, mask: S_IFMT, values: NODE_TYPES },
        "files, FIFOs and sockets; never devices, not even overlay whiteouts",
    ),
    row(
        "mknodat",
        libc::SYS_mknodat,
        Rule::MaskedOneOf { arg: 2, mask: S_IFMT, values: NODE_TYPES },
        "as mknod",
    ),
];
