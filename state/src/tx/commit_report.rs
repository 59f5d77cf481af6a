//! A node that runs a verified job commits to its report before anybody's is known.
//!
//! [`check`] holds every reason to fail, because a commitment that would not fail is free.

use crate::draft::{Draft, Step};
use crate::failure::{Code, Failure, ensure};
use crate::machine::Call;
use crate::records::*;
use crate::tx::pay_fee;
use crate::verified;
use crate::view::StateRead;
use metanode_types::ids::{Address, Digest};
use metanode_types::workload::ReplicaId;

/// The sender's run of a replica under an epoch, with what it is a part of.
pub(crate) fn execution(
    state: &impl StateRead,
    sender: Address,
    id: &ReplicaId,
    epoch: u64,
) -> Step<(Verification, Execution)> {
    let replica = state.replica(id)?;
    let replica =
        replica.ok_or_else(|| Failure::new(Code::UnknownReplica, format!("there is no replica {id}")))?;
    let verification = replica.open_verification();
    let verification = verification.ok_or_else(|| {
        Failure::new(Code::NotAssigned, format!("no runs of replica {id} are compared now"))
    })?;
    let own = verification.execution_of(&sender);
    let own = own.ok_or_else(|| {
        Failure::new(Code::OtherNode, format!("replica {id} is run by others than {}", sender.short()))
    })?;
    ensure(own.epoch == epoch, Code::StaleEpoch, || {
        format!("this node runs replica {id} under epoch {}, not {epoch}", own.epoch)
    })?;
    Ok((verification.clone(), own.clone()))
}

/// Every reason for which a commitment can fail.
pub(crate) fn check(state: &impl StateRead, sender: Address, id: &ReplicaId, epoch: u64) -> Step {
    let (_, own) = execution(state, sender, id, epoch)?;
    let why = match own.step {
        crate::records::Step::Running(_) => return Ok(()),
        crate::records::Step::Committed { .. } => "this node has committed",
        crate::records::Step::Over { .. } => "this node's run is over",
    };
    Err(Failure::new(Code::NoChange, why).into())
}

pub(crate) fn run(
    draft: &mut Draft<'_>,
    call: &Call,
    id: &ReplicaId,
    epoch: u64,
    commitment: Digest,
) -> Step {
    check(draft, call.sender, id, epoch)?;
    pay_fee(draft, call)?;
    Ok(verified::commit(draft, id, call.sender, commitment)?)
}
