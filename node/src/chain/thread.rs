//! The thread that drives the chain loop with the real clock.
//!
//! Owns the mailbox (submissions in, answers out), the clock that never runs backwards, and the snapshot that RPC
//! reads without waiting. When the loop ends with an error, the thread hands the error to whoever waits for the
//! process to end: nothing goes on without its chain.

use super::{Chain, ChainError, Notice, SubmitError};
use metanode_types::ids::{BlockId, TxId};
use metanode_types::tx::SignedTx;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};

/// Submissions waiting for the loop at most.
const MAX_MAILBOX: usize = 4096;
/// The loop looks around at least this often, whatever is due.
const MAX_SLEEP: Duration = Duration::from_millis(500);

/// What can be known of the chain without touching the disk.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Height of the newest final block.
    pub height: u64,
    /// Its id.
    pub block: BlockId,
    /// Its time.
    pub block_time_ms: u64,
    /// Round under way, if a height is.
    pub round: Option<u32>,
    /// Height that peers claim to hold.
    pub claimed_tip: u64,
    /// Transactions waiting.
    pub waiting_txs: usize,
    /// Bytes waiting.
    pub waiting_bytes: usize,
    /// Connected peers.
    pub peers: usize,
    /// Things an operator should read, the newest last.
    pub alarms: Vec<String>,
}

/// Alarms kept at most.
const MAX_ALARMS: usize = 32;

enum Command {
    Submit(Box<SignedTx>, oneshot::Sender<Result<TxId, SubmitError>>),
    Pending(TxId, oneshot::Sender<Option<Arc<SignedTx>>>),
    Stop,
}

#[derive(Default)]
struct Mailbox {
    queue: Mutex<(VecDeque<Command>, bool)>,
    signal: Condvar,
}

impl Mailbox {
    fn wake(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.signal.notify_one();
    }
    fn push(&self, command: Command) -> bool {
        let mut inner = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let room = inner.0.len() < MAX_MAILBOX || matches!(command, Command::Stop);
        if room {
            inner.0.push_back(command);
        }
        inner.1 = true;
        self.signal.notify_one();
        room
    }
    /// Commands waiting; sleeps until there is one, somebody wakes the loop, or `until` passed.
    fn wait(&self, until: Duration) -> VecDeque<Command> {
        let inner = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut (VecDeque<Command>, bool)| state.0.is_empty() && !state.1;
        let (mut inner, _) =
            self.signal.wait_timeout_while(inner, until, idle).unwrap_or_else(PoisonError::into_inner);
        inner.1 = false;
        std::mem::take(&mut inner.0)
    }
}

/// Wakes the loop; may be built before the loop exists, because the network wants it first.
#[derive(Clone, Default)]
pub struct Waker(Arc<Mailbox>);

impl Waker {
    /// Wakes the loop.
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// The running loop.
pub struct ChainThread {
    mailbox: Arc<Mailbox>,
    snapshot: Arc<Mutex<Snapshot>>,
    heights: watch::Receiver<u64>,
    thread: Option<JoinHandle<Result<(), ChainError>>>,
}

/// The asking side; cheap to clone.
#[derive(Clone)]
pub struct ChainHandle {
    mailbox: Arc<Mailbox>,
    snapshot: Arc<Mutex<Snapshot>>,
    heights: watch::Receiver<u64>,
}

/// Unix milliseconds that never run backwards: the system clock, or monotonic time while that was set back.
pub struct Clock {
    base_ms: u64,
    since: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { base_ms: unix_ms(), since: Instant::now() }
    }
}

impl Clock {
    /// Now.
    pub fn now_ms(&mut self) -> u64 {
        let steady = self.base_ms + self.since.elapsed().as_millis() as u64;
        let wall = unix_ms();
        if wall > steady {
            (self.base_ms, self.since) = (wall, Instant::now());
        }
        steady.max(wall)
    }
}

/// The system clock in Unix milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl ChainThread {
    /// Starts the loop on a thread of its own. `ended` is called when the loop is over, however it ended.
    pub fn spawn(
        mut chain: Chain,
        waker: &Waker,
        notice: impl Fn(Notice) + Send + 'static,
        ended: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<ChainThread> {
        let mailbox = waker.0.clone();
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let (sender, heights) = watch::channel(chain.ledger().tip().height);
        let (post, shared) = (mailbox.clone(), snapshot.clone());
        let body = move || {
            let result = run(&mut chain, &post, &shared, &sender, &notice);
            ended();
            result
        };
        let thread = std::thread::Builder::new().name("chain".into()).spawn(body)?;
        Ok(ChainThread { mailbox, snapshot, heights, thread: Some(thread) })
    }

    /// The asking side.
    pub fn handle(&self) -> ChainHandle {
        ChainHandle {
            mailbox: self.mailbox.clone(),
            snapshot: self.snapshot.clone(),
            heights: self.heights.clone(),
        }
    }

    /// Ends the loop and returns how it ended.
    pub fn stop(mut self) -> Result<(), ChainError> {
        self.mailbox.push(Command::Stop);
        let thread = self.thread.take().expect("stopped once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl ChainHandle {
    /// What is known without touching the disk.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Height of the newest final block, with a wake-up for each new one.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.heights.clone()
    }
    /// Hands a transaction to the loop and waits for its verdict (not for finality).
    pub fn submit(&self, tx: SignedTx) -> Result<TxId, SubmitError> {
        let (sender, answer) = oneshot::channel();
        if !self.mailbox.push(Command::Submit(Box::new(tx), sender)) {
            return Err(SubmitError::Refused(super::mempool::Refused::Full("too many submissions at once")));
        }
        answer.blocking_recv().unwrap_or_else(|_| Err(SubmitError::Invalid("the node is stopping".into())))
    }
    /// The waiting transaction with this id.
    pub fn pending(&self, id: TxId) -> Option<Arc<SignedTx>> {
        let (sender, answer) = oneshot::channel();
        self.mailbox.push(Command::Pending(id, sender)).then(|| answer.blocking_recv().ok().flatten())?
    }
}

fn run(
    chain: &mut Chain,
    mailbox: &Mailbox,
    shared: &Mutex<Snapshot>,
    heights: &watch::Sender<u64>,
    notice: &impl Fn(Notice),
) -> Result<(), ChainError> {
    let mut clock = Clock::default();
    let mut sleep = Duration::ZERO;
    loop {
        for command in mailbox.wait(sleep) {
            match command {
                Command::Stop => return Ok(()),
                Command::Submit(tx, answer) => {
                    // Whoever asked may be gone; the transaction stays.
                    let _gone = answer.send(chain.submit(*tx, clock.now_ms()));
                }
                Command::Pending(id, answer) => {
                    let _gone = answer.send(chain.pending(&id));
                }
            }
        }
        let now = clock.now_ms();
        let wake = chain.poll(now)?;
        sleep = Duration::from_millis(wake.saturating_sub(now)).min(MAX_SLEEP);
        publish(chain, shared, heights, notice);
    }
}

fn publish(
    chain: &mut Chain,
    shared: &Mutex<Snapshot>,
    heights: &watch::Sender<u64>,
    notice: &impl Fn(Notice),
) {
    let notices = chain.take_notices();
    let tip = chain.ledger().tip();
    let (waiting_txs, waiting_bytes) = chain.waiting();
    {
        let mut s = shared.lock().unwrap_or_else(PoisonError::into_inner);
        (s.height, s.block, s.block_time_ms) = (tip.height, tip.block, tip.time_ms);
        (s.round, s.claimed_tip) = (chain.round(), chain.claimed_tip());
        (s.waiting_txs, s.waiting_bytes, s.peers) = (waiting_txs, waiting_bytes, chain.peer_count());
        s.alarms.extend(notices.iter().filter_map(|n| match n {
            Notice::Alarm(text) => Some(text.clone()),
            _ => None,
        }));
        let excess = s.alarms.len().saturating_sub(MAX_ALARMS);
        s.alarms.drain(..excess);
    }
    let height = tip.height;
    heights.send_if_modified(|h| std::mem::replace(h, height) != height);
    notices.into_iter().for_each(notice);
}
