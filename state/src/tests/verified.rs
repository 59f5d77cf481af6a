//! Verified jobs: who agrees is paid, who lies is named, who is late loses the bond, and a challenge decides.

mod challenges;

use super::chain::*;
use crate::records::*;
use crate::*;
use metanode_types::cage_report::{CageReport, ExitStatus, KernelRelease, MachineClass};
use metanode_types::ids::{ContentDigest, Digest};
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::receipt::*;
use metanode_types::tx::*;

const BOND: u128 = 1_000_000;
const USED: Usage = Usage { cpu_ms: 500, memory_mib_s: 100 };
/// 500 CPU-ms at 2 and 100 MiB-s at 1, less a tenth that is burned.
const EARNED: u128 = 990;

fn actions(done: &Done) -> Vec<&'static str> {
    let name = |r: &Receipt| match &r.body {
        // The nodes of these tests send no heartbeats unless time is what is tested.
        ReceiptBody::Action(a) if !matches!(a, Action::NodeLost) => Some(a.name()),
        _ => None,
    };
    done.receipts.iter().filter_map(name).collect()
}

fn votes(done: &Done) -> Votes {
    let found = done.receipts.iter().find_map(|r| match &r.body {
        ReceiptBody::Action(Action::Settled { votes, .. } | Action::Unsettled { votes, .. }) => Some(votes),
        _ => None,
    });
    found.expect("it was settled or not").clone()
}

fn honest(chain: &Chain, n: &str) -> CageReport {
    chain.pinned_report(n, 0, ExitStatus::Code(0), USED)
}
fn lie(chain: &Chain, n: &str, how: u8) -> CageReport {
    CageReport { stdout: ContentDigest([how; 32]), ..honest(chain, n) }
}
fn deployed(nodes: u8, verify: u32) -> Chain {
    let mut chain = Chain::with_nodes(nodes);
    chain.ok(1, TxBody::Deploy(verified("j", 1, verify)));
    chain
}
fn same(asked: &[u8], report: &CageReport) -> Vec<(u8, CageReport)> {
    asked.iter().map(|who| (*who, report.clone())).collect()
}
/// Blocks until the chain is at `height`, with the nodes' heartbeats.
fn until(chain: &mut Chain, height: u64, nodes: std::ops::Range<u8>) -> Done {
    loop {
        let beats = chain.heartbeats(nodes.clone());
        let done = chain.block_of_valid(4000, beats);
        if chain.view().head().height >= height {
            return done;
        }
    }
}
fn pass_ms(chain: &mut Chain, ms: u64, nodes: std::ops::Range<u8>) -> Vec<Receipt> {
    let end = chain.time_ms + ms;
    let mut receipts = Vec::new();
    while chain.time_ms < end {
        let beats = chain.heartbeats(nodes.clone());
        receipts.extend(chain.block_of_valid(4000, beats).receipts);
    }
    receipts
}

#[test]
fn three_that_agree_are_paid_and_get_their_bonds_back_when_nobody_doubts() {
    let mut chain = deployed(4, 3);
    let asked = chain.asked("j", 0);
    let v = chain.verification("j", 0);
    assert_eq!((asked.len(), v.asked, chain.replica("j", 0).phase), (3, 3, ReplicaPhase::Verifying));
    assert_eq!(chain.view().supply().unwrap().bonded, Amount(3 * BOND));
    assert!(asked.iter().all(|who| chain.balance(*who) < RICH - BOND));
    let work = query::assignments_of(&chain.view(), &address(asked[1])).unwrap();
    assert!(
        work[0].sealed
            && work[0].epoch == v.executions[1].epoch
            && work[0].receipt == v.executions[1].receipt
    );
    let seeds: Vec<Digest> = asked
        .iter()
        .map(|who| query::assignments_of(&chain.view(), &address(*who)).unwrap()[0].seed)
        .collect();
    assert!(seeds.iter().all(|s| *s == seeds[0]), "all runs have one seed");
    let before: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
    let report = honest(&chain, "j");
    let done = chain.round("j", 0, &same(&asked, &report));
    assert_eq!(actions(&done), ["revealed", "settled", "finished"]);
    let paid: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
    assert!(paid.iter().zip(&before).all(|(now, then)| *now == then + EARNED), "{before:?} {paid:?}");
    assert!(matches!(
        chain.deployment("j").status,
        DeploymentStatus::Finished { succeeded: 1, failed: 0, .. }
    ));
    assert_eq!(chain.view().supply().unwrap().bonded, Amount(3 * BOND), "a challenge may still come");
    let again = chain.send(1, TxBody::Deploy(verified("j", 1, 3)));
    assert!(matches!(again.outcomes[0], TxOutcome::Failed { code: 67, .. }), "{:?}", again.outcomes[0]);
    let Stage::Open { until_height } = chain.verification("j", 0).stage else { panic!() };
    let done = until(&mut chain, until_height, 11..15);
    assert_eq!(actions(&done), ["closed"]);
    assert_eq!(chain.view().supply().unwrap().bonded, Amount::ZERO);
    assert_eq!(chain.replica("j", 0).digest(), Digest::default());
    let after: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
    assert!(after.iter().zip(&paid).all(|(now, then)| *now == then + BOND));
    chain.ok(1, TxBody::Deploy(verified("j", 1, 3)));
}

#[test]
fn a_liar_is_named_loses_its_fee_and_is_avoided() {
    let mut chain = deployed(4, 3);
    let asked = chain.asked("j", 0);
    let (report, lie) = (honest(&chain, "j"), lie(&chain, "j", 9));
    let before = chain.balance(asked[1]);
    let said = [(asked[0], report.clone()), (asked[1], lie.clone()), (asked[2], report.clone())];
    let done = chain.round("j", 0, &said);
    let votes = votes(&done);
    assert_eq!(votes.0[1].said, Said::Outcome(lie.outcome()));
    let truth = report.outcome();
    let differing: Vec<&str> = votes.differing(&truth).map(|v| v.name.as_str()).collect();
    assert_eq!(differing, [format!("node-{}", asked[1])]);
    assert_eq!(chain.verification("j", 0).outcome, Some(report.outcome()));
    assert_eq!(
        chain.balance(asked[1]),
        before + BOND,
        "no fee; the bond is for being late, not for differing"
    );
    let node = chain.view().node(&address(asked[1])).unwrap().unwrap();
    assert_eq!(node.faults, limits::FAULT_DIFFERS);
    for n in ["k", "l", "m"] {
        chain.ok(1, TxBody::Deploy(verified(n, 1, 3)));
        assert!(!chain.asked(n, 0).contains(&asked[1]), "three others are there");
    }
    let height = chain.view().head().height;
    assert_eq!(node.faults_at(height + limits::FAULT_HALF_LIFE_BLOCKS), limits::FAULT_DIFFERS / 2);
    assert_eq!(node.faults_at(u64::MAX), 0);
}

#[test]
fn usage_is_no_part_of_the_comparison_and_everything_else_is() {
    let chain = deployed(3, 3);
    let report = honest(&chain, "j");
    let cheap = CageReport { usage: Usage::default(), fuel: Some(7), ..report.clone() };
    assert_eq!(cheap.outcome(), report.outcome());
    let other = Some(Digest([7; 32]));
    for different in [
        CageReport { exit: ExitStatus::Code(1), ..report.clone() },
        CageReport { stdout: ContentDigest([7; 32]), ..report.clone() },
        CageReport { stderr: ContentDigest([7; 32]), ..report.clone() },
        CageReport { output: other, ..report.clone() },
        CageReport { trace: other, ..report.clone() },
        CageReport { inputs: Digest([7; 32]), ..report.clone() },
        CageReport { level: metanode_types::level::CageLevel::Reproduced, ..report.clone() },
    ] {
        assert_ne!(different.outcome(), report.outcome());
    }
}

#[test]
fn without_a_majority_nobody_is_paid_and_the_payer_has_it_back() {
    let mut chain = deployed(3, 3);
    let payer = chain.balance(1);
    let escrow = chain.deployment("j").escrow.0;
    let asked = chain.asked("j", 0);
    let said: Vec<_> = asked.iter().map(|who| (*who, lie(&chain, "j", *who))).collect();
    let done = chain.round("j", 0, &said);
    assert_eq!(actions(&done), ["revealed", "unsettled", "finished"]);
    assert_eq!(chain.balance(1), payer + escrow);
    assert!(asked.iter().all(|who| chain.view().node(&address(*who)).unwrap().unwrap().faults == 0));
    assert!(
        matches!(&chain.replica("j", 0).phase, ReplicaPhase::Failed { reason } if reason.0.starts_with("unsettled"))
    );
    assert!(matches!(
        chain.deployment("j").status,
        DeploymentStatus::Finished { succeeded: 0, failed: 1, .. }
    ));
    assert_eq!((chain.view().supply().unwrap().bonded, chain.deployment("j").open), (Amount::ZERO, 0));
    let challenge = TxBody::Challenge { replica: id("j", 0), bond: Amount(BOND * 100) };
    assert_eq!(chain.code(2, challenge), Code::NotChallengeable as u32);
}

#[test]
fn who_does_not_commit_or_reveal_loses_the_bond_and_a_majority_is_of_those_asked() {
    for (committing, revealing, settles) in
        [(3, 2, true), (2, 2, true), (2, 1, false), (3, 1, false), (0, 0, false)]
    {
        let mut chain = deployed(3, 3);
        let asked = chain.asked("j", 0);
        let report = honest(&chain, "j");
        for who in &asked[..committing] {
            let body = chain.commit(*who, "j", 0, &report);
            chain.ok(*who, body);
        }
        let before: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
        let mut receipts = Vec::new();
        if committing < 3 {
            receipts.extend(pass_ms(&mut chain, 121_000, 11..14));
        }
        for who in &asked[..revealing] {
            let body = chain.reveal(*who, "j", 0, &report);
            receipts.extend(chain.ok(*who, body).receipts);
        }
        if revealing < committing {
            receipts.extend(pass_ms(&mut chain, 61_000, 11..14));
        }
        let settled = receipts.iter().any(|r| matches!(&r.body, ReceiptBody::Action(Action::Settled { .. })));
        let unsettled =
            receipts.iter().any(|r| matches!(&r.body, ReceiptBody::Action(Action::Unsettled { .. })));
        assert_eq!((settled, unsettled), (settles, !settles), "{committing} commit, {revealing} reveal");
        let burned = chain.view().supply().unwrap().burned.0;
        let late = (3 - revealing) as u128;
        let tariff = if settles { 110 * revealing as u128 } else { 0 };
        assert_eq!(burned, late * BOND + tariff);
        for (i, who) in asked.iter().enumerate() {
            let faults = chain.view().node(&address(*who)).unwrap().unwrap().faults;
            assert_eq!(faults, if i < revealing { 0 } else { limits::FAULT_MISSED });
            if i >= revealing {
                assert_eq!(chain.balance(*who), before[i], "its bond is gone");
            }
        }
    }
}

#[test]
fn a_run_without_a_verdict_is_no_vote_no_fault_and_no_loss() {
    let mut chain = deployed(5, 5);
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    let mut said = same(&asked, &report);
    said[0].1.exit = ExitStatus::OutOfMemory;
    said[1].1.machine = MachineClass { cpu: Digest([9; 32]), kernel: KernelRelease::new("5") };
    let before: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
    let done = chain.round("j", 0, &said);
    let votes = votes(&done);
    assert!(matches!(&votes.0[0].said, Said::NoVerdict(why) if why.0 == "out of memory"));
    assert!(matches!(&votes.0[1].said, Said::NoVerdict(why) if why.0.starts_with("ran on")));
    assert_eq!(chain.balance(asked[0]), before[0] + BOND, "its bond is back, there is no fee");
    assert_eq!(chain.view().node(&address(asked[0])).unwrap().unwrap().faults, 0);
    assert!(matches!(chain.verification("j", 0).stage, Stage::Open { .. }), "three of five are enough");

    chain.ok(1, TxBody::Deploy(verified("k", 1, 3)));
    let asked = chain.asked("k", 0);
    let mut said = same(&asked, &honest(&chain, "k"));
    said[0].1.level = metanode_types::level::CageLevel::Contained;
    said[1].1.exit = ExitStatus::Timeout;
    let done = chain.round("k", 0, &said);
    assert_eq!(actions(&done), ["revealed", "unsettled", "finished"], "one of three is not enough");
}

#[test]
fn nothing_is_revealed_early_and_nothing_else_than_was_committed_to() {
    let mut chain = deployed(4, 3);
    let asked = chain.asked("j", 0);
    let stranger = (11..15).find(|who| !asked.contains(who)).unwrap();
    let report = honest(&chain, "j");
    let body = chain.reveal(asked[0], "j", 0, &report);
    assert_eq!(chain.code(asked[0], body.clone()), Code::WrongStage as u32, "before its own commitment");
    let commit = chain.commit(asked[0], "j", 0, &report);
    chain.ok(asked[0], commit.clone());
    assert_eq!(chain.code(asked[0], commit.clone()), Code::NoChange as u32);
    assert_eq!(chain.code(asked[0], body.clone()), Code::WrongStage as u32, "before the others' commitments");
    assert_eq!(chain.code(stranger, commit.clone()), Code::OtherNode as u32);
    let TxBody::CommitReport { replica, epoch, .. } = commit.clone() else { panic!() };
    let stale = TxBody::CommitReport { replica, epoch: epoch + 1, commitment: Digest([1; 32]) };
    assert_eq!(chain.code(asked[1], stale), Code::StaleEpoch as u32);
    let exited = TxBody::Report(Report {
        replica: id("j", 0),
        epoch,
        event: ReplicaEvent::Exited { report: report.clone(), restarts: 0 },
    });
    assert_eq!(chain.code(asked[1], exited), Code::WrongEvent as u32);
    // A copy of another node's commitment cannot be opened: it names the node.
    chain.ok(asked[1], commit);
    let commit = chain.commit(asked[2], "j", 0, &report);
    chain.ok(asked[2], commit);
    let TxBody::RevealReport { replica, epoch, report: r, salt } = body.clone() else { panic!() };
    let copy = TxBody::RevealReport { replica, epoch, report: r, salt };
    assert_eq!(chain.code(asked[1], copy), Code::OtherCommitment as u32);
    let other = lie(&chain, "j", 5);
    let changed = chain.reveal(asked[2], "j", 0, &other);
    assert_eq!(chain.code(asked[2], changed), Code::OtherCommitment as u32);
    chain.ok(asked[0], body.clone());
    assert_eq!(chain.code(asked[0], body), Code::NoChange as u32);
    let mut other = report.clone();
    other.image = ContentDigest([8; 32]);
    assert_eq!(chain.verification("j", 0).outcome, None);
}

#[test]
fn a_report_of_something_else_than_assigned_is_refused_even_when_it_was_committed_to() {
    let mut chain = deployed(3, 3);
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    let mut wrong = report.clone();
    wrong.inputs.0[0] ^= 1;
    for (i, who) in asked.iter().enumerate() {
        let body = chain.commit(*who, "j", 0, if i == 0 { &wrong } else { &report });
        chain.ok(*who, body);
    }
    let body = chain.reveal(asked[0], "j", 0, &wrong);
    assert_eq!(chain.code(asked[0], body), Code::OtherImage as u32);
}

#[test]
fn fewer_fitting_nodes_than_asked_leave_it_pending_and_explain_says_so() {
    let mut chain = Chain::with_nodes(2);
    let class = |n: u8| MachineClass { cpu: Digest([n; 32]), kernel: KernelRelease::new("6.1") };
    for (who, n) in [(13, 1), (14, 1)] {
        chain.ok(who, TxBody::RegisterNode(NodeSpec { machine: class(n), ..node_spec(who) }));
    }
    chain.ok(1, TxBody::Deploy(verified("j", 1, 3)));
    assert!(
        matches!(chain.replica("j", 0).phase, ReplicaPhase::Pending { .. }),
        "two of each class are four"
    );
    assert_eq!(chain.view().supply().unwrap().bonded, Amount::ZERO);
    let now = chain.time_ms;
    let said = schedule::explain(&chain.view(), &name("j"), now).unwrap().unwrap();
    for node in &said[0].nodes {
        let broken: Vec<&str> = node.rules.iter().filter(|r| !r.ok).map(|r| r.rule).collect();
        assert_eq!(broken, ["verify-class"]);
        assert!(node.rules.last().unwrap().detail.contains("2 fitting nodes"), "{:?}", node.rules.last());
    }
    let other_kernel = MachineClass { kernel: KernelRelease::new("6.2"), ..class(1) };
    chain.ok(15, TxBody::RegisterNode(NodeSpec { machine: other_kernel, ..node_spec(15) }));
    assert!(
        matches!(chain.replica("j", 0).phase, ReplicaPhase::Pending { .. }),
        "another kernel is another class"
    );
    let said = schedule::explain(&chain.view(), &name("j"), now).unwrap().unwrap();
    assert!(said[0].nodes.iter().all(|n| n.rank.is_none()));
    chain.ok(16, TxBody::RegisterNode(NodeSpec { machine: class(1), ..node_spec(16) }));
    let mut asked = chain.asked("j", 0);
    asked.sort_unstable();
    assert_eq!(asked, [13, 14, 16], "three different nodes of one class");
}

#[test]
fn a_node_that_cannot_put_up_the_bond_is_not_asked() {
    let mut chain = Chain::with_nodes(3);
    let fee = 1000;
    let all = chain.balance(12) - BOND - fee;
    chain.ok(12, TxBody::Transfer { to: address(1), amount: Amount(all) });
    assert!(chain.balance(12) < BOND + fee);
    chain.ok(1, TxBody::Deploy(verified("j", 1, 3)));
    let placed = !matches!(chain.replica("j", 0).phase, ReplicaPhase::Pending { .. });
    assert_eq!(placed, chain.view().supply().unwrap().bonded > Amount::ZERO);
    chain.ok(1, TxBody::Deploy(verified("k", 1, 3)));
    assert!(matches!(chain.replica("k", 0).phase, ReplicaPhase::Pending { .. }), "not twice");
    let now = chain.time_ms;
    let said = schedule::explain(&chain.view(), &name("k"), now).unwrap().unwrap();
    let poor = said[0].nodes.iter().find(|n| n.name.as_str() == "node-12").unwrap();
    assert!(poor.rules.iter().any(|r| r.rule == "verify-bond" && !r.ok), "{:?}", poor.rules);
}

#[test]
fn admission_refuses_what_cannot_be_compared() {
    let mut chain = Chain::with_nodes(3);
    let mut contained = verified("j", 1, 3);
    contained.workload.cage_level = metanode_types::level::CageLevel::Contained;
    assert_eq!(chain.code(1, TxBody::Deploy(contained)), Code::VerifyNeedsPinned as u32);
    let mut pinned = service("s", 1);
    pinned.workload.image.kind = metanode_types::workload::ImageKind::Wasm;
    pinned.workload.cage_level = metanode_types::level::CageLevel::Pinned;
    assert_eq!(chain.code(1, TxBody::Deploy(pinned)), Code::ServiceNotContained as u32);
    for bad in [1, 2, 4, 11] {
        let tx = chain.tx(1, TxBody::Deploy(verified("j", 1, bad)));
        assert!(matches!(chain.invalid(&tx), Invalid::Malformed(_)), "verify {bad}");
    }
    let one = minimum_deposit(&chain.view(), &verified("j", 1, 0).workload, 1).unwrap();
    let three = minimum_deposit(&chain.view(), &verified("j", 1, 3).workload, 1).unwrap();
    assert_eq!(three.0, 3 * one.0, "three runs cost three times as much");
}

#[test]
fn a_stop_before_anyone_committed_cancels_and_later_it_is_settled_first() {
    let mut chain = deployed(3, 3);
    let asked = chain.asked("j", 0);
    let before: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
    let done = chain.ok(1, TxBody::Stop { deployment: name("j") });
    assert_eq!(actions(&done), ["stop-ordered", "unassigned", "unassigned", "unassigned", "finished"]);
    let after: Vec<u128> = asked.iter().map(|who| chain.balance(*who)).collect();
    assert!(after.iter().zip(&before).all(|(now, then)| *now == then + BOND));
    assert!(query::assignments_of(&chain.view(), &address(asked[0])).unwrap().is_empty());

    chain.ok(1, TxBody::Deploy(verified("j", 1, 3)));
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    let body = chain.commit(asked[0], "j", 0, &report);
    chain.ok(asked[0], body);
    chain.ok(1, TxBody::Stop { deployment: name("j") });
    assert!(matches!(chain.deployment("j").status, DeploymentStatus::Stopping(_)));
    assert_eq!(query::assignments_of(&chain.view(), &address(asked[1])).unwrap().len(), 1, "it goes on");
    let rest = same(&asked[1..], &report);
    for (who, report) in &rest {
        let body = chain.commit(*who, "j", 0, report);
        chain.ok(*who, body);
    }
    for who in &asked {
        let body = chain.reveal(*who, "j", 0, &report);
        chain.ok(*who, body);
    }
    assert!(matches!(chain.deployment("j").status, DeploymentStatus::Finished { succeeded: 1, .. }));
}

#[test]
fn a_lost_node_may_return_in_time_and_one_that_changes_is_late() {
    let mut chain = deployed(3, 3);
    let asked = chain.asked("j", 0);
    let report = honest(&chain, "j");
    for who in &asked[..2] {
        let body = chain.commit(*who, "j", 0, &report);
        chain.ok(*who, body);
    }
    for _ in 0..6 {
        let beats: Vec<SignedTx> = chain.heartbeats(11..14).into_iter().collect();
        let alive = beats.into_iter().filter(|tx| tx.envelope.sender != address(asked[2])).collect();
        chain.block_of_valid(5000, alive);
    }
    assert_eq!(chain.view().node(&address(asked[2])).unwrap().unwrap().status, NodeStatus::Lost);
    assert_eq!(query::assignments_of(&chain.view(), &address(asked[2])).unwrap().len(), 1);
    let body = chain.commit(asked[2], "j", 0, &report);
    chain.ok(asked[2], body);
    assert!(matches!(chain.verification("j", 0).stage, Stage::Revealing { .. }));

    let mut chain = deployed(3, 3);
    let asked = chain.asked("j", 0);
    let mut spec = node_spec(asked[2]);
    spec.machine.kernel = KernelRelease::new("6.2");
    chain.ok(asked[2], TxBody::RegisterNode(spec));
    let v = chain.verification("j", 0);
    let said = |e: &Execution| matches!(&e.step, Step::Over { said: Said::NoCommit, .. });
    assert!(said(&v.executions[2]) && v.executions[2].bond == Amount::ZERO);
    let report = honest(&chain, "j");
    let done = chain.round("j", 0, &same(&asked[..2], &report));
    assert_eq!(actions(&done), ["revealed", "settled", "finished"]);
}
