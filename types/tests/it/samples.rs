//! One fixed value of every type that is hashed, stored or sent, with every variant of every enum.
//!
//! Owns no assertion but that a value reads back equal. The values are chosen so that no two neighbouring
//! fields of one type are equal: a swapped field changes the bytes.

mod receipts;
mod txs;

use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::account::AccountSecret;
use metanode_types::block::{
    Block, HEADER_VERSION, Header, LastCommit, Module, ModuleRoots, app_root, txs_root,
};
use metanode_types::bls::{BlsSecret, BlsSignature};
use metanode_types::bundle::{Bundle, BundledReceipt, Cause, FullPart};
use metanode_types::certificate::{Bitmap, Certificate};
use metanode_types::codec::{self, DecodeError};
use metanode_types::hash::Hash;
use metanode_types::ids::{Address, BlockId, ChainId};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::limits::{MAX_BLOCK_BYTES, MAX_BUNDLE_BYTES, MAX_RECEIPT_BYTES, MAX_TX_BYTES};
use metanode_types::merkle::Frontier;
use metanode_types::params::{ChainParams, ConsensusTimeouts, SecurityProfile, Tariff, VerifyParams};
use metanode_types::quantity::Amount;
use metanode_types::validator::{Validator, ValidatorSet};
use metanode_types::vote::{ProposalContent, VoteContent, VoteKind};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Reads bytes as the sample's type; returns the bytes that the value encodes to.
type Decode = fn(&[u8], usize) -> Result<Vec<u8>, DecodeError>;
/// Reads JSON as the sample's type; returns the bytes that the value encodes to.
type FromJson = fn(&str) -> Result<Vec<u8>, serde_json::Error>;

/// A fixed value, seen as its encodings.
pub struct Sample {
    /// Type and variant.
    pub name: String,
    /// Canonical bytes.
    pub bytes: Vec<u8>,
    /// Most bytes that a decoder of this type is willing to look at.
    pub cap: usize,
    /// Decoder of the type.
    pub decode: Decode,
    /// JSON form and its parser, of types that have one.
    pub json: Option<(String, FromJson)>,
}

pub fn binary<T>(name: impl Into<String>, value: &T, cap: usize) -> Sample
where
    T: BorshSerialize + BorshDeserialize + PartialEq + Debug,
{
    let (name, bytes) = (name.into(), codec::encode(value));
    assert_eq!(codec::decode::<T>("sample", &bytes, cap).as_ref(), Ok(value), "{name}");
    let decode: Decode = |b, cap| codec::decode::<T>("sample", b, cap).map(|v| codec::encode(&v));
    Sample { name, bytes, cap, decode, json: None }
}

pub fn both<T>(name: impl Into<String>, value: &T, cap: usize) -> Sample
where
    T: BorshSerialize + BorshDeserialize + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let text = serde_json::to_string(value).unwrap();
    let from: FromJson = |s| serde_json::from_str::<T>(s).map(|v| codec::encode(&v));
    Sample { json: Some((text, from)), ..binary(name, value, cap) }
}

/// All samples.
pub fn all() -> Vec<Sample> {
    let mut out = rules();
    out.extend(blocks());
    out.extend(txs::samples());
    out.extend(receipts::samples());
    out.extend(bundles());
    out
}

pub fn h(i: u8) -> Hash {
    [i; 32]
}

pub fn chain() -> ChainId {
    ChainId(h(0xc1))
}

pub fn account(i: u8) -> AccountSecret {
    AccountSecret::from_seed([i; 32])
}

pub fn bls(i: u8) -> BlsSecret {
    BlsSecret::from_seed(&[i; 32])
}

pub fn profile(level: SecurityLevel, cage_level: CageLevel, n: u8) -> SecurityProfile {
    SecurityProfile {
        level,
        user_namespace: n.is_multiple_of(2),
        cage_level,
        witness: !n.is_multiple_of(2),
        approvals: n,
        max_memory_bytes: (u64::from(n) + 1) << 30,
        max_cpu_milli: 1000 + u32::from(n),
        max_pids: 100 + u32::from(n),
    }
}

pub fn params() -> ChainParams {
    ChainParams {
        max_tx_bytes: 65_536,
        max_block_bytes: 1_048_576,
        max_block_txs: 8192,
        idle_interval_ms: 5_000,
        node_timeout_ms: 20_000,
        heartbeat_interval_ms: 4_000,
        max_clock_skew_ms: 10_000,
        retention_ms: 86_400_000,
        consensus: ConsensusTimeouts {
            propose_ms: 1_000,
            prevote_ms: 500,
            precommit_ms: 400,
            delta_ms: 250,
            rebroadcast_ms: 900,
        },
        tariff: Tariff {
            base_fee: Amount(100),
            byte_fee: Amount(1),
            cpu_ms: Amount(2),
            memory_mib_s: Amount(3),
            burn_permille: 125,
        },
        security: vec![
            profile(SecurityLevel::Standard, CageLevel::Contained, 0),
            profile(SecurityLevel::Enterprise, CageLevel::Pinned, 1),
            profile(SecurityLevel::High, CageLevel::Reproduced, 2),
            profile(SecurityLevel::Maximum, CageLevel::Replayed, 3),
        ],
        verify: VerifyParams {
            bond: Amount(1_000_000),
            commit_ms: 60_000,
            reveal_ms: 50_000,
            challenge_window: 100,
        },
    }
}

pub fn validators() -> ValidatorSet {
    let member =
        |i: u8| Validator { bls: bls(i).public(), account: account(i).public(), power: 10 + u64::from(i) };
    ValidatorSet::new((1..=4).map(member).collect()).unwrap()
}

fn rules() -> Vec<Sample> {
    let set = validators();
    let vote = |kind, block| VoteContent { kind, height: 7, round: 2, block };
    let proposal = |pol_round| ProposalContent { height: 7, round: 2, block: BlockId(h(1)), pol_round };
    let mut frontier = Frontier::default();
    (0..11).for_each(|i| frontier.append(h(i)));
    let mut bitmap = Bitmap::new();
    [0, 3, 9, 1023].into_iter().for_each(|i| bitmap.set(i));
    vec![
        both("ChainParams", &params(), 4096),
        both("Validator", &set.members()[0], 4096),
        binary("ValidatorSet", &set, 1 << 20),
        both("AccountKey", &account(1).public(), 64),
        both("AccountSignature", &account(1).sign(b"m"), 64),
        both("Bitmap", &bitmap, 1024),
        both("Bitmap empty", &Bitmap::new(), 1024),
        binary("VoteContent prevote nil", &vote(VoteKind::Prevote, None), 256),
        binary("VoteContent precommit", &vote(VoteKind::Precommit, Some(BlockId(h(1)))), 256),
        binary("ProposalContent", &proposal(None), 256),
        binary("ProposalContent again", &proposal(Some(1)), 256),
        binary("Frontier", &frontier, 4096),
    ]
}

/// The certificate of the block with this id and height, by three of the four validators.
pub fn certificate(height: u64, block: BlockId) -> Certificate {
    let mut cert =
        Certificate { height, round: 1, block, signers: Bitmap::new(), signature: BlsSignature([0; 96]) };
    let message = cert.vote().signed_bytes(&chain());
    let set = validators();
    let mut signatures = Vec::new();
    for i in 1..=3 {
        cert.signers.set(set.index_of(&account(i).address()).unwrap());
        signatures.push(bls(i).sign(&message));
    }
    cert.signature = BlsSignature::aggregate(&signatures).unwrap();
    cert.verify(&chain(), &set).unwrap();
    cert
}

/// A block on the one that `last` certifies.
pub fn block(last: Option<Certificate>) -> Block {
    let txs = if last.is_some() { txs::signed() } else { Vec::new() };
    let module_roots = ModuleRoots([h(21), h(22), h(23), h(24), h(25)]);
    let last_commit =
        last.as_ref().map(|c| LastCommit { signers: c.signers.clone(), round: c.round }).unwrap_or_default();
    let header = Header {
        version: HEADER_VERSION,
        chain_id: chain(),
        height: last.as_ref().map_or(1, |c| c.height + 1),
        time_ms: 1_767_225_600_000,
        parent: last.as_ref().map(|c| c.block).unwrap_or_default(),
        last_commit,
        txs_root: txs_root(&txs),
        nonces_digest: h(11),
        receipts_size: 12,
        receipts_root: h(13),
        module_roots,
        app_root: app_root(&module_roots.0),
        evidence_root: metanode_types::block::no_evidence_root(),
        validators_hash: validators().hash(),
        next_validators_hash: h(16),
        params_hash: params().hash(),
        proposer: Address(h(17)),
    };
    let block = Block { header, last_certificate: last, txs };
    block.check_shape().unwrap();
    block
}

fn blocks() -> Vec<Sample> {
    assert_eq!(Module::ALL.len(), 5);
    let first = block(None);
    let cert = certificate(1, first.id());
    let second = block(Some(cert.clone()));
    vec![
        both("Header first", &first.header, 4096),
        both("Header", &second.header, 4096),
        both("Certificate", &cert, 4096),
        both("Block first", &first, MAX_BLOCK_BYTES),
        both("Block", &second, MAX_BLOCK_BYTES),
    ]
}

fn bundles() -> Vec<Sample> {
    let first = block(None);
    let second = block(Some(certificate(1, first.id())));
    let receipts = receipts::receipts();
    let tx = &second.txs[0];
    let core = Bundle {
        chain_id: chain(),
        header: second.header.clone(),
        certificate: certificate(2, second.id()),
        receipts: vec![BundledReceipt { log_index: 5, path: vec![0, 1], receipt: receipts[0].1.clone() }],
        hashes: vec![h(31), h(32)],
        cause: Some(Cause::of(tx)),
        full: None,
    };
    let full = FullPart {
        headers: vec![first.header],
        block: second.clone(),
        receipts: receipts.iter().take(2).map(|r| r.1.clone()).collect(),
        consistency: vec![h(33)],
        witness: vec![1, 2, 3],
    };
    let full = Bundle { full: Some(full), cause: None, ..core.clone() };
    vec![binary("Bundle core", &core, MAX_BUNDLE_BYTES), binary("Bundle full", &full, MAX_BUNDLE_BYTES)]
}

/// Caps of the two types that have one of their own.
pub const TX_CAP: usize = MAX_TX_BYTES;
/// As [`TX_CAP`].
pub const RECEIPT_CAP: usize = MAX_RECEIPT_BYTES;
