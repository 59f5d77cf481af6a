//! What each subject should do, written down a second time by name, so that a row cannot change its behaviour
//! alone.

use std::collections::BTreeSet;

use super::super::{Class, Level, Pinned, Row, Rule, Test, table};
use super::filter::{ALLOW, answer, refuse};
use super::named;

const TRACE: u32 = libc::SECCOMP_RET_TRACE;
const EPERM: u32 = refuse(libc::EPERM);

/// The rows that hold `what`, by name, are exactly these.
fn exactly(what: impl Fn(&Row) -> bool, names: &str) {
    let listed: BTreeSet<&str> = names.split_whitespace().collect();
    let found: BTreeSet<&str> = table().filter(|row| what(row)).map(|row| row.name).collect();
    assert_eq!(found, listed);
}

/// The calls of a class that are always trapped are exactly these, and the filters agree.
fn traced(class: Class, names: &str) {
    exactly(|row| matches!(row.pinned, Pinned::Trap(found) if found == class), names);
    for row in names.split_whitespace().map(named) {
        if matches!(row.contained, Rule::Allow) && row.cases.is_empty() {
            assert_eq!(answer(Level::Contained, row.number, [0; 6]), ALLOW, "{}", row.name);
            assert_eq!(answer(Level::Pinned, row.number, [0; 6]), TRACE, "{}", row.name);
        }
    }
}

/// What the two levels answer when one argument has this value and the others are zero.
fn both(name: &str, arg: usize, value: u64) -> [u32; 2] {
    let mut args = [0; 6];
    args[arg] = value;
    [Level::Contained, Level::Pinned].map(|level| answer(level, named(name).number, args))
}

#[test]
fn clocks_and_randomness_reach_the_supervisor() {
    traced(Class::Time, "clock_gettime clock_getres gettimeofday time times getrusage sysinfo");
    traced(Class::Random, "getrandom");
}

#[test]
fn sleeps_and_timers_reach_the_supervisor() {
    traced(Class::Sleep, "nanosleep clock_nanosleep pause rt_sigsuspend rt_sigtimedwait sched_yield");
    traced(
        Class::Timers,
        "alarm setitimer getitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete
         timerfd_create timerfd_settime timerfd_gettime",
    );
}

#[test]
fn signals_reach_the_supervisor() {
    traced(Class::Signals, "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo signalfd signalfd4");
}

#[test]
fn facts_about_the_machine_reach_the_supervisor() {
    traced(Class::Identity, "uname getcpu sched_getaffinity sched_setaffinity sched_getparam getpriority");
}

#[test]
fn the_limit_on_time_reaches_the_supervisor() {
    for (name, resource) in [("getrlimit", 0), ("setrlimit", 0), ("prlimit64", 1)] {
        assert_eq!(both(name, resource, libc::RLIMIT_CPU.into()), [ALLOW, TRACE], "{name}");
        for other in (0..16).filter(|other| *other != libc::RLIMIT_CPU) {
            assert_eq!(both(name, resource, other.into()), [ALLOW; 2], "{name} {other}");
        }
    }
}

#[test]
fn metadata_reaches_the_supervisor() {
    traced(
        Class::Metadata,
        "stat fstat lstat newfstatat statx statfs fstatfs getdents getdents64 utime utimes futimesat utimensat",
    );
    assert_eq!(both("file_getattr", 0, 0), [ALLOW, refuse(libc::ENOSYS)]);
    assert_eq!(both("shmctl", 1, 2), [ALLOW, TRACE], "IPC_STAT shows times");
    assert_eq!(both("shmctl", 1, 0), [ALLOW; 2], "IPC_RMID does not");
}

#[test]
fn opening_and_naming_reach_the_supervisor() {
    traced(
        Class::Files,
        "open openat creat close close_range truncate ftruncate mkdir mkdirat rmdir unlink unlinkat rename renameat
         renameat2 link linkat symlink symlinkat mknod mknodat readlink readlinkat",
    );
    assert_eq!(both("openat2", 0, 0), [ALLOW, refuse(libc::ENOSYS)]);
}

#[test]
fn device_nodes_are_refused_by_their_type() {
    for (name, mode) in [("mknod", 1), ("mknodat", 2)] {
        for kind in [libc::S_IFCHR, libc::S_IFBLK, libc::S_IFDIR, libc::S_IFLNK] {
            assert_eq!(both(name, mode, u64::from(kind | 0o666)), [EPERM; 2], "{name} {kind:o}");
        }
        for kind in [0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK] {
            assert_eq!(both(name, mode, u64::from(kind | 0o666)), [ALLOW, TRACE], "{name} {kind:o}");
        }
    }
}

#[test]
fn streams_reach_the_supervisor_and_offsets_do_not() {
    traced(Class::Streams, "read readv write writev preadv2 pwritev2 sendfile splice tee vmsplice");
    for name in ["pread64", "pwrite64", "preadv", "pwritev", "copy_file_range"] {
        assert_eq!(both(name, 0, 0), [ALLOW; 2], "{name}");
    }
    assert_eq!(both("io_setup", 0, 0), [refuse(libc::ENOSYS); 2]);
    for name in ["io_destroy", "io_submit", "io_getevents", "io_pgetevents", "io_cancel"] {
        assert_eq!(both(name, 0, 0), [ALLOW, refuse(libc::ENOSYS)], "{name}");
    }
}

#[test]
fn locks_and_their_like_reach_the_supervisor() {
    traced(Class::Locks, "flock");
    let trapped: Vec<u64> = (0..2048).filter(|cmd| both("fcntl", 1, *cmd) == [ALLOW, TRACE]).collect();
    // SETFL SETLK SETLKW SETOWN SETSIG SETOWN_EX OFD_SETLK OFD_SETLKW SETLEASE NOTIFY
    assert_eq!(trapped, [4, 6, 7, 8, 10, 15, 37, 38, 1024, 1026]);
}

#[test]
fn ioctls_off_the_list_are_refused() {
    for request in [libc::TIOCSTI, libc::TIOCLINUX, 0xdead_beef, libc::TIOCSCTTY, libc::FS_IOC_SETFLAGS] {
        assert_eq!(both("ioctl", 1, request), [EPERM; 2], "{request:#x}");
    }
    assert_eq!(both("ioctl", 1, libc::FIONREAD), [ALLOW; 2]);
    assert_eq!(both("ioctl", 1, libc::FIOASYNC), [ALLOW, TRACE]);
}

#[test]
fn waits_for_descriptors_reach_the_supervisor() {
    traced(Class::Readiness, "poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2");
}

#[test]
fn executable_mappings_reach_the_supervisor() {
    traced(Class::Memory, "mincore mremap");
    for name in ["mmap", "mprotect", "pkey_mprotect"] {
        for protection in 0..16 {
            let pinned = if protection & 4 == 0 { ALLOW } else { TRACE };
            assert_eq!(both(name, 2, protection), [ALLOW, pinned], "{name} {protection}");
        }
    }
}

#[test]
fn advice_that_leaves_content_to_the_host_is_refused() {
    let refused: Vec<u64> =
        (0..256).filter(|advice| both("madvise", 2, *advice)[1] == refuse(libc::EINVAL)).collect();
    assert_eq!(refused, [8, 25, 100, 101], "FREE COLLAPSE HWPOISON SOFT_OFFLINE");
    assert_eq!(both("madvise", 2, 3), [ALLOW; 2], "WILLNEED");
}

#[test]
fn code_does_not_move_unseen() {
    assert_eq!(both("madvise", 2, 4), [ALLOW, TRACE], "DONTNEED");
    assert_eq!(both("madvise", 2, 24), [ALLOW, TRACE], "DONTNEED_LOCKED");
    assert_eq!(both("shmat", 2, 0o100_000), [ALLOW, refuse(libc::EINVAL)], "SHM_EXEC");
    assert_eq!(both("shmat", 2, 0), [ALLOW; 2]);
    assert_eq!(both("remap_file_pages", 0, 0), [ALLOW, refuse(libc::ENOSYS)]);
    assert_eq!(both("mremap", 0, 0), [ALLOW, TRACE]);
}

#[test]
fn tasks_that_come_and_go_reach_the_supervisor() {
    traced(Class::Process, "clone fork vfork execve execveat exit exit_group wait4 waitid set_tid_address");
}

#[test]
fn new_namespaces_and_untraced_tasks_are_refused() {
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        assert_eq!(both("clone", 0, flag as u64 | 17), [EPERM; 2], "{flag:#x}");
        assert_eq!(both("unshare", 0, flag as u64), [EPERM; 2], "{flag:#x}");
    }
    assert_eq!(both("clone", 0, 17), [ALLOW, TRACE], "a process");
    assert_eq!(both("clone", 0, 0x0080_0000 | 17), [ALLOW, EPERM], "a task that nobody would serialise");
    assert_eq!(
        both("clone", 0, 0x1000 | 17),
        [ALLOW, refuse(libc::EINVAL)],
        "a descriptor as pidfd_open gives"
    );
    assert_eq!(both("unshare", 0, libc::CLONE_FILES as u64), [ALLOW; 2]);
}

#[test]
fn futexes_reach_the_supervisor() {
    traced(Class::Futex, "futex set_robust_list get_robust_list");
    for name in ["futex_waitv", "futex_wake", "futex_wait", "futex_requeue"] {
        assert_eq!(both(name, 0, 0), [ALLOW, refuse(libc::ENOSYS)], "{name}");
    }
}

#[test]
fn sockets_reach_the_supervisor() {
    traced(
        Class::Sockets,
        "bind listen connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown",
    );
    assert_eq!(both("getsockopt", 2, libc::SO_ERROR as u64), [ALLOW; 2]);
    assert_eq!(both("getsockopt", 2, libc::TCP_INFO as u64), [ALLOW, TRACE]);
    assert_eq!(both("setsockopt", 2, libc::SO_REUSEADDR as u64), [ALLOW; 2]);
    assert_eq!(both("setsockopt", 2, libc::SO_RCVTIMEO as u64), [ALLOW, TRACE]);
}

#[test]
fn sockets_off_the_list_are_refused() {
    for family in (0..64).filter(|f| ![libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].contains(f)) {
        for kind in 0..16 {
            let args = [family as u64, kind, 0, 0, 0, 0];
            for level in [Level::Contained, Level::Pinned] {
                assert_eq!(answer(level, named("socket").number, args), EPERM, "family {family}");
                assert_eq!(answer(level, named("socketpair").number, args), EPERM, "family {family}");
            }
        }
    }
    assert_eq!(both("socketpair", 0, libc::AF_UNIX as u64), [ALLOW; 2]);
}

#[test]
fn settings_that_loosen_are_refused() {
    for (option, why) in [
        (libc::PR_SET_TSC, "would undo the trap of the time stamp counter"),
        (libc::PR_SET_MM, "moves the marks of the address space"),
        (59, "PR_SET_SYSCALL_USER_DISPATCH answers calls before the supervisor"),
        (libc::PR_SET_SPECULATION_CTRL, "speculation is the host's"),
        (libc::PR_SET_SECUREBITS, "capabilities are the launcher's"),
        (libc::PR_SET_PTRACER, "tracers are the launcher's"),
    ] {
        assert_eq!(both("prctl", 0, option as u64), [EPERM; 2], "{option}: {why}");
    }
    assert_eq!(both("prctl", 0, libc::PR_SET_NAME as u64), [ALLOW; 2]);
    for option in [libc::PR_SET_SECCOMP, libc::PR_GET_TIMERSLACK] {
        assert_eq!(both("prctl", 0, option as u64), [ALLOW, refuse(libc::EINVAL)]);
    }
    assert_eq!(both("seccomp", 0, 1), [ALLOW, refuse(libc::ENOSYS)]);
    assert_eq!(both("arch_prctl", 0, 0x1012), [EPERM; 2], "ARCH_SET_CPUID");
    assert_eq!(both("arch_prctl", 0, 0x1002), [ALLOW; 2], "ARCH_SET_FS");
    assert_eq!(both("personality", 0, 0xffff_ffff), [ALLOW; 2], "asking");
    assert_eq!(both("personality", 0, 0), [ALLOW, EPERM], "would bring the random layout back");
    assert_eq!(both("personality", 0, 0x0004_0000), [EPERM; 2]);
}

#[test]
fn private_state_runs_untrapped() {
    exactly(
        |row| row.cases.is_empty() && matches!((row.contained, row.pinned), (Rule::Allow, Pinned::Native)),
        "access faccessat faccessat2 getcwd chdir fchdir chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
         umask setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr
         flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat fallocate lseek fsync fdatasync
         sync_file_range sync syncfs readahead fadvise64 pread64 pwrite64 preadv pwritev copy_file_range dup dup2 dup3
         pipe pipe2 eventfd eventfd2 epoll_create epoll_create1 epoll_ctl munmap brk
         pkey_alloc pkey_free mseal msync mlock
         mlock2 munlock mlockall munlockall membarrier getpid getppid gettid getpgid setpgid getpgrp getsid setsid
         getuid geteuid getgid getegid getresuid getresgid setuid setgid setreuid setregid setresuid
         setresgid setgroups setfsuid setfsgid capget capset sched_get_priority_max sched_get_priority_min
         landlock_create_ruleset landlock_add_rule landlock_restrict_self rt_sigaction rt_sigprocmask
         rt_sigreturn rt_sigpending sigaltstack restart_syscall getsockname getpeername shmdt",
    );
}

#[test]
fn what_is_not_offered_looks_missing() {
    let enosys = |row: &Row| matches!(row.pinned, Pinned::Errno(libc::ENOSYS));
    exactly(
        |row| enosys(row) && matches!(row.contained, Rule::Allow),
        "openat2 file_getattr cachestat io_destroy io_submit io_getevents io_pgetevents io_cancel
         inotify_init inotify_init1 inotify_add_watch inotify_rm_watch get_mempolicy pidfd_open remap_file_pages
         pidfd_send_signal rseq futex_waitv futex_wake futex_wait futex_requeue
         sched_rr_get_interval sched_getattr sched_setattr seccomp semget semop semtimedop semctl msgget msgsnd msgrcv
         msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr",
    );
    exactly(
        |row| matches!(row.contained, Rule::Errno(libc::ENOSYS)),
        "io_setup clone3 memfd_secret map_shadow_stack rseq_slice_yield uretprobe uprobe",
    );
    for row in table().filter(|row| enosys(row)) {
        assert_eq!(answer(Level::Pinned, row.number, [0; 6]), refuse(libc::ENOSYS), "{}", row.name);
    }
}

/// Refused at both levels whatever the arguments.
fn refused(names: &str) -> usize {
    for row in names.split_whitespace().map(named) {
        for word in [0, 1, 0xffff_ffff, u64::MAX] {
            for level in [Level::Contained, Level::Pinned] {
                assert_eq!(answer(level, row.number, [word; 6]), EPERM, "{level:?} {}", row.name);
            }
        }
    }
    names.split_whitespace().count()
}

#[test]
fn the_host_is_out_of_reach_at_every_level() {
    let mounts =
        "mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
        statmount listmount open_tree_attr setns listns open_by_handle_at name_to_handle_at fanotify_init
        fanotify_mark quotactl quotactl_fd swapon swapoff acct file_setattr";
    let machine =
        "reboot syslog settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname vhangup
        iopl ioperm mbind set_mempolicy migrate_pages move_pages set_mempolicy_home_node lsm_get_self_attr
        lsm_set_self_attr lsm_list_modules";
    let processes =
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
        keyctl add_key request_key";
    let kernel = "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register kexec_load
        kexec_file_load init_module finit_module delete_module create_module get_kernel_syms query_module modify_ldt";
    assert!(refused(mounts) + refused(machine) + refused(processes) + refused(kernel) >= 65);
}

#[test]
fn obsolete_calls_are_refused_at_every_level() {
    refused(
        "uselib ustat sysfs _sysctl nfsservctl lookup_dcookie getpmsg putpmsg afs_syscall tuxcall security vserver
         epoll_ctl_old epoll_wait_old get_thread_area set_thread_area",
    );
}

#[test]
fn huge_pages_are_not_offered() {
    assert_eq!(both("mmap", 3, libc::MAP_HUGETLB as u64), [ALLOW, refuse(libc::ENOMEM)]);
    assert_eq!(both("memfd_create", 1, libc::MFD_HUGETLB.into()), [ALLOW, refuse(libc::EINVAL)]);
    assert_eq!(both("shmget", 2, libc::SHM_HUGETLB as u64), [ALLOW, refuse(libc::ENOMEM)]);
    assert_eq!(both("memfd_create", 1, libc::MFD_CLOEXEC.into()), [ALLOW; 2]);
    assert_eq!(both("shmget", 2, libc::IPC_CREAT as u64 | 0o600), [ALLOW; 2]);
}

#[test]
fn what_the_host_lends_is_answered_with_zero() {
    exactly(
        |row| matches!(row.pinned, Pinned::Zero),
        "getgroups sched_getscheduler sched_setparam sched_setscheduler setpriority ioprio_get ioprio_set",
    );
    let zero = refuse(0);
    assert_eq!(both("setpriority", 2, 5), [ALLOW, zero]);
    assert_eq!(both("setpriority", 2, -5i64 as u64), [ALLOW, refuse(libc::EACCES)], "upwards");
    assert_eq!(both("sched_setscheduler", 1, 3), [ALLOW, zero], "batch");
    for policy in [libc::SCHED_FIFO, libc::SCHED_RR, libc::SCHED_DEADLINE, libc::SCHED_RR | 0x4000_0000] {
        assert_eq!(both("sched_setscheduler", 1, policy as u64), [ALLOW, EPERM]);
    }
    assert_eq!(both("getgroups", 0, 64), [ALLOW, zero]);
}

/// What only the argument decides at `pinned`, and nothing else.
#[test]
fn calls_judged_by_argument_are_known() {
    exactly(
        |row| !row.cases.is_empty(),
        "mmap mprotect pkey_mprotect madvise fcntl ioctl getrlimit setrlimit prlimit64 prctl personality getsockopt
         setsockopt shmctl shmget shmat memfd_create clone sched_setscheduler setpriority",
    );
    let empty = |test: Test| matches!(test, Test::AnyBit(0) | Test::OneOf([]));
    for row in table() {
        for case in row.cases {
            assert!(case.arg < 6 && !empty(case.test), "{}", row.name);
            // One class answers a call, or the dispatch by class would not know whose it is.
            assert!(!matches!(case.then, Pinned::Trap(class) if Some(class) != row.class()), "{}", row.name);
        }
    }
}
