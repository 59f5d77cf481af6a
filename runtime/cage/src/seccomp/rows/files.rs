//! Rows: files by name, what is known of them, and their attributes.
//!
//! Owns data only. Every path is below the cage's own root, whose lower half is read-only and named by its digest
//! and whose upper half is a tmpfs of the cage. At `pinned` a call that opens, makes or removes goes to the
//! supervisor, which has the read-only synthetic files and keeps logical times; what only asks for or changes
//! private state does not.

use super::super::{Class, Rule};
use super::{Part, Row, part, row};

/// The file type bits of a mode.
const S_IFMT: u64 = libc::S_IFMT as u64;
/// Node types that carry no device number. Zero means a regular file.
const NODE_TYPES: &[u64] = &[0, libc::S_IFREG as u64, libc::S_IFIFO as u64, libc::S_IFSOCK as u64];

const NODES: &str = "files, FIFOs and sockets; never devices, not even overlay whiteouts";

const OPENED: &str = "the supervisor opens: a FIFO waits in task order, random devices are streams of the seed, \
    the time of the last writing is logical";
const CLOSED: &str = "the supervisor notes the last writing close; its time is logical";
const LINKED: &str =
    "run by the kernel on private state; the supervisor notes the logical time of the change";
const TREE: &str = "follows from image and the cage's own earlier calls, which are serialised";
const STATED: &str = "run by the kernel, then rewritten: inode in order of sight, one device, logical times";
const LISTED: &str = "the whole directory is read, sorted and numbered by the supervisor";
const SIZED: &str = "figures of a file system of fixed size, none of the host's";
const STAMPED: &str = "kept by the supervisor: a time that is set is the one reported later";
const XATTR: &str = "attributes come with the image or from the cage's own earlier calls";

const fn opened(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Files, OPENED)
}

const fn linked(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Files, LINKED)
}

const fn stated(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).trap(Class::Metadata, STATED)
}

const fn stamped(name: &'static str, number: i64) -> Row {
    row(name, number, "own files").trap(Class::Metadata, STAMPED)
}

const fn private(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(TREE)
}

const fn attribute(name: &'static str, number: i64, why: &'static str) -> Row {
    row(name, number, why).native(XATTR)
}

/// What makes and ends descriptors of files.
pub(super) const OPENING: Part = part(
    "opening_and_naming_reach_the_supervisor",
    &[
        opened("open", libc::SYS_open, "opens below the cage's root"),
        opened("openat", libc::SYS_openat, "opens below the cage's root"),
        row("openat2", libc::SYS_openat2, "opens below the cage's root")
            .absent("looks missing: its flags are behind a pointer; callers fall back to openat"),
        opened("creat", libc::SYS_creat, "creates in the bounded tmpfs"),
        row("close", libc::SYS_close, "gives a descriptor back").trap(Class::Files, CLOSED),
        row("close_range", libc::SYS_close_range, "gives descriptors back").trap(Class::Files, CLOSED),
        linked("truncate", libc::SYS_truncate, "within the tmpfs bound"),
        linked("ftruncate", libc::SYS_ftruncate, "resizes a held file within the tmpfs bound"),
    ],
);

/// Names that come, go and are looked up.
pub(super) const NAMES: Part = part(
    "opening_and_naming_reach_the_supervisor",
    &[
        linked("mkdir", libc::SYS_mkdir, "bounded by the inode limit"),
        linked("mkdirat", libc::SYS_mkdirat, "bounded by the inode limit"),
        linked("rmdir", libc::SYS_rmdir, "own tmpfs only"),
        linked("unlink", libc::SYS_unlink, "own tmpfs only"),
        linked("unlinkat", libc::SYS_unlinkat, "own tmpfs only"),
        linked("rename", libc::SYS_rename, "own tmpfs only"),
        linked("renameat", libc::SYS_renameat, "own tmpfs only"),
        linked(
            "renameat2",
            libc::SYS_renameat2,
            "own tmpfs only; whiteouts need a device node, refused by overlayfs",
        ),
        linked("link", libc::SYS_link, "own tmpfs only"),
        linked("linkat", libc::SYS_linkat, "own tmpfs only"),
        linked("symlink", libc::SYS_symlink, "resolved below the cage's root"),
        linked("symlinkat", libc::SYS_symlinkat, "resolved below the cage's root"),
        linked("mknod", libc::SYS_mknod, NODES)
            .only(Rule::MaskedOneOf { arg: 1, mask: S_IFMT, values: NODE_TYPES })
            .tested("device_nodes_are_refused_by_their_type"),
        linked("mknodat", libc::SYS_mknodat, NODES)
            .only(Rule::MaskedOneOf { arg: 2, mask: S_IFMT, values: NODE_TYPES })
            .tested("device_nodes_are_refused_by_their_type"),
        row("readlink", libc::SYS_readlink, "reads a link")
            .trap(Class::Files, "links of the synthetic /proc are answered; others follow from the tree"),
        row("readlinkat", libc::SYS_readlinkat, "reads a link")
            .trap(Class::Files, "links of the synthetic /proc are answered; others follow from the tree"),
        private("access", libc::SYS_access, "permission question").tested(PRIVATE),
        private("faccessat", libc::SYS_faccessat, "permission question").tested(PRIVATE),
        private("faccessat2", libc::SYS_faccessat2, "permission question").tested(PRIVATE),
        private("getcwd", libc::SYS_getcwd, "name of the working directory").tested(PRIVATE),
        private("chdir", libc::SYS_chdir, "moves within the cage's root").tested(PRIVATE),
        private("fchdir", libc::SYS_fchdir, "moves to a held directory, all of which are inside")
            .tested(PRIVATE),
    ],
);

const PRIVATE: &str = "private_state_runs_untrapped";

/// What is known of a file, and its times.
pub(super) const METADATA: Part = part(
    "metadata_reaches_the_supervisor",
    &[
        stated("stat", libc::SYS_stat, "metadata below the cage's root"),
        stated("fstat", libc::SYS_fstat, "metadata of a held file"),
        stated("lstat", libc::SYS_lstat, "metadata below the cage's root"),
        stated("newfstatat", libc::SYS_newfstatat, "metadata below the cage's root"),
        stated("statx", libc::SYS_statx, "metadata below the cage's root"),
        row("statfs", libc::SYS_statfs, "size of the cage's tmpfs").trap(Class::Metadata, SIZED),
        row("fstatfs", libc::SYS_fstatfs, "size of the cage's tmpfs").trap(Class::Metadata, SIZED),
        row("getdents", libc::SYS_getdents, "lists a held directory").trap(Class::Metadata, LISTED),
        row("getdents64", libc::SYS_getdents64, "lists a held directory").trap(Class::Metadata, LISTED),
        stamped("utime", libc::SYS_utime),
        stamped("utimes", libc::SYS_utimes),
        stamped("futimesat", libc::SYS_futimesat),
        stamped("utimensat", libc::SYS_utimensat),
        row("file_getattr", 468, "reads attributes")
            .absent("looks missing: flags of the host's file system; nobody needs them"),
    ],
);

/// Modes, owners, extended attributes, and hints.
pub(super) const ATTRIBUTES: Part = part(
    PRIVATE,
    &[
        private("chmod", libc::SYS_chmod, "mounts are nosuid, so setuid bits have no effect"),
        private("fchmod", libc::SYS_fchmod, "as chmod"),
        private("fchmodat", libc::SYS_fchmodat, "as chmod"),
        private("fchmodat2", libc::SYS_fchmodat2, "as chmod"),
        private("chown", libc::SYS_chown, "no CAP_CHOWN, so only to oneself"),
        private("fchown", libc::SYS_fchown, "as chown"),
        private("lchown", libc::SYS_lchown, "as chown"),
        private("fchownat", libc::SYS_fchownat, "as chown"),
        private("umask", libc::SYS_umask, "own mask"),
        attribute("setxattr", libc::SYS_setxattr, "user attributes on own files; others need capabilities"),
        attribute("lsetxattr", libc::SYS_lsetxattr, "as setxattr"),
        attribute("fsetxattr", libc::SYS_fsetxattr, "as setxattr"),
        attribute("setxattrat", 463, "as setxattr"),
        attribute("getxattr", libc::SYS_getxattr, "reads attributes"),
        attribute("lgetxattr", libc::SYS_lgetxattr, "reads attributes"),
        attribute("fgetxattr", libc::SYS_fgetxattr, "reads attributes"),
        attribute("getxattrat", 464, "reads attributes"),
        attribute("listxattr", libc::SYS_listxattr, "reads attributes"),
        attribute("llistxattr", libc::SYS_llistxattr, "reads attributes"),
        attribute("flistxattr", libc::SYS_flistxattr, "reads attributes"),
        attribute("listxattrat", 465, "reads attributes"),
        attribute("removexattr", libc::SYS_removexattr, "as setxattr"),
        attribute("lremovexattr", libc::SYS_lremovexattr, "as setxattr"),
        attribute("fremovexattr", libc::SYS_fremovexattr, "as setxattr"),
        attribute("removexattrat", 466, "as setxattr"),
        private("fallocate", libc::SYS_fallocate, "reserves tmpfs space, which is bounded"),
        private("lseek", libc::SYS_lseek, "moves a file offset"),
        private("fsync", libc::SYS_fsync, "flushes a held file"),
        private("fdatasync", libc::SYS_fdatasync, "flushes a held file"),
        private("sync_file_range", libc::SYS_sync_file_range, "flushes part of a held file"),
        private("sync", libc::SYS_sync, "global flush; no effect on others beyond load"),
        private("syncfs", libc::SYS_syncfs, "flushes the tmpfs, which is a no-op"),
        private("readahead", libc::SYS_readahead, "hint on a held file"),
        private("fadvise64", libc::SYS_fadvise64, "hint on a held file"),
        row("cachestat", 451, "page-cache facts of a held file")
            .absent("looks missing: what is cached is the host's history")
            .tested("what_is_not_offered_looks_missing"),
    ],
);
