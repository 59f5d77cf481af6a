//! The live network: a libp2p swarm in a tokio task, and the synchronous handle to it.
//!
//! Owns starting and stopping. The handle never blocks and never waits for the task: commands go through a
//! channel whose load is counted and bounded, events come back through the bounded [`Queue`]. Refuses to
//! start when the environment would have TLS secrets written to a file.

mod behaviour;
mod codec;
mod peers;
mod task;

use crate::{
    Error, Event, Failure, InboundId, MessageId, Network, NodeKey, Offence, PeerAddress, PeerId, PeerInfo,
    Protocol, RequestId, Stats, Topic, Verdict, limits, queue::Queue,
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// Called after every event, from the swarm's task: it must return at once.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a live network is started with.
pub struct Config {
    /// Our identity.
    pub key: NodeKey,
    /// The chain id: the hash of the genesis.
    pub chain: [u8; 32],
    /// Addresses to listen on: `/ip4/…/udp/…/quic-v1`, `/ip4/…/tcp/…`; port 0 lets the system choose.
    pub listen: Vec<String>,
    /// Peers to keep connections to.
    pub peers: Vec<PeerAddress>,
    /// What we tell peers of our software.
    pub agent: String,
    /// Called after every event, for a core loop that sleeps elsewhere.
    pub wake: Option<Wake>,
}

/// What the handle and the task share.
pub(crate) struct Shared {
    local: PeerId,
    queue: Queue,
    notify: Notify,
    wake: Option<Wake>,
    peers: Mutex<BTreeMap<PeerId, PeerInfo>>,
    listening: Mutex<Vec<SocketAddr>>,
    stats: Mutex<Stats>,
    outbox_messages: AtomicUsize,
    outbox_bytes: AtomicUsize,
    next_request: AtomicU64,
}

impl Shared {
    /// Queues an event and wakes whoever waits; gives the event back if there is no room for its kind.
    fn tell(&self, event: Event) -> Result<(), Event> {
        self.queue.push(event)?;
        self.notify.notify_one();
        if let Some(wake) = &self.wake {
            wake();
        }
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A message has left the outbox.
    fn unload(&self, weight: usize) {
        self.outbox_messages.fetch_sub(1, Ordering::Relaxed);
        self.outbox_bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    fn with_peers<T>(&self, change: impl FnOnce(&mut BTreeMap<PeerId, PeerInfo>) -> T) -> T {
        change(&mut self.peers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the handle asks of the task.
pub(crate) enum Command {
    Publish { topic: Topic, content: Vec<u8> },
    Validated { message: MessageId, verdict: Verdict },
    Request { id: RequestId, peer: PeerId, protocol: Protocol, data: Vec<u8> },
    Respond { id: InboundId, answer: codec::Answer },
    Penalize { peer: PeerId, offence: Offence },
    AddPeer { address: PeerAddress },
}

impl Command {
    /// Bytes that count against the outbox. Answers and verdicts do not: there is one per event at most.
    fn weight(&self) -> Option<usize> {
        match self {
            Command::Publish { content, .. } => Some(content.len()),
            Command::Request { data, .. } => Some(data.len()),
            _ => None,
        }
    }
}

/// A node of the network over real sockets.
pub struct LiveNetwork {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    task: tokio::task::JoinHandle<()>,
}

/// Environment variables on which the TLS library writes secrets to a file.
const KEY_LOG_VARIABLE: &str = "SSLKEYLOGFILE";

impl LiveNetwork {
    /// Starts the network on the current tokio runtime. When this returns, every listen address is bound; the
    /// actual addresses follow as [`Event::Listening`].
    pub fn spawn(config: Config) -> Result<LiveNetwork, Error> {
        // libp2p-tls installs a key log on both sides of every connection, and the library reads the
        // variable at each handshake. Clearing it here would need unsafe code and would hide a set-up that
        // leaks elsewhere.
        if std::env::var_os(KEY_LOG_VARIABLE).is_some() {
            return Err(Error::KeepTlsSecrets { variable: KEY_LOG_VARIABLE });
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::FindRuntime)?;
        let shared = Arc::new(Shared {
            local: config.key.peer_id(),
            queue: Queue::default(),
            notify: Notify::new(),
            wake: config.wake.clone(),
            peers: Mutex::default(),
            listening: Mutex::default(),
            stats: Mutex::default(),
            outbox_messages: AtomicUsize::new(0),
            outbox_bytes: AtomicUsize::new(0),
            next_request: AtomicU64::new(1),
        });
        let (commands, inbox) = mpsc::channel(limits::MAX_COMMANDS);
        let task = task::Task::new(config, shared.clone())?;
        Ok(LiveNetwork { shared, commands, task: runtime.spawn(task.run(inbox)) })
    }

    /// Adds a static peer (for example, one that the ledger names) while running. A peer too many is not
    /// added.
    pub fn add_peer(&self, address: PeerAddress) -> Result<(), Error> {
        self.send(Command::AddPeer { address })
    }

    /// The next event, waiting for one up to `timeout`. For a core loop with a thread of its own.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        self.shared.queue.pop_timeout(timeout)
    }

    /// The next event. For a core loop within tokio; cancelling it loses nothing.
    pub async fn next(&self) -> Event {
        loop {
            let notified = self.shared.notify.notified();
            if let Some(event) = self.shared.queue.pop() {
                return event;
            }
            notified.await;
        }
    }

    /// Stops the network and waits until its ports are free again, for a few seconds at most.
    pub async fn shutdown(self) {
        let LiveNetwork { commands, task, shared } = self;
        drop(commands);
        // The task ends when its channel closes. It cannot be cancelled, and if it panicked the swarm is gone.
        let _ = task.await;
        // The QUIC library keeps its socket in a task of its own until it has said goodbye to every peer, and
        // offers nothing to wait for: whether the port can be bound is the only honest sign.
        let listening = std::mem::take(&mut *shared.listening.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in 0..limits::SHUTDOWN_TIMEOUT_MS / 10 {
            if listening.iter().all(|a| UdpSocket::bind(a).is_ok()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::warn!(?listening, "the ports are still taken after the shutdown");
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        let weight = command.weight();
        if let Some(weight) = weight {
            let messages = self.shared.outbox_messages.fetch_add(1, Ordering::Relaxed);
            let bytes = self.shared.outbox_bytes.fetch_add(weight, Ordering::Relaxed);
            if messages >= limits::MAX_OUTBOX_MESSAGES || bytes + weight > limits::MAX_OUTBOX_BYTES {
                self.shared.unload(weight);
                return Err(Error::OutboxFull { messages, bytes });
            }
        }
        self.commands.try_send(command).map_err(|refused| {
            weight.inspect(|weight| self.shared.unload(*weight));
            match refused {
                mpsc::error::TrySendError::Closed(_) => Error::NetworkDown,
                mpsc::error::TrySendError::Full(_) => {
                    self.shared.count(|s| s.dropped += 1);
                    let bytes = self.shared.outbox_bytes.load(Ordering::Relaxed);
                    Error::OutboxFull { messages: limits::MAX_COMMANDS, bytes }
                }
            }
        })
    }
}

impl Network for LiveNetwork {
    fn local_peer_id(&self) -> PeerId {
        self.shared.local
    }

    fn publish(&self, topic: Topic, data: Vec<u8>) -> Result<(), Error> {
        let (len, cap) = (data.len(), topic.max_bytes());
        if len > cap {
            return Err(Error::PublishTooLong { topic, len, cap });
        }
        self.send(Command::Publish { topic, content: data })
    }

    fn validated(&self, message: &MessageId, verdict: Verdict) {
        // If the network is down there is nobody left to forward to; if it is overloaded, forwarding is the
        // first thing to go, and the drop is counted.
        let _ = self.send(Command::Validated { message: *message, verdict });
    }

    fn request(&self, peer: PeerId, protocol: Protocol, data: Vec<u8>) -> Result<RequestId, Error> {
        let (len, cap) = (data.len(), protocol.max_request());
        if len > cap {
            return Err(Error::RequestTooLong { peer, protocol, len, cap });
        }
        let id = RequestId(self.shared.next_request.fetch_add(1, Ordering::Relaxed));
        self.send(Command::Request { id, peer, protocol, data })?;
        Ok(id)
    }

    fn respond(&self, request: InboundId, data: Vec<u8>) -> Result<(), Error> {
        let (protocol, len, cap) = (request.protocol, data.len(), request.protocol.max_response());
        if len > cap {
            return Err(Error::RespondTooLong { protocol, len, cap });
        }
        self.send(Command::Respond { id: request, answer: codec::Answer::Bytes(data) })
    }

    fn refuse(&self, request: InboundId) {
        // If the network is down the peer knows already; if it is overloaded, the peer's timeout tells it.
        let _ = self.send(Command::Respond { id: request, answer: codec::Answer::Refused });
    }

    fn penalize(&self, peer: &PeerId, offence: Offence) {
        // If the network is down the peer is gone already.
        let _ = self.send(Command::Penalize { peer: *peer, offence });
    }

    fn peers(&self) -> Vec<PeerInfo> {
        self.shared.with_peers(|peers| peers.values().cloned().collect())
    }

    fn try_next(&self) -> Option<Event> {
        self.shared.queue.pop()
    }

    fn stats(&self) -> Stats {
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns a failed request into an event.
pub(crate) fn failed(peer: PeerId, protocol: Protocol, id: RequestId, why: Failure) -> Event {
    Event::RequestFailed { peer, protocol, id, why }
}
