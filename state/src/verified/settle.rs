//! Counting: who agrees is paid, who differs is named, and without a majority nobody is paid.

use super::{Case, count_closed};
use crate::draft::Draft;
use crate::error::Result;
use crate::limits::FAULT_DIFFERS;
use crate::money;
use crate::records::{self, *};
use crate::replica;
use crate::tx::report::add_use;
use crate::view::{StateRead, required};
use metanode_types::cage_report::CageReport;
use metanode_types::ids::{Address, Digest, ReceiptId};
use metanode_types::params::Usage;
use metanode_types::receipt::{Action, Said, Vote, Votes, majority};
use metanode_types::tx::ShortText;

/// Puts a fault on a node's record; placement avoids it until that has lost its weight.
pub(crate) fn fault(draft: &mut Draft<'_>, node: &Address, weight: u32) -> Result<()> {
    let mut record = required(draft.node(node)?, "node")?;
    record.faults = record.faults_at(draft.block.height).saturating_add(weight);
    record.faulted_height = draft.block.height;
    draft.put_node(node, &record);
    Ok(())
}

/// Takes a fault from a node's record that was none.
pub(super) fn absolve(draft: &mut Draft<'_>, node: &Address, weight: u32) -> Result<()> {
    let mut record = required(draft.node(node)?, "node")?;
    record.faults = record.faults_at(draft.block.height).saturating_sub(weight);
    record.faulted_height = draft.block.height;
    draft.put_node(node, &record);
    Ok(())
}

fn votes(draft: &Draft<'_>, v: &Verification) -> Result<Votes> {
    let vote = |e: &Execution| {
        let records::Step::Over { said, .. } = &e.step else {
            unreachable!("votes are counted when nothing more is expected")
        };
        let name = required(draft.node(&e.node)?, "node")?.spec.name;
        Ok(Vote { node: e.node, name, said: said.clone() })
    };
    v.executions.iter().map(vote).collect::<Result<Vec<_>>>().map(Votes)
}

/// Settles a replica of which every execution is over.
pub(super) fn settle(draft: &mut Draft<'_>, mut case: Case) -> Result<()> {
    let votes = votes(draft, case.v())?;
    let asked = case.v().asked;
    assert_eq!(votes.0.len(), asked as usize, "everybody who was asked has an entry");
    match majority(asked, &votes) {
        Some(outcome) => agreed(draft, case, votes, outcome),
        None => undecided(draft, case, votes),
    }
}

/// What the receipt tells of the first node that agrees.
struct Winner {
    node: Address,
    epoch: u64,
    assignment: ReceiptId,
    report: CageReport,
}

/// Takes the reports out of the record; keeps the winner's.
fn take_winner(v: &mut Verification, outcome: &Digest) -> Winner {
    let mut winner = None;
    for e in &mut v.executions {
        let agrees = e.outcome() == Some(*outcome);
        let records::Step::Over { report, .. } = &mut e.step else { continue };
        let report = report.take();
        if let (true, None, Some(report)) = (agrees, &winner, report) {
            let (node, epoch, assignment) = (e.node, e.epoch, e.receipt);
            winner = Some(Winner { node, epoch, assignment, report: *report });
        }
    }
    let winner = winner.expect("a majority has a first node, and who revealed has a report until here");
    assert_eq!(winner.report.outcome(), *outcome, "the winning report is of the winning outcome");
    winner
}

fn agreed(draft: &mut Draft<'_>, mut case: Case, votes: Votes, outcome: Digest) -> Result<()> {
    let id = case.r.id.clone();
    let Winner { node, epoch, assignment, report } = take_winner(case.v(), &outcome);
    let asked = case.v().asked;
    let until_height = draft.block.height.saturating_add(draft.params().verify.challenge_window);
    case.restage(draft, |v| {
        v.stage = Stage::Open { until_height };
        v.outcome = Some(outcome);
    });
    let paid = agreeing(case.v(), &outcome);
    paid.iter().for_each(|(_, usage)| add_use(&mut case.r, usage));
    case.r.phase = ReplicaPhase::Ended { exit: report.exit.clone(), node };
    let success = report.exit.success();
    case.act(draft, Action::Settled { epoch, asked, assignment, outcome, report, votes: votes.clone() })?;
    for (node, usage) in &paid {
        let mut d = required(draft.deployment(&id.deployment)?, "deployment")?;
        // A deposit covers every execution at its limits, so a used-up escrow only means there was nothing left over.
        let _left = money::charge(draft, &mut d, &id, *node, *usage)?;
    }
    for vote in votes.differing(&outcome) {
        fault(draft, &vote.node, FAULT_DIFFERS)?;
    }
    for vote in votes.0.iter().filter(|v| v.said != Said::Outcome(outcome)) {
        case.return_bond(draft, vote.node)?;
    }
    replica::count_end(draft, &id.deployment, success)
}

/// Nodes that came to an outcome, with the use they are paid for.
pub(super) fn agreeing(v: &Verification, outcome: &Digest) -> Vec<(Address, Usage)> {
    let usage = |e: &Execution| match &e.step {
        records::Step::Over { usage, .. } => *usage,
        _ => Usage::default(),
    };
    let agree = v.executions.iter().filter(|e| e.outcome() == Some(*outcome));
    agree.map(|e| (e.node, usage(e))).collect()
}

fn undecided(draft: &mut Draft<'_>, mut case: Case, votes: Votes) -> Result<()> {
    let id = case.r.id.clone();
    for e in &mut case.v().executions {
        if let records::Step::Over { report, .. } = &mut e.step {
            *report = None;
        }
    }
    for vote in &votes.0 {
        case.return_bond(draft, vote.node)?;
    }
    let asked = case.v().asked;
    let epoch = case.v().executions.first().map_or(0, |e| e.epoch);
    case.restage(draft, |v| v.stage = Stage::Closed);
    assert_eq!(case.v().bonds().0, 0, "what is closed holds no money");
    let best = votes.0.iter().filter_map(|v| match &v.said {
        Said::Outcome(d) => Some(votes.count(d)),
        _ => None,
    });
    let best = best.max().unwrap_or(0);
    let why = format!("unsettled: at most {best} of {asked} nodes agree, more than half is needed");
    case.r.phase = ReplicaPhase::Failed { reason: ShortText::new(why) };
    case.act(draft, Action::Unsettled { epoch, asked, votes })?;
    count_closed(draft, &id.deployment)?;
    replica::count_end(draft, &id.deployment, false)
}
