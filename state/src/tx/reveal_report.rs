//! A node opens its commitment, once nobody can commit any more.
//!
//! [`check`] holds every reason to fail, because a reveal that would not fail is free.

use super::commit_report::execution;
use crate::draft::{Draft, Step};
use crate::failure::{Code, Failure, ensure};
use crate::machine::Call;
use crate::records::Stage;
use crate::tx::pay_fee;
use crate::tx::report::ran_as_assigned;
use crate::verified;
use crate::view::{StateRead, required};
use metanode_types::cage_report::{CageReport, commitment};
use metanode_types::ids::{Address, Digest};
use metanode_types::workload::ReplicaId;

/// Every reason for which a reveal can fail.
pub(crate) fn check(
    state: &impl StateRead,
    sender: Address,
    id: &ReplicaId,
    epoch: u64,
    report: &CageReport,
    salt: &Digest,
) -> Step {
    let (verification, own) = execution(state, sender, id, epoch)?;
    let committed = match own.step {
        crate::records::Step::Committed { commitment, .. } => commitment,
        crate::records::Step::Running(_) => {
            return Err(Failure::new(Code::WrongStage, "this node has not committed").into());
        }
        crate::records::Step::Over { .. } => {
            return Err(Failure::new(Code::NoChange, "this node's run is over").into());
        }
    };
    let open = !matches!(verification.stage, Stage::Committing { .. });
    ensure(open, Code::WrongStage, || "reveals open when every node has committed or was too late".into())?;
    let opened = commitment(report, salt, &sender, id, epoch);
    ensure(opened == committed, Code::OtherCommitment, || {
        format!("the report opens {opened}, committed was {committed}")
    })?;
    let deployment = required(state.deployment(&id.deployment)?, "deployment")?;
    let workload = required(state.workload(&id.deployment)?, "workload")?;
    Ok(ran_as_assigned(&deployment, &workload, id, report)?)
}

pub(crate) fn run(
    draft: &mut Draft<'_>,
    call: &Call,
    id: &ReplicaId,
    epoch: u64,
    report: &CageReport,
    salt: Digest,
) -> Step {
    check(draft, call.sender, id, epoch, report, &salt)?;
    pay_fee(draft, call)?;
    Ok(verified::reveal(draft, id, call.sender, report, salt)?)
}
