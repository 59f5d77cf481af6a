//! Views of deployments, replicas, placement and logs.

use crate::schema::{view, words};
use metanode_types::cage_report::ExitStatus;
use metanode_types::ids::{Address, Name, TxId};
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
