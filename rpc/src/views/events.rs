//! Events and their cursor.
//!
//! The stream of a chain's events is totally ordered by `(height, index)`: index 0 is the block, index `i` the
//! block's receipt `i - 1`. A cursor names the last event seen, so that a subscriber resumes behind it.

use super::{BlockSummary, ReceiptView};
use crate::schema::{Schema, view};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

view! {
    /// Position in the stream of events.
    EventCursor {
        /// Height of the block.
        height: u64,
        /// 0 = the block itself, `i` = its receipt `i - 1`.
        index: u32,
    }
}

impl Copy for EventCursor {}
impl Eq for EventCursor {}
impl PartialOrd for EventCursor {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for EventCursor {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.height, self.index).cmp(&(other.height, other.index))
    }
}
impl std::fmt::Display for EventCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.height, self.index)
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventView {
    /// A block became final.
    Block {
        /// Position.
        cursor: EventCursor,
        /// The block.
        block: BlockSummary,
    },
    /// A receipt of the block that came before in the stream.
    Receipt {
        /// Position.
        cursor: EventCursor,
        /// The receipt.
        receipt: Box<ReceiptView>,
    },
    /// Events were skipped because the subscriber was too slow or the history is pruned.
    Gap {
        /// Last position before the gap; what lies behind it was not sent.
        from: EventCursor,
        /// Last position skipped; resume from `from` (if still kept) to read what is missing.
        to: EventCursor,
    },
}

impl EventView {
    /// Position behind which a subscriber resumes after this event.
    pub fn cursor(&self) -> EventCursor {
        match self {
            EventView::Block { cursor, .. } | EventView::Receipt { cursor, .. } => *cursor,
            EventView::Gap { to, .. } => *to,
        }
    }
}

impl Schema for EventView {
    fn schema() -> Value {
        let one = |word: &str, fields: Value, required: &[&str]| {
            let mut properties = fields;
            properties["event"] = json!({"const": word});
            json!({"type": "object", "properties": properties, "required": required})
        };
        let (cursor, block, receipt) = (EventCursor::schema(), BlockSummary::schema(), ReceiptView::schema());
        json!({"oneOf": [
            one("block", json!({"cursor": cursor, "block": block}), &["event", "cursor", "block"]),
            one("receipt", json!({"cursor": cursor, "receipt": receipt}), &["event", "cursor", "receipt"]),
            one("gap", json!({"from": cursor, "to": cursor}), &["event", "from", "to"]),
        ]})
    }
}
