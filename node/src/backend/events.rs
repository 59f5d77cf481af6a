//! Events in the order of the chain: a block, then its receipts.
//!
//! Owns the cursor: `(height, 0)` is the block, `(height, i)` its receipt `i - 1`, `(height, u32::MAX)` its
//! end. Refuses silence: where history below the head is not stored, a gap says so.

use super::fault::{broken, gone};
use super::history::{front, log_size_before, receipt_view, summary};
use metanode_rpc::backend::Answer;
use metanode_rpc::views::{EventCursor, EventView};
use metanode_state::store::Column;
use metanode_state::{View, keys};

/// Events behind `after`, at most `limit`; fewer only at the head.
pub fn behind(view: &View<'_>, after: EventCursor, limit: usize) -> Answer<Vec<EventView>> {
    let head = view.head().height;
    let mut out: Vec<EventView> = Vec::new();
    // The genesis, height 0, has neither block nor receipts.
    let (mut height, mut index) =
        if after.height == 0 { (1, 0) } else { (after.height, after.index.saturating_add(1)) };
    while height <= head && out.len() < limit {
        let Some(here) = front(view, height)? else {
            let from = out.last().map_or(after, EventView::cursor);
            let kept = first_kept(view)?;
            if kept <= height {
                return Err(gone(format!("block {height}")));
            }
            out.push(EventView::Gap { from, to: EventCursor { height: kept - 1, index: u32::MAX } });
            (height, index) = (kept, 0);
            continue;
        };
        if index == 0 {
            out.push(EventView::Block { cursor: EventCursor { height, index: 0 }, block: summary(&here) });
            index = 1;
        }
        let first = log_size_before(view, height)?;
        let end = here.header.receipts_size;
        let start = first + u64::from(index) - 1;
        let room = (limit - out.len()).min(end.saturating_sub(start) as usize);
        for logged in view.receipts_from(start, room).map_err(broken)?.items {
            let index =
                u32::try_from(logged.index - first + 1).map_err(|_| gone("a block of fewer receipts"))?;
            let receipt = Box::new(receipt_view(logged));
            out.push(EventView::Receipt { cursor: EventCursor { height, index }, receipt });
        }
        (height, index) = (height + 1, 0);
    }
    Ok(out)
}

/// Lowest height whose block is stored.
fn first_kept(view: &View<'_>) -> Answer<u64> {
    let rows = view.store().scan(Column::Blocks, &[], None, 1).map_err(broken)?;
    let height = rows.first().and_then(|(key, _)| keys::leading_number(key));
    height.ok_or_else(|| gone("every block"))
}
