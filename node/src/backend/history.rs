//! Final blocks and receipts as the interface shows them.
//!
//! Owns the way from stored blocks and log entries to views. Reads the head of a stored block without its
//! transactions where only the header counts. Refuses to fill a gap: a height up to the head that is missing
//! is a fault of this node.

use super::fault::{absent, ambiguous, broken, gone};
use borsh::BorshDeserialize;
use metanode_rpc::backend::{Answer, IdPrefix};
use metanode_rpc::error::BackendError;
use metanode_rpc::views::{BlockSummary, IntervalView, ReceiptView};
use metanode_state::View;
use metanode_state::query::{Found, LoggedReceipt};
use metanode_state::store::Column;
use metanode_types::block::{Block, Header};
use metanode_types::certificate::Certificate;

/// Blocks over which [`recent_intervals`] measures.
const RECENT_BLOCKS: u64 = 100;

/// The beginning of a stored block: its header, and how many transactions follow.
pub(super) struct Front {
    pub(super) header: Header,
    pub(super) txs: u64,
}

/// The beginning of the block at `height`; `None` when it is not stored.
pub(super) fn front(view: &View<'_>, height: u64) -> Answer<Option<Front>> {
    let Some(bytes) = view.block_bytes(height).map_err(broken)? else { return Ok(None) };
    let rest = &mut &bytes[..];
    // The order of a block's fields: header, certificate of the parent, list of transactions.
    let read = |rest: &mut &[u8]| -> borsh::io::Result<Front> {
        let header = Header::deserialize(rest)?;
        Option::<Certificate>::deserialize(rest)?;
        Ok(Front { header, txs: u32::deserialize(rest)?.into() })
    };
    let front = read(rest).map_err(|e| gone(format!("a readable block {height} ({e})")))?;
    Ok(Some(front))
}

pub(super) fn header(view: &View<'_>, height: u64) -> Answer<Header> {
    front(view, height)?.map(|front| front.header).ok_or_else(|| gone(format!("block {height}")))
}

pub(super) fn block(view: &View<'_>, height: u64) -> Answer<Block> {
    view.block(height).map_err(broken)?.ok_or_else(|| gone(format!("block {height}")))
}

pub(super) fn certificate(view: &View<'_>, height: u64) -> Answer<Certificate> {
    let certificate = view.certificate(height).map_err(broken)?;
    certificate.ok_or_else(|| gone(format!("the certificate of block {height}")))
}

/// Leaves in the log before the block at `height`; one, the genesis, before the first.
pub(super) fn log_size_before(view: &View<'_>, height: u64) -> Answer<u64> {
    if height <= 1 { Ok(1) } else { Ok(header(view, height - 1)?.receipts_size) }
}

pub(super) fn summary(front: &Front) -> BlockSummary {
    let h = &front.header;
    BlockSummary {
        height: h.height,
        id: h.id(),
        time_ms: h.time_ms,
        proposer: h.proposer,
        txs: front.txs,
        receipts_size: h.receipts_size,
    }
}

/// The receipt that `prefix` names.
pub(super) fn find_receipt(view: &View<'_>, prefix: &IdPrefix) -> Answer<LoggedReceipt> {
    match view.receipt_by_prefix(prefix.as_str()).map_err(broken)? {
        Found::One(found) => Ok(found),
        Found::None => Err(absent("receipt", prefix)),
        Found::Many => Err(ambiguous(view, Column::ReceiptIds, "receipt", "rx_", prefix)),
    }
}

/// The height that `prefix` names.
pub(super) fn find_block(view: &View<'_>, prefix: &IdPrefix) -> Answer<u64> {
    match view.block_by_prefix(prefix.as_str()).map_err(broken)? {
        Found::One((_, height)) => Ok(height),
        Found::None => Err(absent("block", prefix)),
        Found::Many => Err(ambiguous(view, Column::BlockIds, "block", "0x", prefix)),
    }
}

pub(super) fn receipt_view(logged: LoggedReceipt) -> ReceiptView {
    let LoggedReceipt { index, receipt } = logged;
    ReceiptView {
        id: receipt.id(),
        tier: receipt.tier(),
        height: receipt.height,
        log_index: index,
        subject: receipt.subject.clone(),
        seq: receipt.seq,
        receipt,
    }
}

/// Times between the newest blocks; `None` below two blocks.
pub(super) fn recent_intervals(view: &View<'_>) -> Answer<Option<IntervalView>> {
    let head = view.head().height;
    let first = head.saturating_sub(RECENT_BLOCKS).max(1);
    let times: Answer<Vec<u64>> = (first..=head).map(|h| Ok(header(view, h)?.time_ms)).collect();
    let times = times?;
    let gaps: Vec<u64> = times.windows(2).map(|two| two[1].saturating_sub(two[0])).collect();
    let (Some(min), Some(max)) = (gaps.iter().min(), gaps.iter().max()) else { return Ok(None) };
    let count = gaps.len() as u64;
    Ok(Some(IntervalView { count, mean_ms: gaps.iter().sum::<u64>() / count, min_ms: *min, max_ms: *max }))
}

/// A height of the chain, or why there is no block of it.
pub(super) fn final_height(view: &View<'_>, height: u64) -> Answer<u64> {
    let head = view.head().height;
    if (1..=head).contains(&height) {
        return Ok(height);
    }
    let why = match (height, head) {
        (0, _) => "height 0 is the genesis and has no block".to_owned(),
        (_, 0) => "no block is final here yet".to_owned(),
        _ => format!("height {height} is above the newest final block here, {head}"),
    };
    Err(BackendError::not_found(why).next("ask for a height from 1 to that of chain_status"))
}
