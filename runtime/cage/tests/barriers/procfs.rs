//! What the kernel offers as files: settings, triggers, facts about the machine, control groups.

super::barriers! { use super::plain;

#[test]
fn proc_sys_is_read_only_needs_root() {
    "set_hostname_file": "the host name" => "EROFS" | "EACCES";
    "set_last_pid": "the next process's number" => "EROFS", pinned "ENOENT";
    "set_ip_forward": "forwarding in one's own network namespace" => "EROFS" | "EACCES", pinned "ENOENT";
    "set_modprobe": "the program that the kernel runs for modules" => "EROFS" | "EACCES" | "ENOENT";
    "set_overcommit": "overcommitment of memory" => "EROFS" | "EACCES";
    "set_drop_caches": "the machine's caches" => "EROFS" | "EACCES", pinned "ENOENT";
    "set_user_namespaces": "how many user namespaces there may be" => "EROFS" | "EACCES", pinned "ENOENT";
    "set_binfmt": "a format of programs" => "ENOENT" | "EROFS" | "EACCES";
    "set_anything": "every setting there is" => "EROFS" | "EACCES", pinned "EDOM";
}
#[test]
fn core_pattern_needs_root() {
    "set_core_pattern": "the program that the kernel runs for a crash" => "EROFS" | "EACCES";
}
#[test]
fn sysrq_needs_root() {
    "sysrq": "the keys of the console" => "EACCES" | "ENOENT";
}
#[test]
fn own_process_settings_cannot_gain_needs_root() {
    "oom_score_lowered": "be killed last when memory runs out" => "EACCES";
    "pagemap_frames": "the physical address of one's pages" => "ok:0" | "EPERM", pinned "ENOENT";
}
#[test]
fn kcore_is_empty_needs_root() {
    "kcore": "the kernel's memory" => "EACCES" | "ENOENT";
    "kmsg": "the kernel's log" => "EACCES" | "ENOENT" | "EPERM";
    "kpageflags": "the machine's pages" => "EACCES" | "ENOENT";
    "slabinfo": "the kernel's allocations" => "EACCES" | "ENOENT";
    "iomem": "the machine's address map" => "ok:0", pinned "ENOENT";
}
#[test]
fn kallsyms_is_covered_needs_root() {
    "kallsyms": "the kernel's symbols" => "ok:0", pinned "ENOENT";
    "modules": "the kernel's modules" => "ok:0" | "ENOENT";
    "config": "the kernel's configuration" => "ok:0" | "ENOENT";
}
#[test]
fn kernel_command_line_is_covered_needs_root() {
    "cmdline": "the kernel's command line" => "ok:0", pinned "ENOENT";
}
#[test]
fn facts_about_the_machine_are_covered_needs_root() {
    "keys": "key rings" => "ok:0" | "ENOENT";
    "timer_list": "everybody's timers" => "EACCES" | "ENOENT";
    "partitions": "disks" => "ok:0", pinned "ENOENT";
    "interrupts": "counts that tell keystrokes" => "ok:0", pinned "ENOENT";
    "diskstats": "what disks do" => "ok:0", pinned "ENOENT";
    "locks": "who locks which file" => "ok:0", pinned "ENOENT";
    "cgroups": "groups of the host" => "ok:0", pinned "ENOENT";
    "proc_bus": "buses" => "ok:0" | "ENOENT";
    "proc_fs": "file systems" => "ok:0" | "ENOENT";
    "proc_irq": "interrupts to be steered" => "ok:0" | "ENOENT";
    "proc_acpi": "power" => "ok:0" | "ENOENT";
    "proc_driver": "drivers" => "ok:0" | "ENOENT";
    "sys_missing": "/sys" => "ENOENT";
    "mounts_name_no_host_path": "a path of the host among the mounts" => "ok:0";
}
#[test]
fn cgroup_release_agent_needs_root() {
    "mount_cgroup": "a hierarchy of version 1, with its release agent" => "EPERM";
    "mount_cgroup2": "the hierarchy of version 2" => "EPERM";
    "cgroup_missing": "the host's hierarchies" => "ENOENT";
    "release_agent": "the program that the kernel runs for an empty group" => "ENOENT";
    "cgroup_procs": "leave one's groups" => "ENOENT";
    "cgroup_own_path": "in how many hierarchies one sees groups of the host" => "ok:0";
}
}
