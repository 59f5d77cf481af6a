//! A node reports on a replica that it holds.
//!
//! The epoch fences: only the node that holds the replica, under the epoch of its assignment, changes anything.
//! [`check`] holds every reason to fail, because a report that would not fail is free. Use is paid here: never more
//! than the declared limits times the block time that passed.

use crate::draft::{self, Draft};
use crate::failure::{Code, Failure, ensure};
use crate::limits::FREE_INTERVAL_DIVISOR;
use crate::machine::Call;
use crate::money;
use crate::records::*;
use crate::replica;
use crate::schedule;
use crate::tx::pay_fee;
use crate::verified;
use crate::view::{StateRead, required};
use metanode_types::cage_report::{CageReport, ExitStatus, inputs_digest};
use metanode_types::ids::Address;
use metanode_types::level::CageLevel;
use metanode_types::params::Usage;
use metanode_types::receipt::{Action, ReceiptBody, Subject, UnassignReason};
use metanode_types::tx::{ReplicaEvent, Report, ShortText};
use metanode_types::workload::{ReplicaId, Workload, WorkloadKind};

/// A report that will not fail, with what it is about.
pub(crate) struct Checked {
    replica: ReplicaRecord,
    held: Assignment,
    workload: Workload,
    /// Use to pay for, after the cap.
    usage: Usage,
}

/// Every reason for which a report can fail.
pub(crate) fn check(
    state: &impl StateRead,
    now: u64,
    sender: Address,
    report: &Report,
) -> draft::Step<Checked> {
    let id = &report.replica;
    let replica = state.replica(id)?;
    let replica =
        replica.ok_or_else(|| Failure::new(Code::UnknownReplica, format!("there is no replica {id}")))?;
    let (held, execution) = (replica.assignment().cloned(), running(&replica, &sender));
    if held.is_none() && execution.is_some() && report.event != ReplicaEvent::Started {
        let why = "the end of this run is committed to and revealed, not reported";
        return Err(Failure::new(Code::WrongEvent, why).into());
    }
    let held = held.or(execution);
    let held = held.ok_or_else(|| Failure::new(Code::NotAssigned, format!("no node holds replica {id}")))?;
    ensure(held.epoch == report.epoch, Code::StaleEpoch, || {
        format!("replica {id} is held under epoch {}, the report is of epoch {}", held.epoch, report.epoch)
    })?;
    ensure(held.node == sender, Code::OtherNode, || {
        format!("replica {id} is held by {}", held.node.short())
    })?;
    let deployment = required(state.deployment(&id.deployment)?, "deployment")?;
    let workload = required(state.workload(&id.deployment)?, "workload")?;
    let usage = check_event(state, now, &deployment, &workload, &held, report)?;
    Ok(Checked { replica, held, workload, usage })
}

/// The run of a verified replica on a node, as an assignment.
pub(crate) fn running(r: &ReplicaRecord, node: &Address) -> Option<Assignment> {
    let execution = r.open_verification()?.execution_of(node)?;
    let Step::Running(phase) = execution.step else { return None };
    Some(Assignment {
        node: *node,
        epoch: execution.epoch,
        phase,
        stop: None,
        receipt: execution.receipt,
        assigned_ms: execution.assigned_ms,
        metered_ms: execution.assigned_ms,
    })
}

fn check_event(
    state: &impl StateRead,
    now: u64,
    d: &DeploymentRecord,
    w: &Workload,
    held: &Assignment,
    report: &Report,
) -> Result<Usage, Failure> {
    let wrong = |why: &str| Err(Failure::new(Code::WrongEvent, why));
    match &report.event {
        ReplicaEvent::Started => {
            let new = held.phase == RunPhase::Assigned;
            ensure(new, Code::NoChange, || "it was reported as started before".into())?;
        }
        ReplicaEvent::Health { healthy } => {
            let WorkloadKind::Service { health: Some(_) } = w.kind else {
                return wrong("it has no health check");
            };
            let RunPhase::Running(known) = held.phase else { return wrong("it was not reported as started") };
            ensure(known != Some(*healthy), Code::NoChange, || "its health is known".into())?;
        }
        ReplicaEvent::Metered { usage } => {
            if d.job || held.phase == RunPhase::Assigned {
                return wrong("only a running service is metered; a job's use is in its cage report");
            }
            let least = state.params().heartbeat_interval_ms / FREE_INTERVAL_DIVISOR;
            let due = held.stop.is_some() || now.saturating_sub(held.metered_ms) >= least;
            ensure(due, Code::TooSoon, || format!("the last metering is less than {least} ms ago"))?;
            let usage = cap(w, usage, now.saturating_sub(held.metered_ms));
            ensure(usage != Usage::default(), Code::NoChange, || "no use to pay for".into())?;
            return Ok(usage);
        }
        ReplicaEvent::Exited { report: cage, .. } => {
            ran_as_assigned(d, w, &report.replica, cage)?;
            if let WorkloadKind::Job { timeout_ms } = w.kind {
                let elapsed = now.saturating_sub(held.metered_ms).min(timeout_ms);
                return Ok(cap(w, &cage.usage, elapsed));
            }
        }
        ReplicaEvent::Refused { .. } => {}
    }
    Ok(Usage::default())
}

/// The report is of the assigned image on the assigned inputs.
pub(crate) fn ran_as_assigned(
    d: &DeploymentRecord,
    w: &Workload,
    id: &ReplicaId,
    cage: &CageReport,
) -> Result<(), Failure> {
    let image = w.image.digest;
    ensure(cage.image == image, Code::OtherImage, || format!("ran {}, assigned was {image}", cage.image))?;
    let inputs = inputs_digest(&d.workload, &replica::seed(d, id.index), d.created_ms);
    ensure(cage.inputs == inputs, Code::OtherImage, || "ran on other inputs than assigned".into())
}

/// At most the declared limits over the elapsed time.
pub(crate) fn cap(w: &Workload, usage: &Usage, elapsed_ms: u64) -> Usage {
    let most = at_limits(w, elapsed_ms);
    Usage { cpu_ms: usage.cpu_ms.min(most.cpu_ms), memory_mib_s: usage.memory_mib_s.min(most.memory_mib_s) }
}

/// Use of one replica at its limits.
pub(crate) fn at_limits(w: &Workload, elapsed_ms: u64) -> Usage {
    let fit = |v: u128| u64::try_from(v).unwrap_or(u64::MAX);
    let elapsed = u128::from(elapsed_ms);
    let mib = u128::from(w.resources.memory_bytes.div_ceil(1 << 20));
    Usage {
        cpu_ms: fit(u128::from(w.resources.cpu_milli) * elapsed / 1000),
        memory_mib_s: fit(mib * elapsed / 1000),
    }
}

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, report: &Report) -> draft::Step {
    let checked = check(draft, draft.block.time_ms, call.sender, report)?;
    pay_fee(draft, call)?;
    match &report.event {
        ReplicaEvent::Started => started(draft, checked),
        ReplicaEvent::Health { healthy } => health(draft, checked, *healthy),
        ReplicaEvent::Metered { .. } => metered(draft, checked),
        ReplicaEvent::Exited { report, restarts } => exited(draft, checked, report, *restarts),
        ReplicaEvent::Refused { reason } => refused(draft, checked, reason),
    }
}

fn set_phase(draft: &mut Draft<'_>, c: Checked, phase: RunPhase, action: Action) -> draft::Step {
    let mut r = c.replica;
    let before = r.digest();
    r.phase = ReplicaPhase::Held(Assignment { phase, ..c.held });
    draft.put_replica(&r);
    draft.emit(Subject::Replica(r.id.clone()), before, r.digest(), ReceiptBody::Action(action))?;
    Ok(())
}

fn started(draft: &mut Draft<'_>, c: Checked) -> draft::Step {
    let (node, epoch, assignment) = (c.held.node, c.held.epoch, c.held.receipt);
    let action = Action::Started { node, epoch, assignment, image: c.workload.image.digest };
    if c.replica.assignment().is_none() {
        return Ok(verified::started(draft, &c.replica.id, &node, action)?);
    }
    set_phase(draft, c, RunPhase::Running(None), action)
}

fn health(draft: &mut Draft<'_>, c: Checked, healthy: bool) -> draft::Step {
    let (node, epoch, assignment) = (c.held.node, c.held.epoch, c.held.receipt);
    let action = Action::Health { node, epoch, assignment, healthy };
    set_phase(draft, c, RunPhase::Running(Some(healthy)), action)
}

pub(crate) fn add_use(r: &mut ReplicaRecord, usage: &Usage) {
    r.used.cpu_ms = r.used.cpu_ms.saturating_add(usage.cpu_ms);
    r.used.memory_mib_s = r.used.memory_mib_s.saturating_add(usage.memory_mib_s);
}

fn metered(draft: &mut Draft<'_>, c: Checked) -> draft::Step {
    let mut r = c.replica;
    add_use(&mut r, &c.usage);
    r.phase = ReplicaPhase::Held(Assignment { metered_ms: draft.block.time_ms, ..c.held.clone() });
    draft.put_replica(&r);
    let mut d = required(draft.deployment(&r.id.deployment)?, "deployment")?;
    let lasts = money::charge(draft, &mut d, &r.id, c.held.node, c.usage)?;
    if !lasts && d.status == DeploymentStatus::Active {
        replica::order_stop_all(draft, &d.name, UnassignReason::EscrowUsedUp)?;
    }
    Ok(())
}

/// True when the run says something about the program, at the level that was demanded. What can be run again must
/// have run on the class of machines that the node registered as, or nobody could.
fn has_verdict(w: &Workload, demanded: CageLevel, node: &NodeRecord, report: &CageReport) -> bool {
    let comparable = demanded < CageLevel::Pinned || report.machine == node.spec.machine;
    let ran = !matches!(report.exit, ExitStatus::CageFailed(_)) && report.level >= demanded;
    ran && (comparable || !w.is_job())
}

fn exited(draft: &mut Draft<'_>, c: Checked, report: &CageReport, restarts: u32) -> draft::Step {
    let Checked { mut replica, held, workload, usage } = c;
    let action = Action::Exited {
        node: held.node,
        epoch: held.epoch,
        assignment: held.receipt,
        report: report.clone(),
        restarts,
    };
    let demanded = schedule::demanded_level(&workload, draft.params());
    let verdict = has_verdict(&workload, demanded, &required(draft.node(&held.node)?, "node")?, report);
    let challengeable = workload.is_job() && verdict && report.has_verdict() && demanded >= CageLevel::Pinned;
    let open = challengeable.then_some((&held, report, usage));
    leave(draft, &mut replica, action, restarts, open)?;
    let id = replica.id.clone();
    if workload.is_job() && verdict {
        add_use(&mut replica, &usage);
        replica.phase = ReplicaPhase::Ended { exit: report.exit.clone(), node: held.node };
        draft.put_replica(&replica);
        let mut d = required(draft.deployment(&id.deployment)?, "deployment")?;
        money::charge(draft, &mut d, &id, held.node, usage)?;
        return Ok(replica::count_end(draft, &id.deployment, report.exit.success())?);
    }
    if held.stop.is_some() {
        return Ok(replica::retire(draft, replica)?);
    }
    let said = ShortText::new(report.exit.to_string());
    Ok(replica::retry(draft, replica, &held, PendingReason::Ended, said)?)
}

fn refused(draft: &mut Draft<'_>, c: Checked, reason: &ShortText) -> draft::Step {
    let Checked { mut replica, held, .. } = c;
    let action = Action::Refused {
        node: held.node,
        epoch: held.epoch,
        assignment: held.receipt,
        reason: reason.clone(),
    };
    let restarts = replica.restarts;
    leave(draft, &mut replica, action, restarts, None)?;
    if held.stop.is_some() {
        return Ok(replica::retire(draft, replica)?);
    }
    Ok(replica::retry(draft, replica, &held, PendingReason::Refused, reason.clone())?)
}

/// The replica leaves its node by the node's own report; a result that may be challenged is kept `open`.
fn leave(
    draft: &mut Draft<'_>,
    r: &mut ReplicaRecord,
    action: Action,
    restarts: u32,
    open: Option<(&Assignment, &CageReport, Usage)>,
) -> draft::Step {
    let before = r.digest();
    replica::release(draft, r)?;
    r.restarts = restarts;
    r.phase = ReplicaPhase::Failed { reason: ShortText::default() };
    if let Some((held, report, usage)) = open {
        verified::open_single(draft, r, held, report, usage)?;
    }
    draft.put_replica(r);
    let subject = Subject::Replica(r.id.clone());
    draft.emit(subject, before, r.digest(), ReceiptBody::Action(action))?;
    Ok(())
}
