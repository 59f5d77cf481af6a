//! Attacks on whoever traces the program: storms of tasks, of signals and of executions, and calls with nonsense.
//!
//! Owns these attempts. They are harmless to a cage that is not traced and run there too; each is bounded. The nonsense
//! of `random_calls` follows from the environment variable `FUZZ_SEED` alone, so that a run can be repeated.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Attempt;
use crate::answer::{best, expect, put, say, sys};

/// Forks, and ends the child with the answer of `work`: its exit status is 0 when that is not negative.
fn child(work: impl FnOnce() -> i64) -> i32 {
    match unsafe { libc::fork() } {
        0 => {
            let answer = work();
            unsafe { libc::_exit(i32::from(answer < 0)) }
        }
        pid => pid,
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = -1;
    if unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED | libc::WCONTINUED) } == pid {
        status
    } else {
        -1
    }
}

/// Vectors with as many parts as there may be, one more, lengths that wrap, and parts that are not there: what a read
/// and a write of each kind of descriptor say, against what the kernel says.
fn vectors_at_limits() -> i64 {
    let mut pipe = [0; 2];
    let mut pair = [0; 2];
    unsafe {
        libc::pipe2(pipe.as_mut_ptr(), libc::O_NONBLOCK);
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0, pair.as_mut_ptr());
    }
    let Ok(file) = std::fs::File::create("/tmp/vectors") else { return -1 };
    let byte = [7u8; 1];
    let part = |base: usize, len: usize| libc::iovec { iov_base: base as *mut _, iov_len: len };
    let here = byte.as_ptr() as usize;
    let write =
        |fd: i32, parts: &[libc::iovec], count: i64| call!(libc::SYS_writev, fd, parts.as_ptr(), count);
    let full = vec![part(here, 1); 1025];
    let [invalid, fault] = [libc::EINVAL, libc::EFAULT].map(|e| -i64::from(e));
    let ends = [pipe[1], pair[0], file.as_raw_fd()];
    expect(ends.iter().all(|fd| {
        let answers = [
            write(*fd, &full, 1024),
            write(*fd, &full, 1025),
            write(*fd, &full, -1),
            write(*fd, &full, 0),
            write(*fd, &[part(here, usize::MAX)], 1),
            write(*fd, &[part(here, 1), part(here, isize::MAX as usize + 1)], 2),
            write(*fd, &[part(usize::MAX - 3, 1)], 1),
            write(*fd, &[part(16, 1)], 1),
            call!(libc::SYS_writev, *fd, 8, 1),
            call!(libc::SYS_writev, *fd, u64::MAX - 7, 1),
        ];
        let held = answers == [1024, invalid, invalid, 0, invalid, invalid, fault, fault, fault, fault];
        if !held {
            eprintln!("descriptor {fd}: {answers:?}");
        }
        held
    }))
}

/// Threads that die with lists of robust futexes that turn in a circle, lead nowhere, or to themselves.
fn robust_cycles() -> i64 {
    let one = || {
        let mut list = [0u64; 8];
        let at = list.as_mut_ptr() as u64;
        // head -> first -> second -> first: never the head again.
        (list[0], list[1], list[2]) = (at + 32, 16, at + 48);
        (list[4], list[6]) = (at + 48, at + 32);
        let taken = call!(libc::SYS_set_robust_list, list.as_ptr(), 24);
        std::hint::black_box(&mut list);
        // The list must outlive the thread.
        let _: &mut _ = Box::leak(Box::new(list)); // the kernel keeps its address
        taken
    };
    let leaked =
        |words: [u64; 3]| move || call!(libc::SYS_set_robust_list, Box::leak(Box::new(words)).as_ptr(), 24);
    let join = |work: std::thread::JoinHandle<i64>| work.join().unwrap_or(-1);
    let mut answers = vec![join(std::thread::spawn(one))];
    for words in [[8, 0, 8], [u64::MAX - 7, u64::MAX, u64::MAX], [0x0000_8000_0000_0000, 1 << 63, 1]] {
        answers.push(join(std::thread::spawn(leaked(words))));
    }
    expect(answers.iter().all(|answer| *answer == 0))
}

/// Threads one after the other, many more than may live at once.
fn thread_storm() -> i64 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    for _ in 0..200 {
        let some: Vec<_> = (0..4)
            .filter_map(|_| {
                std::thread::Builder::new()
                    .stack_size(16 << 10)
                    .spawn(|| MADE.fetch_add(1, Ordering::Relaxed))
                    .ok()
            })
            .collect();
        some.into_iter().for_each(|thread| drop(thread.join()));
    }
    expect(MADE.load(Ordering::Relaxed) == 800)
}

/// Many threads on one word, woken one at a time, all at once, and moved to words that do not exist.
fn futex_storm() -> i64 {
    static WORD: AtomicU32 = AtomicU32::new(0);
    static ASLEEP: AtomicU32 = AtomicU32::new(0);
    let futex = |operation: i32, value: i64, fourth: i64, second: i64| {
        call!(libc::SYS_futex, WORD.as_ptr(), operation, value, fourth, second, 0)
    };
    let sleeper = move || {
        ASLEEP.fetch_add(1, Ordering::SeqCst);
        while WORD.load(Ordering::SeqCst) == 0 {
            futex(libc::FUTEX_WAIT, 0, 0, 0);
        }
    };
    let make = |_| std::thread::Builder::new().stack_size(16 << 10).spawn(sleeper).ok();
    let threads: Vec<_> = (0..40).filter_map(make).collect();
    while (ASLEEP.load(Ordering::SeqCst) as usize) < threads.len() {
        std::thread::yield_now();
    }
    for n in 0..400 {
        let second = [WORD.as_ptr() as i64, 16, -4, 0x7fff_ffff_f000][n % 4];
        let operation =
            [libc::FUTEX_WAKE, libc::FUTEX_REQUEUE, libc::FUTEX_CMP_REQUEUE, libc::FUTEX_WAKE_OP][n / 4 % 4];
        // Back to the word at once, so that nobody is left where nothing wakes.
        futex(operation, 1, 0, second);
    }
    WORD.store(1, Ordering::SeqCst);
    futex(libc::FUTEX_WAKE, i64::from(i32::MAX), 0, 0);
    let made = threads.len();
    let joined = threads.into_iter().filter_map(|thread| thread.join().ok()).count();
    expect(made == 40 && joined == 40)
}

/// A child that lends its memory to a child that lends it to another, and so on.
#[expect(deprecated, reason = "the call is the attack")]
fn vfork_chain() -> i64 {
    fn deeper(left: u32) -> i32 {
        if left == 0 {
            return 0;
        }
        let pid = unsafe { libc::vfork() };
        if pid == 0 {
            let below = deeper(left - 1);
            unsafe { libc::_exit(below) }
        }
        let status = wait(pid);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 1 }
    }
    expect(deeper(24) == 0)
}

/// Several threads execute at the same time, again and again; the environment counts.
fn execution_storm() -> i64 {
    let left: u32 = std::env::var("STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    if left == 0 {
        return 0;
    }
    let text = |word: &str| CString::new(word).unwrap_or_default();
    let words = [text("/bin/probe"), text("execution_storm")];
    let variables = [text(&format!("STORM={}", left - 1))];
    let run = move || {
        let argv = [words[0].as_ptr(), words[1].as_ptr(), std::ptr::null()];
        let env = [variables[0].as_ptr(), std::ptr::null()];
        unsafe { libc::execve(argv[0], argv.as_ptr(), env.as_ptr()) };
    };
    let threads: Vec<_> = (0..6).map(|_| std::thread::spawn(run.clone())).collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    -i64::from(libc::EDOM) // an execution that succeeded does not come back
}

/// Children with threads, doing something of everything, killed at one point after another.
fn killed_at_every_point() -> i64 {
    let busy = || -> i64 {
        let mut pipe = [0; 2];
        unsafe { libc::pipe(pipe.as_mut_ptr()) };
        let end = pipe[0];
        std::thread::spawn(move || unsafe { libc::read(end, [0u8; 8].as_mut_ptr().cast(), 8) });
        std::thread::spawn(|| {
            loop {
                unsafe { libc::usleep(50) };
            }
        });
        loop {
            unsafe {
                libc::write(pipe[1], [0u8; 3].as_ptr().cast(), 3);
                libc::poll(std::ptr::null_mut(), 0, 1);
                let pid = libc::fork();
                if pid == 0 {
                    libc::_exit(0);
                }
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    };
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    expect((0..60).all(|point| {
        let pid = child(busy);
        for _ in 0..point * 7 {
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        }
        unsafe { libc::kill(pid, libc::SIGKILL) };
        let status = wait(pid);
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
    }))
}

/// A child is stopped and continued without end while it works.
fn stop_storm() -> i64 {
    let pid = child(|| {
        loop {
            std::thread::yield_now();
            unsafe { libc::usleep(20) };
        }
    });
    let send = |signal: i32| unsafe { libc::kill(pid, signal) };
    let mut held = true;
    for _ in 0..150 {
        send(libc::SIGSTOP);
        let status = wait(pid);
        held &= libc::WIFSTOPPED(status);
        send(libc::SIGCONT);
        held &= libc::WIFCONTINUED(wait(pid));
    }
    for _ in 0..150 {
        send(libc::SIGSTOP);
        send(libc::SIGCONT);
    }
    send(libc::SIGSTOP);
    send(libc::SIGKILL);
    loop {
        let status = wait(pid);
        if status == -1 || libc::WIFSIGNALED(status) {
            return expect(held && libc::WIFSIGNALED(status));
        }
    }
}

/// The program's own memory by way of a file: no way around the walls of its pages.
fn own_memory_by_file() -> i64 {
    static CONSTANT: [u8; 8] = *b"constant";
    let Ok(file) = std::fs::OpenOptions::new().write(true).open("/proc/self/mem") else {
        return sys(-1);
    };
    let at = CONSTANT.as_ptr() as i64;
    sys(unsafe { libc::pwrite(file.as_raw_fd(), b"replaced".as_ptr().cast(), 8, at) } as i64)
}

/// Arguments of ten megabytes are refused, those of one are not.
fn huge_arguments() -> i64 {
    let run = |word: usize, count: usize| {
        let long = CString::new(vec![b'x'; word]).unwrap_or_default();
        let shell = c"/bin/probe";
        let list = c"list";
        let mut argv = vec![shell.as_ptr(), list.as_ptr()];
        argv.extend(std::iter::repeat_n(long.as_ptr(), count));
        argv.push(std::ptr::null());
        let null = std::fs::File::create("/tmp/list").map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        let pid = child(|| unsafe {
            libc::dup2(null, 1);
            sys(libc::execve(shell.as_ptr(), argv.as_ptr(), [std::ptr::null()].as_ptr()).into())
        });
        wait(pid)
    };
    let refused = |status: i32| libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1;
    expect(
        run(100_000, 10) == 0
            && refused(run(100_000, 100))
            && refused(run(200_000, 1))
            && run(1, 60_000) == 0,
    )
}

/// The standard streams are closed, and other things take their numbers.
fn streams_closed() -> i64 {
    let pid = child(|| {
        (0..3).for_each(|fd| _ = unsafe { libc::close(fd) });
        let refused = call!(libc::SYS_write, 1, c"x".as_ptr(), 1);
        let mut pipe = [0; 2];
        unsafe { libc::pipe(pipe.as_mut_ptr()) };
        let file = std::fs::File::create("/tmp/second").map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        let moved = call!(libc::SYS_write, 1, c"x".as_ptr(), 1);
        expect(refused == -i64::from(libc::EBADF) && pipe == [0, 1] && file == 2 && moved == 1)
    });
    expect(wait(pid) == 0)
}

/// A pair that is sent to itself, through itself, again and again.
fn descriptors_in_circles() -> i64 {
    let mut pair = [0; 2];
    let mut sent = 0;
    for _ in 0..200 {
        unsafe {
            libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0, pair.as_mut_ptr())
        };
        let answers = [0, 1, 0, 1].map(|end| crate::floods::send_descriptors(pair[end], &pair));
        sent += answers.iter().filter(|answer| **answer == 1).count();
        pair.iter().for_each(|fd| _ = unsafe { libc::close(*fd) });
    }
    eprintln!("sent={sent}");
    expect(sent >= 40)
}

/// A stream of numbers from a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}

/// Calls that are traced, by number; those that end or wait for nothing but their caller are left out.
const TRACED: &[i64] = &[
    0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 16, 17, 18, 19, 20, 21, 22, 23, 27, 28, 32, 33, 35, 36, 38, 40, 41, 42,
    43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 63, 72, 73, 74, 76, 77, 78, 79, 80, 82, 83, 84, 85,
    86, 87, 88, 89, 90, 91, 92, 93, 94, 96, 97, 98, 99, 100, 132, 133, 137, 138, 140, 145, 149, 186, 187,
    200, 201, 202, 203, 204, 217, 218, 221, 222, 223, 224, 225, 226, 228, 229, 230, 232, 233, 234, 235, 247,
    257, 258, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 273, 274, 275, 276, 277, 278, 280,
    281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 295, 296, 299, 302, 306, 307, 309, 316,
    318, 326, 327, 328, 332, 436, 437, 439, 441,
];

/// Memory that arguments point to: pages that can be written, one that can be read, one that cannot, and none.
fn terrain() -> u64 {
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at = libc::mmap(std::ptr::null_mut(), 8 * 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        libc::mprotect(at.byte_add(4 * 4096), 4096, libc::PROT_READ);
        libc::mprotect(at.byte_add(5 * 4096), 4096, libc::PROT_NONE);
        libc::munmap(at.byte_add(6 * 4096), 2 * 4096);
        at as u64
    }
}

fn argument(numbers: &mut Numbers, ground: u64) -> u64 {
    match numbers.below(16) {
        0 => numbers.next(),
        1 => u64::MAX - numbers.below(16),
        2 => numbers.next() >> numbers.below(64),
        3 => 1 << numbers.below(64),
        4 => 0xffff_8000_0000_0000 | numbers.below(1 << 40),
        5 => 0x7fff_ffff_f000 - numbers.below(64),
        6..=9 => numbers.below(12),
        // Just before the end of what can be read, written, or is there.
        10 => ground + 4096 * (1 + numbers.below(6)) - numbers.below(64),
        11 => u64::from(numbers.next() as u32),
        _ => ground + numbers.below(4 * 4096),
    }
}

/// Calls with nonsense for arguments, from `FUZZ_SEED`, in several children; the children may die of it.
fn random_calls() -> i64 {
    let seed: u64 = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for part in 0..10u64 {
        let pid = child(|| {
            let mut numbers = Numbers((seed << 8 | part).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            (0..4).for_each(|_| _ = numbers.next());
            unsafe { libc::alarm(5) };
            let ground = terrain();
            unsafe { libc::open(c"/tmp/fuzz".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) };
            unsafe { libc::pipe2([0; 2].as_mut_ptr(), 0) };
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, [0; 2].as_mut_ptr()) };
            for _ in 0..150 {
                for word in 0..64 {
                    let value = argument(&mut numbers, ground);
                    unsafe { ((ground + word * 56) as *mut u64).write_unaligned(value) };
                }
                let number = TRACED[numbers.below(TRACED.len() as u64) as usize];
                let a: [u64; 6] = std::array::from_fn(|_| argument(&mut numbers, ground));
                let safe = match number {
                    // Never the probe's own code and stack, nor the streams that tell the answer.
                    9 if a[3] & libc::MAP_FIXED as u64 != 0 => false,
                    10 => (ground..ground + 8 * 4096).contains(&a[0]) && a[1] < 4096 * 8,
                    _ => true,
                };
                if safe {
                    call!(number, a[0], a[1], a[2], a[3], a[4], a[5]);
                }
            }
            0
        });
        let status = loop {
            let status = wait(pid);
            if status == -1 || libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                break status;
            }
            unsafe { libc::kill(pid, libc::SIGCONT) };
        };
        eprintln!("part {part}: {status:#x}");
        say("part", &part.to_string());
    }
    best([0])
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("vectors_at_limits", vectors_at_limits),
    ("robust_cycles", robust_cycles),
    ("thread_storm", thread_storm),
    ("futex_storm", futex_storm),
    ("vfork_chain", vfork_chain),
    ("execution_storm", execution_storm),
    ("killed_at_every_point", killed_at_every_point),
    ("stop_storm", stop_storm),
    ("own_memory_by_file", own_memory_by_file),
    ("huge_arguments", huge_arguments),
    ("oom_score_of_my_own", || put("/proc/self/oom_score_adj", "0")),
    ("streams_closed", streams_closed),
    ("descriptors_in_circles", descriptors_in_circles),
    ("random_calls", random_calls),
];
