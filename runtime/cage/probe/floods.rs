//! Attempts that use a resource until it is refused, and programs that misbehave over time.
//!
//! Owns the bombs and floods of the probe; each is bounded, so that a cage without limits ends the test, not
//! the machine.

use std::io::{self, Write};

use super::{io_result, sys};

/// Writes until the file system refuses; the answer is the refusal, the bytes go to standard error.
pub(crate) fn fill_bytes() -> i64 {
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

pub(crate) fn fill_inodes() -> i64 {
    for n in 0..200_000 {
        if let Err(e) = std::fs::write(format!("/run/{n}"), b"") {
            eprintln!("inodes={n}");
            return io_result::<()>(Err(e));
        }
    }
    0
}

pub(crate) fn fork_bomb() -> i64 {
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

pub(crate) fn many_files() -> i64 {
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

pub(crate) fn eat_memory() -> i64 {
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

pub(crate) fn flood() -> i64 {
    let block = [b'x'; 64 << 10];
    for _ in 0..512 {
        if io::stdout().write_all(&block).is_err() {
            return -1;
        }
    }
    0
}

pub(crate) fn spin() -> i64 {
    println!("token=spin result=running");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Uses a processor until it is killed.
pub(crate) fn burn() -> i64 {
    println!("token=burn result=running");
    loop {
        std::hint::spin_loop();
    }
}

pub(crate) fn stubborn() -> i64 {
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    spin()
}

pub(crate) fn count_input() -> i64 {
    let mut all = Vec::new();
    io_result(io::Read::read_to_end(&mut io::stdin(), &mut all));
    let right = all.chunks(4).zip(0u32..).all(|(bytes, n)| bytes == n.to_le_bytes());
    if right { all.len() as i64 } else { -1 }
}

/// A tiny HTTP server: /good is well, /bad is not, /silent never answers.
pub(crate) fn serve() -> i64 {
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
pub(crate) fn daemon() -> i64 {
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
