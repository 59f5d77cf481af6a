//! Interfaces of the kernel that no caged program needs.

super::barriers! { use super::plain;

#[test]
fn keyctl_needs_root() {
    "keyctl_session": "the session's key ring" => "EPERM";
    "keyctl_join": "a new session's key ring" => "EPERM";
}
#[test]
fn add_key_needs_root() {
    "add_key": "a key of one's own" => "EPERM";
}
#[test]
fn request_key_needs_root() {
    "request_key": "a key that a program of the host would fetch" => "EPERM";
}
#[test]
fn bpf_needs_root() {
    "bpf_map": "a map in the kernel" => "EPERM";
    "bpf_program": "a program in the kernel" => "EPERM";
}
#[test]
fn perf_needs_root() {
    "perf": "count events" => "EPERM";
}
#[test]
fn io_uring_needs_root() {
    "io_uring_setup": "a ring of calls that no filter sees" => "EPERM";
    "io_uring_enter": "its use" => "EPERM";
    "io_uring_register": "its resources" => "EPERM";
}
#[test]
fn userfaultfd_needs_root() {
    "userfaultfd": "hold the kernel up inside a fault" => "EPERM";
}
#[test]
fn memfd_secret_looks_missing_needs_root() {
    "memfd_secret": "memory that even the kernel does not see" => "ENOSYS";
}
#[test]
fn fanotify_needs_root() {
    "fanotify": "watch whole file systems" => "EPERM";
}
#[test]
fn kexec_needs_root() {
    "kexec_load": "another kernel from memory" => "EPERM";
    "kexec_file_load": "another kernel from a file" => "EPERM";
}
#[test]
fn kernel_module_needs_root() {
    "module": "load or remove a module" => "EPERM";
}
#[test]
fn swap_needs_root() {
    "swap": "add or remove swap" => "EPERM";
}
#[test]
fn process_accounting_needs_root() {
    "acct": "log every process of the host" => "EPERM";
}
#[test]
fn quotas_need_no_caged_help_needs_root() {
    "quotactl": "quotas of disks" => "EPERM";
}
#[test]
fn reboot_needs_root() {
    "reboot": "the machine's reset key" => "EPERM";
}
#[test]
fn host_clock_needs_root() {
    "settimeofday": "set the clock" => "EPERM";
    "clock_settime": "set the clock to what it is" => "EPERM";
    "adjtimex": "its speed" => "EPERM";
    "clock_adjtime": "its speed, by clock" => "EPERM";
}
#[test]
fn host_name_needs_root() {
    "sethostname": "another host name" => "EPERM";
    "setdomainname": "another domain name" => "EPERM";
}
#[test]
fn direct_hardware_access_needs_root() {
    "iopl": "all ports" => "EPERM";
    "ioperm": "one port" => "EPERM";
}
#[test]
fn modify_ldt_needs_root() {
    "modify_ldt": "a segment of one's own" => "EPERM";
}
#[test]
fn personality_needs_root() {
    "personality_no_randomise": "addresses that can be foretold" => "EPERM";
    "personality_read_executes": "readable pages that execute" => "EPERM";
    "personality_compat": "another kernel's behaviour" => "EPERM";
}
#[test]
fn obsolete_interfaces_are_closed_needs_root() {
    "syslog": "the kernel's log" => "EPERM";
    "vhangup": "hang the terminal up" => "EPERM";
    "lookup_dcookie": "paths by cookie" => "EPERM";
    "memory_policy": "placement in the host's memory" => "EPERM";
    "lsm_attributes": "security modules" => "EPERM";
}
#[test]
fn unknown_syscall_fails_closed_needs_root() {
    "unknown_calls": "every number beyond the table" => "EPERM", pinned "E_UNMODELLED_SYSCALL";
    "wide_number": "a refused number with bits above those that are read" => "EPERM";
    "wide_arguments": "refused arguments with bits above those that are read" => "EPERM";
}
}
