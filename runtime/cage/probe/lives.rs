//! Programs rather than attempts: they run until they are stopped, answer requests, read their input, or leave
//! others behind.
//!
//! Owns what the tests of a cage's life run.

use std::io::{self, Write};

use crate::Attempt;
use crate::answer::{expect, io_result, say};

fn spin() -> i64 {
    say("spin", "running");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Uses a processor until it is killed.
fn burn() -> i64 {
    say("burn", "running");
    loop {
        std::hint::spin_loop();
    }
}

fn stubborn() -> i64 {
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    spin()
}

fn count_input() -> i64 {
    let mut all = Vec::new();
    io_result(io::Read::read_to_end(&mut io::stdin(), &mut all));
    let right = all.chunks(4).zip(0u32..).all(|(bytes, n)| bytes == n.to_le_bytes());
    if right { all.len() as i64 } else { -1 }
}

/// A tiny HTTP server: /good is well, /bad is not, /silent never answers.
fn serve() -> i64 {
    let listener = match std::net::TcpListener::bind("127.0.0.1:80") {
        Ok(listener) => listener,
        Err(e) => return io_result::<()>(Err(e)),
    };
    println!("serving");
    let mut kept = Vec::new();
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let mut request = [0u8; 512];
        let length = io::Read::read(&mut stream, &mut request).unwrap_or(0);
        if request[..length].starts_with(b"GET /silent") {
            kept.push(stream);
        } else if request[..length].starts_with(b"GET /bad") {
            let _ = stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n");
        } else if length > 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
    }
    0
}

/// Leaves a daemon in a session of its own and 50 zombies for the init, then ends.
fn daemon() -> i64 {
    for n in 0..51 {
        if unsafe { libc::fork() } == 0 {
            unsafe { libc::setsid() };
            if unsafe { libc::fork() } == 0 && n == 0 {
                loop {
                    unsafe { libc::pause() };
                }
            }
            unsafe { libc::_exit(0) }
        }
    }
    for _ in 0..51 {
        unsafe { libc::wait(std::ptr::null_mut()) };
    }
    // Orphans belong to the init, which reaps them: wait until only the daemon, the init and this process are
    // left.
    for _ in 0..2000 {
        let left = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let left =
            left.filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())).count();
        if left <= 3 {
            return 0;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    -1
}

/// Lowers what its own init may use, as far as the kernel lets it: harm to itself. Then it goes on.
fn starve_init() -> i64 {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    for kind in
        [libc::RLIMIT_NOFILE, libc::RLIMIT_NPROC, libc::RLIMIT_AS, libc::RLIMIT_DATA, libc::RLIMIT_STACK]
    {
        call!(libc::SYS_prlimit64, 1, kind, &raw const none, 0);
    }
    let idle = libc::sched_param { sched_priority: 0 };
    unsafe { libc::sched_setscheduler(1, libc::SCHED_IDLE, &raw const idle) };
    expect(true)
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("spin", spin),
    ("burn", burn),
    ("stubborn", stubborn),
    ("count_input", count_input),
    ("serve", serve),
    ("daemon", daemon),
    ("starve_init", starve_init),
];
