//! The state of block sync: peers, requests in flight, buffered blocks.
//!
//! Owns scheduling, verification and blame. See the module above for the protocol.

use super::{Blame, SyncConfig, SyncEffect, SyncInput, SyncRequest, SyncResponse, SyncedBlock};
use crate::api::PeerId;
use crate::scheme::{Scheme, verify_certificate};
use metanode_types::ids::BlockId;
use metanode_types::limits::MAX_SYNC_BLOCKS;
use metanode_types::validator::ValidatorSet;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
struct Peer {
    first: u64,
    last: u64,
    /// Number of the request it is working on.
    busy: Option<u64>,
    failures: u32,
    not_before_ms: u64,
    status_due_ms: u64,
    /// Requests it was given, to share the work.
    asked: u64,
}

struct Flight {
    peer: PeerId,
    request: SyncRequest,
    deadline_ms: u64,
}

/// Block sync of one chain at one node.
pub struct BlockSync {
    config: SyncConfig,
    scheme: Arc<dyn Scheme>,
    /// The height wanted next, who votes at it, and the block before it.
    next: u64,
    set: ValidatorSet,
    parent: BlockId,
    /// The block of `next` is with the application, or was rejected by it.
    delivered: bool,
    peers: BTreeMap<PeerId, Peer>,
    flights: BTreeMap<u64, Flight>,
    buffer: BTreeMap<u64, (PeerId, SyncedBlock)>,
    last_id: u64,
    out: Vec<SyncEffect>,
}

impl BlockSync {
    /// Starts behind `tip` (height 0 and a zero id before the first block); `set` votes at `tip + 1`.
    pub fn new(
        config: SyncConfig,
        scheme: Arc<dyn Scheme>,
        tip: u64,
        parent: BlockId,
        set: ValidatorSet,
    ) -> Self {
        assert!(
            config.batch > 0 && config.max_in_flight > 0 && config.window > 0,
            "a bound of zero never syncs"
        );
        BlockSync {
            config,
            scheme,
            next: tip + 1,
            set,
            parent,
            delivered: false,
            peers: BTreeMap::new(),
            flights: BTreeMap::new(),
            buffer: BTreeMap::new(),
            last_id: 0,
            out: Vec::new(),
        }
    }

    /// The highest block that any peer claims to hold; nobody's claim is proof.
    pub fn claimed_tip(&self) -> u64 {
        self.peers.values().map(|p| p.last).max().unwrap_or(0)
    }

    /// Takes one input at `now_ms` and returns what to do.
    pub fn step(&mut self, now_ms: u64, input: SyncInput) -> Vec<SyncEffect> {
        match input {
            SyncInput::Connected(peer) => {
                self.peers.entry(peer).or_default();
            }
            SyncInput::Disconnected(peer) => {
                self.peers.remove(&peer);
                self.flights.retain(|_, f| f.peer != peer);
            }
            SyncInput::Hint { peer, last } => {
                if let Some(p) = self.peers.get_mut(&peer) {
                    p.last = p.last.max(last);
                    p.first = p.first.max(1);
                }
            }
            SyncInput::Response { id, response } => self.response(now_ms, id, response),
            SyncInput::Failed { id, undecodable } => {
                let why = if undecodable { Blame::Undecodable } else { Blame::Unreachable };
                if let Some(flight) = self.land(id) {
                    self.blame(now_ms, flight.peer, why);
                }
            }
            SyncInput::Advanced { height, block, next } => self.advanced(height, block, next),
            SyncInput::Rejected { height } => {
                if height == self.next {
                    self.delivered = true;
                }
            }
            SyncInput::Tick => {}
        }
        self.expire(now_ms);
        self.deliver(now_ms);
        self.ask(now_ms);
        self.wake(now_ms);
        std::mem::take(&mut self.out)
    }

    fn advanced(&mut self, height: u64, block: BlockId, next: ValidatorSet) {
        if height < self.next {
            return;
        }
        (self.next, self.parent, self.set, self.delivered) = (height + 1, block, next, false);
        self.buffer = self.buffer.split_off(&self.next);
    }

    fn land(&mut self, id: u64) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some(peer) = self.peers.get_mut(&flight.peer) {
            peer.busy = None;
        }
        Some(flight)
    }

    fn blame(&mut self, now_ms: u64, peer: PeerId, why: Blame) {
        if let Some(p) = self.peers.get_mut(&peer) {
            let wait = self
                .config
                .backoff_ms
                .saturating_mul(1 << p.failures.min(20))
                .min(self.config.max_backoff_ms);
            p.failures = p.failures.saturating_add(1);
            p.not_before_ms = now_ms.saturating_add(wait);
        }
        self.buffer.retain(|_, (from, _)| *from != peer);
        self.out.push(SyncEffect::Blame { peer, why });
    }

    fn response(&mut self, now_ms: u64, id: u64, response: SyncResponse) {
        // An answer to a question that is not open is late: nobody's fault.
        let Some(Flight { peer, request, .. }) = self.land(id) else { return };
        let checked = match (request, response) {
            (SyncRequest::Status, SyncResponse::Status { first, last }) => {
                let due = now_ms.saturating_add(self.config.status_every_ms);
                if let Some(p) = self.peers.get_mut(&peer) {
                    (p.first, p.last, p.status_due_ms) = (first, last, due);
                }
                Ok(())
            }
            (SyncRequest::Blocks { from, count }, SyncResponse::Blocks(blocks)) => {
                self.accept(&peer, from, count, blocks)
            }
            _ => Err(Blame::WrongAnswer),
        };
        if let Err(why) = checked {
            // What it announced is not believed until it announces it again.
            if let (Blame::Empty(_), Some(p)) = (&why, self.peers.get_mut(&peer)) {
                (p.last, p.status_due_ms) = (0, 0);
            }
            self.blame(now_ms, peer, why);
        }
    }

    /// Checks what can be checked without the validator set, and buffers.
    fn accept(
        &mut self,
        peer: &PeerId,
        from: u64,
        count: u32,
        blocks: Vec<SyncedBlock>,
    ) -> Result<(), Blame> {
        if blocks.is_empty() {
            return Err(Blame::Empty(from));
        }
        let end = from.saturating_add(u64::from(count));
        for (expected, synced) in (from..).zip(&blocks) {
            let got = synced.block.header.height;
            if got != expected || expected >= end {
                return Err(Blame::WrongHeight { expected: expected.min(end), got });
            }
            if synced.certificate.height != got || synced.certificate.block != synced.block.id() {
                return Err(Blame::OtherBlock(got));
            }
        }
        for synced in blocks {
            let height = synced.block.header.height;
            if height >= self.next {
                self.buffer.entry(height).or_insert_with(|| (peer.clone(), synced));
            }
        }
        Ok(())
    }

    /// Verifies the next block and hands it over.
    fn deliver(&mut self, now_ms: u64) {
        if self.delivered {
            return;
        }
        let Some((peer, synced)) = self.buffer.remove(&self.next) else { return };
        if let Err(why) = self.verify(&synced) {
            return self.blame(now_ms, peer, why);
        }
        if let Some(p) = self.peers.get_mut(&peer) {
            p.failures = 0;
        }
        self.delivered = true;
        let header = &synced.block.header;
        let follows = header.parent == self.parent
            && header.chain_id == self.config.chain_id
            && header.validators_hash == self.set.hash();
        self.out.push(if follows {
            SyncEffect::Deliver(Box::new(synced))
        } else {
            SyncEffect::Forked { height: self.next, certificate: Box::new(synced.certificate) }
        });
    }

    fn verify(&self, synced: &SyncedBlock) -> Result<(), Blame> {
        let height = self.next;
        verify_certificate(&*self.scheme, &self.config.chain_id, &self.set, &synced.certificate)
            .map_err(|error| Blame::Certificate { height, error })?;
        synced.block.check_shape().map_err(|error| Blame::Body { height, error })
    }

    fn expire(&mut self, now_ms: u64) {
        let late: Vec<u64> =
            self.flights.iter().filter(|(_, f)| f.deadline_ms <= now_ms).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(flight) = self.land(id) {
                self.blame(now_ms, flight.peer, Blame::TimedOut);
            }
        }
    }

    /// Gives idle peers work: first their status, then the lowest heights that nobody fetches.
    fn ask(&mut self, now_ms: u64) {
        let idle = |p: &Peer| p.busy.is_none() && p.not_before_ms <= now_ms;
        let unknown: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, p)| idle(p) && p.status_due_ms <= now_ms)
            .map(|(id, _)| id.clone())
            .collect();
        for peer in unknown {
            self.request(now_ms, peer, SyncRequest::Status);
        }
        while self.blocks_in_flight() < self.config.max_in_flight {
            let Some((from, count)) = self.gap() else { return };
            let best = self
                .peers
                .iter()
                .filter(|(_, p)| idle(p) && p.first <= from && p.last >= from)
                .min_by_key(|(_, p)| (p.failures, p.asked))
                .map(|(id, p)| (id.clone(), p.last));
            let Some((peer, last)) = best else { return };
            let count = count.min(u32::try_from(last - from + 1).unwrap_or(u32::MAX));
            self.request(now_ms, peer, SyncRequest::Blocks { from, count });
        }
    }

    fn request(&mut self, now_ms: u64, peer: PeerId, request: SyncRequest) {
        self.last_id += 1;
        let id = self.last_id;
        let p = self.peers.get_mut(&peer).expect("only known peers are asked");
        p.busy = Some(id);
        p.asked += 1;
        let deadline_ms = now_ms.saturating_add(self.config.request_timeout_ms);
        self.flights.insert(id, Flight { peer: peer.clone(), request, deadline_ms });
        self.out.push(SyncEffect::Request { id, peer, request });
    }

    fn blocks_in_flight(&self) -> usize {
        self.flights.values().filter(|f| matches!(f.request, SyncRequest::Blocks { .. })).count()
    }

    #[cfg(test)]
    pub(super) fn blocks_in_flight_for_test(&self) -> usize {
        self.blocks_in_flight()
    }

    /// The lowest run of heights that is neither buffered nor asked for.
    fn gap(&self) -> Option<(u64, u32)> {
        let tip = self.claimed_tip().min(self.next.saturating_add(self.config.window - 1));
        let first = self.next + u64::from(self.delivered);
        let wanted = |h: &u64| {
            let asked = |f: &Flight| match f.request {
                SyncRequest::Blocks { from, count } => {
                    (from..from.saturating_add(u64::from(count))).contains(h)
                }
                SyncRequest::Status => false,
            };
            !self.buffer.contains_key(h) && !self.flights.values().any(asked)
        };
        let from = (first..=tip).find(wanted)?;
        let batch = self.config.batch.min(MAX_SYNC_BLOCKS as u32);
        let count = (from..=tip).take(batch as usize).take_while(wanted).count();
        Some((from, count as u32))
    }

    fn wake(&mut self, now_ms: u64) {
        let flights = self.flights.values().map(|f| f.deadline_ms);
        let peers = self.peers.values().filter(|p| p.busy.is_none()).map(|p| {
            let work = p.last >= self.next + u64::from(self.delivered);
            let due = if work && p.not_before_ms > now_ms { p.not_before_ms } else { p.status_due_ms };
            due.max(p.not_before_ms)
        });
        if let Some(at_ms) = flights.chain(peers).filter(|at| *at > now_ms).min() {
            self.out.push(SyncEffect::Wake { at_ms });
        }
    }
}
