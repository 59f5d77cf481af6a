//! Addresses, messages and fetches, with honest, partial, silent and lying peers.

use super::*;
use crate::{Error, NodeKey, Offence, PeerId, limits};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CHUNK: usize = limits::BLOB_CHUNK_BYTES;

/// Bytes that differ from chunk to chunk.
fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&crate::redial::mix(&mut state).to_le_bytes());
    }
    out.truncate(len);
    out
}

fn peer(n: u8) -> PeerId {
    NodeKey::from_seed([n; 32]).peer_id()
}

/// A peer's store, with what it does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// Flips a bit of one chunk in each run, and of the chunk list if asked for it.
    Liar,
    /// Has only every third chunk.
    Partial,
    /// Has nothing.
    Empty,
    /// Never answers.
    Silent,
    /// Answers with random bytes.
    Noise,
}

struct Store {
    content: Vec<u8>,
    partial: bool,
}

impl BlobSource for Store {
    fn chunk_list(&self, id: BlobId) -> Option<ChunkList> {
        Some(ChunkList::of(&self.content).unwrap()).filter(|l| l.id() == id)
    }

    fn chunk(&self, id: BlobId, n: u32) -> Option<Vec<u8>> {
        let list = self.chunk_list(id)?;
        let length = list.chunk_length(n).filter(|_| !self.partial || n.is_multiple_of(3))?;
        let start = list.offset(n) as usize;
        Some(self.content[start..start + length].to_vec())
    }
}

fn answer(manner: Manner, content: &[u8], request: &[u8], salt: u64) -> Option<Vec<u8>> {
    let store = Store { content: content.to_vec(), partial: manner == Manner::Partial };
    match manner {
        Manner::Honest | Manner::Partial => Some(serve(&store, request).unwrap()),
        Manner::Empty => Some(BlobResponse::Missing.encode()),
        Manner::Silent => None,
        Manner::Noise => Some(self::content(100, salt)),
        Manner::Liar => Some(match BlobResponse::decode(&serve(&store, request).unwrap()).unwrap() {
            BlobResponse::Chunks(mut run) => {
                let at = salt as usize % run.0.len();
                let byte = salt as usize % run.0[at].len();
                run.0[at][byte] ^= 1;
                BlobResponse::Chunks(run).encode()
            }
            BlobResponse::ChunkList(_) => {
                BlobResponse::ChunkList(ChunkList::of(&self::content(content.len(), salt)).unwrap()).encode()
            }
            BlobResponse::Missing => BlobResponse::Missing.encode(),
        }),
    }
}

/// Runs a fetch to its end; returns the content and who was blamed.
fn run(fetch: &mut Fetch, peers: &[(PeerId, Manner)], content: &[u8]) -> (Vec<u8>, BTreeMap<PeerId, u32>) {
    let manners: BTreeMap<PeerId, Manner> = peers.iter().copied().collect();
    let connected: Vec<PeerId> = peers.iter().map(|p| p.0).collect();
    let (mut out, mut blamed, mut now, mut turns) = (vec![0u8; content.len()], BTreeMap::new(), 0u64, 0u64);
    let mut open: BTreeMap<PeerId, BTreeSet<Ticket>> = BTreeMap::new();
    while fetch.state() != FetchState::Complete {
        turns += 1;
        assert!(turns < 100_000, "the fetch makes no progress: {:?}", fetch.state());
        let outgoing = fetch.next_requests(&connected, now);
        if outgoing.is_empty() {
            now = fetch
                .wake_at(&connected)
                .expect("an unfinished fetch has something to wait for")
                .max(now + 1);
        }
        for o in outgoing {
            let mine = open.entry(o.peer).or_default();
            let Some(bytes) = answer(manners[&o.peer], content, &o.bytes, turns) else {
                assert!(mine.insert(o.ticket) && mine.len() <= 1000);
                continue;
            };
            let progress = fetch.on_response(o.ticket, &bytes, now);
            for (n, chunk) in progress.chunks {
                let at = fetch.list().unwrap().offset(n) as usize;
                out[at..at + chunk.len()].copy_from_slice(&chunk);
            }
            if let Some(blame) = progress.blame {
                assert_eq!(blame.peer, o.peer);
                *blamed.entry(blame.peer).or_default() += 1;
            }
            assert_eq!(
                fetch.on_response(o.ticket, &bytes, now),
                Progress::default(),
                "an answer counts once"
            );
        }
    }
    assert!(fetch.next_requests(&connected, now).is_empty());
    (out, blamed)
}

#[test]
fn an_id_binds_every_byte_and_the_length() {
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
        let bytes = content(len, 1);
        let list = ChunkList::of(&bytes).unwrap();
        assert_eq!((list.length(), list.chunks() as usize), (len as u64, len.div_ceil(CHUNK)));
        list.check(list.id()).unwrap();
        let longer = [bytes.clone(), vec![0]].concat();
        assert_ne!(ChunkList::of(&longer).unwrap().id(), list.id());
        for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|at| *at < len) {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(ChunkList::of(&other).unwrap().id(), list.id());
        }
    }
}

#[test]
fn the_id_is_the_documented_hash() {
    use metanode_types::hash::{Domain, hash, sha256};
    let bytes = content(2 * CHUNK + 5, 3);
    let leaf = |c: &[u8]| sha256(&[&[0], c].concat());
    let node = |l: [u8; 32], r: [u8; 32]| sha256(&[&[1][..], &l, &r].concat());
    let root = node(node(leaf(&bytes[..CHUNK]), leaf(&bytes[CHUNK..2 * CHUNK])), leaf(&bytes[2 * CHUNK..]));
    let expected = hash(Domain::Blob, &[&(bytes.len() as u64).to_le_bytes(), &root]);
    assert_eq!(ChunkList::of(&bytes).unwrap().id(), BlobId(expected));
}

#[test]
fn an_inner_node_cannot_pass_for_a_leaf_nor_a_list_for_another_length() {
    use borsh::BorshDeserialize as _;
    use metanode_types::{codec::encode, merkle::node_hash};
    let list = ChunkList::of(&content(4 * CHUNK, 1)).unwrap();
    let leaves: Vec<[u8; 32]> =
        (0..4u32).map(|n| encode(&list)[12 + 32 * n as usize..][..32].try_into().unwrap()).collect();
    let inner = vec![node_hash(&leaves[0], &leaves[1]), node_hash(&leaves[2], &leaves[3])];
    for length in [4 * CHUNK as u64, 2 * CHUNK as u64] {
        let forged = ChunkList::try_from_slice(&encode(&(length, inner.clone()))).unwrap();
        assert!(matches!(forged.check(list.id()), Err(Error::CheckChunkList { .. })));
    }
    let shorter = ChunkList::try_from_slice(&encode(&(4 * CHUNK as u64 - 1, leaves))).unwrap();
    assert!(shorter.check(list.id()).is_err(), "same leaves and count, another length");
}

#[test]
fn a_chunk_verifies_only_in_its_place_and_whole() {
    let bytes = content(2 * CHUNK + 100, 1);
    let list = ChunkList::of(&bytes).unwrap();
    assert!(list.verifies(0, &bytes[..CHUNK]) && list.verifies(2, &bytes[2 * CHUNK..]));
    assert!(!list.verifies(1, &bytes[..CHUNK]));
    assert!(!list.verifies(0, &bytes[..CHUNK - 1]));
    assert!(!list.verifies(3, &[]));
    assert!(!list.verifies(u32::MAX, &bytes[..CHUNK]));
}

#[test]
fn several_mebibytes_arrive_among_liars_and_each_liar_is_named_once() {
    let bytes = content(5 * 1024 * 1024 + 123, 9);
    let id = ChunkList::of(&bytes).unwrap().id();
    let manners = [
        Manner::Liar,
        Manner::Honest,
        Manner::Partial,
        Manner::Noise,
        Manner::Silent,
        Manner::Empty,
        Manner::Honest,
    ];
    let peers: Vec<(PeerId, Manner)> = (0..).map(peer).zip(manners).collect();
    let (got, blamed) = run(&mut Fetch::new(id), &peers, &bytes);
    assert!(got == bytes);
    let guilty: BTreeSet<PeerId> =
        peers.iter().filter(|p| matches!(p.1, Manner::Liar | Manner::Noise)).map(|p| p.0).collect();
    assert_eq!(blamed.keys().copied().collect::<BTreeSet<_>>(), guilty);
    // A liar may have had its full window of requests under way when it was caught; it gets no more.
    assert!(blamed.values().all(|n| *n as usize <= limits::MAX_BLOB_REQUESTS_PER_PEER), "{blamed:?}");
}

#[test]
fn nothing_complete_comes_from_liars_alone() {
    let bytes = content(3 * CHUNK, 9);
    let mut fetch = Fetch::new(ChunkList::of(&bytes).unwrap().id());
    let peers = [peer(1), peer(2)];
    for _ in 0..10 {
        for o in fetch.next_requests(&peers, 0) {
            let progress =
                fetch.on_response(o.ticket, &answer(Manner::Liar, &bytes, &o.bytes, 5).unwrap(), 0);
            assert_eq!(progress.blame, Some(Blame { peer: o.peer, offence: Offence::BadChunk }));
            assert!(progress.chunks.is_empty());
        }
    }
    assert_eq!(fetch.state(), FetchState::NeedsList);
    assert!(fetch.next_requests(&peers, u64::MAX / 2).is_empty(), "a liar is not asked again");
    assert_eq!(fetch.next_requests(&[peer(3)], 0).len(), 1, "another peer is");
}

#[test]
fn what_is_under_way_is_bounded_and_what_is_lost_is_asked_elsewhere() {
    let bytes = content(200 * CHUNK, 2);
    let list = ChunkList::of(&bytes).unwrap();
    let mut fetch = Fetch::resume(list.id(), list.clone(), |_| None).unwrap();
    let peers: Vec<PeerId> = (0..20).map(peer).collect();
    let first = fetch.next_requests(&peers, 0);
    assert_eq!(first.len(), 200usize.div_ceil(16).min(limits::MAX_BLOB_REQUESTS));
    assert!(fetch.next_requests(&peers, 0).is_empty());
    let one_peer = Fetch::resume(list.id(), list, |_| None).unwrap().next_requests(&peers[..1], 0);
    assert_eq!(one_peer.len(), limits::MAX_BLOB_REQUESTS_PER_PEER);
    fetch.on_failure(first[0].ticket, 10);
    let again = fetch.next_requests(&peers, 10);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].bytes, first[0].bytes);
    assert_ne!(again[0].peer, first[0].peer, "the one that failed rests");
    let late = fetch.next_requests(&peers, 10 + limits::BLOB_REQUEST_TIMEOUT_MS);
    assert!(!late.is_empty(), "what nobody answers is asked again");
}

#[test]
fn a_partial_file_is_taken_up_and_its_damaged_chunks_are_fetched_again() {
    let bytes = content(10 * CHUNK + 1, 4);
    let list = ChunkList::of(&bytes).unwrap();
    let chunk = |n: u32| bytes[n as usize * CHUNK..bytes.len().min((n as usize + 1) * CHUNK)].to_vec();
    let stored = |n: u32| match n {
        0..=4 => Some(chunk(n)),
        5 => Some(vec![0; CHUNK]),
        6 => Some(chunk(6)[..100].to_vec()),
        _ => None,
    };
    let mut fetch = Fetch::resume(list.id(), list.clone(), stored).unwrap();
    assert_eq!(fetch.state(), FetchState::NeedsChunks(6));
    let asked = fetch.next_requests(&[peer(1)], 0);
    assert_eq!(
        BlobRequest::decode(&asked[0].bytes).unwrap(),
        BlobRequest::Chunks { id: list.id(), first: 5, count: 6 }
    );
    fetch.on_failure(asked[0].ticket, 0);
    let (got, _) = run(&mut fetch, &[(peer(1), Manner::Honest)], &bytes);
    assert!(got[5 * CHUNK..] == bytes[5 * CHUNK..]);
    fetch.forget(3);
    fetch.forget(11);
    assert_eq!(fetch.state(), FetchState::NeedsChunks(1));
    let other = ChunkList::of(&bytes[1..]).unwrap();
    assert!(Fetch::resume(list.id(), other, |_| None).is_err());
}

#[test]
fn the_empty_blob_is_complete_with_its_list() {
    let id = ChunkList::of(&[]).unwrap().id();
    let (got, blamed) = run(&mut Fetch::new(id), &[(peer(1), Manner::Honest)], &[]);
    assert!(got.is_empty() && blamed.is_empty());
}

#[test]
fn a_request_out_of_bounds_is_refused() {
    let store = Store { content: content(CHUNK, 1), partial: false };
    let id = ChunkList::of(&store.content).unwrap().id();
    let ask = |r: BlobRequest| serve(&store, &r.encode());
    for count in [0, limits::MAX_CHUNKS_PER_REQUEST + 1, u16::MAX] {
        assert!(matches!(
            ask(BlobRequest::Chunks { id, first: 0, count }),
            Err(Error::ReadBlobRequest { .. })
        ));
    }
    let beyond = ask(BlobRequest::Chunks { id, first: u32::MAX, count: 16 }).unwrap();
    assert_eq!(BlobResponse::decode(&beyond).unwrap(), BlobResponse::Missing);
    let unknown = ask(BlobRequest::ChunkList { id: BlobId([0; 32]) }).unwrap();
    assert_eq!(BlobResponse::decode(&unknown).unwrap(), BlobResponse::Missing);
}

#[test]
fn the_largest_answers_fit_the_protocol() {
    let run = serve::Run(vec![vec![7; CHUNK]; usize::from(limits::MAX_CHUNKS_PER_REQUEST)]);
    assert!(BlobResponse::Chunks(run).encode().len() <= limits::MAX_BLOB_RESPONSE_BYTES);
    let leaves = (limits::MAX_BLOB_BYTES as usize / CHUNK) as u64;
    assert!(1 + 8 + 4 + leaves * 32 <= limits::MAX_BLOB_RESPONSE_BYTES as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic_a_decoder_and_decode_only_to_what_encodes_to_them(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        if let Ok(request) = BlobRequest::decode(&bytes) {
            prop_assert_eq!(request.encode(), bytes.clone());
        }
        if let Ok(response) = BlobResponse::decode(&bytes) {
            prop_assert_eq!(response.encode(), bytes.clone());
        }
        let store = Store { content: vec![1; 10], partial: false };
        let _ = serve(&store, &bytes);
    }

    #[test]
    fn a_bit_flipped_anywhere_in_an_answer_is_never_stored(
        len in 1usize..(3 * CHUNK), at in any::<prop::sample::Index>(), bit in 0u8..8
    ) {
        let bytes = content(len, 11);
        let list = ChunkList::of(&bytes).unwrap();
        let mut fetch = Fetch::resume(list.id(), list.clone(), |_| None).unwrap();
        let asked = fetch.next_requests(&[peer(1)], 0);
        let mut reply = answer(Manner::Honest, &bytes, &asked[0].bytes, 0).unwrap();
        let at = at.index(reply.len());
        reply[at] ^= 1 << bit;
        for (n, chunk) in fetch.on_response(asked[0].ticket, &reply, 0).chunks {
            let start = list.offset(n) as usize;
            prop_assert_eq!(&chunk[..], &bytes[start..start + chunk.len()]);
        }
        prop_assert_ne!(fetch.state(), FetchState::Complete);
    }

    #[test]
    fn any_mixture_with_one_honest_peer_completes(
        len in 0usize..(40 * CHUNK), manners in proptest::collection::vec(0u8..6, 0..5)
    ) {
        let bytes = content(len, 5);
        let all = [
            Manner::Honest, Manner::Liar, Manner::Partial, Manner::Empty, Manner::Silent, Manner::Noise,
        ];
        let mut peers: Vec<(PeerId, Manner)> =
            manners.iter().enumerate().map(|(i, m)| (peer(i as u8), all[usize::from(*m)])).collect();
        peers.push((peer(100), Manner::Honest));
        let (got, blamed) = run(&mut Fetch::new(ChunkList::of(&bytes).unwrap().id()), &peers, &bytes);
        prop_assert!(got == bytes);
        for (id, manner) in &peers {
            let guilty = matches!(manner, Manner::Liar | Manner::Noise);
            prop_assert!(guilty || !blamed.contains_key(id), "{:?} was blamed", manner);
        }
    }
}
