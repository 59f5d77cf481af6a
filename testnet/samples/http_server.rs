//! Sample service: a small HTTP server with nothing but the standard library, linked statically.
//!
//! Answers `GET /healthz` with `ok` and every other path with the replica's environment and a request count, so that
//! a health check made from inside the cage, and the logs, have something real to see. It serves one connection
//! at a time and reads at most 8 KiB of a request.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

const MAX_REQUEST: usize = 8 * 1024;

fn answer(stream: &mut TcpStream, count: u64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = Vec::new();
    let mut part = [0u8; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        match stream.read(&mut part)? {
            0 => break,
            n => request.extend_from_slice(&part[..n]),
        }
    }
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let path = line.split(' ').nth(1).unwrap_or("/");
    let body = match path {
        "/healthz" => "ok\n".to_owned(),
        _ => format!(
            "request {count} for {path}, greeting {:?}\n",
            std::env::var("GREETING").unwrap_or_else(|_| "unset".into())
        ),
    };
    println!("{line} -> {} bytes", body.len());
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(8000);
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(l) => l,
        Err(e) => {
            eprintln!("error: listen on port {port}: {e}");
            std::process::exit(1);
        }
    };
    println!("listening on 127.0.0.1:{port}");
    for (count, stream) in (1..).zip(listener.incoming()) {
        if let Err(e) = stream.and_then(|mut s| answer(&mut s, count)) {
            eprintln!("connection {count}: {e}");
        }
    }
}
