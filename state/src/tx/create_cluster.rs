//! Creates a cluster owned by the sender.

use crate::draft::{Draft, Step};
use crate::failure::{Code, ensure};
use crate::keys;
use crate::machine::Call;
use crate::records::ClusterRecord;
use crate::tx::pay_fee;
use crate::view::StateRead;
use metanode_types::ids::Digest;
use metanode_types::receipt::{Action, ReceiptBody, Subject};
use metanode_types::tx::ClusterSpec;
use std::collections::BTreeSet;

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, spec: &ClusterSpec) -> Step {
    let exists = draft.cluster(&spec.name)?.is_some();
    ensure(!exists, Code::ClusterExists, || format!("cluster {} exists", spec.name))?;
    let members: BTreeSet<_> = spec.nodes.0.iter().collect();
    ensure(members.len() == spec.nodes.0.len(), Code::DuplicateMember, || "a member is listed twice".into())?;
    let m = &spec.max_replica;
    ensure(m.cpu_milli > 0 && m.memory_bytes > 0 && m.pids > 0, Code::NoReplicaFits, || {
        "the largest replica needs cpu, memory and pids above zero".into()
    })?;
    pay_fee(draft, call)?;
    let record =
        ClusterRecord { spec: spec.clone(), owner: Some(call.sender), created_height: draft.block.height };
    draft.put(keys::cluster(&spec.name), &record);
    let action = ReceiptBody::Action(Action::ClusterCreated);
    draft.emit(Subject::Cluster(spec.name.clone()), Digest::default(), record.digest(), action)?;
    Ok(())
}
