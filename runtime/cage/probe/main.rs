//! The probe: tries to cross one barrier of the cage it runs in, and prints what the kernel answered.
//!
//! It refuses to do anything unless `/.metanode-cage-test-root` exists, a file that only the root built by
//! the tests holds, so it can never act on a real machine. One argument names the attempt; the answer is one
//! line `token=NAME result=ok|ERRNO`, which proves that the attempt was made.

#![allow(clippy::undocumented_unsafe_blocks)] // every call here is an attack with constant arguments

mod floods;
mod foreign;

use std::ffi::CString;
use std::io::{self, Write};

use floods::{
    burn, count_input, daemon, eat_memory, fill_bytes, fill_inodes, flood, fork_bomb, many_files, serve,
    spin, stubborn,
};

/// File that marks a root made for these tests.
const MARKER: &str = "/.metanode-cage-test-root";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("call-in-a-cage") {
        return call_in_a_cage();
    }
    if !std::path::Path::new(MARKER).exists() {
        eprintln!("this is not a test root: nothing was tried");
        std::process::exit(97);
    }
    let name = std::env::args().nth(1).unwrap_or_default();
    for (known, attempt) in ATTEMPTS {
        if *known == name {
            let answer = attempt();
            say(&name, answer);
            return;
        }
    }
    eprintln!("no attempt {name:?}");
    std::process::exit(98);
}

/// Not an attack: launches a cage whose program is a closure. The closure, inside, makes executable memory as
/// a JIT would, and tries what must fail. Single-threaded, as a launch demands, which the test harness is
/// not.
fn call_in_a_cage() {
    use metanode_cage::{CageSpec, Entry, Limits, Root, supervise};
    let dir = std::env::args().nth(2).map(std::path::PathBuf::from).expect("a directory");
    let spec = CageSpec {
        id: "call".into(),
        state_dir: dir.join("cage"),
        root: Root::Empty,
        argv: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
        hostname: "cage".into(),
        stdin: None,
        limits: Limits { wall_ms: 60_000, ..Limits::default() },
        ..CageSpec::default()
    };
    let secret = [42u8];
    let entry = Entry::Call(Box::new(move || {
        let code = jit(secret[0]);
        let names = std::fs::read_dir("/").map_or(0, Iterator::count);
        let refused = sys(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into());
        let open = (3..1024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).count();
        println!("code={code} names={names} unshare={refused} open={open}");
        if names == 4 && refused == -1 && open == 0 { code } else { 1 }
    }));
    supervise(&spec, entry, |_| ()).expect("a report");
}

/// Writes machine code that returns `value`, makes it executable and calls it.
fn jit(value: u8) -> i32 {
    let code = [0xb8, value, 0, 0, 0, 0xc3]; // mov eax, value; ret
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast::<u8>(), code.len());
        assert_eq!(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC), 0);
        std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(page)()
    }
}

fn say(name: &str, answer: i64) {
    let text = if answer >= 0 { format!("ok:{answer}") } else { errno_name(-answer as i32) };
    println!("token={name} result={text}");
    let _ = io::stdout().flush();
}

fn errno_name(errno: i32) -> String {
    let known = [
        (libc::EPERM, "EPERM"),
        (libc::EACCES, "EACCES"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOENT, "ENOENT"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EBADF, "EBADF"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENXIO, "ENXIO"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::ESRCH, "ESRCH"),
        (libc::ENOTTY, "ENOTTY"),
    ];
    known
        .iter()
        .find(|(n, _)| *n == errno)
        .map_or_else(|| format!("errno{errno}"), |(_, name)| (*name).into())
}

/// The C convention turned into "result or minus errno".
fn sys(r: i64) -> i64 {
    if r < 0 { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) } else { r }
}

macro_rules! call {
    ($number:expr $(, $argument:expr)*) => { sys(unsafe { libc::syscall($number $(, $argument)*) }) };
}

fn io_result<T>(r: io::Result<T>) -> i64 {
    r.map_or_else(|e| -i64::from(e.raw_os_error().unwrap_or(libc::EIO)), |_| 0)
}

fn path(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

fn open_for_write(name: &str) -> i64 {
    io_result(std::fs::OpenOptions::new().write(true).open(name))
}

fn socket(family: i32, kind: i32, protocol: i32) -> i64 {
    sys(unsafe { libc::socket(family, kind, protocol) }.into())
}

fn connect_inet(address: [u8; 4], port: u16) -> i64 {
    use std::net::{SocketAddr, TcpStream};
    io_result(TcpStream::connect_timeout(
        &SocketAddr::from((address, port)),
        std::time::Duration::from_secs(2),
    ))
}

const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// The first success, else the last refusal, of `unshare` with each namespace.
fn unshare_each() -> i64 {
    NAMESPACES.iter().map(|f| sys(unsafe { libc::unshare(*f) }.into())).fold(-1, worst)
}

fn clone_each() -> i64 {
    NAMESPACES
        .iter()
        .map(|f| {
            let r = call!(libc::SYS_clone, *f | libc::SIGCHLD, 0, 0, 0, 0);
            if r == 0 {
                unsafe { libc::_exit(0) }
            }
            r
        })
        .fold(-1, worst)
}

fn worst(so_far: i64, now: i64) -> i64 {
    if so_far >= 0 { so_far } else { now }
}

fn mount_api() -> i64 {
    let tmpfs = path("tmpfs");
    [
        call!(libc::SYS_fsopen, tmpfs.as_ptr(), 0),
        call!(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), 1),
        call!(libc::SYS_mount_setattr, libc::AT_FDCWD, c"/".as_ptr(), 0, 0, 0),
        call!(libc::SYS_move_mount, -1, c"".as_ptr(), libc::AT_FDCWD, c"/tmp".as_ptr(), 4),
        call!(libc::SYS_fsmount, -1, 0, 0),
        call!(libc::SYS_fspick, libc::AT_FDCWD, c"/".as_ptr(), 0),
        call!(467, libc::AT_FDCWD, c"/".as_ptr(), 1, 0, 0),
    ]
    .into_iter()
    .fold(-1, worst)
}

fn clone3() -> i64 {
    let args = [0u64; 11];
    call!(libc::SYS_clone3, args.as_ptr(), 88)
}

fn leaked_descriptors() -> i64 {
    (3..4096).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).count() as i64
}

fn capabilities() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let sets: Vec<u64> = status
        .lines()
        .filter(|l| l.starts_with("Cap"))
        .map(|l| u64::from_str_radix(l.split_whitespace().nth(1).unwrap_or("f"), 16).unwrap_or(1))
        .collect();
    // Five sets, all empty, and no_new_privs and seccomp on: then 0.
    let flag = |name: &str, value: &str| status.lines().any(|l| l.starts_with(name) && l.ends_with(value));
    let good =
        sets.len() == 5 && sets.iter().all(|s| *s == 0) && flag("NoNewPrivs:", "1") && flag("Seccomp:", "2");
    if good { 0 } else { -i64::from(libc::EINVAL) }
}

fn int80() -> i64 {
    let result: i64;
    // getpid of the 32-bit table; the filter must kill the process for it.
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20i64 => result) };
    result
}

fn x32() -> i64 {
    call!(0x4000_0000 + 39)
}

fn setuid_file() -> i64 {
    // A setuid copy of this program owned by another user must not change who runs it.
    let uid = || (unsafe { libc::getuid() }, unsafe { libc::geteuid() });
    let before = uid();
    let made = std::fs::copy("/proc/self/exe", "/suid").and_then(|_| {
        std::fs::set_permissions("/suid", std::os::unix::fs::PermissionsExt::from_mode(0o4755))
    });
    if let Err(e) = made {
        return io_result::<()>(Err(e));
    }
    let ran = std::process::Command::new("/image-suid").arg("whoami").output();
    match ran {
        Ok(out) if String::from_utf8_lossy(&out.stdout).contains(&format!("ok:{}", before.1)) => 0,
        Ok(_) => -i64::from(libc::EINVAL),
        Err(e) => io_result::<()>(Err(e)),
    }
}

fn interfaces() -> i64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    text.lines().skip(2).filter(|l| !l.trim_start().starts_with("lo:")).count() as i64
}

fn loopback() -> i64 {
    let Ok(listener) = std::net::TcpListener::bind("127.0.0.1:80") else { return -1 };
    let _keep = &listener;
    connect_inet([127, 0, 0, 1], 80)
}

fn abstract_socket() -> i64 {
    use std::os::linux::net::SocketAddrExt;
    let Ok(name) = std::env::var("ABSTRACT") else { return -i64::from(libc::EINVAL) };
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes());
    io_result(address.and_then(|a| std::os::unix::net::UnixStream::connect_addr(&a)))
}

fn write_root() -> i64 {
    let made =
        std::fs::write("/made-by-the-cage", b"x").and_then(|()| std::fs::write("/from-image", b"changed"));
    io_result(made.and_then(|()| std::fs::remove_file("/deleted-by-the-cage")))
}

fn process_vm(number: i64) -> i64 {
    let mut byte = [0u8; 8];
    let part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 8 };
    call!(number, 1, &raw const part, 1, &raw const part, 1, 0)
}

fn name_space(kind: &str) -> i64 {
    match std::fs::File::open(format!("/proc/self/ns/{kind}")) {
        Ok(file) => call!(libc::SYS_setns, std::os::fd::AsRawFd::as_raw_fd(&file), 0),
        Err(e) => io_result::<()>(Err(e)),
    }
}

type Attempt = fn() -> i64;

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("whoami", || i64::from(unsafe { libc::geteuid() })),
    ("mount", || call!(libc::SYS_mount, c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, 0)),
    ("umount", || call!(libc::SYS_umount2, c"/proc".as_ptr(), libc::MNT_DETACH)),
    ("pivot_root", || call!(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr())),
    ("chroot", || call!(libc::SYS_chroot, c"/tmp".as_ptr())),
    ("mount_api", mount_api),
    ("unshare", unshare_each),
    ("clone_namespaces", clone_each),
    ("setns", || name_space("net")),
    ("clone3", clone3),
    ("ptrace", || call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, 1, 0, 0)),
    ("process_vm_readv", || process_vm(libc::SYS_process_vm_readv)),
    ("process_vm_writev", || process_vm(libc::SYS_process_vm_writev)),
    ("proc_1_root", || io_result(std::fs::read_dir("/proc/1/root"))),
    ("proc_1_mem", || open_for_write("/proc/1/mem")),
    ("proc_1_environ", || io_result(std::fs::read("/proc/1/environ"))),
    ("proc_sys", || open_for_write("/proc/sys/kernel/hostname")),
    ("core_pattern", || open_for_write("/proc/sys/kernel/core_pattern")),
    ("sysrq", || open_for_write("/proc/sysrq-trigger")),
    ("kcore", || {
        io_result(
            std::fs::File::open("/proc/kcore").and_then(|mut f| io::Read::read_exact(&mut f, &mut [0; 1])),
        )
    }),
    ("kallsyms", || std::fs::read("/proc/kallsyms").map_or(-1, |t| t.len() as i64)),
    ("cmdline", || std::fs::read("/proc/cmdline").map_or(-1, |t| t.len() as i64)),
    ("cgroup_release_agent", || io_result(std::fs::read_dir("/sys/fs/cgroup"))),
    ("leaked_descriptors", leaked_descriptors),
    ("capabilities", capabilities),
    ("open_by_handle_at", || call!(libc::SYS_open_by_handle_at, -1, 0, 0)),
    ("name_to_handle_at", || call!(libc::SYS_name_to_handle_at, libc::AT_FDCWD, c"/".as_ptr(), 0, 0, 0)),
    ("mknod_device", || call!(libc::SYS_mknod, c"/tmp/d".as_ptr(), libc::S_IFCHR | 0o666, 0x0101)),
    ("mknod_whiteout", || call!(libc::SYS_mknod, c"/tmp/w".as_ptr(), libc::S_IFCHR | 0o666, 0)),
    ("mknodat_block", || {
        call!(libc::SYS_mknodat, libc::AT_FDCWD, c"/tmp/b".as_ptr(), libc::S_IFBLK | 0o666, 0x0801)
    }),
    ("setuid_file", setuid_file),
    ("setuid", || sys(unsafe { libc::setresuid(1, 1, 1) }.into())),
    ("keyctl", || call!(libc::SYS_keyctl, 0, -3, 0, 0, 0)),
    ("add_key", || call!(libc::SYS_add_key, c"user".as_ptr(), c"x".as_ptr(), c"y".as_ptr(), 1, -3)),
    ("request_key", || call!(libc::SYS_request_key, c"user".as_ptr(), c"x".as_ptr(), 0, 0)),
    ("bpf", || call!(libc::SYS_bpf, 0, 0, 0)),
    ("perf", || call!(libc::SYS_perf_event_open, 0, 0, -1, -1, 0)),
    ("io_uring", || call!(libc::SYS_io_uring_setup, 8, [0u8; 120].as_ptr())),
    ("userfaultfd", || call!(libc::SYS_userfaultfd, 1)),
    ("memfd_secret", || call!(libc::SYS_memfd_secret, 0)),
    ("kexec", || call!(libc::SYS_kexec_load, 0, 0, 0, 0)),
    ("init_module", || call!(libc::SYS_init_module, 0, 0, 0)),
    ("reboot", || call!(libc::SYS_reboot, 0, 0, 0, 0)),
    ("settimeofday", || call!(libc::SYS_settimeofday, 0, 0)),
    ("sethostname", || call!(libc::SYS_sethostname, c"x".as_ptr(), 1)),
    ("pidfd_getfd", || call!(libc::SYS_pidfd_getfd, 0, 0, 0)),
    ("modify_ldt", || call!(libc::SYS_modify_ldt, 0, 0, 0)),
    ("prctl_set_mm", || call!(libc::SYS_prctl, libc::PR_SET_MM, 1, 0, 0, 0)),
    ("prctl_tsc", || call!(libc::SYS_prctl, libc::PR_SET_TSC, 1, 0, 0, 0)),
    ("arch_prctl_cpuid", || call!(libc::SYS_arch_prctl, 0x1012, 0)),
    ("unknown_syscall", || call!(1000)),
    ("int80", int80),
    ("x32", x32),
    ("vsock", || socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("packet", || socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    ("inet_packet", || socket(libc::AF_INET, 10, 0)), // SOCK_PACKET
    ("inet_raw", || socket(libc::AF_INET, libc::SOCK_RAW, 1)),
    ("netlink", || socket(libc::AF_NETLINK, libc::SOCK_RAW, 0)),
    ("alg", || socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("interfaces", interfaces),
    ("network", || connect_inet([1, 1, 1, 1], 80)),
    ("metadata", || connect_inet([169, 254, 169, 254], 80)),
    ("loopback", loopback),
    ("abstract_socket", abstract_socket),
    ("tiocsti", || sys(unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) }.into())),
    ("tty", || io_result(std::fs::File::open("/dev/tty"))),
    ("write_root", write_root),
    ("write_dev", || io_result(std::fs::write("/dev/x", b"x"))),
    ("fill_bytes", fill_bytes),
    ("fill_inodes", fill_inodes),
    ("fork_bomb", fork_bomb),
    ("many_files", many_files),
    ("eat_memory", eat_memory),
    ("flood", flood),
    ("spin", spin),
    ("burn", burn),
    ("elf32", foreign::elf32),
    ("fill_pipes", foreign::fill_pipes),
    ("take_cpu", foreign::take_cpu),
    ("daemon", daemon),
    ("stubborn", stubborn),
    ("serve", serve),
    ("count_input", count_input),
    ("pid", || i64::from(unsafe { libc::getpid() })),
];
