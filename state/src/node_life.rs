//! When a node counts as alive.
//!
//! Owns the clock of node life, *chain-alive time*: every block adds at most the idle interval, so a chain that stood
//! still for an hour does not find its nodes lost when it resumes. Silence for the node timeout of that time makes a
//! node lost: what it held waits for another node under a new epoch. Costs nothing per block while all are heard of.

use crate::draft::Draft;
use crate::error::Result;
use crate::keys;
use crate::limits::MAX_LOST_PER_BLOCK;
use crate::records::*;
use crate::replica;
use crate::store::Column;
use crate::view::{StateRead, address_at, required};
use metanode_types::ids::Address;
use metanode_types::receipt::{Action, ReceiptBody, Subject, UnassignReason};

/// Takes note that a node was heard of; true if it was lost. The caller stores the record.
pub(crate) fn heard(draft: &mut Draft<'_>, address: &Address, node: &mut NodeRecord) -> bool {
    draft.remove(keys::heartbeat_due(node.heard_alive_ms, address));
    let returned = node.status == NodeStatus::Lost;
    node.status = NodeStatus::Ready;
    node.heard_ms = draft.block.time_ms;
    node.heard_alive_ms = draft.alive_ms;
    draft.put(keys::heartbeat_due(node.heard_alive_ms, address), &());
    returned
}

/// Declares lost who was silent for the node timeout.
pub(crate) fn lose_silent_nodes(draft: &mut Draft<'_>) -> Result<()> {
    let timeout = draft.params().node_timeout_ms;
    let Some(silent_since) = draft.alive_ms.checked_sub(timeout) else { return Ok(()) };
    let all = keys::Key { column: Column::HeartbeatDue, bytes: Vec::new() };
    let mut silent = Vec::new();
    // Oldest first, so the first row says whether there is anything to do.
    let limit = if anyone_silent(draft, &all, silent_since)? { MAX_LOST_PER_BLOCK } else { 0 };
    for (key, _) in draft.first_rows(&all, limit)? {
        let heard = keys::leading_number(&key).unwrap_or(0);
        if heard > silent_since {
            break;
        }
        silent.push((heard, address_at(&key, 8)?));
    }
    silent.into_iter().try_for_each(|(heard, address)| lose(draft, heard, address))
}

fn anyone_silent(draft: &Draft<'_>, all: &keys::Key, since: u64) -> Result<bool> {
    let oldest = draft.first_rows(all, 1)?;
    Ok(oldest.first().and_then(|(k, _)| keys::leading_number(k)).is_some_and(|heard| heard <= since))
}

fn lose(draft: &mut Draft<'_>, heard: u64, address: Address) -> Result<()> {
    let mut node = required(draft.node(&address)?, "node")?;
    assert_eq!(node.status, NodeStatus::Ready, "a lost node is not waited for");
    assert_eq!(node.heard_alive_ms, heard, "the index says when the node was heard");
    draft.remove(keys::heartbeat_due(heard, &address));
    let before = node.digest(&address);
    node.status = NodeStatus::Lost;
    draft.put_node(&address, &node);
    let action = ReceiptBody::Action(Action::NodeLost);
    draft.emit(Subject::Node(address), before, node.digest(&address), action)?;
    // Runs of verified jobs stay: the node's bond stands for them until their time is over, and it may return.
    let held = draft.held_by(&address)?.into_iter().filter(|r| r.assignment().is_some());
    for r in held {
        replica::unassign(draft, &r.id, UnassignReason::NodeLost)?;
    }
    let node = required(draft.node(&address)?, "node")?;
    assert_eq!(node.replicas as usize, draft.held_by(&address)?.len(), "a lost node holds nothing else");
    Ok(())
}
