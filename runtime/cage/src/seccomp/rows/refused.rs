//! Rows: what no caged program may call, at any level.
//!
//! Owns data only. Refused with `EPERM`, or with `ENOSYS` where libraries then use an older call that can be
//! judged. The errno is the same at every level, and the program goes on.

use super::{Part, missing, part, refused};

/// Mounts, handles, clocks and names of the host.
pub(super) const HOST: Part = part(
    "the_host_is_out_of_reach_at_every_level",
    &[
        refused("mount", libc::SYS_mount, "mounts are the launcher's"),
        refused("umount2", libc::SYS_umount2, "mounts are the launcher's"),
        refused("pivot_root", libc::SYS_pivot_root, "mounts are the launcher's"),
        refused("chroot", libc::SYS_chroot, "roots are the launcher's"),
        refused("open_tree", libc::SYS_open_tree, "new mount interface"),
        refused("move_mount", libc::SYS_move_mount, "new mount interface"),
        refused("fsopen", libc::SYS_fsopen, "new mount interface"),
        refused("fsconfig", libc::SYS_fsconfig, "new mount interface"),
        refused("fsmount", libc::SYS_fsmount, "new mount interface"),
        refused("fspick", libc::SYS_fspick, "new mount interface"),
        refused("mount_setattr", libc::SYS_mount_setattr, "new mount interface"),
        refused("statmount", 457, "lists mounts by id, also of other namespaces"),
        refused("listmount", 458, "lists mounts by id, also of other namespaces"),
        refused("open_tree_attr", 467, "new mount interface"),
        refused("setns", libc::SYS_setns, "joins a namespace"),
        refused("listns", 470, "lists namespaces, also of others"),
        refused(
            "open_by_handle_at",
            libc::SYS_open_by_handle_at,
            "opens by inode number, around every path check",
        ),
        refused("name_to_handle_at", libc::SYS_name_to_handle_at, "makes the handles of open_by_handle_at"),
        refused("fanotify_init", libc::SYS_fanotify_init, "watches whole mounts"),
        refused("fanotify_mark", libc::SYS_fanotify_mark, "watches whole mounts"),
        refused("quotactl", libc::SYS_quotactl, "disk quotas of the host"),
        refused("quotactl_fd", libc::SYS_quotactl_fd, "disk quotas of the host"),
        refused("swapon", libc::SYS_swapon, "swap of the host"),
        refused("swapoff", libc::SYS_swapoff, "swap of the host"),
        refused("acct", libc::SYS_acct, "process accounting of the host"),
        refused("reboot", libc::SYS_reboot, "the host"),
        refused("syslog", libc::SYS_syslog, "the host's kernel log"),
        refused("settimeofday", libc::SYS_settimeofday, "the host's clock"),
        refused("clock_settime", libc::SYS_clock_settime, "the host's clock"),
        refused("clock_adjtime", libc::SYS_clock_adjtime, "the host's clock"),
        refused("adjtimex", libc::SYS_adjtimex, "the host's clock"),
        refused("sethostname", libc::SYS_sethostname, "identity is the launcher's"),
        refused("setdomainname", libc::SYS_setdomainname, "identity is the launcher's"),
        refused("vhangup", libc::SYS_vhangup, "the host's terminal"),
        refused("iopl", libc::SYS_iopl, "direct hardware access"),
        refused("ioperm", libc::SYS_ioperm, "direct hardware access"),
        refused("mbind", libc::SYS_mbind, "placement on the host's memory nodes"),
        refused("set_mempolicy", libc::SYS_set_mempolicy, "placement on the host's memory nodes"),
        refused("migrate_pages", libc::SYS_migrate_pages, "placement on the host's memory nodes"),
        refused("move_pages", libc::SYS_move_pages, "placement on the host's memory nodes"),
        refused("set_mempolicy_home_node", 450, "placement on the host's memory nodes"),
        refused("lsm_get_self_attr", 459, "security modules are the launcher's"),
        refused("lsm_set_self_attr", 460, "security modules are the launcher's"),
        refused("lsm_list_modules", 461, "security modules are the launcher's"),
        refused("file_setattr", 469, "inode flags such as immutable"),
    ],
);

/// Other processes, and keys.
pub(super) const PROCESSES: Part = part(
    "the_host_is_out_of_reach_at_every_level",
    &[
        refused("ptrace", libc::SYS_ptrace, "reads and writes other processes; large attack surface"),
        refused("process_vm_readv", libc::SYS_process_vm_readv, "reads another process"),
        refused("process_vm_writev", libc::SYS_process_vm_writev, "writes another process"),
        refused("process_madvise", libc::SYS_process_madvise, "acts on another process"),
        refused("process_mrelease", libc::SYS_process_mrelease, "acts on another process"),
        refused("kcmp", libc::SYS_kcmp, "compares kernel pointers of two processes"),
        refused("pidfd_getfd", libc::SYS_pidfd_getfd, "takes a descriptor of another process"),
        refused("keyctl", libc::SYS_keyctl, "keyrings are not fully namespaced"),
        refused("add_key", libc::SYS_add_key, "keyrings are not fully namespaced"),
        refused("request_key", libc::SYS_request_key, "starts a helper on the host"),
    ],
);

/// Second doors into the kernel.
pub(super) const KERNEL: Part = part(
    "the_host_is_out_of_reach_at_every_level",
    &[
        refused("bpf", libc::SYS_bpf, "loads programs into the kernel"),
        refused("perf_event_open", libc::SYS_perf_event_open, "kernel profiling interface"),
        refused("userfaultfd", libc::SYS_userfaultfd, "stalls the kernel inside a fault"),
        refused(
            "io_uring_setup",
            libc::SYS_io_uring_setup,
            "a second system call interface that this filter cannot see",
        ),
        refused("io_uring_enter", libc::SYS_io_uring_enter, "as io_uring_setup"),
        refused("io_uring_register", libc::SYS_io_uring_register, "as io_uring_setup"),
        refused("kexec_load", libc::SYS_kexec_load, "the host's kernel"),
        refused("kexec_file_load", libc::SYS_kexec_file_load, "the host's kernel"),
        refused("init_module", libc::SYS_init_module, "the host's kernel"),
        refused("finit_module", libc::SYS_finit_module, "the host's kernel"),
        refused("delete_module", libc::SYS_delete_module, "the host's kernel"),
        refused("create_module", 174, "the host's kernel"),
        refused("get_kernel_syms", 177, "the host's kernel"),
        refused("query_module", 178, "the host's kernel"),
        refused("modify_ldt", libc::SYS_modify_ldt, "16-bit segments, a long list of kernel bugs"),
    ],
);

/// Calls that nothing needs.
pub(super) const OBSOLETE: Part = part(
    "obsolete_calls_are_refused_at_every_level",
    &[
        refused("uselib", libc::SYS_uselib, "obsolete"),
        refused("ustat", libc::SYS_ustat, "obsolete; file systems by device number"),
        refused("sysfs", libc::SYS_sysfs, "obsolete; lists file systems"),
        refused("_sysctl", libc::SYS__sysctl, "obsolete"),
        refused("nfsservctl", libc::SYS_nfsservctl, "obsolete"),
        refused("lookup_dcookie", libc::SYS_lookup_dcookie, "profiler interface"),
        refused("getpmsg", libc::SYS_getpmsg, "never implemented"),
        refused("putpmsg", libc::SYS_putpmsg, "never implemented"),
        refused("afs_syscall", libc::SYS_afs_syscall, "never implemented"),
        refused("tuxcall", libc::SYS_tuxcall, "never implemented"),
        refused("security", libc::SYS_security, "never implemented"),
        refused("vserver", libc::SYS_vserver, "never implemented"),
        refused("epoll_ctl_old", libc::SYS_epoll_ctl_old, "never implemented"),
        refused("epoll_wait_old", libc::SYS_epoll_wait_old, "never implemented"),
        refused("get_thread_area", libc::SYS_get_thread_area, "32-bit only"),
        refused("set_thread_area", libc::SYS_set_thread_area, "32-bit only"),
    ],
);

/// Answered as a kernel without the call would: libraries then use the older call, which is filtered.
pub(super) const MISSING: Part = part(
    "what_is_not_offered_looks_missing",
    &[
        missing(
            "clone3",
            libc::SYS_clone3,
            "its flags are behind a pointer that a filter cannot read; C libraries fall back to clone",
        ),
        missing(
            "memfd_secret",
            libc::SYS_memfd_secret,
            "memory that the supervisor could not examine; libraries treat it as missing",
        ),
        missing("map_shadow_stack", 453, "hardware shadow stacks are not offered; C libraries fall back"),
        missing("rseq_slice_yield", 471, "gives back an extended time slice, which is not offered"),
        missing("uretprobe", 335, "used by the kernel's own probes only"),
        missing("uprobe", 336, "used by the kernel's own probes only"),
    ],
);
