//! Thin, safe wrappers over the system calls the cage needs and `std` does not offer.
//!
//! Owns the crate's FFI with the kernel: each function makes one call and turns `-1` into `io::Error`. It
//! refuses to decide anything. Invariant: no wrapper keeps a pointer after it returns, and descriptors go in
//! as borrowed and come out as owned, all close-on-exec.

mod descriptors;
mod files;
mod lookup;
mod mounts;
mod netlink;
mod process;
pub(crate) mod ptrace;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub(crate) use descriptors::*;
pub(crate) use files::*;
pub(crate) use lookup::*;
pub(crate) use mounts::*;
pub(crate) use netlink::*;
pub(crate) use process::*;
pub(crate) use ptrace::{interruptible_by, is_exiting, signal_thread, thread_id};

/// Turns the C convention (-1 and errno) into a result.
pub(crate) fn check(ret: libc::c_long) -> io::Result<libc::c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// Takes ownership of a descriptor a system call has just returned.
fn own(ret: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(ret)? as RawFd;
    // SAFETY: `fd` was returned by a successful call that creates a descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pair of connected, close-on-exec, packet-preserving sockets.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    Ok((own(fds[0].into())?, own(fds[1].into())?))
}

/// A close-on-exec pipe: (read end, write end).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((own(fds[0].into())?, own(fds[1].into())?))
}

/// Makes reads and writes on `fd` return at once.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers only.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())? as libc::c_int;
    // SAFETY: plain integers only.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }.into())?;
    Ok(())
}

/// `read(2)` into `buffer`.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe the live, writable slice.
    check(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } as libc::c_long)
        .map(|n| n as usize)
}

/// `write(2)` of `bytes`, possibly only in part.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe the live slice.
    check(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as libc::c_long)
        .map(|n| n as usize)
}

/// Waits until one of `fds` is ready; `None` waits for ever. Returns false when the time is up.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout_ms: Option<u64>) -> io::Result<bool> {
    let timeout = timeout_ms.map_or(-1, |ms| ms.min(i32::MAX as u64) as libc::c_int);
    // SAFETY: pointer and length describe the live, writable slice.
    match check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) }.into()) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        other => other.map(|n| n > 0),
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Lower-case hexadecimal of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Sends `payload` with up to one descriptor attached.
pub(crate) fn send(socket: BorrowedFd<'_>, payload: &[u8], attach: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    let mut control = [0u64; 4]; // room for one aligned control message with one descriptor
    // SAFETY: an all-zero `msghdr` is a valid value of that plain structure.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(fd) = attach {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: pure arithmetic on a constant.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
        // SAFETY: `message` points at `control`, which is live, zeroed, aligned and large enough for one
        // header and one descriptor, so the first header exists and its data has room for four bytes.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        }
    }
    // SAFETY: every pointer in `message` refers to a live local of the stated length.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    check(sent as libc::c_long)?;
    Ok(())
}

/// Receives one packet and the descriptor attached to it, if any. Zero bytes mean that the other side is
/// gone.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = [0u64; 4];
    // SAFETY: an all-zero `msghdr` is a valid value of that plain structure.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = std::mem::size_of_val(&control);
    let length = loop {
        // SAFETY: every pointer in `message` refers to a live, writable local of the stated length.
        let r = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(r as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other? as usize,
        }
    };
    // SAFETY: `message` was filled by the kernel and points at the live control buffer.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if header.is_null() {
        return Ok((length, None));
    }
    // SAFETY: a non-null header lies inside the control buffer.
    let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
    if (level, kind) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Ok((length, None));
    }
    // SAFETY: an SCM_RIGHTS message carries at least one descriptor, written by the kernel for this process
    // to own.
    let fd = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned() };
    Ok((length, Some(own(fd.into())?)))
}

/// `dup2(2)`: the copy survives an exec.
pub(crate) fn dup_to(fd: RawFd, target: RawFd) -> io::Result<()> {
    // SAFETY: plain integers only; the callers lay out a fresh child's table, which owns nothing by number.
    check(unsafe { libc::dup2(fd, target) }.into())?;
    Ok(())
}

/// A close-on-exec copy of `fd` with a number of at least `floor`.
pub(crate) fn dup_above(fd: RawFd, floor: RawFd) -> io::Result<RawFd> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, floor) }.into()).map(|fd| fd as RawFd)
}

/// Marks `fd` close-on-exec.
pub(crate) fn set_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    Ok(())
}

/// Closes every descriptor from `first` to `last`, whoever owned it: only for processes about to become
/// something else.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: plain integers only; the callers never use an owned descriptor of that range again.
    check(unsafe { libc::close_range(first as libc::c_uint, last as libc::c_uint, 0) }.into())?;
    Ok(())
}

/// Puts the null device on the three standard streams.
pub(crate) fn silence_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    (0..3).try_for_each(|stream| dup_to(null.as_raw_fd(), stream))
}
