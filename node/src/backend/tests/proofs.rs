//! Every receipt of a chain can be exported and verifies for a stranger who holds the genesis alone.

use super::story::*;
use crate::backend::bundle::export;
use metanode_rpc::error::ErrorKind;
use metanode_types::bundle::Bundle;
use metanode_types::receipt::{ReceiptBody, Tier};
use metanode_types::verify::{Status, verify};
use std::collections::BTreeSet;

#[test]
fn bundles_of_every_tier_verify_core_and_full() {
    let story = Story::busy();
    let (view, trust) = (story.view(), story.genesis.trust_root());
    let (mut tiers, mut reports) = (BTreeSet::new(), 0);
    for logged in view.receipts_from(0, 1000).unwrap().items {
        let id = logged.receipt.id();
        for full in [false, true] {
            let (named, bytes) = export(&view, &trust, &prefix(&id.to_string()), full).unwrap();
            assert_eq!(named, id);
            let bundle = Bundle::from_bytes(&bytes).unwrap();
            assert_eq!((bundle.receipts[0].log_index, bundle.full.is_some()), (logged.index, full));
            let verdict = verify(&bundle, &trust);
            assert!(verdict.verified(), "{:#?}", verdict.checks);
            let passed =
                |name| verdict.checks.iter().any(|c| c.name == name && matches!(c.status, Status::Passed(_)));
            assert_eq!((passed("non-fork"), passed("supply")), (full, full), "{:#?}", verdict.checks);
            if let ReceiptBody::Action(action) = &logged.receipt.body
                && let Some(assignment) = action.assignment()
            {
                assert!(bundle.receipts.iter().any(|r| r.receipt.id() == assignment));
                reports += usize::from(passed("POE"));
            }
        }
        tiers.insert(logged.receipt.tier());
    }
    assert_eq!(tiers, BTreeSet::from([Tier::Action, Tier::Agreement, Tier::Pipeline, Tier::Economic]));
    assert_eq!(reports, 2, "the job's end is proven to be of the inputs assigned");
}

#[test]
fn what_does_not_verify_is_not_handed_out() {
    let story = Story::busy();
    let view = story.view();
    let id = view.receipt_at(1).unwrap().unwrap().receipt.id();
    let mut trust = story.genesis.trust_root();
    trust.params.max_block_txs -= 1;
    let refused = export(&view, &trust, &prefix(&id.to_string()), false).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Internal);
    assert!(refused.reason.contains("POT"), "{}", refused.reason);
}
