//! Open descriptions of a cage's tasks, through the supervisor's copies: what they are, their settings, bytes that
//! move without waiting.
//!
//! Owns thin wrappers only, as its parent module says. Nothing here waits, and nothing raises SIGPIPE.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, own};

/// Reads what is there without waiting; `WouldBlock` when that is nothing.
pub(crate) fn read_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `part` describes the live, writable slice. Offset -1 means the file's own position.
    let got = unsafe { libc::preadv2(fd.as_raw_fd(), &raw const part, 1, -1, libc::RWF_NOWAIT) };
    match check(got as libc::c_long) {
        // Not every kind of file can promise not to wait; the caller has asked for its readiness.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => super::read(fd, buffer),
        other => other.map(|n| n as usize),
    }
}

/// An option of a socket, as bytes; at most `N` of them.
pub(crate) fn socket_option<const N: usize>(
    fd: BorrowedFd<'_>,
    level: i32,
    name: i32,
) -> io::Result<[u8; N]> {
    let mut value = [0u8; N];
    let mut length = N as libc::socklen_t;
    // SAFETY: `value` is live and writable for `length` bytes.
    let got =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    check(got.into())?;
    Ok(value)
}

/// An integer option of a socket.
pub(crate) fn socket_number(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    socket_option::<4>(fd, level, name).map(i32::from_ne_bytes)
}

/// Sets an integer option of a socket.
pub(crate) fn set_socket_number(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: pointer and length describe the live integer.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), 4) }.into())?;
    Ok(())
}

/// `bind(2)` to an encoded address.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    let length = address.len() as libc::socklen_t;
    // SAFETY: pointer and length describe the live bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr().cast(), length) }.into())?;
    Ok(())
}

/// `connect(2)` to an encoded address.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    let length = address.len() as libc::socklen_t;
    // SAFETY: pointer and length describe the live bytes.
    check(unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr().cast(), length) }.into())?;
    Ok(())
}

/// `listen(2)`.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }.into())?;
    Ok(())
}

/// `accept4(2)` without waiting: the connection, non-blocking, and its peer's encoded address.
pub(crate) fn accept_now(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Vec<u8>)> {
    let mut address = vec![0u8; 128];
    let mut length = address.len() as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `address` is live and writable for `length` bytes.
    let got = unsafe { libc::accept4(fd.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut length, flags) };
    let connection = own(got.into())?;
    address.truncate(length as usize);
    Ok((connection, address))
}

/// The encoded address of a socket's own end.
pub(crate) fn own_address(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut address = vec![0u8; 128];
    let mut length = address.len() as libc::socklen_t;
    // SAFETY: `address` is live and writable for `length` bytes.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut length) }.into())?;
    address.truncate(length as usize);
    Ok(address)
}

/// A new close-on-exec socket.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers only.
    own(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) }.into())
}

/// Asks for what `shutdown(2)` does.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: i32) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), how) }.into())?;
    Ok(())
}

/// Places or removes a lock that belongs to the open file description, without waiting.
pub(crate) fn lock_description(fd: BorrowedFd<'_>, operation: i32) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::flock(fd.as_raw_fd(), operation | libc::LOCK_NB) }.into())?;
    Ok(())
}

/// Queues a signal with its siginfo (the kernel's 128 bytes): for one thread, or for the whole process.
pub(crate) fn queue_signal(pid: i32, thread: Option<i32>, signal: i32, info: &[u64; 16]) -> io::Result<()> {
    let info = info.as_ptr();
    // SAFETY: `info` is the 128 live bytes that the kernel reads.
    let sent = unsafe {
        match thread {
            Some(tid) => libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info),
            None => libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, info),
        }
    };
    check(sent)?;
    Ok(())
}
