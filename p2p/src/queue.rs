//! The bounded queue between a network and its core loop.
//!
//! Owns the rule of who is turned away when the loop is slow: gossip and requests of peers are (in number
//! and in bytes); what the loop itself asked for (responses, failures) and what it must know (connections,
//! bans) never is, because that is bounded elsewhere. So neither side ever waits for the other, and nothing
//! can deadlock.

use crate::{Event, limits};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Events waiting for the core loop.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Gossip and requests among them: how many, of how many bytes.
    sheddable: usize,
    sheddable_bytes: usize,
}

/// Bytes of an event that may be turned away; `None` if it may not.
fn sheddable(event: &Event) -> Option<usize> {
    match event {
        Event::Gossip { data, .. } | Event::Request { data, .. } => Some(data.len()),
        _ => None,
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics halfway, so a poisoned lock still guards a sound queue.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; gives it back if there is no room for one of its kind.
    pub(crate) fn push(&self, event: Event) -> Result<(), Event> {
        let mut waiting = self.lock();
        if let Some(bytes) = sheddable(&event) {
            let full = waiting.sheddable >= limits::MAX_WAITING_EVENTS
                || waiting.sheddable_bytes + bytes > limits::MAX_WAITING_EVENT_BYTES;
            if full {
                return Err(event);
            }
            waiting.sheddable += 1;
            waiting.sheddable_bytes += bytes;
        }
        waiting.events.push_back(event);
        drop(waiting);
        self.arrived.notify_all();
        Ok(())
    }

    /// The oldest event.
    pub(crate) fn pop(&self) -> Option<Event> {
        Self::take(&mut self.lock())
    }

    /// The oldest event, waiting for one up to `timeout`.
    pub(crate) fn pop_timeout(&self, timeout: Duration) -> Option<Event> {
        let waiting = self.lock();
        let wait = self.arrived.wait_timeout_while(waiting, timeout, |w| w.events.is_empty());
        Self::take(&mut wait.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Waiting::default();
    }

    fn take(waiting: &mut Waiting) -> Option<Event> {
        let event = waiting.events.pop_front()?;
        if let Some(bytes) = sheddable(&event) {
            waiting.sheddable -= 1;
            waiting.sheddable_bytes -= bytes;
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageId, NodeKey, Topic};

    fn gossip(bytes: usize) -> Event {
        let from = NodeKey::from_seed([1; 32]).peer_id();
        let id = MessageId { hash: [0; 32], from };
        Event::Gossip { topic: Topic::Blocks, from, id, data: vec![0; bytes] }
    }

    #[test]
    fn a_full_queue_sheds_gossip_but_never_a_loss_of_connection() {
        let queue = Queue::default();
        for _ in 0..limits::MAX_WAITING_EVENTS {
            queue.push(gossip(0)).unwrap();
        }
        assert!(queue.push(gossip(0)).is_err());
        let peer = NodeKey::from_seed([1; 32]).peer_id();
        queue.push(Event::PeerDisconnected { peer }).unwrap();
        assert!(queue.pop().is_some());
        queue.push(gossip(0)).unwrap();
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), limits::MAX_WAITING_EVENTS + 1);
        assert_eq!(queue.pop_timeout(Duration::ZERO), None);
    }

    #[test]
    fn bytes_are_bounded_too_and_given_back() {
        let (queue, big) = (Queue::default(), 1024 * 1024);
        for _ in 0..limits::MAX_WAITING_EVENT_BYTES / big {
            queue.push(gossip(big)).unwrap();
        }
        assert!(queue.push(gossip(1)).is_err());
        queue.pop().unwrap();
        queue.push(gossip(big)).unwrap();
        queue.clear();
        assert_eq!(queue.pop(), None);
        queue.push(gossip(big)).unwrap();
    }
}
