//! Rows: sockets.
//!
//! Owns data only. Families are filtered where sockets are made, and the namespace holds only lo. At `pinned` the
//! supervisor performs what moves bytes or waits; the other end is a task of the cage or a recording.

use super::super::{Class, Rule, Test};
use super::{Part, Row, part, row, trap};

/// Options whose value is the host's: buffer sizes and congestion control from its settings, counters, CPUs and
/// measured times. Options of different layers share numbers; the supervisor tells them apart.
const HOST_OPTIONS: &[u64] = &[
    libc::SO_SNDBUF as u64,
    libc::SO_RCVBUF as u64,
    libc::TCP_INFO as u64,
    libc::TCP_CONGESTION as u64,
    TCP_TIMESTAMP,
    TCP_CC_INFO,
    libc::SO_BUSY_POLL as u64,
    libc::SO_INCOMING_CPU as u64,
    SO_MEMINFO,
    libc::SO_INCOMING_NAPI_ID as u64,
    libc::SO_COOKIE as u64,
    SO_NETNS_COOKIE,
];
const TCP_TIMESTAMP: u64 = 24;
const TCP_CC_INFO: u64 = 26;
const SO_MEMINFO: u64 = 55;
const SO_NETNS_COOKIE: u64 = 71;

/// Options that make the host's time visible, that make a call wait by it, or that keep the kernel from tuning buffers
/// by it.
const TIMED_OPTIONS: &[u64] = &[
    libc::SO_SNDBUF as u64,
    libc::SO_RCVBUF as u64,
    libc::SO_LINGER as u64,
    libc::TCP_USER_TIMEOUT as u64,
    libc::SO_RCVTIMEO as u64,
    libc::SO_SNDTIMEO as u64,
    SO_RCVTIMEO_NEW,
    SO_SNDTIMEO_NEW,
    libc::SO_TIMESTAMP as u64,
    libc::SO_TIMESTAMPNS as u64,
    libc::SO_TIMESTAMPING as u64,
    SO_TIMESTAMP_NEW,
    SO_TIMESTAMPNS_NEW,
    SO_TIMESTAMPING_NEW,
    libc::SO_TXTIME as u64,
];
const SO_TIMESTAMP_NEW: u64 = 63;
const SO_TIMESTAMPNS_NEW: u64 = 64;
const SO_TIMESTAMPING_NEW: u64 = 65;
const SO_RCVTIMEO_NEW: u64 = 66;
const SO_SNDTIMEO_NEW: u64 = 67;

const MADE: &str = "the lowest free number; a new socket has no state but its family and type";
const NAMED: &str = "follows from binds and connections, whose ports the supervisor makes repeat";
const MOVED: &str = "performed without waiting; a task that would wait is parked, its deadline is logical";

const fn moved(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Sockets, MOVED)
}

/// Sockets and what goes through them.
pub(super) const SOCKETS: Part = part(
    "sockets_reach_the_supervisor",
    &[
        row(
            "socket",
            libc::SYS_socket,
            "unix, IPv4 and IPv6 in their plain types only: vsock is not namespaced, the rest is attack surface",
        )
        .only(Rule::Sockets)
        .native(MADE)
        .tested("sockets_off_the_list_are_refused"),
        row("socketpair", libc::SYS_socketpair, "unix pairs only")
            .only(Rule::OneOf { arg: 0, values: &[libc::AF_UNIX as u64] })
            .native(MADE)
            .tested("sockets_off_the_list_are_refused"),
        moved("bind", libc::SYS_bind, "own network namespace"),
        moved("connect", libc::SYS_connect, "own network namespace"),
        moved("accept", libc::SYS_accept, "own network namespace"),
        moved("accept4", libc::SYS_accept4, "own network namespace"),
        moved("sendto", libc::SYS_sendto, "own socket"),
        moved("recvfrom", libc::SYS_recvfrom, "own socket"),
        moved("sendmsg", libc::SYS_sendmsg, "own socket; descriptors passed stay in the cage"),
        moved("recvmsg", libc::SYS_recvmsg, "own socket"),
        moved("sendmmsg", libc::SYS_sendmmsg, "own socket"),
        moved("recvmmsg", libc::SYS_recvmmsg, "own socket"),
        moved("shutdown", libc::SYS_shutdown, "own socket"),
        moved("listen", libc::SYS_listen, "own network namespace; a socket without a port gets one"),
        row("getsockname", libc::SYS_getsockname, "own socket").native(NAMED).tested(PRIVATE),
        row("getpeername", libc::SYS_getpeername, "own socket").native(NAMED).tested(PRIVATE),
        row("getsockopt", libc::SYS_getsockopt, "own socket")
            .native("the socket's own state; options that show the host are answered or refused")
            .but(&[trap(2, Test::OneOf(HOST_OPTIONS), Class::Sockets)]),
        row("setsockopt", libc::SYS_setsockopt, "own socket; privileged options need capabilities")
            .native("the socket's own state; time limits become logical and time stamps are refused")
            .but(&[trap(2, Test::OneOf(TIMED_OPTIONS), Class::Sockets)]),
    ],
);

const PRIVATE: &str = "private_state_runs_untrapped";
