//! Transfers, fees, nonces and validity.

use super::chain::*;
use crate::*;
use metanode_types::ids::ChainId;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, EconomicKind, ReceiptBody, Subject};
use metanode_types::tx::{SignedTx, TxBody, TxError};

fn transfer(to: u8, amount: u128) -> TxBody {
    TxBody::Transfer { to: address(to), amount: Amount(amount) }
}

#[test]
fn a_transfer_moves_the_amount_and_the_fee_goes_to_the_proposer() {
    let mut chain = Chain::new();
    let tx = chain.tx(1, transfer(2, 500));
    let fee = chain.view().params().tariff.tx_fee(metanode_types::codec::encode(&tx).len()).unwrap().0;
    let done = chain.block(vec![tx]);
    assert_eq!(chain.balance(1), RICH - 500 - fee);
    assert_eq!(chain.balance(2), RICH + 500);
    assert_eq!(chain.balance(200), fee);
    assert_eq!(done.receipts.len(), 1, "one receipt per transfer");
    let ReceiptBody::Economic(e) = &done.receipts[0].body else { panic!("{:?}", done.receipts[0]) };
    assert!(e.is_balanced());
    assert!(matches!(e.kind, EconomicKind::Transfer { .. }));
    assert_eq!(done.receipts[0].subject, Subject::Account(address(1)));
}

#[test]
fn to_oneself_or_as_proposer_nothing_is_lost() {
    let mut chain = Chain::new();
    chain.ok(1, transfer(1, 500));
    let fee = RICH - chain.balance(1);
    assert_eq!(chain.balance(200), fee);
    chain.ok(1, transfer(200, 100_000));
    let before = chain.balance(200);
    chain.ok(200, transfer(3, 7));
    assert_eq!(chain.balance(200), before - 7, "the proposer's own fee comes back to it");
}

#[test]
fn a_failed_transfer_costs_its_fee_and_leaves_a_receipt_with_the_code() {
    let mut chain = Chain::new();
    let done = chain.send(1, transfer(2, RICH));
    assert!(
        matches!(done.outcomes[0], records::TxOutcome::Failed { code, .. } if code == Code::InsufficientFunds as u32)
    );
    let tiers: Vec<_> = done.receipts.iter().map(|r| &r.body).collect();
    assert!(matches!(tiers[0], ReceiptBody::Economic(e) if matches!(e.kind, EconomicKind::Fee { .. })));
    assert!(matches!(tiers[1], ReceiptBody::Action(Action::Failed { code: 1, .. })));
    assert_eq!(chain.balance(2), RICH);
    assert!(chain.balance(1) < RICH);
    assert_eq!(chain.code(1, transfer(2, 0)), Code::NothingToMove as u32);
}

#[test]
fn each_reason_of_invalidity_keeps_a_transaction_out() {
    let mut chain = Chain::new();
    let good = chain.tx(1, transfer(2, 1));
    let next = chain.time_ms + 1000;
    let signed = |id: [u8; 32], nonce, until, fee, who: u8| {
        SignedTx::sign(&secret(who), ChainId(id), nonce, until, Amount(fee), transfer(2, 1))
    };
    assert!(matches!(
        chain.invalid(&signed([6; 32], 1, next, 9999, 1)),
        Invalid::Malformed(TxError::WrongChain { .. })
    ));
    let mut forged = good.clone();
    forged.body = transfer(3, 1);
    assert_eq!(chain.invalid(&forged), Invalid::Malformed(TxError::WrongBody));
    let mut forged = good.clone();
    forged.signature.0[0] ^= 1;
    assert!(matches!(chain.invalid(&forged), Invalid::Malformed(TxError::Signature(_))));
    let mut forged = good.clone();
    forged.key = secret(2).public();
    assert!(matches!(chain.invalid(&forged), Invalid::Malformed(TxError::WrongKey { .. })));
    assert!(matches!(chain.invalid(&signed([5; 32], 1, next - 1, 9999, 1)), Invalid::Expired { .. }));
    assert!(matches!(
        chain.invalid(&signed([5; 32], 1, next + 600_001, 9999, 1)),
        Invalid::TooFarAhead { .. }
    ));
    assert!(matches!(chain.invalid(&signed([5; 32], 1, next, 99, 1)), Invalid::FeeLimit { .. }));
    assert!(matches!(chain.invalid(&signed([5; 32], 1, next, 9999, 99)), Invalid::CannotPayFee { .. }));
    for until in [next, next + 600_000] {
        let edge = signed([5; 32], until, until, 9999, 1);
        check_tx(&chain.view(), next, &edge, Signatures::Verify).unwrap();
    }
    chain.block(vec![good.clone()]);
    assert!(matches!(chain.invalid(&good), Invalid::UsedNonce { .. }));
}

#[test]
fn a_nonce_is_used_once_within_a_block_too_and_anothers_is_ones_own() {
    let mut chain = Chain::new();
    let tx = chain.tx(1, transfer(2, 1));
    let twice = [tx.clone(), tx.clone()];
    let got = execute(&chain.view(), &chain.context(1000), &twice, Signatures::Verify);
    assert!(matches!(got, Err(BlockRejected::Tx { index: 1, why: Invalid::UsedNonce { .. } })));
    let proposal = propose(&chain.view(), &chain.context(1000), twice, Signatures::Verify).unwrap();
    assert_eq!((proposal.txs.len(), proposal.rejected.len()), (1, 1), "a proposer leaves the second out");
    let (nonce, until) = (tx.envelope.nonce, tx.envelope.valid_until);
    let other = SignedTx::sign(&secret(2), ChainId([5; 32]), nonce, until, FEE_LIMIT, transfer(3, 1));
    chain.block(vec![tx, other]);
}

#[test]
fn expired_buckets_go_and_the_digest_says_so() {
    let mut chain = Chain::new();
    let empty = chain.view().head().nonces_digest;
    chain.ok(1, transfer(2, 1));
    let used = chain.view().head().nonces_digest;
    assert_ne!(used, empty);
    let rows = |c: &Chain| c.view().store().scan_all(store::Column::Nonces, &[]).unwrap().len();
    assert_eq!(rows(&chain), 1);
    chain.block(vec![]);
    assert_eq!(chain.view().head().nonces_digest, used, "a live bucket stays");
    chain.block_after(3_600_000, vec![]);
    assert_eq!(chain.view().head().nonces_digest, empty);
    assert_eq!(rows(&chain), 0);
}

#[test]
fn an_empty_block_leaves_every_module_root_and_the_log_as_they_are() {
    let mut chain = Chain::new();
    chain.ok(1, transfer(2, 1));
    let before = chain.view().head().clone();
    chain.block(vec![]);
    let after = chain.view().head().clone();
    assert_eq!(after.module_roots, before.module_roots);
    assert_eq!(after.versions, before.versions);
    assert_eq!(after.log, before.log);
}

#[test]
fn a_block_from_outside_is_refused_by_the_name_of_its_first_wrong_field() {
    let mut chain = Chain::new();
    let tx = chain.tx(1, transfer(2, 1));
    let view = chain.view();
    let executed =
        execute(&view, &chain.context(1000), std::slice::from_ref(&tx), Signatures::Verify).unwrap();
    let good = executed.block(&view, vec![tx], None);
    validate_block(&view, &good, Signatures::Verify).unwrap();
    let field = |change: &dyn Fn(&mut metanode_types::block::Block)| {
        let mut bad = good.clone();
        change(&mut bad);
        match validate_block(&view, &bad, Signatures::Verify).unwrap_err() {
            BlockRejected::Header { field, .. } => field.to_string(),
            other => other.to_string(),
        }
    };
    assert_eq!(field(&|b| b.header.receipts_size += 1), "receipts_size");
    assert_eq!(field(&|b| b.header.receipts_root[0] ^= 1), "receipts_root");
    assert_eq!(field(&|b| b.header.nonces_digest[0] ^= 1), "nonces_digest");
    assert_eq!(field(&|b| b.header.params_hash[0] ^= 1), "params_hash");
    assert_eq!(field(&|b| b.header.validators_hash[0] ^= 1), "validators_hash");
    assert_eq!(field(&|b| b.header.proposer = address(1)), "proposer");
    assert_eq!(field(&|b| b.header.time_ms = START_MS), "time_ms");
    assert_eq!(field(&|b| b.header.chain_id = ChainId([6; 32])), "chain_id");
    let forged_root = |b: &mut metanode_types::block::Block| {
        b.header.module_roots.0[0][0] ^= 1;
        b.header.app_root = metanode_types::block::app_root(&b.header.module_roots.0);
    };
    assert_eq!(field(&forged_root), "module_roots");
}

#[test]
fn a_block_is_filled_to_its_bounds_and_what_does_not_fit_stays() {
    let params = metanode_types::params::ChainParams { max_block_txs: 3, ..Default::default() };
    let mut chain = Chain::on(std::sync::Arc::new(store::MemStore::new()), params);
    let txs: Vec<_> = (0..5).map(|_| chain.tx(1, transfer(2, 1))).collect();
    let p = propose(&chain.view(), &chain.context(1000), txs.clone(), Signatures::Verify).unwrap();
    assert_eq!((p.txs.len(), p.rejected.len()), (3, 0));
    assert_eq!(p.txs[..], txs[..3]);
}
