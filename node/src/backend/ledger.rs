//! Transactions, receipts, accounts and the supply.
//!
//! Owns the answers about what is on the ledger, and the one way in: a submission goes to the chain loop,
//! which judges it. A transaction that is known already, waiting or final, is accepted again under its id.

use super::fault::{absent, ambiguous, broken, gone};
use super::history::{block, find_receipt, receipt_view};
use crate::chain::SubmitError;
use crate::chain::mempool::Refused;
use crate::chain::thread::ChainHandle;
use metanode_rpc::backend::{Answer, IdPrefix, ReceiptFilter};
use metanode_rpc::error::BackendError;
use metanode_rpc::views::{AccountView, Page, ReceiptView, SupplyView, TxStatus, TxView};
use metanode_state::query::{Found, LoggedReceipt};
use metanode_state::records::{TxOutcome, TxRecord};
use metanode_state::store::Column;
use metanode_state::{StateRead, View};
use metanode_types::ids::{Address, Name, TxId};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Receipt, Subject};
use metanode_types::tx::SignedTx;

/// Hands a transaction to the chain loop.
pub fn submit(chain: &ChainHandle, tx: SignedTx) -> Answer<TxId> {
    let id = tx.id();
    match chain.submit(tx) {
        Ok(id) => Ok(id),
        Err(SubmitError::Final(_) | SubmitError::Refused(Refused::Known)) => Ok(id),
        Err(SubmitError::Invalid(why)) => Err(BackendError::rejected(id, why)
            .next("mend what it names and sign a new transaction; this one will never be taken as it is")),
        Err(SubmitError::Refused(full)) => Err(BackendError::unavailable(full.to_string())
            .tx(id)
            .next("submit the same bytes again in a moment")),
    }
}

/// The final transaction that `prefix` names; `None` when there is none.
pub fn final_tx(view: &View<'_>, prefix: &IdPrefix) -> Answer<Option<TxView>> {
    match view.tx_by_prefix(prefix.as_str()).map_err(broken)? {
        Found::One((id, record)) => Ok(Some(executed(view, id, record)?)),
        Found::Many => Err(ambiguous(view, Column::Txs, "transaction", "0x", prefix)),
        Found::None => Ok(None),
    }
}

/// A transaction that waits.
pub fn pending_tx(tx: &SignedTx) -> TxView {
    TxView {
        id: tx.id(),
        status: TxStatus::Pending,
        kind: tx.body.kind().to_owned(),
        sender: tx.envelope.sender,
        height: None,
        index: None,
        code: None,
        reason: None,
        receipts: Vec::new(),
        fee: None,
    }
}

/// Nothing has this id.
pub fn no_tx(prefix: &IdPrefix) -> BackendError {
    match prefix.exact() {
        Some(_) => absent("transaction", prefix),
        None => absent("final transaction", prefix).next("give the whole id to find one that still waits"),
    }
}

fn executed(view: &View<'_>, id: TxId, record: TxRecord) -> Answer<TxView> {
    let made_in = block(view, record.height)?;
    let tx = made_in.txs.get(record.index as usize).filter(|tx| tx.id() == id);
    let tx = tx.ok_or_else(|| gone(format!("transaction {id} in block {}", record.height)))?;
    let receipts = view.receipts_from(record.first_receipt, record.receipts as usize).map_err(broken)?.items;
    let (status, fee, code, reason) = match record.outcome {
        TxOutcome::Done { fee } => (TxStatus::Final, fee, None, None),
        TxOutcome::Failed { fee, code, reason } => (TxStatus::Failed, fee, Some(code), Some(reason.0)),
    };
    Ok(TxView {
        status,
        height: Some(record.height),
        index: Some(record.index),
        code,
        reason,
        receipts: receipts.iter().map(|logged| logged.receipt.id()).collect(),
        fee: Some(fee),
        ..pending_tx(tx)
    })
}

/// One receipt.
pub fn receipt(view: &View<'_>, prefix: &IdPrefix) -> Answer<ReceiptView> {
    find_receipt(view, prefix).map(receipt_view)
}

/// Receipts in log order from leaf `from` on: the narrowest index that fits is read, at most `limit` entries
/// of it.
pub fn receipts(
    view: &View<'_>,
    filter: &ReceiptFilter,
    from: Option<u64>,
    limit: usize,
) -> Answer<Page<ReceiptView, u64>> {
    let start = from.unwrap_or(0);
    let (read, more) = match (&filter.subject, &filter.deployment) {
        (Some(subject), _) => of_subject(view, subject, start, limit)?,
        (None, Some(name)) => of_deployment(view, name, from, limit)?,
        (None, None) => {
            let page = view.receipts_from(start, limit).map_err(broken)?;
            (page.items, page.next.is_some())
        }
    };
    let next = read.last().filter(|_| more).map(|last| last.index + 1);
    let fits = |r: &Receipt| {
        filter.tier.is_none_or(|tier| r.tier() == tier)
            && filter.subject.as_ref().is_none_or(|subject| r.subject == *subject)
    };
    let items = read.into_iter().filter(|logged| fits(&logged.receipt)).map(receipt_view).collect();
    Ok(Page { items, next })
}

fn of_deployment(
    view: &View<'_>,
    name: &Name,
    from: Option<u64>,
    limit: usize,
) -> Answer<(Vec<LoggedReceipt>, bool)> {
    let after = from.and_then(|from| from.checked_sub(1));
    let page = view.receipts_of(name, after, limit).map_err(broken)?;
    if page.items.is_empty() && from.is_none() {
        return Err(BackendError::not_found(format!("no receipt concerns a deployment {name}"))
            .next("list the deployments with deployment_list"));
    }
    Ok((page.items, page.next.is_some()))
}

/// A subject's receipts are indexed by sequence number, which grows with the log: the first at or behind leaf
/// `from` is found by halving.
fn of_subject(
    view: &View<'_>,
    subject: &Subject,
    from: u64,
    limit: usize,
) -> Answer<(Vec<LoggedReceipt>, bool)> {
    let Some(head) = view.subject_head(subject).map_err(broken)? else { return Ok((Vec::new(), false)) };
    let (mut low, mut high) = (0, head.count);
    while low < high {
        let middle = low + (high - low) / 2;
        let one = view.receipts_of_subject(subject, middle, 1).map_err(broken)?;
        let at = one.first().ok_or_else(|| gone(format!("receipt {middle} of {subject}")))?;
        if at.index < from { low = middle + 1 } else { high = middle }
    }
    let items = view.receipts_of_subject(subject, low, limit).map_err(broken)?;
    let more = low + (items.len() as u64) < head.count;
    Ok((items, more))
}

/// An account; one never seen has no money.
pub fn account(view: &View<'_>, address: &Address) -> Answer<AccountView> {
    let record = view.account(address).map_err(broken)?;
    Ok(AccountView {
        address: *address,
        balance: record.balance(),
        spent: Some(record.debited),
        height: view.head().height,
    })
}

/// The supply.
pub fn supply(view: &View<'_>) -> Answer<SupplyView> {
    let record = view.supply().map_err(broken)?;
    Ok(SupplyView {
        supply: in_existence(view)?,
        burned: record.burned,
        escrow: record.escrowed,
        bonded: record.bonded,
        height: view.head().height,
    })
}

/// Units in existence.
pub fn in_existence(view: &View<'_>) -> Answer<Amount> {
    view.supply_in_existence().map_err(broken)
}
