//! Registers the sender as a node, or updates its registration.
//!
//! A new boot id alone changes nothing for the replicas it holds: the node adopts them again under the same epochs.
//! A registration with less than what it holds sheds the replicas that no longer fit, in order of their ids.

use crate::draft::{Draft, Step};
use crate::failure::{Code, ensure};
use crate::keys;
use crate::machine::Call;
use crate::node_life;
use crate::records::*;
use crate::replica;
use crate::schedule;
use crate::tx::pay_fee;
use crate::verified;
use crate::view::{StateRead, load, required};
use metanode_types::ids::{Address, Digest};
use metanode_types::receipt::{Action, ReceiptBody, Subject, UnassignReason};
use metanode_types::tx::NodeSpec;
use metanode_types::workload::Resources;

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, spec: &NodeSpec) -> Step {
    let sender = call.sender;
    let c = &spec.capacity;
    ensure(c.cpu_milli > 0 && c.memory_bytes > 0 && c.pids > 0, Code::NoCapacity, || {
        "cpu, memory and pids must be above zero".into()
    })?;
    let named: Option<Address> = load(draft, &keys::node_name(&spec.name), "node name")?;
    ensure(named.is_none_or(|a| a == sender), Code::NodeNameTaken, || format!("node {} exists", spec.name))?;
    let peer: Option<Address> = load(draft, &keys::peer(&spec.peer_id), "peer")?;
    ensure(peer.is_none_or(|a| a == sender), Code::PeerIdTaken, || "another node has this peer id".into())?;
    pay_fee(draft, call)?;

    let old = draft.node(&sender)?;
    let before = old.as_ref().map_or(Digest::default(), |n| n.digest(&sender));
    if let Some(old) = &old {
        draft.remove(keys::node_name(&old.spec.name));
        draft.remove(keys::peer(&old.spec.peer_id));
    }
    draft.put(keys::node_name(&spec.name), &sender);
    draft.put(keys::peer(&spec.peer_id), &sender);
    let mut node = old.unwrap_or_else(|| NodeRecord {
        spec: spec.clone(),
        status: NodeStatus::Ready,
        registered_height: draft.block.height,
        boot_id: spec.boot_id,
        heard_ms: 0,
        heard_alive_ms: 0,
        free: spec.capacity,
        reserved: Resources::default(),
        replicas: 0,
        faults: 0,
        faulted_height: 0,
    });
    node_life::heard(draft, &sender, &mut node);
    node.spec = spec.clone();
    node.boot_id = spec.boot_id;
    draft.put_node(&sender, &node);
    let action =
        Action::NodeRegistered { name: spec.name.clone(), boot_id: spec.boot_id, capacity: spec.capacity };
    draft.emit(Subject::Node(sender), before, node.digest(&sender), ReceiptBody::Action(action))?;
    shed(draft, &sender)
}

/// Sends away what the node no longer fits, lowest ids stay.
fn shed(draft: &mut Draft<'_>, address: &Address) -> Step {
    let node = required(draft.node(address)?, "node")?;
    let mut kept = Resources::default();
    for r in draft.held_by(address)? {
        let workload = required(draft.workload(&r.id.deployment)?, "workload")?;
        let with = kept.saturating_add(workload.resources);
        let fits = node.spec.capacity.checked_sub(with).is_some()
            && schedule::node_can_run(&node.spec, &workload, draft.params());
        let class = r.open_verification().is_none_or(|v| v.machine == node.spec.machine);
        if fits && class {
            kept = with;
        } else if r.assignment().is_none() {
            verified::withdraw(draft, r, *address)?;
        } else {
            replica::unassign(draft, &r.id, UnassignReason::NodeChanged)?;
        }
    }
    Ok(())
}
