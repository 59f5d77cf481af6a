//! Attempts to make, enter or rewrite namespaces.
//!
//! Owns these attempts: `unshare`, `clone` and `clone3` with every kind, `setns` into one's own and the init's, and
//! the maps of user ids.

use std::os::fd::AsRawFd;

use crate::Attempt;
use crate::answer::{best, expect, io_result, put, sys};

/// `CLONE_NEWTIME`, which is a signal bit to `clone`.
const NEWTIME: i32 = 0x80;
const INTO_CGROUP: u64 = 0x2_0000_0000;

fn unshare(kind: i32) -> i64 {
    sys(unsafe { libc::unshare(kind) }.into())
}

fn clone(kind: i32) -> i64 {
    let r = call!(libc::SYS_clone, i64::from(kind | libc::SIGCHLD), 0, 0, 0, 0);
    if r == 0 {
        unsafe { libc::_exit(0) }
    }
    r
}

fn clone3(flags: u64) -> i64 {
    let mut arguments = [0u64; 11];
    arguments[0] = flags;
    arguments[4] = libc::SIGCHLD as u64;
    let r = call!(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments));
    if r == 0 {
        unsafe { libc::_exit(0) }
    }
    r
}

/// A thread: what `clone` is for must still work.
fn thread() -> i64 {
    expect(std::thread::spawn(|| 7).join().is_ok_and(|n| n == 7))
}

fn enter(path: &str) -> i64 {
    match std::fs::File::open(path) {
        Ok(file) => call!(libc::SYS_setns, file.as_raw_fd(), 0),
        Err(e) => io_result::<()>(Err(e)),
    }
}

/// All namespaces of another process at once.
fn enter_by_pidfd(pid: i32) -> i64 {
    let pidfd = call!(libc::SYS_pidfd_open, pid, 0);
    call!(libc::SYS_setns, pidfd, libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWPID)
}

/// `NS_GET_PARENT` of one's own namespace: the host's, as a descriptor, if it worked.
fn parent_of(kind: &str) -> i64 {
    const NS_GET_PARENT: u64 = 0xb702;
    match std::fs::File::open(format!("/proc/self/ns/{kind}")) {
        Ok(file) => sys(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_PARENT) }.into()),
        Err(e) => io_result::<()>(Err(e)),
    }
}

/// Maps a project of disk quotas, which needs no privilege, and gives a file to it, which must fail by both ways.
fn project() -> i64 {
    const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
    put("/proc/self/projid_map", "0 0 1");
    let Ok(file) = std::fs::File::create("/tmp/project") else { return expect(false) };
    let attributes = [0u64; 4];
    let named = call!(469, file.as_raw_fd(), c"".as_ptr(), attributes.as_ptr(), 32, libc::AT_EMPTY_PATH);
    let asked = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSSETXATTR as _, attributes.as_ptr()) };
    best([named, sys(asked.into())])
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("unshare_user", || unshare(libc::CLONE_NEWUSER)),
    ("unshare_mount", || unshare(libc::CLONE_NEWNS)),
    ("unshare_pid", || unshare(libc::CLONE_NEWPID)),
    ("unshare_net", || unshare(libc::CLONE_NEWNET)),
    ("unshare_ipc", || unshare(libc::CLONE_NEWIPC)),
    ("unshare_uts", || unshare(libc::CLONE_NEWUTS)),
    ("unshare_cgroup", || unshare(libc::CLONE_NEWCGROUP)),
    ("unshare_time", || unshare(NEWTIME)),
    ("unshare_user_and_mount", || unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)),
    ("clone_user", || clone(libc::CLONE_NEWUSER)),
    ("clone_mount", || clone(libc::CLONE_NEWNS)),
    ("clone_pid", || clone(libc::CLONE_NEWPID)),
    ("clone_net", || clone(libc::CLONE_NEWNET)),
    ("clone_ipc", || clone(libc::CLONE_NEWIPC)),
    ("clone_uts", || clone(libc::CLONE_NEWUTS)),
    ("clone_cgroup", || clone(libc::CLONE_NEWCGROUP)),
    ("clone_thread", thread),
    ("clone3_plain", || clone3(0)),
    ("clone3_user", || clone3(libc::CLONE_NEWUSER as u64)),
    ("clone3_time", || clone3(NEWTIME as u64)),
    ("clone3_into_cgroup", || clone3(INTO_CGROUP)),
    ("setns_own_user", || enter("/proc/self/ns/user")),
    ("setns_own_mount", || enter("/proc/self/ns/mnt")),
    ("setns_own_net", || enter("/proc/self/ns/net")),
    ("setns_own_pid", || enter("/proc/self/ns/pid")),
    ("setns_init_user", || enter("/proc/1/ns/user")),
    ("setns_init_mount", || enter("/proc/1/ns/mnt")),
    ("setns_pidfd_of_init", || enter_by_pidfd(1)),
    ("setns_pidfd_of_parent", || enter_by_pidfd(unsafe { libc::getppid() })),
    ("namespace_parent_user", || parent_of("user")),
    ("namespace_parent_pid", || parent_of("pid")),
    ("uid_map", || put("/proc/self/uid_map", "0 0 1")),
    ("gid_map", || put("/proc/self/gid_map", "0 0 1")),
    ("project", project),
    ("setgroups_file", || put("/proc/self/setgroups", "deny")),
    ("timens_offsets", || put("/proc/self/timens_offsets", "monotonic 86400 0")),
];
