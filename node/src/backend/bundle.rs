//! Proof bundles: what a stranger needs to check one receipt offline.
//!
//! Owns the gathering: the newest certified header, the receipt with its companions and their inclusion
//! paths, the causing transaction, and for a full bundle the whole header chain, the receipt's block and that
//! block's receipts. Refuses to hand out what does not verify: every bundle is decoded again and judged by
//! the offline verifier against this chain's genesis first, so a fault of this node is found here and not by
//! the stranger.

use super::fault::{broken, gone};
use super::history::{block, certificate, find_receipt, header, log_size_before};
use metanode_rpc::backend::{Answer, IdPrefix};
use metanode_rpc::error::BackendError;
use metanode_state::View;
use metanode_state::query::LoggedReceipt;
use metanode_types::block::{Block, Header};
use metanode_types::bundle::{Bundle, Cause, FullPart};
use metanode_types::codec::encode;
use metanode_types::ids::ReceiptId;
use metanode_types::limits::MAX_BUNDLE_BYTES;
use metanode_types::receipt::{Receipt, ReceiptBody};
use metanode_types::verify::{Status, TrustRoot, Verification, verify};

/// The bytes of a verified bundle for the receipt that `prefix` names.
pub fn export(
    view: &View<'_>,
    trust: &TrustRoot,
    prefix: &IdPrefix,
    full: bool,
) -> Answer<(ReceiptId, Vec<u8>)> {
    let subject = find_receipt(view, prefix)?;
    let id = subject.receipt.id();
    let bytes = build(view, subject, full)?.to_bytes();
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(too_long(&id, bytes.len()));
    }
    let faulty =
        |why: String| BackendError::internal(format!("the bundle of {id} made here does not verify: {why}"));
    let read = Bundle::from_bytes(&bytes).map_err(|e| faulty(e.to_string()))?;
    let verdict = verify(&read, trust);
    if !verdict.verified() {
        return Err(
            faulty(complaints(&verdict)).next("ask another node; this one's ledger or genesis is damaged")
        );
    }
    Ok((id, bytes))
}

/// What failed, by name.
fn complaints(verdict: &Verification) -> String {
    let said = verdict.checks.iter().filter_map(|check| match &check.status {
        Status::Passed(_) => None,
        Status::Failed(why) | Status::NotApplicable(why) | Status::Unavailable(why) => {
            Some(format!("{}: {why}", check.name))
        }
    });
    said.collect::<Vec<_>>().join("; ")
}

fn build(view: &View<'_>, subject: LoggedReceipt, full: bool) -> Answer<Bundle> {
    let head = view.head().height;
    let certified = header(view, head)?;
    let made_in = block(view, subject.receipt.height)?;
    let cause = cause(&subject.receipt, &made_in)?;
    let full = full.then(|| full_part(view, &certified, &subject.receipt, made_in)).transpose()?;
    let mut items = Vec::new();
    for logged in with_companions(view, subject)? {
        let path = view.inclusion_path(logged.index, certified.receipts_size).map_err(broken)?;
        let path = path.ok_or_else(|| gone(format!("leaf {} of the receipts log", logged.index)))?;
        items.push((logged.index, logged.receipt, path));
    }
    let (receipts, hashes) = Bundle::share_paths(items)
        .ok_or_else(|| BackendError::internal("the inclusion paths have more than 256 different hashes"))?;
    let certificate = certificate(view, head)?;
    Ok(Bundle { chain_id: view.chain_id(), header: certified, certificate, receipts, hashes, cause, full })
}

/// The receipt, its predecessor, its assignment: the order that the verifier expects, without repetition.
fn with_companions(view: &View<'_>, subject: LoggedReceipt) -> Answer<Vec<LoggedReceipt>> {
    let mut ids: Vec<ReceiptId> = subject.receipt.previous.into_iter().collect();
    if let ReceiptBody::Action(action) = &subject.receipt.body
        && let Some(assignment) = action.shown_assignment()
        && !ids.contains(&assignment)
    {
        ids.push(assignment);
    }
    let mut all = vec![subject];
    for id in ids {
        all.push(view.receipt(&id).map_err(broken)?.ok_or_else(|| gone(format!("receipt {id}")))?);
    }
    Ok(all)
}

/// The transaction that caused a receipt; none for what the state machine does by itself.
fn cause(receipt: &Receipt, made_in: &Block) -> Answer<Option<Cause>> {
    let Some(id) = receipt.tx else { return Ok(None) };
    let tx = receipt.tx_index.and_then(|index| made_in.txs.get(index as usize)).filter(|tx| tx.id() == id);
    let tx = tx.ok_or_else(|| gone(format!("transaction {id} in block {}", receipt.height)))?;
    Ok(Some(Cause::of(tx)))
}

fn full_part(view: &View<'_>, certified: &Header, receipt: &Receipt, made_in: Block) -> Answer<FullPart> {
    let (from, until) = (log_size_before(view, made_in.header.height)?, made_in.header.receipts_size);
    let logged = view.receipts_from(from, (until - from) as usize).map_err(broken)?.items;
    let consistency = view.consistency_path(from, certified.receipts_size).map_err(broken)?;
    let consistency = consistency.ok_or_else(|| gone(format!("the receipts log of {from} leaves")))?;
    let witness = blocks_below(view, made_in.header.height, &receipt.id())?;
    Ok(FullPart {
        headers: headers_below(view, certified.height, &receipt.id())?,
        block: made_in,
        receipts: logged.into_iter().map(|l| l.receipt).collect(),
        consistency,
        witness: crate::replay::witness(&witness),
    })
}

/// Headers from height 1 to the one before `height`, as long as a bundle can hold them.
fn headers_below(view: &View<'_>, height: u64, id: &ReceiptId) -> Answer<Vec<Header>> {
    let mut headers = Vec::new();
    let mut bytes = 0;
    for h in 1..height {
        let header = header(view, h)?;
        bytes += encode(&header).len();
        if bytes > MAX_BUNDLE_BYTES {
            return Err(too_long(id, bytes));
        }
        headers.push(header);
    }
    Ok(headers)
}

/// Blocks from height 1 to the one before `height`, as long as a bundle can hold them: what a replay starts from.
fn blocks_below(view: &View<'_>, height: u64, id: &ReceiptId) -> Answer<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut bytes = 0;
    for h in 1..height {
        let block = block(view, h)?;
        bytes += encode(&block).len();
        if bytes > MAX_BUNDLE_BYTES {
            return Err(too_long(id, bytes));
        }
        blocks.push(block);
    }
    Ok(blocks)
}

fn too_long(id: &ReceiptId, bytes: usize) -> BackendError {
    let why = format!(
        "a full bundle of {id} takes more than {MAX_BUNDLE_BYTES} bytes (MAX_BUNDLE_BYTES): {bytes} so far"
    );
    BackendError::limit(why).next("export without --full: the core bundle proves the receipt by itself")
}
