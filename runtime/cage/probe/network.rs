//! Attempts through sockets and terminals: other families, raw packets, addresses beyond the cage, injected input.
//!
//! Owns these attempts. Names in the environment lead to listeners that the tests opened on the host.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::Attempt;
use crate::answer::{best, expect, io_result, sys};

fn socket(family: i32, kind: i32, protocol: i32) -> i64 {
    sys(unsafe { libc::socket(family, kind, protocol) }.into())
}

/// Families in their stream, datagram, raw and packet forms.
fn family(family: i32) -> i64 {
    best([1, 2, 3, 5].map(|kind| socket(family, kind, 0)))
}

/// Every family there is but unix and the two internets.
fn every_family() -> i64 {
    let others = (0..64).filter(|f| ![libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].contains(f));
    best(others.map(family))
}

/// Kinds and protocols of the two internets beyond TCP and UDP: raw, packet, SCTP, DCCP, MPTCP, ICMP, UDP-Lite.
fn other_protocols() -> i64 {
    let kinds =
        [(3, 0), (3, 1), (3, 255), (10, 0), (1, 132), (5, 132), (6, 33), (1, 262), (2, 1), (2, 58), (2, 136)];
    let one = |family: i32| best(kinds.map(|(kind, protocol)| socket(family, kind, protocol)));
    best([one(libc::AF_INET), one(libc::AF_INET6)])
}

fn pairs() -> i64 {
    let mut ends = [0; 2];
    let families = [libc::AF_INET, libc::AF_NETLINK, libc::AF_VSOCK, libc::AF_TIPC];
    best(
        families.map(|f| sys(unsafe { libc::socketpair(f, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) }.into())),
    )
}

/// TCP to an address.
fn connect(address: &str) -> i64 {
    let Ok(address) = address.parse::<SocketAddr>() else { return expect(false) };
    io_result(TcpStream::connect_timeout(&address, Duration::from_secs(2)))
}

/// A datagram to an address.
fn send(local: &str, address: &str) -> i64 {
    io_result(
        UdpSocket::bind(local).and_then(|s| s.set_broadcast(true).and_then(|()| s.send_to(b"x", address))),
    )
}

fn interfaces() -> i64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    text.lines().skip(2).filter(|l| !l.trim_start().starts_with("lo:")).count() as i64
}

fn loopback() -> i64 {
    let Ok(listener) = TcpListener::bind("127.0.0.1:80") else { return expect(false) };
    let answer = connect("127.0.0.1:80");
    drop(listener);
    answer
}

/// A service of the host's own loopback.
fn host_loopback() -> i64 {
    let port = std::env::var("PORT").unwrap_or_default();
    best([connect(&format!("127.0.0.1:{port}")), connect(&format!("[::1]:{port}"))])
}

fn abstract_socket() -> i64 {
    use std::os::linux::net::SocketAddrExt;
    let Ok(name) = std::env::var("ABSTRACT") else { return expect(false) };
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes());
    io_result(address.and_then(|a| std::os::unix::net::UnixStream::connect_addr(&a)))
}

/// A socket file of the host.
fn path_socket() -> i64 {
    let Ok(path) = std::env::var("OUTSIDE") else { return expect(false) };
    io_result(std::os::unix::net::UnixStream::connect(format!("{path}/socket")))
}

fn option(level: i32, name: i32, value: &[u8]) -> i64 {
    let made = socket(libc::AF_INET, libc::SOCK_STREAM, 0);
    let Ok(fd) = i32::try_from(made) else { return made };
    sys(unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as u32) }.into())
}

/// Changes of the interface: address, flags, name, route.
fn configure() -> i64 {
    let made = socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
    let Ok(fd) = i32::try_from(made) else { return made };
    let mut request = [0u8; 64];
    request[..2].copy_from_slice(b"lo");
    let requests =
        [libc::SIOCSIFADDR, libc::SIOCSIFFLAGS, libc::SIOCSIFMTU, libc::SIOCADDRT, libc::SIOCSIFNAME];
    best(requests.map(|r| sys(unsafe { libc::ioctl(fd, r as _, request.as_mut_ptr()) }.into())))
}

/// Requests to a terminal that act on others: input, selection, console, discipline, hang-up.
fn terminal(request: u64) -> i64 {
    best((0..3).map(|fd| sys(unsafe { libc::ioctl(fd, request as _, c"x".as_ptr()) }.into())))
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("socket_vsock", || family(libc::AF_VSOCK)),
    ("socket_packet", || family(libc::AF_PACKET)),
    ("socket_netlink", || family(libc::AF_NETLINK)),
    ("socket_alg", || family(libc::AF_ALG)),
    ("socket_xdp", || family(libc::AF_XDP)),
    ("socket_tipc", || family(libc::AF_TIPC)),
    ("socket_key", || family(libc::AF_KEY)),
    ("socket_bluetooth", || family(libc::AF_BLUETOOTH)),
    ("socket_can", || family(libc::AF_CAN)),
    ("socket_rds", || family(libc::AF_RDS)),
    ("socket_smc", || family(43)),
    ("socket_any_other", every_family),
    ("socket_raw", || socket(libc::AF_INET, libc::SOCK_RAW, 1)),
    ("socket_raw6", || socket(libc::AF_INET6, libc::SOCK_RAW, 58)),
    ("socket_inet_packet", || socket(libc::AF_INET, 10, 0)),
    ("socket_other_protocols", other_protocols),
    ("socket_pairs", pairs),
    ("interfaces", interfaces),
    ("loopback", loopback),
    ("internet", || connect("1.1.1.1:80")),
    ("internet6", || connect("[2606:4700:4700::1111]:80")),
    ("metadata", || connect("169.254.169.254:80")),
    ("metadata6", || connect("[fd00:ec2::254]:80")),
    ("metadata_datagram", || send("0.0.0.0:0", "169.254.169.254:53")),
    ("private_network", || connect("10.0.0.1:22")),
    ("broadcast", || send("0.0.0.0:0", "255.255.255.255:67")),
    ("multicast", || send("0.0.0.0:0", "224.0.0.251:5353")),
    ("host_loopback", host_loopback),
    ("abstract_socket", abstract_socket),
    ("path_socket", path_socket),
    ("socket_mark", || option(libc::SOL_SOCKET, libc::SO_MARK, &[1, 0, 0, 0])),
    ("socket_transparent", || option(libc::SOL_IP, libc::IP_TRANSPARENT, &[1, 0, 0, 0])),
    ("socket_repair", || option(libc::SOL_TCP, libc::TCP_REPAIR, &[1, 0, 0, 0])),
    ("socket_force_buffer", || option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &[0, 0, 0, 64])),
    ("interface_changes", configure),
    ("terminal_input", || terminal(libc::TIOCSTI)),
    ("terminal_linux", || terminal(libc::TIOCLINUX)),
    ("terminal_console", || terminal(libc::TIOCCONS)),
    ("terminal_discipline", || terminal(libc::TIOCSETD)),
    ("terminal_own", || terminal(libc::TIOCSCTTY)),
    ("terminal_keyboard", || terminal(0x4b4e)), // KDSKBSENT and its neighbours
];
