//! Every named check has a mutation that fails only it; every flipped byte and mutated field is rejected.
//!
//! The tests hold the validators' keys, so they can certify lies of the state machine itself: a wrong price in a
//! receipt that is properly in the log fails POG and nothing else.

use super::*;
use crate::account::AccountSecret;
use crate::block::{
    Block, HEADER_VERSION, Header, LastCommit, ModuleRoots, app_root, no_evidence_root, txs_root,
};
use crate::bls::{BlsSecret, BlsSignature};
use crate::bundle::{Bundle, Cause, FullPart};
use crate::cage_report::{CageReport, ExitStatus, KernelRelease, MachineClass, inputs_digest};
use crate::certificate::{Bitmap, Certificate};
use crate::hash::Hash;
use crate::ids::{Address, BlockId, ContentDigest};
use crate::level::CageLevel;
use crate::merkle::{consistency_path, inclusion_path, root};
use crate::params::{ChainParams, Usage};
use crate::receipt::{Action, Economic, EconomicKind, Receipt, ReceiptBody, Subject, genesis_leaf};
use crate::tx::{ReplicaEvent, Report, SignedTx, TxBody};
use crate::validator::Validator;
use crate::workload::ReplicaId;

mod verified;

const NODE: [u8; 32] = [7; 32];

fn secrets() -> Vec<(BlsSecret, AccountSecret)> {
    (1..=4u8).map(|i| (BlsSecret::from_seed(&[i; 32]), AccountSecret::from_seed([i; 32]))).collect()
}

fn trust() -> TrustRoot {
    let members =
        secrets().iter().map(|(b, a)| Validator { bls: b.public(), account: a.public(), power: 1 }).collect();
    TrustRoot {
        chain_id: ChainId([9; 32]),
        validators: ValidatorSet::new(members).unwrap(),
        params: ChainParams::default(),
        supply: Amount(1_000_000_000),
    }
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

fn replica() -> ReplicaId {
    ReplicaId { deployment: "job".parse().unwrap(), index: 0 }
}

fn node() -> AccountSecret {
    AccountSecret::from_seed(NODE)
}

/// What the state machine of these tests says; each field may be made to lie.
#[derive(Clone)]
struct Story {
    receipts: Vec<Receipt>,
    tx: SignedTx,
    /// Index of the receipt in question.
    subject: usize,
    /// Index of the first receipt of the subject's block.
    block_starts: usize,
}

fn assigned(seed: Digest) -> Receipt {
    Receipt {
        subject: Subject::Replica(replica()),
        seq: 0,
        previous: None,
        height: 2,
        tx_index: None,
        tx: None,
        before: Digest::default(),
        after: digest(11),
        body: ReceiptBody::Action(Action::Assigned {
            node: node().address(),
            epoch: 3,
            workload: digest(21),
            image: ContentDigest([22; 32]),
            seed,
            clock_ms: 2000,
        }),
    }
}

fn report() -> CageReport {
    CageReport {
        level: CageLevel::Contained,
        image: ContentDigest([22; 32]),
        inputs: inputs_digest(&digest(21), &digest(23), 2000),
        exit: ExitStatus::Code(0),
        stdout: ContentDigest([24; 32]),
        stderr: ContentDigest([25; 32]),
        output: Some(digest(26)),
        witness: None,
        usage: Usage { cpu_ms: 10, memory_mib_s: 20 },
        fuel: None,
        trace: None,
        machine: MachineClass { cpu: digest(27), kernel: KernelRelease::new("6.1") },
    }
}

fn signed_report(report: &CageReport) -> SignedTx {
    let event = ReplicaEvent::Exited { report: report.clone(), restarts: 0 };
    let body = TxBody::Report(Report { replica: replica(), epoch: 3, event });
    SignedTx::sign(&node(), trust().chain_id, 5, 60_000, Amount(1000), body)
}

/// Assignment, start and end of a job.
fn exited(report: CageReport) -> Story {
    let tx = signed_report(&report);
    let first = assigned(digest(23));
    let assignment = first.id();
    let started = Receipt {
        seq: 1,
        previous: Some(assignment),
        height: 3,
        tx_index: Some(0),
        tx: Some(crate::ids::TxId([1; 32])),
        before: digest(11),
        after: digest(12),
        body: ReceiptBody::Action(Action::Started {
            node: node().address(),
            epoch: 3,
            assignment,
            image: ContentDigest([22; 32]),
        }),
        ..first.clone()
    };
    let end = Receipt {
        seq: 2,
        previous: Some(started.id()),
        height: 4,
        tx_index: Some(0),
        tx: Some(tx.id()),
        before: digest(12),
        after: digest(13),
        body: ReceiptBody::Action(Action::Exited {
            node: node().address(),
            epoch: 3,
            assignment,
            report,
            restarts: 0,
        }),
        ..first.clone()
    };
    Story { receipts: vec![first, started, end], tx, subject: 2, block_starts: 2 }
}

fn transfer(change: impl FnOnce(&mut Economic)) -> Story {
    let payer = AccountSecret::from_seed([8; 32]);
    let to = Address([5; 32]);
    let body = TxBody::Transfer { to, amount: Amount(1000) };
    let tx = SignedTx::sign(&payer, trust().chain_id, 1, 60_000, Amount(100_000), body);
    let fee = trust().params.tariff.tx_fee(crate::codec::encode(&tx).len()).unwrap();
    let kind = EconomicKind::Transfer { to, amount: Amount(1000), fee };
    let mut economic = Economic::new(kind, payer.address(), Address([6; 32])).unwrap();
    change(&mut economic);
    let receipt = Receipt {
        subject: Subject::Account(payer.address()),
        seq: 0,
        previous: None,
        height: 1,
        tx_index: Some(0),
        tx: Some(tx.id()),
        before: Digest::default(),
        after: digest(31),
        body: ReceiptBody::Economic(economic),
    };
    Story { receipts: vec![receipt], tx, subject: 0, block_starts: 0 }
}

fn certify(header: &Header) -> Certificate {
    let set = trust().validators;
    let mut certificate = Certificate {
        height: header.height,
        round: 0,
        block: header.id(),
        signers: Bitmap::new(),
        signature: BlsSignature([0; 96]),
    };
    let message = certificate.vote().signed_bytes(&trust().chain_id);
    let mut signatures = Vec::new();
    for (bls, account) in secrets().iter().take(3) {
        certificate.signers.set(set.index_of(&account.address()).unwrap());
        signatures.push(bls.sign(&message));
    }
    certificate.signature = BlsSignature::aggregate(&signatures).unwrap();
    certificate
}

fn header(height: u64, parent: BlockId, leaves: &[Hash], txs: &[SignedTx]) -> Header {
    let module_roots = ModuleRoots([[1; 32]; 5]);
    Header {
        version: HEADER_VERSION,
        chain_id: trust().chain_id,
        height,
        time_ms: height * 1000,
        parent,
        last_commit: LastCommit::default(),
        txs_root: txs_root(txs),
        nonces_digest: [2; 32],
        receipts_size: leaves.len() as u64,
        receipts_root: root(leaves),
        module_roots,
        app_root: app_root(&module_roots.0),
        evidence_root: no_evidence_root(),
        validators_hash: trust().validators.hash(),
        next_validators_hash: trust().validators.hash(),
        params_hash: trust().params.hash(),
        proposer: Address([6; 32]),
    }
}

/// Certifies a story: a chain of headers up to one block after the story's last, the log, the paths.
fn bundle(story: &Story, full: bool) -> Bundle {
    let mut leaves = vec![genesis_leaf(&trust().chain_id)];
    leaves.extend(story.receipts.iter().map(Receipt::leaf));
    let height_of_subject = story.receipts[story.subject].height;
    let mut headers: Vec<Header> = Vec::new();
    let mut block = None;
    for height in 1..=height_of_subject + 1 {
        let size = 1 + story.receipts.iter().filter(|r| r.height <= height).count();
        let txs = if height == height_of_subject { vec![story.tx.clone()] } else { vec![] };
        let parent = headers.last().map_or(BlockId::default(), Header::id);
        let mut h = header(height, parent, &leaves[..size], &txs);
        let last_certificate = headers.last().map(certify);
        if let Some(c) = &last_certificate {
            h.last_commit = LastCommit { signers: c.signers.clone(), round: c.round };
        }
        if height == height_of_subject {
            block = Some(Block { header: h.clone(), last_certificate, txs });
        }
        headers.push(h);
    }
    let tip = headers.pop().unwrap();
    let place = |i: usize| (i as u64 + 1, story.receipts[i].clone(), inclusion_path(&leaves, i + 1).unwrap());
    let mut items = vec![place(story.subject)];
    for id in expected_companions(&story.receipts[story.subject]) {
        items.extend(story.receipts.iter().position(|r| r.id() == id).map(place));
    }
    let (receipts, hashes) = Bundle::share_paths(items).unwrap();
    let full = full.then(|| FullPart {
        headers,
        block: block.unwrap(),
        receipts: story.receipts[story.block_starts..].to_vec(),
        consistency: consistency_path(&leaves, 1 + story.block_starts).unwrap(),
        witness: vec![],
    });
    let cause = story.receipts[story.subject].tx.map(|_| Cause::of(&story.tx));
    Bundle {
        chain_id: trust().chain_id,
        certificate: certify(&tip),
        header: tip,
        receipts,
        hashes,
        cause,
        full,
    }
}

fn failed(bundle: &Bundle) -> Vec<&'static str> {
    verify(bundle, &trust()).failed()
}

#[test]
fn honest_stories_verify() {
    for story in [exited(report()), transfer(|_| {})] {
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
fn what_is_not_there_is_said() {
    let v = verify(&bundle(&transfer(|_| {}), false), &trust());
    let status = |name| v.checks.iter().find(|c| c.name == name).unwrap().status.clone();
    assert!(matches!(status("POE"), Status::NotApplicable(_)));
    for name in ["replay", "supply", "non-fork"] {
        assert!(matches!(status(name), Status::Unavailable(_)), "{name}");
    }
}

#[test]
fn format_alone() {
    let mut b = bundle(&exited(report()), false);
    let last = b.hashes.len() - 1;
    b.hashes.swap(0, last);
    for r in &mut b.receipts {
        for p in &mut r.path {
            *p = match *p as usize {
                0 => last as u8,
                x if x == last => 0,
                x => x as u8,
            };
        }
    }
    assert_eq!(failed(&b), ["format"]);
}

#[test]
fn chain_alone() {
    let mut b = bundle(&exited(report()), false);
    b.chain_id = ChainId([1; 32]);
    assert_eq!(failed(&b), ["chain"]);
}

#[test]
fn pot_alone() {
    let honest = bundle(&exited(report()), false);
    let mut b = honest.clone();
    b.certificate.round = 1;
    assert_eq!(failed(&b), ["POT"]);
    let mut b = honest.clone();
    b.certificate.signers = Bitmap::new();
    b.certificate.signers.set(0);
    assert_eq!(failed(&b), ["POT"], "one of four is no quorum");
    let mut b = honest;
    b.header.time_ms += 1;
    assert_eq!(failed(&b), ["POT"], "the certificate is for another header");
}

#[test]
fn inclusion_alone() {
    let mut b = bundle(&exited(report()), false);
    b.receipts[2].log_index += 1;
    assert_eq!(failed(&b), ["inclusion"]);
}

#[test]
fn poa_alone() {
    let honest = bundle(&exited(report()), false);
    let mut b = honest.clone();
    b.cause.as_mut().unwrap().signature.0[0] ^= 1;
    assert_eq!(failed(&b), ["POA"]);
    // A state machine that lets another node report: certified, but not by the assigned node.
    let mut story = exited(report());
    let stranger = AccountSecret::from_seed([99; 32]);
    let e = &story.tx.envelope;
    let (nonce, until) = (e.nonce, e.valid_until);
    story.tx = SignedTx::sign(&stranger, e.chain_id, nonce, until, e.fee_limit, story.tx.body.clone());
    story.receipts[2].tx = Some(story.tx.id());
    assert_eq!(failed(&bundle(&story, false)), ["POA"]);
}

#[test]
fn poe_alone() {
    let mut other_image = report();
    other_image.image = ContentDigest([1; 32]);
    assert_eq!(failed(&bundle(&exited(other_image), false)), ["POE"]);
    let mut other_inputs = report();
    other_inputs.inputs = digest(1);
    assert_eq!(failed(&bundle(&exited(other_inputs), false)), ["POE"]);
}

#[test]
fn pog_alone() {
    let unbalanced = transfer(|e| e.postings[0].delta += 1);
    assert_eq!(failed(&bundle(&unbalanced, false)), ["POG"]);
    let skewed = transfer(|e| {
        e.postings[0].delta -= 5;
        e.postings[2].delta += 5;
    });
    assert_eq!(failed(&bundle(&skewed, false)), ["POG"], "a fee that is not the tariff's");
}

#[test]
fn linkage_alone() {
    let mut story = exited(report());
    story.receipts[2].seq = 7;
    assert_eq!(failed(&bundle(&story, false)), ["linkage"]);
    let mut story = exited(report());
    story.receipts[1].height = 9;
    story.receipts[2].previous = Some(story.receipts[1].id());
    assert!(failed(&bundle(&story, false)).contains(&"linkage"), "the predecessor is from a later block");
}

#[test]
fn state_transition_alone() {
    let mut story = exited(report());
    story.receipts[2].before = digest(99);
    assert_eq!(failed(&bundle(&story, false)), ["state-transition"]);
}

#[test]
fn non_fork_alone() {
    let mut b = bundle(&exited(report()), true);
    let full = b.full.as_mut().unwrap();
    full.headers[0].time_ms += 1;
    assert_eq!(failed(&b), ["non-fork"]);
    let mut b = bundle(&exited(report()), true);
    b.full.as_mut().unwrap().consistency[0][0] ^= 1;
    assert_eq!(failed(&b), ["non-fork"]);
}

#[test]
fn supply_alone() {
    let mut b = bundle(&transfer(|_| {}), true);
    b.full.as_mut().unwrap().receipts.clear();
    assert_eq!(failed(&b), ["supply"]);
}

/// A machine that answers what it is told.
struct Canned(Vec<Receipt>);

impl Replay for Canned {
    fn replay(&self, _: &Bundle, _: &TrustRoot) -> Result<Vec<Receipt>, String> {
        Ok(self.0.clone())
    }
}

#[test]
fn replay_alone() {
    let story = transfer(|_| {});
    let b = bundle(&story, true);
    let honest = Canned(story.receipts.clone());
    assert!(verify_with_replay(&b, &trust(), Some(&honest)).failed().is_empty());
    let mut other = story.receipts.clone();
    other[0].after = digest(77);
    assert_eq!(verify_with_replay(&b, &trust(), Some(&Canned(other))).failed(), ["replay"]);
}

#[test]
fn every_flipped_byte_is_rejected() {
    for story in [exited(report()), transfer(|_| {})] {
        let bytes = bundle(&story, false).to_bytes();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(Bundle::from_bytes(&flipped).is_err(), "byte {at}");
        }
    }
}

/// As above, but the checksum is made to fit again: only the checks themselves are left.
#[test]
fn every_flipped_byte_with_a_fitting_checksum_is_rejected_slow() {
    for story in [exited(report()), transfer(|_| {})] {
        let bytes = bundle(&story, false).to_bytes();
        let content = bytes.len() - 8;
        for at in 8..content {
            let mut flipped = bytes[..content].to_vec();
            flipped[at] ^= 1 << (at % 8);
            let sum = crate::hash::hash(crate::hash::Domain::Bundle, &[&flipped]);
            flipped.extend_from_slice(&sum[..8]);
            if let Ok(b) = Bundle::from_bytes(&flipped) {
                assert!(!verify(&b, &trust()).verified(), "byte {at} is not covered by any check");
            }
        }
    }
}

#[test]
fn a_bundle_without_its_companions_or_cause_is_rejected() {
    let honest = bundle(&exited(report()), false);
    let mut b = honest.clone();
    b.receipts.pop();
    assert!(!verify(&b, &trust()).verified(), "without the assignment");
    let mut b = honest.clone();
    b.cause = None;
    assert!(!verify(&b, &trust()).verified(), "without the transaction");
    let mut b = honest;
    b.cause.as_mut().unwrap().body = None;
    assert!(!verify(&b, &trust()).verified(), "without the report's body");
}
