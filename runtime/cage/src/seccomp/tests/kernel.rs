//! The programs in the kernel's own hands: it takes both, and answers harmless calls as the interpreter does.

use std::io;

use super::super::{Level, compile};
use super::filter::{ALLOW, answer, refuse};
use crate::sys;

/// Calls that change nothing, whatever is answered: number and arguments.
const CALLS: &[(i64, [u64; 6])] = &[
    (libc::SYS_getpid, [0; 6]),
    (libc::SYS_clock_gettime, [NONE, 0, 0, 0, 0, 0]),
    (libc::SYS_uname, [0; 6]),
    (libc::SYS_read, [NONE, 0, 0, 0, 0, 0]),
    (libc::SYS_pread64, [NONE, 0, 0, 0, 0, 0]),
    (libc::SYS_fstat, [NONE, 0, 0, 0, 0, 0]),
    (libc::SYS_openat2, [NONE, 0, 0, 0, 0, 0]),
    (libc::SYS_futex_waitv, [0; 6]),
    (libc::SYS_mmap, [0, 0, 1, 0, 0, 0]),
    (libc::SYS_mmap, [0, 0, 5, 0, 0, 0]),
    (libc::SYS_madvise, [0, 0, 4, 0, 0, 0]),
    (libc::SYS_madvise, [1, 0, 8, 0, 0, 0]),
    (libc::SYS_fcntl, [NONE, libc::F_GETFD as u64, 0, 0, 0, 0]),
    (libc::SYS_fcntl, [NONE, libc::F_SETFL as u64, 0, 0, 0, 0]),
    (libc::SYS_ioctl, [NONE, libc::FIONREAD, 0, 0, 0, 0]),
    (libc::SYS_ioctl, [NONE, libc::FIONBIO, 0, 0, 0, 0]),
    (libc::SYS_ioctl, [NONE, 0xdead_beef, 0, 0, 0, 0]),
    (libc::SYS_prctl, [libc::PR_GET_NO_NEW_PRIVS as u64, 0, 0, 0, 0, 0]),
    (libc::SYS_prctl, [libc::PR_GET_TIMERSLACK as u64, 0, 0, 0, 0, 0]),
    (libc::SYS_prctl, [0x7fff_ffff, 0, 0, 0, 0, 0]),
    (libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
    (libc::SYS_getrlimit, [libc::RLIMIT_NOFILE as u64, 0, 0, 0, 0, 0]),
    (libc::SYS_getrlimit, [libc::RLIMIT_CPU as u64, 0, 0, 0, 0, 0]),
    (libc::SYS_socket, [0xff, 1, 0, 0, 0, 0]),
    (libc::SYS_clone3, [0; 6]),
    (337, [0; 6]),
    (600, [0; 6]),
    (0x4000_0027, [0; 6]),
];

/// A descriptor, a clock or a directory that is not there.
const NONE: u64 = u32::MAX as u64;

/// What the child leaves behind in a page that both see.
type Results = [i64; CALLS.len() + 1];

/// Installs the program in a child, makes the calls there and returns what it saw. The child is single-threaded, and
/// between fork and end it only makes system calls. It ends by an illegal instruction, for at `pinned` the call that
/// ends a process is trapped too, and nobody traces it.
fn in_the_kernel(level: Level) -> Results {
    let filter = compile(level).expect("compiles");
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Results>(), protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    let results = page.cast::<Results>();
    if let Some(pid) = sys::fork().expect("fork") {
        let (status, _) = sys::wait_for(pid).expect("wait");
        assert_eq!(libc::WTERMSIG(status), libc::SIGILL, "the child ended otherwise: {status:#x}");
        // SAFETY: the page is mapped, large enough, aligned, and its other user is gone.
        let seen = unsafe { results.read() };
        // SAFETY: the mapping made above; nothing refers to it any more.
        assert_eq!(unsafe { libc::munmap(page, size_of::<Results>()) }, 0);
        return seen;
    }
    // SAFETY: as above; the parent does not touch the page before this child has ended.
    let results = unsafe { &mut *results };
    let _ = sys::prctl(libc::PR_SET_DUMPABLE, 0, 0); // no core file
    let _ = sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0);
    results[CALLS.len()] = i64::from(filter.install().is_ok());
    for (result, (number, a)) in results.iter_mut().zip(CALLS) {
        // SAFETY: none of these calls takes a pointer that it could use, or changes anything of this process.
        let answered = unsafe { libc::syscall(*number, a[0], a[1], a[2], a[3], a[4], a[5]) };
        // SAFETY: errno is this thread's own.
        *result = if answered < 0 { -i64::from(unsafe { *libc::__errno_location() }) } else { answered };
    }
    // SAFETY: ends this child.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}

#[test]
fn the_kernel_takes_both_programs_and_answers_as_the_interpreter_does() {
    // What these calls give when no filter is asked, where it matters that they were really made.
    let native = [
        (libc::SYS_mmap, -libc::EINVAL),
        (libc::SYS_pread64, -libc::EBADF),
        (libc::SYS_getrlimit, -libc::EFAULT),
    ];
    for level in [Level::Contained, Level::Pinned] {
        let seen = in_the_kernel(level);
        assert_eq!(seen[CALLS.len()], 1, "{level:?}: the kernel did not take the program");
        for ((number, args), got) in CALLS.iter().zip(seen) {
            let interpreted = answer(level, *number, *args);
            let refused = -((interpreted & libc::SECCOMP_RET_DATA) as i64);
            let what = format!("{level:?} {number} {args:x?}: {got}");
            match interpreted & libc::SECCOMP_RET_ACTION_FULL {
                ALLOW => {
                    let own =
                        native.iter().find(|(known, _)| known == number).map(|(_, errno)| i64::from(*errno));
                    assert!(own.is_none_or(|own| own == got), "{what}");
                    assert_ne!(got, -i64::from(libc::ENOSYS), "{what}");
                }
                libc::SECCOMP_RET_ERRNO => assert_eq!(got, refused, "{what}"),
                libc::SECCOMP_RET_TRACE => assert_eq!(got, -i64::from(libc::ENOSYS), "{what}: nobody traces"),
                other => panic!("{what}: {other:#x}"),
            }
        }
    }
    assert_eq!(answer(Level::Contained, libc::SYS_socket, [0xff, 1, 0, 0, 0, 0]), refuse(libc::EPERM));
}
