//! A challenge: one more node runs a finished replica, what it comes to stands, and the loser pays.

use super::settle::{absolve, agreeing, fault};
use super::*;
use crate::limits::{FAULT_DIFFERS, MAX_VOID_CHALLENGES};

/// Takes what a node is in for whose word alone was taken: the chain's bond, or what its account holds of it.
fn settle_stake(draft: &mut Draft<'_>, case: &mut Case) -> Result<()> {
    let id = case.r.id.clone();
    let outcome = case.v().outcome;
    let bare = case.v().executions.iter().filter(|e| e.bond == Amount::ZERO && e.outcome() == outcome);
    let bare: Vec<Address> = bare.map(|e| e.node).collect();
    for node in bare {
        let amount = draft.account(&node)?.balance().min(draft.params().verify.bond);
        if amount > Amount::ZERO {
            stake(draft, node, &id, amount)?;
            case.v().execution_mut(&node).expect("it was just seen").bond = amount;
        }
    }
    Ok(())
}

/// Begins a challenge that was checked: `node` runs the replica once more.
pub(crate) fn begin(draft: &mut Draft<'_>, call: &Call, id: &ReplicaId, bond: Amount, node: Address) -> Step {
    let fee = call.fee.expect("a challenge is never free");
    money::bond(draft, call.sender, id, bond, fee)?;
    let mut case = Case::load(draft, id)?;
    let d = required(draft.deployment(&id.deployment)?, "deployment")?;
    let w = required(draft.workload(&id.deployment)?, "workload")?;
    let Stage::Open { until_height } = case.v().stage else { unreachable!("the stage was checked") };
    settle_stake(draft, &mut case)?;
    let execution = start(draft, id, &w, node)?;
    let epoch = execution.epoch;
    let until_alive_ms = commit_until(draft, &w);
    case.restage(draft, |v| {
        v.challenge = Some(Challenge { challenger: call.sender, bond, execution, until_alive_ms });
        v.stage = Stage::Challenged { until_height };
    });
    let outcome = case.v().outcome.expect("what is open was settled");
    case.act(draft, Action::Challenged { node, epoch, challenger: call.sender, outcome })?;
    Ok(tell_assigned(draft, &mut case, &d, &w, node)?)
}

fn parts(case: &mut Case) -> &mut Challenge {
    case.v().challenge.as_mut().expect("a challenged replica has a challenge")
}

fn return_challengers(draft: &mut Draft<'_>, case: &mut Case) -> Result<()> {
    let replica = case.r.id.clone();
    let challenge = parts(case);
    let (to, amount) = (challenge.challenger, std::mem::replace(&mut challenge.bond, Amount::ZERO));
    case.unbond(draft, EconomicKind::BondReturned { replica, to, amount })
}

/// The run has no verdict: the challenge is taken back, and another may follow while the window lasts.
pub(super) fn void(draft: &mut Draft<'_>, mut case: Case, said: Said) -> Result<()> {
    let Stage::Challenged { until_height } = case.v().stage else { unreachable!("only a challenge is void") };
    let (node, epoch, challenger) = {
        let c = parts(&mut case);
        (c.execution.node, c.execution.epoch, c.challenger)
    };
    match said {
        Said::NoCommit | Said::NoReveal => {
            case.mark_late(&node, &said);
            case.forfeit(draft, node)?;
        }
        _ => case.return_bond(draft, node)?,
    }
    return_challengers(draft, &mut case)?;
    case.restage(draft, |v| {
        v.challenge = None;
        v.void.push(node);
        v.stage = Stage::Open { until_height };
    });
    assert!(case.v().void.len() <= MAX_VOID_CHALLENGES, "no more challenges are taken than that");
    case.act(draft, Action::ChallengeVoid { node, epoch, challenger, said })?;
    Ok(())
}

/// The run was revealed.
pub(super) fn decide(draft: &mut Draft<'_>, mut case: Case) -> Result<()> {
    let challenged = case.v().outcome.expect("what is challenged was settled");
    let challenge = parts(&mut case);
    let execution = &mut challenge.execution;
    let (node, epoch, assignment, challenger) =
        (execution.node, execution.epoch, execution.receipt, challenge.challenger);
    let records::Step::Over { said, usage, report } = &mut execution.step else {
        unreachable!("it was just revealed")
    };
    let (said, usage) = (said.clone(), *usage);
    let Said::Outcome(outcome) = said else { return void(draft, case, said) };
    let report = *report.take().expect("it was just revealed");
    let upheld = outcome == challenged;
    if !upheld {
        case.r.phase = ReplicaPhase::Ended { exit: report.exit.clone(), node };
        case.v().outcome = Some(outcome);
    }
    let action = Action::ChallengeDecided { node, epoch, assignment, challenger, challenged, report, upheld };
    case.act(draft, action)?;
    let fee = draft.params().tariff.price(&usage).unwrap_or(Amount(u128::MAX));
    if upheld {
        challenger_pays(draft, &mut case, challenged, node, fee)?;
    } else {
        executors_pay(draft, &mut case, challenged, outcome, fee)?;
        return_challengers(draft, &mut case)?;
    }
    case.return_bond(draft, node)?;
    due::close(draft, case)
}

fn pay_part(
    draft: &mut Draft<'_>,
    case: &mut Case,
    from: Address,
    to: Address,
    amount: Amount,
) -> Result<()> {
    if amount == Amount::ZERO {
        return Ok(());
    }
    let replica = case.r.id.clone();
    case.unbond(draft, EconomicKind::BondPaid { replica, from, to, amount })
}

fn minus(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).expect("a part is not more than the whole")
}

/// The run's price to its node, the rest in equal parts to those who were doubted, what does not divide is burned.
fn challenger_pays(
    draft: &mut Draft<'_>,
    case: &mut Case,
    outcome: Digest,
    node: Address,
    fee: Amount,
) -> Result<()> {
    let doubted: Vec<Address> = agreeing(case.v(), &outcome).into_iter().map(|(n, _)| n).collect();
    let challenge = parts(case);
    let (from, bond) = (challenge.challenger, challenge.bond);
    let fee = fee.min(bond);
    let share = Amount(minus(bond, fee).0 / doubted.len().max(1) as u128);
    for (to, amount) in std::iter::once((node, fee)).chain(doubted.into_iter().map(|n| (n, share))) {
        let challenge = parts(case);
        challenge.bond = minus(challenge.bond, amount);
        pay_part(draft, case, from, to, amount)?;
    }
    let amount = std::mem::replace(&mut parts(case).bond, Amount::ZERO);
    if amount == Amount::ZERO {
        return Ok(());
    }
    let replica = case.r.id.clone();
    case.unbond(draft, EconomicKind::BondBurned { replica, from, amount })
}

/// The bonds of those who were wrong: first the run's price to its node, the rest to the challenger.
fn executors_pay(
    draft: &mut Draft<'_>,
    case: &mut Case,
    wrong: Digest,
    right: Digest,
    mut fee: Amount,
) -> Result<()> {
    let (node, challenger) = (parts(case).execution.node, parts(case).challenger);
    for (loser, _) in agreeing(case.v(), &wrong) {
        fault(draft, &loser, FAULT_DIFFERS)?;
        let bond = case.take_bond(&loser);
        let price = fee.min(bond);
        fee = minus(fee, price);
        // What is not paid yet stays in the record, so that the two payments have a receipt each.
        case.v().execution_mut(&loser).expect("it was just seen").bond = minus(bond, price);
        pay_part(draft, case, loser, node, price)?;
        let rest = case.take_bond(&loser);
        pay_part(draft, case, loser, challenger, rest)?;
    }
    for (vindicated, _) in agreeing(case.v(), &right) {
        absolve(draft, &vindicated, FAULT_DIFFERS)?;
    }
    Ok(())
}
