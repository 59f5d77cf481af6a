//! The rows of the system call table, in parts by subject, and the index made of them while compiling.
//!
//! Owns data only: a row is a name, a number, what each level does with the call, why that is safe, why its
//! result can be trusted to repeat, and the test that shows it. It refuses to hold logic. Invariants, broken
//! only by a build that fails: numbers are unique and below [`SIZE`]; no reason and no test name is missing.

mod files;
mod ipc;
mod memory;
mod process;
mod refused;
mod sockets;
mod streams;
mod time;

use super::{Case, Class, Pinned, Row, Rule, Test};

/// Numbers that the index has room for; the kernel's are below.
pub(super) const SIZE: usize = 512;

/// Every row at the place of its number.
pub(super) static TABLE: [Option<Row>; SIZE] = index(&[
    files::OPENING,
    files::NAMES,
    files::METADATA,
    files::ATTRIBUTES,
    streams::BYTES,
    streams::DESCRIPTORS,
    streams::READINESS,
    streams::WATCHES,
    memory::MAPPINGS,
    memory::PAGES,
    process::TASKS,
    process::FUTEXES,
    process::IDENTITY,
    process::SCHEDULING,
    process::SETTINGS,
    time::CLOCKS,
    time::WAITS,
    time::TIMERS,
    time::SIGNALS,
    sockets::SOCKETS,
    ipc::QUEUES,
    ipc::SHARED_MEMORY,
    refused::HOST,
    refused::PROCESSES,
    refused::KERNEL,
    refused::OBSOLETE,
    refused::MISSING,
]);

/// Sockets that may be made: (family, type without flags, protocol or any).
pub(super) const SOCKETS: &[(i32, i32, Option<i32>)] = &[
    (libc::AF_UNIX, libc::SOCK_STREAM, None),
    (libc::AF_UNIX, libc::SOCK_DGRAM, None),
    (libc::AF_UNIX, libc::SOCK_SEQPACKET, None),
    (libc::AF_INET, libc::SOCK_STREAM, Some(0)),
    (libc::AF_INET, libc::SOCK_STREAM, Some(libc::IPPROTO_TCP)),
    (libc::AF_INET, libc::SOCK_DGRAM, Some(0)),
    (libc::AF_INET, libc::SOCK_DGRAM, Some(libc::IPPROTO_UDP)),
    (libc::AF_INET6, libc::SOCK_STREAM, Some(0)),
    (libc::AF_INET6, libc::SOCK_STREAM, Some(libc::IPPROTO_TCP)),
    (libc::AF_INET6, libc::SOCK_DGRAM, Some(0)),
    (libc::AF_INET6, libc::SOCK_DGRAM, Some(libc::IPPROTO_UDP)),
];

/// A row that no later word has narrowed: allowed at `contained`, untrapped at `pinned`.
const fn row(name: &'static str, number: i64, why: &'static str) -> Row {
    Row {
        name,
        number,
        contained: Rule::Allow,
        pinned: Pinned::Native,
        cases: &[],
        why,
        follows: "",
        test: "",
    }
}

/// A row refused with `EPERM` at every level.
const fn refused(name: &'static str, number: i64, why: &'static str) -> Row {
    let row = row(name, number, why);
    Row { contained: Rule::Errno(libc::EPERM), pinned: Pinned::Errno(libc::EPERM), follows: CONSTANT, ..row }
}

/// A row answered at every level as a kernel without the call would.
const fn missing(name: &'static str, number: i64, why: &'static str) -> Row {
    let row = row(name, number, why);
    Row {
        contained: Rule::Errno(libc::ENOSYS),
        pinned: Pinned::Errno(libc::ENOSYS),
        follows: CONSTANT,
        ..row
    }
}

/// Why a refusal repeats.
const CONSTANT: &str = "the errno is a constant";

impl Row {
    /// Allowed at `contained` under this rule only.
    const fn only(self, contained: Rule) -> Self {
        Self { contained, ..self }
    }

    /// Untrapped at `pinned`, because its result follows.
    const fn native(self, follows: &'static str) -> Self {
        Self { pinned: Pinned::Native, follows, ..self }
    }

    /// Trapped at `pinned`.
    const fn trap(self, class: Class, follows: &'static str) -> Self {
        Self { pinned: Pinned::Trap(class), follows, ..self }
    }

    /// Not made at `pinned`; zero is the answer.
    const fn zero(self, follows: &'static str) -> Self {
        Self { pinned: Pinned::Zero, follows, ..self }
    }

    /// Something else at `pinned` for some values of arguments.
    const fn but(self, cases: &'static [Case]) -> Self {
        Self { cases, ..self }
    }

    /// Answered at `pinned` as a kernel without the call would.
    const fn absent(self, follows: &'static str) -> Self {
        Self { pinned: Pinned::Errno(libc::ENOSYS), follows, ..self }
    }

    /// Covered by this test instead of its part's.
    const fn tested(self, test: &'static str) -> Self {
        Self { test, ..self }
    }
}

/// A case that traps.
const fn trap(arg: u8, test: Test, class: Class) -> Case {
    Case { arg, test, then: Pinned::Trap(class) }
}

/// A case that refuses.
const fn refuse(arg: u8, test: Test, errno: i32) -> Case {
    Case { arg, test, then: Pinned::Errno(errno) }
}

/// Rows of one subject, and the test that covers those which name none.
struct Part {
    test: &'static str,
    rows: &'static [Row],
}

const fn part(test: &'static str, rows: &'static [Row]) -> Part {
    Part { test, rows }
}

/// Puts every row at its number.
const fn index(parts: &[Part]) -> [Option<Row>; SIZE] {
    let mut table = [None; SIZE];
    let mut p = 0;
    while p < parts.len() {
        let mut r = 0;
        while r < parts[p].rows.len() {
            let mut row = parts[p].rows[r];
            if row.test.is_empty() {
                row.test = parts[p].test;
            }
            assert!(row.number >= 0 && row.number < SIZE as i64, "a number outside the table");
            assert!(table[row.number as usize].is_none(), "two rows for one number");
            assert!(!row.name.is_empty() && row.why.len() >= 6, "a row without a reason");
            assert!(row.follows.len() >= 6, "a row that does not say why its result repeats");
            assert!(!row.test.is_empty(), "a row without a test");
            if let Rule::Errno(refused) = row.contained {
                let same = matches!(row.pinned, Pinned::Errno(errno) if errno == refused);
                assert!(same, "what is refused at contained is refused at pinned");
            }
            table[row.number as usize] = Some(row);
            r += 1;
        }
        p += 1;
    }
    table
}
