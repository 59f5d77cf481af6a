//! One simulated machine: a disk that loses what was not synced, timers, and the consensus that runs on it.

use super::plan::{Mutation, Plan, keys};
use metanode_consensus::guard::Step;
use metanode_consensus::wal::{self, WalRecord};
use metanode_consensus::{Config, Consensus, ConsensusMessage, Local, SignHistory, Signer, TimeoutId};
use metanode_types::bls::BlsSignature;
use metanode_types::certificate::Certificate;
use metanode_types::ids::{Address, BlockId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Disk {
    pub durable: Vec<u8>,
    pub unsynced: Vec<u8>,
    pub guard: Option<Vec<u8>>,
    pub blocks: BTreeSet<BlockId>,
    pub certificates: BTreeMap<u64, Certificate>,
}

impl Disk {
    pub fn tip(&self) -> u64 {
        self.certificates.keys().next_back().copied().unwrap_or(0)
    }
    pub fn reset(&mut self) {
        self.durable.clear();
        self.unsynced.clear();
    }
    pub fn sync(&mut self) {
        self.durable.append(&mut self.unsynced);
    }

    /// What of an own message is not durable yet, if anything.
    pub fn not_durable(&self, message: &ConsensusMessage) -> Option<&'static str> {
        let (position, record) = match message {
            ConsensusMessage::Vote(v) => {
                ((v.content.height, v.content.round, v.step()), WalRecord::Vote(v.clone()))
            }
            ConsensusMessage::Proposal(p) => {
                ((p.content.height, p.content.round, Step::Proposal), WalRecord::Proposal(p.clone()))
            }
            _ => return None,
        };
        let guard = self.guard.as_ref().and_then(|g| SignHistory::from_bytes(g).ok()).and_then(|h| h.last);
        if guard.is_none_or(|g| g.position() < position) {
            return Some("guard");
        }
        let logged = wal::encode(&record);
        if !self.durable.windows(logged.len()).any(|w| w == logged) { Some("log") } else { None }
    }
}

pub struct Node {
    pub index: usize,
    pub address: Address,
    pub consensus: Option<Consensus>,
    pub disk: Disk,
    pub boot: u32,
    pub timers: BTreeMap<TimeoutId, u64>,
    /// Crashes after this many more effects.
    pub doomed: Option<u64>,
    signer: Box<dyn Signer>,
}

impl Node {
    pub fn new(index: usize, plan: &Plan) -> Self {
        let mut node = Node {
            index,
            address: keys(plan.keys_of(index)).account.address(),
            consensus: None,
            disk: Disk::default(),
            boot: 0,
            timers: BTreeMap::new(),
            doomed: None,
            signer: plan.signer(index),
        };
        node.consensus = Some(node.boot_consensus(plan));
        node
    }

    pub fn sign(&self, message: &[u8]) -> BlsSignature {
        self.signer.sign(message).unwrap()
    }

    fn boot_consensus(&self, plan: &Plan) -> Consensus {
        let signer = plan.signer(self.index);
        let history = match &self.disk.guard {
            Some(bytes) => SignHistory::from_bytes(bytes).unwrap(),
            None => SignHistory::empty(super::CHAIN, signer.public()),
        };
        let local = Local { address: self.address, signer, history };
        let local = (!plan.followers.contains(&self.index)).then_some(local);
        let config = Config { chain_id: super::CHAIN, timeouts: super::timeouts() };
        Consensus::new(config, plan.scheme(), local).unwrap()
    }

    /// Power is gone: of what was written since the last sync, a torn part may have reached the platter.
    pub fn crash(&mut self, keep: u64) {
        self.consensus = None;
        self.doomed = None;
        self.timers.clear();
        self.boot += 1;
        let kept = keep as usize % (self.disk.unsynced.len() + 1);
        let torn: Vec<u8> = self.disk.unsynced.drain(..).take(kept).collect();
        self.disk.durable.extend(torn);
    }

    /// What the node would do on start: recover the log, cut the torn end, load the guard.
    pub fn reboot(&mut self, mutation: Option<Mutation>, plan: &Plan) -> Option<(u64, Vec<WalRecord>)> {
        let recovery = wal::recover(&self.disk.durable).ok()?;
        self.disk.durable.truncate(recovery.valid_len);
        let mut replay = recovery.records;
        if matches!(mutation, Some(Mutation::LogLost | Mutation::BothLost)) {
            replay.clear();
        }
        if matches!(mutation, Some(Mutation::GuardLost | Mutation::BothLost)) {
            self.disk.guard = None;
        }
        self.consensus = Some(self.boot_consensus(plan));
        Some((self.disk.tip() + 1, replay))
    }
}
