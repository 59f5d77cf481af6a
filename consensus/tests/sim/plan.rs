//! What a run looks like: who takes part, what goes wrong, which signature scheme.

use metanode_consensus::scheme::{InsecureTwin, InsecureTwinKey};
use metanode_consensus::{Bls, Scheme, Signer};
use metanode_types::account::AccountSecret;
use metanode_types::bls::BlsSecret;
use metanode_types::ids::Address;
use metanode_types::params::ConsensusTimeouts;
use metanode_types::validator::{Validator, ValidatorSet};
use std::sync::Arc;

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

pub struct Keys {
    pub account: AccountSecret,
    pub bls: BlsSecret,
}

pub fn keys(i: usize) -> Keys {
    let seed = [i as u8 + 1; 32];
    Keys { account: AccountSecret::from_seed(seed), bls: BlsSecret::from_seed(&seed) }
}

pub fn timeouts() -> ConsensusTimeouts {
    ConsensusTimeouts {
        propose_ms: 200,
        prevote_ms: 100,
        precommit_ms: 100,
        delta_ms: 60,
        rebroadcast_ms: 250,
    }
}

/// A defect put in on purpose, to see the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    LogLost,
    GuardLost,
    BothLost,
    /// `WalSync` does nothing.
    SyncSkipped,
    /// `PersistGuard` does nothing.
    GuardSkipped,
}

#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub real_bls: bool,
    pub loss_permille: u64,
    pub latency_ms: u64,
    pub crash_every_ms: u64,
    pub cut_every_ms: u64,
    /// Signs contradictions and proposes invalid blocks.
    pub liar: Option<usize>,
    /// Honest, but forgets log and guard whenever it crashes.
    pub amnesiac: Option<usize>,
    /// Listens and never speaks.
    pub silent: Option<usize>,
    /// The last node is a second process with the keys of this one.
    pub twin_of: Option<usize>,
    pub spare_crash: Vec<usize>,
    pub followers: Vec<usize>,
    pub mutation: Option<Mutation>,
    /// Validator powers by height: the last row whose height is not above the asked one.
    pub sets: Vec<(u64, Vec<u64>)>,
}

impl Plan {
    pub fn quiet(seed: u64, nodes: usize) -> Self {
        Plan {
            seed,
            nodes,
            real_bls: false,
            loss_permille: 0,
            latency_ms: 20,
            crash_every_ms: 0,
            cut_every_ms: 0,
            liar: None,
            amnesiac: None,
            silent: None,
            twin_of: None,
            spare_crash: vec![],
            followers: vec![],
            mutation: None,
            sets: vec![(1, vec![1; nodes])],
        }
    }

    pub fn stormy(seed: u64) -> Self {
        Plan {
            loss_permille: 80,
            latency_ms: 50,
            crash_every_ms: 700,
            cut_every_ms: 1500,
            liar: Some(3),
            spare_crash: vec![3],
            ..Plan::quiet(seed, 4)
        }
    }

    /// Whether this node may be accused.
    pub fn is_faulty(&self, node: usize) -> bool {
        let node = self.keys_of(node);
        [self.liar, self.amnesiac, self.twin_of].contains(&Some(node))
    }

    /// Whose keys this node holds.
    pub fn keys_of(&self, node: usize) -> usize {
        self.twin_of.filter(|_| node + 1 == self.nodes).unwrap_or(node)
    }

    pub fn scheme(&self) -> Arc<dyn Scheme> {
        if self.real_bls { Arc::new(Bls) } else { Arc::new(InsecureTwin) }
    }

    pub fn signer(&self, node: usize) -> Box<dyn Signer> {
        let i = self.keys_of(node);
        if self.real_bls { Box::new(keys(i).bls) } else { Box::new(InsecureTwinKey::numbered(i as u32)) }
    }

    pub fn set_at(&self, height: u64) -> ValidatorSet {
        let (_, powers) = self.sets.iter().rev().find(|(h, _)| *h <= height).unwrap();
        let members = powers.iter().enumerate().filter(|(_, p)| **p > 0).map(|(i, power)| Validator {
            bls: self.signer(i).public(),
            account: keys(i).account.public(),
            power: *power,
        });
        ValidatorSet::new(members.collect()).unwrap()
    }

    pub fn index_of(&self, address: &Address) -> usize {
        (0..self.nodes).find(|i| keys(*i).account.address() == *address).unwrap()
    }
}
