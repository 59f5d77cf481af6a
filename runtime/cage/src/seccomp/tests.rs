//! Tests of the table as data. What the filter does in a real cage is tested by the probes in `tests/`.

use std::collections::BTreeSet;

use super::{Rule, compile, table};

#[test]
fn numbers_and_names_are_unique_and_every_row_has_a_reason() {
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    for row in table() {
        assert!(numbers.insert(row.number), "two rows for number {} ({})", row.number, row.name);
        assert!(names.insert(row.name), "two rows named {}", row.name);
        assert!(row.why.len() >= 6, "{} has no reason", row.name);
    }
    assert!(numbers.len() > 350, "only {} rows", numbers.len());
}

#[test]
fn every_call_of_the_installed_headers_has_a_row() {
    let path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
    let Ok(header) = std::fs::read_to_string(path) else {
        eprintln!("skipped: {path} is not installed");
        return;
    };
    let mut seen = 0;
    for line in header.lines() {
        let mut words = line.split_whitespace();
        let (Some("#define"), Some(name), Some(number)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (Some(name), Ok(number)) = (name.strip_prefix("__NR_"), number.parse::<i64>()) else { continue };
        seen += 1;
        let row = table().find(|row| row.number == number);
        assert!(row.is_some(), "no row for {name} ({number})");
        assert_eq!(row.map(|r| r.name), Some(name), "wrong name for {number}");
    }
    assert!(seen > 300, "the header was not understood: {seen} calls");
}

/// A rule that looked behind a pointer could be fooled by a second thread that changes what is there after the
/// judgement. The program can load nothing but words of `seccomp_data`, which the kernel has copied, and no
/// argument that is judged is a pointer.
#[test]
fn no_decision_rests_on_memory_that_another_thread_can_change() {
    let filter = compile().expect("the table compiles");
    let loads: Vec<_> =
        filter.0.iter().filter(|i| matches!(u32::from(i.code) & 7, libc::BPF_LD | libc::BPF_LDX)).collect();
    assert!(loads.len() > 2);
    let data = size_of::<libc::seccomp_data>() as u32;
    for load in loads {
        assert_eq!(u32::from(load.code), libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
        assert!(load.k % 4 == 0 && load.k + 4 <= data, "offset {}", load.k);
    }
    // By value: flags, requests, modes, families. A new row must be added here by somebody who has looked.
    let by_value = [
        ("clone", 0),
        ("unshare", 0),
        ("socketpair", 0),
        ("ioctl", 1),
        ("prctl", 0),
        ("arch_prctl", 0),
        ("personality", 0),
        ("mknod", 1),
        ("mknodat", 2),
    ];
    for row in table() {
        if let Rule::Masked { arg, .. } | Rule::OneOf { arg, .. } | Rule::MaskedOneOf { arg, .. } = row.rule {
            assert!(by_value.contains(&(row.name, arg)), "{} is judged by argument {arg}", row.name);
        }
    }
}

#[test]
fn the_most_dangerous_calls_are_refused_rows() {
    for name in ["mount", "ptrace", "bpf", "io_uring_setup", "keyctl", "setns", "clone3", "open_by_handle_at"]
    {
        let row = table().find(|row| row.name == name).expect("row exists");
        assert!(matches!(row.rule, Rule::Errno(_)), "{name} is not refused");
    }
}

/// A tiny interpreter of the instructions that the filter uses, so that every number can be tried without a
/// kernel.
fn run(number: u32, arch: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&number.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    args.iter().for_each(|a| data.extend_from_slice(&a.to_le_bytes()));
    let program = compile().expect("compiles").0;
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = &program[at];
        at += 1;
        let branch = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match u32::from(i.code) {
            0x20 => {
                a = u32::from_le_bytes(data[i.k as usize..i.k as usize + 4].try_into().expect("four bytes"))
            }
            0x05 => at += i.k as usize,
            0x15 => at += branch(a == i.k),
            0x25 => at += branch(a > i.k),
            0x35 => at += branch(a >= i.k),
            0x54 => a &= i.k,
            0x06 => return i.k,
            other => panic!("instruction {other:#x} is not expected here"),
        }
    }
}

const X86_64: u32 = 0xc000_003e;

#[test]
fn every_number_gets_the_outcome_of_its_row() {
    let rows: std::collections::BTreeMap<u32, _> = table().map(|r| (r.number as u32, r)).collect();
    for number in 0..600 {
        let got = run(number, X86_64, [0; 6]);
        match rows.get(&number).map(|r| &r.rule) {
            Some(Rule::Allow) => assert_eq!(got, libc::SECCOMP_RET_ALLOW, "{number}"),
            Some(Rule::Errno(errno)) => assert_eq!(got, libc::SECCOMP_RET_ERRNO | *errno as u32, "{number}"),
            Some(_) => {
                assert!([libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ERRNO | 1].contains(&got), "{number}")
            }
            None => assert_eq!(got, libc::SECCOMP_RET_ERRNO | 1, "{number} has no row"),
        }
        assert_eq!(run(number | 0x4000_0000, X86_64, [0; 6]), libc::SECCOMP_RET_ERRNO | 1, "x32 {number}");
        assert_eq!(run(number, 0x4000_0003, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS, "i386 {number}");
    }
}

#[test]
fn arguments_decide_where_the_row_says_so() {
    let allowed = |number: i64, args| run(number as u32, X86_64, args) == libc::SECCOMP_RET_ALLOW;
    let arg = |n: usize, value: u64| {
        let mut args = [0; 6];
        args[n] = value;
        args
    };
    assert!(allowed(libc::SYS_clone, arg(0, 0x003d_0f00)), "a thread");
    for bit in [0x2_0000u64, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert!(!allowed(libc::SYS_clone, arg(0, bit | 17)), "namespace {bit:#x}");
        assert!(!allowed(libc::SYS_unshare, arg(0, bit)), "namespace {bit:#x}");
    }
    assert!(!allowed(libc::SYS_unshare, arg(0, 0x80)), "time namespace");
    assert!(
        allowed(libc::SYS_ioctl, arg(1, libc::TCGETS)) && !allowed(libc::SYS_ioctl, arg(1, libc::TIOCSTI))
    );
    assert!(
        !allowed(libc::SYS_ioctl, arg(1, libc::TIOCSTI | 1 << 32)),
        "the kernel ignores the upper half, so do we"
    );
    let socket = |family: i32, kind: i32, protocol: u64| {
        allowed(libc::SYS_socket, [family as u64, kind as u64, protocol, 0, 0, 0])
    };
    assert!(socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 6));
    assert!(socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) && socket(libc::AF_INET6, libc::SOCK_DGRAM, 17));
    assert!(!socket(libc::AF_INET, libc::SOCK_RAW, 1) && !socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0));
    assert!(!socket(libc::AF_INET, 10, 0) && !socket(libc::AF_NETLINK, libc::SOCK_RAW, 0));
    assert!(!allowed(libc::SYS_mknod, arg(1, u64::from(libc::S_IFCHR) | 0o666)));
    assert!(allowed(libc::SYS_mknod, arg(1, u64::from(libc::S_IFIFO) | 0o666)));
}

#[test]
fn the_table_compiles_to_a_short_program() {
    let length = compile().expect("compiles").len();
    assert!((300..1200).contains(&length), "{length} instructions");
}
