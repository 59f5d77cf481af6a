//! Processes: identity, limits, signals, forks and their ends, and what the kernel says about itself.
//!
//! Owns thin wrappers only, as its parent module says. Forking is safe for single-threaded callers only.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{check, own, pipe, read};

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

/// Raises this process's own limit on descriptors to what it may have.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live and writable, then only read; a failure leaves the limit as it is.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// `pidfd_open(2)`.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers only.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends `signal` to the process held by `pidfd`; a value makes it a queued signal that carries it.
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int, value: Option<i32>) -> io::Result<()> {
    // The head of siginfo_t on x86_64 Linux, padded to the kernel's size: signo, errno, code, pad, pid, uid,
    // value.
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
    let mut request =
        InterfaceFlags { name: [0; 16], flags: (libc::IFF_UP | libc::IFF_RUNNING) as _, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: plain integers only.
    let socket =
        own(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
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

/// Becomes the given user and group in all three identities; supplementary groups are dropped where that is
/// allowed.
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

/// Starts a child with new namespaces. In the parent: its pid and a descriptor for it; in the child: `None`.
pub(crate) fn clone_child(
    namespaces: u64,
    group: Option<BorrowedFd<'_>>,
) -> io::Result<Option<(i32, OwnedFd)>> {
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
    // SAFETY: without CLONE_VM the child gets a copy of this memory, as with fork. The caller is
    // single-threaded (checked by `launch`), so no lock is held by a thread that the child lacks.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of_val(&args)) })?;
    if pid == 0 { Ok(None) } else { Ok(Some((pid as i32, own(pidfd.into())?))) }
}

/// `fork(2)` through the C library, which then knows the child's thread id. `None` in the child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the callers are single-threaded, so the child's copy of every lock is free or its own.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Runs `child` in a process that borrows this one's memory, and waits until it has executed a program or ended:
/// nothing is copied for a process that is about to become another. Its pid. What `child` returns is its exit
/// code.
pub(crate) fn borrow_fork(child: &dyn Fn() -> i32) -> io::Result<i32> {
    extern "C" fn begin(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the pointer below, to a reference that its maker keeps: it sleeps while this runs.
        let child = unsafe { *child.cast::<&dyn Fn() -> i32>() };
        child() // a panic ends the process here: it cannot cross the foreign caller
    }
    let mut stack = vec![0u128; 8192]; // 128 KiB, aligned as the calling convention wants its top
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is live, large enough and used by nobody else, and its end is what the call wants
    // because stacks grow down. With CLONE_VFORK this process, which has one thread, stands still until the
    // child has its own memory, so neither sees the other change anything; `child` outlives that.
    let pid = check(
        unsafe {
            let top = stack.as_mut_ptr_range().end;
            libc::clone(begin, top.cast(), flags, (&raw const child).cast_mut().cast())
        }
        .into(),
    )?;
    Ok(pid as i32)
}

/// The set of the given signals.
pub(crate) fn signal_set(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: an all-zero set is a valid value to be initialised, and each call gets a live pointer and a
    // valid number.
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
    // SAFETY: takes nothing; it fails only for a process that leads a group already, which then is what was
    // wanted.
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
    // SAFETY: `path` is NUL-terminated; both lists end with null (asserted) and their strings are kept by the
    // caller.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
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
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null, 0usize, VERSION) })
        .map(|v| v as u32)
}

/// An auxiliary value that the kernel gave this process.
pub(crate) fn auxiliary(kind: libc::c_ulong) -> u64 {
    // SAFETY: plain integers only; an unknown kind gives 0.
    unsafe { libc::getauxval(kind) }
}

/// Clock ticks a second, the unit of times in `/proc`.
pub(crate) fn clock_ticks() -> u64 {
    // SAFETY: plain integers only.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

/// Bytes in a page, the unit of sizes in `/proc`.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: plain integers only.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
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
