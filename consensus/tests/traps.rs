//! One test for each trap that the core, its macro or BLS has laid, and for each promise of the wrapper's gate.
//!
//! The traps are: (1) `ProposalOnly` takes every proposal for valid; (2) `decide()` panics on a bad certificate,
//! so no invalid signature may enter the vote keeper; (3) `process!` goes on after a failed effect; (4) `GetValue`
//! comes before replay; (5) `blst` has a thread pool by default; (6) own votes come back for verification;
//! (7) `target_time` reads a clock; (8) a decision carries only the block's id; (9) one validator decides within
//! one input; (10) far rounds and future heights cost memory.

mod bench;

use bench::{Bench, CHAIN, Choosy, block, find, keys, peer, position, proposal, vote};
use metanode_consensus::wal::{ProposedBlock, WalRecord};
use metanode_consensus::wire::{RoundCertificate, RoundCertificateKind, RoundVote, SignedVote};
use metanode_consensus::{
    ConsensusMessage, Effect, Fatal, Input, OffenceReason, SignHistory, SignRecord, Step, TimeoutId,
    TimeoutKind,
};
use metanode_types::bls::BlsSignature;
use metanode_types::vote::{VoteContent, VoteKind};
use std::sync::atomic::Ordering;

const PREVOTE: VoteKind = VoteKind::Prevote;
const PRECOMMIT: VoteKind = VoteKind::Precommit;

/// The block that the node itself voted for in the effects, `None` when it did not vote.
fn own_vote(
    effects: &[Effect],
    bench: &Bench,
    kind: VoteKind,
) -> Option<Option<metanode_types::ids::BlockId>> {
    effects.iter().find_map(|e| match e {
        Effect::Publish(bytes) => match ConsensusMessage::from_bytes(bytes).unwrap() {
            ConsensusMessage::Vote(v) if v.voter == bench.address && v.content.kind == kind => {
                Some(v.content.block)
            }
            _ => None,
        },
        _ => None,
    })
}

#[test]
fn trap_01_a_proposal_is_valid_only_when_the_application_says_so() {
    for verdict in [true, false] {
        let mut b = Bench::validator();
        b.start(1);
        let proposer = b.proposer(1, 0);
        let out = b.hear(&proposal(proposer, 1, 0, block(7), None));
        assert!(find(
            &out,
            |e| matches!(e, Effect::NeedBlockVerdict { height: 1, round: 0, block: id, .. } if *id == block(7))
        ));
        assert_eq!(own_vote(&out, &b, PREVOTE), None, "no vote before the verdict");
        let out = b.verdict(1, block(7), verdict);
        assert_eq!(own_vote(&out, &b, PREVOTE), Some(verdict.then(|| block(7))));
    }
}

#[test]
fn trap_02_two_halves_that_only_sum_to_valid_signatures_are_refused() {
    let mut b = Bench::validator_bls();
    b.start(1);
    let others = b.others();
    let content = VoteContent { kind: PRECOMMIT, height: 1, round: 0, block: Some(block(7)) };
    let message = content.signed_bytes(&CHAIN);
    let signatures: Vec<BlsSignature> = others.iter().map(|i| keys(*i).bls.sign(&message)).collect();
    let shift = keys(9).bls.sign(b"anything");
    let mut negated = shift;
    negated.0[0] ^= 0x20; // the sign bit of a compressed point
    let cheat = [
        BlsSignature::aggregate(&[signatures[0], shift]).unwrap(),
        BlsSignature::aggregate(&[signatures[1], negated]).unwrap(),
    ];
    let publics: Vec<_> = others[..2].iter().map(|i| keys(*i).bls.public()).collect();
    let sum = BlsSignature::aggregate(&cheat).unwrap();
    assert_eq!(sum.verify_aggregate(&publics, &message), Ok(()), "the cheat would fool an unweighted batch");
    for (who, signature) in others.iter().zip(cheat) {
        let voter = keys(*who).account.address();
        let out = b.hear(&ConsensusMessage::Vote(SignedVote { content, voter, signature }));
        assert_eq!(out, [Effect::Offence { peer: peer(), why: OffenceReason::BadSignature(voter) }]);
    }
}

#[test]
fn trap_02_a_decision_without_a_certificate_stops_the_process_and_does_not_panic() {
    let scheme = Choosy { refuse_aggregates: true, ..Choosy::default() };
    let mut b = Bench::with_scheme(scheme);
    b.start(1);
    b.propose_valid(1, 0, block(7));
    b.hear_votes(PREVOTE, 1, 0, Some(block(7)));
    let others = b.others();
    b.hear(&vote(others[0], PRECOMMIT, 1, 0, Some(block(7))));
    let fatal = b.try_hear(&vote(others[1], PRECOMMIT, 1, 0, Some(block(7)))).unwrap_err();
    assert!(matches!(fatal, Fatal::Certify { height: 1, .. }), "{fatal}");
    assert!(
        matches!(b.try_hear(&vote(others[2], PRECOMMIT, 1, 0, None)), Err(Fatal::Stopped)),
        "nothing works after it"
    );
}

#[test]
fn trap_03_a_signer_that_fails_stops_the_process() {
    let mut b = Bench::with_broken_signer();
    b.start(1);
    let proposer = b.proposer(1, 0);
    b.hear(&proposal(proposer, 1, 0, block(7), None));
    let fatal = b.step(Input::BlockVerdict { height: 1, block: block(7), valid: true }).unwrap_err();
    assert!(matches!(fatal, Fatal::Sign(_)), "{fatal}");
    assert!(matches!(b.step(Input::Timeout(b.timer(1, 0, TimeoutKind::Propose))), Err(Fatal::Stopped)));
}

#[test]
fn trap_03_replay_that_leads_elsewhere_stops_the_process() {
    let mut b = Bench::validator();
    let timer = TimeoutId { height: 1, round: 0, kind: TimeoutKind::Propose };
    // The elapsed timeout leads to a prevote for nil, but the log says that this node prevoted a block.
    let ours = b.own_vote(PREVOTE, 1, 0, Some(block(7)));
    let replay = vec![WalRecord::Timeout(timer), WalRecord::Vote(ours)];
    let fatal = b.start_with(1, replay).unwrap_err();
    assert!(matches!(&fatal, Fatal::Replay { what, height: 1, round: 0 } if what == "prevote"), "{fatal}");
}

#[test]
fn trap_04_no_value_is_asked_for_before_replay_has_ended() {
    let mut b = Bench::proposer_at(1);
    let elsewhere = b.others()[0];
    let heard = vote_record(elsewhere, PREVOTE, 1, 0, None);
    let out = b.start_with(1, vec![heard]).unwrap();
    let asked =
        position(&out, |e| matches!(e, Effect::GetValue { height: 1, round: 0, .. })).expect("still asked");
    assert_eq!(asked, out.len() - 1, "behind everything that replay did: {out:?}");
}

#[test]
fn trap_04_a_proposal_that_was_made_is_made_again_and_no_other() {
    let mut b = Bench::proposer_at(1);
    b.start(1);
    let first = b.step(Input::Propose { height: 1, round: 0, block: block(7) }).unwrap();
    let log = bench::logged(&first);
    assert!(log.len() >= 3, "block, proposal, prevote: {log:?}");
    for cut in 1..=log.len() {
        let mut again = b.reborn(&first);
        let out = again.start_with(1, log[..cut].to_vec()).unwrap();
        assert!(!find(&out, |e| matches!(e, Effect::GetValue { .. })), "cut at {cut}");
        let proposals: Vec<_> = bench::published(&out)
            .into_iter()
            .filter_map(|m| if let ConsensusMessage::Proposal(p) = m { Some(p.content.block) } else { None })
            .collect();
        assert!(proposals.iter().all(|p| *p == block(7)), "cut at {cut}: {proposals:?}");
    }
}

fn vote_record(
    who: usize,
    kind: VoteKind,
    height: u64,
    round: u32,
    id: Option<metanode_types::ids::BlockId>,
) -> WalRecord {
    match vote(who, kind, height, round, id) {
        ConsensusMessage::Vote(v) => WalRecord::Vote(v),
        _ => unreachable!(),
    }
}

#[test]
fn trap_05_blst_is_built_without_its_thread_pool_and_the_core_without_defaults() {
    let manifest = include_str!("../../Cargo.toml");
    let line = |name: &str| {
        manifest.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no line {name}"))
    };
    assert!(line("blst = ").contains("\"no-threads\""));
    for name in ["blst = ", "arc-malachitebft-core-consensus = ", "arc-malachitebft-core-types = "] {
        assert!(line(name).contains("default-features = false"), "{name}");
    }
    assert!(line("arc-malachitebft-core-consensus").contains("\"=0.8.2\""));
}

#[test]
fn trap_06_own_signatures_are_never_verified_and_foreign_ones_exactly_once() {
    let mut b = Bench::with_scheme(Choosy::default());
    b.start(1);
    b.propose_valid(1, 0, block(7));
    assert_eq!(b.verified.load(Ordering::SeqCst), 1, "the proposal; our prevote was not checked");
    b.hear_votes(PREVOTE, 1, 0, Some(block(7)));
    let before = b.verified.load(Ordering::SeqCst);
    let again = vote(b.others()[0], PREVOTE, 1, 0, Some(block(7)));
    assert_eq!(b.hear(&again), [], "a known vote is dropped");
    assert_eq!(b.verified.load(Ordering::SeqCst), before, "without any cost");
    assert_eq!(before, 1 + b.others().len(), "one check for each foreign message");
}

#[test]
fn trap_07_nothing_waits_for_a_target_time_after_a_decision() {
    let mut b = Bench::validator();
    b.start(1);
    let out = b.decide(1, block(7));
    let decided = position(&out, |e| matches!(e, Effect::Decide(_))).unwrap();
    let rest = &out[decided + 1..];
    assert!(find(rest, |e| matches!(e, Effect::CancelAllTimeouts)));
    assert!(!find(rest, |e| matches!(e, Effect::StartedRound { .. } | Effect::GetValue { .. })), "{rest:?}");
    assert!(b.consensus.is_decided());
    let late = b.timer(1, 0, TimeoutKind::Rebroadcast);
    assert_eq!(b.step(Input::Timeout(late)).unwrap(), [], "quiet after a decision");
}

#[test]
fn trap_08_a_block_is_durable_before_its_verdict_is_logged() {
    let mut b = Bench::validator();
    b.start(1);
    let out = b.propose_valid(1, 0, block(7));
    let persisted = position(&out, |e| *e == Effect::PersistBlock { block: block(7) }).unwrap();
    let logged =
        position(&out, |e| matches!(e, Effect::WalAppend(WalRecord::Block(b)) if b.block == block(7)))
            .unwrap();
    assert!(persisted < logged);
    let mut p = Bench::proposer_at(1);
    p.start(1);
    let out = p.step(Input::Propose { height: 1, round: 0, block: block(8) }).unwrap();
    assert_eq!(out[0], Effect::PersistBlock { block: block(8) }, "own blocks too");
}

#[test]
fn trap_09_a_single_validator_decides_and_then_rests() {
    let mut b = Bench::alone();
    for height in 1..=20 {
        let out = b.start(height);
        assert!(find(&out, |e| matches!(e, Effect::GetValue { round: 0, .. })));
        let out = b.step(Input::Propose { height, round: 0, block: block(height as u8) }).unwrap();
        let decisions = out.iter().filter(|e| matches!(e, Effect::Decide(_))).count();
        assert_eq!(decisions, 1, "one height per StartHeight");
        assert!(
            !find(&out, |e| matches!(e, Effect::GetValue { .. })),
            "the next height waits for the application"
        );
    }
}

#[test]
fn trap_10_far_rounds_cost_nothing_and_future_heights_are_bounded() {
    let mut b = Bench::with_scheme(Choosy::default());
    b.start(1);
    let who = b.others()[0];
    assert_eq!(b.hear(&vote(who, PREVOTE, 1, 11, None)), [], "more than ten rounds ahead");
    assert_eq!(b.verified.load(Ordering::SeqCst), 0, "not even verified");
    // A future height keeps one vote per author, kind and round, however many variants are sent.
    for n in 0..50 {
        b.hear(&vote(who, PREVOTE, 2, 0, Some(block(n))));
    }
    assert_eq!(b.verified.load(Ordering::SeqCst), 1, "the rest is dropped before verification");
    assert!(find(&b.hear(&vote(who, PREVOTE, 9, 0, None)), |e| matches!(
        e,
        Effect::HeightSeen { height: 9, .. }
    )));
    let out = b.start(2);
    let heard = bench::logged(&out);
    assert_eq!(heard.len(), 1, "the queued vote is applied when its height starts: {heard:?}");
}

#[test]
fn order_log_and_guard_are_durable_before_anything_that_reveals_a_signature() {
    let mut b = Bench::validator();
    let mut out = b.start(1);
    out.extend(b.propose_valid(1, 0, block(7)));
    out.extend(b.hear_votes(PREVOTE, 1, 0, Some(block(7))));
    out.extend(b.hear_votes(PRECOMMIT, 1, 0, Some(block(7))));
    assert!(find(&out, |e| matches!(e, Effect::Decide(_))));
    let (mut unsynced, mut guard) = (0, None);
    for effect in &out {
        match effect {
            Effect::WalAppend(_) => unsynced += 1,
            Effect::WalSync => unsynced = 0,
            Effect::PersistGuard(history) => {
                assert_eq!(unsynced, 0, "the guard may not run ahead of the log");
                guard = history.last;
            }
            Effect::Publish(bytes) => {
                assert_eq!(unsynced, 0);
                if let ConsensusMessage::Vote(v) = ConsensusMessage::from_bytes(bytes).unwrap() {
                    let position = (v.content.height, v.content.round, v.step());
                    assert!(guard.is_some_and(|g| g.position() >= position), "{position:?}");
                }
            }
            Effect::Decide(_) | Effect::StartedRound { .. } => assert_eq!(unsynced, 0),
            _ => {}
        }
    }
}

#[test]
fn a_guard_ahead_of_the_log_mutes_the_node_for_the_height_only() {
    let mut b = Bench::validator();
    let signed = SignRecord::of(2, 0, Step::Prevote, b"lost with the log");
    b.restart_with_history(|h| SignHistory { last: Some(signed), ..h });
    for height in [1, 2] {
        let out = b.start(height);
        assert!(find(&out, |e| *e == Effect::Muted { height }));
        let out = b.propose_valid(height, 0, block(7));
        assert_eq!(own_vote(&out, &b, PREVOTE), None, "it only listens");
        b.hear_votes(PREVOTE, height, 0, Some(block(7)));
        let out = b.hear_votes(PRECOMMIT, height, 0, Some(block(7)));
        assert!(find(&out, |e| matches!(e, Effect::Decide(_))), "but it follows");
    }
    assert!(!find(&b.start(3), |e| matches!(e, Effect::Muted { .. })));
    assert!(own_vote(&b.propose_valid(3, 0, block(9)), &b, PREVOTE).is_some());
}

#[test]
fn the_guard_catches_up_with_a_log_that_was_synced_just_before_the_crash() {
    let mut b = Bench::validator();
    b.start(1);
    let out = b.propose_valid(1, 0, block(7));
    let mut again = b.reborn(&[]); // the guard's write was lost
    let out = again.start_with(1, bench::logged(&out)).unwrap();
    let guard = position(&out, |e| matches!(e, Effect::PersistGuard(h) if h.last.is_some())).unwrap();
    let sync = position(&out, |e| matches!(e, Effect::WalSync)).unwrap();
    let publish = position(&out, |e| matches!(e, Effect::Publish(_))).unwrap();
    assert!(sync < guard && guard < publish);
}

#[test]
fn the_gate_names_every_offence() {
    let mut b = Bench::validator();
    b.start(1);
    let accused = |out: Vec<Effect>| match &out[..] {
        [Effect::Offence { why, .. }] => why.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(accused(b.bytes(b"junk")), OffenceReason::Undecodable(_)));
    assert!(matches!(accused(b.bytes(&[])), OffenceReason::Undecodable(_)));
    let stranger = keys(9).account.address();
    assert_eq!(accused(b.hear(&vote(9, PREVOTE, 1, 0, None))), OffenceReason::NotAValidator(stranger));
    let not_proposer = (0..4).find(|i| *i != b.proposer(1, 0) && *i != b.index).unwrap();
    let author = keys(not_proposer).account.address();
    let out = b.hear(&proposal(not_proposer, 1, 0, block(1), None));
    assert_eq!(accused(out), OffenceReason::NotTheProposer(author, 0));
    let out = b.hear(&proposal(b.proposer(1, 1), 1, 1, block(1), Some(1)));
    assert!(matches!(accused(out), OffenceReason::Nonsense(_)));
    let mut forged = vote(b.others()[0], PREVOTE, 1, 0, None);
    if let ConsensusMessage::Vote(v) = &mut forged {
        v.content.block = Some(block(1));
    }
    assert!(matches!(accused(b.hear(&forged)), OffenceReason::BadSignature(_)));
}

fn round_vote(who: usize, kind: VoteKind, round: u32) -> RoundVote {
    match vote(who, kind, 1, round, None) {
        ConsensusMessage::Vote(v) => RoundVote { kind, block: None, voter: v.voter, signature: v.signature },
        _ => unreachable!(),
    }
}

#[test]
fn round_certificates_are_verified_for_real() {
    let mut b = Bench::validator();
    b.start(1);
    let others = b.others();
    let cert = |votes: Vec<RoundVote>| {
        ConsensusMessage::Round(RoundCertificate {
            height: 1,
            round: 3,
            kind: RoundCertificateKind::Skip,
            votes,
        })
    };
    let refused = |out: Vec<Effect>| match &out[..] {
        [Effect::Offence { why: OffenceReason::BadCertificate(why), .. }] => *why,
        other => panic!("{other:?}"),
    };
    let good = |i: usize| round_vote(others[i], PREVOTE, 3);
    assert_eq!(refused(b.hear(&cert(vec![good(0)]))), "its signers are too few");
    assert_eq!(refused(b.hear(&cert(vec![]))), "its signers are too few");
    assert_eq!(refused(b.hear(&cert(vec![good(0), good(0)]))), "it counts a validator twice");
    let stranger = round_vote(9, PREVOTE, 3);
    assert_eq!(refused(b.hear(&cert(vec![good(0), stranger]))), "it names someone who is not a validator");
    let other_round = round_vote(others[1], PREVOTE, 2);
    assert_eq!(refused(b.hear(&cert(vec![good(0), other_round]))), "a signature in it does not verify");
    let out = b.hear(&cert(vec![good(0), good(1)]));
    assert!(find(&out, |e| matches!(e, Effect::StartedRound { round: 3, .. })), "{out:?}");
}

#[test]
fn two_votes_for_one_place_become_evidence_that_anyone_can_check() {
    let mut b = Bench::validator();
    b.start(1);
    let liar = b.others()[0];
    b.hear(&vote(liar, PREVOTE, 1, 0, None));
    b.hear(&vote(liar, PREVOTE, 1, 0, Some(block(3))));
    let out = b.decide(1, block(7));
    let evidence: Vec<_> =
        out.iter().filter_map(|e| if let Effect::Evidence(e) = e { Some(e) } else { None }).collect();
    assert_eq!(evidence.len(), 2, "nil against a block, and nil against the decided block");
    assert_eq!(evidence[0].author(), keys(liar).account.address());
    assert_eq!(evidence[0].verify(&*b.scheme, &CHAIN, &b.set), Ok(()));
    let metanode_consensus::Evidence::Votes { first, second } = evidence[0].clone() else { panic!("votes") };
    let twice = metanode_consensus::Evidence::Votes { first: first.clone(), second: first.clone() };
    assert!(twice.verify(&*b.scheme, &CHAIN, &b.set).is_err(), "the same vote twice proves nothing");
    let swapped = metanode_consensus::Evidence::Votes { first: second.clone(), second: first.clone() };
    assert!(swapped.verify(&*b.scheme, &CHAIN, &b.set).is_err(), "one contradiction has one encoding");
    let mut framed = second;
    framed.content.block = Some(block(4));
    let framed = metanode_consensus::Evidence::votes(first, framed);
    assert!(framed.verify(&*b.scheme, &CHAIN, &b.set).is_err(), "nobody can be framed");
}

#[test]
fn our_key_in_use_elsewhere_is_noticed_and_its_votes_are_not_counted() {
    let mut b = Bench::validator();
    b.start(1);
    let twin = b.own_vote(PREVOTE, 1, 0, Some(block(3)));
    assert_eq!(b.hear(&ConsensusMessage::Vote(twin)), [Effect::TwinDetected { height: 1, round: 0 }]);
    let out = b.propose_valid(1, 0, block(7));
    let echo = bench::published(&out).pop().unwrap();
    assert_eq!(b.hear(&echo), [], "an echo of our own vote is nothing new");
}

#[test]
fn late_and_unasked_answers_change_nothing() {
    let mut b = Bench::proposer_at(1);
    b.start(1);
    for (height, round) in [(2, 0), (1, 1), (0, 0)] {
        assert_eq!(b.step(Input::Propose { height, round, block: block(1) }).unwrap(), []);
    }
    assert_eq!(b.verdict(1, block(9), true), [], "a verdict before the proposal is kept for later");
    let out = b.step(Input::Propose { height: 1, round: 0, block: block(7) }).unwrap();
    assert!(own_vote(&out, &b, PREVOTE).is_some());
    assert_eq!(
        b.step(Input::Propose { height: 1, round: 0, block: block(8) }).unwrap(),
        [],
        "one answer per question"
    );
    let mut v = Bench::validator();
    v.start(1);
    v.verdict(1, block(7), true);
    let out = v.hear(&proposal(v.proposer(1, 0), 1, 0, block(7), None));
    assert!(own_vote(&out, &v, PREVOTE) == Some(Some(block(7))), "and then used: {out:?}");
    assert!(matches!(v.try_start(1), Err(Fatal::StartHeight { asked: 1, current: 1 })));
}

#[test]
fn a_peer_at_a_decided_height_is_told_apart_from_one_ahead() {
    let mut b = Bench::validator();
    b.start(1);
    b.decide(1, block(7));
    let out = b.hear(&vote(b.others()[0], PREVOTE, 1, 1, None));
    assert_eq!(out, [Effect::PeerBehind { peer: peer(), height: 1 }]);
    let out = b.hear(&proposal(b.proposer(2, 0), 2, 0, block(8), None));
    assert_eq!(
        out,
        [Effect::HeightSeen { height: 2, peer: peer() }],
        "an idle node learns that others go on"
    );
    let out = b.start(2);
    assert!(
        find(&out, |e| matches!(e, Effect::NeedBlockVerdict { height: 2, .. })),
        "and finds the proposal"
    );
}

#[test]
fn records_of_other_heights_are_ignored_or_refused() {
    let mut b = Bench::validator();
    let old = WalRecord::Block(ProposedBlock {
        height: 1,
        round: 0,
        proposer: b.address,
        block: block(1),
        valid: true,
    });
    let out = b.start_with(2, vec![old.clone()]).unwrap();
    assert_eq!(out[0], Effect::WalReset { height: 2 });
    let mut b = Bench::validator();
    let WalRecord::Block(mut ahead) = old else { unreachable!() };
    ahead.height = 3;
    let fatal = b.start_with(2, vec![WalRecord::Block(ahead)]).unwrap_err();
    assert!(matches!(fatal, Fatal::ReplayAhead { height: 2, record: 3 }), "{fatal}");
}
