//! Attempts on interfaces of the kernel that no caged program needs: keys, programs in the kernel, rings, faults,
//! the machine's clock, swap, modules.
//!
//! Owns these attempts; each has arguments that would do something, or ask for something, if it were let through.

use crate::Attempt;
use crate::answer::{best, sys};

const SESSION: i32 = -3;

fn bpf_map() -> i64 {
    let mut attributes = [0u32; 32];
    attributes[..4].copy_from_slice(&[2, 4, 4, 1]); // an array of one entry, keys and values of four bytes
    call!(libc::SYS_bpf, 0, attributes.as_ptr(), size_of_val(&attributes))
}

fn bpf_program() -> i64 {
    let code = [0xb7u64, 0x95]; // r0 = 0; exit
    let licence = c"GPL";
    let mut attributes = [0u64; 16];
    attributes[0] = 1 | 2 << 32; // socket filter, two instructions
    attributes[1] = code.as_ptr() as u64;
    attributes[2] = licence.as_ptr() as u64;
    call!(libc::SYS_bpf, 5, attributes.as_ptr(), size_of_val(&attributes))
}

fn perf() -> i64 {
    let mut attributes = [0u32; 32];
    (attributes[0], attributes[1]) = (1, 128); // a software event: the CPU clock
    attributes[10] = 0x60; // neither kernel nor hypervisor
    call!(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0)
}

fn fanotify() -> i64 {
    const REPORT_FID: u32 = 0x200;
    call!(libc::SYS_fanotify_init, REPORT_FID, 0)
}

fn set_clock() -> i64 {
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    call!(libc::SYS_clock_settime, libc::CLOCK_REALTIME, &raw const now)
}

/// Asks only; a program without privileges may, and it is refused all the same.
fn adjust_clock(number: i64) -> i64 {
    let mut zeroed = [0u64; 32];
    match number {
        libc::SYS_adjtimex => call!(number, zeroed.as_mut_ptr()),
        _ => call!(number, 0, zeroed.as_mut_ptr()),
    }
}

fn ldt() -> i64 {
    let entry = [0u32, 0, 0xfffff, 0x41]; // 32-bit, usable
    call!(libc::SYS_modify_ldt, 1, entry.as_ptr(), 16)
}

fn read_log() -> i64 {
    let mut text = [0u8; 256];
    call!(libc::SYS_syslog, 3, text.as_mut_ptr(), 256)
}

fn quota() -> i64 {
    const SYNC: u64 = 0x800001 << 8;
    best([call!(libc::SYS_quotactl, SYNC, 0, 0, 0), call!(libc::SYS_quotactl_fd, 0, SYNC, 0, 0)])
}

fn module() -> i64 {
    let image = [0u8; 64];
    best([
        call!(libc::SYS_init_module, image.as_ptr(), 64, c"".as_ptr()),
        call!(libc::SYS_finit_module, 0, c"".as_ptr(), 0),
        call!(libc::SYS_delete_module, c"x".as_ptr(), 0),
    ])
}

fn swap() -> i64 {
    let _ = std::fs::write("/tmp/swap", vec![0u8; 65_536]);
    best([call!(libc::SYS_swapon, c"/tmp/swap".as_ptr(), 0), call!(libc::SYS_swapoff, c"/tmp/swap".as_ptr())])
}

fn account() -> i64 {
    let _ = std::fs::write("/tmp/acct", b"");
    call!(libc::SYS_acct, c"/tmp/acct".as_ptr())
}

fn key(number: i64) -> i64 {
    let (kind, name) = (c"user".as_ptr(), c"probe".as_ptr());
    match number {
        libc::SYS_add_key => call!(number, kind, name, c"y".as_ptr(), 1, SESSION),
        _ => call!(number, kind, name, c"".as_ptr(), SESSION),
    }
}

fn memory_policy() -> i64 {
    best([
        call!(libc::SYS_set_mempolicy, 0, 0, 0),
        call!(libc::SYS_mbind, 0, 4096, 0, 0, 0, 0),
        call!(libc::SYS_migrate_pages, 0, 1, [1u64].as_ptr(), [1u64].as_ptr()),
        call!(libc::SYS_move_pages, 1, 1, [0u64].as_ptr(), 0, [0i32; 1].as_ptr(), 0),
    ])
}

/// Every number beyond the last row, in a row; the first that is not refused, else the refusal.
fn unknown_calls() -> i64 {
    best((480..1100).chain([5000, 65_535, 0x3fff_ffff]).map(|number| call!(number, 0, 0, 0, 0, 0, 0)))
}

/// A refused call whose number has bits above the 32 that the kernel reads.
fn wide_number() -> i64 {
    call!(libc::SYS_fsopen | 1 << 32, c"tmpfs".as_ptr(), 0)
}

/// Refused arguments with bits above the 32 that the kernel reads.
fn wide_arguments() -> i64 {
    best([
        call!(libc::SYS_unshare, i64::from(libc::CLONE_NEWUSER) | 1 << 32),
        call!(libc::SYS_socket, i64::from(libc::AF_NETLINK) | 1 << 32, libc::SOCK_RAW, 0),
        call!(libc::SYS_ioctl, 1, libc::TIOCSTI | 1 << 32, c"x".as_ptr()),
        call!(libc::SYS_prctl, libc::PR_SET_MM as u64 | 1 << 32, 1, 0, 0, 0),
    ])
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("keyctl_session", || call!(libc::SYS_keyctl, 0, SESSION, 1)),
    ("keyctl_join", || call!(libc::SYS_keyctl, 1, 0)),
    ("add_key", || key(libc::SYS_add_key)),
    ("request_key", || key(libc::SYS_request_key)),
    ("bpf_map", bpf_map),
    ("bpf_program", bpf_program),
    ("perf", perf),
    ("io_uring_setup", || call!(libc::SYS_io_uring_setup, 8, [0u8; 120].as_ptr())),
    ("io_uring_enter", || call!(libc::SYS_io_uring_enter, 0, 1, 0, 0, 0, 0)),
    ("io_uring_register", || call!(libc::SYS_io_uring_register, 0, 0, 0, 0)),
    ("userfaultfd", || call!(libc::SYS_userfaultfd, libc::O_CLOEXEC | 1)),
    ("memfd_secret", || call!(libc::SYS_memfd_secret, 0)),
    ("fanotify", fanotify),
    ("kexec_load", || call!(libc::SYS_kexec_load, 0, 0, 0, 0)),
    ("kexec_file_load", || call!(libc::SYS_kexec_file_load, 0, 0, 1, c"".as_ptr(), 4)),
    ("module", module),
    ("swap", swap),
    ("acct", account),
    ("quotactl", quota),
    // Ctrl-Alt-Del off: what it would change if every wall were down is no harm.
    ("reboot", || call!(libc::SYS_reboot, 0xfee1_dead_u32, 672_274_793, 0, 0)),
    ("settimeofday", || call!(libc::SYS_settimeofday, 0, 0)),
    ("clock_settime", set_clock),
    ("adjtimex", || adjust_clock(libc::SYS_adjtimex)),
    ("clock_adjtime", || adjust_clock(libc::SYS_clock_adjtime)),
    ("sethostname", || call!(libc::SYS_sethostname, c"x".as_ptr(), 1)),
    ("setdomainname", || call!(libc::SYS_setdomainname, c"x".as_ptr(), 1)),
    ("iopl", || call!(libc::SYS_iopl, 3)),
    ("ioperm", || call!(libc::SYS_ioperm, 0x80, 1, 1)),
    ("modify_ldt", ldt),
    ("personality_no_randomise", || sys(unsafe { libc::personality(0x004_0000) }.into())),
    ("personality_read_executes", || sys(unsafe { libc::personality(0x040_0000) }.into())),
    ("personality_compat", || sys(unsafe { libc::personality(8) }.into())),
    ("syslog", read_log),
    ("vhangup", || call!(libc::SYS_vhangup)),
    ("lookup_dcookie", || call!(libc::SYS_lookup_dcookie, 1, 0, 0)),
    ("memory_policy", memory_policy),
    ("lsm_attributes", || call!(460, 100, 0, 0, 0)),
    ("unknown_calls", unknown_calls),
    ("wide_number", wide_number),
    ("wide_arguments", wide_arguments),
];
