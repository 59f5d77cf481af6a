//! Changes the number of replicas of the sender's service, and adds to its escrow.
//!
//! Scaling down stops the highest indices; scaling up again before they are gone takes the same indices back.

use crate::draft::{Draft, Step};
use crate::failure::{Code, ensure};
use crate::machine::Call;
use crate::money;
use crate::records::ReplicaPhase;
use crate::replica;
use crate::tx::{pay_fee, stop};
use crate::view::{StateRead, required};
use metanode_types::ids::Name;
use metanode_types::limits::MAX_REPLICAS;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, ReceiptBody, Subject, UnassignReason};
use metanode_types::workload::ReplicaId;

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, name: &Name, replicas: u32, deposit: Amount) -> Step {
    let mut d = stop::owned_and_active(draft, &call.sender, name)?;
    ensure(!d.job, Code::JobNotScalable, || "a job runs the replicas it was deployed with".into())?;
    ensure((1..=MAX_REPLICAS).contains(&replicas), Code::BadReplicas, || {
        format!("{replicas} replicas; from 1 to {MAX_REPLICAS} are possible (to end a service, stop it)")
    })?;
    let from = d.replicas;
    ensure(replicas != from || deposit > Amount::ZERO, Code::NothingToScale, || {
        "neither replicas nor deposit change".into()
    })?;
    let before = d.digest();
    if deposit > Amount::ZERO {
        let fee = call.fee.expect("only heartbeats and reports are ever free");
        money::escrow(draft, call.sender, name.clone(), deposit, fee)?;
        d.escrow = d.escrow.checked_add(deposit).expect("amounts below the supply");
    } else {
        pay_fee(draft, call)?;
    }
    d.replicas = replicas;
    for index in from..replicas {
        let id = ReplicaId { deployment: name.clone(), index };
        match draft.replica(&id)?.map(|r| r.phase) {
            // It is still being stopped: it waits for a node again when it is gone.
            Some(ReplicaPhase::Held(_)) => {}
            _ => replica::create(draft, &mut d, index),
        }
    }
    draft.put_deployment(&d);
    let action = ReceiptBody::Action(Action::Scaled { from, to: replicas });
    draft.emit(Subject::Deployment(name.clone()), before, d.digest(), action)?;
    for index in replicas..from {
        let id = ReplicaId { deployment: name.clone(), index };
        let r = required(draft.replica(&id)?, "replica")?;
        replica::order_stop(draft, r, UnassignReason::ScaledDown)?;
    }
    Ok(())
}
