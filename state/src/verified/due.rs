//! What happens when a stage's time is over: who is late loses the bond, and what nobody challenged is closed.

use super::{Case, challenge, count_closed, settle};
use crate::draft::Draft;
use crate::error::Result;
use crate::keys::{self, Key};
use crate::limits::MAX_DUE_PER_BLOCK;
use crate::records::{self, *};
use crate::replica;
use crate::view::{StateRead, decode};
use metanode_types::ids::Address;
use metanode_types::receipt::{Action, Said};
use metanode_types::workload::ReplicaId;

/// Ends every stage whose time is over, a bounded number per block.
pub(crate) fn pass_deadlines(draft: &mut Draft<'_>) -> Result<()> {
    for id in over(draft, &keys::all_due_alive(), draft.alive_ms)? {
        let mut case = Case::load(draft, &id)?;
        match case.v().stage {
            Stage::Committing { .. } => no_commitment(draft, case)?,
            Stage::Revealing { .. } => no_reveal(draft, case)?,
            Stage::Challenged { .. } => late_challenge(draft, case)?,
            Stage::Open { .. } | Stage::Closed => unreachable!("these do not end by chain-alive time"),
        }
    }
    for id in over(draft, &keys::all_due_height(), draft.block.height)? {
        close(draft, Case::load(draft, &id)?)?;
    }
    Ok(())
}

/// Replicas whose number in the index is at most `now`, oldest first.
fn over(draft: &Draft<'_>, index: &Key, now: u64) -> Result<Vec<ReplicaId>> {
    let mut out = Vec::new();
    for (key, value) in draft.first_rows(index, MAX_DUE_PER_BLOCK)? {
        if keys::leading_number(&key[index.bytes.len()..]).is_none_or(|at| at > now) {
            break;
        }
        out.push(decode(&value, "replica id")?);
    }
    Ok(out)
}

fn nodes(case: &mut Case, which: fn(&Execution) -> bool) -> Vec<Address> {
    case.v().executions.iter().filter(|e| which(e)).map(|e| e.node).collect()
}

fn no_commitment(draft: &mut Draft<'_>, mut case: Case) -> Result<()> {
    let id = case.r.id.clone();
    let late_nodes = nodes(&mut case, Execution::is_running);
    for node in &late_nodes {
        replica::free(draft, &id, *node)?;
    }
    late(draft, case, late_nodes, Said::NoCommit)
}

/// Takes the bonds of nodes that are late; goes on to the reveals when nobody is left to commit, and to the count when
/// nobody is left to reveal.
pub(super) fn late(draft: &mut Draft<'_>, mut case: Case, nodes: Vec<Address>, said: Said) -> Result<()> {
    assert!(!nodes.is_empty(), "a stage in which nobody is late has ended before");
    nodes.iter().for_each(|node| case.mark_late(node, &said));
    let all_over = case.v().executions.iter().all(Execution::is_over);
    let committing = matches!(case.v().stage, Stage::Committing { .. });
    if committing && !all_over && case.v().holders().next().is_none() {
        let until_alive_ms = draft.alive_ms.saturating_add(draft.params().verify.reveal_ms);
        case.restage(draft, |v| v.stage = Stage::Revealing { until_alive_ms });
    }
    for node in nodes {
        case.forfeit(draft, node)?;
    }
    if all_over { settle::settle(draft, case) } else { Ok(()) }
}

fn epoch_of(case: &mut Case) -> u64 {
    case.v().executions.first().map_or(0, |e| e.epoch)
}

fn no_reveal(draft: &mut Draft<'_>, mut case: Case) -> Result<()> {
    let late_nodes = nodes(&mut case, |e| matches!(e.step, records::Step::Committed { .. }));
    late(draft, case, late_nodes, Said::NoReveal)
}

fn late_challenge(draft: &mut Draft<'_>, mut case: Case) -> Result<()> {
    let id = case.r.id.clone();
    let execution = &case.v().challenge.as_ref().expect("a challenged replica has a challenge").execution;
    let (node, running) = (execution.node, execution.is_running());
    if running {
        replica::free(draft, &id, node)?;
    }
    challenge::void(draft, case, if running { Said::NoCommit } else { Said::NoReveal })
}

/// Returns what bonds are left and closes.
pub(super) fn close(draft: &mut Draft<'_>, mut case: Case) -> Result<()> {
    let id = case.r.id.clone();
    for node in nodes(&mut case, |e| e.bond.0 > 0) {
        case.return_bond(draft, node)?;
    }
    case.restage(draft, |v| v.stage = Stage::Closed);
    assert_eq!(case.v().bonds().0, 0, "what is closed holds no money");
    let decided = case.v().challenge.as_ref().map(|c| c.execution.epoch);
    let epoch = decided.unwrap_or(epoch_of(&mut case));
    let outcome = case.v().outcome;
    case.act(draft, Action::Closed { epoch, outcome })?;
    count_closed(draft, &id.deployment)
}
