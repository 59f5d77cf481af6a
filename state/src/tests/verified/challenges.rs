//! Challenges of verified and unverified jobs: one more node runs the job, and its report decides who pays.

use super::*;

fn challenge(chain: &Chain, n: &str) -> TxBody {
    let bond = minimum_bond(&chain.view(), &id(n, 0)).unwrap().unwrap();
    TxBody::Challenge { replica: id(n, 0), bond }
}
fn rerunner(chain: &Chain, n: &str) -> u8 {
    account_of(&chain.verification(n, 0).challenge.unwrap().execution.node)
}

#[test]
fn a_challenge_that_is_wrong_costs_its_bond() {
    let mut chain = deployed(4, 3);
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    chain.round("j", 0, &same(&asked, &report));
    let body = challenge(&chain, "j");
    let TxBody::Challenge { bond, .. } = body else { panic!() };
    let small = TxBody::Challenge { replica: id("j", 0), bond: Amount(bond.0 - 1) };
    assert_eq!(chain.code(2, small), Code::BondTooSmall as u32);
    let before: Vec<u128> = (1..15).map(|who| chain.balance(who)).collect();
    let done = chain.ok(2, body.clone());
    assert_eq!(actions(&done), ["challenged", "assigned"]);
    let fee = before[1] - bond.0 - chain.balance(2);
    assert!(fee > 0);
    assert_eq!(chain.code(3, body), Code::NotChallengeable as u32, "once at a time");
    let fourth = rerunner(&chain, "j");
    assert!(!asked.contains(&fourth));
    let done = chain.round("j", 0, &[(fourth, report.clone())]);
    assert_eq!(actions(&done), ["revealed", "challenge-decided", "closed"]);
    let price = 1100;
    assert_eq!(
        chain.balance(fourth),
        before[usize::from(fourth) - 1] + price,
        "the run is paid, its bond back"
    );
    let share = (bond.0 - price) / 3;
    for who in &asked {
        assert_eq!(chain.balance(*who), before[usize::from(*who) - 1] + share + BOND);
    }
    assert_eq!(chain.view().supply().unwrap().bonded, Amount::ZERO);
    let body = challenge(&chain, "j");
    assert_eq!(chain.code(2, body), Code::NotChallengeable as u32, "decided for good");
}

#[test]
fn a_lying_majority_is_overturned_and_pays_the_challenger() {
    let mut chain = deployed(4, 3);
    let asked = chain.asked("j", 0);
    let (truth, lie) = (honest(&chain, "j"), lie(&chain, "j", 9));
    let said = [(asked[0], lie.clone()), (asked[1], truth.clone()), (asked[2], lie.clone())];
    chain.round("j", 0, &said);
    assert_eq!(chain.verification("j", 0).outcome, Some(lie.outcome()));
    let honest_node = |chain: &Chain| chain.view().node(&address(asked[1])).unwrap().unwrap().faults;
    assert_eq!(honest_node(&chain), limits::FAULT_DIFFERS);
    let before = chain.balance(2);
    let body = challenge(&chain, "j");
    let tx = chain.ok(2, body);
    let fee = tx.receipts.iter().find_map(|r| match &r.body {
        ReceiptBody::Economic(Economic { kind: EconomicKind::Bonded { fee, .. }, .. }) if fee.0 > 0 => {
            Some(fee.0)
        }
        _ => None,
    });
    let fourth = rerunner(&chain, "j");
    let done = chain.round("j", 0, &[(fourth, truth.clone())]);
    let decided = done.receipts.iter().find_map(|r| match &r.body {
        ReceiptBody::Action(Action::ChallengeDecided { upheld, challenged, report, .. }) => {
            Some((*upheld, *challenged, report.outcome()))
        }
        _ => None,
    });
    assert_eq!(decided, Some((false, lie.outcome(), truth.outcome())));
    assert_eq!(
        chain.balance(2),
        before - fee.unwrap() + 2 * BOND - 1100,
        "two bonds less the price of the run"
    );
    assert_eq!(chain.verification("j", 0).outcome, Some(truth.outcome()));
    assert_eq!(honest_node(&chain), 0, "it was right");
    assert_eq!(chain.view().node(&address(asked[0])).unwrap().unwrap().faults, limits::FAULT_DIFFERS);
    assert_eq!(chain.view().supply().unwrap().bonded, Amount::ZERO);
}

#[test]
fn a_challenge_without_a_verdict_is_void_and_another_may_follow() {
    let mut chain = deployed(5, 3);
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    chain.round("j", 0, &same(&asked, &report));
    let before = chain.balance(2);
    let body = challenge(&chain, "j");
    let done = chain.ok(2, body);
    let paid = before - chain.balance(2);
    let first = rerunner(&chain, "j");
    let mut killed = report.clone();
    killed.exit = ExitStatus::Timeout;
    let done_after = chain.round("j", 0, &[(first, killed)]);
    assert_eq!(actions(&done), ["challenged", "assigned"]);
    assert_eq!(actions(&done_after), ["revealed", "challenge-void"]);
    assert!(chain.balance(2) > before - paid, "the bond is back, the fee is not");
    assert!(matches!(chain.verification("j", 0).stage, Stage::Open { .. }));
    let body = challenge(&chain, "j");
    chain.ok(2, body);
    let second = rerunner(&chain, "j");
    assert!(second != first && !asked.contains(&second));
    let burned = chain.view().supply().unwrap().burned.0;
    let receipts = pass_ms(&mut chain, 121_000, 11..16);
    let void = |r: &Receipt| {
        matches!(&r.body, ReceiptBody::Action(Action::ChallengeVoid { said: Said::NoCommit, .. }))
    };
    assert!(receipts.iter().any(void));
    assert_eq!(chain.view().supply().unwrap().burned.0, burned + BOND, "the late node's bond");
    if let Stage::Open { .. } = chain.verification("j", 0).stage {
        let body = challenge(&chain, "j");
        assert_eq!(chain.code(2, body), Code::NoOtherNode as u32, "all five have been asked");
    }
}

#[test]
fn an_unverified_pinned_job_can_be_challenged_and_a_contained_one_cannot() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(verified("j", 1, 0)));
    let executor = chain.holder("j", 0);
    let lie = lie(&chain, "j", 9);
    let event = ReplicaEvent::Exited { report: lie.clone(), restarts: 0 };
    let body = chain.report("j", 0, event);
    chain.ok(executor, body);
    assert_eq!(chain.verification("j", 0).asked, 1);
    let before = (chain.balance(2), chain.balance(executor));
    let body = challenge(&chain, "j");
    chain.ok(2, body);
    assert_eq!(chain.balance(executor), before.1 - BOND, "it is in for a bond from now on");
    let second = rerunner(&chain, "j");
    assert_ne!(second, executor);
    let truth = honest(&chain, "j");
    let done = chain.round("j", 0, &[(second, truth.clone())]);
    assert_eq!(actions(&done), ["revealed", "challenge-decided", "closed"]);
    assert_eq!(chain.verification("j", 0).outcome, Some(truth.outcome()));
    assert!(chain.balance(2) > before.0, "it gained");

    let mut contained = job("c", 1);
    contained.workload.image.kind = metanode_types::workload::ImageKind::Wasm;
    chain.ok(1, TxBody::Deploy(contained));
    let body = chain.exited("c", 0, ExitStatus::Code(0), USED);
    let holder = chain.holder("c", 0);
    chain.ok(holder, body);
    let body = challenge(&chain, "c");
    assert_eq!(chain.code(2, body), Code::NotChallengeable as u32);
}

#[test]
fn the_window_is_over_when_it_is_over() {
    let mut chain = deployed(4, 3);
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    chain.round("j", 0, &same(&asked, &report));
    let Stage::Open { until_height } = chain.verification("j", 0).stage else { panic!() };
    until(&mut chain, until_height - 1, 11..15);
    let body = challenge(&chain, "j");
    // The last block of the window takes it.
    chain.ok(2, body);
    assert!(matches!(chain.verification("j", 0).stage, Stage::Challenged { .. }));
    let fourth = rerunner(&chain, "j");
    chain.round("j", 0, &[(fourth, report)]);
    assert_eq!(chain.verification("j", 0).stage, Stage::Closed);
}
