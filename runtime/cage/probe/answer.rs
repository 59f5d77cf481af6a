//! What the kernel answered, as a number and as words.
//!
//! Owns the one form in which attempts answer: not negative for success, minus the errno for a refusal. It refuses
//! to interpret; what holds and what does not is the tests' business.

use std::io::{self, Write};

/// A raw system call.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        $crate::answer::sys(unsafe { libc::syscall($number $(, $argument)*) })
    };
}

/// The C convention turned into "result or minus errno".
pub(crate) fn sys(r: i64) -> i64 {
    if r < 0 { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) } else { r }
}

/// 0, or minus the errno.
pub(crate) fn io_result<T>(r: io::Result<T>) -> i64 {
    r.map_or_else(|e| -i64::from(e.raw_os_error().unwrap_or(libc::EIO)), |_| 0)
}

/// The first success if there is one, else the last refusal: for a series of ways to the same end.
pub(crate) fn best(answers: impl IntoIterator<Item = i64>) -> i64 {
    answers.into_iter().fold(-1, |so_far, now| if so_far >= 0 { so_far } else { now })
}

/// 0 when `good`, else an errno that no barrier gives.
pub(crate) fn expect(good: bool) -> i64 {
    if good { 0 } else { -i64::from(libc::EDOM) }
}

/// Opens for reading.
pub(crate) fn open(path: &str) -> i64 {
    io_result(std::fs::File::open(path))
}

/// Opens for writing, without creating.
pub(crate) fn open_for_write(path: &str) -> i64 {
    io_result(std::fs::OpenOptions::new().write(true).open(path))
}

/// Writes to an existing file in one call.
pub(crate) fn put(path: &str, bytes: &str) -> i64 {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    io_result(file.and_then(|mut file| file.write_all(bytes.as_bytes())))
}

/// Prints that an attempt was made, and its answer.
pub(crate) fn say(name: &str, answer: &str) {
    println!("RAN {name}: {answer}");
    let _ = io::stdout().flush();
}

/// `ok:NUMBER` or the name of the errno.
pub(crate) fn text(answer: i64) -> String {
    if answer >= 0 {
        return format!("ok:{answer}");
    }
    let errno = i32::try_from(-answer).unwrap_or(i32::MAX);
    let known = ERRNOS.iter().find(|(n, _)| *n == errno);
    known.map_or_else(|| format!("errno{errno}"), |(_, name)| (*name).into())
}

/// `SIGSYS` and the like.
pub(crate) fn signal_name(signal: i32) -> String {
    let known = [
        (libc::SIGSYS, "SIGSYS"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGALRM, "SIGALRM"),
    ];
    let name = known.iter().find(|(n, _)| *n == signal);
    name.map_or_else(|| format!("signal{signal}"), |(_, name)| (*name).into())
}

macro_rules! errnos {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const ERRNOS: &[(i32, &str)] = errnos! {
    EPERM EACCES ENOSYS ENOENT EROFS ENOSPC EAGAIN EMFILE ENFILE ENETUNREACH ECONNREFUSED EBADF EINVAL ENXIO ENOMEM
    ESRCH ENOTTY EEXIST EXDEV EBUSY ELOOP ENOTDIR EISDIR ETXTBSY EFBIG EFAULT EIO EOPNOTSUPP EAFNOSUPPORT
    EPROTONOSUPPORT ECHILD ENOEXEC ENODEV E2BIG ENOPROTOOPT ETOOMANYREFS EMSGSIZE ENAMETOOLONG ENOTSOCK
    EHOSTUNREACH EADDRNOTAVAIL ETIMEDOUT EDQUOT EDOM ENODATA ERANGE ENOTEMPTY ESOCKTNOSUPPORT ENOTUNIQ ENOTCONN
};
