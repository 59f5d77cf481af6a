//! Thin, safe wrappers over the system calls the cage needs and `std` does not offer.
//!
//! Owns the crate's FFI with the kernel: each function makes one call and turns `-1` into `io::Error`. It refuses to
//! decide anything. Invariant: no wrapper keeps a pointer after it returns, and descriptors go in as borrowed and come
//! out as owned, all close-on-exec.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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
    // SAFETY: the create command takes no key, value or auxiliary argument; null and zero are what it demands.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), libc::FSCONFIG_CMD_CREATE, null, null, 0) })?;
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
pub(crate) fn set_mount(mount: BorrowedFd<'_>, set: u64, userns: Option<BorrowedFd<'_>>, all: bool) -> io::Result<()> {
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
    check(unsafe { libc::syscall(libc::SYS_mount_setattr, target, c"".as_ptr(), flags, &raw const attr, size) })?;
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
    // SAFETY: both arguments are NUL-terminated strings; "." twice is the documented form without a put_old directory.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())?;
    Ok(())
}

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

/// `prctl(2)` with integer arguments.
pub(crate) fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> io::Result<libc::c_long> {
    // SAFETY: every option this crate passes takes integers, not pointers.
    check(unsafe { libc::prctl(option, a, b, 0 as libc::c_ulong, 0 as libc::c_ulong) }.into())
}

/// Sets a resource limit to the same soft and hard value.
pub(crate) fn set_rlimit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` is a live structure that the call only reads.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into())?;
    Ok(())
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

/// `pidfd_open(2)`.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers only.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends `signal` to the process held by `pidfd`; a value makes it a queued signal that carries it.
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int, value: Option<i32>) -> io::Result<()> {
    // The head of siginfo_t on x86_64 Linux, padded to the kernel's size: signo, errno, code, pad, pid, uid, value.
    let mut info = [0i32; 32];
    let pointer = match value {
        None => std::ptr::null(),
        Some(value) => {
            info[0] = signal;
            info[2] = libc::SI_QUEUE;
            info[4] = std::process::id() as i32;
            info[6] = value;
            info.as_ptr()
        }
    };
    // SAFETY: `info` is the 128 bytes the kernel reads, or the pointer is null, which means a plain signal.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, pointer, 0) })?;
    Ok(())
}

/// Ends this process at once, without running destructors or exit functions.
pub(crate) fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: `_exit` takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Effective user id.
pub(crate) fn euid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Effective group id.
pub(crate) fn egid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getegid() }
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

/// `unshare(2)`.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::unshare(flags) }.into())?;
    Ok(())
}

/// Sets the host name and empties the domain name.
pub(crate) fn set_host_names(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the live string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into())?;
    // SAFETY: as above, for the usual placeholder.
    check(unsafe { libc::setdomainname(c"(none)".as_ptr(), 6) }.into())?;
    Ok(())
}

/// Brings `lo` up in the current network namespace; the kernel then gives it 127.0.0.1 and ::1.
pub(crate) fn loopback_up() -> io::Result<()> {
    #[repr(C)]
    struct InterfaceFlags {
        name: [u8; 16],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut request = InterfaceFlags { name: [0; 16], flags: (libc::IFF_UP | libc::IFF_RUNNING) as _, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: plain integers only.
    let socket = own(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: `request` has the layout and the 40 bytes of `struct ifreq` and outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) }.into())?;
    Ok(())
}

/// Empties the effective, permitted and inheritable capability sets.
pub(crate) fn clear_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0]; // version, and 0 for the caller
    let sets = [0u32; 6]; // two words each of effective, permitted, inheritable
    // SAFETY: both arrays have exactly the layout that version 3 reads, and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })?;
    Ok(())
}

/// Becomes the given user and group in all three identities; supplementary groups are dropped where that is allowed.
pub(crate) fn become_user(uid: u32, gid: u32, drop_groups: bool) -> io::Result<()> {
    if drop_groups {
        // SAFETY: a length of zero means that the pointer is not read.
        check(unsafe { libc::setgroups(0, std::ptr::null()) }.into())?;
    }
    // SAFETY: plain integers only.
    check(unsafe { libc::setresgid(gid, gid, gid) }.into())?;
    // SAFETY: plain integers only.
    check(unsafe { libc::setresuid(uid, uid, uid) }.into())?;
    Ok(())
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
        // SAFETY: `message` points at `control`, which is live, zeroed, aligned and large enough for one header and
        // one descriptor, so the first header exists and its data has room for four bytes.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        }
    }
    // SAFETY: every pointer in `message` refers to a live local of the stated length.
    check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) } as libc::c_long)?;
    Ok(())
}

/// Receives one packet and the descriptor attached to it, if any. Zero bytes mean that the other side is gone.
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
    // SAFETY: an SCM_RIGHTS message carries at least one descriptor, written by the kernel for this process to own.
    let fd = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned() };
    Ok((length, Some(own(fd.into())?)))
}

/// Starts a child with new namespaces. In the parent: its pid and a descriptor for it; in the child: `None`.
pub(crate) fn clone_child(namespaces: u64, group: Option<BorrowedFd<'_>>) -> io::Result<Option<(i32, OwnedFd)>> {
    const CLEAR_SIGHAND: u64 = 1 << 32;
    const INTO_CGROUP: u64 = 1 << 33;
    let mut pidfd: RawFd = -1;
    // SAFETY: an all-zero `clone_args` is valid and means "as fork".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces | libc::CLONE_PIDFD as u64 | CLEAR_SIGHAND;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = group {
        args.flags |= INTO_CGROUP;
        args.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child gets a copy of this memory, as with fork. The caller is single-threaded
    // (checked by `launch`), so no lock is held by a thread that the child lacks.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of_val(&args)) })?;
    if pid == 0 { Ok(None) } else { Ok(Some((pid as i32, own(pidfd.into())?))) }
}

/// `fork(2)` through the C library, which then knows the child's thread id. `None` in the child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the callers are single-threaded, so the child's copy of every lock is free or its own.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok((pid != 0).then_some(pid as i32))
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

/// Closes every descriptor from `first` to `last`, whoever owned it: only for processes about to become something else.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: plain integers only; the callers never use an owned descriptor of that range again.
    check(unsafe { libc::close_range(first as libc::c_uint, last as libc::c_uint, 0) }.into())?;
    Ok(())
}

/// The set of the given signals.
pub(crate) fn signal_set(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: an all-zero set is a valid value to be initialised, and each call gets a live pointer and a valid number.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Replaces the mask of blocked signals; returns the one before.
pub(crate) fn set_signal_mask(set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = signal_set(&[]);
    // SAFETY: both sets are live, the second one writable.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, &raw mut before) }.into())?;
    Ok(before)
}

/// Restores the default action of a signal.
pub(crate) fn default_signal(signal: libc::c_int) {
    // SAFETY: SIG_DFL installs no handler; a wrong number would only fail.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Waits for one of the blocked signals in `set`.
pub(crate) fn wait_signal(set: &libc::sigset_t) -> io::Result<libc::c_int> {
    // SAFETY: `set` is live; the details of the signal are not wanted.
    check(unsafe { libc::sigwaitinfo(set, std::ptr::null_mut()) }.into()).map(|s| s as libc::c_int)
}

/// Reaps one child if one has ended: (pid, status).
pub(crate) fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is live and writable.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// `kill(2)`; a process that has just ended is not an error worth knowing.
pub(crate) fn kill(pid: i32, signal: libc::c_int) {
    // SAFETY: plain integers only.
    unsafe { libc::kill(pid, signal) };
}

/// New session, detached from any terminal.
pub(crate) fn setsid() {
    // SAFETY: takes nothing; it fails only for a process that leads a group already, which then is what was wanted.
    unsafe { libc::setsid() };
}

/// Sets the file mode mask.
pub(crate) fn umask(mask: libc::mode_t) {
    // SAFETY: plain integers only; cannot fail.
    unsafe { libc::umask(mask) };
}

/// Replaces the program. Returns only on failure. Both lists must end with a null pointer.
pub(crate) fn execve(path: &CStr, argv: &[*const libc::c_char], envp: &[*const libc::c_char]) -> io::Error {
    assert!(argv.last().is_some_and(|p| p.is_null()) && envp.last().is_some_and(|p| p.is_null()));
    // SAFETY: `path` is NUL-terminated; both lists end with null (asserted) and their strings are kept by the caller.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Gives the open file to another owner.
pub(crate) fn fchown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) }.into())?;
    Ok(())
}

/// Waits for a child to end: (status, what it and its reaped children used).
pub(crate) fn wait_for(pid: i32) -> io::Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid value of that plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are live and writable.
        match check(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) }.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| (status, usage)),
        }
    }
}

/// A descriptor that reads the given (blocked) signals.
pub(crate) fn signal_descriptor(set: &libc::sigset_t) -> io::Result<OwnedFd> {
    // SAFETY: -1 asks for a new descriptor; `set` is live.
    own(unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }.into())
}

/// The version of the kernel's landlock interface.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    const VERSION: libc::c_ulong = 1;
    let null = std::ptr::null::<libc::c_void>();
    // SAFETY: asking for the version takes a null pointer and a size of zero.
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null, 0usize, VERSION) }).map(|v| v as u32)
}

/// An auxiliary value that the kernel gave this process.
pub(crate) fn auxiliary(kind: libc::c_ulong) -> u64 {
    // SAFETY: plain integers only; an unknown kind gives 0.
    unsafe { libc::getauxval(kind) }
}

/// Kernel name, release and machine.
pub(crate) fn kernel() -> String {
    // SAFETY: an all-zero `utsname` is a valid value of that plain structure.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is live and writable.
    if unsafe { libc::uname(&raw mut name) } != 0 {
        return "unavailable".into();
    }
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
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
        let r = unsafe { libc::pread(fd.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len(), at as libc::off_t) };
        match check(r as libc::c_long)? {
            0 => break,
            n => filled += n as usize,
        }
    }
    Ok(filled)
}

/// Joins the namespace held by `fd`.
pub(crate) fn setns(fd: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind) }.into())?;
    Ok(())
}

/// One signal from a signal descriptor: (number, value if it was queued with one).
pub(crate) fn read_signal(fd: BorrowedFd<'_>) -> io::Result<(i32, Option<i32>)> {
    let mut bytes = [0u8; 128]; // struct signalfd_siginfo: signo at 0, code at 8, int at 44
    read(fd, &mut bytes)?;
    let word = |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok((word(0), (word(8) == libc::SI_QUEUE).then(|| word(44))))
}

/// Runs `work` in a forked child and returns its answer. Only for a single-threaded process.
pub(crate) fn in_child(work: impl FnOnce() -> String) -> io::Result<String> {
    let (reader, writer) = pipe()?;
    let Some(pid) = fork()? else {
        drop(reader);
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let answer = answer.unwrap_or_else(|_| "-panicked".into());
        let _ = std::io::Write::write_all(&mut std::fs::File::from(writer), answer.as_bytes());
        exit_now(0)
    };
    drop(writer);
    let mut answer = String::new();
    let read = std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut answer);
    wait_for(pid)?;
    read?;
    Ok(answer)
}

/// Puts the null device on the three standard streams.
pub(crate) fn silence_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    (0..3).try_for_each(|stream| dup_to(null.as_raw_fd(), stream))
}
