//! A node says that it is alive.
//!
//! Free within the quota of [`crate::validity`]. Makes no receipt unless the node was lost: a receipt per heartbeat
//! would be most of the log.

use crate::draft::{Draft, Step};
use crate::failure::{Code, Failure};
use crate::machine::Call;
use crate::node_life;
use crate::tx::pay_fee;
use crate::view::StateRead;
use metanode_types::receipt::{Action, ReceiptBody, Subject};
use metanode_types::workload::Resources;

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, boot_id: u64, free: Resources) -> Step {
    let node = draft.node(&call.sender)?;
    let mut node = node.ok_or_else(|| Failure::new(Code::NotANode, "the sender is not a registered node"))?;
    pay_fee(draft, call)?;
    let before = node.digest(&call.sender);
    let returned = node_life::heard(draft, &call.sender, &mut node);
    node.boot_id = boot_id;
    node.free = free;
    draft.put_node(&call.sender, &node);
    if returned {
        let action = ReceiptBody::Action(Action::NodeReturned { boot_id });
        draft.emit(Subject::Node(call.sender), before, node.digest(&call.sender), action)?;
    }
    Ok(())
}
