//! Asking a caged service whether it is well, from inside its own network namespace.
//!
//! Owns the probe: a short-lived child enters the namespace, connects to 127.0.0.1 and, when a path is given,
//! reads the status line of an HTTP answer. The child makes only plain system calls on memory prepared before
//! the fork, so this may be called from a process with threads. It refuses to trust the answer: at most
//! [`MAX_ANSWER`] bytes are read, and nothing but the status code is used.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Error, Record, sys};

/// Most bytes of an answer that are looked at.
pub const MAX_ANSWER: usize = 1024;
/// First byte of the child's message: the errno of what failed, or 0.
const MESSAGE: usize = 4;

/// What the service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It accepts connections, and if a path was asked for, answered 2xx or 3xx.
    Healthy,
    /// It does not, for this reason.
    Unhealthy(String),
}

/// Probes `127.0.0.1:port` inside the cage; with a path, by HTTP GET.
pub fn probe(state_dir: &Path, port: u16, path: Option<&str>, timeout: Duration) -> Result<Health, Error> {
    let not_running = |why| Error::NotRunning { state_dir: state_dir.into(), why };
    let record = Record::read(state_dir)?;
    let open = |kind: &str| {
        let path = CString::new(format!("/proc/{}/ns/{kind}", record.init.pid)).expect("digits hold no NUL");
        sys::openat(libc::AT_FDCWD, &path, libc::O_RDONLY).map_err(|_| not_running("its namespaces are gone"))
    };
    let (user, net) = (open("user")?, open("net")?);
    if !record.running() {
        return Err(not_running("its first process has ended"));
    }
    if path.is_some_and(|p| !p.starts_with('/') || p.bytes().any(|b| b <= b' ' || b == 0x7f)) {
        return Err(Error::BadSpec {
            field: "health path",
            why: "must start with / and hold no space or control".into(),
        });
    }
    let request =
        path.map(|p| format!("GET {p} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"));
    let failed = |source| Error::Supervise { step: "probe the service", source };
    let answer = ask(&user, &net, port, request.as_deref(), timeout).map_err(failed)?;
    Ok(judge(&answer, request.is_some()))
}

/// Forks the child that enters the namespace and returns its message: an errno, then the bytes of the answer.
fn ask(
    user: &OwnedFd,
    net: &OwnedFd,
    port: u16,
    request: Option<&str>,
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let (reader, writer) = sys::pipe()?;
    let deadline = Instant::now() + timeout;
    let Some(pid) = sys::fork()? else {
        let mut message = [0u8; MESSAGE + MAX_ANSWER];
        let length = match visit(user, net, port, request, deadline, &mut message[MESSAGE..]) {
            Ok(length) => length,
            Err(errno) => {
                message[..MESSAGE].copy_from_slice(&errno.to_le_bytes());
                0
            }
        };
        let _ = sys::write(writer.as_fd(), &message[..MESSAGE + length]);
        sys::exit_now(0)
    };
    drop(writer);
    let mut message = vec![0u8; MESSAGE + MAX_ANSWER];
    let mut fds = [libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    // The child watches the same deadline; the second is for a machine too busy to let it speak.
    let spoke = sys::poll(&mut fds, Some(timeout.as_millis() as u64 + 1000))?;
    if !spoke {
        sys::kill(pid, libc::SIGKILL);
    }
    let length = sys::read(reader.as_fd(), &mut message)?;
    sys::wait_for(pid)?;
    message.truncate(length);
    Ok(message)
}

/// In the child: enter, connect, ask. Allocates nothing. The error is an errno.
fn visit(
    user: &OwnedFd,
    net: &OwnedFd,
    port: u16,
    request: Option<&str>,
    deadline: Instant,
    answer: &mut [u8],
) -> Result<usize, i32> {
    let errno = |e: io::Error| e.raw_os_error().unwrap_or(libc::EIO);
    if sys::euid() != 0 {
        sys::setns(user.as_fd(), libc::CLONE_NEWUSER).map_err(errno)?;
    }
    sys::setns(net.as_fd(), libc::CLONE_NEWNET).map_err(errno)?;
    let socket = connect(port, deadline)?;
    let Some(request) = request else { return Ok(0) };
    // A request is far smaller than a socket buffer, so one write takes it.
    sys::write(socket.as_fd(), request.as_bytes()).map_err(errno)?;
    let mut length = 0;
    while length < answer.len() && !answer[..length].contains(&b'\n') {
        ready(socket.as_fd(), libc::POLLIN, deadline)?;
        match sys::read(socket.as_fd(), &mut answer[length..]).map_err(errno)? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}

fn connect(port: u16, deadline: Instant) -> Result<OwnedFd, i32> {
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain integers only.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: the call has just created this descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and length describe the live address.
    if unsafe { libc::connect(fd, (&raw const address).cast(), length) } == 0 {
        return Ok(socket);
    }
    if errno() != libc::EINPROGRESS {
        return Err(errno());
    }
    ready(socket.as_fd(), libc::POLLOUT, deadline)?;
    let mut outcome: libc::c_int = 0;
    let mut size = size_of_val(&outcome) as libc::socklen_t;
    // SAFETY: both pointers are live and writable, and the size is that of the integer.
    let r = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut outcome).cast(), &raw mut size)
    };
    match (r, outcome) {
        (0, 0) => Ok(socket),
        (0, errno) => Err(errno),
        _ => Err(errno()),
    }
}

fn ready(fd: BorrowedFd<'_>, events: libc::c_short, deadline: Instant) -> Result<(), i32> {
    let mut fds = [libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match sys::poll(&mut fds, Some(left.as_millis() as u64)) {
            Ok(true) => return Ok(()),
            Ok(false) if left.is_zero() => return Err(libc::ETIMEDOUT),
            Ok(false) => {}
            Err(e) => return Err(e.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// Turns the child's message into a verdict.
fn judge(message: &[u8], http: bool) -> Health {
    let Some((head, answer)) = message.split_first_chunk::<MESSAGE>() else {
        return Health::Unhealthy("the probe was killed before it could tell".into());
    };
    match i32::from_le_bytes(*head) {
        0 if !http => Health::Healthy,
        0 => match status_code(answer) {
            Some(200..=399) => Health::Healthy,
            Some(code) => Health::Unhealthy(format!("HTTP status {code}")),
            None => Health::Unhealthy("the answer is not HTTP".into()),
        },
        errno => Health::Unhealthy(io::Error::from_raw_os_error(errno).to_string()),
    }
}

/// The code of an HTTP/1.x status line.
fn status_code(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let digits = rest.get(..3)?;
    if rest.get(3).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Health, judge, status_code};

    #[test]
    fn status_lines_are_read_strictly() {
        assert_eq!(status_code(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_code(b"HTTP/1.0 404\r\n"), Some(404));
        assert_eq!(status_code(b"HTTP/1.1 2000 OK\r\n"), None);
        assert_eq!(status_code(b"SSH-2.0-OpenSSH"), None);
        assert_eq!(status_code(b""), None);
    }

    #[test]
    fn only_success_and_redirects_are_healthy() {
        let message = |answer: &[u8]| [&[0u8; 4], answer].concat();
        assert_eq!(judge(&message(b"HTTP/1.1 301 Moved\r\n"), true), Health::Healthy);
        assert!(matches!(judge(&message(b"HTTP/1.1 500 No\r\n"), true), Health::Unhealthy(_)));
        assert!(matches!(judge(&message(b""), true), Health::Unhealthy(_)));
        assert_eq!(judge(&message(b""), false), Health::Healthy);
        assert!(matches!(judge(&[111, 0, 0, 0], false), Health::Unhealthy(_)));
        assert!(matches!(judge(&[], false), Health::Unhealthy(_)));
    }
}
