//! `events_subscribe`: blocks and receipts as they become final, resumable by cursor.
//!
//! Owns the pace of a subscription. It *pulls*: events are read from the node's store a page at a time, and
//! only after the connection took those before, so that a slow client costs one page of memory, whatever it
//! does. A client that resumes reads history at its own pace. One that had caught up (it began at the head or
//! took an event of it), then does not take an event for `EVENT_STALL` and has fallen more than `MAX_EVENT_LAG`
//! heights behind, gets a gap notice and continues at the head; the notice says what was skipped, and a
//! subscription from its start reads it. A node that jumps ahead makes no gap: only a slow client does.
//!
//! ```text
//! resume --page--> caught up --stall, lag > MAX_EVENT_LAG--> gap --> caught up
//! ```

use crate::error::{BackendError, ErrorKind};
use crate::limits::{EVENT_PAGE, EVENT_STALL, MAX_EVENT_LAG};
use crate::methods::params::SubscribeParams;
use crate::methods::{Call, Context, Cost, Method, parse};
use crate::schema::{ObjectSchema, Schema};
use crate::views::{EventCursor, EventView};
use jsonrpsee::core::{SubscriptionResult, to_json_raw_value};
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use std::sync::Arc;
use std::time::Instant;

/// Name on the wire.
pub(crate) const SUBSCRIBE: &str = "events_subscribe";
/// Method name of the notifications.
pub(crate) const NOTIFICATION: &str = "events_event";
/// Method that ends a subscription.
pub(crate) const UNSUBSCRIBE: &str = "events_unsubscribe";

pub(crate) fn methods() -> Vec<Method> {
    vec![Method {
        name: SUBSCRIBE,
        summary: "Blocks and receipts as they become final, behind a cursor; WebSocket only.",
        errors: &[ErrorKind::InvalidInput, ErrorKind::Unsupported],
        params: SubscribeParams::fields,
        result: EventView::schema,
        call: Call::Subscription { notification: NOTIFICATION, unsubscribe: UNSUBSCRIBE },
    }]
}

/// The last position of a height, whatever it holds.
fn end_of(height: u64) -> EventCursor {
    EventCursor { height, index: u32::MAX }
}

/// Serves one subscription until either side ends it; what goes wrong is told in the closing notification.
pub(crate) async fn serve(
    context: Arc<Context>,
    params: String,
    pending: PendingSubscriptionSink,
) -> SubscriptionResult {
    let (head, after) = match start(&context, &params) {
        Ok(start) => start,
        Err(e) => {
            pending.reject(e).await;
            return Ok(());
        }
    };
    tracing::debug!(head, %after, "a subscription starts");
    // The client is gone when accepting fails: nobody is left to tell.
    match pending.accept().await {
        Ok(sink) => pump(&context, &sink, head, after).await.map_err(|e| e.to_string().into()),
        Err(_) => Ok(()),
    }
}

fn start(context: &Context, params: &str) -> Result<(u64, EventCursor), BackendError> {
    let params = parse::<SubscribeParams>(SUBSCRIBE, params)?;
    let head = *context.backend.heights().borrow();
    let after = params.after.unwrap_or(end_of(head));
    if after.height > head {
        let reason = format!("the cursor is at height {}, but the chain is at {head}", after.height);
        return Err(
            BackendError::invalid(reason).next("resume on a node of the same chain that has caught up")
        );
    }
    Ok((head, after))
}

/// Sends what comes behind `after`, which was checked against a chain at height `head`.
async fn pump(
    context: &Arc<Context>,
    sink: &SubscriptionSink,
    head: u64,
    mut after: EventCursor,
) -> Result<(), BackendError> {
    let mut heights = context.backend.heights();
    let (mut caught_up, mut slow) = (after.height >= head, false);
    loop {
        let head = *heights.borrow_and_update();
        if caught_up && slow && head.saturating_sub(after.height) > MAX_EVENT_LAG {
            let gap = EventView::Gap { from: after, to: end_of(head - 1) };
            if !send(sink, &gap).await? {
                return Ok(());
            }
            after = gap.cursor();
        }
        slow = false;
        let from = after;
        let page = context.ask(Cost::Store, move |backend| backend.events(from, EVENT_PAGE)).await?;
        for event in &page {
            let offered = Instant::now();
            if !send(sink, event).await? {
                return Ok(());
            }
            slow |= offered.elapsed() > EVENT_STALL;
            after = event.cursor();
        }
        // Judged by what it took: there may never be an empty page to judge by while the chain grows.
        caught_up |= after.height >= head;
        if page.is_empty() {
            tokio::select! {
                changed = heights.changed() => {
                    changed.map_err(|_| BackendError::unavailable("the node is stopping"))?;
                }
                () = sink.closed() => return Ok(()),
            }
        }
    }
}

/// False when the subscriber is gone. Waits while the connection's bounded buffer is full.
async fn send(sink: &SubscriptionSink, event: &EventView) -> Result<bool, BackendError> {
    let message =
        to_json_raw_value(event).map_err(|e| BackendError::internal(format!("write an event: {e}")))?;
    Ok(sink.send(message).await.is_ok())
}
