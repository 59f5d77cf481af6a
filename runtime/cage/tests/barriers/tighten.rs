//! Calls that may only tighten: what was given up stays given up.

super::barriers! { use super::plain;

#[test]
fn a_filter_on_the_filter_loosens_nothing_needs_root() {
    "filter_allows_all": "a filter that allows everything, then a mount" => "EPERM";
    "filter_notifies": "a filter whose listener would let a mount pass" => "EPERM";
    "seccomp_off": "no filter" => "EINVAL" | "EPERM" | "EFAULT";
}
#[test]
fn landlock_on_landlock_loosens_nothing_needs_root() {
    "landlock_allows_all": "a rule that allows device nodes, then a device node" => "EPERM";
    "device_renamed": "a device moved to where none may be" => "EROFS" | "EXDEV" | "EBUSY";
    "device_linked": "a device linked to where none may be" => "EROFS" | "EXDEV" | "EPERM";
}
#[test]
fn capabilities_are_empty_needs_root() {
    "capabilities": "whether five sets are empty, with no new privileges and a filter" => "ok:0";
    "capset": "take all" => "EPERM";
    "ambient_capability": "take one for programs to come" => "EPERM";
    "keep_capabilities": "keep them over a change of user" => "EPERM";
    "securebits": "root's magic" => "EPERM";
    "no_new_privs_off": "new privileges" => "EINVAL";
}
#[test]
fn prctl_set_mm_needs_root() {
    "set_mm": "another program file for this process" => "EPERM";
    "set_ptracer": "everybody may trace" => "EPERM";
    "set_user_dispatch": "calls sent back to the program" => "EPERM";
    "set_speculation": "mitigations off" => "EPERM";
    "set_io_flusher": "memory that reclaim may not touch" => "EPERM";
    "core_scheduling": "who shares a core" => "EPERM";
}
#[test]
fn prctl_tsc_needs_root() {
    "set_tsc": "undo or do the trapping of the time stamp counter" => "EPERM";
}
#[test]
fn cpuid_faulting_needs_root() {
    "cpuid_faulting": "trapping of CPUID" => "EPERM";
    "map_vdso": "the kernel's code page at another place" => "EPERM";
}
#[test]
fn other_user_needs_root() {
    "setuid_other": "another user" => "EPERM" | "EINVAL";
    "setgid_other": "another group" => "EPERM" | "EINVAL";
    "setgroups": "more groups" => "EPERM";
}
#[test]
fn limits_only_go_down_needs_root() {
    "limits_raised": "more descriptors, processes, locked memory, core files" => "EPERM";
    "real_time": "before all others" => "EPERM";
    "nice_raised": "before most others" => "EACCES";
    "memory_locked": "more locked memory than the limit" => "ENOMEM" | "EAGAIN" | "EPERM";
    "file_attributes": "files that cannot be changed" => "EPERM";
}
#[test]
fn a_program_without_a_file_is_as_confined_needs_root() {
    "program_in_memory": "run a program that is only in memory; does it find itself confined" => "ok:0";
}
}
