//! The probe: tries to cross barriers of the cage it runs in, and prints what the kernel answered.
//!
//! It refuses to do anything unless `/.metanode-cage-test-root` exists, a file that only the root built by
//! the tests holds, so it can never act on a real machine.
//!
//! `probe list` names the attempts. `probe NAME` makes one in this very process; `probe try NAME...` makes each in a
//! process of its own, so that one that is killed does not hide the next. Every attempt that was made leaves one line
//! `RAN NAME: ok:NUMBER|ERRNO|SIGNAL`, written after it had been made; an attempt that was not made leaves none.

#![allow(clippy::undocumented_unsafe_blocks)] // every call here is an attack with constant arguments

#[macro_use]
mod answer;
mod call;
mod files;
mod floods;
mod foreign;
mod hardware;
mod kernel;
mod lives;
mod mounts;
mod namespaces;
mod network;
mod processes;
mod procfs;
mod races;
mod storms;
mod tighten;

use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use answer::{say, signal_name, text};

/// File that marks a root made for these tests.
const MARKER: &str = "/.metanode-cage-test-root";
/// Seconds after which an attempt in a process of its own is given up.
const PATIENCE: u32 = 25;

/// One attempt: what the kernel answered, or minus an errno.
pub(crate) type Attempt = fn() -> i64;

/// Every attempt, by the barrier's kind.
const LISTS: &[&[(&str, Attempt)]] = &[
    files::LIST,
    floods::LIST,
    foreign::LIST,
    hardware::LIST,
    kernel::LIST,
    lives::LIST,
    mounts::LIST,
    namespaces::LIST,
    network::LIST,
    processes::LIST,
    procfs::LIST,
    races::LIST,
    storms::LIST,
    tighten::LIST,
];

fn main() {
    if std::env::args().nth(1).as_deref() == Some("call-in-a-cage") {
        return call::in_a_cage();
    }
    if std::env::args().nth(1).as_deref() == Some("list") {
        return LISTS.iter().copied().flatten().for_each(|(name, _)| println!("{name}"));
    }
    if !std::path::Path::new(MARKER).exists() {
        eprintln!("this is not a test root: nothing was tried");
        std::process::exit(97);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, names)) if first == "try" => {
            // What is sent to the init comes back to the program, which is this process.
            for signal in
                [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2]
            {
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            names.iter().for_each(|name| apart(name, find(name)));
        }
        Some((name, [])) => say(name, &text(find(name)())),
        _ => fail("one attempt, or try and some"),
    }
}

fn find(name: &str) -> Attempt {
    let known = LISTS.iter().copied().flatten().find(|(known, _)| *known == name);
    known.map_or_else(|| fail(&format!("no attempt {name:?}")), |(_, attempt)| *attempt)
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(98)
}

/// Makes the attempt in a child. The child says when it begins, so that a death by signal counts as an answer only
/// if the attempt had begun.
fn apart(name: &str, attempt: Attempt) {
    let mut ends = [0; 2];
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        fail("no pipe");
    }
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut pipe = unsafe { std::fs::File::from_raw_fd(ends[1]) };
        unsafe {
            libc::close(ends[0]);
            libc::alarm(PATIENCE);
        }
        let _ = pipe.write_all(b"+");
        let _ = pipe.write_all(text(attempt()).as_bytes());
        unsafe { libc::_exit(0) }
    }
    if child < 0 {
        fail("no process");
    }
    unsafe { libc::close(ends[1]) };
    let mut told = String::new();
    let _ = unsafe { std::fs::File::from_raw_fd(ends[0]) }.read_to_string(&mut told);
    let mut status = 0;
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    match told.strip_prefix('+') {
        Some("") if libc::WIFSIGNALED(status) => say(name, &signal_name(libc::WTERMSIG(status))),
        Some(answer) if !answer.is_empty() => say(name, answer),
        _ => eprintln!("{name} was not tried: {told:?}, status {status}"),
    }
}
