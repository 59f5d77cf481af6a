//! Attempts that use a resource until it is refused.
//!
//! Owns the bombs and floods of the probe; each is bounded, so that a cage without limits ends the test, not
//! the machine.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::Attempt;
use crate::answer::{expect, io_result, say, sys};

/// Writes until the file system refuses; the answer is the refusal, the bytes go to standard error.
fn fill_bytes() -> i64 {
    let block = vec![1u8; 64 << 10];
    let mut total = 0u64;
    let mut file = match std::fs::File::create("/tmp/fill") {
        Ok(file) => file,
        Err(e) => return io_result::<()>(Err(e)),
    };
    while total < 1 << 30 {
        match file.write_all(&block) {
            Ok(()) => total += block.len() as u64,
            Err(e) => {
                eprintln!("bytes={total}");
                return io_result::<()>(Err(e));
            }
        }
    }
    0
}

fn fill_inodes() -> i64 {
    for n in 0..200_000 {
        if let Err(e) = std::fs::write(format!("/run/{n}"), b"") {
            eprintln!("inodes={n}");
            return io_result::<()>(Err(e));
        }
    }
    0
}

fn fork_bomb() -> i64 {
    let mut children = 0;
    loop {
        match unsafe { libc::fork() } {
            0 => loop {
                unsafe { libc::pause() };
            },
            n if n < 0 => {
                let refusal = sys(-1);
                eprintln!("children={children}");
                return refusal;
            }
            _ => children += 1,
        }
        if children > 5000 {
            return children;
        }
    }
}

fn many_files() -> i64 {
    let mut open = Vec::new();
    loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(e) => {
                eprintln!("open={}", open.len());
                return io_result::<()>(Err(e));
            }
        }
        if open.len() > 100_000 {
            return 0;
        }
    }
}

fn eat_memory() -> i64 {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1024 {
        let mut block = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            return -i64::from(libc::ENOMEM);
        }
        block.resize(1 << 20, 1u8);
        kept.push(block);
    }
    kept.len() as i64
}

fn flood() -> i64 {
    let block = [b'x'; 64 << 10];
    for _ in 0..512 {
        if io::stdout().write_all(&block).is_err() {
            return -1;
        }
    }
    println!();
    0
}

/// As `flood`, to standard error, and far more lines.
fn flood_errors() -> i64 {
    let block = vec![b'\n'; 64 << 10];
    expect((0..256).all(|_| io::stderr().write_all(&block).is_ok()))
}

/// Starts threads until one is refused.
fn thread_bomb() -> i64 {
    let mut threads = 0;
    while threads < 5000 {
        let wait = || loop {
            unsafe { libc::pause() };
        };
        match std::thread::Builder::new().stack_size(16 << 10).spawn(wait) {
            Ok(_) => threads += 1,
            Err(e) => {
                eprintln!("threads={threads}");
                return io_result::<()>(Err(e));
            }
        }
    }
    threads
}

/// Adds to one kind of thing until it is refused, at most `most` times; the count goes to standard error.
fn until_refused(what: &str, most: i64, mut one: impl FnMut() -> i64) -> i64 {
    let mut count = 0;
    while count < most {
        let answer = one();
        if answer < 0 {
            eprintln!("{what}={count}");
            return answer;
        }
        count += 1;
    }
    eprintln!("{what}={count}");
    count
}

fn inotify_instances() -> i64 {
    until_refused("inotify", 2000, || sys(unsafe { libc::inotify_init1(0) }.into()))
}

/// The same, kept until this is killed.
fn inotify_kept() -> i64 {
    inotify_instances();
    say("inotify_kept", "holding");
    loop {
        unsafe { libc::pause() };
    }
}

fn timers() -> i64 {
    let mut id = 0i32;
    until_refused("timers", 200_000, || call!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, 0, &raw mut id))
}

/// Wait sets in wait sets.
fn epoll_nesting() -> i64 {
    let mut inner = unsafe { libc::epoll_create1(0) };
    until_refused("nested", 100, || {
        let outer = unsafe { libc::epoll_create1(0) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        let added = sys(unsafe { libc::epoll_ctl(outer, libc::EPOLL_CTL_ADD, inner, &raw mut event) }.into());
        inner = outer;
        added
    })
}

/// Queues of POSIX messages until the bytes in them are refused.
fn message_queues() -> i64 {
    let mut number = 0;
    until_refused("queues", 2000, || {
        number += 1;
        let Ok(name) = std::ffi::CString::new(format!("q{number}")) else { return -1 };
        call!(libc::SYS_mq_open, name.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, 0)
    })
}

/// Asynchronous contexts, which the kernel counts for the whole machine.
fn aio_contexts() -> i64 {
    let mut context = 0u64;
    until_refused("contexts", 100, || {
        context = 0;
        call!(libc::SYS_io_setup, 1024, &raw mut context)
    })
}

/// Sends descriptors into a pair that nobody reads: they stay open without a process that holds them.
fn descriptors_in_flight() -> i64 {
    let mut ends = [0; 2];
    unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, ends.as_mut_ptr()) };
    unsafe { libc::fcntl(ends[0], libc::F_SETFL, libc::O_NONBLOCK) };
    until_refused("in_flight", 20_000, || {
        let file = std::fs::File::open("/dev/null").map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        let mut pair = [0; 2];
        // A new pair for each, so that no queue fills; both ends travel in the first.
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()) };
        let sent = send_descriptors(pair[0], &[file, ends[0], ends[1]]);
        unsafe { libc::close(file) };
        let sent = if sent < 0 { sent } else { send_descriptors(ends[0], &pair) };
        pair.iter().for_each(|fd| _ = unsafe { libc::close(*fd) });
        if sent == -i64::from(libc::EAGAIN) {
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, ends.as_mut_ptr()) };
            return if ends[0] < 0 { -1 } else { 0 };
        }
        sent
    })
}

pub(crate) fn send_descriptors(socket: i32, descriptors: &[i32]) -> i64 {
    let mut control = [0u64; 8];
    let bytes = size_of_val(descriptors);
    unsafe {
        let mut byte = 0u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(bytes as u32) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(bytes as u32) as usize;
        std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), bytes);
        sys(libc::sendmsg(socket, &raw const message, libc::MSG_DONTWAIT) as i64)
    }
}

/// Fills the buffers of connections to oneself; the bytes go to standard error.
fn fill_sockets() -> i64 {
    let block = vec![1u8; 1 << 20];
    let Ok(listener) = std::net::TcpListener::bind("127.0.0.1:81") else { return -1 };
    let (mut total, mut kept) = (0u64, Vec::new());
    let refusal = loop {
        let stream = match std::net::TcpStream::connect("127.0.0.1:81") {
            Ok(stream) => stream,
            Err(e) => break io_result::<()>(Err(e)),
        };
        let _ = stream.set_nonblocking(true);
        let accepted = match listener.accept() {
            Ok((accepted, _)) => accepted,
            Err(e) => break io_result::<()>(Err(e)),
        };
        for _ in 0..64 {
            let written = unsafe { libc::write(stream.as_raw_fd(), block.as_ptr().cast(), block.len()) };
            let Ok(written) = u64::try_from(written) else { break };
            total += written;
        }
        kept.push((stream, accepted));
        if total > 1 << 30 {
            break 0;
        }
    };
    eprintln!("bytes={total}");
    refusal
}

/// Memory that no process maps: files that exist only as descriptors.
fn fill_memory_files() -> i64 {
    let block = vec![1u8; 1 << 20];
    let (mut total, mut kept) = (0u64, Vec::new());
    while total < 1 << 30 {
        let made = call!(libc::SYS_memfd_create, c"x".as_ptr(), 0);
        let Ok(fd) = i32::try_from(made) else { return made };
        let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        for _ in 0..16 {
            if let Err(e) = file.write_all(&block) {
                eprintln!("bytes={total}");
                return io_result::<()>(Err(e));
            }
            total += block.len() as u64;
            eprintln!("bytes={total}");
        }
        kept.push(file);
    }
    0
}

/// Segments of shared memory, filled and left.
fn fill_shared_memory() -> i64 {
    const SIZE: usize = 16 << 20;
    let mut total = 0u64;
    while total < 1 << 30 {
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, SIZE, 0o600 | libc::IPC_CREAT) };
        let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        if id < 0 || at as isize == -1 {
            return sys(-1);
        }
        unsafe { std::ptr::write_bytes(at.cast::<u8>(), 1, SIZE) };
        unsafe { libc::shmdt(at) };
        total += SIZE as u64;
        eprintln!("bytes={total}");
    }
    0
}

/// Children that nobody waits for, each with a child of its own: the init must reap, or the numbers run out.
fn zombie_storm() -> i64 {
    for n in 0..400 {
        let mut tries = 0;
        let child = loop {
            match unsafe { libc::fork() } {
                r if r >= 0 => break r,
                _ if tries > 2000 => {
                    eprintln!("zombies={n}");
                    return sys(-1);
                }
                _ => {
                    tries += 1;
                    unsafe { libc::usleep(1000) };
                }
            }
        };
        if child == 0 {
            unsafe {
                libc::fork();
                libc::_exit(0)
            }
        }
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    0
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("fill_bytes", fill_bytes),
    ("fill_inodes", fill_inodes),
    ("fork_bomb", fork_bomb),
    ("thread_bomb", thread_bomb),
    ("many_files", many_files),
    ("eat_memory", eat_memory),
    ("flood", flood),
    ("flood_errors", flood_errors),
    ("inotify_instances", inotify_instances),
    ("inotify_kept", inotify_kept),
    ("timers", timers),
    ("epoll_nesting", epoll_nesting),
    ("message_queues", message_queues),
    ("aio_contexts", aio_contexts),
    ("descriptors_in_flight", descriptors_in_flight),
    ("fill_sockets", fill_sockets),
    ("fill_memory_files", fill_memory_files),
    ("fill_shared_memory", fill_shared_memory),
    ("zombie_storm", zombie_storm),
];
