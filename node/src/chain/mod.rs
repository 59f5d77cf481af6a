//! The chain loop of one node: consensus, state machine, mempool and block sync, driven by one thread.
//!
//! ```text
//!   Network events ──┐                       ┌── publish / request / respond
//!   submissions  ────┼──▶ Chain::poll(now) ──┼── journal writes (synced before what they cover)
//!   time         ────┘                       └── ledger commits ──▶ heads (RPC, agent)
//! ```
//!
//! Owns the order of things: a block is executed before it is voted for, journalled before it is announced, and
//! committed with one sync before anyone is told that it is final. Refuses to read a clock, spawn a thread or
//! touch a socket: time is an argument, the network is a trait, so the same code runs under the simulator.
//! Invariants: effects of consensus are performed in their order; any failed write ends the loop with an error
//! and the process with it; at most one block is executed for a height at a time and its overlay is reused when
//! the block is decided.

mod blocks;
mod effects;
mod gossip;
pub mod journal;
pub mod ledger;
pub mod mempool;
mod pace;
mod syncing;
pub mod thread;

pub use journal::{FileJournal, Journal, JournalError, Recovered, write_atomic};
pub use ledger::{Ledger, LedgerError, Tip};
pub use mempool::Mempool;

use blocks::Bodies;
use metanode_consensus::sync::{BlockSync, SyncConfig};
use metanode_consensus::{Consensus, Fatal, Local, Scheme, SetupError, TimeoutId, WalRecord};
use metanode_p2p::{Network, RequestId};
use metanode_types::block::Block;
use metanode_types::ids::{Address, BlockId, ChainId, TxId};
use metanode_types::params::ChainParams;
use metanode_types::tx::SignedTx;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why the loop ended. The process stops; what was durable is found at the next start.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Consensus cannot go on.
    #[error("consensus: {0}")]
    Consensus(#[from] Fatal),
    /// Consensus could not be set up.
    #[error("consensus: {0}")]
    Setup(Box<SetupError>),
    /// The journal could not be written.
    #[error("journal: {0}")]
    Journal(#[from] JournalError),
    /// The ledger could not be read or written.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// A quorum certified a block that does not follow ours.
    #[error(
        "height {height}: a quorum certified a block that does not follow ours; this node stops to keep the evidence"
    )]
    Forked {
        /// The height.
        height: u64,
    },
    /// A decided block does not execute to its header's roots.
    #[error("height {height}: the decided block {block} does not execute to its header: {why}")]
    Diverged {
        /// The height.
        height: u64,
        /// The block.
        block: BlockId,
        /// The first difference.
        why: String,
    },
}

/// Something that an operator should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A block is final on this node.
    Committed {
        /// Its height.
        height: u64,
        /// Its id.
        block: BlockId,
        /// Transactions in it.
        txs: usize,
        /// Round in which it was decided.
        round: u32,
    },
    /// A torn end of the log was cut off at the start.
    TornLog(String),
    /// A peer misbehaved.
    Offence(String),
    /// Something went wrong that repairs itself.
    Degraded(String),
    /// Something that needs a human.
    Alarm(String),
}

/// What [`Chain::submit`] answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The transaction is invalid now.
    #[error("{0}")]
    Invalid(String),
    /// It is already final.
    #[error("the transaction is already in block {0}")]
    Final(u64),
    /// No room, or already waiting.
    #[error(transparent)]
    Refused(#[from] mempool::Refused),
}

/// What a chain loop is made of.
pub struct Parts {
    /// The committed ledger.
    pub ledger: Ledger,
    /// Consensus' durable memory.
    pub journal: Box<dyn Journal>,
    /// What the journal held.
    pub recovered: Recovered,
    /// The network.
    pub network: Arc<dyn Network>,
    /// Signature scheme of validators.
    pub scheme: Arc<dyn Scheme>,
    /// This node's voting key, if it is a validator.
    pub local: Option<Local>,
    /// Takes events of the blob protocol; false when it is busy.
    pub blobs: Option<BlobSink>,
    /// Transactions waiting at most; never more than the bound of the system.
    pub max_waiting: usize,
}

/// Takes an event of the blob protocol.
pub type BlobSink = Box<dyn Fn(metanode_p2p::Event) -> bool + Send>;

/// The chain loop.
pub struct Chain {
    chain_id: ChainId,
    params: ChainParams,
    ledger: Ledger,
    journal: Box<dyn Journal>,
    network: Arc<dyn Network>,
    scheme: Arc<dyn Scheme>,
    consensus: Consensus,
    sync: BlockSync,
    me: Option<Address>,
    blobs: Option<BlobSink>,
    mempool: Mempool,
    bodies: Bodies,
    timers: BTreeMap<TimeoutId, u64>,
    requests: BTreeMap<RequestId, u64>,
    replay: Vec<WalRecord>,
    outbox: Vec<Arc<SignedTx>>,
    /// Highest height that others were seen working on.
    seen_height: u64,
    started_ms: u64,
    last_commit_ms: u64,
    sync_wake_ms: u64,
    notices: Vec<Notice>,
    now_ms: u64,
}

impl Chain {
    /// Sets up the loop behind the ledger's tip.
    pub fn new(parts: Parts, now_ms: u64) -> Result<Chain, ChainError> {
        let Parts { ledger, journal, recovered, network, scheme, local, blobs, max_waiting } = parts;
        let chain_id = ledger.chain_id();
        let params = ledger.params().clone();
        let me = local.as_ref().map(|l| l.address);
        let config = metanode_consensus::Config { chain_id, timeouts: params.consensus.clone() };
        let consensus = Consensus::new(config, scheme.clone(), local);
        let consensus = consensus.map_err(|e| ChainError::Setup(Box::new(e)))?;
        let tip = ledger.tip().clone();
        let sync_config = SyncConfig { status_every_ms: 2_000, ..SyncConfig::new(chain_id) };
        let sync = BlockSync::new(sync_config, scheme.clone(), tip.height, tip.block, tip.validators.clone());
        let mut chain = Chain {
            chain_id,
            params,
            journal,
            network,
            scheme: scheme.clone(),
            consensus,
            sync,
            me,
            blobs,
            mempool: Mempool::new(max_waiting),
            bodies: Bodies::default(),
            timers: BTreeMap::new(),
            requests: BTreeMap::new(),
            replay: Vec::new(),
            outbox: Vec::new(),
            seen_height: 0,
            started_ms: now_ms,
            last_commit_ms: now_ms,
            sync_wake_ms: now_ms,
            notices: Vec::new(),
            now_ms,
            ledger,
        };
        chain.recover(recovered, tip.height);
        Ok(chain)
    }

    /// Takes over what the journal held for the height behind the tip; older records are of no use.
    fn recover(&mut self, recovered: Recovered, tip: u64) {
        if let Some(torn) = recovered.torn {
            self.notices.push(Notice::TornLog(torn));
        }
        self.replay = recovered.records.into_iter().filter(|r| r.height() == tip + 1).collect();
        for block in recovered.blocks {
            if block.header.height == tip + 1 {
                self.bodies.keep(block);
            }
        }
    }

    /// Does everything that is due at `now_ms`; returns when to call again at the latest.
    pub fn poll(&mut self, now_ms: u64) -> Result<u64, ChainError> {
        self.now_ms = self.now_ms.max(now_ms);
        self.network_events()?;
        self.fire_timers()?;
        if self.now_ms >= self.sync_wake_ms {
            self.sync_wake_ms = self.now_ms + 1_000;
            self.sync_step(metanode_consensus::sync::SyncInput::Tick)?;
        }
        self.flush_outbox();
        self.start_height_if_due()?;
        Ok(self.next_wake())
    }

    fn fire_timers(&mut self) -> Result<(), ChainError> {
        let due = |c: &Chain| {
            c.timers.iter().filter(|(_, at)| **at <= c.now_ms).min_by_key(|(_, at)| **at).map(|(id, _)| *id)
        };
        while let Some(id) = due(self) {
            self.timers.remove(&id);
            self.step(metanode_consensus::Input::Timeout(id))?;
        }
        Ok(())
    }

    fn next_wake(&self) -> u64 {
        let timer = self.timers.values().min().copied().unwrap_or(u64::MAX);
        timer.min(self.sync_wake_ms).min(self.height_due_ms()).max(self.now_ms)
    }

    /// Takes a transaction from this node's own RPC or agent.
    pub fn submit(&mut self, tx: SignedTx, now_ms: u64) -> Result<TxId, SubmitError> {
        self.now_ms = self.now_ms.max(now_ms);
        let id = tx.id();
        let tx = self.admit(tx)?;
        self.outbox.push(tx);
        Ok(id)
    }

    /// Checks a transaction and puts it in the mempool.
    fn admit(&mut self, tx: SignedTx) -> Result<Arc<SignedTx>, SubmitError> {
        let id = tx.id();
        let bytes = metanode_types::codec::encode(&tx).len();
        self.mempool.room(&id, &tx.envelope.sender, bytes)?;
        if let Some(height) = self.ledger.height_of_tx(&id) {
            return Err(SubmitError::Final(height));
        }
        let time = self.candidate_time();
        self.ledger.check_tx(&tx, time).map_err(SubmitError::Invalid)?;
        Ok(self.mempool.insert(tx, bytes)?)
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
    /// The committed ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
    /// Transactions and bytes waiting.
    pub fn waiting(&self) -> (usize, usize) {
        (self.mempool.len(), self.mempool.bytes())
    }
    /// The waiting transaction with this id.
    pub fn pending(&self, id: &TxId) -> Option<Arc<SignedTx>> {
        self.mempool.get(id)
    }
    /// Connected peers.
    pub fn peer_count(&self) -> usize {
        self.network.peers().len()
    }
    /// Height that peers claim to hold.
    pub fn claimed_tip(&self) -> u64 {
        self.sync.claimed_tip()
    }
    /// Round of the height under way, if one is.
    pub fn round(&self) -> Option<u32> {
        (!self.consensus.is_decided()).then(|| self.consensus.round()).flatten()
    }
    /// What this node's key signed so far.
    pub fn sign_history(&self) -> Option<&metanode_consensus::SignHistory> {
        self.consensus.sign_history()
    }
    /// Undecided block under this id, if its body is here.
    pub fn undecided(&self, id: &BlockId) -> Option<&Block> {
        self.bodies.get(id)
    }
}
