//! Rows: bytes over descriptors, the descriptors themselves, and waiting for them.
//!
//! Owns data only. At `pinned` whatever may have to wait for another task goes to the supervisor, which performs
//! it without waiting and parks the task; what acts at an offset of a regular file cannot wait and runs untrapped.

use super::super::{Class, Rule, Test};
use super::{Part, Row, missing, part, refuse, row, trap};

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

/// Requests of `fcntl` that lock, or that make signals, or that change how a wait behaves.
const LOCKS: &[u64] = &[
    libc::F_SETLK as u64,
    libc::F_SETLKW as u64,
    libc::F_OFD_SETLK as u64,
    libc::F_OFD_SETLKW as u64,
    libc::F_SETFL as u64,
    libc::F_SETOWN as u64,
    F_SETSIG,
    F_SETOWN_EX,
    libc::F_SETLEASE as u64,
    libc::F_NOTIFY as u64,
];
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;

const MOVED: &str =
    "performed without waiting; a task that would wait is parked and tried again in task order";
const AT_OFFSET: &str =
    "a regular file never waits and its content is private; pipes and sockets answer ESPIPE";
const OWN: &str = "the lowest free number; content and offset are private and serialised";
const COUNTER: &str = "makes a private counter; its reads are trapped";
const WAITED: &str = "asked with no wait; a task that would wait is parked, its deadline is logical";
const WAIT_SET: &str = "the set is private and its waits are trapped";
const WATCHED: &str =
    "looks missing: its events carry a counter of the whole host; callers fall back to asking again";
const AIO: &str =
    "looks missing: its completions come when the host pleases; callers fall back to reads and writes";

const fn moved(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Streams, MOVED)
}

const fn at_offset(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(AT_OFFSET).tested(PRIVATE)
}

const fn waited(name: &'static str, number: i64) -> Row {
    row(name, number, "waits on held descriptors").trap(Class::Readiness, WAITED)
}

const PRIVATE: &str = "private_state_runs_untrapped";

/// Bytes that move.
pub(super) const BYTES: Part = part(
    "streams_reach_the_supervisor_and_offsets_do_not",
    &[
        moved("read", libc::SYS_read, "moves bytes over a descriptor already held"),
        moved("write", libc::SYS_write, "moves bytes over a descriptor already held"),
        moved("readv", libc::SYS_readv, "read into several buffers"),
        moved("writev", libc::SYS_writev, "write from several buffers"),
        moved("preadv2", libc::SYS_preadv2, "preadv with per-call flags, also at no offset"),
        moved("pwritev2", libc::SYS_pwritev2, "pwritev with per-call flags, also at no offset"),
        moved("sendfile", libc::SYS_sendfile, "copies between held descriptors"),
        moved("splice", libc::SYS_splice, "moves pages between held descriptors"),
        moved("tee", libc::SYS_tee, "copies pipe pages"),
        moved("vmsplice", libc::SYS_vmsplice, "maps own pages into an own pipe"),
        at_offset("pread64", libc::SYS_pread64, "read at an offset"),
        at_offset("pwrite64", libc::SYS_pwrite64, "write at an offset"),
        at_offset("preadv", libc::SYS_preadv, "readv at an offset"),
        at_offset("pwritev", libc::SYS_pwritev, "writev at an offset"),
        at_offset("copy_file_range", libc::SYS_copy_file_range, "copies between held files"),
        missing(
            "io_setup",
            libc::SYS_io_setup,
            "counted for the whole machine: one cage could take all there is; callers fall back to reads and writes",
        ),
        row("io_destroy", libc::SYS_io_destroy, "as io_setup").absent(AIO),
        row("io_submit", libc::SYS_io_submit, "as io_setup").absent(AIO),
        row("io_getevents", libc::SYS_io_getevents, "as io_setup").absent(AIO),
        row("io_pgetevents", 333, "as io_setup").absent(AIO),
        row("io_cancel", libc::SYS_io_cancel, "as io_setup").absent(AIO),
    ],
);

/// Descriptors, their settings and locks.
pub(super) const DESCRIPTORS: Part = part(
    PRIVATE,
    &[
        row("dup", libc::SYS_dup, "copies a descriptor within the process").native(OWN),
        row("dup2", libc::SYS_dup2, "copies a descriptor within the process").native(OWN),
        row("dup3", libc::SYS_dup3, "copies a descriptor within the process").native(OWN),
        row("pipe", libc::SYS_pipe, "private channel").native(OWN),
        row("pipe2", libc::SYS_pipe2, "private channel").native(OWN),
        row("memfd_create", libc::SYS_memfd_create, "anonymous file charged to the cage's memory")
            .native("the lowest free number, an empty file; huge pages are the host's and not offered")
            .but(&[refuse(1, Test::AnyBit(libc::MFD_HUGETLB as u64), libc::EINVAL)])
            .tested("huge_pages_are_not_offered"),
        row("eventfd", libc::SYS_eventfd, "private counter").native(COUNTER),
        row("eventfd2", libc::SYS_eventfd2, "private counter").native(COUNTER),
        row(
            "fcntl",
            libc::SYS_fcntl,
            "flags, locks and copies of held descriptors; locks are private to the cage's own files",
        )
        .native("private settings; locks wait in task order, signals of descriptors are the supervisor's")
        .but(&[trap(1, Test::OneOf(LOCKS), Class::Locks)])
        .tested("locks_and_their_like_reach_the_supervisor"),
        row("flock", libc::SYS_flock, "locks a held file, and every file held is the cage's own")
            .trap(Class::Locks, "tried without waiting; a task that would wait is parked")
            .tested("locks_and_their_like_reach_the_supervisor"),
        row(
            "ioctl",
            libc::SYS_ioctl,
            "terminals, readiness and interface facts; TIOCSTI and everything unknown refused",
        )
        .only(Rule::OneOf { arg: 1, values: IOCTLS })
        .native(
            "facts of the cage's own streams and of lo; the settings that fcntl traps are trapped here too",
        )
        .but(&[trap(1, Test::OneOf(&[libc::FIONBIO, libc::FIOASYNC]), Class::Locks)])
        .tested("ioctls_off_the_list_are_refused"),
    ],
);

/// Waiting for several descriptors.
pub(super) const READINESS: Part = part(
    "waits_for_descriptors_reach_the_supervisor",
    &[
        waited("poll", libc::SYS_poll),
        waited("ppoll", libc::SYS_ppoll),
        waited("select", libc::SYS_select),
        waited("pselect6", libc::SYS_pselect6),
        waited("epoll_wait", libc::SYS_epoll_wait),
        waited("epoll_pwait", libc::SYS_epoll_pwait),
        waited("epoll_pwait2", libc::SYS_epoll_pwait2),
        row("epoll_create", libc::SYS_epoll_create, "own wait set").native(WAIT_SET).tested(PRIVATE),
        row("epoll_create1", libc::SYS_epoll_create1, "own wait set").native(WAIT_SET).tested(PRIVATE),
        row("epoll_ctl", libc::SYS_epoll_ctl, "own wait set").native(WAIT_SET).tested(PRIVATE),
    ],
);

/// Watching files.
pub(super) const WATCHES: Part = part(
    "what_is_not_offered_looks_missing",
    &[
        row(
            "inotify_init",
            libc::SYS_inotify_init,
            "watches the cage's own files; watch count is bounded per user",
        )
        .absent(WATCHED),
        row("inotify_init1", libc::SYS_inotify_init1, "as inotify_init").absent(WATCHED),
        row("inotify_add_watch", libc::SYS_inotify_add_watch, "as inotify_init").absent(WATCHED),
        row("inotify_rm_watch", libc::SYS_inotify_rm_watch, "as inotify_init").absent(WATCHED),
    ],
);
