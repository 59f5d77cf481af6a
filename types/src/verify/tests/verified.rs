//! Receipts of verified jobs: each named check has a mutation that fails only it.

use super::*;
use crate::cage_report::commitment;
use crate::receipt::{Said, Vote, Votes};
use crate::tx::ShortText;

fn salt() -> Digest {
    digest(41)
}

fn vote(n: u8, said: Said) -> Vote {
    let node = if n == 0 { node().address() } else { Address([n; 32]) };
    Vote { node, name: format!("node-{n}").parse().unwrap(), said }
}

/// Two agree, one differs.
fn votes() -> Votes {
    let agreed = Said::Outcome(report().outcome());
    Votes(vec![vote(0, agreed.clone()), vote(1, Said::Outcome(digest(42))), vote(2, agreed)])
}

/// The assignment, then the action in question by the state machine or by `tx`.
fn story(tx: SignedTx, by_tx: bool, action: impl FnOnce(crate::ids::ReceiptId) -> Action) -> Story {
    let first = assigned(digest(23));
    let action = action(first.id());
    let end = Receipt {
        seq: 1,
        previous: Some(first.id()),
        height: 4,
        tx_index: by_tx.then_some(0),
        tx: by_tx.then(|| tx.id()),
        before: digest(11),
        after: digest(13),
        body: ReceiptBody::Action(action),
        ..first.clone()
    };
    Story { receipts: vec![first, end], tx, subject: 1, block_starts: 1 }
}

fn signed(body: TxBody) -> SignedTx {
    SignedTx::sign(&node(), trust().chain_id, 5, 60_000, Amount(1000), body)
}

fn reveal_of(report: &CageReport) -> SignedTx {
    signed(TxBody::RevealReport { replica: replica(), epoch: 3, report: report.clone(), salt: salt() })
}

fn revealed(change: impl FnOnce(&mut CageReport, &mut Digest)) -> Story {
    let mut told = report();
    let node = node().address();
    let mut committed = commitment(&told, &salt(), &node, &replica(), 3);
    change(&mut told, &mut committed);
    story(reveal_of(&told), true, |assignment| Action::Revealed {
        node,
        epoch: 3,
        assignment,
        commitment: committed,
        report: told,
        salt: salt(),
    })
}

fn committed() -> Story {
    let node = node().address();
    let commitment = commitment(&report(), &salt(), &node, &replica(), 3);
    let tx = signed(TxBody::CommitReport { replica: replica(), epoch: 3, commitment });
    story(tx, true, |assignment| Action::Committed { node, epoch: 3, assignment, commitment })
}

/// What a settlement says; each field may be made to lie.
struct Claim {
    asked: u32,
    outcome: Digest,
    report: CageReport,
    votes: Votes,
}

fn settled(by_tx: bool, change: impl FnOnce(&mut Claim)) -> Story {
    let mut claim = Claim { asked: 3, outcome: report().outcome(), report: report(), votes: votes() };
    change(&mut claim);
    let Claim { asked, outcome, report: won, votes } = claim;
    story(reveal_of(&report()), by_tx, |assignment| Action::Settled {
        epoch: 3,
        asked,
        assignment,
        outcome,
        report: won,
        votes,
    })
}

fn unsettled(asked: u32, votes: Votes) -> Story {
    story(reveal_of(&report()), false, |_| Action::Unsettled { epoch: 3, asked, votes })
}

fn decided(challenged: Digest, upheld: bool) -> Story {
    story(reveal_of(&report()), true, |assignment| Action::ChallengeDecided {
        node: node().address(),
        epoch: 3,
        assignment,
        challenger: Address([50; 32]),
        challenged,
        report: report(),
        upheld,
    })
}

fn poe_alone(story: &Story) {
    assert_eq!(failed(&bundle(story, false)), ["POE"]);
}

#[test]
fn honest_verified_stories_verify_in_a_core_bundle() {
    let no_majority = Votes(vec![
        vote(0, Said::Outcome(digest(1))),
        vote(1, Said::NoVerdict(ShortText::new("timeout"))),
        vote(2, Said::NoReveal),
    ]);
    let stories = [
        committed(),
        revealed(|_, _| {}),
        settled(true, |_| {}),
        settled(false, |_| {}),
        unsettled(3, no_majority),
        decided(report().outcome(), true),
        decided(digest(42), false),
    ];
    for story in stories {
        for full in [false, true] {
            let b = bundle(&story, full);
            let v = verify(&b, &trust());
            assert!(v.verified(), "{:#?}", v.checks);
            assert_eq!(Bundle::from_bytes(&b.to_bytes()).unwrap(), b);
        }
        assert!(bundle(&story, false).to_bytes().len() <= crate::limits::CORE_BUNDLE_BYTES);
    }
}

#[test]
fn the_evidence_names_who_agrees_and_who_differs() {
    let v = verify(&bundle(&settled(true, |_| {}), false), &trust());
    let poe = v.checks.iter().find(|c| c.name == "POE").unwrap();
    let Status::Passed(text) = &poe.status else { panic!("{poe:?}") };
    assert!(
        text.contains("2 of 3 nodes agree (node-0, node-2)") && text.contains("node-1 differs"),
        "{text}"
    );
}

#[test]
fn poe_alone_when_the_commitment_does_not_open() {
    poe_alone(&revealed(|_, committed| committed.0[0] ^= 1));
    poe_alone(&revealed(|report, _| report.stdout = ContentDigest([1; 32])));
    poe_alone(&revealed(|report, _| report.usage.cpu_ms += 1));
}

#[test]
fn poe_alone_when_the_commitment_is_another_nodes_or_executions() {
    let told = report();
    let (own, replica) = (node().address(), replica());
    for copied in [
        commitment(&told, &salt(), &Address([1; 32]), &replica, 3),
        commitment(&told, &salt(), &own, &replica, 4),
        commitment(&told, &digest(1), &own, &replica, 3),
    ] {
        poe_alone(&revealed(|_, committed| *committed = copied));
    }
}

#[test]
fn poe_alone_when_the_votes_are_not_a_majority() {
    poe_alone(&settled(true, |c| c.votes.0[2].said = Said::NoReveal));
    poe_alone(&settled(true, |c| c.votes.0[2].said = Said::Outcome(digest(43))));
}

#[test]
fn poe_alone_when_a_majority_of_those_that_answered_is_not_one_of_those_asked() {
    poe_alone(&settled(true, |c| {
        c.asked = 5;
        c.votes.0.push(vote(3, Said::NoCommit));
        c.votes.0.push(vote(4, Said::NoCommit));
    }));
}

#[test]
fn poe_alone_when_the_outcome_is_the_minoritys() {
    poe_alone(&settled(true, |c| c.outcome = digest(42)));
}

#[test]
fn poe_alone_when_the_report_is_not_of_the_outcome() {
    poe_alone(&settled(true, |c| c.report.exit = ExitStatus::Code(1)));
}

#[test]
fn poe_alone_when_votes_are_missing_or_a_node_votes_twice() {
    poe_alone(&settled(true, |c| drop(c.votes.0.remove(1))));
    poe_alone(&settled(true, |c| c.votes.0[2].node = c.votes.0[0].node));
}

#[test]
fn poe_alone_when_the_winning_run_is_not_of_the_assigned_image_or_inputs() {
    let other = |change: fn(&mut CageReport)| {
        settled(true, move |c| {
            change(&mut c.report);
            c.outcome = c.report.outcome();
            let said = Said::Outcome(c.outcome);
            (c.votes.0[0].said, c.votes.0[2].said) = (said.clone(), said);
        })
    };
    poe_alone(&other(|r| r.image = ContentDigest([1; 32])));
    poe_alone(&other(|r| r.inputs = digest(1)));
}

#[test]
fn poe_alone_when_a_majority_is_called_unsettled() {
    poe_alone(&unsettled(3, votes()));
    poe_alone(&unsettled(4, Votes(votes().0)));
}

#[test]
fn poe_alone_when_a_challenge_is_decided_against_its_own_run() {
    poe_alone(&decided(report().outcome(), false));
    poe_alone(&decided(digest(42), true));
}

#[test]
fn poa_alone_when_the_signed_report_or_commitment_is_another() {
    let mut b = revealed(|_, _| {});
    let mut other = report();
    other.usage.cpu_ms += 1;
    b.tx = reveal_of(&other);
    b.receipts[1].tx = Some(b.tx.id());
    assert_eq!(failed(&bundle(&b, false)), ["POA"]);
    let mut c = committed();
    c.tx = signed(TxBody::CommitReport { replica: replica(), epoch: 3, commitment: digest(1) });
    c.receipts[1].tx = Some(c.tx.id());
    assert_eq!(failed(&bundle(&c, false)), ["POA"]);
    let mut stranger = committed();
    let e = stranger.tx.envelope.clone();
    let other = AccountSecret::from_seed([99; 32]);
    stranger.tx = SignedTx::sign(&other, e.chain_id, e.nonce, e.valid_until, e.fee_limit, stranger.tx.body);
    stranger.receipts[1].tx = Some(stranger.tx.id());
    assert_eq!(failed(&bundle(&stranger, false)), ["POA"], "not by the assigned node");
}

fn bonded(kind: EconomicKind, subject: Subject, change: impl FnOnce(&mut Economic)) -> Story {
    let payer = AccountSecret::from_seed([8; 32]).address();
    let mut economic = Economic::new(kind, payer, Address::default()).unwrap();
    change(&mut economic);
    let mut story = story(reveal_of(&report()), false, |_| Action::NodeLost);
    let end = &mut story.receipts[1];
    (end.subject, end.seq, end.previous, end.before) = (subject, 0, None, Digest::default());
    end.body = ReceiptBody::Economic(economic);
    story
}

#[test]
fn pog_of_bonds() {
    let payer = AccountSecret::from_seed([8; 32]).address();
    let (own, account) = (Subject::Replica(replica()), Subject::Account(payer));
    let other = Subject::Replica(ReplicaId { index: 1, ..replica() });
    let bond = trust().params.verify.bond;
    let put = |amount, fee| EconomicKind::Bonded { replica: replica(), amount, fee };
    let back = EconomicKind::BondReturned { replica: replica(), to: Address([5; 32]), amount: bond };
    let (from, to) = (Address([5; 32]), Address([6; 32]));
    let paid = EconomicKind::BondPaid { replica: replica(), from, to, amount: bond };
    let burned = EconomicKind::BondBurned { replica: replica(), from, amount: bond };
    let honest = [
        bonded(put(bond, Amount::ZERO), account.clone(), |_| {}),
        bonded(back.clone(), own.clone(), |_| {}),
        bonded(paid.clone(), own.clone(), |_| {}),
        bonded(burned, own.clone(), |_| {}),
    ];
    for story in &honest {
        assert_eq!(failed(&bundle(story, false)), [""; 0]);
    }
    let lies = [
        bonded(put(Amount(bond.0 + 1), Amount::ZERO), account.clone(), |_| {}),
        bonded(put(bond, Amount(1)), account, |_| {}),
        bonded(back, other, |_| {}),
        bonded(paid, own, |e| (e.postings[0].delta, e.postings[1].delta) = (-1, 1)),
    ];
    for story in &lies {
        assert_eq!(failed(&bundle(story, false)), ["POG"]);
    }
}
