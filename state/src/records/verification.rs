//! Records of a replica that several nodes run, or that may still be challenged.
//!
//! Owns executions with their bonds, the stage they are in, and a challenge. Everything here is covered by the
//! replica's digest but for the receipts' own ids, so every change has a receipt.

use super::RunPhase;
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::cage_report::{CageReport, MachineClass};
use metanode_types::ids::{Address, Digest, ReceiptId};
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::receipt::Said;

/// How far one execution is.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Step {
    /// The node runs it and holds what it reserves.
    Running(RunPhase),
    /// The node has committed to its report.
    Committed {
        /// To what.
        commitment: Digest,
        /// Block time of the commitment.
        at_ms: u64,
    },
    /// Nothing more is expected of the node.
    Over {
        /// What became of it.
        said: Said,
        /// Use to pay for, after the cap.
        usage: Usage,
        /// The report, until the replica is settled.
        report: Option<Box<CageReport>>,
    },
}

/// One node's run of a replica.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Execution {
    /// Node.
    pub node: Address,
    /// Fencing token: the height of the block that assigned.
    pub epoch: u64,
    /// Receipt of the assignment.
    pub receipt: ReceiptId,
    /// Block time of the assignment.
    pub assigned_ms: u64,
    /// Held of the node's money.
    pub bond: Amount,
    /// How far it is.
    pub step: Step,
}

impl Execution {
    /// True while the node holds what the replica reserves.
    pub fn is_running(&self) -> bool {
        matches!(self.step, Step::Running(_))
    }
    /// True when nothing more is expected of the node.
    pub fn is_over(&self) -> bool {
        matches!(self.step, Step::Over { .. })
    }
    /// What it came to.
    pub fn outcome(&self) -> Option<Digest> {
        match &self.step {
            Step::Over { said: Said::Outcome(d), .. } => Some(*d),
            _ => None,
        }
    }
    fn covered(&self) -> (Address, u64, Amount, &Step) {
        (self.node, self.epoch, self.bond, &self.step)
    }
}

/// One more run that somebody asked for.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Challenge {
    /// Who doubts.
    pub challenger: Address,
    /// Held of the challenger's money.
    pub bond: Amount,
    /// The run.
    pub execution: Execution,
    /// Chain-alive time at which the run is too late.
    pub until_alive_ms: u64,
}

/// Where a verification stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Stage {
    /// Nodes run the replica and commit, until this chain-alive time.
    Committing {
        /// See the variant.
        until_alive_ms: u64,
    },
    /// Nodes open their commitments, until this chain-alive time.
    Revealing {
        /// See the variant.
        until_alive_ms: u64,
    },
    /// Settled; may be challenged up to this height.
    Open {
        /// See the variant.
        until_height: u64,
    },
    /// Challenged; a further challenge is possible up to this height if this one is void.
    Challenged {
        /// See the variant.
        until_height: u64,
    },
    /// Nothing more happens; no bond is held.
    Closed,
}

/// The runs of one replica.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Verification {
    /// The one class of machines on which it is run.
    pub machine: MachineClass,
    /// Nodes that were asked; 1 when one node's word was taken.
    pub asked: u32,
    /// Their runs, in order of assignment.
    pub executions: Vec<Execution>,
    /// Where it stands.
    pub stage: Stage,
    /// What was settled on, and stands now.
    pub outcome: Option<Digest>,
    /// The challenge under way, or the one that decided.
    pub challenge: Option<Challenge>,
    /// Nodes whose run for a challenge had no verdict, at most [`crate::limits::MAX_VOID_CHALLENGES`].
    pub void: Vec<Address>,
}

impl Verification {
    /// The run of `node` that is not over, or else its latest.
    pub fn execution_of(&self, node: &Address) -> Option<&Execution> {
        let all = self.challenge.iter().map(|c| &c.execution).chain(&self.executions);
        all.into_iter().find(|e| e.node == *node)
    }
    /// As [`Verification::execution_of`], to change it.
    pub fn execution_mut(&mut self, node: &Address) -> Option<&mut Execution> {
        let all = self.challenge.iter_mut().map(|c| &mut c.execution).chain(&mut self.executions);
        all.into_iter().find(|e| e.node == *node)
    }
    /// Nodes that hold what the replica reserves.
    pub fn holders(&self) -> impl Iterator<Item = Address> {
        let all = self.challenge.iter().map(|c| &c.execution).chain(&self.executions);
        all.filter(|e| e.is_running()).map(|e| e.node)
    }
    /// Everything held of anybody's money.
    pub fn bonds(&self) -> Amount {
        let executions = self.executions.iter().map(|e| e.bond);
        let challenge = self.challenge.iter().flat_map(|c| [c.bond, c.execution.bond]);
        let sum = executions.chain(challenge).try_fold(Amount::ZERO, Amount::checked_add);
        sum.expect("bonds are below the supply, which is below 2^80")
    }
    /// What the replica's digest covers.
    pub(super) fn covered(&self) -> impl BorshSerialize + '_ {
        let executions: Vec<_> = self.executions.iter().map(Execution::covered).collect();
        let challenge = self.challenge.as_ref();
        let challenge = challenge.map(|c| (c.challenger, c.bond, c.execution.covered(), c.until_alive_ms));
        (&self.machine, self.asked, executions, self.stage, self.outcome, challenge, &self.void)
    }
}
