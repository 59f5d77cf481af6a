//! The network namespace of a pinned cage, as its first process prepares it.
//!
//! Owns what must be made inside it before the walls stand: the route metric that keeps answers from waiting for the
//! host's clock, the supervisor's probe, and for every endpoint outside that the program may reach an address of its
//! own on `lo`, where the supervisor listens in its place. Nothing here reaches outside.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// Where the supervisor's probe is bound; nobody has a reason to use it.
const PROBE: [u8; 4] = [127, 127, 127, 127];
const PROBE_PORT: u16 = 1;
/// Bytes of every send and receive buffer of the cage's network, of which the kernel makes twice as much; left alone it
/// would tune them by time.
pub(crate) const BUFFER: i32 = 212_992;
/// Endpoints that wait for the supervisor to take them over.
const BACKLOG: i32 = 1024;
/// Where connections within the cage come from.
const LOCALHOST: [u8; 4] = [127, 0, 0, 1];

/// An endpoint outside the cage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Its name or address, as it was given.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where it appears inside the cage.
    pub inside: Ipv4Addr,
    /// Whether the host was given by name.
    pub named: bool,
}

/// Reads `HOST:PORT` entries. Names get addresses of the range that is reserved for measurements (198.18.0.0/15), one
/// for each name.
pub(crate) fn endpoints(list: &[String]) -> Result<Vec<Endpoint>, String> {
    let mut names: Vec<&str> = Vec::new();
    let mut found = Vec::with_capacity(list.len());
    for entry in list {
        let (host, port) = entry.rsplit_once(':').ok_or_else(|| format!("{entry:?} is not HOST:PORT"))?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{entry:?} has no port between 1 and 65535"))?;
        let (inside, named) = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => (address, false),
            Ok(IpAddr::V6(_)) => return Err(format!("{entry:?}: only names and IPv4 addresses are carried")),
            Err(_) => {
                let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
                if host.is_empty() || host.len() > 253 || !host.bytes().all(fits) {
                    return Err(format!("{entry:?} names no host"));
                }
                let index = names.iter().position(|name| *name == host).unwrap_or(names.len());
                if index == names.len() {
                    names.push(host);
                }
                let number = u16::try_from(index + 1).map_err(|_| "too many names".to_owned())?;
                let [high, low] = number.to_be_bytes();
                (Ipv4Addr::new(198, 18, high, low), true)
            }
        };
        found.push(Endpoint { host: host.to_owned(), port, inside, named });
    }
    Ok(found)
}

/// The lines that `/etc/hosts` has for them, behind those of every cage.
pub(crate) fn hosts(list: &[Endpoint]) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    let mut told: Vec<&str> = Vec::new();
    for endpoint in list.iter().filter(|endpoint| endpoint.named) {
        if !told.contains(&endpoint.host.as_str()) {
            told.push(&endpoint.host);
            text.push_str(&format!("{} {}\n", endpoint.inside, endpoint.host));
        }
    }
    text
}

/// `struct sockaddr_in`.
pub(crate) fn address(ip: [u8; 4], port: u16) -> [u8; 16] {
    let mut out = [0; 16];
    out[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    out[2..4].copy_from_slice(&port.to_be_bytes());
    out[4..8].copy_from_slice(&ip);
    out
}

/// Prepares the current namespace, whose loopback device is up. The probe, then one listener for each endpoint.
pub(crate) fn prepare(list: &[Endpoint]) -> io::Result<Vec<OwnedFd>> {
    sys::local_route([127, 0, 0, 0], 8, LOCALHOST)?;
    sys::local_route(LOCALHOST, 32, LOCALHOST)?;
    let probe = sys::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0)?;
    let own = address(PROBE, PROBE_PORT);
    sys::bind(probe.as_fd(), &own)?;
    sys::connect(probe.as_fd(), &own)?;
    let mut made = vec![probe];
    for endpoint in list {
        let ip = endpoint.inside.octets();
        if !endpoint.inside.is_loopback() {
            sys::local_route(ip, 32, ip)?;
        }
        let listener = sys::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
        for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
            // Inherited by its connections: how much fits at once is part of the run.
            sys::set_socket_number(listener.as_fd(), libc::SOL_SOCKET, name, BUFFER)?;
        }
        sys::bind(listener.as_fd(), &address(ip, endpoint.port))?;
        sys::listen(listener.as_fd(), BACKLOG)?;
        made.push(listener);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_address_and_an_address_is_itself() {
        let list: Vec<String> =
            ["a.example:80", "10.1.2.3:443", "b:1", "a.example:81"].map(String::from).to_vec();
        let found = endpoints(&list).expect("well formed");
        let inside: Vec<String> = found.iter().map(|e| format!("{}:{}", e.inside, e.port)).collect();
        assert_eq!(inside, ["198.18.0.1:80", "10.1.2.3:443", "198.18.0.2:1", "198.18.0.1:81"]);
        let expected = "127.0.0.1 localhost\n::1 localhost\n198.18.0.1 a.example\n198.18.0.2 b\n";
        assert_eq!(hosts(&found), expected);
    }

    #[test]
    fn what_is_not_host_and_port_is_refused() {
        for bad in ["", "host", "host:", "host:0", "host:65536", ":80", "a b:80", "[::1]:80", "::1:80"] {
            assert!(endpoints(&[bad.into()]).is_err(), "{bad:?}");
        }
    }
}
