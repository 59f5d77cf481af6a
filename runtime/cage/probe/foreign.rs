//! Attempts through other doors: a program of another architecture, memory that hides in pipes, CPU time beyond
//! the share.
//!
//! Owns these three; each is bounded, so that a cage without limits ends the test, not the machine.

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Attempt;
use crate::answer::{io_result, sys};

/// Answer when the kernel has no way to run the 32-bit program.
const CANNOT_RUN: i64 = 1;
/// Answer when a signal ended it, plus the signal.
const SIGNALLED: i64 = 100;

/// Runs a 32-bit program whose only act is `exit(42)`, by the 32-bit table.
fn elf32() -> i64 {
    let mut image: Vec<u8> = Vec::new();
    let words = |image: &mut Vec<u8>, list: &[u32]| list.iter().for_each(|w| image.extend(w.to_le_bytes()));
    // ELF header: 32-bit, little-endian, executable (2) for the 80386 (3), one segment after 52 bytes.
    image.extend(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0");
    words(&mut image, &[1, 0x0804_8054, 52, 0, 0]);
    image.extend([52, 0, 32, 0, 1, 0, 40, 0, 0, 0, 0, 0]);
    words(&mut image, &[1, 0, 0x0804_8000, 0x0804_8000, 96, 96, 5, 0x1000]); // loaded whole, read and execute
    image.extend(b"\xb8\x01\0\0\0\xbb\x2a\0\0\0\xcd\x80"); // mov eax, 1; mov ebx, 42; int 0x80
    let path = "/tmp/elf32";
    let mut options = std::fs::OpenOptions::new();
    let written = options.create(true).truncate(true).write(true).mode(0o755).open(path);
    if let Err(e) = written.and_then(|mut file| file.write_all(&image)) {
        return io_result::<()>(Err(e));
    }
    match Command::new(path).status() {
        Ok(status) => {
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            signal.map_or(i64::from(status.code().unwrap_or(-1)), |s| SIGNALLED + i64::from(s))
        }
        Err(e) if e.raw_os_error() == Some(libc::ENOEXEC) => CANNOT_RUN,
        Err(e) => io_result::<()>(Err(e)),
    }
}

/// Fills pipes, each as large as it may be, until something refuses; the bytes go to standard error as they grow.
fn fill_pipes() -> i64 {
    let block = vec![1u8; 1 << 20];
    let (mut total, mut kept) = (0u64, Vec::new());
    while total < 1 << 30 {
        let mut ends = [0; 2];
        let made = sys(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK) }.into());
        if made < 0 {
            eprintln!("bytes={total}");
            return made;
        }
        unsafe { libc::fcntl(ends[1], libc::F_SETPIPE_SZ, 1 << 20) };
        kept.push(unsafe { [OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])] });
        let written = unsafe { libc::write(ends[1], block.as_ptr().cast(), block.len()) };
        total += u64::try_from(written).unwrap_or(0);
    }
    eprintln!("bytes={total}");
    0
}

/// Computes for two seconds of wall time; the answer is the CPU time got, in milliseconds.
fn take_cpu() -> i64 {
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut used) } != 0 {
        return io_result::<()>(Err(io::Error::last_os_error()));
    }
    used.tv_sec * 1000 + used.tv_nsec / 1_000_000
}

pub(crate) const LIST: &[(&str, Attempt)] =
    &[("elf32", elf32), ("fill_pipes", fill_pipes), ("take_cpu", take_cpu)];
