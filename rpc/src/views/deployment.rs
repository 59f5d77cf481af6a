//! Views of deployments, replicas, placement and logs.

use crate::schema::{view, words};
use metanode_types::cage_report::ExitStatus;
use metanode_types::ids::{Address, Digest, Name, TxId};
use metanode_types::quantity::Amount;
use metanode_types::workload::Workload;

words! {
    /// Where a replica stands.
    ReplicaState {
        /// No node holds it.
        Pending = "pending",
        /// A node must start it.
        Assigned = "assigned",
        /// Its node reported that the cage runs.
        Running = "running",
        /// Several nodes run it, and what most of them come to will stand.
        Verifying = "verifying",
        /// Its node must stop it.
        Stopping = "stopping",
        /// A job's run ended with exit code zero, or a service was stopped.
        Finished = "finished",
        /// It ended otherwise, or could not be started.
        Failed = "failed",
    }
}

words! {
    /// Where a deployment stands.
    DeploymentState {
        /// It wants replicas.
        Active = "active",
        /// It was ordered to stop and copies are left.
        Stopping = "stopping",
        /// Nothing is left to do.
        Finished = "finished",
    }
}

words! {
    /// One of a program's two output streams.
    LogStream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

words! {
    /// Where the comparison of a replica's runs stands.
    VerificationState {
        /// Nodes run it and commit.
        Committing = "committing",
        /// Nodes open their commitments.
        Revealing = "revealing",
        /// Its result may be challenged.
        Open = "open",
        /// One more node runs it.
        Challenged = "challenged",
        /// Its result stands.
        Closed = "closed",
        /// No majority agreed; it was not paid for.
        Unsettled = "unsettled",
    }
}

words! {
    /// How far one node's run is.
    ExecutionState {
        /// The node runs it.
        Running = "running",
        /// The node committed to its report.
        Committed = "committed",
        /// The node revealed its report; what stands is not known yet.
        Revealed = "revealed",
        /// The node came to what stands.
        Agrees = "agrees",
        /// The node came to something else.
        Differs = "differs",
        /// The run says nothing about the program.
        NoVerdict = "no-verdict",
        /// The node did not commit in time.
        NoCommit = "no-commit",
        /// The node did not reveal in time.
        NoReveal = "no-reveal",
    }
}

view! {
    /// One node's run of a replica.
    ExecutionView {
        /// Name of the node; null when it is not registered any more.
        node: Option<Name>,
        /// Its address.
        address: Address,
        /// Assignment epoch (fencing token).
        epoch: u64,
        /// How far it is.
        state: ExecutionState,
        /// What it came to; null until that is known.
        outcome: Option<Digest>,
        /// Why there is no verdict; null when there is one or it is not known yet.
        reason: Option<String>,
        /// Held of the node's money.
        bond: Amount,
    }
}

view! {
    /// The runs of one replica that are compared.
    VerificationView {
        /// Nodes asked; 1 when one node's word was taken.
        asked: u32,
        /// Where it stands.
        state: VerificationState,
        /// CPU class on which it is run.
        cpu_class: Digest,
        /// Kernel release on which it is run.
        kernel: String,
        /// What stands; null until that is settled.
        outcome: Option<Digest>,
        /// Last height at which a challenge is taken; null when none is.
        open_until: Option<u64>,
        /// Every run, in order of assignment.
        executions: Vec<ExecutionView>,
        /// Who challenged; null when nobody did.
        challenger: Option<Address>,
        /// The run that a challenge asked for.
        challenge: Option<ExecutionView>,
    }
}

view! {
    /// One replica.
    ReplicaView {
        /// Index in the deployment.
        index: u32,
        /// Name of its node; null while pending.
        node: Option<Name>,
        /// Address of its node; null while pending.
        address: Option<Address>,
        /// Where it stands.
        state: ReplicaState,
        /// Assignment epoch (fencing token).
        epoch: u64,
        /// Restarts by its node, as last reported.
        restarts: u32,
        /// Health as last reported; null when there is no check or no report.
        healthy: Option<bool>,
        /// How its last run ended; null when none did.
        exit: Option<ExitStatus>,
        /// Its runs, if they are compared or may be challenged; null otherwise.
        verification: Option<VerificationView>,
    }
}

view! {
    /// A deployment.
    DeploymentView {
        /// Name.
        name: Name,
        /// Account that owns and pays.
        owner: Address,
        /// Cluster.
        cluster: Name,
        /// Where it stands.
        status: DeploymentState,
        /// What runs.
        workload: Workload,
        /// Replicas in order.
        replicas: Vec<ReplicaView>,
        /// What is left in escrow.
        escrow: Amount,
        /// Counts deployments under this name.
        generation: u64,
        /// Transaction that deployed it.
        tx: TxId,
        /// Height of that transaction.
        height: u64,
    }
}

view! {
    /// What one placement rule says of one node.
    RuleView {
        /// Stable name.
        rule: String,
        /// Whether the node passes.
        ok: bool,
        /// With which numbers.
        detail: String,
    }
}

view! {
    /// What placement says of one node.
    NodeFitView {
        /// Node.
        node: Name,
        /// True when every rule passes.
        fits: bool,
        /// Every rule in order.
        rules: Vec<RuleView>,
        /// Rank among fitting nodes; null when it does not fit.
        score: Option<i64>,
    }
}

view! {
    /// Why one replica is where it is.
    ExplainReplicaView {
        /// Index in the deployment.
        index: u32,
        /// Where it stands.
        state: ReplicaState,
        /// In one sentence.
        reason: String,
        /// Every node by name.
        nodes: Vec<NodeFitView>,
    }
}

view! {
    /// Why the replicas of a deployment are where they are.
    ExplainView {
        /// Deployment.
        deployment: Name,
        /// Height whose state was judged.
        height: u64,
        /// Replicas in order.
        replicas: Vec<ExplainReplicaView>,
    }
}

view! {
    /// The end of a replica's output.
    LogsView {
        /// Deployment.
        deployment: Name,
        /// Replica.
        replica: u32,
        /// Stream.
        stream: LogStream,
        /// Node that holds the output.
        node: Name,
        /// Bytes that precede `text` in the stream.
        offset: u64,
        /// Bytes of the stream that the node dropped because of its size limit; null when it does not know.
        dropped: Option<u64>,
        /// The output; bytes that are not UTF-8 are replaced.
        text: String,
    }
}
