//! Mounts and namespaces: the calls that build the cage's file system and enter or leave namespaces.
//!
//! Owns thin wrappers only, as its parent module says; refuses to know in which order they are used.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{check, own};

/// `fsopen(2)`.
pub(crate) fn fsopen(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `kind` is a NUL-terminated string that outlives the call.
    own(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) })
}

/// `fsconfig(2)` with a string value, or with a flag when `value` is none.
pub(crate) fn fsconfig(fs: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> io::Result<()> {
    let command = if value.is_some() { libc::FSCONFIG_SET_STRING } else { libc::FSCONFIG_SET_FLAG };
    let value = value.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: key and value are NUL-terminated strings that outlive the call, or value is null for a flag.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key.as_ptr(), value, 0) })?;
    Ok(())
}

/// Creates the superblock and returns it as a detached mount.
pub(crate) fn fsmount(fs: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: the create command takes no key, value or auxiliary argument; null and zero are what it
    // demands.
    check(unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), libc::FSCONFIG_CMD_CREATE, null, null, 0)
    })?;
    // SAFETY: plain integers only.
    own(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes) })
}

/// `open_tree(2)` with a detached clone of the mount at `path` (the whole subtree when `recursive`).
pub(crate) fn clone_tree(dir: RawFd, path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    own(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })
}

/// `move_mount(2)` of a detached mount onto `path` below `dir`.
pub(crate) fn attach(mount: BorrowedFd<'_>, dir: RawFd, path: &CStr) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths are NUL-terminated strings that outlive the call.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), dir, path.as_ptr(), flags)
    })?;
    Ok(())
}

/// `mount_setattr(2)` on a mount held by descriptor.
pub(crate) fn set_mount(
    mount: BorrowedFd<'_>,
    set: u64,
    userns: Option<BorrowedFd<'_>>,
    all: bool,
) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if all { libc::AT_RECURSIVE } else { 0 };
    let size = std::mem::size_of::<libc::mount_attr>();
    let target = mount.as_raw_fd();
    // SAFETY: `attr` is a live, fully initialised structure of the size given.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, target, c"".as_ptr(), flags, &raw const attr, size)
    })?;
    Ok(())
}

/// `mount(2)` of a copy of `source` on `target`, both as paths: one call where a clone and its attachment take
/// three.
pub(crate) fn bind_path(source: &CStr, target: &CStr) -> io::Result<()> {
    let null = std::ptr::null();
    // SAFETY: both paths are NUL-terminated strings; type and data are not read for a bind mount.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), null, libc::MS_BIND, null.cast()) }.into())?;
    Ok(())
}

/// Makes every mount of this namespace private.
pub(crate) fn make_mounts_private() -> io::Result<()> {
    let null = std::ptr::null();
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: source, type and data may be null when only the propagation changes.
    check(unsafe { libc::mount(null, c"/".as_ptr(), null, flags, null.cast()) }.into())?;
    Ok(())
}

/// Makes the current directory the root and detaches the old one, which stays reachable by nobody.
pub(crate) fn pivot_here() -> io::Result<()> {
    // SAFETY: both arguments are NUL-terminated strings; "." twice is the documented form without a put_old
    // directory.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())?;
    Ok(())
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::unshare(flags) }.into())?;
    Ok(())
}

/// Joins the namespace held by `fd`.
pub(crate) fn setns(fd: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind) }.into())?;
    Ok(())
}
