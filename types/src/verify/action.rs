//! POA and POE: who did it and under which assignment, and what the cage measured.

use super::{Check, Outcome, Status, assignment_of, check, ensure, verified};
use crate::bundle::{Bundle, Cause, MAX_CORE_BODY_BYTES};
use crate::cage_report::{CageReport, inputs_digest};
use crate::codec;
use crate::receipt::{Action, EconomicKind, Receipt, ReceiptBody, Subject};
use crate::tx::{ReplicaEvent, TxBody};

const POA: &str = "Proof of Action: signed by who did it, under a certified assignment";
const POE: &str = "Proof of Execution: the cage ran the assigned image on the assigned inputs";

/// Proof of Action.
pub(super) fn poa(bundle: &Bundle) -> Check {
    let receipt = &bundle.receipts[0].receipt;
    match (&receipt.tx, &bundle.cause) {
        (None, None) => Check {
            name: "POA",
            title: POA,
            status: Status::NotApplicable(
                "the state machine did this by itself; its authority is the certificate".into(),
            ),
        },
        (None, Some(_)) => {
            check("POA", POA, Err("the bundle shows a transaction that the receipt does not name".into()))
        }
        (Some(_), None) => check("POA", POA, Err("the causing transaction is not in the bundle".into())),
        (Some(_), Some(cause)) => check("POA", POA, signed(bundle, receipt, cause)),
    }
}

fn signed(bundle: &Bundle, receipt: &Receipt, cause: &Cause) -> Outcome {
    let id = cause.envelope.id();
    ensure(Some(id) == receipt.tx, || format!("the transaction is {id}, the receipt names another"))?;
    ensure(cause.envelope.chain_id == bundle.header.chain_id, || {
        "the transaction is for another chain".into()
    })?;
    let sender = cause.envelope.sender;
    ensure(cause.key.address() == sender, || "the key is not the sender's".into())?;
    cause.key.verify(&id.0, &cause.signature).map_err(|e| e.to_string())?;
    match &cause.body {
        Some(body) => {
            ensure(body.digest() == cause.envelope.body_hash, || {
                "the body is not the one that was signed".into()
            })?;
            let small = codec::encode(body).len() <= MAX_CORE_BODY_BYTES;
            ensure(small, || "a body this long is not part of a core bundle".into())?;
            matches_receipt(receipt, body)?;
        }
        None => ensure(!is_report(receipt), || "a report's body must be in the bundle".into())?,
    }
    let who = format!("transaction {} signed by {}", id.short(), sender.short());
    let ReceiptBody::Action(action) = &receipt.body else { return Ok(who) };
    if action.assignment().is_none() {
        return Ok(who);
    }
    let epoch = assigned(bundle, receipt, action, sender)?;
    Ok(format!("{who}, the node assigned under epoch {epoch}"))
}

fn is_report(receipt: &Receipt) -> bool {
    matches!(&receipt.body, ReceiptBody::Action(a) if a.assignment().is_some())
}

/// The signer holds the assignment that the action names.
fn assigned(
    bundle: &Bundle,
    receipt: &Receipt,
    action: &Action,
    sender: crate::ids::Address,
) -> Result<u64, String> {
    let assignment = assignment_of(bundle, action).ok_or("the assignment is not in the bundle")?;
    ensure(assignment.subject == receipt.subject, || "the assignment is of another replica".into())?;
    let ReceiptBody::Action(Action::Assigned { node, epoch, .. }) = &assignment.body else {
        return Err("the receipt named as assignment is none".into());
    };
    let acted = action.node_epoch().ok_or("the action names no node")?;
    ensure(acted == (*node, *epoch), || {
        "the action's node and epoch are not those of the assignment".into()
    })?;
    ensure(sender == *node, || format!("signed by {sender}, but {node} is assigned"))?;
    Ok(*epoch)
}

/// What the transaction asked for is what the receipt says happened.
fn matches_receipt(receipt: &Receipt, body: &TxBody) -> Result<(), String> {
    let fail = |what: &str| Err(format!("the receipt's {what} is not what the transaction says"));
    match (&receipt.body, body) {
        (ReceiptBody::Action(action), TxBody::Report(report)) => {
            if action.assignment().is_none() {
                return Ok(());
            }
            if receipt.subject != Subject::Replica(report.replica.clone()) {
                return fail("replica");
            }
            if action.node_epoch().map(|(_, e)| e) != Some(report.epoch) {
                return fail("epoch");
            }
            let same = match (action, &report.event) {
                (Action::Started { .. }, ReplicaEvent::Started) => true,
                (Action::Health { healthy, .. }, ReplicaEvent::Health { healthy: h }) => healthy == h,
                (
                    Action::Exited { report: r, restarts, .. },
                    ReplicaEvent::Exited { report, restarts: n },
                ) => r == report && restarts == n,
                (Action::Refused { reason, .. }, ReplicaEvent::Refused { reason: r }) => reason == r,
                _ => false,
            };
            if same { Ok(()) } else { fail("event") }
        }
        (ReceiptBody::Action(action), TxBody::CommitReport { replica, epoch, commitment }) => {
            let Action::Committed { epoch: e, commitment: c, .. } = action else { return Ok(()) };
            let same = receipt.subject == Subject::Replica(replica.clone()) && e == epoch && c == commitment;
            if same { Ok(()) } else { fail("commitment") }
        }
        (ReceiptBody::Action(action), TxBody::RevealReport { replica, epoch, report, salt }) => {
            let Action::Revealed { epoch: e, report: r, salt: s, .. } = action else { return Ok(()) };
            let subject = receipt.subject == Subject::Replica(replica.clone());
            let same = subject && e == epoch && r == report && s == salt;
            if same { Ok(()) } else { fail("report") }
        }
        (ReceiptBody::Action(Action::Deployed { workload, image, replicas, .. }), TxBody::Deploy(spec)) => {
            let same = *workload == spec.workload.digest()
                && *image == spec.workload.image.digest
                && *replicas == spec.replicas;
            if same { Ok(()) } else { fail("workload") }
        }
        (ReceiptBody::Economic(e), TxBody::Transfer { to, amount }) => match &e.kind {
            EconomicKind::Transfer { to: t, amount: a, .. } if t == to && a == amount => Ok(()),
            EconomicKind::Fee { .. } => Ok(()),
            _ => fail("transfer"),
        },
        _ => Ok(()),
    }
}

/// Proof of Execution.
pub(super) fn poe(bundle: &Bundle) -> Check {
    let receipt = &bundle.receipts[0].receipt;
    match &receipt.body {
        ReceiptBody::Action(action @ Action::Exited { report, .. }) => {
            check("POE", POE, executed(bundle, action, report))
        }
        ReceiptBody::Action(action @ Action::Revealed { .. }) => {
            check("POE", POE, verified::revealed(bundle, receipt, action))
        }
        ReceiptBody::Action(action @ Action::Settled { .. }) => {
            check("POE", POE, verified::settled(bundle, action))
        }
        ReceiptBody::Action(action @ Action::Unsettled { .. }) => {
            check("POE", POE, verified::unsettled(action))
        }
        ReceiptBody::Action(action @ Action::ChallengeDecided { .. }) => {
            check("POE", POE, verified::decided(bundle, action))
        }
        _ => Check {
            name: "POE",
            title: POE,
            status: Status::NotApplicable("only the end of a cage run carries an execution".into()),
        },
    }
}

fn executed(bundle: &Bundle, action: &Action, report: &CageReport) -> Outcome {
    Ok(format!("{}; reported by the node, not re-executed", ran_as_assigned(bundle, action, report)?))
}

/// The report is of the assigned image on the assigned inputs; what it says.
pub(super) fn ran_as_assigned(bundle: &Bundle, action: &Action, report: &CageReport) -> Outcome {
    let assignment = assignment_of(bundle, action).ok_or("the assignment is not in the bundle")?;
    let ReceiptBody::Action(Action::Assigned { workload, image, seed, clock_ms, .. }) = &assignment.body
    else {
        return Err("the receipt named as assignment is none".into());
    };
    ensure(report.image == *image, || format!("ran image {}, assigned was {image}", report.image))?;
    let inputs = inputs_digest(workload, seed, *clock_ms);
    ensure(report.inputs == inputs, || format!("ran on inputs {}, assigned were {inputs}", report.inputs))?;
    let output = report.output.map_or("no writable tree".into(), |d| format!("output {}", d.short()));
    let witness = match &report.witness {
        Some(w) => format!("witness {} of {} entries", w.root.short(), w.entries),
        None => format!("no witness at level {}", report.level),
    };
    Ok(format!(
        "level {} reached, {}, image {}, stdout {}, {output}, {witness}",
        report.level,
        report.exit,
        image.short(),
        report.stdout.short()
    ))
}
