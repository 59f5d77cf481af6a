//! Every barrier, tried from inside. Each test runs the probe in a real cage and looks at the kernel's
//! answer; an attempt that was not made fails the test too.

mod common;

use common::Bench;
use metanode_cage::Exit;

/// One barrier: the attempt and the answers that mean it held, as root and without.
macro_rules! held {
    ($($test:ident: $attempt:literal => $($answer:literal)|+;)*) => {$(
        #[test]
        fn $test() {
            for mut bench in [Bench::new(), Bench::rootless()] {
                let ran = bench.attempt($attempt);
                let answer = ran.answer($attempt);
                assert!([$($answer),+].contains(&answer), "{}: the barrier gave way: {answer}", $attempt);
                assert_eq!(ran.report.exit, Exit::Code(0));
            }
        }
    )*};
}

held! {
    mount_needs_root: "mount" => "EPERM";
    umount_needs_root: "umount" => "EPERM";
    pivot_root_needs_root: "pivot_root" => "EPERM";
    chroot_needs_root: "chroot" => "EPERM";
    new_mount_interface_needs_root: "mount_api" => "EPERM";
    unshare_needs_root: "unshare" => "EPERM";
    clone_with_namespaces_needs_root: "clone_namespaces" => "EPERM";
    setns_needs_root: "setns" => "EPERM" | "EACCES";
    clone3_looks_missing_needs_root: "clone3" => "ENOSYS";
    ptrace_needs_root: "ptrace" => "EPERM";
    process_vm_readv_needs_root: "process_vm_readv" => "EPERM";
    process_vm_writev_needs_root: "process_vm_writev" => "EPERM";
    init_root_directory_needs_root: "proc_1_root" => "EACCES" | "ENOENT" | "EPERM";
    init_memory_needs_root: "proc_1_mem" => "EACCES" | "ENOENT" | "EPERM";
    init_environment_needs_root: "proc_1_environ" => "EACCES" | "ENOENT" | "EPERM";
    proc_sys_is_read_only_needs_root: "proc_sys" => "EACCES" | "EROFS";
    core_pattern_needs_root: "core_pattern" => "EACCES" | "EROFS";
    sysrq_needs_root: "sysrq" => "EACCES" | "ENOENT";
    kcore_is_empty_needs_root: "kcore" => "errno5" | "EACCES" | "ENOENT";
    kallsyms_is_covered_needs_root: "kallsyms" => "ok:0";
    kernel_command_line_is_covered_needs_root: "cmdline" => "ok:0";
    cgroup_release_agent_needs_root: "cgroup_release_agent" => "ENOENT";
    no_descriptor_leaks_needs_root: "leaked_descriptors" => "ok:0";
    capabilities_are_empty_needs_root: "capabilities" => "ok:0";
    open_by_handle_at_needs_root: "open_by_handle_at" => "EPERM";
    name_to_handle_at_needs_root: "name_to_handle_at" => "EPERM";
    device_node_needs_root: "mknod_device" => "EPERM";
    overlay_whiteout_node_needs_root: "mknod_whiteout" => "EPERM";
    block_device_node_needs_root: "mknodat_block" => "EPERM";
    setuid_file_needs_root: "setuid_file" => "ok:0";
    other_user_needs_root: "setuid" => "EPERM" | "EINVAL";
    keyctl_needs_root: "keyctl" => "EPERM";
    add_key_needs_root: "add_key" => "EPERM";
    request_key_needs_root: "request_key" => "EPERM";
    bpf_needs_root: "bpf" => "EPERM";
    perf_needs_root: "perf" => "EPERM";
    io_uring_needs_root: "io_uring" => "EPERM";
    userfaultfd_needs_root: "userfaultfd" => "EPERM";
    memfd_secret_looks_missing_needs_root: "memfd_secret" => "ENOSYS";
    kexec_needs_root: "kexec" => "EPERM";
    kernel_module_needs_root: "init_module" => "EPERM";
    reboot_needs_root: "reboot" => "EPERM";
    host_clock_needs_root: "settimeofday" => "EPERM";
    host_name_needs_root: "sethostname" => "EPERM";
    pidfd_getfd_needs_root: "pidfd_getfd" => "EPERM";
    modify_ldt_needs_root: "modify_ldt" => "EPERM";
    prctl_set_mm_needs_root: "prctl_set_mm" => "EPERM";
    prctl_tsc_needs_root: "prctl_tsc" => "EPERM";
    cpuid_faulting_needs_root: "arch_prctl_cpuid" => "EPERM";
    unknown_syscall_fails_closed_needs_root: "unknown_syscall" => "EPERM";
    x32_call_needs_root: "x32" => "EPERM" | "ENOSYS";
    vsock_needs_root: "vsock" => "EPERM";
    packet_socket_needs_root: "packet" => "EPERM";
    packet_socket_by_inet_needs_root: "inet_packet" => "EPERM";
    raw_socket_needs_root: "inet_raw" => "EPERM";
    netlink_needs_root: "netlink" => "EPERM";
    alg_socket_needs_root: "alg" => "EPERM";
    only_loopback_exists_needs_root: "interfaces" => "ok:0";
    network_is_unreachable_needs_root: "network" => "ENETUNREACH";
    metadata_address_is_unreachable_needs_root: "metadata" => "ENETUNREACH";
    loopback_works_needs_root: "loopback" => "ok:0";
    terminal_input_injection_needs_root: "tiocsti" => "EPERM";
    no_terminal_needs_root: "tty" => "ENXIO";
    dev_is_read_only_needs_root: "write_dev" => "EROFS";
    program_is_not_pid_one_needs_root: "pid" => "ok:2";
}

#[test]
fn int_0x80_kills_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.argv = vec!["/bin/probe".into(), "whoami".into()];
        assert_eq!(bench.run().answer("whoami"), "ok:0", "the probe itself runs");
        let ran = bench.attempt("int80");
        assert_eq!(ran.report.exit, Exit::Signal(31), "SIGSYS expected: {}", ran.stdout);
        assert!(!ran.stdout.contains("token=int80"), "the call returned");
    }
}

#[test]
fn host_abstract_socket_needs_root() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    let name = format!("metanode-cage-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("address");
    let _listener = UnixListener::bind_addr(&address).expect("bind");
    UnixStream::connect_addr(&address).expect("reachable from the host");
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.env.push(format!("ABSTRACT={name}"));
        assert_eq!(bench.attempt("abstract_socket").answer("abstract_socket"), "ECONNREFUSED");
    }
}

#[test]
fn the_image_is_never_written_and_the_output_digest_follows_the_writes_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let quiet = bench.attempt("whoami").report.output_digest.expect("digest");
        let ran = bench.attempt("write_root");
        let root = bench.root();
        assert_eq!(std::fs::read(root.join("from-image")).expect("read"), b"original");
        assert_eq!(std::fs::read(root.join("deleted-by-the-cage")).expect("read"), b"original");
        assert!(!root.join("made-by-the-cage").exists());
        if ran.answer("write_root") == "ok:0" {
            assert_ne!(ran.report.output_digest.expect("digest"), quiet);
        } else {
            // Without root the image belongs to another user, so the cage may not even change its own copy.
            assert!(["EACCES", "EPERM"].contains(&ran.answer("write_root")));
        }
    }
}

#[test]
fn every_barrier_of_the_report_stands_needs_root() {
    let ran = Bench::new().attempt("whoami");
    let fallen: Vec<_> = ran.report.barriers.iter().filter(|b| !b.installed).collect();
    assert!(fallen.is_empty(), "{fallen:?}");
    assert!(ran.report.barriers.len() >= 20);
    assert_eq!(ran.report.level, "contained");
}
