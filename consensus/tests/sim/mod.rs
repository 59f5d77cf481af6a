//! A small simulator of consensus alone: virtual time, seeded latency, loss, partitions, crashes, one liar.
//!
//! Owns disks that forget what was not synced (and keep a torn part of it), timers, block availability and the
//! checks that run at every effect. A crash strikes *between two effects of one list*, so that the order of
//! the list is what is tested. One seed is one run.
#![allow(dead_code)]

mod node;
mod plan;

pub use node::Node;
pub use plan::{Mutation, Plan, Rng, timeouts};

use metanode_consensus::evidence::Evidence;
use metanode_consensus::wire::{SignedProposal, SignedVote};
use metanode_consensus::{
    ConsensusMessage, Effect, Input, PeerId, Scheme, TimeoutId, verify_certificate, wal,
};
use metanode_types::certificate::Certificate;
use metanode_types::ids::{BlockId, ChainId};
use metanode_types::validator::ValidatorSet;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

pub const CHAIN: ChainId = ChainId([0xc4; 32]);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Deliver { to: usize, from: usize, bytes: Vec<u8> },
    Timer { node: usize, boot: u32, id: TimeoutId, set: u64 },
    Value { node: usize, boot: u32, height: u64, round: u32 },
    Verdict { node: usize, boot: u32, height: u64, block: BlockId },
    Sync { to: usize, from: usize, height: u64 },
    Start { node: usize, boot: u32, height: u64 },
    Crash { node: usize },
    Restart { node: usize },
    Cut { group: u64 },
    Heal,
}

/// What went wrong, in words a person can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Fork { height: u64 },
    DoubleSign { node: usize, height: u64, round: u32 },
    BadCertificate { node: usize, height: u64 },
    PublishedBeforeDurable { node: usize, what: &'static str },
    DecidedWithoutBlock { node: usize, height: u64 },
    HonestAccused { accused: usize },
    BadEvidence,
    Stopped { node: usize, why: String },
    NoProgress { heights: Vec<u64> },
}

pub struct Sim {
    pub plan: Plan,
    pub nodes: Vec<Node>,
    pub failures: Vec<Failure>,
    pub evidence: Vec<Evidence>,
    pub offences: usize,
    pub muted: usize,
    pub crashes: usize,
    pub twins: usize,
    /// Hash chain over everything delivered and decided: equal seeds give equal traces.
    pub trace: [u8; 32],
    rng: Rng,
    now: u64,
    seq: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    blocks: BTreeMap<BlockId, (u64, bool)>,
    decided: BTreeMap<u64, BlockId>,
    said: BTreeMap<(usize, u64, u32, u8), Vec<u8>>,
    cut: Option<u64>,
    scheme: std::sync::Arc<dyn Scheme>,
}

impl Sim {
    pub fn new(plan: Plan) -> Self {
        let mut rng = Rng(plan.seed ^ 0x5eed);
        let scheme = plan.scheme();
        let nodes: Vec<Node> = (0..plan.nodes).map(|i| Node::new(i, &plan)).collect();
        let mut sim = Sim {
            nodes,
            failures: vec![],
            evidence: vec![],
            offences: 0,
            muted: 0,
            crashes: 0,
            twins: 0,
            trace: [0; 32],
            now: 0,
            seq: 0,
            heap: BinaryHeap::new(),
            blocks: BTreeMap::new(),
            decided: BTreeMap::new(),
            said: BTreeMap::new(),
            cut: None,
            scheme,
            rng: Rng(0),
            plan,
        };
        for node in 0..sim.nodes.len() {
            sim.at(rng.below(20), Event::Start { node, boot: 0, height: 1 });
        }
        if sim.plan.crash_every_ms > 0 {
            let node = rng.below(sim.plan.nodes as u64) as usize;
            sim.at(rng.below(sim.plan.crash_every_ms), Event::Crash { node });
        }
        if sim.plan.cut_every_ms > 0 {
            sim.at(rng.below(sim.plan.cut_every_ms), Event::Cut { group: rng.next() });
        }
        sim.rng = rng;
        sim
    }

    /// Runs until every node has `heights` decisions, or `limit_ms` of virtual time passed, or a check failed.
    pub fn run(&mut self, heights: u64, limit_ms: u64) -> &mut Self {
        while let Some(Reverse((time, _, event))) = self.heap.pop() {
            if !self.failures.is_empty() || self.nodes.iter().all(|n| n.disk.tip() >= heights) {
                return self;
            }
            if time > limit_ms {
                break;
            }
            self.now = time;
            self.handle(event);
        }
        let heights = self.nodes.iter().map(|n| n.disk.tip()).collect();
        self.failures.push(Failure::NoProgress { heights });
        self
    }

    pub fn set_at(&self, height: u64) -> ValidatorSet {
        self.plan.set_at(height)
    }

    fn at(&mut self, after: u64, event: Event) {
        self.seq += 1;
        self.heap.push(Reverse((self.now + after, self.seq, event)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, bytes } => {
                self.note(&bytes);
                let peer = PeerId(vec![from as u8]);
                self.input(to, Input::Message { peer, bytes });
            }
            Event::Timer { node, boot, id, set }
                if self.nodes[node].boot == boot && self.nodes[node].timers.get(&id) == Some(&set) =>
            {
                self.nodes[node].timers.remove(&id);
                self.input(node, Input::Timeout(id));
            }
            Event::Value { node, boot, height, round } if self.nodes[node].boot == boot => {
                let block = self.build(node, height);
                self.input(node, Input::Propose { height, round, block });
            }
            Event::Verdict { node, boot, height, block } if self.nodes[node].boot == boot => {
                let valid = self.blocks.get(&block).is_some_and(|(h, ok)| *h == height && *ok);
                self.input(node, Input::BlockVerdict { height, block, valid });
            }
            Event::Sync { to, from, height } => self.sync(to, from, height),
            Event::Start { node, boot, height } if self.nodes[node].boot == boot => self.start(node, height),
            Event::Crash { node } => {
                let spare = self.plan.spare_crash.contains(&node);
                if !spare && self.nodes.iter().all(|n| n.consensus.is_some()) {
                    self.nodes[node].doomed = Some(self.rng.below(6));
                }
                let next = self.rng.below(self.plan.nodes as u64) as usize;
                let after = 20 + self.rng.below(self.plan.crash_every_ms);
                self.at(after, Event::Crash { node: next });
            }
            Event::Restart { node } => self.restart(node),
            Event::Cut { group } => {
                self.cut = Some(group);
                let after = 50 + self.rng.below(600);
                self.at(after, Event::Heal);
            }
            Event::Heal => {
                self.cut = None;
                let (after, group) = (self.rng.below(self.plan.cut_every_ms), self.rng.next());
                self.at(after, Event::Cut { group });
            }
            _ => {}
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        let mut all = self.trace.to_vec();
        all.extend_from_slice(&self.now.to_be_bytes());
        all.extend_from_slice(bytes);
        self.trace = metanode_types::hash::sha256(&all);
    }

    fn build(&mut self, node: usize, height: u64) -> BlockId {
        let salt = self.rng.next();
        let mut bytes = vec![node as u8];
        bytes.extend_from_slice(&height.to_be_bytes());
        bytes.extend_from_slice(&salt.to_be_bytes());
        let id = BlockId(metanode_types::hash::sha256(&bytes));
        let valid = !(self.plan.liar == Some(node) && self.rng.below(4) == 0);
        self.blocks.insert(id, (height, valid));
        id
    }

    fn start(&mut self, node: usize, height: u64) {
        let current = self.nodes[node].consensus.as_ref().map_or(0, |c| c.height());
        if height > current {
            self.input(node, Input::StartHeight { height, validators: self.set_at(height), replay: vec![] });
        }
    }

    fn restart(&mut self, node: usize) {
        let forgetful = self.plan.amnesiac == Some(node);
        let mutation = if forgetful { Some(Mutation::BothLost) } else { self.plan.mutation };
        let n = &mut self.nodes[node];
        let Some((height, replay)) = n.reboot(mutation, &self.plan) else {
            self.failures.push(Failure::Stopped { node, why: "the log could not be recovered".into() });
            return;
        };
        let validators = self.set_at(height);
        self.input(node, Input::StartHeight { height, validators, replay });
    }

    fn sync(&mut self, to: usize, from: usize, height: u64) {
        let Some(certificate) = self.nodes[from].disk.certificates.get(&height).cloned() else { return };
        let n = &mut self.nodes[to];
        if n.consensus.is_none() || n.disk.tip() + 1 != height {
            return;
        }
        if verify_certificate(&*self.scheme, &CHAIN, &self.plan.set_at(height), &certificate).is_err() {
            self.failures.push(Failure::BadCertificate { node: from, height });
            return;
        }
        self.commit(to, certificate);
    }

    fn commit(&mut self, node: usize, certificate: Certificate) {
        let (height, block) = (certificate.height, certificate.block);
        if *self.decided.entry(height).or_insert(block) != block {
            self.failures.push(Failure::Fork { height });
        }
        self.note(&block.0);
        let n = &mut self.nodes[node];
        n.disk.certificates.insert(height, certificate);
        let boot = n.boot;
        self.at(5, Event::Start { node, boot, height: height + 1 });
    }

    /// One step of one node, and its effects in order, unless a crash strikes in between.
    fn input(&mut self, node: usize, input: Input) {
        let Some(consensus) = self.nodes[node].consensus.as_mut() else { return };
        match consensus.step(input) {
            Err(fatal) => self.failures.push(Failure::Stopped { node, why: fatal.to_string() }),
            Ok(effects) => {
                for effect in effects {
                    if self.strike(node) {
                        return;
                    }
                    self.perform(node, effect);
                }
            }
        }
    }

    fn strike(&mut self, node: usize) -> bool {
        let Some(left) = self.nodes[node].doomed else { return false };
        if left > 0 {
            self.nodes[node].doomed = Some(left - 1);
            return false;
        }
        self.crashes += 1;
        let keep = self.rng.next();
        self.nodes[node].crash(keep);
        let after = 20 + self.rng.below(500);
        self.at(after, Event::Restart { node });
        true
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        let boot = self.nodes[node].boot;
        match effect {
            Effect::WalReset { .. } => self.nodes[node].disk.reset(),
            Effect::WalAppend(record) => self.nodes[node].disk.unsynced.extend(wal::encode(&record)),
            Effect::WalSync if self.plan.mutation == Some(Mutation::SyncSkipped) => {}
            Effect::WalSync => self.nodes[node].disk.sync(),
            Effect::PersistGuard(_) if self.plan.mutation == Some(Mutation::GuardSkipped) => {}
            Effect::PersistBlock { block } => {
                self.nodes[node].disk.blocks.insert(block);
            }
            Effect::PersistGuard(history) => self.nodes[node].disk.guard = Some(history.to_bytes()),
            Effect::Publish(bytes) => self.publish(node, bytes),
            Effect::ScheduleTimeout { id, after_ms } => {
                self.nodes[node].timers.insert(id, self.seq);
                let set = self.seq;
                self.at(after_ms, Event::Timer { node, boot, id, set });
            }
            Effect::CancelTimeout(id) => {
                self.nodes[node].timers.remove(&id);
            }
            Effect::CancelAllTimeouts => self.nodes[node].timers.clear(),
            Effect::GetValue { height, round, .. } => {
                let after = 1 + self.rng.below(30);
                self.at(after, Event::Value { node, boot, height, round });
            }
            Effect::NeedBlockVerdict { height, block, .. } => {
                let after = 1 + self.rng.below(60);
                self.at(after, Event::Verdict { node, boot, height, block });
            }
            Effect::Decide(certificate) => self.on_decide(node, certificate),
            Effect::Evidence(evidence) => self.on_evidence(evidence),
            Effect::Offence { peer, why } => {
                self.offences += 1;
                let accused = peer.0[0] as usize;
                if !self.plan.is_faulty(accused) {
                    eprintln!("node {node} accuses {accused}: {why}");
                    self.failures.push(Failure::HonestAccused { accused });
                }
            }
            Effect::HeightSeen { peer, .. } => {
                let after = 2 + self.rng.below(30);
                let height = self.nodes[node].disk.tip() + 1;
                self.at(after, Event::Sync { to: node, from: peer.0[0] as usize, height });
            }
            Effect::PeerBehind { peer, height } => {
                let after = 2 + self.rng.below(30);
                self.at(after, Event::Sync { to: peer.0[0] as usize, from: node, height });
            }
            Effect::Muted { .. } => self.muted += 1,
            Effect::TwinDetected { .. } => {
                self.twins += 1;
                if !self.plan.is_faulty(node) {
                    self.failures.push(Failure::HonestAccused { accused: node });
                }
            }
            Effect::Degraded { .. } => {}
            Effect::StartedRound { .. } | Effect::RepublishBlock { .. } => {}
        }
    }

    fn on_decide(&mut self, node: usize, certificate: Certificate) {
        let height = certificate.height;
        if verify_certificate(&*self.scheme, &CHAIN, &self.plan.set_at(height), &certificate).is_err() {
            self.failures.push(Failure::BadCertificate { node, height });
        }
        if !self.nodes[node].disk.blocks.contains(&certificate.block) {
            self.failures.push(Failure::DecidedWithoutBlock { node, height });
        }
        if self.nodes[node].disk.tip() + 1 == height {
            self.commit(node, certificate);
        }
    }

    fn on_evidence(&mut self, evidence: Evidence) {
        let set = self.plan.set_at(evidence.height());
        if evidence.verify(&*self.scheme, &CHAIN, &set).is_err() {
            self.failures.push(Failure::BadEvidence);
        }
        let accused = self.plan.index_of(&evidence.author());
        if !self.plan.is_faulty(accused) {
            self.failures.push(Failure::HonestAccused { accused });
        }
        self.evidence.push(evidence);
    }

    fn publish(&mut self, node: usize, bytes: Vec<u8>) {
        let message = ConsensusMessage::from_bytes(&bytes).expect("own messages decode");
        if self.plan.liar == Some(node) {
            return self.lie(node, &message, bytes);
        }
        if self.plan.silent == Some(node) {
            return;
        }
        let honest = !self.plan.is_faulty(node);
        if let Some((height, round, step, content)) = self.own_words(node, &message).filter(|_| honest) {
            if self.said.entry((node, height, round, step)).or_insert_with(|| content.clone()) != &content {
                self.failures.push(Failure::DoubleSign { node, height, round });
            }
            let lost = matches!(
                self.plan.mutation,
                Some(Mutation::LogLost | Mutation::GuardLost | Mutation::BothLost)
            );
            if let Some(what) = self.nodes[node].disk.not_durable(&message).filter(|_| !lost) {
                self.failures.push(Failure::PublishedBeforeDurable { node, what });
            }
        }
        self.broadcast(node, |_| bytes.clone());
    }

    fn own_words(&self, node: usize, message: &ConsensusMessage) -> Option<(u64, u32, u8, Vec<u8>)> {
        let own = self.nodes[node].address;
        match message {
            ConsensusMessage::Vote(v) if v.voter == own => {
                let content = metanode_types::codec::encode(&v.content);
                Some((v.content.height, v.content.round, v.content.kind as u8, content))
            }
            ConsensusMessage::Proposal(p) if p.proposer == own => {
                Some((p.content.height, p.content.round, 0, metanode_types::codec::encode(&p.content)))
            }
            _ => None,
        }
    }

    fn broadcast(&mut self, from: usize, bytes: impl Fn(usize) -> Vec<u8>) {
        for to in 0..self.nodes.len() {
            let apart = self.cut.is_some_and(|g| (g >> to ^ g >> from) & 1 == 1);
            if to == from || apart || self.rng.below(1000) < self.plan.loss_permille {
                continue;
            }
            let after = 1 + self.rng.below(self.plan.latency_ms);
            self.at(after, Event::Deliver { to, from, bytes: bytes(to) });
        }
    }

    /// The liar tells half of the network something else, properly signed: other votes, other proposals.
    fn lie(&mut self, node: usize, message: &ConsensusMessage, truth: Vec<u8>) {
        let height = message.height();
        let others: Vec<BlockId> =
            self.blocks.iter().filter(|(_, (h, _))| *h == height).map(|(b, _)| *b).collect();
        let pick =
            if others.is_empty() { None } else { Some(others[self.rng.below(others.len() as u64) as usize]) };
        let lie = match message {
            ConsensusMessage::Vote(v) => {
                let mut content = v.content;
                content.block = if content.block == pick { None } else { pick };
                let signature = self.nodes[node].sign(&content.signed_bytes(&CHAIN));
                ConsensusMessage::Vote(SignedVote { content, voter: v.voter, signature })
            }
            ConsensusMessage::Proposal(p) => {
                let mut content = p.content;
                content.block = self.build(node, height);
                let signature = self.nodes[node].sign(&content.signed_bytes(&CHAIN));
                ConsensusMessage::Proposal(SignedProposal { content, proposer: p.proposer, signature })
            }
            other => other.clone(),
        };
        let lie = lie.to_bytes();
        let split = self.rng.next();
        self.broadcast(node, |to| if split >> to & 1 == 1 { lie.clone() } else { truth.clone() });
    }
}

pub fn all_heights(sim: &Sim) -> BTreeSet<u64> {
    sim.decided.keys().copied().collect()
}
