//! Stops the sender's deployment.

use crate::draft::{Draft, Step};
use crate::failure::{Code, Failure, ensure};
use crate::machine::Call;
use crate::records::{DeploymentRecord, DeploymentStatus};
use crate::replica;
use crate::tx::pay_fee;
use crate::view::StateRead;
use metanode_types::ids::{Address, Name};
use metanode_types::receipt::UnassignReason;

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, name: &Name) -> Step {
    owned_and_active(draft, &call.sender, name)?;
    pay_fee(draft, call)?;
    replica::order_stop_all(draft, name, UnassignReason::Stopped)?;
    Ok(())
}

/// The sender's deployment of this name, while it is wanted.
pub(super) fn owned_and_active(
    state: &impl StateRead,
    sender: &Address,
    name: &Name,
) -> Step<DeploymentRecord> {
    let d = state.deployment(name)?;
    let d =
        d.ok_or_else(|| Failure::new(Code::UnknownDeployment, format!("there is no deployment {name}")))?;
    ensure(d.owner == *sender, Code::NotOwner, || format!("deployment {name} is not the sender's"))?;
    let active = d.status == DeploymentStatus::Active;
    ensure(active, Code::NotActive, || format!("deployment {name} is stopping or finished"))?;
    Ok(d)
}
