//! The whole-node simulator: consensus, state machine, mempool, sync and sign guard of every validator on one
//! thread under virtual time.
//!
//! ```text
//!   plan(seed) ──▶ faults, load          Hub: latency, loss, duplication, reordering, partitions
//!        │                                 ▲            │
//!        ▼                                 │            ▼
//!   next event ──▶ advance clock ──▶ poll every live node ──▶ checkers after every step
//! ```
//!
//! Owns virtual time, crashes and the checkers. One seed is one run, to the byte. Signatures of validators are a
//! keyed-hash twin in sweeps (BLS would be nine tenths of the time) and real BLS where asked. A crash loses what was
//! not synced; the node starts again from its disk. A run in which too little happened fails: it proves nothing.

mod check;
mod node;
mod plan;

pub use check::Violation;
pub use plan::{Fault, Plan};

use check::Checker;
use metanode_node::chain::SubmitError;
use metanode_p2p::mem::{Conditions, Hub};
use metanode_types::account::AccountSecret;
use metanode_types::quantity::Amount;
use metanode_types::tx::{SignedTx, TxBody};
use node::{Disk, SimNode, World};
use std::collections::BTreeMap;

/// What a run is asked to do.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Number of validators.
    pub validators: usize,
    /// Virtual milliseconds with load and faults.
    pub storm_ms: u64,
    /// Virtual milliseconds without faults afterwards, in which everything must become final.
    pub calm_ms: u64,
    /// One transfer is submitted about this often.
    pub load_every_ms: u64,
    /// Real BLS signatures instead of the twin.
    pub real_bls: bool,
    /// Network weather during the storm.
    pub weather: Conditions,
    /// Mean time between crashes, 0 = none.
    pub crash_every_ms: u64,
    /// Mean time between partitions, 0 = none.
    pub partition_every_ms: u64,
    /// Skips replaying the journal after a crash: a mutation that the checkers must notice.
    pub mutate_forget_journal: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            validators: 4,
            storm_ms: 30_000,
            calm_ms: 20_000,
            load_every_ms: 200,
            real_bls: false,
            weather: Conditions::default(),
            crash_every_ms: 4_000,
            partition_every_ms: 6_000,
            mutate_forget_journal: false,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Blocks final on every node at the end.
    pub blocks: u64,
    /// Transfers that became final.
    pub transfers: u64,
    /// Polls of nodes: how much was simulated.
    pub steps: u64,
    /// Crashes that happened.
    pub crashes: u64,
    /// Partitions that happened.
    pub partitions: u64,
    /// Hash over everything that the network carried: equal runs have equal traces.
    pub trace: [u8; 32],
}

/// A run that must not be trusted, and the command that shows it again.
#[derive(Debug, thiserror::Error)]
#[error(
    "seed {seed}, virtual time {at_ms} ms: {violation}; \
     replay: cargo run -p metanode-testnet --bin sim -- --seed {seed}"
)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// When it was noticed.
    pub at_ms: u64,
    /// What.
    pub violation: Violation,
}

/// One run.
pub struct Sim {
    world: World,
    hub: Hub,
    nodes: Vec<SimNode>,
    plan: Plan,
    checker: Checker,
    outcome: Outcome,
    scenario: Scenario,
    now_ms: u64,
    wakes: Vec<u64>,
    /// Transfers handed to some node: id and body, until they are final.
    submitted: BTreeMap<metanode_types::ids::TxId, SignedTx>,
}

impl Sim {
    /// Sets up `scenario` under `seed`.
    pub fn new(seed: u64, scenario: Scenario) -> Sim {
        let world = World::new(scenario.validators, scenario.real_bls);
        let now_ms = world.genesis_ms + 1_000;
        let hub = Hub::new(seed, scenario.weather.clone());
        hub.advance_to(now_ms);
        let plan = Plan::new(seed, &scenario, now_ms);
        let mut nodes: Vec<SimNode> = (0..scenario.validators).map(|i| SimNode::new(&world, i)).collect();
        nodes.iter_mut().for_each(|n| n.start(&world, &hub, now_ms, false));
        Sim {
            checker: Checker::new(scenario.validators),
            outcome: Outcome { seed, ..Outcome::default() },
            wakes: vec![now_ms; scenario.validators],
            submitted: BTreeMap::new(),
            world,
            hub,
            nodes,
            plan,
            scenario,
            now_ms,
        }
    }

    /// Runs to the end and judges.
    pub fn run(mut self) -> Result<Outcome, Failed> {
        let end = self.plan.end_ms();
        while self.now_ms < end {
            self.step().map_err(|v| self.failed(v))?;
        }
        let verdict = self.finish();
        verdict.map_err(|v| self.failed(v))?;
        self.outcome.trace = self.hub.trace();
        Ok(self.outcome)
    }

    fn failed(&self, violation: Violation) -> Failed {
        Failed { seed: self.outcome.seed, at_ms: self.now_ms - self.world.genesis_ms, violation }
    }

    /// Moves to the next moment at which anything is due, and does it.
    fn step(&mut self) -> Result<(), Violation> {
        let wake = self.wakes.iter().copied().min().unwrap_or(u64::MAX);
        let network = self.hub.next_event_at().unwrap_or(u64::MAX);
        let next = wake.min(network).min(self.plan.next_at()).max(self.now_ms);
        // Time moves even if a node asks to be called again at once, so that a run always ends.
        self.now_ms = if next == self.now_ms { next + 1 } else { next };
        self.hub.advance_to(self.now_ms);
        while let Some(fault) = self.plan.pop_due(self.now_ms) {
            self.apply(fault);
        }
        for i in 0..self.nodes.len() {
            self.poll(i)?;
        }
        Ok(())
    }

    fn poll(&mut self, i: usize) -> Result<(), Violation> {
        let Some(chain) = self.nodes[i].chain.as_mut() else {
            self.wakes[i] = u64::MAX;
            return Ok(());
        };
        self.outcome.steps += 1;
        match chain.poll(self.now_ms) {
            Ok(wake) => self.wakes[i] = wake,
            Err(error) => return Err(Violation::Stopped { node: i, error: error.to_string() }),
        }
        chain.take_notices();
        self.checker.observe(i, chain)
    }

    fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::Load { from, to, amount, node } => self.submit(from, to, amount, node),
            Fault::Crash { node } => {
                if self.nodes[node].crash(&self.hub, &self.world) {
                    self.outcome.crashes += 1;
                }
            }
            Fault::Restart { node } => {
                let forget = self.scenario.mutate_forget_journal;
                self.nodes[node].start(&self.world, &self.hub, self.now_ms, forget);
                self.wakes[node] = self.now_ms;
            }
            Fault::Partition { groups } => {
                let ids: Vec<Vec<_>> =
                    groups.iter().map(|g| g.iter().map(|n| self.world.peer(*n)).collect()).collect();
                let slices: Vec<&[_]> = ids.iter().map(Vec::as_slice).collect();
                self.hub.partition(&slices);
                self.outcome.partitions += 1;
            }
            Fault::Heal => self.hub.heal_all(),
            Fault::Calm => {
                self.hub.set_conditions(Conditions { loss_permille: 0, ..self.scenario.weather.clone() })
            }
        }
    }

    fn submit(&mut self, from: usize, to: usize, amount: u64, node: usize) {
        let Some(chain) = self.nodes[node].chain.as_mut() else { return };
        let payer: &AccountSecret = &self.world.users[from];
        let body = TxBody::Transfer { to: self.world.users[to].address(), amount: Amount(amount.into()) };
        let nonce = self.submitted.len() as u64 + self.outcome.transfers;
        let until = self.now_ms + 300_000;
        let tx = SignedTx::sign(payer, self.world.chain_id, nonce, until, Amount(1_000_000), body);
        match chain.submit(tx.clone(), self.now_ms) {
            Ok(id) => {
                self.submitted.insert(id, tx);
            }
            Err(SubmitError::Refused(_)) => {}
            Err(error) => unreachable!("a fresh transfer of a funded account is valid: {error}"),
        }
        self.wakes[node] = self.now_ms;
    }

    /// After the calm: everyone is up, at the same height or one apart, and agrees about everything.
    fn finish(&mut self) -> Result<(), Violation> {
        let heights: Vec<u64> =
            self.nodes.iter().map(|n| n.chain.as_ref().map_or(0, |c| c.ledger().tip().height)).collect();
        let (low, high) =
            (heights.iter().min().copied().unwrap_or(0), heights.iter().max().copied().unwrap_or(0));
        if high > low + 1 {
            return Err(Violation::Behind { heights });
        }
        self.outcome.blocks = low;
        self.checker.finish(&self.nodes, &self.world)?;
        let chain = self.nodes[0].chain.as_ref().expect("everyone is up after the calm");
        self.outcome.transfers = 0;
        for id in self.submitted.keys() {
            if chain.ledger().height_of_tx(id).is_some() {
                self.outcome.transfers += 1;
            }
        }
        let minimum = self.scenario.storm_ms / 5_000;
        if self.outcome.blocks < minimum || self.outcome.transfers == 0 {
            return Err(Violation::NothingHappened {
                blocks: self.outcome.blocks,
                transfers: self.outcome.transfers,
            });
        }
        Ok(())
    }
}

impl SimNode {
    /// Whether the node's process runs.
    pub(crate) fn is_up(&self) -> bool {
        self.chain.is_some()
    }
    /// The node's disk.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }
}
