//! The committed ledger as everything but the chain loop reads it.
//!
//! Owns [`LedgerReader`], cheap to clone, and the agent's questions. Every answer comes from one snapshot of
//! what is final on this node, never from a message. Refuses to write, and refuses to guess: an assignment
//! whose receipt does not say what the state says is an error.

use metanode_runtime::driver::Assignment;
use metanode_state::query::{AgentAssignment, Awaited, Desired, assignments_of, awaited};
use metanode_state::{Ledger, StateRead, View};
use metanode_types::ids::{Address, ChainId, TxId};
use metanode_types::receipt::{Action, ReceiptBody};
use metanode_types::tx::NodeSpec;
use metanode_types::workload::ReplicaId;
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub struct LedgerReader {
    ledger: Arc<Ledger>,
}

impl LedgerReader {
    /// Reads `ledger`.
    pub fn new(ledger: Arc<Ledger>) -> LedgerReader {
        LedgerReader { ledger }
    }

    /// The ledger itself.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Chain.
    pub fn chain_id(&self) -> ChainId {
        self.ledger.genesis().chain_id
    }

    /// The state as of the newest final block; unaffected by later ones.
    pub fn view(&self) -> Result<View<'_>, metanode_state::Error> {
        self.ledger.view()
    }

    /// What a node registered with.
    pub fn node_spec(&self, node: &Address) -> Result<Option<NodeSpec>, String> {
        let node = self
            .view()
            .and_then(|view| view.node(node))
            .map_err(|e| format!("read the registration: {e}"))?;
        Ok(node.map(|record| record.spec))
    }

    /// Whether a transaction is in a final block.
    pub fn is_final(&self, tx: &TxId) -> Result<bool, String> {
        let record =
            self.view().and_then(|view| view.tx(tx)).map_err(|e| format!("look up {}: {e}", tx.short()))?;
        Ok(record.is_some())
    }

    /// Whether `node` holds this replica under this epoch, to run it or to stop it.
    pub fn holds(&self, node: &Address, replica: &ReplicaId, epoch: u64) -> Result<bool, String> {
        let record = self.view().and_then(|view| view.replica(replica));
        let record = record.map_err(|e| format!("read replica {replica}: {e}"))?;
        let held = record.as_ref().and_then(|r| r.assignment());
        let held = held.is_some_and(|a| a.node == *node && a.epoch == epoch);
        Ok(held || self.awaited(node, replica, epoch)? == Awaited::Commitment)
    }

    /// What the ledger waits for from `node` about a run that is compared with others.
    pub fn awaited(&self, node: &Address, replica: &ReplicaId, epoch: u64) -> Result<Awaited, String> {
        let answer = self.view().and_then(|view| awaited(&view, node, replica, epoch));
        answer.map_err(|e| format!("read the runs of replica {replica}: {e}"))
    }

    /// What `node` must run now. What it holds but was told to stop is left out: absence is what stops a
    /// cage.
    pub fn assignments_of(&self, node: &Address) -> Result<Vec<Assignment>, String> {
        let fail = |e: metanode_state::Error| format!("read the assignments of {}: {e}", node.short());
        let view = self.view().map_err(fail)?;
        let held = assignments_of(&view, node).map_err(fail)?;
        held.into_iter().filter(|a| a.desired == Desired::Run).map(|a| runnable(&view, a)).collect()
    }
}

/// What the runtime needs of an assignment. Seed and clock are those of its receipt, by which the run will be
/// judged.
fn runnable(view: &View<'_>, held: AgentAssignment) -> Result<Assignment, String> {
    let fail = |why: String| format!("assignment of {} (epoch {}): {why}", held.replica, held.epoch);
    let receipt = view.receipt(&held.receipt).map_err(|e| fail(e.to_string()))?;
    let receipt = receipt.ok_or_else(|| fail(format!("receipt {} is not in the log", held.receipt)))?;
    let ReceiptBody::Action(Action::Assigned { epoch, workload, seed, clock_ms, .. }) = receipt.receipt.body
    else {
        return Err(fail(format!("receipt {} is of something else", held.receipt)));
    };
    if (epoch, workload, seed) != (held.epoch, held.workload.digest(), held.seed) {
        return Err(fail(format!("receipt {} and the state disagree", held.receipt)));
    }
    let epoch_ns = clock_ms.checked_mul(1_000_000);
    let epoch_ns =
        epoch_ns.ok_or_else(|| fail(format!("its clock of {clock_ms} ms does not fit nanoseconds")))?;
    Ok(Assignment { replica: held.replica, epoch, workload: held.workload, seed: seed.0, epoch_ns })
}
