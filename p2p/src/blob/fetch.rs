//! Fetching a blob from many peers, some of which may lie, stall or have nothing.
//!
//! Owns the state of one fetch: what is there, what is under way, and whom to ask. Sans-I/O and
//! deterministic: the caller brings peers, time, answers and failures, and stores the verified chunks it is
//! handed. Invariants: a chunk is handed out only after it verified; a peer that was caught lying is not
//! asked again; what is under way is bounded in all and per peer.

use super::{
    BlobId, ChunkList,
    serve::{BlobRequest, BlobResponse, Run},
};
use crate::{Error, Offence, PeerId, limits};
use std::collections::{BTreeMap, BTreeSet};

/// One request of a fetch that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A request to be sent, on [`crate::Protocol::Blob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To be handed back with the answer or the failure.
    pub ticket: Ticket,
    /// Whom to ask.
    pub peer: PeerId,
    /// The request.
    pub bytes: Vec<u8>,
}

/// A peer was caught: the caller should hand this to [`crate::Network::penalize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The peer.
    pub peer: PeerId,
    /// What it did.
    pub offence: Offence,
}

/// What an answer brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Verified chunks, to be stored at [`ChunkList::offset`].
    pub chunks: Vec<(u32, Vec<u8>)>,
    /// Who is to be penalized for it.
    pub blame: Option<Blame>,
}

/// Where a fetch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// The chunk list is not known yet.
    NeedsList,
    /// So many chunks are missing.
    NeedsChunks(u32),
    /// Everything is there.
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    List,
    Chunks { first: u32, count: u16 },
}

#[derive(Debug)]
struct Flight {
    peer: PeerId,
    want: Want,
    until_ms: u64,
}

#[derive(Debug, Default)]
struct Standing {
    liar: bool,
    failures: u32,
    not_before_ms: u64,
    in_flight: usize,
}

/// The fetch of one blob.
#[derive(Debug)]
pub struct Fetch {
    id: BlobId,
    list: Option<ChunkList>,
    /// Chunks neither there nor under way.
    wanted: BTreeSet<u32>,
    missing: u32,
    peers: BTreeMap<PeerId, Standing>,
    flights: BTreeMap<Ticket, Flight>,
    next_ticket: u64,
}

impl Fetch {
    /// A fetch from nothing but the id.
    pub fn new(id: BlobId) -> Self {
        Fetch {
            id,
            list: None,
            wanted: BTreeSet::new(),
            missing: 0,
            peers: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_ticket: 1,
        }
    }

    /// Takes a fetch up again from a stored chunk list and a partial file. `stored` reads the chunk that
    /// the file should hold; it counts only if it verifies, so no bitmap on disk needs to be trusted after
    /// a crash.
    pub fn resume(
        id: BlobId,
        list: ChunkList,
        mut stored: impl FnMut(u32) -> Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        list.check(id)?;
        let mut fetch = Fetch::new(id);
        let lacks = |n: &u32| !stored(*n).is_some_and(|bytes| list.verifies(*n, &bytes));
        fetch.wanted = (0..list.chunks()).filter(lacks).collect();
        fetch.missing = fetch.wanted.len() as u32;
        fetch.list = Some(list);
        Ok(fetch)
    }

    /// The blob.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// The chunk list, once it is known. The caller stores it to be able to resume.
    pub fn list(&self) -> Option<&ChunkList> {
        self.list.as_ref()
    }

    /// Where the fetch stands.
    pub fn state(&self) -> FetchState {
        match (&self.list, self.missing) {
            (None, _) => FetchState::NeedsList,
            (Some(_), 0) => FetchState::Complete,
            (Some(_), missing) => FetchState::NeedsChunks(missing),
        }
    }

    /// What to send now, to which of the connected peers.
    pub fn next_requests(&mut self, connected: &[PeerId], now_ms: u64) -> Vec<Outgoing> {
        self.expire(now_ms);
        let mut outgoing = Vec::new();
        while self.flights.len() < limits::MAX_BLOB_REQUESTS {
            let Some(want) = self.next_want() else { break };
            let Some(peer) = self.choose(connected, now_ms) else { break };
            outgoing.push(self.depart(peer, want, now_ms));
        }
        outgoing
    }

    /// When [`Fetch::next_requests`] may have something new although nothing was reported. `None` means: not
    /// before a peer connects or a request ends.
    pub fn wake_at(&self, connected: &[PeerId]) -> Option<u64> {
        let pauses =
            connected.iter().filter_map(|p| self.peers.get(p)).filter(|s| !s.liar && s.not_before_ms > 0);
        let flights = self.flights.values().map(|f| f.until_ms);
        pauses.map(|s| s.not_before_ms).chain(flights).min().filter(|_| self.state() != FetchState::Complete)
    }

    /// Judges an answer. One that nobody waits for any more changes nothing.
    pub fn on_response(&mut self, ticket: Ticket, bytes: &[u8], now_ms: u64) -> Progress {
        let Some(flight) = self.arrive(ticket) else { return Progress::default() };
        let peer = flight.peer;
        match (flight.want, BlobResponse::decode(bytes)) {
            (_, Ok(BlobResponse::Missing)) => {
                self.pause(&peer, now_ms);
                Progress::default()
            }
            (Want::List, Ok(BlobResponse::ChunkList(list))) => {
                if self.list.is_some() {
                    return Progress::default();
                }
                if list.check(self.id).is_err() {
                    return self.caught(peer, Offence::BadChunk);
                }
                self.accept_list(list);
                self.served(&peer);
                Progress::default()
            }
            (Want::Chunks { first, count }, Ok(BlobResponse::Chunks(Run(run)))) => {
                self.accept_run(peer, first, count, run, now_ms)
            }
            (_, Ok(_) | Err(_)) => self.caught(peer, Offence::InvalidResponse),
        }
    }

    /// A request failed: lost connection, timeout, refusal. Nobody is to blame, but others are asked first.
    pub fn on_failure(&mut self, ticket: Ticket, now_ms: u64) {
        if let Some(flight) = self.arrive(ticket) {
            self.pause(&flight.peer, now_ms);
        }
    }

    /// A chunk that was handed out could not be stored: it is wanted again.
    pub fn forget(&mut self, n: u32) {
        let known = self.list.as_ref().is_some_and(|list| n < list.chunks());
        let in_flight = self.flights.values().any(|f| covers(f.want, n));
        if known && !in_flight && self.wanted.insert(n) {
            self.missing += 1;
        }
    }

    fn accept_list(&mut self, list: ChunkList) {
        self.wanted = (0..list.chunks()).collect();
        self.missing = list.chunks();
        self.list = Some(list);
    }

    fn accept_run(
        &mut self,
        peer: PeerId,
        first: u32,
        count: u16,
        run: Vec<Vec<u8>>,
        now_ms: u64,
    ) -> Progress {
        let mut progress = Progress::default();
        if run.is_empty() || run.len() > usize::from(count) {
            return self.caught(peer, Offence::InvalidResponse);
        }
        let Some(list) = &self.list else { return progress };
        let full = run.len() == usize::from(count);
        for (n, bytes) in (first..).zip(run) {
            if !list.verifies(n, &bytes) {
                // What verified before it is good all the same.
                progress.blame = Some(Blame { peer, offence: Offence::BadChunk });
                break;
            }
            // A chunk is in one flight at most, so it is wanted until this very answer brings it.
            if self.wanted.remove(&n) {
                self.missing -= 1;
                progress.chunks.push((n, bytes));
            }
        }
        match progress.blame {
            Some(_) => self.peers.entry(peer).or_default().liar = true,
            None if full => self.served(&peer),
            // It has only a part: do not ask it again at once.
            None => self.pause(&peer, now_ms),
        }
        progress
    }

    fn next_want(&self) -> Option<Want> {
        if self.list.is_none() {
            return self.flights.is_empty().then_some(Want::List);
        }
        let first = *self.wanted.first()?;
        let run = self.wanted.iter().zip(first..).take_while(|(n, expected)| *n == expected);
        let count = run.take(usize::from(limits::MAX_CHUNKS_PER_REQUEST)).count() as u16;
        Some(Want::Chunks { first, count })
    }

    /// The peer that has failed least and has least to do; ties go to the smaller id.
    fn choose(&self, connected: &[PeerId], now_ms: u64) -> Option<PeerId> {
        let fresh = Standing::default();
        let standing = |peer: &PeerId| self.peers.get(peer).unwrap_or(&fresh);
        let able = connected.iter().filter(|peer| {
            let s = standing(peer);
            !s.liar && s.not_before_ms <= now_ms && s.in_flight < limits::MAX_BLOB_REQUESTS_PER_PEER
        });
        able.min_by_key(|peer| (standing(peer).in_flight, standing(peer).failures, **peer)).copied()
    }

    fn depart(&mut self, peer: PeerId, want: Want, now_ms: u64) -> Outgoing {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let id = self.id;
        let request = match want {
            Want::List => BlobRequest::ChunkList { id },
            Want::Chunks { first, count } => {
                (first..first + u32::from(count)).for_each(|n| {
                    self.wanted.remove(&n);
                });
                BlobRequest::Chunks { id, first, count }
            }
        };
        self.peers.entry(peer).or_default().in_flight += 1;
        self.flights
            .insert(ticket, Flight { peer, want, until_ms: now_ms + limits::BLOB_REQUEST_TIMEOUT_MS });
        Outgoing { ticket, peer, bytes: request.encode() }
    }

    /// A request has come to its end; what it was to bring is wanted again until it verifies.
    fn arrive(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.flights.remove(&ticket)?;
        if let Some(standing) = self.peers.get_mut(&flight.peer) {
            standing.in_flight -= 1;
        }
        if let Want::Chunks { first, count } = flight.want {
            // No chunk is in two flights, and one in a flight is not there: all of them are missing.
            self.wanted.extend(first..first + u32::from(count));
        }
        Some(flight)
    }

    fn expire(&mut self, now_ms: u64) {
        let late: Vec<Ticket> =
            self.flights.iter().filter(|(_, f)| f.until_ms <= now_ms).map(|(ticket, _)| *ticket).collect();
        for ticket in late {
            self.on_failure(ticket, now_ms);
        }
    }

    fn served(&mut self, peer: &PeerId) {
        if let Some(standing) = self.peers.get_mut(peer) {
            standing.failures = 0;
            standing.not_before_ms = 0;
        }
    }

    fn pause(&mut self, peer: &PeerId, now_ms: u64) {
        let standing = self.peers.entry(*peer).or_default();
        let doubled = limits::BLOB_BACKOFF_MIN_MS.saturating_mul(1 << standing.failures.min(16));
        standing.failures = standing.failures.saturating_add(1);
        standing.not_before_ms = now_ms + doubled.min(limits::BLOB_BACKOFF_MAX_MS);
    }

    fn caught(&mut self, peer: PeerId, offence: Offence) -> Progress {
        self.peers.entry(peer).or_default().liar = true;
        Progress { chunks: Vec::new(), blame: Some(Blame { peer, offence }) }
    }
}

fn covers(want: Want, n: u32) -> bool {
    match want {
        Want::List => false,
        Want::Chunks { first, count } => (first..first + u32::from(count)).contains(&n),
    }
}
