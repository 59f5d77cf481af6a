//! POE of a verified job: the commitment opens, the votes are counted again, the winning report is the winning
//! outcome's.

use super::action::ran_as_assigned;
use super::{Outcome, ensure};
use crate::bundle::Bundle;
use crate::cage_report::{CageReport, commitment};
use crate::ids::Digest;
use crate::receipt::{Action, Receipt, Said, Subject, Votes, majority};
use std::collections::BTreeSet;

/// A node opened its commitment.
pub(super) fn revealed(bundle: &Bundle, receipt: &Receipt, action: &Action) -> Outcome {
    let Action::Revealed { node, epoch, commitment: committed, report, salt, .. } = action else {
        return Err("this is no reveal".into());
    };
    let Subject::Replica(replica) = &receipt.subject else {
        return Err(format!("{} has no executions", receipt.subject));
    };
    let opened = commitment(report, salt, node, replica, *epoch);
    ensure(opened == *committed, || format!("the report opens {opened}, committed was {committed}"))?;
    let ran = ran_as_assigned(bundle, action, report)?;
    Ok(format!("{ran}; committed to before any node revealed"))
}

/// A majority agreed.
pub(super) fn settled(bundle: &Bundle, action: &Action) -> Outcome {
    let Action::Settled { asked, outcome, report, votes, .. } = action else {
        return Err("this is no settlement".into());
    };
    one_vote_each(*asked, votes)?;
    let counted = majority(*asked, votes);
    ensure(counted == Some(*outcome), || match counted {
        Some(d) => format!("the votes give {d}, the receipt says {outcome}"),
        None => format!("no outcome has more than half of {asked} votes"),
    })?;
    of_outcome(report, outcome)?;
    let ran = ran_as_assigned(bundle, action, report)?;
    let agree = votes.0.iter().filter(|v| v.said == Said::Outcome(*outcome));
    let names: Vec<&str> = agree.map(|v| v.name.as_str()).collect();
    let differ: Vec<&str> = votes.differing(outcome).map(|v| v.name.as_str()).collect();
    let differ =
        if differ.is_empty() { "none differs".into() } else { format!("{} differs", differ.join(", ")) };
    Ok(format!("{ran}; {} of {asked} nodes agree ({}), {differ}", names.len(), names.join(", ")))
}

/// No majority agreed.
pub(super) fn unsettled(action: &Action) -> Outcome {
    let Action::Unsettled { asked, votes, .. } = action else { return Err("this is settled".into()) };
    one_vote_each(*asked, votes)?;
    if let Some(d) = majority(*asked, votes) {
        return Err(format!("the receipt says unsettled, but a majority of {asked} came to {d}"));
    }
    Ok(format!("no outcome has more than half of {asked} votes: nothing is proven of this job"))
}

/// One more run decided.
pub(super) fn decided(bundle: &Bundle, action: &Action) -> Outcome {
    let Action::ChallengeDecided { challenged, report, upheld, .. } = action else {
        return Err("this decides no challenge".into());
    };
    let same = report.outcome() == *challenged;
    ensure(same == *upheld, || {
        format!(
            "the run came to {}, in doubt was {challenged}, the receipt says upheld: {upheld}",
            report.outcome()
        )
    })?;
    let ran = ran_as_assigned(bundle, action, report)?;
    let word = if same { "the same as" } else { "not" };
    Ok(format!("{ran}; {word} the outcome {} that was in doubt", challenged.short()))
}

fn of_outcome(report: &CageReport, outcome: &Digest) -> Result<(), String> {
    let own = report.outcome();
    ensure(own == *outcome, || format!("the report's outcome is {own}, the majority's {outcome}"))
}

fn one_vote_each(asked: u32, votes: &Votes) -> Result<(), String> {
    let nodes: BTreeSet<_> = votes.0.iter().map(|v| v.node).collect();
    ensure(nodes.len() == votes.0.len(), || "a node is counted twice".into())?;
    ensure(votes.0.len() == asked as usize, || format!("{} votes of {asked} nodes", votes.0.len()))
}
