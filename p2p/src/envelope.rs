//! The envelope of a gossip message, and the rule that keeps repetition useful and cheap.
//!
//! Owns the message id and the memory of recent contents. Sans-I/O.
//!
//! ```text
//!   envelope = nonce (8 bytes) | content          message id = SHA-256(topic name | 0 | envelope)
//! ```
//!
//! Why a nonce: gossipsub drops, at the publisher and at every receiver, whatever has an id that it has
//! seen lately. With an id over the content alone, a vote that is rebroadcast (because a peer reconnected,
//! because a round timed out, because the node restarted and replayed its log) would be swallowed for the
//! length of that cache, and the chain could stand still although everybody is willing. A short cache would
//! only shorten the hole and would let late copies circle. So each publication gets a fresh id and is
//! delivered exactly once to everybody within the long cache.
//!
//! What keeps that from being an amplifier is the second rule: a receiver neither delivers nor forwards a
//! content that it has seen within [`limits::REPEAT_QUIET_MS`], whatever its nonce. Whoever replays others'
//! messages under new nonces gains two copies per second and receiver, within his own budget, and the core
//! loop ends even that with `Ignore` for what is stale. Messages carry no author and no signature at this
//! level: contents are signed by those who are bound by them, and a second signature would be paid for at
//! every hop.

use crate::{Topic, limits};
use metanode_types::hash::sha256;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of the nonce.
pub(crate) const NONCE_BYTES: usize = 8;

/// Puts a content into an envelope.
pub(crate) fn seal(nonce: u64, content: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(NONCE_BYTES + content.len());
    envelope.extend_from_slice(&nonce.to_le_bytes());
    envelope.extend_from_slice(content);
    envelope
}

/// Takes the content out of an envelope, if it is one and not too long for its topic.
pub(crate) fn open(topic: Topic, mut envelope: Vec<u8>) -> Option<Vec<u8>> {
    if envelope.len() < NONCE_BYTES || envelope.len() - NONCE_BYTES > topic.max_bytes() {
        return None;
    }
    envelope.drain(..NONCE_BYTES);
    Some(envelope)
}

/// The id of a message. `topic` is the name on the wire.
pub(crate) fn message_id(topic: &str, envelope: &[u8]) -> [u8; 32] {
    sha256(&[topic.as_bytes(), &[0], envelope].concat())
}

/// Contents seen lately.
#[derive(Default)]
pub(crate) struct Recent {
    seen: BTreeMap<[u8; 32], u64>,
    order: VecDeque<(u64, [u8; 32])>,
}

impl Recent {
    /// Notes a content; says whether it is new enough to be delivered and forwarded.
    pub(crate) fn admit(&mut self, topic: Topic, content: &[u8], now_ms: u64) -> bool {
        self.forget(now_ms);
        let key = message_id(topic.name(), content);
        if self.seen.get(&key).is_some_and(|until| *until > now_ms) {
            return false;
        }
        let until = now_ms.saturating_add(quiet_ms(topic));
        self.seen.insert(key, until);
        self.order.push_back((until, key));
        true
    }

    fn forget(&mut self, now_ms: u64) {
        // The topics' quiet times differ, so the queue is only roughly in order of time; a late entry waits
        // behind an early one for at most the longest quiet time, and the bound on number holds regardless.
        while let Some((until, key)) = self.order.front().copied() {
            if until > now_ms && self.order.len() < limits::MAX_REMEMBERED_CONTENTS {
                return;
            }
            self.order.pop_front();
            if self.seen.get(&key) == Some(&until) {
                self.seen.remove(&key);
            }
        }
    }
}

const fn quiet_ms(topic: Topic) -> u64 {
    match topic {
        Topic::Consensus | Topic::Blocks => limits::REPEAT_QUIET_MS,
        Topic::Transactions => limits::REPEAT_QUIET_TRANSACTIONS_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_to_what_was_sealed_and_repeats_have_other_ids() {
        for content in [b"".as_slice(), b"vote"] {
            let (a, b) = (seal(1, content), seal(2, content));
            assert_ne!(message_id("t", &a), message_id("t", &b));
            assert_eq!(open(Topic::Consensus, a).unwrap(), content);
        }
        assert_ne!(message_id("ab", b"c"), message_id("a", b"bc"), "topic and envelope cannot run together");
        assert!(open(Topic::Consensus, vec![0; NONCE_BYTES - 1]).is_none());
        assert!(open(Topic::Consensus, vec![0; NONCE_BYTES + Topic::Consensus.max_bytes()]).is_some());
        assert!(open(Topic::Consensus, vec![0; NONCE_BYTES + Topic::Consensus.max_bytes() + 1]).is_none());
    }

    #[test]
    fn a_content_is_quiet_for_a_time_and_then_gets_through_again() {
        let mut recent = Recent::default();
        assert!(recent.admit(Topic::Consensus, b"vote", 1000));
        assert!(!recent.admit(Topic::Consensus, b"vote", 1000 + limits::REPEAT_QUIET_MS - 1));
        assert!(recent.admit(Topic::Blocks, b"vote", 1000), "topics are apart");
        assert!(recent.admit(Topic::Consensus, b"vote", 1000 + limits::REPEAT_QUIET_MS));
        assert!(!recent.admit(Topic::Consensus, b"vote", 1001 + limits::REPEAT_QUIET_MS));
    }

    #[test]
    fn the_memory_of_contents_is_bounded() {
        let mut recent = Recent::default();
        for i in 0..(limits::MAX_REMEMBERED_CONTENTS as u64 + 1000) {
            recent.admit(Topic::Transactions, &i.to_le_bytes(), 0);
        }
        assert!(recent.seen.len() <= limits::MAX_REMEMBERED_CONTENTS);
        assert!(recent.order.len() <= limits::MAX_REMEMBERED_CONTENTS);
    }
}
