//! The network inside the cage, made to act at once.
//!
//! Packets over loopback are handled by the kernel between tasks, when it gets to it: on a busy machine later than the
//! call that sent them. Owns the wait until everything sent so far has arrived (packets of ours, sent behind them
//! through the same queue, come back), the sizes of socket buffers, which the kernel would otherwise tune by time, and
//! the ports that the kernel would otherwise draw at random. How long the wait takes never decides anything.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::moving::Stream;
use super::{Stop, Supervisor};
use crate::netns::BUFFER;
use crate::sys;

/// Hops that one packet can cause before everybody waits for a task again: a request, its answer, and what they open.
const ROUNDS: usize = 4;
/// After this a packet of ours is lost, and something is broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports for sockets that do not ask for one, as the kernel's own range.
const PORTS: std::ops::RangeInclusive<u16> = 32_768..=60_999;
/// Ports in a row that are tried before the program is told that none is free.
const MOST_TAKEN: u32 = 256;
/// `IP_LOCAL_PORT_RANGE`: the ports that the kernel may choose for this socket.
const IP_LOCAL_PORT_RANGE: i32 = 51;

/// What is known of the cage's network.
#[derive(Debug)]
pub(in crate::pinned) struct Network {
    /// A datagram socket inside the cage that is connected to itself.
    pub(super) probe: Option<OwnedFd>,
    /// Some task has a socket of it.
    used: bool,
    next_port: u16,
    next_name: u32,
    /// Ports in a row that were taken.
    taken: u32,
    /// Connections that their makers do not wait for and whose listeners have no room, with where they go.
    refused: Vec<(OwnedFd, Vec<u8>)>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            probe: None,
            used: false,
            next_port: *PORTS.start(),
            next_name: 0,
            taken: 0,
            refused: Vec::new(),
        }
    }
}

impl Network {
    /// The next port for a socket that does not care.
    pub(super) fn port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == *PORTS.end() { *PORTS.start() } else { port + 1 };
        port
    }

    /// A port of ours was taken: whether to try the next.
    pub(super) fn try_another(&mut self) -> bool {
        self.taken += 1;
        self.taken < MOST_TAKEN
    }

    /// A connection got its port, or failed for another reason.
    pub(super) fn port_decided(&mut self) {
        self.taken = 0;
    }

    /// The next name for a unix socket that does not care.
    pub(super) fn name(&mut self) -> u32 {
        self.next_name = (self.next_name + 1) & 0xf_ffff;
        self.next_name
    }
}

/// Domain and type of a socket.
pub(super) fn sort(stream: &Stream) -> (i32, i32) {
    let ask = |name| sys::socket_number(stream.fd.as_fd(), libc::SOL_SOCKET, name).unwrap_or(-1);
    (ask(libc::SO_DOMAIN), ask(libc::SO_TYPE))
}

/// Whether a socket of this domain sends packets.
pub(super) fn networked(domain: i32) -> bool {
    matches!(domain, libc::AF_INET | libc::AF_INET6)
}

impl Supervisor {
    /// A task is about to use a socket of the network for the first time.
    pub(super) fn adopt(&mut self, stream: &Stream) {
        self.classes.network.used = true;
        let fd = stream.fd.as_fd();
        for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
            let now = sys::socket_number(fd, libc::SOL_SOCKET, name);
            // A program that has set its own sizes has locked them itself; ours are only for those that the kernel
            // would tune. A refusal leaves the kernel's, which is weaker, not wrong.
            if now.is_ok_and(|now| now != 2 * BUFFER && !self.classes.chosen_sizes.contains(&stream.inode)) {
                let _ = sys::set_socket_number(fd, libc::SOL_SOCKET, name, BUFFER);
            }
        }
    }

    /// Chooses the port that the kernel gives the socket, when it has none.
    pub(super) fn choose_port(&mut self, stream: &Stream) {
        let own = sys::own_address(stream.fd.as_fd()).unwrap_or_default();
        if own.get(2..4) != Some(&[0, 0]) {
            return;
        }
        let port = i32::from(self.classes.network.port());
        let range = port << 16 | port;
        let _ = sys::set_socket_number(stream.fd.as_fd(), libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, range);
    }

    /// A connection that its maker does not wait for is under way: when the listener had no room and ignored it, the
    /// kernel would ask again by the host's clock, so it is asked when a task may have made room.
    pub(super) fn ask_again(&mut self, stream: Stream, address: Vec<u8>) {
        if !stream.ready(libc::POLLOUT) {
            self.classes.network.refused.push((stream.fd, address));
        }
    }

    /// Some task may have made room at a listener.
    pub(in crate::pinned) fn connect_again(&mut self) -> Result<(), Stop> {
        for (fd, address) in std::mem::take(&mut self.classes.network.refused) {
            let _ = sys::connect(fd.as_fd(), &[0; 16]); // AF_UNSPEC: give up
            let made = sys::connect(fd.as_fd(), &address);
            self.settle_network()?;
            let mut one = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
            let done = sys::poll(&mut one, Some(0)).map_err(|e| Stop::broken("poll", &e))?;
            if !done && made.is_err_and(|e| e.raw_os_error() == Some(libc::EINPROGRESS)) {
                self.classes.network.refused.push((fd, address));
            }
        }
        Ok(())
    }

    /// Returns when everything that was sent over loopback has arrived.
    pub(in crate::pinned) fn settle_network(&mut self) -> Result<(), Stop> {
        let Some(probe) = self.classes.network.probe.as_ref().filter(|_| self.classes.network.used) else {
            return Ok(());
        };
        for _ in 0..ROUNDS {
            round_trip(probe.as_fd())?;
        }
        Ok(())
    }
}

fn round_trip(probe: BorrowedFd<'_>) -> Result<(), Stop> {
    let fail = |e| Stop::broken("settle the network of the cage", &e);
    sys::write(probe, b"?").map_err(fail)?;
    let mut buffer = [0; 8];
    let until = Instant::now() + PATIENCE;
    loop {
        match sys::read(probe, &mut buffer) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < until => {}
            Err(e) => return Err(fail(e)),
        }
        let mut one = [libc::pollfd { fd: probe.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        sys::poll(&mut one, Some(100)).map_err(fail)?; // a signal may cut it short
    }
}
