//! What each peer may cost us: budgets, offences, scores and bans.
//!
//! Owns the memory of peers' conduct, bounded in number. Sans-I/O: time comes in as milliseconds, decisions
//! go out; whoever asks must carry them out. Integers only, no clock, no hash-map iteration.
//!
//! A score is the sum of offences less one point forgiven per second; at [`limits::BAN_SCORE`] the peer is
//! banned for a minute, and twice as long each further time. gossipsub's own peer scoring is left off: its
//! parameters are tuned for thousands of anonymous peers (colocated addresses, mesh delivery quotas), and
//! on a cluster of four honest validators behind one address, or an idle one, it would punish what is
//! normal.

use crate::{PeerId, limits};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// It brought a gossip message that is invalid, or cannot be decoded.
    InvalidMessage,
    /// It made a request that cannot be decoded, or is too long.
    InvalidRequest,
    /// It gave a response that cannot be decoded, is too long, or does not verify.
    InvalidResponse,
    /// It gave a chunk, or a chunk list, that is not of the blob that was asked for.
    BadChunk,
    /// It brought more messages or made more requests than its budget allows.
    Flood,
    /// It did what no honest node can do (for example, it signed two conflicting votes).
    Malice,
}

impl Offence {
    /// Points an offence counts. A flood counts per message, hence little.
    pub const fn weight(self) -> u32 {
        match self {
            Offence::Flood => 1,
            Offence::InvalidMessage => 20,
            Offence::InvalidRequest | Offence::InvalidResponse => 25,
            Offence::BadChunk => 50,
            Offence::Malice => limits::BAN_SCORE,
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Offence::InvalidMessage => "invalid gossip message",
            Offence::InvalidRequest => "invalid request",
            Offence::InvalidResponse => "invalid response",
            Offence::BadChunk => "chunk that is not of the blob",
            Offence::Flood => "more traffic than its budget allows",
            Offence::Malice => "what no honest node can do",
        })
    }
}

/// A peer is to be disconnected and not talked to until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) reason: Offence,
    pub(crate) for_ms: u64,
}

/// A budget that refills with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: u64,
    burst: u64,
    /// In thousandths, so that a millisecond's refill is never rounded away.
    filled: u64,
    at_ms: u64,
}

impl Bucket {
    fn new(per_second: u64, burst: u64, now_ms: u64) -> Self {
        Bucket { per_second, burst, filled: burst.saturating_mul(1000), at_ms: now_ms }
    }

    fn refill(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let full = self.burst.saturating_mul(1000);
        self.filled = self.filled.saturating_add(passed.saturating_mul(self.per_second)).min(full);
    }

    /// Takes `amount` if it is there; takes nothing otherwise.
    fn take(&mut self, amount: u64, now_ms: u64) -> bool {
        self.refill(now_ms);
        let cost = amount.saturating_mul(1000);
        if cost > self.filled {
            return false;
        }
        self.filled -= cost;
        true
    }
}

#[derive(Clone, Debug)]
struct Record {
    score: u32,
    scored_at_ms: u64,
    bans: u32,
    banned_until_ms: u64,
    gossip_messages: Bucket,
    gossip_bytes: Bucket,
    requests: Bucket,
    served_bytes: Bucket,
}

impl Record {
    fn new(now_ms: u64) -> Self {
        Record {
            score: 0,
            scored_at_ms: now_ms,
            bans: 0,
            banned_until_ms: 0,
            gossip_messages: Bucket::new(
                limits::GOSSIP_MESSAGES_PER_SECOND,
                limits::GOSSIP_MESSAGES_BURST,
                now_ms,
            ),
            gossip_bytes: Bucket::new(limits::GOSSIP_BYTES_PER_SECOND, limits::GOSSIP_BYTES_BURST, now_ms),
            requests: Bucket::new(limits::REQUESTS_PER_SECOND, limits::REQUESTS_BURST, now_ms),
            served_bytes: Bucket::new(limits::SERVED_BYTES_PER_SECOND, limits::SERVED_BYTES_BURST, now_ms),
        }
    }

    fn forgive(&mut self, now_ms: u64) {
        let seconds = now_ms.saturating_sub(self.scored_at_ms) / 1000;
        self.scored_at_ms += seconds * 1000;
        let forgiven = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(limits::FORGIVEN_PER_SECOND);
        self.score = self.score.saturating_sub(forgiven);
    }

    /// A record that says no more than a fresh one would.
    fn is_blank(&self, now_ms: u64) -> bool {
        self.score == 0 && self.bans == 0 && now_ms.saturating_sub(self.requests.at_ms) > 60_000
    }
}

/// The conduct of every peer that is remembered.
#[derive(Default)]
pub(crate) struct Conduct {
    records: BTreeMap<PeerId, Record>,
}

impl Conduct {
    /// Whether a gossip message of `bytes` is within the peer's budget.
    pub(crate) fn allow_gossip(&mut self, peer: &PeerId, bytes: usize, now_ms: u64) -> bool {
        let record = self.record(peer, now_ms);
        record.gossip_messages.take(1, now_ms) && record.gossip_bytes.take(bytes as u64, now_ms)
    }

    /// Whether one more request is within the peer's budget.
    pub(crate) fn allow_request(&mut self, peer: &PeerId, now_ms: u64) -> bool {
        self.record(peer, now_ms).requests.take(1, now_ms)
    }

    /// Whether a response of `bytes` is within the peer's budget.
    pub(crate) fn allow_response(&mut self, peer: &PeerId, bytes: usize, now_ms: u64) -> bool {
        self.record(peer, now_ms).served_bytes.take(bytes as u64, now_ms)
    }

    /// Counts an offence; says if the peer is now to be banned.
    pub(crate) fn offend(&mut self, peer: &PeerId, offence: Offence, now_ms: u64) -> Option<Ban> {
        let record = self.record(peer, now_ms);
        if record.banned_until_ms > now_ms {
            return None;
        }
        record.forgive(now_ms);
        record.score = record.score.saturating_add(offence.weight());
        if record.score < limits::BAN_SCORE {
            return None;
        }
        let doubled = limits::BAN_MIN_MS.saturating_mul(1u64 << record.bans.min(16));
        let for_ms = doubled.min(limits::BAN_MAX_MS);
        record.score = 0;
        record.bans += 1;
        record.banned_until_ms = now_ms.saturating_add(for_ms);
        Some(Ban { reason: offence, for_ms })
    }

    /// Whether the peer is banned.
    pub(crate) fn is_banned(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.records.get(peer).is_some_and(|r| r.banned_until_ms > now_ms)
    }

    /// The peer's score.
    pub(crate) fn score(&self, peer: &PeerId) -> u32 {
        self.records.get(peer).map_or(0, |r| r.score)
    }

    /// Peers whose ban has ended by now, each reported once.
    pub(crate) fn pardon(&mut self, now_ms: u64) -> Vec<PeerId> {
        let mut pardoned = Vec::new();
        for (peer, record) in &mut self.records {
            if record.banned_until_ms != 0 && record.banned_until_ms <= now_ms {
                record.banned_until_ms = 0;
                pardoned.push(*peer);
            }
        }
        pardoned
    }

    fn record(&mut self, peer: &PeerId, now_ms: u64) -> &mut Record {
        if self.records.len() >= limits::MAX_REMEMBERED_PEERS && !self.records.contains_key(peer) {
            self.make_room(now_ms);
        }
        match self.records.entry(*peer) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => slot.insert(Record::new(now_ms)),
        }
    }

    /// Forgets the blank records, and if there are none the one that was touched longest ago.
    fn make_room(&mut self, now_ms: u64) {
        self.records.retain(|_, r| !r.is_blank(now_ms));
        while self.records.len() >= limits::MAX_REMEMBERED_PEERS {
            let oldest =
                self.records.iter().min_by_key(|(_, r)| (r.banned_until_ms > now_ms, r.requests.at_ms));
            let Some(oldest) = oldest.map(|(peer, _)| *peer) else { return };
            self.records.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
