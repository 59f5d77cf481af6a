//! What status, readiness and metrics answer from: measured in the background, read without waiting.
//!
//! Owns two threads. The *pulse* follows the chain's heights: it takes note of the new head, wakes who waits,
//! and counts block intervals. Every view that an answer is made from is taken note of, too, so that whoever
//! was told of a height, by an answer or a wake-up, finds at least that height in the status. The *meter*
//! measures the data directory at most every [`METER_EVERY`]. Both end when the backend is gone. Refuses to
//! stand in for a measurement that has not been made: it is absent.

use super::NodeBackend;
use super::fault::{broken, lock};
use super::history::header;
use crate::ledger_reader::LedgerReader;
use metanode_rpc::error::BackendError;
use metanode_rpc::metrics::SampleValue;
use metanode_state::View;
use metanode_types::block::app_root;
use metanode_types::ids::{BlockId, Digest};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The data directory is measured at most this often.
const METER_EVERY: Duration = Duration::from_secs(30);
/// Entries of the data directory looked at most; beyond it the size is said to be unknown.
const METER_ENTRIES: usize = 2_000_000;
/// The pulse looks whether it is still needed at least this often.
const TICK: Duration = Duration::from_millis(500);
/// Headers read for the interval histogram per look, so that a node that catches up tells its height at once.
const INTERVALS_PER_LOOK: u64 = 256;
/// Upper bounds of the interval histogram, in seconds.
const BOUNDS_S: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// No value has been measured yet.
const UNKNOWN: u64 = u64::MAX;

/// The newest final block, as the interface tells it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Height.
    pub height: u64,
    /// Block id; zero at height 0.
    pub block: BlockId,
    /// Block time.
    pub time_ms: u64,
    /// Root of the state.
    pub app_root: Digest,
    /// Transactions so far.
    pub txs: u64,
    /// When it became final here; `None` when it was before this process began.
    pub since: Option<Instant>,
}

impl Head {
    fn of(head: &metanode_state::Head, since: Option<Instant>) -> Head {
        Head {
            height: head.height,
            block: head.block,
            time_ms: head.time_ms,
            app_root: Digest(app_root(&head.module_roots.0)),
            txs: head.txs,
            since,
        }
    }
}

/// Block intervals since the process began.
#[derive(Clone, Debug)]
struct Intervals {
    /// Height up to which intervals are counted, and its block time.
    counted: (u64, u64),
    /// Observations by bucket, not cumulative; the last is beyond every bound.
    buckets: [u64; BOUNDS_S.len() + 1],
    sum_ms: u64,
}

/// See the module.
pub struct Pulse {
    head: Mutex<Head>,
    intervals: Mutex<Intervals>,
    heights: watch::Sender<u64>,
    disk_bytes: AtomicU64,
    cages: AtomicU64,
}

impl Pulse {
    /// Starts from the ledger's head.
    pub fn new(ledger: &LedgerReader) -> Result<Pulse, BackendError> {
        let head = Head::of(ledger.view().map_err(broken)?.head(), None);
        let counted = (head.height, head.time_ms);
        let intervals = Intervals { counted, buckets: [0; BOUNDS_S.len() + 1], sum_ms: 0 };
        Ok(Pulse {
            heights: watch::Sender::new(head.height),
            head: Mutex::new(head),
            intervals: Mutex::new(intervals),
            disk_bytes: AtomicU64::new(UNKNOWN),
            cages: AtomicU64::new(UNKNOWN),
        })
    }

    /// Wakes at each new height, after everything here knows it.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }
    /// The newest final block.
    pub fn head(&self) -> Head {
        lock(&self.head).clone()
    }
    /// Bytes of the data directory, once measured.
    pub fn disk_bytes(&self) -> Option<u64> {
        known(&self.disk_bytes)
    }
    /// Cages running when last looked at.
    pub fn cages(&self) -> Option<u64> {
        known(&self.cages)
    }
    /// Takes note of the number of cages running.
    pub fn note_cages(&self, count: u64) {
        self.cages.store(count, Ordering::Relaxed);
    }

    /// The interval histogram.
    pub fn intervals(&self) -> SampleValue {
        let intervals = lock(&self.intervals);
        let mut so_far = 0;
        let buckets = BOUNDS_S.iter().zip(intervals.buckets).map(|(bound, count)| {
            so_far += count;
            (*bound, so_far)
        });
        let (buckets, count) = (buckets.collect(), intervals.buckets.iter().sum());
        SampleValue::Histogram { buckets, sum: intervals.sum_ms as f64 / 1000.0, count }
    }

    /// Takes note of the head of a view, if it is newer than what is known: first for status, then for whoever waits.
    pub fn note(&self, head: &metanode_state::Head) {
        let height = head.height;
        {
            let mut known = lock(&self.head);
            if height <= known.height {
                return;
            }
            *known = Head::of(head, Some(Instant::now()));
        }
        self.heights.send_if_modified(|told| std::mem::replace(told, height.max(*told)) < height);
    }

    /// Takes note of what is final now, and counts the intervals since the last look.
    pub fn look(&self, ledger: &LedgerReader) -> Result<(), BackendError> {
        let view = ledger.view().map_err(broken)?;
        self.note(view.head());
        self.count_intervals(&view)
    }

    fn count_intervals(&self, view: &View<'_>) -> Result<(), BackendError> {
        let head = view.head().height;
        let mut intervals = lock(&self.intervals);
        let (from, mut before_ms) = intervals.counted;
        for height in from + 1..=head.min(from.saturating_add(INTERVALS_PER_LOOK)) {
            let time_ms = header(view, height)?.time_ms;
            // The first block follows the genesis, whenever that was made: no interval between blocks.
            if height > 1 {
                intervals.observe(time_ms.saturating_sub(before_ms));
            }
            (intervals.counted, before_ms) = ((height, time_ms), time_ms);
        }
        Ok(())
    }
}

impl Intervals {
    fn observe(&mut self, ms: u64) {
        let seconds = ms as f64 / 1000.0;
        let bucket = BOUNDS_S.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_S.len());
        self.buckets[bucket] += 1;
        self.sum_ms += ms;
    }
}

fn known(value: &AtomicU64) -> Option<u64> {
    Some(value.load(Ordering::Relaxed)).filter(|v| *v != UNKNOWN)
}

/// Starts the pulse: it follows `heights` for as long as the backend lives.
pub(super) fn follow(backend: &Arc<NodeBackend>, mut heights: watch::Receiver<u64>) -> std::io::Result<()> {
    let weak: Weak<NodeBackend> = Arc::downgrade(backend);
    // A clock and a waker of its own: the pulse must not depend on the interface having a free worker.
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let run = move || {
        let mut chain_ended = false;
        while let Some(backend) = weak.upgrade() {
            heights.borrow_and_update();
            if let Err(error) = backend.look() {
                tracing::warn!("status: {error}");
            }
            drop(backend);
            let woken = clock.block_on(async {
                if chain_ended {
                    tokio::time::sleep(TICK).await;
                    return Ok(());
                }
                // Either a new height or the time means to look again.
                tokio::time::timeout(TICK, heights.changed()).await.unwrap_or(Ok(()))
            });
            chain_ended |= woken.is_err();
        }
    };
    std::thread::Builder::new().name("pulse".into()).spawn(run).map(drop)
}

/// Starts the meter of `dir`; it ends when the sending side of `alive` is dropped.
pub(super) fn measure(backend: &Arc<NodeBackend>, dir: &Path, alive: Receiver<()>) -> std::io::Result<()> {
    let (weak, dir) = (Arc::downgrade(backend), dir.to_owned());
    let run = move || {
        loop {
            let bytes = disk_usage(&dir);
            let Some(backend) = weak.upgrade() else { return };
            backend.pulse.disk_bytes.store(bytes.unwrap_or(UNKNOWN), Ordering::Relaxed);
            drop(backend);
            if alive.recv_timeout(METER_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("meter".into()).spawn(run).map(drop)
}

/// Bytes that the files below `dir` take on the disk; `None` when that cannot be known. Files that vanish are
/// no error.
pub(super) fn disk_usage(dir: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut entries, mut open) = (0, 0, vec![dir.to_owned()]);
    std::fs::read_dir(dir).ok()?;
    while let Some(dir) = open.pop() {
        let Ok(list) = std::fs::read_dir(&dir) else { continue };
        for entry in list.flatten() {
            entries += 1;
            if entries > METER_ENTRIES {
                return None;
            }
            // Of the entry itself: links are not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Some(bytes)
}
