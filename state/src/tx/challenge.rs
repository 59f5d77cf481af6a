//! Somebody doubts a finished job: a node that has not run it runs it once more.

use crate::draft::{Draft, Step};
use crate::failure::{Code, Failure, ensure};
use crate::limits::MAX_VOID_CHALLENGES;
use crate::machine::Call;
use crate::records::{Execution, Stage};
use crate::schedule;
use crate::tx::deploy::minimum_deposit;
use crate::verified;
use crate::view::{StateRead, required};
use metanode_types::ids::Address;
use metanode_types::quantity::Amount;
use metanode_types::workload::ReplicaId;

/// What a challenger must put up at least: the chain's bond, and the price of one more run at its limits.
pub fn minimum_bond(state: &impl StateRead, id: &ReplicaId) -> crate::Result<Option<Amount>> {
    let Some(workload) = state.workload(&id.deployment)? else { return Ok(None) };
    let one = metanode_types::workload::Workload { verify: 0, ..workload };
    let run = minimum_deposit(state, &one, 1);
    Ok(run.and_then(|run| run.checked_add(state.params().verify.bond)))
}

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, id: &ReplicaId, bond: Amount) -> Step {
    let replica = draft.replica(id)?;
    let replica =
        replica.ok_or_else(|| Failure::new(Code::UnknownReplica, format!("there is no replica {id}")))?;
    let refuse = |why: &str| Err(Failure::new(Code::NotChallengeable, why).into());
    let Some(v) = &replica.verification else {
        return refuse("only a job that ran at level pinned or above can be challenged, after its end");
    };
    match v.stage {
        Stage::Open { .. } if v.void.len() < MAX_VOID_CHALLENGES => {}
        Stage::Open { .. } => return refuse("too many runs for a challenge came to no verdict"),
        Stage::Challenged { .. } => return refuse("it is being challenged"),
        Stage::Closed => return refuse("it is closed: the time for a challenge is over, or it was decided"),
        Stage::Committing { .. } | Stage::Revealing { .. } => return refuse("it is not settled yet"),
    }
    let least = required(minimum_bond(draft, id)?, "price of a run")?;
    ensure(bond >= least, Code::BondTooSmall, || {
        format!("a bond of {bond}, at least {least} for the chain's bond and one more run")
    })?;
    let mut barred: Vec<Address> = v.executions.iter().map(|e: &Execution| e.node).collect();
    barred.extend(&v.void);
    barred.push(call.sender);
    let found = schedule::another(draft, id, &v.machine, &barred)?;
    let node = found.map_err(|why| Failure::new(Code::NoOtherNode, why))?;
    verified::challenge(draft, call, id, bond, node)
}
