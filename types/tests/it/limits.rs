//! Relations between the named limits, and that the largest legal values fit the caps around them.

use crate::samples;
use metanode_types::certificate::Bitmap;
use metanode_types::codec::encode;
use metanode_types::ids::Address;
use metanode_types::limits::*;
use metanode_types::params::ChainParams;
use metanode_types::tx::{ClusterNodes, ShortText};

#[test]
fn every_relation_holds() {
    let relations: [(&str, bool); 14] = [
        ("a block holds two of the largest transactions", 2 * MAX_TX_BYTES <= MAX_BLOCK_BYTES),
        ("a sync answer holds a block with its certificate", MAX_BLOCK_BYTES + 4096 <= MAX_SYNC_BYTES),
        ("a bundle holds the largest block twice over", 2 * MAX_BLOCK_BYTES <= MAX_BUNDLE_BYTES),
        ("a core bundle is smaller than a receipt's cap", CORE_BUNDLE_BYTES <= MAX_RECEIPT_BYTES),
        ("proofs reach logs of 2^63 leaves", MAX_PROOF_HASHES >= 2 * 63),
        ("buckets divide the lifetime", MAX_TX_LIFETIME_MS.is_multiple_of(NONCE_BUCKET_MS)),
        ("whole bytes of bitmap", MAX_VALIDATORS.is_multiple_of(8)),
        ("one string fits a transaction", MAX_STRING_BYTES < MAX_TX_BYTES),
        ("one account cannot fill the pool", MAX_MEMPOOL_TXS_PER_ACCOUNT < MAX_MEMPOOL_TXS),
        ("the pool feeds the largest block", MAX_MEMPOOL_TXS >= MAX_BLOCK_TXS),
        ("the pool's bytes feed the largest block", MAX_MEMPOOL_BYTES >= MAX_BLOCK_BYTES),
        ("a blob is whole chunks", MAX_BLOB_BYTES.is_multiple_of(BLOB_CHUNK_BYTES as u64)),
        ("a chunk fits a sync answer", BLOB_CHUNK_BYTES < MAX_SYNC_BYTES),
        ("a page is not empty", MAX_PAGE > 0),
    ];
    for (what, holds) in relations {
        assert!(holds, "{what}");
    }
}

#[test]
fn default_params_keep_their_own_rules_and_the_caps() {
    let p = ChainParams::default();
    assert_eq!(p.validate(), Ok(()));
    assert_eq!(samples::params().validate(), Ok(()));
    assert!(p.max_tx_bytes as usize <= MAX_TX_BYTES && p.max_block_bytes as usize <= MAX_BLOCK_BYTES);
}

#[test]
fn hostile_params_are_refused_without_a_panic() {
    type Edit = fn(&mut ChainParams);
    let edits: [Edit; 9] = [
        |p| p.idle_interval_ms = u64::MAX,
        |p| p.heartbeat_interval_ms = u64::MAX,
        |p| (p.node_timeout_ms, p.idle_interval_ms) = (u64::MAX, u64::MAX),
        |p| p.max_clock_skew_ms = u64::MAX,
        |p| p.retention_ms = u64::MAX,
        |p| p.consensus.delta_ms = u64::MAX,
        |p| p.max_tx_bytes = u32::MAX,
        |p| p.max_block_txs = 0,
        |p| p.security.clear(),
    ];
    for (i, edit) in edits.into_iter().enumerate() {
        let mut p = ChainParams::default();
        edit(&mut p);
        assert!(p.validate().is_err(), "edit {i}");
    }
}

#[test]
fn the_largest_values_fit_their_caps() {
    let mut full = Bitmap::new();
    (0..MAX_VALIDATORS).for_each(|i| full.set(i));
    let mut certificate = samples::certificate(1, samples::block(None).id());
    certificate.signers = full.clone();
    let certificate = encode(&certificate).len();
    assert_eq!(certificate, 8 + 4 + 32 + 4 + MAX_VALIDATORS / 8 + 96);
    let mut header = samples::block(None).header;
    header.last_commit.signers = full;
    let header = encode(&header).len();
    // A block of the smallest legal `max_block_bytes` must still hold header, certificate and a transaction.
    assert!(header + certificate + 1024 <= 2 * 1024, "header {header}, certificate {certificate}");
    let node_list = ClusterNodes(vec![Address([7; 32]); MAX_CLUSTER_NODES]);
    assert!(encode(&node_list).len() > MAX_TX_BYTES, "the byte cap of a transaction binds first");
    assert_eq!(encode(&ShortText::new("é".repeat(400))).len(), 4 + ShortText::MAX);
}
