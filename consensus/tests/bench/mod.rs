//! One node on a test bench: its peers are whatever the test says.

#![allow(dead_code)]

use metanode_consensus::scheme::{InsecureTwin, InsecureTwinKey};
use metanode_consensus::wal::WalRecord;
use metanode_consensus::wire::{SignedProposal, SignedVote};
use metanode_consensus::{
    Bls, Config, Consensus, ConsensusMessage, Effect, Fatal, Input, Local, PeerId, Scheme, SignHistory,
    Signer, TimeoutId, TimeoutKind,
};
use metanode_types::account::AccountSecret;
use metanode_types::bls::{BlsError, BlsPublic, BlsSecret, BlsSignature};
use metanode_types::ids::{Address, BlockId, ChainId};
use metanode_types::params::ConsensusTimeouts;
use metanode_types::validator::{Validator, ValidatorSet};
use metanode_types::vote::{ProposalContent, VoteContent, VoteKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const CHAIN: ChainId = ChainId([0xbe; 32]);

pub struct Keys {
    pub account: AccountSecret,
    pub bls: BlsSecret,
    pub twin: InsecureTwinKey,
}

pub fn keys(i: usize) -> Keys {
    let seed = [i as u8 + 1; 32];
    Keys {
        account: AccountSecret::from_seed(seed),
        bls: BlsSecret::from_seed(&seed),
        twin: InsecureTwinKey::numbered(i as u32),
    }
}

pub fn block(n: u8) -> BlockId {
    BlockId([n; 32])
}

pub fn peer() -> PeerId {
    PeerId(vec![1, 2, 3])
}

pub fn find(effects: &[Effect], want: impl Fn(&Effect) -> bool) -> bool {
    effects.iter().any(want)
}

pub fn position(effects: &[Effect], want: impl Fn(&Effect) -> bool) -> Option<usize> {
    effects.iter().position(want)
}

pub fn logged(effects: &[Effect]) -> Vec<WalRecord> {
    effects.iter().filter_map(|e| if let Effect::WalAppend(r) = e { Some(r.clone()) } else { None }).collect()
}

pub fn published(effects: &[Effect]) -> Vec<ConsensusMessage> {
    let decode = |b: &Vec<u8>| ConsensusMessage::from_bytes(b).unwrap();
    effects.iter().filter_map(|e| if let Effect::Publish(b) = e { Some(decode(b)) } else { None }).collect()
}

fn twin_vote(who: usize, content: VoteContent) -> SignedVote {
    let signature = keys(who).twin.sign(&content.signed_bytes(&CHAIN)).unwrap();
    SignedVote { content, voter: keys(who).account.address(), signature }
}

/// A vote signed under the twin scheme.
pub fn vote(who: usize, kind: VoteKind, height: u64, round: u32, block: Option<BlockId>) -> ConsensusMessage {
    ConsensusMessage::Vote(twin_vote(who, VoteContent { kind, height, round, block }))
}

/// A proposal signed under the twin scheme.
pub fn proposal(
    who: usize,
    height: u64,
    round: u32,
    block: BlockId,
    pol_round: Option<u32>,
) -> ConsensusMessage {
    let content = ProposalContent { height, round, block, pol_round };
    let signature = keys(who).twin.sign(&content.signed_bytes(&CHAIN)).unwrap();
    ConsensusMessage::Proposal(SignedProposal { content, proposer: keys(who).account.address(), signature })
}

/// The twin scheme, counting verifications, with a defect on demand.
#[derive(Default, Clone)]
pub struct Choosy {
    pub refuse_aggregates: bool,
    pub verified: Arc<AtomicUsize>,
}

impl Scheme for Choosy {
    fn verify(&self, key: &BlsPublic, message: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        InsecureTwin.verify(key, message, signature)
    }
    fn aggregate(&self, signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError> {
        InsecureTwin.aggregate(signatures)
    }
    fn verify_aggregate(
        &self,
        keys: &[BlsPublic],
        message: &[u8],
        signature: &BlsSignature,
    ) -> Result<(), BlsError> {
        if self.refuse_aggregates {
            Err(BlsError::Signature)
        } else {
            InsecureTwin.verify_aggregate(keys, message, signature)
        }
    }
}

struct BrokenSigner(BlsPublic);

impl Signer for BrokenSigner {
    fn public(&self) -> BlsPublic {
        self.0
    }
    fn sign(&self, _: &[u8]) -> Result<BlsSignature, &'static str> {
        Err("the key store is gone")
    }
}

pub struct Bench {
    pub index: usize,
    pub address: Address,
    pub consensus: Consensus,
    pub scheme: Arc<dyn Scheme>,
    pub set: ValidatorSet,
    pub verified: Arc<AtomicUsize>,
    nodes: usize,
}

fn set(nodes: usize, real: bool) -> ValidatorSet {
    let member = |i| Validator {
        bls: if real { keys(i).bls.public() } else { keys(i).twin.0 },
        account: keys(i).account.public(),
        power: 1,
    };
    ValidatorSet::new((0..nodes).map(member).collect()).unwrap()
}

fn index_at(set: &ValidatorSet, nodes: usize, height: u64, round: u32) -> usize {
    let proposer = metanode_consensus::proposer::proposer(set, height, round);
    (0..nodes).find(|i| keys(*i).account.address() == proposer).unwrap()
}

impl Bench {
    fn make(
        nodes: usize,
        index: usize,
        scheme: Arc<dyn Scheme>,
        real: bool,
        signer: Box<dyn Signer>,
    ) -> Self {
        let address = keys(index).account.address();
        let history = SignHistory::empty(CHAIN, signer.public());
        let consensus = consensus(scheme.clone(), Local { address, signer, history });
        Bench { index, address, consensus, scheme, set: set(nodes, real), verified: Arc::default(), nodes }
    }

    fn twin(nodes: usize, index: usize) -> Self {
        Bench::make(nodes, index, Arc::new(InsecureTwin), false, Box::new(keys(index).twin))
    }

    /// One of four, never the proposer of round 0 at heights 1 to 3.
    pub fn validator() -> Self {
        Bench::twin(4, idle_index())
    }

    pub fn validator_bls() -> Self {
        Bench::make(4, idle_index(), Arc::new(Bls), true, Box::new(keys(idle_index()).bls))
    }

    pub fn with_scheme(scheme: Choosy) -> Self {
        let verified = scheme.verified.clone();
        let bench = Bench::make(4, idle_index(), Arc::new(scheme), false, Box::new(keys(idle_index()).twin));
        Bench { verified, ..bench }
    }

    pub fn with_broken_signer() -> Self {
        let signer = BrokenSigner(keys(idle_index()).twin.0);
        Bench::make(4, idle_index(), Arc::new(InsecureTwin), false, Box::new(signer))
    }

    /// The one of four that proposes in round 0 of `height`.
    pub fn proposer_at(height: u64) -> Self {
        Bench::twin(4, index_at(&set(4, false), 4, height, 0))
    }

    /// The `index`-th of four.
    pub fn numbered(index: usize) -> Self {
        Bench::twin(4, index)
    }

    pub fn alone() -> Self {
        Bench::twin(1, 0)
    }

    /// The same node after a crash: memory is gone, the guard is what the effects made durable.
    pub fn reborn(&self, performed: &[Effect]) -> Self {
        let mut bench = Bench::twin(self.nodes, self.index);
        let last = performed
            .iter()
            .rev()
            .find_map(|e| if let Effect::PersistGuard(h) = e { Some(h.clone()) } else { None });
        bench.restart_with_history(|empty| last.unwrap_or(empty));
        bench
    }

    pub fn restart_with_history(&mut self, history: impl FnOnce(SignHistory) -> SignHistory) {
        let signer = keys(self.index).twin;
        let history = history(SignHistory::empty(CHAIN, signer.0));
        let local = Local { address: self.address, signer: Box::new(signer), history };
        self.consensus = consensus(self.scheme.clone(), local);
    }

    pub fn step(&mut self, input: Input) -> Result<Vec<Effect>, Fatal> {
        self.consensus.step(input)
    }

    pub fn start_with(&mut self, height: u64, replay: Vec<WalRecord>) -> Result<Vec<Effect>, Fatal> {
        let validators = self.set.clone();
        self.step(Input::StartHeight { height, validators, replay })
    }

    pub fn try_start(&mut self, height: u64) -> Result<Vec<Effect>, Fatal> {
        self.start_with(height, vec![])
    }

    pub fn start(&mut self, height: u64) -> Vec<Effect> {
        self.try_start(height).unwrap()
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Vec<Effect> {
        self.step(Input::Message { peer: peer(), bytes: bytes.to_vec() }).unwrap()
    }

    pub fn try_hear(&mut self, message: &ConsensusMessage) -> Result<Vec<Effect>, Fatal> {
        self.step(Input::Message { peer: peer(), bytes: message.to_bytes() })
    }

    pub fn hear(&mut self, message: &ConsensusMessage) -> Vec<Effect> {
        self.try_hear(message).unwrap()
    }

    pub fn verdict(&mut self, height: u64, block: BlockId, valid: bool) -> Vec<Effect> {
        self.step(Input::BlockVerdict { height, block, valid }).unwrap()
    }

    pub fn proposer(&self, height: u64, round: u32) -> usize {
        index_at(&self.set, self.nodes, height, round)
    }

    pub fn others(&self) -> Vec<usize> {
        (0..self.nodes).filter(|i| *i != self.index).collect()
    }

    pub fn own_vote(&self, kind: VoteKind, height: u64, round: u32, block: Option<BlockId>) -> SignedVote {
        twin_vote(self.index, VoteContent { kind, height, round, block })
    }

    pub fn timer(&self, height: u64, round: u32, kind: TimeoutKind) -> TimeoutId {
        TimeoutId { height, round, kind }
    }

    /// The round's proposer offers `block` and the application accepts it.
    pub fn propose_valid(&mut self, height: u64, round: u32, block: BlockId) -> Vec<Effect> {
        let proposer = self.proposer(height, round);
        if proposer == self.index {
            return self.step(Input::Propose { height, round, block }).unwrap();
        }
        let mut out = self.hear(&proposal(proposer, height, round, block, None));
        out.extend(self.verdict(height, block, true));
        out
    }

    pub fn hear_votes(
        &mut self,
        kind: VoteKind,
        height: u64,
        round: u32,
        block: Option<BlockId>,
    ) -> Vec<Effect> {
        self.others().into_iter().flat_map(|who| self.hear(&vote(who, kind, height, round, block))).collect()
    }

    pub fn decide(&mut self, height: u64, block: BlockId) -> Vec<Effect> {
        let mut out = self.propose_valid(height, 0, block);
        out.extend(self.hear_votes(VoteKind::Prevote, height, 0, Some(block)));
        out.extend(self.hear_votes(VoteKind::Precommit, height, 0, Some(block)));
        out
    }
}

fn idle_index() -> usize {
    index_at(&set(4, false), 4, 4, 0)
}

fn consensus(scheme: Arc<dyn Scheme>, local: Local) -> Consensus {
    let timeouts = ConsensusTimeouts {
        propose_ms: 200,
        prevote_ms: 100,
        precommit_ms: 100,
        delta_ms: 60,
        rebroadcast_ms: 250,
    };
    Consensus::new(Config { chain_id: CHAIN, timeouts }, scheme, Some(local)).unwrap()
}
