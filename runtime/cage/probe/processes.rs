//! Attempts on other processes: the cage's init, the supervisor beyond it, one's own children, one's own program.
//!
//! Owns these attempts: tracing, reading and writing memory, taking descriptors, signals.

use crate::Attempt;
use crate::answer::{best, expect, io_result, open, open_for_write, sys};

/// Forks a child that waits for ever, gives it to `f`, and kills it.
fn with_child(f: impl FnOnce(i32) -> i64) -> i64 {
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            unsafe { libc::pause() };
        }
    }
    let answer = f(child);
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    answer
}

fn ptrace(request: libc::c_uint, pid: i32) -> i64 {
    call!(libc::SYS_ptrace, request, pid, 0, 0)
}

/// The way around a filter that tracing once was: a child asks to be traced, so that its tracer may change the
/// number of a call after it was judged. The answer is the child's.
fn rewrite_a_call_of_a_child() -> i64 {
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = ptrace(libc::PTRACE_TRACEME, 0);
        unsafe { libc::_exit(if refused < 0 { -refused as i32 } else { 0 }) }
    }
    let mut status = 0;
    let seized = ptrace(libc::PTRACE_SEIZE, child);
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    best([seized, -i64::from(libc::WEXITSTATUS(status))])
}

fn process_vm(number: i64, pid: i32) -> i64 {
    let mut byte = [0u8; 8];
    let part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 8 };
    call!(number, pid, &raw const part, 1, &raw const part, 1, 0)
}

fn pidfd_getfd(pid: i32) -> i64 {
    let pidfd = call!(libc::SYS_pidfd_open, pid, 0);
    best((0..8).map(|fd| call!(libc::SYS_pidfd_getfd, pidfd, fd, 0)))
}

fn advise_another() -> i64 {
    let part = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 4096 };
    let pidfd = call!(libc::SYS_pidfd_open, 1, 0);
    call!(libc::SYS_process_madvise, pidfd, &raw const part, 1, libc::MADV_COLD, 0)
}

fn release_another() -> i64 {
    let pidfd = call!(libc::SYS_pidfd_open, 1, 0);
    call!(libc::SYS_process_mrelease, pidfd, 0)
}

/// Every signal there is, to the init: it must go on. 0 when it does.
fn signal_init() -> i64 {
    for signal in 1..=64 {
        unsafe { libc::kill(1, signal) };
    }
    let pidfd = call!(libc::SYS_pidfd_open, 1, 0);
    call!(libc::SYS_pidfd_send_signal, pidfd, libc::SIGKILL, 0, 0);
    unsafe { libc::usleep(20_000) };
    sys(unsafe { libc::kill(1, 0) }.into())
}

/// A signal that claims to come from the kernel.
fn forged_signal() -> i64 {
    let mut info = [0i32; 32];
    (info[0], info[2]) = (libc::SIGUSR1, libc::SI_KERNEL);
    call!(libc::SYS_rt_sigqueueinfo, 1, libc::SIGUSR1, info.as_ptr())
}

/// How many processes outside of init, program and this attempt can be reached by number.
fn signal_outside() -> i64 {
    let own = [1, unsafe { libc::getppid() }, unsafe { libc::getpid() }];
    let reached = (1..=70_000).filter(|pid| !own.contains(pid) && unsafe { libc::kill(*pid, 0) } == 0);
    reached.count() as i64
}

/// How many processes beyond one's own /proc shows.
fn processes_seen() -> i64 {
    let own = [unsafe { libc::getppid() }, unsafe { libc::getpid() }];
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| !own.contains(pid)).count() as i64
}

/// Everything that can be killed, killed: of three children none may be left, and the init lives.
fn kill_everything() -> i64 {
    let mut children = [0; 3];
    for child in &mut children {
        *child = unsafe { libc::fork() };
        if *child == 0 {
            loop {
                unsafe { libc::pause() };
            }
        }
    }
    unsafe { libc::kill(-1, libc::SIGKILL) };
    let reaped =
        children.iter().filter(|child| unsafe { libc::waitpid(**child, std::ptr::null_mut(), 0) } > 0);
    expect(reaped.count() == 3 && unsafe { libc::getppid() } == 1)
}

/// The lock and signal owner of a file may be any process by number: the host's must not be among them.
fn signal_by_descriptor() -> i64 {
    best((3..2000).filter(|pid| unsafe { libc::kill(*pid, 0) } != 0).take(50).map(|pid| {
        let file = std::fs::File::open("/dev/null").map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        match sys(unsafe { libc::fcntl(file, libc::F_SETOWN, pid) }.into()) {
            // Said to be done, and nobody is the owner: nothing happened.
            0 if unsafe { libc::fcntl(file, libc::F_GETOWN) } == 0 => -i64::from(libc::ENODATA),
            answer => answer,
        }
    }))
}

/// Descriptors beyond the standard streams.
fn leaked_descriptors() -> i64 {
    // The attempt's own pipe is one that the probe made, with close-on-exec; nothing inherited has it.
    let inherited = |fd: &i32| unsafe { libc::fcntl(*fd, libc::F_GETFD) } == 0;
    (3..4096).filter(inherited).count() as i64
}

/// Whether no standard stream is a socket, which could carry descriptors to the host.
fn streams_are_no_sockets() -> i64 {
    let (mut kind, mut length) = (0i32, 4u32);
    expect((0..3).all(|fd| {
        let option = (libc::SOL_SOCKET, libc::SO_TYPE);
        let r = unsafe { libc::getsockopt(fd, option.0, option.1, (&raw mut kind).cast(), &raw mut length) };
        sys(r.into()) == -i64::from(libc::ENOTSOCK)
    }))
}

/// Pages of this process that come from files: only those of the cage's own root.
fn foreign_mappings() -> i64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|p| p.starts_with('/'));
    paths.filter(|path| !std::path::Path::new(path).exists()).count() as i64
}

/// Whether the environment is the one of the specification and nothing else.
fn environment() -> i64 {
    expect(std::env::vars().all(|(name, _)| ["PATH", "ABSTRACT", "PORT", "OUTSIDE"].contains(&name.as_str())))
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("whoami", || i64::from(unsafe { libc::geteuid() })),
    ("pid", || i64::from(unsafe { libc::getpid() })),
    ("ptrace_attach_init", || ptrace(libc::PTRACE_ATTACH, 1)),
    ("ptrace_seize_init", || ptrace(libc::PTRACE_SEIZE, 1)),
    ("ptrace_seize_parent", || ptrace(libc::PTRACE_SEIZE, unsafe { libc::getppid() })),
    ("ptrace_own_child", || with_child(|child| ptrace(libc::PTRACE_SEIZE, child))),
    ("ptrace_traceme", || ptrace(libc::PTRACE_TRACEME, 0)),
    ("ptrace_rewrite", rewrite_a_call_of_a_child),
    ("vm_readv_init", || process_vm(libc::SYS_process_vm_readv, 1)),
    ("vm_readv_child", || with_child(|child| process_vm(libc::SYS_process_vm_readv, child))),
    ("vm_writev_init", || process_vm(libc::SYS_process_vm_writev, 1)),
    ("vm_writev_child", || with_child(|child| process_vm(libc::SYS_process_vm_writev, child))),
    ("process_madvise", advise_another),
    ("process_mrelease", release_another),
    ("kcmp", || call!(libc::SYS_kcmp, 1, 2, 0, 0, 0)),
    ("pidfd_getfd_init", || pidfd_getfd(1)),
    ("pidfd_getfd_child", || with_child(pidfd_getfd)),
    ("init_root", || io_result(std::fs::read_dir("/proc/1/root"))),
    ("init_root_by_task", || io_result(std::fs::read_dir("/proc/1/task/1/root"))),
    ("init_root_by_self", || io_result(std::fs::read_dir("/proc/self/../1/root"))),
    ("init_cwd", || io_result(std::fs::read_dir("/proc/1/cwd"))),
    ("init_descriptors", || io_result(std::fs::read_dir("/proc/1/fd"))),
    ("init_mappings", || io_result(std::fs::read_dir("/proc/1/map_files"))),
    ("init_exe_write", || open_for_write("/proc/1/exe")),
    ("init_exe_read", || open("/proc/1/exe")),
    ("init_mem_write", || open_for_write("/proc/1/mem")),
    ("init_maps", || open("/proc/1/maps")),
    ("init_environ", || io_result(std::fs::read("/proc/1/environ"))),
    ("init_oom_score", || crate::answer::put("/proc/1/oom_score_adj", "1000")),
    ("self_exe_write", || open_for_write("/proc/self/exe")),
    ("signal_init", signal_init),
    ("signal_forged", forged_signal),
    ("signal_outside", signal_outside),
    ("signal_by_descriptor", signal_by_descriptor),
    ("processes_seen", processes_seen),
    ("kill_everything", kill_everything),
    ("leaked_descriptors", leaked_descriptors),
    ("streams_are_no_sockets", streams_are_no_sockets),
    ("foreign_mappings", foreign_mappings),
    ("environment", environment),
];
