//! Connections to the world, carried by the supervisor and recorded.
//!
//! Every endpoint that the program may reach has an address inside the cage at which the supervisor listens. A
//! connection to it is first made outside, and the outcome recorded; then the program's own is accepted and bytes are
//! carried between the two. What comes from outside is recorded before it is delivered, and delivered only when every
//! task waits, so that a replay can deliver it at the same place from the witness alone. Nothing else reaches outside.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Stop, Supervisor};
use crate::netns::{self, Endpoint};
use crate::pinned::task::Call;
use crate::sys;
use crate::witness::{Input, InputKind, OwnedInput};

/// Bytes that one input holds at most.
const PIECE: usize = 64 << 10;
/// Bytes that wait for a slow peer, each way; a program that sends more has no verdict.
const MOST_WAITING: usize = 64 << 20;
/// How long a connection outside may take to be made.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the end of a run waits for a peer to take what the program sent.
const FLUSH: Duration = Duration::from_secs(5);
/// Longest single wait for the world.
const LOOK: Duration = Duration::from_secs(1);
/// Number under which the trace holds the moments at which the world was asked.
const ASKED: i64 = 0x9000_0000;

/// What the cage has of the world.
#[derive(Debug, Default)]
pub(in crate::pinned) struct Outside {
    endpoints: Vec<Endpoint>,
    listeners: Vec<OwnedFd>,
    connections: Vec<Connection>,
    made: u64,
    /// The inputs of a replay that are still to come.
    replay: Option<VecDeque<OwnedInput>>,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    label: String,
    /// The program's end, seen from outside.
    inner: OwnedFd,
    /// The peer; none in a replay.
    outer: Option<TcpStream>,
    /// Bytes for the program that did not fit yet.
    inward: VecDeque<u8>,
    /// Bytes for the peer that did not fit yet.
    outward: VecDeque<u8>,
    /// The peer may still send.
    open: bool,
    /// The peer's end has been passed on to the program.
    told: bool,
    /// The program may still send.
    sends: bool,
    /// The program's end has been passed on to the peer.
    ended: bool,
}

impl Outside {
    /// The world as these endpoints, or as the inputs of a witness.
    pub(in crate::pinned) fn new(list: &[String], replay: Option<Vec<OwnedInput>>) -> Result<Self, String> {
        let endpoints = netns::endpoints(list)?;
        let wanted = |input: &OwnedInput| matches!(input.kind, InputKind::Connect | InputKind::Receive);
        let replay = replay.map(|inputs| inputs.into_iter().filter(wanted).collect());
        Ok(Self { endpoints, replay, ..Self::default() })
    }

    pub(super) fn with_listeners(self, listeners: Vec<OwnedFd>) -> Self {
        Self { listeners, ..self }
    }

    /// The endpoint that an encoded address names inside the cage.
    fn endpoint(&self, address: &[u8]) -> Option<usize> {
        let same = |e: &Endpoint| address.get(..8) == Some(&netns::address(e.inside.octets(), e.port)[..8]);
        self.endpoints.iter().position(same)
    }
}

fn broken(step: &'static str) -> impl Fn(io::Error) -> Stop {
    move |e| Stop::broken(step, &e)
}

fn other_input(wanted: &str) -> Stop {
    Stop::Unmodelled(format!("E_REPLAY: the run asks for {wanted}, which is not what was recorded there"))
}

impl Supervisor {
    /// A task connects to `address`. When that lies outside: the errno of the connection there (0: it is made).
    pub(super) fn connect_outside(&mut self, address: &[u8]) -> Result<Option<i32>, Stop> {
        let outside = &mut self.classes.outside;
        let Some(index) = outside.endpoint(address) else { return Ok(None) };
        let endpoint = &outside.endpoints[index];
        let label = format!("{} {}:{}", outside.made, endpoint.host, endpoint.port);
        outside.made += 1;
        let at_event = self.recorder.events();
        let (errno, outer) = match &mut outside.replay {
            Some(inputs) => match inputs.pop_front() {
                Some(OwnedInput {
                    kind: InputKind::Connect, label: recorded, at_event: at, bytes, ..
                }) if recorded == label && at == at_event && bytes.len() == 4 => {
                    (i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), None)
                }
                _ => return Err(other_input(&format!("connection {label}"))),
            },
            None => match reach(&endpoint.host, endpoint.port) {
                Ok(outer) => (0, Some(outer)),
                Err(errno) => (errno, None),
            },
        };
        let bytes = errno.to_le_bytes();
        let input = Input { kind: InputKind::Connect, label: &label, bytes: &bytes, at_event };
        self.recorder.input(&input).map_err(broken("record a connection"))?;
        if errno == 0 {
            self.classes.outside.begin(index, label, outer);
        }
        Ok(Some(errno))
    }

    /// The program's own connection to an endpoint has been made, if it `reached` it: takes its other end.
    pub(super) fn accept_outside(&mut self, address: &[u8], reached: bool) -> Result<(), Stop> {
        let outside = &mut self.classes.outside;
        if !reached {
            outside.connections.pop(); // the socket was in no state to connect
            return Ok(());
        }
        let Some(index) = outside.endpoint(address) else { return Ok(()) };
        let (inner, _) = sys::accept_now(outside.listeners[index].as_fd())
            .map_err(broken("take a connection to the outside"))?;
        if let Some(connection) = outside.connections.last_mut() {
            connection.inner = inner;
        }
        Ok(())
    }

    /// Whether the world may still have something to say.
    pub(in crate::pinned) fn listens_outside(&self) -> bool {
        self.classes.outside.connections.iter().any(|c| c.open || !c.inward.is_empty() || c.sends)
    }

    /// Every task waits, until `deadline` if there is one: carries bytes, and waits for something from outside the
    /// cage. False when nothing came.
    pub(in crate::pinned) fn await_outside(&mut self, deadline: Option<u64>) -> Result<bool, Stop> {
        if !self.listens_outside() {
            return Ok(false);
        }
        self.settle_network()?;
        let asked = Call { number: ASKED, args: [0; 6] };
        self.record_outside(&asked)?;
        if self.classes.outside.carry()? {
            self.settle_network()?;
            return Ok(true);
        }
        let length = deadline.map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now())));
        let Some((index, bytes)) = self.next_input(length)? else { return Ok(false) };
        let connection = &mut self.classes.outside.connections[index];
        let input = Input {
            kind: InputKind::Receive,
            label: &connection.label,
            bytes: &bytes,
            at_event: self.recorder.events(),
        };
        self.recorder.input(&input).map_err(broken("record what a peer sent"))?;
        connection.open = !bytes.is_empty();
        connection.inward.extend(bytes);
        self.classes.outside.carry()?;
        self.settle_network()?;
        Ok(true)
    }

    /// The next bytes from outside, and the connection on which they came; none of them: the peer has ended.
    fn next_input(&mut self, length: Option<Duration>) -> Result<Option<(usize, Vec<u8>)>, Stop> {
        let at_event = self.recorder.events();
        let progress = std::sync::Arc::clone(&self.progress);
        let outside = &mut self.classes.outside;
        let Some(inputs) = &mut outside.replay else {
            let abandoned = || progress.abandoned.load(std::sync::atomic::Ordering::Acquire);
            return outside.receive(length, abandoned);
        };
        match inputs.front() {
            Some(next) if next.at_event == at_event && next.kind == InputKind::Receive => {}
            Some(next) if next.at_event < at_event => return Err(other_input("nothing at this moment")),
            _ => return Ok(None),
        }
        let next = inputs.pop_front().expect("it is there");
        let index = outside.connections.iter().position(|c| c.label == next.label);
        index.map(|index| Some((index, next.bytes))).ok_or_else(|| other_input("bytes of another connection"))
    }

    /// The run is over: what the program sent last still goes out.
    pub(in crate::pinned) fn close_outside(&mut self) {
        let outside = &mut self.classes.outside;
        let until = Instant::now() + FLUSH;
        // A peer that does not take it in time, or has gone, loses it: the run itself is over.
        while outside.carry().is_ok() && outside.unsent() && Instant::now() < until {
            let _ = outside.poll(Duration::from_millis(100));
        }
    }
}

/// Connects to a host outside; an errno when that fails.
fn reach(host: &str, port: u16) -> Result<TcpStream, i32> {
    let errno = |e: &io::Error| match e.kind() {
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        _ => e.raw_os_error().unwrap_or(libc::EHOSTUNREACH),
    };
    let list: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|_| libc::EHOSTUNREACH)?.collect();
    let mut last = libc::EHOSTUNREACH;
    for address in list {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => match stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
                Ok(()) => return Ok(stream),
                Err(e) => last = errno(&e),
            },
            Err(e) => last = errno(&e),
        }
    }
    Err(last)
}

impl Outside {
    /// A connection is made outside. Until its inner end is accepted, the listener stands for that.
    fn begin(&mut self, index: usize, label: String, outer: Option<TcpStream>) {
        let Ok(inner) = self.listeners[index].try_clone() else { return };
        self.connections.push(Connection {
            label,
            inner,
            outer,
            inward: VecDeque::new(),
            outward: VecDeque::new(),
            open: true,
            told: false,
            sends: true,
            ended: false,
        });
    }

    /// Carries what can be carried without waiting. Whether anything changed inside the cage.
    fn carry(&mut self) -> Result<bool, Stop> {
        let mut changed = false;
        for connection in &mut self.connections {
            changed |= connection.take_from_program()?;
            changed |= connection.give_to_program();
            connection.give_to_peer();
        }
        Ok(changed)
    }

    fn unsent(&self) -> bool {
        self.connections.iter().any(|c| c.outer.is_some() && (!c.outward.is_empty() || c.sends && !c.ended))
    }

    /// Waits for the peers at most `length`.
    fn poll(&self, length: Duration) -> Result<Vec<usize>, Stop> {
        let mut asked = Vec::new();
        let mut owners = Vec::new();
        for (index, connection) in self.connections.iter().enumerate() {
            let Some(outer) = &connection.outer else { continue };
            let mut events = if connection.open { libc::POLLIN } else { 0 };
            if !connection.outward.is_empty() {
                events |= libc::POLLOUT;
            }
            if events != 0 {
                asked.push(libc::pollfd { fd: outer.as_raw_fd(), events, revents: 0 });
                owners.push(index);
            }
        }
        let length = length.as_millis().max(1) as u64;
        sys::poll(&mut asked, Some(length)).map_err(broken("wait for the outside"))?;
        let ready = |(one, index): (&libc::pollfd, usize)| (one.revents != 0).then_some(index);
        Ok(asked.iter().zip(owners).filter_map(ready).collect())
    }

    /// Waits until a peer has sent something, for `length` at most.
    fn receive(
        &mut self,
        length: Option<Duration>,
        abandoned: impl Fn() -> bool,
    ) -> Result<Option<(usize, Vec<u8>)>, Stop> {
        let until = length.map(|length| Instant::now() + length);
        loop {
            if abandoned() {
                return Err(Stop::Killed);
            }
            if !self.connections.iter().any(|c| c.open && c.outer.is_some()) {
                return Ok(None);
            }
            let left = until.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()).min(LOOK));
            let mut ready = self.poll(left)?;
            ready.retain(|index| self.connections[*index].open);
            for index in ready {
                if let Some(bytes) = self.connections[index].take_from_peer() {
                    return Ok(Some((index, bytes)));
                }
            }
            self.connections.iter_mut().for_each(Connection::give_to_peer);
            if until.is_some_and(|at| Instant::now() >= at) {
                return Ok(None);
            }
        }
    }
}

impl Connection {
    /// Bytes of the peer; none when it has ended. `None`: not now.
    fn take_from_peer(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; PIECE];
        match io::Read::read(self.outer.as_mut()?, &mut bytes) {
            Ok(got) => {
                bytes.truncate(got);
                Some(bytes)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            Err(_) => Some(Vec::new()), // a connection that breaks ends
        }
    }

    /// Takes everything that the program has sent. Whether there was something.
    fn take_from_program(&mut self) -> Result<bool, Stop> {
        let mut buffer = vec![0; PIECE];
        let mut some = false;
        while self.sends {
            match sys::read(self.inner.as_fd(), &mut buffer) {
                Ok(got @ 1..) => {
                    some = true;
                    if self.outer.is_some() {
                        self.outward.extend(&buffer[..got]);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    some = true;
                    self.sends = false;
                }
            }
            if self.outward.len() > MOST_WAITING {
                return Err(Stop::Unmodelled(format!(
                    "E_OUTSIDE: {} does not take what it is sent",
                    self.label
                )));
            }
        }
        Ok(some)
    }

    /// Delivers what fits. Whether something did.
    fn give_to_program(&mut self) -> bool {
        let mut some = false;
        while !self.inward.is_empty() {
            let (now, _) = self.inward.as_slices();
            match sys::write(self.inner.as_fd(), now) {
                Ok(put) => {
                    some = true;
                    self.inward.drain(..put);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return some,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.inward.clear(), // the program has closed it
            }
        }
        if !self.open && !self.told {
            self.told = true;
            some = true;
            let _ = sys::shutdown(self.inner.as_fd(), libc::SHUT_WR); // it may be closed already
        }
        some
    }

    /// Sends what the peer takes.
    fn give_to_peer(&mut self) {
        let Some(outer) = &mut self.outer else { return };
        while !self.outward.is_empty() {
            let (now, _) = self.outward.as_slices();
            match io::Write::write(outer, now) {
                Ok(put) => drop(self.outward.drain(..put)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.outward.clear(), // it has gone; that shows when it is read
            }
        }
        if !self.sends && !self.ended {
            self.ended = true;
            let _ = outer.shutdown(std::net::Shutdown::Write);
        }
    }
}
