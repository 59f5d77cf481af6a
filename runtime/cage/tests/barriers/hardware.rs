//! Below the table of calls: other doors into the kernel, other architectures, privileged instructions.

super::barriers! { use super::plain;

#[test]
fn int_0x80_kills_needs_root() {
    "whoami": "the probe itself runs" => "ok:0";
    "int80_getpid": "a harmless call of the 32-bit table" => "SIGSYS" | "SIGSEGV";
    "int80_mount": "mount, by its number in the 32-bit table" => "SIGSYS" | "SIGSEGV";
}
#[test]
fn sysenter_and_compatibility_mode_kill_needs_root() {
    "sysenter": "the door of old 32-bit programs" => "SIGSYS" | "SIGILL" | "SIGSEGV";
    "compat_mode": "a far return into 32-bit code, and a call from there" => "SIGSYS" | "SIGILL" | "SIGSEGV";
}
#[test]
fn x32_call_needs_root() {
    "x32_getpid": "a harmless call of the x32 table" => "EPERM" | "ENOSYS", pinned "E_UNMODELLED_SYSCALL";
    "x32_mount": "a mount of the x32 table" => "EPERM" | "ENOSYS", pinned "E_UNMODELLED_SYSCALL";
    "x32_ptrace": "ptrace, by the number that only x32 has" => "EPERM" | "ENOSYS", pinned "E_UNMODELLED_SYSCALL";
    "x32_execve": "execve, by the number that only x32 has" => "EPERM" | "ENOSYS", pinned "E_UNMODELLED_SYSCALL";
}
#[test]
fn vsyscall_page_is_no_way_around_needs_root() {
    "vsyscall_time": "the time, which must be the clock's" => "ok:0" | "SIGSEGV";
    "vsyscall_read": "the page's code, to build upon" => "SIGSEGV";
    "vsyscall_middle": "a jump past its entry" => "SIGSEGV";
}
#[test]
fn privileged_instructions_kill_needs_root() {
    "read_msr": "rdmsr" => "SIGSEGV";
    "write_msr": "wrmsr" => "SIGSEGV";
    "port_in": "in" => "SIGSEGV";
    "port_out": "out" => "SIGSEGV";
    "interrupts_off": "cli" => "SIGSEGV";
    "halt": "hlt" => "SIGSEGV";
    "control_register": "mov from cr0" => "SIGSEGV";
    "performance_counter": "rdpmc" => "SIGSEGV" | "SIGILL";
}
}
