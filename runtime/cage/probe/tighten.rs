//! Attempts to loosen with calls that may only tighten: filters on filters, landlock on landlock, privileges, settings
//! of the own process.
//!
//! Owns these attempts. Each does what it is allowed to do and then what must still fail.

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};

use crate::Attempt;
use crate::answer::{best, expect, io_result, sys};

fn prctl(option: i32, value: u64) -> i64 {
    call!(libc::SYS_prctl, option, value, 0, 0, 0)
}

fn mount_anything() -> i64 {
    sys(unsafe { libc::mount(c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()) }
        .into())
}

fn filter(code: &[libc::sock_filter], flags: u64) -> i64 {
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_ptr().cast_mut() };
    call!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
}

/// A filter of one's own that allows everything, then a mount.
fn allowing_filter() -> i64 {
    let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let _ = filter(&[allow], 0);
    mount_anything()
}

/// A filter that asks a listener about mounts: the listener would say "go on", but the outer refusal is stronger, so
/// nobody is asked.
fn notifying_filter() -> i64 {
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let code = [
        op(0x20, 0, 0, 0), // the number of the call
        op(0x15, 0, 1, libc::SYS_mount as u32),
        op(6, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        op(6, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let _ = filter(&code, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    mount_anything()
}

/// A landlock rule of one's own that allows device nodes everywhere, then a device node.
fn allowing_landlock() -> i64 {
    let make_char: u64 = 1 << 6;
    let ruleset = call!(libc::SYS_landlock_create_ruleset, &raw const make_char, 8, 0);
    let root = unsafe { libc::open(c"/".as_ptr(), libc::O_PATH) };
    let mut rule = [0u8; 12];
    rule[..8].copy_from_slice(&make_char.to_le_bytes());
    rule[8..].copy_from_slice(&root.to_le_bytes());
    call!(libc::SYS_landlock_add_rule, ruleset, 1, rule.as_ptr(), 0);
    call!(libc::SYS_landlock_restrict_self, ruleset, 0);
    device_node(c"/tmp/landlocked")
}

fn device_node(path: &CStr) -> i64 {
    call!(libc::SYS_mknod, path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 3))
}

/// Moves or links a device that exists to where it may not be.
fn carry_a_device(rename: bool) -> i64 {
    let (from, to) = ("/dev/null", "/tmp/null");
    io_result(if rename { std::fs::rename(from, to) } else { std::fs::hard_link(from, to) })
}

fn raise_capabilities() -> i64 {
    let header = [0x2008_0522u32, 0];
    let all = [u32::MAX; 6];
    call!(libc::SYS_capset, header.as_ptr(), all.as_ptr())
}

fn ambient_capability() -> i64 {
    call!(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, 21, 0, 0)
}

/// Hard limits upwards.
fn raise_limits() -> i64 {
    let most = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    let kinds = [libc::RLIMIT_NOFILE, libc::RLIMIT_NPROC, libc::RLIMIT_MEMLOCK, libc::RLIMIT_CORE];
    best(kinds.map(|kind| sys(unsafe { libc::setrlimit(kind, &raw const most) }.into())))
}

fn real_time() -> i64 {
    let parameter = libc::sched_param { sched_priority: 1 };
    sys(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) }.into())
}

/// A program without a file: allowed, and exactly as confined as any other. The answer is its own check of its
/// capabilities.
fn program_in_memory() -> i64 {
    let made = call!(libc::SYS_memfd_create, c"probe".as_ptr(), 0);
    let Ok(fd) = i32::try_from(made) else { return made };
    let image = match std::fs::read("/bin/probe") {
        Ok(image) => image,
        Err(e) => return io_result::<()>(Err(e)),
    };
    let written = sys(unsafe { libc::write(fd, image.as_ptr().cast(), image.len()) } as i64);
    if written != image.len() as i64 {
        return written.min(-1);
    }
    own_word(&format!("/proc/self/fd/{fd}"), "capabilities")
}

/// Runs another copy of this program; 0 when it says that the attempt was answered with ok:0.
fn own_word(program: &str, name: &str) -> i64 {
    let (Ok(path), Ok(word)) = (CString::new(program), CString::new(name)) else { return expect(false) };
    let argv = [path.as_ptr(), word.as_ptr(), std::ptr::null()];
    let (mut ends, mut told, mut status) = ([0; 2], String::new(), 0);
    unsafe {
        libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC);
        let child = libc::fork();
        if child == 0 {
            libc::dup2(ends[1], 1);
            libc::execv(path.as_ptr(), argv.as_ptr());
            libc::_exit(-sys(-1) as i32)
        }
        libc::close(ends[1]);
        let _ = std::fs::File::from_raw_fd(ends[0]).read_to_string(&mut told);
        libc::waitpid(child, &raw mut status, 0);
    }
    match libc::WEXITSTATUS(status) {
        0 => expect(told == format!("RAN {name}: ok:0\n")),
        errno => -i64::from(errno),
    }
}

/// Runs a file of the image that carries privileges; it must run, as whoever ran it, with none.
fn privileged_file(path: &str) -> i64 {
    own_word(path, "unprivileged")
}

/// Whether all user and group ids are the one user of the cage, and there are no capabilities.
fn unprivileged() -> i64 {
    let (mut uid, mut gid) = ([7; 3], [7; 3]);
    unsafe {
        libc::getresuid(&raw mut uid[0], &raw mut uid[1], &raw mut uid[2]);
        libc::getresgid(&raw mut gid[0], &raw mut gid[1], &raw mut gid[2]);
    }
    expect(uid == [0; 3] && gid == [0; 3] && crate::procfs::capabilities() == 0)
}

/// Locks of more memory than the limit.
fn lock_memory() -> i64 {
    let length = 64 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let at = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, flags, -1, 0) };
    sys(unsafe { libc::mlock(at, length) }.into())
}

fn namespace_attribute() -> i64 {
    let file = std::fs::File::open("/tmp").map_or(-1, |f| f.as_raw_fd());
    let attributes = [0u64; 4];
    call!(469, file, c"".as_ptr(), attributes.as_ptr(), 32, libc::AT_EMPTY_PATH)
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("filter_allows_all", allowing_filter),
    ("filter_notifies", notifying_filter),
    ("landlock_allows_all", allowing_landlock),
    ("device_renamed", || carry_a_device(true)),
    ("device_linked", || carry_a_device(false)),
    ("capset", raise_capabilities),
    ("ambient_capability", ambient_capability),
    ("no_new_privs_off", || prctl(libc::PR_SET_NO_NEW_PRIVS, 0)),
    ("keep_capabilities", || prctl(libc::PR_SET_KEEPCAPS, 1)),
    ("securebits", || prctl(libc::PR_SET_SECUREBITS, 0)),
    ("seccomp_off", || prctl(libc::PR_SET_SECCOMP, 0)),
    ("set_mm", || call!(libc::SYS_prctl, libc::PR_SET_MM, libc::PR_SET_MM_EXE_FILE, 0, 0, 0)),
    ("set_tsc", || prctl(libc::PR_SET_TSC, 1)),
    ("set_user_dispatch", || prctl(59, 0)),
    ("set_ptracer", || prctl(libc::PR_SET_PTRACER, u64::MAX)),
    ("set_speculation", || call!(libc::SYS_prctl, libc::PR_SET_SPECULATION_CTRL, 0, 2, 0, 0)),
    ("set_io_flusher", || prctl(57, 1)),
    ("core_scheduling", || call!(libc::SYS_prctl, 62, 1, 0, 0, 0)),
    ("cpuid_faulting", || call!(libc::SYS_arch_prctl, 0x1012, 0)),
    ("map_vdso", || call!(libc::SYS_arch_prctl, 0x2003, 0)),
    ("setuid_other", || sys(unsafe { libc::setresuid(1, 1, 1) }.into())),
    ("setgid_other", || sys(unsafe { libc::setresgid(1, 1, 1) }.into())),
    ("setgroups", || sys(unsafe { libc::setgroups(1, [0].as_ptr()) }.into())),
    ("limits_raised", raise_limits),
    ("real_time", real_time),
    ("nice_raised", || sys(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -1) }.into())),
    ("memory_locked", lock_memory),
    ("file_attributes", namespace_attribute),
    ("program_in_memory", program_in_memory),
    ("unprivileged", unprivileged),
    ("setuid_file", || privileged_file("/image-suid")),
    ("setgid_file", || privileged_file("/image-sgid")),
    ("capable_file", || privileged_file("/image-capable")),
];
