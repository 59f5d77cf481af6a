//! Deployments, their replicas, why these are where they are, and what they wrote.
//!
//! Owns the joining of state records into views. A past height is explained by executing the chain again up
//! to it, in memory and with every header compared, never from what is remembered. Refuses that beyond a
//! named bound, and refuses to show another node's output: it names the node that holds it.

use super::fault::{broken, gone};
use super::history::{block, certificate};
use super::verification;
use metanode_rpc::backend::Answer;
use metanode_rpc::error::BackendError;
use metanode_rpc::views::*;
use metanode_state::records::*;
use metanode_state::schedule::{self, Explanation};
use metanode_state::store::MemStore;
use metanode_state::{BlockContext, Ledger, Signatures, StateRead, View, execute, stop_reason};
use metanode_types::ids::{Address, Name};
use metanode_types::receipt::{ReceiptBody, Subject};
use metanode_types::tx::TxBody;
use metanode_types::workload::{ReplicaId, Workload};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks executed again to explain a past height at most.
pub const MAX_REPLAYED_BLOCKS: u64 = 2048;

/// One deployment.
pub fn one(view: &View<'_>, name: &Name) -> Answer<DeploymentView> {
    deployment_view(view, record(view, name)?)
}

/// Deployments by name.
pub fn list(view: &View<'_>, after: Option<&Name>, limit: usize) -> Answer<Page<DeploymentView, Name>> {
    let page = view.deployments(after, limit).map_err(broken)?;
    let items: Answer<Vec<DeploymentView>> =
        page.items.into_iter().map(|d| deployment_view(view, d)).collect();
    Ok(Page { items: items?, next: page.next })
}

pub(super) fn record(view: &View<'_>, name: &Name) -> Answer<DeploymentRecord> {
    view.deployment(name).map_err(broken)?.ok_or_else(|| {
        BackendError::not_found(format!("there is no deployment {name}"))
            .next("list them with deployment_list; a finished one leaves the state, its receipts stay")
    })
}

fn deployment_view(view: &View<'_>, record: DeploymentRecord) -> Answer<DeploymentView> {
    let replicas = view.replicas(&record.name).map_err(broken)?;
    let replicas: Answer<Vec<ReplicaView>> = replicas.iter().map(|r| replica_view(view, r)).collect();
    Ok(DeploymentView {
        workload: workload(view, &record)?,
        replicas: replicas?,
        status: match record.status {
            DeploymentStatus::Active => DeploymentState::Active,
            DeploymentStatus::Stopping(_) => DeploymentState::Stopping,
            DeploymentStatus::Finished { .. } => DeploymentState::Finished,
        },
        name: record.name,
        owner: record.owner,
        cluster: record.cluster,
        escrow: record.escrow,
        generation: record.generation,
        tx: record.tx,
        height: record.created_height,
    })
}

/// The workload, from the state or, when it has left that, from the transaction that deployed it.
fn workload(view: &View<'_>, deployment: &DeploymentRecord) -> Answer<Workload> {
    if let Some(workload) = view.workload(&deployment.name).map_err(broken)? {
        return Ok(workload);
    }
    let lost = || gone(format!("the workload of {}", deployment.name));
    let place = view.tx(&deployment.tx).map_err(broken)?.ok_or_else(lost)?;
    let made_in = block(view, place.height)?;
    match made_in.txs.get(place.index as usize).map(|tx| &tx.body) {
        Some(TxBody::Deploy(spec)) => Ok(spec.workload.clone()),
        _ => Err(lost()),
    }
}

fn replica_view(view: &View<'_>, r: &ReplicaRecord) -> Answer<ReplicaView> {
    let (state, address, healthy, exit) = match &r.phase {
        ReplicaPhase::Pending { .. } => (ReplicaState::Pending, None, None, None),
        ReplicaPhase::Failed { .. } => (ReplicaState::Failed, None, None, None),
        ReplicaPhase::Verifying => (ReplicaState::Verifying, None, None, None),
        ReplicaPhase::Ended { exit, node } => {
            let state = if exit.success() { ReplicaState::Finished } else { ReplicaState::Failed };
            (state, Some(*node), None, Some(exit.clone()))
        }
        ReplicaPhase::Held(held) => {
            let (running, healthy) = match held.phase {
                RunPhase::Assigned => (ReplicaState::Assigned, None),
                RunPhase::Running(healthy) => (ReplicaState::Running, healthy),
            };
            (
                if held.stop.is_some() { ReplicaState::Stopping } else { running },
                Some(held.node),
                healthy,
                None,
            )
        }
    };
    Ok(ReplicaView {
        index: r.id.index,
        node: address.map(|a| node_name(view, &a)).transpose()?.flatten(),
        address,
        state,
        epoch: last_epoch(view, r)?.unwrap_or(0),
        restarts: r.restarts,
        healthy,
        exit,
        verification: r.verification.as_ref().map(|v| verification::view_of(view, v)).transpose()?,
    })
}

/// Name under which a node is registered.
pub(super) fn node_name(view: &View<'_>, address: &Address) -> Answer<Option<Name>> {
    Ok(view.node(address).map_err(broken)?.map(|node| node.spec.name))
}

/// Epoch of the latest assignment: that of the hold, else of the replica's latest receipt; `None` before the
/// first.
pub(super) fn last_epoch(view: &View<'_>, r: &ReplicaRecord) -> Answer<Option<u64>> {
    Ok(last_holder(view, r)?.map(|(_, epoch)| epoch))
}

/// Node and epoch of the latest assignment.
pub(super) fn last_holder(view: &View<'_>, r: &ReplicaRecord) -> Answer<Option<(Address, u64)>> {
    if let Some(held) = r.assignment() {
        return Ok(Some((held.node, held.epoch)));
    }
    if let Some(v) = &r.verification {
        return Ok(verification::standing(v));
    }
    let Some(head) = view.subject_head(&Subject::Replica(r.id.clone())).map_err(broken)? else {
        return Ok(None);
    };
    let last =
        view.receipt(&head.last).map_err(broken)?.ok_or_else(|| gone(format!("receipt {}", head.last)))?;
    Ok(match &last.receipt.body {
        ReceiptBody::Action(action) => action.node_epoch(),
        _ => None,
    })
}

/// Why the replicas are where they are, on the state after `view`'s head.
pub fn explain(view: &View<'_>, name: &Name) -> Answer<ExplainView> {
    record(view, name)?;
    let found = schedule::explain(view, name, view.head().time_ms).map_err(broken)?;
    let found = found.ok_or_else(|| {
        BackendError::not_found(format!("deployment {name} is over and its workload has left the state"))
            .next("explain a height at which it was active")
    })?;
    let names: BTreeMap<Address, Name> =
        found.iter().flat_map(|e| &e.nodes).map(|verdict| (verdict.node, verdict.name.clone())).collect();
    let replicas = found.into_iter().map(|e| explain_replica(e, &names)).collect();
    Ok(ExplainView { deployment: name.clone(), height: view.head().height, replicas })
}

fn explain_replica(e: Explanation, names: &BTreeMap<Address, Name>) -> ExplainReplicaView {
    let named = |a: &Address| names.get(a).map_or_else(|| a.short(), ToString::to_string);
    let (state, reason) = match &e.replica.phase {
        ReplicaPhase::Pending { since_height, reason } => {
            let why =
                format!("waits since height {since_height} because {}; {}", words(*reason), obstacles(&e));
            (ReplicaState::Pending, why)
        }
        ReplicaPhase::Held(held) => {
            let on = format!("node {} holds it since height {}", named(&held.node), held.epoch);
            match held.stop {
                Some(reason) => {
                    (ReplicaState::Stopping, format!("{on} and must stop it: {}", stop_reason(reason)))
                }
                None if held.phase == RunPhase::Assigned => {
                    (ReplicaState::Assigned, format!("{on}, not started yet"))
                }
                None => (ReplicaState::Running, format!("{on} and runs it")),
            }
        }
        ReplicaPhase::Verifying => (ReplicaState::Verifying, verification::sentence(&e.replica, names)),
        ReplicaPhase::Ended { exit, node } => {
            let state = if exit.success() { ReplicaState::Finished } else { ReplicaState::Failed };
            (state, format!("it ran to its end on node {}: {exit}", named(node)))
        }
        ReplicaPhase::Failed { reason } if e.replica.verification.is_some() => {
            (ReplicaState::Failed, reason.to_string())
        }
        ReplicaPhase::Failed { reason } => {
            (ReplicaState::Failed, format!("given up after {} attempts: {reason}", e.replica.attempts))
        }
    };
    let nodes = e.nodes.into_iter().map(|verdict| NodeFitView {
        fits: verdict.fits(),
        score: verdict.rank.map(i64::from),
        rules: verdict
            .rules
            .into_iter()
            .map(|r| RuleView { rule: r.rule.to_owned(), ok: r.ok, detail: r.detail })
            .collect(),
        node: verdict.name,
    });
    ExplainReplicaView { index: e.replica.id.index, state, reason, nodes: nodes.collect() }
}

fn words(reason: PendingReason) -> &'static str {
    match reason {
        PendingReason::New => "it was just asked for",
        PendingReason::NodeLost => "its node was lost",
        PendingReason::Refused => "its node could not run it",
        PendingReason::Ended => "its cage ended although it is a service",
        PendingReason::NodeChanged => "its node registered again with less",
    }
}

/// Why no node takes it: the first rule that each node breaks, counted.
fn obstacles(e: &Explanation) -> String {
    if e.nodes.is_empty() {
        return "no node is registered".to_owned();
    }
    let fitting = e.nodes.iter().filter(|verdict| verdict.fits()).count();
    if fitting > 0 {
        return format!("{fitting} of {} nodes fit: the next block places it", e.nodes.len());
    }
    let mut broken: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in e.nodes.iter().filter_map(|verdict| verdict.rules.iter().find(|rule| !rule.ok)) {
        *broken.entry(rule.rule).or_insert(0) += 1;
    }
    let counts: Vec<String> = broken.iter().map(|(rule, count)| format!("{rule} on {count}")).collect();
    format!("none of {} nodes fits: {}", e.nodes.len(), counts.join(", "))
}

/// The ledger as it was after `height`: the chain up to there, executed again in memory. Every header must
/// come out equal.
pub fn replayed(view: &View<'_>, height: u64) -> Answer<Ledger> {
    if height > MAX_REPLAYED_BLOCKS {
        let why = format!(
            "height {height} would take {height} blocks to execute again, at most {MAX_REPLAYED_BLOCKS} are"
        );
        return Err(BackendError::unsupported(why).next("leave the height out to explain the present"));
    }
    let ledger = Ledger::open(Arc::new(MemStore::new()), view.chain().clone()).map_err(broken)?;
    for h in 1..=height {
        let block = block(view, h)?;
        let context = BlockContext {
            height: h,
            time_ms: block.header.time_ms,
            proposer: block.header.proposer,
            parent: block.header.parent,
            last_commit: block.header.last_commit.clone(),
        };
        let past = ledger.view().map_err(broken)?;
        let executed = execute(&past, &context, &block.txs, Signatures::AlreadyVerified);
        let executed =
            executed.map_err(|e| BackendError::internal(format!("execute block {h} again: {e}")))?;
        drop(past);
        ledger.commit(executed, &block, &certificate(view, h)?, &[]).map_err(broken)?;
    }
    Ok(ledger)
}

/// A replica of a deployment.
pub(super) fn replica(view: &View<'_>, name: &Name, index: u32) -> Answer<ReplicaRecord> {
    let deployment = record(view, name)?;
    let id = ReplicaId { deployment: name.clone(), index };
    view.replica(&id).map_err(broken)?.ok_or_else(|| {
        let why = format!("deployment {name} has no replica {index}; it has {}", deployment.replicas);
        BackendError::not_found(why).next("replicas count from 0")
    })
}
