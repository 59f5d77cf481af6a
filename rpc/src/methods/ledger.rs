//! `tx_*`, `receipt_*` and `proof_*`: transactions in, receipts and proofs out.

use super::params::*;
use super::{Caller, Context, Cost, Method, Result, ask, cursor, page_limit, wait};
use crate::backend::{Answer, Backend, IdPrefix, ReceiptFilter};
use crate::error::{BackendError, ErrorKind};
use crate::limits::{DEFAULT_WAIT, MAX_WAIT};
use crate::views::*;
use metanode_types::tx::SignedTx;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const FIND: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::NotFound];
const SUBMIT: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::Unavailable, ErrorKind::Rejected];
const WAIT: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::Unavailable, ErrorKind::Rejected];
const EXPORT: &[ErrorKind] = &[ErrorKind::InvalidInput, ErrorKind::NotFound, ErrorKind::Unavailable];

pub(super) fn methods() -> Vec<Method> {
    use Cost::{Heavy, Store};
    vec![
        ask("tx_submit", "Submits a signed transaction; answers with its id at once.", Store, SUBMIT, submit),
        wait(
            "tx_wait",
            "Waits until a transaction is final; a timeout is `unavailable` and names the transaction.",
            WAIT,
            wait_final,
        ),
        ask("tx_get", "A transaction, pending ones included.", Store, FIND, |b, p: TxParams| {
            b.tx(&IdPrefix::parse("0x", &p.tx)?)
        }),
        ask("receipt_get", "A receipt.", Store, FIND, |b, p: ReceiptParams| {
            b.receipt(&IdPrefix::parse("rx_", &p.receipt)?)
        }),
        ask("receipt_list", "Receipts in the order of the log.", Store, &[ErrorKind::InvalidInput], list),
        ask("proof_export", "A bundle that proves a receipt offline.", Heavy, EXPORT, export),
    ]
}

fn submit(backend: &dyn Backend, params: SubmitParams) -> Answer<SubmitView> {
    let bytes = hex::decode(&params.tx).map_err(|e| BackendError::invalid(format!("tx is not hex: {e}")))?;
    let tx = SignedTx::decode(&bytes).map_err(|e| BackendError::invalid(e.to_string()))?;
    let id = tx.id();
    let known = backend.submit(tx).map_err(|e| if e.tx.is_none() { e.tx(id) } else { e })?;
    Ok(SubmitView { tx: known })
}

/// Looks after every new height; a verdict other than "not yet" ends the wait.
async fn wait_final(context: Arc<Context>, _: Caller, params: WaitParams) -> Result<TxView> {
    let wait = params.timeout_ms.map_or(DEFAULT_WAIT, Duration::from_millis);
    if wait > MAX_WAIT {
        let most = MAX_WAIT.as_millis();
        return Err(
            BackendError::invalid(format!("timeout_ms {} exceeds {most}", wait.as_millis())).tx(params.tx)
        );
    }
    let deadline = Instant::now() + wait;
    let mut heights = context.backend.heights();
    let id = IdPrefix::parse("0x", &params.tx.to_string())?;
    loop {
        // Seen before asking: a block that arrives during the look-up wakes the next turn.
        heights.borrow_and_update();
        let key = id.clone();
        let seen = match context.ask(Cost::Store, move |backend| backend.tx(&key)).await {
            Ok(view) if view.status != TxStatus::Pending => return Ok(view),
            Ok(_) => true,
            Err(e) if e.kind == ErrorKind::NotFound => false,
            Err(e) => return Err(if e.tx.is_none() { e.tx(params.tx) } else { e }),
        };
        match tokio::time::timeout_at(deadline, heights.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(BackendError::unavailable("the node is stopping").tx(params.tx)),
            Err(_) => return Err(not_yet(&params, wait, seen)),
        }
    }
}

fn not_yet(params: &WaitParams, wait: Duration, seen: bool) -> BackendError {
    let ms = wait.as_millis();
    let (what, next) = if seen {
        ("is still pending", "wait again with tx_wait; it can become final until its valid_until")
    } else {
        ("is not known to this node", "submit it with tx_submit, or ask the node that took it")
    };
    BackendError::unavailable(format!("transaction {} {what} after {ms} ms", params.tx))
        .next(next)
        .tx(params.tx)
}

fn list(backend: &dyn Backend, params: ReceiptsParams) -> Answer<PageView<ReceiptView>> {
    let filter = ReceiptFilter { tier: params.tier, subject: params.subject, deployment: None };
    Ok(backend.receipts(&filter, cursor(params.cursor)?, page_limit(params.limit)?)?.into())
}

fn export(backend: &dyn Backend, params: ExportParams) -> Answer<BundleView> {
    let full = params.full.unwrap_or(false);
    let (receipt, bundle) = backend.bundle(&IdPrefix::parse("rx_", &params.receipt)?, full)?;
    Ok(BundleView { receipt, full, bytes: bundle.len() as u64, bundle: hex::encode(bundle) })
}
