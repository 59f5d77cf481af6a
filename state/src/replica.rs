//! The life of a replica and the end of a deployment.
//!
//! ```text
//! Pending --place--> Held(Assigned) --Started--> Held(Running) --Exited, job--> Ended
//!    ^                     |                           |
//!    +---- node lost, refused, service ended ----------+---- too often ----> Failed
//! ```
//! A job that several nodes verify is not held but `Verifying`: see `verified`.
//! A stop order removes what is pending at once; what a node holds goes when the node reports the end or is lost.
//! Owns the indices beside the records (pending, by node) and the counters of the deployment, and nothing else
//! changes them.

use crate::draft::Draft;
use crate::error::Result;
use crate::keys;
use crate::limits::{AVOID_MS, MAX_ATTEMPTS, MAX_AVOIDED, STABLE_RUN_MS};
use crate::money;
use crate::records::*;
use crate::verified;
use crate::view::{StateRead, existing, required};
use metanode_types::hash::{Domain, hash};
use metanode_types::ids::{Address, Digest, Name};
use metanode_types::receipt::{Action, ReceiptBody, Subject, UnassignReason};
use metanode_types::tx::ShortText;
use metanode_types::workload::{ReplicaId, Workload};

/// Seed of a replica's cage; public, and the same wherever it runs.
pub fn seed(deployment: &DeploymentRecord, index: u32) -> Digest {
    Digest(hash(Domain::Seed, &[&deployment.agreement.0, &deployment.tx.0, &index.to_be_bytes()]))
}

/// Creates a replica that waits for a node.
pub(crate) fn create(draft: &mut Draft<'_>, deployment: &mut DeploymentRecord, index: u32) {
    let id = ReplicaId { deployment: deployment.name.clone(), index };
    let since_height = draft.block.height;
    draft.put(keys::pending(since_height, &id), &id);
    draft.put_replica(&ReplicaRecord {
        id,
        generation: deployment.generation,
        phase: ReplicaPhase::Pending { since_height, reason: PendingReason::New },
        attempts: 0,
        used: Default::default(),
        restarts: 0,
        verification: None,
    });
    deployment.live += 1;
}

fn wait(draft: &mut Draft<'_>, mut r: ReplicaRecord, reason: PendingReason) {
    assert!(r.assignment().is_none(), "a held replica is released first");
    let since_height = draft.block.height;
    r.phase = ReplicaPhase::Pending { since_height, reason };
    draft.put(keys::pending(since_height, &r.id), &r.id);
    draft.put_replica(&r);
}

/// Gives a pending replica to a node.
pub(crate) fn assign(
    draft: &mut Draft<'_>,
    mut r: ReplicaRecord,
    deployment: &DeploymentRecord,
    workload: &Workload,
    address: Address,
) -> Result<()> {
    let ReplicaPhase::Pending { since_height, .. } = r.phase else {
        unreachable!("only what waits is placed")
    };
    reserve(draft, &r.id, workload, address)?;
    draft.remove(keys::pending(since_height, &r.id));

    let epoch = draft.block.height;
    let mut held = Assignment {
        node: address,
        epoch,
        phase: RunPhase::Assigned,
        stop: None,
        receipt: Default::default(),
        assigned_ms: draft.block.time_ms,
        metered_ms: draft.block.time_ms,
    };
    r.phase = ReplicaPhase::Held(held.clone());
    let action = Action::Assigned {
        node: address,
        epoch,
        workload: deployment.workload,
        image: workload.image.digest,
        seed: seed(deployment, r.id.index),
        clock_ms: deployment.created_ms,
    };
    let subject = Subject::Replica(r.id.clone());
    held.receipt = draft.emit(subject, Digest::default(), r.digest(), ReceiptBody::Action(action))?;
    r.phase = ReplicaPhase::Held(held);
    draft.put_replica(&r);
    Ok(())
}

/// Takes room on a node for one cage of a replica.
pub(crate) fn reserve(draft: &mut Draft<'_>, id: &ReplicaId, w: &Workload, address: Address) -> Result<()> {
    let mut node = required(draft.node(&address)?, "node")?;
    assert_eq!(node.status, NodeStatus::Ready, "only ready nodes are given replicas");
    node.reserved = node.reserved.saturating_add(w.resources);
    node.replicas += 1;
    assert!(node.spec.capacity.checked_sub(node.reserved).is_some(), "no node is given more than it offers");
    draft.put_node(&address, &node);
    draft.put(keys::node_replica(&address, id), id);
    Ok(())
}

/// Gives that room back.
pub(crate) fn free(draft: &mut Draft<'_>, id: &ReplicaId, address: Address) -> Result<()> {
    let workload = required(draft.workload(&id.deployment)?, "workload")?;
    let mut node = required(draft.node(&address)?, "node")?;
    let reserved = node.reserved.checked_sub(workload.resources);
    node.reserved = reserved.expect("what is released was reserved");
    node.replicas = node.replicas.checked_sub(1).expect("a node that holds a replica counts it");
    draft.put_node(&address, &node);
    draft.remove(keys::node_replica(&address, id));
    Ok(())
}

/// Frees what the replica reserved on its node. The caller stores its next phase.
pub(crate) fn release(draft: &mut Draft<'_>, r: &ReplicaRecord) -> Result<Assignment> {
    let held = r.assignment().expect("only a held replica is released").clone();
    free(draft, &r.id, held.node)?;
    Ok(held)
}

/// Takes a replica from its node without a report; it waits for another unless it was to stop.
pub(crate) fn unassign(draft: &mut Draft<'_>, id: &ReplicaId, reason: UnassignReason) -> Result<()> {
    let mut r = existing(draft, id)?;
    let before = r.digest();
    let held = release(draft, &r)?;
    let action = Action::Unassigned { node: held.node, epoch: held.epoch, reason };
    draft.emit(Subject::Replica(id.clone()), before, Digest::default(), ReceiptBody::Action(action))?;
    r.phase = ReplicaPhase::Failed { reason: ShortText::default() };
    if held.stop.is_some() {
        return retire(draft, r);
    }
    let why = match reason {
        UnassignReason::NodeLost => PendingReason::NodeLost,
        _ => PendingReason::NodeChanged,
    };
    wait(draft, r, why);
    Ok(())
}

/// A replica ordered to stop is gone. If it is wanted again since, it waits for a node.
pub(crate) fn retire(draft: &mut Draft<'_>, r: ReplicaRecord) -> Result<()> {
    assert!(r.assignment().is_none(), "a held replica is released first");
    let mut d = required(draft.deployment(&r.id.deployment)?, "deployment")?;
    if d.status == DeploymentStatus::Active && r.id.index < d.replicas {
        wait(draft, r, PendingReason::New);
        return Ok(());
    }
    draft.remove(keys::replica(&r.id));
    d.live = d.live.checked_sub(1).expect("a live replica is counted");
    draft.put_deployment(&d);
    finish_if_done(draft, &d.name)
}

/// Orders one replica to stop.
pub(crate) fn order_stop(draft: &mut Draft<'_>, mut r: ReplicaRecord, reason: UnassignReason) -> Result<()> {
    match &mut r.phase {
        ReplicaPhase::Pending { since_height, .. } => {
            draft.remove(keys::pending(*since_height, &r.id));
            retire(draft, r)
        }
        ReplicaPhase::Held(held) => {
            held.stop.get_or_insert(reason);
            draft.put_replica(&r);
            Ok(())
        }
        ReplicaPhase::Verifying => match verified::cancel(draft, &mut r, reason)? {
            true => retire(draft, r),
            // What somebody has committed to is settled, and ends by that.
            false => Ok(()),
        },
        ReplicaPhase::Failed { .. } => {
            draft.remove(keys::replica(&r.id));
            Ok(())
        }
        ReplicaPhase::Ended { .. } => Ok(()),
    }
}

/// Orders a whole deployment to stop.
pub(crate) fn order_stop_all(draft: &mut Draft<'_>, name: &Name, reason: UnassignReason) -> Result<()> {
    let mut d = required(draft.deployment(name)?, "deployment")?;
    assert_eq!(d.status, DeploymentStatus::Active, "a stop is ordered once");
    let before = d.digest();
    d.status = DeploymentStatus::Stopping(reason);
    draft.put_deployment(&d);
    let action = ReceiptBody::Action(Action::StopOrdered { reason });
    draft.emit(Subject::Deployment(name.clone()), before, d.digest(), action)?;
    for r in draft.replicas(name)? {
        order_stop(draft, r, reason)?;
    }
    finish_if_done(draft, name)
}

/// The node could not run the replica to a result: it waits for another, or is given up.
pub(crate) fn retry(
    draft: &mut Draft<'_>,
    mut r: ReplicaRecord,
    held: &Assignment,
    why: PendingReason,
    said: ShortText,
) -> Result<()> {
    let now = draft.block.time_ms;
    if now.saturating_sub(held.assigned_ms) >= STABLE_RUN_MS {
        r.attempts = 0;
    }
    r.attempts += 1;
    let mut d = required(draft.deployment(&r.id.deployment)?, "deployment")?;
    d.avoided.retain(|a| a.until_ms > now && a.node != held.node);
    d.avoided.truncate(MAX_AVOIDED - 1);
    let until_ms = now.saturating_add(AVOID_MS.saturating_mul(r.attempts.into()));
    d.avoided.push(Avoided { node: held.node, until_ms });
    r.phase = ReplicaPhase::Failed { reason: said };
    if r.attempts < MAX_ATTEMPTS {
        draft.put_deployment(&d);
        wait(draft, r, why);
        return Ok(());
    }
    draft.put_replica(&r);
    d.live = d.live.checked_sub(1).expect("a live replica is counted");
    d.failed += u32::from(d.job);
    draft.put_deployment(&d);
    finish_if_done(draft, &d.name)
}

/// Counts the end of a job's replica.
pub(crate) fn count_end(draft: &mut Draft<'_>, name: &Name, success: bool) -> Result<()> {
    let mut d = required(draft.deployment(name)?, "deployment")?;
    assert!(d.job, "only a job's replica ends by itself");
    d.live = d.live.checked_sub(1).expect("a live replica is counted");
    d.succeeded += u32::from(success);
    d.failed += u32::from(!success);
    draft.put_deployment(&d);
    finish_if_done(draft, name)
}

/// Ends a deployment of which nothing is left to run, and returns its escrow.
fn finish_if_done(draft: &mut Draft<'_>, name: &Name) -> Result<()> {
    let mut d = required(draft.deployment(name)?, "deployment")?;
    let over = match d.status {
        DeploymentStatus::Active => d.job,
        DeploymentStatus::Stopping(_) => true,
        DeploymentStatus::Finished { .. } => false,
    };
    if d.live > 0 || !over {
        return Ok(());
    }
    let before = d.digest();
    let (succeeded, failed, at_ms) = (d.succeeded, d.failed, draft.block.time_ms);
    d.status = DeploymentStatus::Finished { succeeded, failed, at_ms };
    d.avoided.clear();
    draft.put_deployment(&d);
    let action = ReceiptBody::Action(Action::Finished { succeeded, failed });
    draft.emit(Subject::Deployment(name.clone()), before, d.digest(), action)?;
    money::refund(draft, &mut d)?;
    expire_if_over(draft, &d);
    Ok(())
}

/// Lets the records of a finished deployment expire when nothing of it can be challenged any more.
pub(crate) fn expire_if_over(draft: &mut Draft<'_>, d: &DeploymentRecord) {
    let DeploymentStatus::Finished { at_ms, .. } = d.status else { return };
    if d.open == 0 {
        let at = at_ms.saturating_add(draft.params().retention_ms);
        draft.put(keys::expiry(at, &d.name), &(d.name.clone(), d.generation));
    }
}
