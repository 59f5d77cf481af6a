//! Other processes: the cage's init and, beyond it, the supervisor and the host.

super::barriers! { use super::plain;

#[test]
fn ptrace_needs_root() {
    "ptrace_attach_init": "trace the init" => "EPERM";
    "ptrace_seize_init": "trace the init without stopping it" => "EPERM";
    "ptrace_seize_parent": "trace the parent" => "EPERM";
    "ptrace_own_child": "trace a child" => "EPERM";
    "ptrace_traceme": "be traced" => "EPERM";
    "ptrace_rewrite": "rewrite a child's calls after they were judged" => "EPERM";
}
#[test]
fn process_vm_readv_needs_root() {
    "vm_readv_init": "read the init's memory" => "EPERM";
    "vm_readv_child": "read a child's memory" => "EPERM";
}
#[test]
fn process_vm_writev_needs_root() {
    "vm_writev_init": "write the init's memory" => "EPERM";
    "vm_writev_child": "write a child's memory" => "EPERM";
    "process_madvise": "drop the init's pages" => "EPERM";
    "process_mrelease": "release the init's memory" => "EPERM";
}
#[test]
fn kcmp_needs_root() {
    "kcmp": "compare kernel objects with the init" => "EPERM";
}
#[test]
fn pidfd_getfd_needs_root() {
    "pidfd_getfd_init": "take a descriptor of the init" => "EPERM";
    "pidfd_getfd_child": "take a descriptor of a child" => "EPERM";
}
#[test]
fn init_root_directory_needs_root() {
    "init_root": "/proc/1/root" => "ENOENT";
    "init_root_by_task": "/proc/1/task/1/root" => "ENOENT";
    "init_root_by_self": "/proc/self/../1/root" => "ENOENT";
    "init_cwd": "/proc/1/cwd" => "ENOENT";
    "init_descriptors": "/proc/1/fd" => "ENOENT";
    "init_mappings": "/proc/1/map_files" => "ENOENT";
}
#[test]
fn init_program_cannot_be_overwritten_needs_root() {
    "init_exe_write": "/proc/1/exe, which is the host's file, for writing" => "ENOENT" | "EACCES";
    "init_exe_read": "the same for reading, to be reopened later" => "ENOENT" | "EACCES";
    "self_exe_write": "one's own running program" => "ETXTBSY" | "EACCES";
}
#[test]
fn init_memory_needs_root() {
    "init_mem_write": "/proc/1/mem for writing" => "ENOENT";
    "init_maps": "/proc/1/maps" => "ENOENT";
}
#[test]
fn init_environment_needs_root() {
    "init_environ": "/proc/1/environ" => "ENOENT";
    "init_oom_score": "make the kernel kill the init first" => "ENOENT", pinned "EACCES";
}
#[test]
fn signals_stay_inside_and_the_init_survives_them_needs_root() {
    "signal_init": "every signal to the init, by number and by pidfd" => "ok:0";
    "signal_forged": "a signal that claims to come from the kernel" => "EPERM";
    "signal_outside": "how many strangers a signal reaches" => "ok:0";
    "signal_by_descriptor": "a stranger as the owner of a descriptor" => "ESRCH", pinned "ENODATA";
}
#[test]
fn no_descriptor_leaks_needs_root() {
    "leaked_descriptors": "how many descriptors came along" => "ok:0";
    "streams_are_no_sockets": "whether a standard stream could carry descriptors" => "ok:0";
    "foreign_mappings": "how many mapped files are not of the cage" => "ok:0";
    "environment": "whether the environment is the specification's" => "ok:0";
    "processes_seen": "how many other processes show" => "ok:0";
}
#[test]
fn program_is_not_pid_one_needs_root() {
    "pid": "the number of a child of the program" => "ok:3";
}
}
