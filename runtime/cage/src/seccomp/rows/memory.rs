//! Rows: the process's own address space, bounded by the memory limit.
//!
//! Owns data only. At `pinned` address space layout is not randomised, so addresses follow from the calls before;
//! executable mappings go to the supervisor, which looks for instructions that it must emulate.

use super::super::{Case, Class, Test};
use super::{Part, Row, part, refuse, row, trap};

const PROT_EXEC: u64 = libc::PROT_EXEC as u64;

const MAP_HUGETLB: u64 = libc::MAP_HUGETLB as u64;

/// Advice that makes content or result depend on what else the host does. `MADV_FREE` is the important one:
/// whether the old bytes are still there later is the host's memory pressure.
const HOST_ADVICE: &[u64] =
    &[libc::MADV_FREE as u64, MADV_COLLAPSE, libc::MADV_HWPOISON as u64, MADV_SOFT_OFFLINE];
const MADV_COLLAPSE: u64 = 25;
const MADV_SOFT_OFFLINE: u64 = 101;

const LAYOUT: &str = "no randomised layout: addresses follow from the program and its earlier calls";
const SCANNED: &str = "addresses follow from earlier calls; executable pages are searched for instructions that must \
    be emulated; huge pages are the host's and not offered";
const NO_RESULT: &str = "changes no content and tells nothing";

/// Executable pages are asked for.
const EXECUTABLE: &[Case] = &[trap(2, Test::AnyBit(PROT_EXEC), Class::Memory)];

const fn own(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(LAYOUT)
}

const fn quiet(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(NO_RESULT)
}

const fn scanned(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(SCANNED).but(EXECUTABLE).tested("executable_mappings_reach_the_supervisor")
}

/// Mappings.
pub(super) const MAPPINGS: Part = part(
    "private_state_runs_untrapped",
    &[
        scanned("mmap", libc::SYS_mmap, "own address space; executable pages are needed by every JIT").but(
            &[
                refuse(3, Test::AnyBit(MAP_HUGETLB), libc::ENOMEM),
                trap(2, Test::AnyBit(PROT_EXEC), Class::Memory),
            ],
        ),
        scanned(
            "mprotect",
            libc::SYS_mprotect,
            "own address space; executable pages are needed by every JIT",
        ),
        scanned("pkey_mprotect", libc::SYS_pkey_mprotect, "own protection keys"),
        own("munmap", libc::SYS_munmap, "own address space"),
        row("mremap", libc::SYS_mremap, "own address space")
            .trap(
                Class::Memory,
                "made by the kernel, unless it would move code whose instructions are trapped",
            )
            .tested("code_does_not_move_unseen"),
        own("brk", libc::SYS_brk, "own address space"),
        row("remap_file_pages", libc::SYS_remap_file_pages, "own mappings")
            .absent("looks missing: it would change what lies behind executable pages")
            .tested("code_does_not_move_unseen"),
        own("pkey_alloc", libc::SYS_pkey_alloc, "own protection keys"),
        own("pkey_free", libc::SYS_pkey_free, "own protection keys"),
        own("mseal", libc::SYS_mseal, "only makes own mappings stricter"),
    ],
);

/// `MADV_DONTNEED` and its locked form, which bring the bytes of the file back.
const DROPPED: &[u64] = &[libc::MADV_DONTNEED as u64, 24];

/// Pages behind mappings.
pub(super) const PAGES: Part = part(
    "private_state_runs_untrapped",
    &[
        row("madvise", libc::SYS_madvise, "hint on own pages")
            .native(
                "acts at once; advice by which the host decides about content looks unknown, and callers fall back \
                 to MADV_DONTNEED",
            )
            .but(&[
                refuse(2, Test::OneOf(HOST_ADVICE), libc::EINVAL),
                trap(2, Test::OneOf(DROPPED), Class::Memory),
            ])
            .tested("advice_that_leaves_content_to_the_host_is_refused"),
        row("mincore", libc::SYS_mincore, "residency of own pages")
            .trap(Class::Memory, "every mapped page is reported resident")
            .tested("executable_mappings_reach_the_supervisor"),
        quiet("msync", libc::SYS_msync, "own mappings"),
        quiet("mlock", libc::SYS_mlock, "bounded by RLIMIT_MEMLOCK"),
        quiet("mlock2", libc::SYS_mlock2, "bounded by RLIMIT_MEMLOCK"),
        quiet("munlock", libc::SYS_munlock, "own pages"),
        quiet("mlockall", libc::SYS_mlockall, "bounded by RLIMIT_MEMLOCK"),
        quiet("munlockall", libc::SYS_munlockall, "own pages"),
        quiet("membarrier", libc::SYS_membarrier, "orders own threads"),
        row("get_mempolicy", libc::SYS_get_mempolicy, "placement facts of own pages")
            .absent("looks missing, as in a kernel without memory nodes: nodes are the host's")
            .tested("what_is_not_offered_looks_missing"),
    ],
);
