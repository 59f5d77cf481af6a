//! Any mix of inputs: garbage, properly signed nonsense of all other validators, timers, verdicts, restarts.
//!
//! Whatever the others sign (here all of them may lie, more than any fault model allows), this node neither
//! panics nor stops, never contradicts itself, and never decides two blocks at a height. Tests of the seams
//! between inputs that no scenario thought of.

mod bench;

use bench::{Bench, block, keys, proposal, vote};
use metanode_consensus::wal::WalRecord;
use metanode_consensus::wire::{PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote};
use metanode_consensus::{ConsensusMessage, Effect, Input, SignRecord, TimeoutId, TimeoutKind};
use metanode_types::vote::VoteKind;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Act {
    Vote { who: usize, precommit: bool, height: u64, round: u32, block: Option<u8> },
    Proposal { height: u64, round: u32, block: u8, pol: Option<u32> },
    Polka { round: u32, block: u8, signers: u8 },
    Round { round: u32, precommit: bool, signers: u8 },
    Verdict { block: u8, valid: bool },
    Propose { round: u32, block: u8 },
    Timeout { round: u32, kind: u8 },
    Garbage(Vec<u8>),
    Next,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let (round, height, b) = (0u32..5, 1u64..4, 0u8..3);
    prop_oneof![
        8 => (0usize..5, any::<bool>(), height.clone(), round.clone(), prop::option::weighted(0.8, b.clone()))
            .prop_map(|(who, precommit, height, round, block)| Act::Vote { who, precommit, height, round, block }),
        4 => (height, round.clone(), b.clone(), prop::option::weighted(0.3, round.clone()))
            .prop_map(|(height, round, block, pol)| Act::Proposal { height, round, block, pol }),
        2 => (round.clone(), b.clone(), any::<u8>())
            .prop_map(|(round, block, signers)| Act::Polka { round, block, signers }),
        2 => (round.clone(), any::<bool>(), any::<u8>())
            .prop_map(|(round, precommit, signers)| Act::Round { round, precommit, signers }),
        4 => (b.clone(), prop::bool::weighted(0.8)).prop_map(|(block, valid)| Act::Verdict { block, valid }),
        2 => (round.clone(), b).prop_map(|(round, block)| Act::Propose { round, block }),
        4 => (round, 0u8..4).prop_map(|(round, kind)| Act::Timeout { round, kind }),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Act::Garbage),
        1 => Just(Act::Next),
        1 => Just(Act::Crash),
    ]
}

struct Subject {
    bench: Bench,
    height: u64,
    log: Vec<WalRecord>,
    performed: Vec<Effect>,
    signed: BTreeMap<(u64, u32, u8), [u8; 32]>,
    decided: BTreeMap<u64, metanode_types::ids::BlockId>,
}

impl Subject {
    fn new(index: usize) -> Self {
        let mut subject = Subject {
            bench: Bench::numbered(index),
            height: 1,
            log: vec![],
            performed: vec![],
            signed: BTreeMap::new(),
            decided: BTreeMap::new(),
        };
        subject.start(vec![]);
        subject
    }

    fn start(&mut self, replay: Vec<WalRecord>) {
        let out = self.bench.start_with(self.height, replay).expect("a height starts");
        self.see(out);
    }

    fn see(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match &effect {
                Effect::WalReset { .. } => self.log.clear(),
                Effect::WalAppend(record) => self.log.push(record.clone()),
                Effect::PersistGuard(history) => {
                    let SignRecord { height, round, step, digest } =
                        history.last.expect("something was signed");
                    let first = *self.signed.entry((height, round, step as u8)).or_insert(digest.0);
                    assert_eq!(first, digest.0, "signed twice at {height}/{round}/{step:?}");
                }
                Effect::Decide(c) => {
                    let first = *self.decided.entry(c.height).or_insert(c.block);
                    assert_eq!(first, c.block, "decided twice at {}", c.height);
                }
                _ => {}
            }
            self.performed.push(effect);
        }
    }

    fn input(&mut self, input: Input) {
        let out = self.bench.step(input).expect("nothing that others do stops a node");
        self.see(out);
    }

    fn act(&mut self, act: &Act) {
        let height = self.height;
        let message = match act {
            Act::Vote { who, precommit, height, round, block: b } => {
                vote(*who, kind(*precommit), *height, *round, b.map(block))
            }
            Act::Proposal { height, round, block: b, pol } => {
                proposal(self.bench.proposer(*height, *round), *height, *round, block(*b), *pol)
            }
            Act::Polka { round, block: b, signers } => polka(height, *round, *b, *signers),
            Act::Round { round, precommit, signers } => {
                round_certificate(height, *round, *precommit, *signers)
            }
            Act::Verdict { block: b, valid } => {
                return self.input(Input::BlockVerdict { height, block: block(*b), valid: *valid });
            }
            Act::Propose { round, block: b } => {
                return self.input(Input::Propose { height, round: *round, block: block(*b) });
            }
            Act::Timeout { round, kind } => {
                let kind = [
                    TimeoutKind::Propose,
                    TimeoutKind::Prevote,
                    TimeoutKind::Precommit,
                    TimeoutKind::Rebroadcast,
                ][*kind as usize];
                return self.input(Input::Timeout(TimeoutId { height, round: *round, kind }));
            }
            Act::Garbage(bytes) => {
                let out = self.bench.bytes(bytes);
                return self.see(out);
            }
            Act::Next => {
                self.height += 1;
                return self.start(vec![]);
            }
            Act::Crash => {
                self.bench = self.bench.reborn(&self.performed);
                return self.start(self.log.clone());
            }
        };
        let out = self.bench.try_hear(&message).expect("nothing that others say stops a node");
        self.see(out);
    }
}

fn kind(precommit: bool) -> VoteKind {
    if precommit { VoteKind::Precommit } else { VoteKind::Prevote }
}

fn chosen(signers: u8) -> impl Iterator<Item = usize> {
    (0..5).filter(move |i| signers >> i & 1 == 1)
}

fn polka(height: u64, round: u32, b: u8, signers: u8) -> ConsensusMessage {
    let sign = |i| match vote(i, VoteKind::Prevote, height, round, Some(block(b))) {
        ConsensusMessage::Vote(v) => (keys(i).account.address(), v.signature),
        _ => unreachable!(),
    };
    let signatures = chosen(signers).map(sign).collect();
    ConsensusMessage::Polka(PolkaCertificate { height, round, block: block(b), signatures })
}

fn round_certificate(height: u64, round: u32, precommit: bool, signers: u8) -> ConsensusMessage {
    let sign = |i| match vote(i, kind(precommit), height, round, None) {
        ConsensusMessage::Vote(v) => {
            RoundVote { kind: v.content.kind, block: None, voter: v.voter, signature: v.signature }
        }
        _ => unreachable!(),
    };
    let votes = chosen(signers).map(sign).collect();
    let kind = if precommit { RoundCertificateKind::Precommit } else { RoundCertificateKind::Skip };
    ConsensusMessage::Round(RoundCertificate { height, round, kind, votes })
}

proptest! {
    #[test]
    fn any_mix_of_inputs_neither_stops_nor_contradicts_the_node(
        index in 0usize..4,
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut subject = Subject::new(index);
        for act in &acts {
            subject.act(act);
        }
    }
}
