//! Files by directory descriptor, never following a final link unless the caller's flags say so.
//!
//! Owns thin wrappers only, as its parent module says; refuses paths that are not NUL-terminated by type.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{check, own};

/// `mkdirat(2)`; an existing entry is not an error.
pub(crate) fn mkdirat(dir: RawFd, path: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: a NUL-terminated string.
    match check(unsafe { libc::mkdirat(dir, path.as_ptr(), mode) }.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EEXIST) => Err(e),
        _ => Ok(()),
    }
}

/// `openat(2)` without creation; always close-on-exec.
pub(crate) fn openat(dir: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: a NUL-terminated string; no mode is read without O_CREAT.
    own(unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC) }.into())
}

/// `fchdir(2)`.
pub(crate) fn fchdir(dir: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fchdir(dir.as_raw_fd()) }.into())?;
    Ok(())
}

/// `fstatat(2)` without following a final symlink.
pub(crate) fn lstatat(dir: RawFd, path: &CStr) -> io::Result<libc::stat> {
    // SAFETY: an all-zero `stat` is a valid value of that plain structure.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is NUL-terminated and `st` is live and writable for the whole call.
    check(unsafe { libc::fstatat(dir, path.as_ptr(), &raw mut st, libc::AT_SYMLINK_NOFOLLOW) }.into())?;
    Ok(st)
}

/// `unlinkat(2)` of anything but a directory.
pub(crate) fn unlinkat(dir: RawFd, path: &CStr) -> io::Result<()> {
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::unlinkat(dir, path.as_ptr(), 0) }.into())?;
    Ok(())
}

/// `symlinkat(2)`.
pub(crate) fn symlinkat(target: &CStr, dir: RawFd, path: &CStr) -> io::Result<()> {
    // SAFETY: both are NUL-terminated strings.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir, path.as_ptr()) }.into())?;
    Ok(())
}

/// Creates an empty file.
pub(crate) fn create_file(dir: RawFd, path: &CStr) -> io::Result<()> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated string; the mode that O_CREAT demands is given.
    own(unsafe { libc::openat(dir, path.as_ptr(), flags, 0o644 as libc::mode_t) }.into()).map(drop)
}

/// The text of a file of the kernel that is mostly small: one read then, because these give all they have when
/// the buffer takes it. A longer one is read to its end, never cut.
pub(crate) fn read_small(path: &std::path::Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = [0u8; 2048]; // less than the page that the kernel gives at once
    let length = super::read(file.as_fd(), &mut buffer)?;
    let mut text = buffer[..length].to_vec();
    if length == buffer.len() {
        io::Read::read_to_end(&mut file, &mut text)?;
    }
    String::from_utf8(text).map_err(io::Error::other)
}

/// Gives the open file to another owner.
pub(crate) fn fchown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) }.into())?;
    Ok(())
}

/// An anonymous file in memory with this content, which nobody can change, positioned at its start.
pub(crate) fn sealed_file(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a NUL-terminated string.
    let fd = own(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into())?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, bytes)?;
    io::Seek::rewind(&mut file)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: plain integers only.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into())?;
    Ok(file.into())
}

/// The status flags of an open file description.
pub(crate) fn descriptor_flags(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fcntl(fd, libc::F_GETFL) }.into()).map(|flags| flags as libc::c_int)
}

/// Writes what fits without waiting; `WouldBlock` when that is nothing. Never raises SIGPIPE: this process has many
/// programs' pipes.
pub(crate) fn write_now(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let number = fd.as_raw_fd();
    // SAFETY: `part` describes the live bytes, which are only read. Offset -1 means the file's own position.
    let put = unsafe { libc::pwritev2(number, &raw const part, 1, -1, libc::RWF_NOWAIT) };
    match check(put as libc::c_long) {
        // Not every kind of file can promise not to wait; those that cannot do not wait long.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => super::write(fd.as_fd(), bytes),
        other => other.map(|n| n as usize),
    }
}

/// `readlinkat(2)`.
pub(crate) fn readlinkat(dir: RawFd, path: &CStr) -> io::Result<Vec<u8>> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: `path` is NUL-terminated; pointer and length describe the live, writable vector.
    let r = unsafe { libc::readlinkat(dir, path.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    target.truncate(check(r as libc::c_long)? as usize);
    Ok(target)
}

/// Whether an extended attribute exists on the open file.
pub(crate) fn has_attribute(fd: BorrowedFd<'_>, name: &CStr) -> bool {
    // SAFETY: `name` is NUL-terminated; a size of zero means that the pointer is not written.
    unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

/// Offset of the first data at or after `at`; none when only a hole is left.
pub(crate) fn next_data(fd: BorrowedFd<'_>, at: u64) -> io::Result<Option<u64>> {
    // SAFETY: plain integers only.
    match check(unsafe { libc::lseek(fd.as_raw_fd(), at as libc::off_t, libc::SEEK_DATA) }) {
        Ok(offset) => Ok(Some(offset as u64)),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Fills `buffer` from `offset`; shorter only at the end of the file.
pub(crate) fn pread(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let at = offset + filled as u64;
        // SAFETY: pointer and length describe the live, writable rest of the slice.
        let r =
            unsafe { libc::pread(fd.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len(), at as libc::off_t) };
        match check(r as libc::c_long)? {
            0 => break,
            n => filled += n as usize,
        }
    }
    Ok(filled)
}
