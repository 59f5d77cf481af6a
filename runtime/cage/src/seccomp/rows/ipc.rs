//! Rows: System V and POSIX queues, semaphores and shared memory of the cage's own ipc namespace.
//!
//! Owns data only. At `pinned` what can wait in the kernel looks missing, because its waits are not modelled:
//! semaphores and queues. Shared memory cannot wait.

use super::super::{Class, Test};
use super::{Part, Row, part, refuse, row, trap};

/// Requests of `shmctl` that show times or figures of the host: `IPC_STAT`, `IPC_INFO`, `SHM_STAT`, `SHM_INFO`,
/// `SHM_STAT_ANY`.
const SHM_FACTS: &[u64] = &[2, 3, 13, 14, 15];

const SHM_HUGETLB: u64 = libc::SHM_HUGETLB as u64;

const UNMODELLED: &str = "looks missing: waits in the kernel for another task are not modelled here";
const SEGMENT: &str = "numbers and addresses follow from the cage's own serialised calls";

const fn queue(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).absent(UNMODELLED)
}

/// What waits.
pub(super) const QUEUES: Part = part(
    "what_is_not_offered_looks_missing",
    &[
        queue("semget", libc::SYS_semget, "own ipc namespace"),
        queue("semop", libc::SYS_semop, "own ipc namespace"),
        queue("semtimedop", libc::SYS_semtimedop, "own ipc namespace"),
        queue("semctl", libc::SYS_semctl, "own ipc namespace"),
        queue("msgget", libc::SYS_msgget, "own ipc namespace"),
        queue("msgsnd", libc::SYS_msgsnd, "own ipc namespace"),
        queue("msgrcv", libc::SYS_msgrcv, "own ipc namespace"),
        queue("msgctl", libc::SYS_msgctl, "own ipc namespace"),
        queue("mq_open", libc::SYS_mq_open, "own ipc namespace, bounded by RLIMIT_MSGQUEUE"),
        queue("mq_unlink", libc::SYS_mq_unlink, "own ipc namespace"),
        queue("mq_timedsend", libc::SYS_mq_timedsend, "own ipc namespace"),
        queue("mq_timedreceive", libc::SYS_mq_timedreceive, "own ipc namespace"),
        queue("mq_notify", libc::SYS_mq_notify, "own ipc namespace"),
        queue("mq_getsetattr", libc::SYS_mq_getsetattr, "own ipc namespace"),
    ],
);

/// Asks for an executable segment, whose code could not be looked through.
const SHM_EXEC: u64 = 0o100_000;

/// What is mapped.
pub(super) const SHARED_MEMORY: Part = part(
    "private_state_runs_untrapped",
    &[
        row("shmget", libc::SYS_shmget, "own ipc namespace, charged to the cage's memory")
            .native("numbers follow from the cage's own serialised calls; huge pages are the host's and not offered")
            .but(&[refuse(2, Test::AnyBit(SHM_HUGETLB), libc::ENOMEM)])
            .tested("huge_pages_are_not_offered"),
        row("shmat", libc::SYS_shmat, "own ipc namespace")
            .native(SEGMENT)
            .but(&[refuse(2, Test::AnyBit(SHM_EXEC), libc::EINVAL)])
            .tested("code_does_not_move_unseen"),
        row("shmdt", libc::SYS_shmdt, "own ipc namespace").native(SEGMENT),
        row("shmctl", libc::SYS_shmctl, "own ipc namespace")
            .native("run by the kernel; where times or figures of the host are asked for, the supervisor answers")
            .but(&[trap(1, Test::OneOf(SHM_FACTS), Class::Metadata)])
            .tested("metadata_reaches_the_supervisor"),
    ],
);
