//! The compiled programs, run by a small interpreter over every number and many arguments, and compared with what
//! the rows say in plain Rust.

use std::sync::OnceLock;

use seccompiler::sock_filter;

use super::super::{Level, Pinned, Row, Rule, Test, UNKNOWN, compile, lookup, rows, table};

pub(super) const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const X86_64: u32 = 0xc000_003e;

fn program(level: Level) -> &'static [sock_filter] {
    static PROGRAMS: [OnceLock<Vec<sock_filter>>; 2] = [OnceLock::new(), OnceLock::new()];
    PROGRAMS[usize::from(level == Level::Pinned)]
        .get_or_init(|| compile(level).expect("the table compiles").0)
}

/// Runs the program as the kernel would, on the instructions that it may use.
fn run(level: Level, number: u32, arch: u32, args: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        0 => number,
        4 => arch,
        16..64 => (args[(offset as usize - 16) / 8] >> (8 * (offset % 8))) as u32,
        _ => panic!("a load at {offset}"),
    };
    let program = program(level);
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = &program[at];
        at += 1;
        let branch = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        match u32::from(i.code) {
            0x20 => a = word(i.k),
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

pub(super) fn answer(level: Level, number: i64, args: [u64; 6]) -> u32 {
    run(level, u32::try_from(number).expect("a number"), X86_64, args)
}

pub(super) const fn refuse(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// What the row says, without any of the code that compiles it.
fn expected(row: &Row, level: Level, args: [u64; 6]) -> u32 {
    let low = |arg: u8| args[usize::from(arg)] & 0xffff_ffff;
    let passes = match row.contained {
        Rule::Allow => true,
        Rule::Errno(errno) => return refuse(errno),
        Rule::Masked { arg, mask, value } => low(arg) & mask == value,
        Rule::OneOf { arg, values } => values.contains(&low(arg)),
        Rule::MaskedOneOf { arg, mask, values } => values.contains(&(low(arg) & mask)),
        Rule::Sockets => rows::SOCKETS.iter().any(|(family, kind, protocol)| {
            let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u64;
            low(0) == *family as u64
                && low(1) & !flags == *kind as u64
                && protocol.is_none_or(|protocol| low(2) == protocol as u64)
        }),
    };
    let meets = |arg: u8, test: Test| match test {
        Test::AnyBit(mask) => low(arg) & mask != 0,
        Test::OneOf(values) => values.contains(&low(arg)),
    };
    if !passes {
        return refuse(libc::EPERM);
    }
    if level == Level::Contained {
        return ALLOW;
    }
    match row.cases.iter().find(|case| meets(case.arg, case.test)).map_or(row.pinned, |case| case.then) {
        Pinned::Native => ALLOW,
        Pinned::Trap(_) => libc::SECCOMP_RET_TRACE,
        Pinned::Zero => libc::SECCOMP_RET_ERRNO,
        Pinned::Errno(errno) => refuse(errno),
    }
}

/// Words that an argument of this row may be: all that it names, their neighbours, single bits, and a few more.
fn words(row: &Row) -> Vec<u64> {
    let mut words = vec![0, 1, 2, 6, 17, 0xffff_ffff, u64::MAX, 0x1234_5678_9abc_def0];
    words.extend((0..40).map(|bit| 1 << bit));
    let mut name = |values: &[u64]| {
        words.extend(values.iter().flat_map(|v| [*v, v.wrapping_sub(1), v + 1, v | 1 << 32, v | 0o777]));
    };
    match row.contained {
        Rule::OneOf { values, .. } | Rule::MaskedOneOf { values, .. } => name(values),
        Rule::Masked { mask, value, .. } => name(&[mask, value, !mask & 0xffff_ffff]),
        Rule::Sockets => {
            let parts = |(family, kind, protocol): &(i32, i32, Option<i32>)| {
                [*family, *kind, kind | libc::SOCK_CLOEXEC, protocol.unwrap_or(0)]
            };
            name(&rows::SOCKETS.iter().flat_map(parts).map(|part| part as u64).collect::<Vec<_>>());
        }
        Rule::Allow | Rule::Errno(_) => {}
    }
    for case in row.cases {
        match case.test {
            Test::AnyBit(mask) => name(&[mask, mask | 3, !mask & 0xffff_ffff]),
            Test::OneOf(values) => name(values),
        }
    }
    words.sort_unstable();
    words.dedup();
    words
}

#[test]
fn every_number_with_every_kind_of_argument_gets_what_its_row_says() {
    let mut tried = 0usize;
    for level in [Level::Contained, Level::Pinned] {
        let unknown =
            if level == Level::Contained { refuse(libc::EPERM) } else { libc::SECCOMP_RET_TRACE | UNKNOWN };
        for number in 0..1024u32 {
            assert_eq!(run(level, number | 0x4000_0000, X86_64, [0; 6]), unknown, "x32 {number}");
            assert_eq!(
                run(level, number, 0x4000_0003, [0; 6]),
                libc::SECCOMP_RET_KILL_PROCESS,
                "i386 {number}"
            );
            let Some(row) = lookup(number.into()) else {
                assert_eq!(run(level, number, X86_64, [7; 6]), unknown, "{number} has no row");
                continue;
            };
            let words = words(row);
            for position in 0..6 {
                // Beside each word of one argument, every small family of the others.
                for (word, rest) in words.iter().flat_map(|word| [0, 1, 2, 6, 17].map(|rest| (*word, rest))) {
                    let mut args = [rest; 6];
                    args[position] = word;
                    let got = run(level, number, X86_64, args);
                    assert_eq!(got, expected(row, level, args), "{level:?} {} {args:x?}", row.name);
                    tried += 1;
                }
            }
        }
        for number in [u32::MAX, 0x8000_0000, 0x3fff_ffff] {
            assert_eq!(run(level, number, X86_64, [0; 6]), unknown);
        }
    }
    assert!(tried > 500_000, "only {tried} calls were tried");
}

/// A rule that looked behind a pointer could be fooled by a second thread that changes what is there after the
/// judgement. The program can load nothing but words of `seccomp_data`, which the kernel has copied, and no
/// argument that is judged is a pointer.
#[test]
fn no_decision_rests_on_memory_that_another_thread_can_change() {
    for level in [Level::Contained, Level::Pinned] {
        let loads: Vec<_> = program(level)
            .iter()
            .filter(|i| matches!(u32::from(i.code) & 7, libc::BPF_LD | libc::BPF_LDX))
            .collect();
        assert!(loads.len() > 2);
        let data = size_of::<libc::seccomp_data>() as u32;
        for load in loads {
            assert_eq!(u32::from(load.code), libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
            assert!(load.k % 4 == 0 && load.k + 4 <= data, "offset {}", load.k);
        }
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
        ("fcntl", 1),
        ("mmap", 2),
        ("mmap", 3),
        ("mprotect", 2),
        ("pkey_mprotect", 2),
        ("madvise", 2),
        ("getrlimit", 0),
        ("setrlimit", 0),
        ("prlimit64", 1),
        ("getsockopt", 2),
        ("setsockopt", 2),
        ("shmctl", 1),
        ("shmget", 2),
        ("shmat", 2),
        ("memfd_create", 1),
        ("sched_setscheduler", 1),
        ("setpriority", 2),
    ];
    for row in table() {
        if let Rule::Masked { arg, .. } | Rule::OneOf { arg, .. } | Rule::MaskedOneOf { arg, .. } =
            row.contained
        {
            assert!(by_value.contains(&(row.name, arg)), "{} is judged by argument {arg}", row.name);
        }
        for case in row.cases {
            assert!(
                by_value.contains(&(row.name, case.arg)),
                "{} is judged by argument {}",
                row.name,
                case.arg
            );
        }
    }
}

/// A few answers written down by hand, for the case that row and expectation err together.
#[test]
fn arguments_decide_where_the_row_says_so() {
    let at = |number: i64, n: usize, value: u64| {
        let mut args = [0; 6];
        args[n] = value;
        [Level::Contained, Level::Pinned].map(|level| answer(level, number, args))
    };
    let trace = libc::SECCOMP_RET_TRACE;
    let eperm = refuse(libc::EPERM);
    assert_eq!(at(libc::SYS_clone, 0, 0x003d_0f00), [ALLOW, trace], "a thread");
    for bit in [0x2_0000u64, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(at(libc::SYS_clone, 0, bit | 17), [eperm; 2], "namespace {bit:#x}");
        assert_eq!(at(libc::SYS_unshare, 0, bit), [eperm; 2], "namespace {bit:#x}");
    }
    assert_eq!(at(libc::SYS_unshare, 0, 0x80), [eperm; 2], "time namespace");
    assert_eq!(at(libc::SYS_ioctl, 1, libc::TCGETS), [ALLOW; 2]);
    assert_eq!(at(libc::SYS_ioctl, 1, libc::FIONBIO), [ALLOW, trace]);
    assert_eq!(at(libc::SYS_ioctl, 1, libc::TIOCSTI), [eperm; 2]);
    assert_eq!(
        at(libc::SYS_ioctl, 1, libc::TIOCSTI | 1 << 32),
        [eperm; 2],
        "the kernel ignores the upper half"
    );
    let socket = |family: i32, kind: i32, protocol: u64| {
        let args = [family as u64, kind as u64, protocol, 0, 0, 0];
        let [contained, pinned] =
            [Level::Contained, Level::Pinned].map(|level| answer(level, libc::SYS_socket, args));
        assert_eq!(contained, pinned, "sockets are made natively");
        contained == ALLOW
    };
    assert!(socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 6));
    assert!(socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) && socket(libc::AF_INET6, libc::SOCK_DGRAM, 17));
    assert!(!socket(libc::AF_INET, libc::SOCK_RAW, 1) && !socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0));
    assert!(!socket(libc::AF_INET, 10, 0) && !socket(libc::AF_NETLINK, libc::SOCK_RAW, 0));
    assert_eq!(at(libc::SYS_mknod, 1, u64::from(libc::S_IFCHR) | 0o666), [eperm; 2]);
    assert_eq!(at(libc::SYS_mknod, 1, u64::from(libc::S_IFIFO) | 0o666), [ALLOW, trace]);
    assert_eq!(at(libc::SYS_mmap, 2, 3), [ALLOW; 2], "data");
    assert_eq!(at(libc::SYS_mmap, 2, 5), [ALLOW, trace], "code");
    assert_eq!(at(libc::SYS_madvise, 2, 8), [ALLOW, refuse(libc::EINVAL)], "MADV_FREE");
    assert_eq!(at(libc::SYS_fcntl, 1, 7), [ALLOW, trace], "F_SETLKW");
    assert_eq!(at(libc::SYS_fcntl, 1, 3), [ALLOW; 2], "F_GETFL");
}

/// What the kernel demands of a program, and what this one's parts promise each other.
#[test]
fn every_jump_stays_inside_and_every_instruction_is_reached() {
    for level in [Level::Contained, Level::Pinned] {
        let program = program(level);
        let mut reached = vec![false; program.len()];
        reached[0] = true;
        for (at, i) in program.iter().enumerate() {
            assert!(reached[at], "{level:?}: nothing leads to instruction {at}");
            let next: &[usize] = match u32::from(i.code) & 7 {
                libc::BPF_RET => &[],
                libc::BPF_JMP if u32::from(i.code) == libc::BPF_JMP | libc::BPF_JA => &[i.k as usize],
                libc::BPF_JMP => &[usize::from(i.jt), usize::from(i.jf)],
                _ => &[0],
            };
            for distance in next {
                let target = reached.get_mut(at + 1 + distance);
                *target.unwrap_or_else(|| panic!("{level:?}: instruction {at} leaves the program")) = true;
            }
        }
    }
}

#[test]
fn the_table_compiles_to_short_programs() {
    for (level, most) in [(Level::Contained, 800), (Level::Pinned, 1200)] {
        let length = compile(level).expect("compiles").len();
        eprintln!("{level:?}: {length} instructions");
        assert!((300..most).contains(&length), "{level:?}: {length} instructions");
    }
}
