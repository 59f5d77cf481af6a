//! How far the comparison of a replica's runs is, for people and programs.

use super::deployments::node_name;
use metanode_rpc::backend::Answer;
use metanode_rpc::views::{ExecutionState, ExecutionView, VerificationState, VerificationView};
use metanode_state::View;
use metanode_state::records::{Execution, ReplicaRecord, Stage, Step, Verification};
use metanode_types::ids::{Address, Digest, Name};
use metanode_types::receipt::Said;
use std::collections::BTreeMap;

/// The view of a verification.
pub fn view_of(view: &View<'_>, v: &Verification) -> Answer<VerificationView> {
    let stands = v.outcome;
    let executions: Answer<Vec<ExecutionView>> =
        v.executions.iter().map(|e| execution(view, e, stands)).collect();
    let challenge = v.challenge.as_ref();
    Ok(VerificationView {
        asked: v.asked,
        state: match v.stage {
            Stage::Committing { .. } => VerificationState::Committing,
            Stage::Revealing { .. } => VerificationState::Revealing,
            Stage::Open { .. } => VerificationState::Open,
            Stage::Challenged { .. } => VerificationState::Challenged,
            Stage::Closed if stands.is_none() => VerificationState::Unsettled,
            Stage::Closed => VerificationState::Closed,
        },
        cpu_class: v.machine.cpu,
        kernel: v.machine.kernel.to_string(),
        outcome: stands,
        open_until: match v.stage {
            Stage::Open { until_height } => Some(until_height),
            _ => None,
        },
        executions: executions?,
        challenger: challenge.map(|c| c.challenger),
        challenge: challenge.map(|c| execution(view, &c.execution, stands)).transpose()?,
    })
}

fn execution(view: &View<'_>, e: &Execution, stands: Option<Digest>) -> Answer<ExecutionView> {
    let outcome = e.outcome();
    let (state, reason) = match &e.step {
        Step::Running(_) => (ExecutionState::Running, None),
        Step::Committed { .. } => (ExecutionState::Committed, None),
        Step::Over { said, .. } => match said {
            Said::Outcome(_) if stands.is_none() => (ExecutionState::Revealed, None),
            Said::Outcome(_) if outcome == stands => (ExecutionState::Agrees, None),
            Said::Outcome(_) => (ExecutionState::Differs, None),
            Said::NoVerdict(why) => (ExecutionState::NoVerdict, Some(why.to_string())),
            Said::NoCommit => (ExecutionState::NoCommit, None),
            Said::NoReveal => (ExecutionState::NoReveal, None),
        },
    };
    let node = node_name(view, &e.node)?;
    Ok(ExecutionView { node, address: e.node, epoch: e.epoch, state, outcome, reason, bond: e.bond })
}

/// Node and epoch of a run that came to what stands; of the first run while nothing does.
pub fn standing(v: &Verification) -> Option<(Address, u64)> {
    let challenge = v.challenge.iter().map(|c| &c.execution);
    let mut all = v.executions.iter().chain(challenge);
    let agrees = v.outcome.and_then(|stands| all.clone().find(|e| e.outcome() == Some(stands)));
    agrees.or_else(|| all.next()).map(|e| (e.node, e.epoch))
}

/// What the nodes are at, in one sentence.
pub fn sentence(r: &ReplicaRecord, names: &BTreeMap<Address, Name>) -> String {
    let Some(v) = &r.verification else { return "its runs are not on record".to_owned() };
    let named = |a: &Address| names.get(a).map_or_else(|| a.short(), ToString::to_string);
    let which = |test: fn(&Step) -> bool| -> String {
        let all: Vec<String> =
            v.executions.iter().filter(|e| test(&e.step)).map(|e| named(&e.node)).collect();
        if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
    };
    let committed = which(|s| matches!(s, Step::Committed { .. }));
    match v.stage {
        Stage::Revealing { .. } => {
            let over = which(|s| matches!(s, Step::Over { .. }));
            format!("its reports are being revealed: by {over}; {committed} still to come")
        }
        _ => {
            let running = which(|s| matches!(s, Step::Running(_)));
            format!("{} nodes run it: {committed} committed, {running} still to come", v.asked)
        }
    }
}
