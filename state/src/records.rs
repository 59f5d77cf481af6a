//! The records of the state, as they are encoded.
//!
//! Owns every stored type and the digests of subjects. A subject's digest covers what its receipts account for
//! and leaves out what changes without one (heartbeats, reserved capacity, counters), so that every receipt's
//! `before` equals its predecessor's `after`. Encodings are frozen by tests.

mod verification;

pub use verification::{Challenge, Execution, Stage, Step, Verification};

use crate::limits::FAULT_HALF_LIFE_BLOCKS;
use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::block::ModuleRoots;
use metanode_types::cage_report::ExitStatus;
use metanode_types::hash::{Domain, Hash, hash_value};
use metanode_types::ids::{Address, BlockId, ChainId, Digest, Name, ReceiptId, TxId};
use metanode_types::merkle::Frontier;
use metanode_types::params::{ChainParams, Usage};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Subject, UnassignReason};
use metanode_types::tx::{ClusterSpec, NodeSpec, ShortText};
use metanode_types::validator::ValidatorSet;
use metanode_types::workload::{ReplicaId, Resources};

/// What a chain starts from.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct GenesisState {
    /// Hash of the canonical genesis.
    pub chain_id: ChainId,
    /// Time of the genesis, Unix milliseconds.
    pub time_ms: u64,
    /// Validators of height 1.
    pub validators: ValidatorSet,
    /// Opening balances, one per address.
    pub accounts: Vec<(Address, Amount)>,
    /// Rules.
    pub params: ChainParams,
}

/// The last committed block and what continues from it.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// Height; 0 after genesis.
    pub height: u64,
    /// Block id; zero at height 0.
    pub block: BlockId,
    /// Block time.
    pub time_ms: u64,
    /// Chain-alive time: every block adds at most the idle interval.
    pub alive_ms: u64,
    /// Right edge of the receipts log.
    pub log: Frontier,
    /// Version of each module's tree.
    pub versions: [u64; 5],
    /// Root of each module's tree.
    pub module_roots: ModuleRoots,
    /// Digest over the live buckets of nonces.
    pub nonces_digest: Hash,
    /// Transactions committed so far.
    pub txs: u64,
}

/// An account. Its balance is what was credited less what was debited.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct AccountRecord {
    /// Sum of everything received.
    pub credited: Amount,
    /// Sum of everything spent.
    pub debited: Amount,
    /// Transactions paid for.
    pub sent_count: u64,
}

impl AccountRecord {
    /// What the account holds.
    pub fn balance(&self) -> Amount {
        self.credited.checked_sub(self.debited).expect("no account spends more than it received")
    }
    /// Digest of what the account spent; zero before its first payment.
    pub fn digest(&self, address: &Address) -> Digest {
        if self.sent_count == 0 {
            return Digest::default();
        }
        subject_digest(&Subject::Account(*address), &(self.debited, self.sent_count))
    }
}

/// Totals; what accounts hold is `genesis - burned - escrowed - bonded`.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct SupplyRecord {
    /// Sum of the opening balances.
    pub genesis: Amount,
    /// Burned so far.
    pub burned: Amount,
    /// Held in escrow by deployments.
    pub escrowed: Amount,
    /// Held in bonds of executions and challenges.
    pub bonded: Amount,
}

/// Whether a node is heard of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum NodeStatus {
    /// Heartbeats arrive.
    Ready,
    /// Silent for the node timeout.
    Lost,
}

/// A registered node.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct NodeRecord {
    /// What it declared.
    pub spec: NodeSpec,
    /// Whether it is heard of.
    pub status: NodeStatus,
    /// Height of its first registration.
    pub registered_height: u64,
    /// Boot id of the latest heartbeat or registration.
    pub boot_id: u64,
    /// Block time of the latest heartbeat or registration.
    pub heard_ms: u64,
    /// Chain-alive time of the same.
    pub heard_alive_ms: u64,
    /// What the node says it still offers; for people, placement counts itself.
    pub free: Resources,
    /// Sum of the limits of the replicas it holds.
    pub reserved: Resources,
    /// Replicas it holds.
    pub replicas: u32,
    /// Weight of its faults in verified jobs at `faulted_height`; not in the digest, the jobs' receipts tell of them.
    pub faults: u32,
    /// Height of the latest change of `faults`.
    pub faulted_height: u64,
}

impl NodeRecord {
    /// Digest of the registration and status.
    pub fn digest(&self, address: &Address) -> Digest {
        subject_digest(&Subject::Node(*address), &(&self.spec, self.status, self.registered_height))
    }
    /// Weight of its faults at a height: halved every [`crate::limits::FAULT_HALF_LIFE_BLOCKS`].
    pub fn faults_at(&self, height: u64) -> u32 {
        let halvings = height.saturating_sub(self.faulted_height) / FAULT_HALF_LIFE_BLOCKS;
        u32::try_from(halvings).ok().and_then(|n| self.faults.checked_shr(n)).unwrap_or(0)
    }
}

/// A cluster.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct ClusterRecord {
    /// What it was created with.
    pub spec: ClusterSpec,
    /// Who created it; `None` for the cluster of the genesis.
    pub owner: Option<Address>,
    /// Height of its creation.
    pub created_height: u64,
}

impl ClusterRecord {
    /// Digest of the whole record.
    pub fn digest(&self) -> Digest {
        subject_digest(&Subject::Cluster(self.spec.name.clone()), self)
    }
}

/// Life of a deployment.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum DeploymentStatus {
    /// Wanted.
    Active,
    /// Ordered to stop; some copies may still run.
    Stopping(UnassignReason),
    /// Over; the escrow went back.
    Finished {
        /// Replicas that ended with exit code zero (jobs).
        succeeded: u32,
        /// Replicas that did not (jobs).
        failed: u32,
        /// Block time of the end.
        at_ms: u64,
    },
}

/// A node that placement avoids for a deployment.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Avoided {
    /// Node.
    pub node: Address,
    /// Until this block time.
    pub until_ms: u64,
}

/// A deployment; its workload stands beside it.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct DeploymentRecord {
    /// Name.
    pub name: Name,
    /// Counts deployments under this name, from 1.
    pub generation: u64,
    /// Who deployed and pays.
    pub owner: Address,
    /// Cluster.
    pub cluster: Name,
    /// Digest of the workload.
    pub workload: Digest,
    /// True for jobs.
    pub job: bool,
    /// Replicas wanted.
    pub replicas: u32,
    /// Life.
    pub status: DeploymentStatus,
    /// Left in escrow.
    pub escrow: Amount,
    /// Paid for use so far.
    pub charged: Amount,
    /// Transaction that deployed it.
    pub tx: TxId,
    /// Digest of the agreement.
    pub agreement: Digest,
    /// Block time of the deployment.
    pub created_ms: u64,
    /// Height of the deployment.
    pub created_height: u64,
    /// Replicas that are neither ended nor released; not in the digest.
    pub live: u32,
    /// Job replicas that ended with exit code zero; not in the digest.
    pub succeeded: u32,
    /// Job replicas that ended otherwise; not in the digest.
    pub failed: u32,
    /// Nodes to avoid, at most [`crate::limits::MAX_AVOIDED`]; not in the digest.
    pub avoided: Vec<Avoided>,
    /// Held in bonds of its replicas' executions and challenges; not in the digest, the replicas' digests cover it.
    pub bonds: Amount,
    /// Replicas whose verification is not closed; not in the digest.
    pub open: u32,
}

impl DeploymentRecord {
    /// Digest of what its receipts account for.
    pub fn digest(&self) -> Digest {
        let covered = (
            (self.generation, self.owner, &self.cluster, self.workload, self.replicas),
            (&self.status, self.escrow, self.charged, self.agreement),
        );
        subject_digest(&Subject::Deployment(self.name.clone()), &covered)
    }
    /// True until it is finished.
    pub fn is_live(&self) -> bool {
        !matches!(self.status, DeploymentStatus::Finished { .. })
    }
}

/// Why a replica waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum PendingReason {
    /// It was just asked for.
    New,
    /// Its node was lost.
    NodeLost,
    /// Its node could not run it.
    Refused,
    /// Its cage ended although it is a service.
    Ended,
    /// Its node registered again with less than it held.
    NodeChanged,
}

/// What the assigned node reported last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum RunPhase {
    /// Nothing yet.
    Assigned,
    /// The cage runs; the health check's verdict, if there is one.
    Running(Option<bool>),
}

/// A replica's hold on a node.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Assignment {
    /// Node.
    pub node: Address,
    /// Fencing token: the height of the block that assigned, so it never repeats and only grows.
    pub epoch: u64,
    /// What the node reported last.
    pub phase: RunPhase,
    /// Set when the node must stop it.
    pub stop: Option<UnassignReason>,
    /// Receipt of the assignment.
    pub receipt: ReceiptId,
    /// Block time of the assignment.
    pub assigned_ms: u64,
    /// Use is paid up to this block time.
    pub metered_ms: u64,
}

/// Where a replica is in its life.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum ReplicaPhase {
    /// Waits for a node.
    Pending {
        /// Since this height.
        since_height: u64,
        /// Why.
        reason: PendingReason,
    },
    /// Held by a node.
    Held(Assignment),
    /// A job's replica that ran to its end.
    Ended {
        /// How.
        exit: ExitStatus,
        /// Node that ran it.
        node: Address,
    },
    /// Given up after too many attempts, or unsettled.
    Failed {
        /// What the last node said, or why there is no majority.
        reason: ShortText,
    },
    /// Several nodes run it and must agree.
    Verifying,
}

/// A replica.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct ReplicaRecord {
    /// Name.
    pub id: ReplicaId,
    /// Generation of its deployment.
    pub generation: u64,
    /// Life.
    pub phase: ReplicaPhase,
    /// Times a node could not run it.
    pub attempts: u32,
    /// Use paid for so far.
    pub used: Usage,
    /// Restarts by its nodes.
    pub restarts: u32,
    /// The runs that are compared, of a job that is or was verified or may be challenged.
    pub verification: Option<Verification>,
}

impl ReplicaRecord {
    /// The hold on a node, if there is one.
    pub fn assignment(&self) -> Option<&Assignment> {
        match &self.phase {
            ReplicaPhase::Held(a) => Some(a),
            _ => None,
        }
    }
    /// The verification, unless it is closed.
    pub fn open_verification(&self) -> Option<&Verification> {
        self.verification.as_ref().filter(|v| v.stage != Stage::Closed)
    }
    /// Nodes that hold what the replica reserves.
    pub fn holders(&self) -> Vec<Address> {
        let held = self.assignment().map(|a| a.node);
        held.into_iter().chain(self.verification.iter().flat_map(Verification::holders)).collect()
    }
    /// Digest of the assignment or of the verification; zero when no node holds the replica and nothing is open.
    pub fn digest(&self) -> Digest {
        let subject = || Subject::Replica(self.id.clone());
        if let Some(v) = self.open_verification() {
            assert!(self.assignment().is_none(), "what is verified is not held besides");
            return subject_digest(&subject(), &(self.generation, v.covered()));
        }
        match self.assignment() {
            None => Digest::default(),
            Some(a) => subject_digest(&subject(), &(self.generation, a.node, a.epoch, a.phase)),
        }
    }
}

/// Head of a subject's chain of receipts.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct SubjectHead {
    /// Receipts so far: the next sequence number.
    pub count: u64,
    /// Latest receipt.
    pub last: ReceiptId,
    /// Its `after`.
    pub digest: Digest,
}

/// Where a committed transaction is and how it ended.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct TxRecord {
    /// Height of its block.
    pub height: u64,
    /// Position in the block.
    pub index: u32,
    /// How it ended.
    pub outcome: TxOutcome,
    /// Index of its first receipt in the log.
    pub first_receipt: u64,
    /// Receipts it caused.
    pub receipts: u32,
}

/// How an included transaction ended.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum TxOutcome {
    /// It did what it says.
    Done {
        /// Fee paid.
        fee: Amount,
    },
    /// It failed; only its fee was charged.
    Failed {
        /// Fee paid.
        fee: Amount,
        /// Stable code.
        code: u32,
        /// Why.
        reason: ShortText,
    },
}

/// Proposer turns of a validator on this node's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct ProductionRecord {
    /// Blocks proposed and decided.
    pub taken: u64,
    /// Rounds that passed without a decision on its proposal.
    pub missed: u64,
    /// Height of the latest block proposed.
    pub last_height: u64,
}

fn subject_digest<T: BorshSerialize>(subject: &Subject, covered: &T) -> Digest {
    Digest(hash_value(Domain::Subject, &(subject, covered)))
}

#[cfg(test)]
mod tests;
