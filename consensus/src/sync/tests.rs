//! Sync against honest, slow, silent and lying peers, under virtual time.

use super::*;
use crate::scheme::{InsecureTwin, InsecureTwinKey, Scheme, Signer};
use metanode_types::account::AccountSecret;
use metanode_types::block::{
    Block, HEADER_VERSION, Header, LastCommit, ModuleRoots, app_root, no_evidence_root, txs_root,
};
use metanode_types::certificate::Bitmap;
use metanode_types::ids::Address;
use metanode_types::validator::Validator;
use std::collections::BTreeMap;
use std::sync::Arc;

const CHAIN: ChainId = ChainId([9; 32]);

fn set() -> ValidatorSet {
    let validator = |i: u8| Validator {
        bls: InsecureTwinKey::numbered(i.into()).public(),
        account: AccountSecret::from_seed([i; 32]).public(),
        power: 1,
    };
    ValidatorSet::new((1..=4).map(validator).collect()).unwrap()
}

fn certify(block: BlockId, height: u64) -> Certificate {
    let mut signers = Bitmap::new();
    (0..3).for_each(|i| signers.set(i));
    let mut certificate = Certificate {
        height,
        round: 0,
        block,
        signers,
        signature: metanode_types::bls::BlsSignature([0; 96]),
    };
    let message = certificate.vote().signed_bytes(&CHAIN);
    let signatures: Vec<_> =
        set().members()[..3].iter().map(|v| InsecureTwinKey(v.bls).sign(&message).unwrap()).collect();
    certificate.signature = InsecureTwin.aggregate(&signatures).unwrap();
    certificate
}

/// A chain of `n` empty blocks; `salt` makes different chains.
fn chain(n: u64, salt: u64) -> Vec<SyncedBlock> {
    let mut out: Vec<SyncedBlock> = vec![];
    for height in 1..=n {
        let last = out.last().map(|b: &SyncedBlock| b.certificate.clone());
        let roots = ModuleRoots([[0; 32]; 5]);
        let header = Header {
            version: HEADER_VERSION,
            chain_id: CHAIN,
            height,
            time_ms: height * 10 + salt,
            parent: last.as_ref().map(|c| c.block).unwrap_or_default(),
            last_commit: last
                .as_ref()
                .map(|c| LastCommit { signers: c.signers.clone(), round: c.round })
                .unwrap_or_default(),
            txs_root: txs_root(&[]),
            nonces_digest: [0; 32],
            receipts_size: 0,
            receipts_root: [0; 32],
            app_root: app_root(&roots.0),
            module_roots: roots,
            evidence_root: no_evidence_root(),
            validators_hash: set().hash(),
            next_validators_hash: set().hash(),
            params_hash: [0; 32],
            proposer: Address([0; 32]),
        };
        let certificate = certify(header.id(), height);
        out.push(SyncedBlock { block: Block { header, last_certificate: last, txs: vec![] }, certificate });
    }
    out
}

fn peer(n: u8) -> PeerId {
    PeerId(vec![n])
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    Honest,
    Silent,
    Unreachable,
    WrongHeights,
    ForgedCertificate,
    EmptyHanded,
    OtherBody,
    WrongAnswer,
}

struct World {
    sync: BlockSync,
    blocks: Vec<SyncedBlock>,
    manners: BTreeMap<PeerId, Manner>,
    /// Answers and wake-ups to come: (time, sequence) -> input.
    agenda: BTreeMap<(u64, u64), SyncInput>,
    seq: u64,
    now: u64,
    tip: u64,
    blamed: Vec<(PeerId, Blame)>,
    most_in_flight: usize,
    asked: BTreeMap<PeerId, usize>,
}

impl World {
    fn new(heights: u64, manners: &[Manner]) -> Self {
        let scheme: Arc<dyn Scheme> = Arc::new(InsecureTwin);
        let config = SyncConfig { batch: 4, window: 20, ..SyncConfig::new(CHAIN) };
        let mut world = World {
            sync: BlockSync::new(config, scheme, 0, BlockId::default(), set()),
            blocks: chain(heights, 0),
            manners: manners.iter().enumerate().map(|(i, m)| (peer(i as u8), *m)).collect(),
            agenda: BTreeMap::new(),
            seq: 0,
            now: 0,
            tip: 0,
            blamed: vec![],
            most_in_flight: 0,
            asked: BTreeMap::new(),
        };
        for i in 0..manners.len() {
            world.input(SyncInput::Connected(peer(i as u8)));
        }
        world
    }

    fn plan(&mut self, after: u64, input: SyncInput) {
        self.seq += 1;
        self.agenda.insert((self.now + after, self.seq), input);
    }

    fn input(&mut self, input: SyncInput) {
        for effect in self.sync.step(self.now, input) {
            match effect {
                SyncEffect::Request { id, peer, request } => self.answer(id, &peer, request),
                SyncEffect::Deliver(b) => {
                    let height = b.block.header.height;
                    assert_eq!(height, self.tip + 1, "in order");
                    assert_eq!(*b, self.blocks[height as usize - 1], "only the true chain");
                    self.tip = height;
                    self.plan(3, SyncInput::Advanced { height, block: b.block.id(), next: set() });
                }
                SyncEffect::Blame { peer, why } => self.blamed.push((peer, why)),
                SyncEffect::Wake { at_ms } => {
                    assert!(at_ms > self.now, "a wake-up in the past spins");
                    self.plan(at_ms - self.now, SyncInput::Tick);
                }
                SyncEffect::Forked { height, .. } => panic!("no fork at {height}"),
            }
        }
        self.most_in_flight = self.most_in_flight.max(self.sync.blocks_in_flight_for_test());
    }

    fn answer(&mut self, id: u64, peer: &PeerId, request: SyncRequest) {
        let manner = self.manners[peer];
        let held = (1, self.blocks.len() as u64);
        let mut response = serve(&request, held, |h| self.blocks.get(h as usize - 1).cloned());
        if let (SyncResponse::Blocks(blocks), SyncRequest::Blocks { .. }) = (&mut response, request) {
            *self.asked.entry(peer.clone()).or_default() += 1;
            match manner {
                Manner::WrongHeights => blocks.reverse(),
                Manner::ForgedCertificate => {
                    blocks.iter_mut().for_each(|b| b.certificate.signature.0[0] ^= 1)
                }
                Manner::EmptyHanded => blocks.clear(),
                Manner::OtherBody => blocks.iter_mut().for_each(|b| b.block.last_certificate = None),
                Manner::WrongAnswer => response = SyncResponse::Status { first: 1, last: 1 },
                _ => {}
            }
        }
        match manner {
            Manner::Silent if request != SyncRequest::Status => {}
            Manner::Unreachable => self.plan(1, SyncInput::Failed { id, undecodable: false }),
            _ => self.plan(5 + id % 7, SyncInput::Response { id, response }),
        }
    }

    fn run(&mut self, limit_ms: u64) {
        while self.tip < self.blocks.len() as u64 {
            let Some(((at, _), input)) = self.agenda.pop_first() else { return };
            if at > limit_ms {
                return;
            }
            self.now = at;
            self.input(input);
        }
    }
}

#[test]
fn honest_peers_share_the_work_and_nobody_is_blamed() {
    let mut w = World::new(100, &[Manner::Honest; 5]);
    w.run(60_000);
    assert_eq!(w.tip, 100);
    assert_eq!(w.blamed, []);
    assert!(w.most_in_flight > 1 && w.most_in_flight <= 4, "{} in flight", w.most_in_flight);
    assert!(w.asked.values().all(|n| *n >= 2), "{:?}", w.asked);
}

#[test]
fn one_honest_peer_among_every_kind_of_bad_one_is_enough() {
    use Manner::*;
    let mut w = World::new(
        60,
        &[Silent, Unreachable, WrongHeights, ForgedCertificate, EmptyHanded, OtherBody, WrongAnswer, Honest],
    );
    w.run(600_000);
    assert_eq!(w.tip, 60, "at {} ms", w.now);
    let blamed =
        |n: u8| w.blamed.iter().filter(|(p, _)| *p == peer(n)).map(|(_, b)| b.clone()).collect::<Vec<_>>();
    assert!(blamed(0).contains(&Blame::TimedOut));
    assert!(blamed(1).contains(&Blame::Unreachable));
    assert!(matches!(blamed(2)[0], Blame::WrongHeight { .. }));
    assert!(matches!(blamed(3)[0], Blame::Certificate { .. }));
    assert!(matches!(blamed(4)[0], Blame::Empty(_)));
    assert!(matches!(blamed(5)[0], Blame::Body { .. }), "{:?}", blamed(5));
    assert!(blamed(6).contains(&Blame::WrongAnswer));
    assert_eq!(blamed(7), []);
}

#[test]
fn nobody_is_given_up_for_ever() {
    let mut w = World::new(30, &[Manner::ForgedCertificate]);
    w.run(200_000);
    assert_eq!(w.tip, 0);
    assert!(w.blamed.len() > 5, "it is asked again and again: {}", w.blamed.len());
    assert!(w.blamed.len() < 40, "but ever more rarely: {}", w.blamed.len());
    w.manners.insert(peer(0), Manner::Honest);
    w.run(400_000);
    assert_eq!(w.tip, 30, "once it mends its ways it is believed");
}

#[test]
fn a_certified_block_that_does_not_follow_ours_is_reported_as_a_fork() {
    let (ours, theirs) = (chain(1, 0), chain(2, 77));
    let mut sync =
        BlockSync::new(SyncConfig::new(CHAIN), Arc::new(InsecureTwin), 1, ours[0].block.id(), set());
    sync.step(0, SyncInput::Connected(peer(1)));
    let out =
        sync.step(1, SyncInput::Response { id: 1, response: SyncResponse::Status { first: 1, last: 2 } });
    assert!(
        out.iter().any(|e| matches!(
            e,
            SyncEffect::Request { id: 2, request: SyncRequest::Blocks { from: 2, count: 1 }, .. }
        )),
        "{out:?}"
    );
    let out =
        sync.step(2, SyncInput::Response { id: 2, response: SyncResponse::Blocks(vec![theirs[1].clone()]) });
    assert!(out.iter().any(|e| matches!(e, SyncEffect::Forked { height: 2, .. })), "{out:?}");
}

#[test]
fn a_false_tip_costs_only_requests() {
    let mut w = World::new(10, &[Manner::Honest]);
    w.input(SyncInput::Hint { peer: peer(0), last: u64::MAX });
    w.run(60_000);
    assert_eq!(w.tip, 10);
}

#[test]
fn serving_is_bounded_whatever_is_asked() {
    let blocks = chain(70, 0);
    let read = |h: u64| blocks.get(h as usize - 1).cloned();
    let count = |from, count| match serve(&SyncRequest::Blocks { from, count }, (3, 70), read) {
        SyncResponse::Blocks(b) => b.iter().map(|b| b.block.header.height).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(count(3, u32::MAX), (3..67).collect::<Vec<_>>());
    assert_eq!(count(69, 10), [69, 70]);
    for (from, n) in [(1, 5), (71, 1), (u64::MAX, u32::MAX), (5, 0)] {
        assert_eq!(count(from, n), [0u64; 0], "from {from}");
    }
}

#[test]
fn messages_are_strict() {
    let request = SyncRequest::Blocks { from: 4, count: 2 };
    assert_eq!(SyncRequest::from_bytes(&request.to_bytes()), Ok(request));
    let response = SyncResponse::Blocks(chain(2, 0));
    let bytes = response.to_bytes();
    assert_eq!(SyncResponse::from_bytes(&bytes), Ok(response));
    for len in 0..bytes.len() {
        assert!(SyncResponse::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(SyncResponse::from_bytes(&longer).is_err());
    assert!(SyncResponse::from_bytes(&[1, 2, 255, 255, 255, 255]).is_err(), "a list longer than the bound");
}
