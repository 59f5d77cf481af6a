//! Action receipts: what was done.
//!
//! Owns every kind of action. New ones go to the end: the position is the tag on the wire.

use super::verified::{Said, Votes};
use crate::cage_report::CageReport;
use crate::ids::{Address, ContentDigest, Digest, Name, ReceiptId};
use crate::tx::ShortText;
use crate::workload::Resources;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Why a replica left its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnassignReason {
    /// The node was silent for the node timeout.
    NodeLost,
    /// The deployment was scaled down.
    ScaledDown,
    /// The deployment was stopped by its owner.
    Stopped,
    /// The escrow is used up.
    EscrowUsedUp,
    /// The node could not start the cage.
    Refused,
    /// The node registered again with less than it held.
    NodeChanged,
}

/// Body of an Action receipt.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// A node registered or updated its registration.
    NodeRegistered {
        /// Name the node chose.
        name: Name,
        /// Boot id at registration.
        boot_id: u64,
        /// What it offers.
        capacity: Resources,
    },
    /// A node was silent for the node timeout.
    NodeLost,
    /// A lost node's heartbeat arrived.
    NodeReturned {
        /// Boot id of the heartbeat.
        boot_id: u64,
    },
    /// A cluster was created.
    ClusterCreated,
    /// A deployment was admitted.
    Deployed {
        /// Digest of its workload.
        workload: Digest,
        /// Image that it runs.
        image: ContentDigest,
        /// Replicas asked for.
        replicas: u32,
        /// Counts deployments under this name.
        generation: u64,
    },
    /// The number of replicas changed.
    Scaled {
        /// Replicas before.
        from: u32,
        /// Replicas after.
        to: u32,
    },
    /// A deployment was ordered to stop.
    StopOrdered {
        /// By its owner, or because the escrow is used up.
        reason: UnassignReason,
    },
    /// Every replica of a job has ended, or every copy of a stopped deployment is gone.
    Finished {
        /// Replicas that ended with exit code zero (jobs).
        succeeded: u32,
        /// Replicas that did not (jobs).
        failed: u32,
    },
    /// A replica was placed on a node.
    Assigned {
        /// Node that must run it.
        node: Address,
        /// Fencing token.
        epoch: u64,
        /// Digest of the workload.
        workload: Digest,
        /// Image to run.
        image: ContentDigest,
        /// Seed of the cage, public: caged randomness is never secret.
        seed: Digest,
        /// Unix milliseconds at which a cage with a logical clock starts: the time of the deploying block.
        clock_ms: u64,
    },
    /// A replica left its node.
    Unassigned {
        /// Node that held it.
        node: Address,
        /// Epoch that ended.
        epoch: u64,
        /// Why.
        reason: UnassignReason,
    },
    /// The assigned node started the cage.
    Started {
        /// Node.
        node: Address,
        /// Epoch under which it acted.
        epoch: u64,
        /// Receipt of the assignment.
        assignment: ReceiptId,
        /// Image that runs.
        image: ContentDigest,
    },
    /// A service's health changed.
    Health {
        /// Node.
        node: Address,
        /// Epoch under which it acted.
        epoch: u64,
        /// Receipt of the assignment.
        assignment: ReceiptId,
        /// Whether the check passes.
        healthy: bool,
    },
    /// The cage ended.
    Exited {
        /// Node.
        node: Address,
        /// Epoch under which it acted.
        epoch: u64,
        /// Receipt of the assignment.
        assignment: ReceiptId,
        /// What the cage measured.
        report: CageReport,
        /// Restarts by the node itself.
        restarts: u32,
    },
    /// The assigned node could not start the cage.
    Refused {
        /// Node.
        node: Address,
        /// Epoch under which it acted.
        epoch: u64,
        /// Receipt of the assignment.
        assignment: ReceiptId,
        /// Why.
        reason: ShortText,
    },
    /// A transaction failed in execution; its fee was charged, nothing else changed.
    Failed {
        /// Kind of the transaction.
        kind: ShortText,
        /// Stable error code.
        code: u32,
        /// Why.
        reason: ShortText,
    },
    /// A node that runs a verified job committed to its report.
    Committed {
        /// Node.
        node: Address,
        /// Epoch under which it acted.
        epoch: u64,
        /// Receipt of the assignment.
        assignment: ReceiptId,
        /// What it committed to.
        commitment: Digest,
    },
    /// A node opened its commitment.
    Revealed {
        /// Node.
        node: Address,
        /// Epoch under which it acted.
        epoch: u64,
        /// Receipt of the assignment.
        assignment: ReceiptId,
        /// What it had committed to.
        commitment: Digest,
        /// What the cage measured.
        report: CageReport,
        /// Salt of the commitment.
        salt: Digest,
    },
    /// A strict majority of the nodes asked agrees on what the job did.
    Settled {
        /// Epoch of the executions.
        epoch: u64,
        /// Nodes asked.
        asked: u32,
        /// Receipt of the assignment of the first node that agrees.
        assignment: ReceiptId,
        /// What they agree on.
        outcome: Digest,
        /// Report of that first node.
        report: CageReport,
        /// What each node said.
        votes: Votes,
    },
    /// No strict majority of the nodes asked agrees; nobody is paid.
    Unsettled {
        /// Epoch of the executions.
        epoch: u64,
        /// Nodes asked.
        asked: u32,
        /// What each node said.
        votes: Votes,
    },
    /// A finished job is in doubt: one more node runs it.
    Challenged {
        /// Node that runs it.
        node: Address,
        /// Epoch of its execution.
        epoch: u64,
        /// Who doubts.
        challenger: Address,
        /// What is in doubt.
        outcome: Digest,
    },
    /// The run that a challenge asked for has a verdict, which stands.
    ChallengeDecided {
        /// Node that ran it.
        node: Address,
        /// Epoch of its execution.
        epoch: u64,
        /// Receipt of its assignment.
        assignment: ReceiptId,
        /// Who doubted.
        challenger: Address,
        /// What was in doubt.
        challenged: Digest,
        /// What the run came to.
        report: CageReport,
        /// True when that is the same.
        upheld: bool,
    },
    /// The run that a challenge asked for has no verdict; the challenge is void.
    ChallengeVoid {
        /// Node that was to run it.
        node: Address,
        /// Epoch of its execution.
        epoch: u64,
        /// Who doubted.
        challenger: Address,
        /// Why there is no verdict.
        said: Said,
    },
    /// The time in which a finished job can be challenged is over; the bonds have gone back.
    Closed {
        /// Epoch of the latest execution.
        epoch: u64,
        /// What stands; absent when it was never settled.
        outcome: Option<Digest>,
    },
}

impl Action {
    /// Receipt of the assignment under which the action was taken, if it is a node's report.
    pub fn assignment(&self) -> Option<ReceiptId> {
        match self {
            Action::Started { assignment, .. }
            | Action::Health { assignment, .. }
            | Action::Exited { assignment, .. }
            | Action::Refused { assignment, .. }
            | Action::Committed { assignment, .. }
            | Action::Revealed { assignment, .. } => Some(*assignment),
            _ => None,
        }
    }

    /// Receipt of the assignment by which the action is judged: that of a node's own report, or that of the run whose
    /// report the state machine took.
    pub fn shown_assignment(&self) -> Option<ReceiptId> {
        match self {
            Action::Settled { assignment, .. } | Action::ChallengeDecided { assignment, .. } => {
                Some(*assignment)
            }
            _ => self.assignment(),
        }
    }

    /// Node and epoch of an action that concerns one.
    pub fn node_epoch(&self) -> Option<(Address, u64)> {
        match self {
            Action::Assigned { node, epoch, .. }
            | Action::Unassigned { node, epoch, .. }
            | Action::Started { node, epoch, .. }
            | Action::Health { node, epoch, .. }
            | Action::Exited { node, epoch, .. }
            | Action::Refused { node, epoch, .. }
            | Action::Committed { node, epoch, .. }
            | Action::Revealed { node, epoch, .. }
            | Action::Challenged { node, epoch, .. }
            | Action::ChallengeDecided { node, epoch, .. }
            | Action::ChallengeVoid { node, epoch, .. } => Some((*node, *epoch)),
            _ => None,
        }
    }

    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Action::NodeRegistered { .. } => "node-registered",
            Action::NodeLost => "node-lost",
            Action::NodeReturned { .. } => "node-returned",
            Action::ClusterCreated => "cluster-created",
            Action::Deployed { .. } => "deployed",
            Action::Scaled { .. } => "scaled",
            Action::StopOrdered { .. } => "stop-ordered",
            Action::Finished { .. } => "finished",
            Action::Assigned { .. } => "assigned",
            Action::Unassigned { .. } => "unassigned",
            Action::Started { .. } => "started",
            Action::Health { .. } => "health",
            Action::Exited { .. } => "exited",
            Action::Refused { .. } => "refused",
            Action::Failed { .. } => "failed",
            Action::Committed { .. } => "committed",
            Action::Revealed { .. } => "revealed",
            Action::Settled { .. } => "settled",
            Action::Unsettled { .. } => "unsettled",
            Action::Challenged { .. } => "challenged",
            Action::ChallengeDecided { .. } => "challenge-decided",
            Action::ChallengeVoid { .. } => "challenge-void",
            Action::Closed { .. } => "closed",
        }
    }
}
