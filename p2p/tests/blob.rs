//! A blob of several MiB fetched over real sockets, with a lying peer among honest ones.

mod common;

use common::*;
use metanode_p2p::{
    Event, LiveNetwork, Network, Offence, PeerId, Protocol, RequestId,
    blob::{BlobId, BlobResponse, BlobSource, ChunkList, Fetch, FetchState, Ticket, serve},
    limits,
};
use std::{collections::BTreeMap, sync::Arc};

struct Store {
    content: Vec<u8>,
    list: ChunkList,
}

impl BlobSource for Store {
    fn chunk_list(&self, id: BlobId) -> Option<ChunkList> {
        (id == self.list.id()).then(|| self.list.clone())
    }

    fn chunk(&self, id: BlobId, n: u32) -> Option<Vec<u8>> {
        let length = self.list.chunk_length(n).filter(|_| id == self.list.id())?;
        let start = self.list.offset(n) as usize;
        Some(self.content[start..start + length].to_vec())
    }
}

/// Serves requests until it is aborted; a liar flips a bit of the last chunk of each run.
async fn serve_all(node: Arc<LiveNetwork>, store: Arc<Store>, liar: bool) {
    loop {
        let Event::Request { id, data, .. } = node.next().await else { continue };
        let mut answer = serve(&*store, &data).unwrap();
        if liar && let BlobResponse::Chunks(mut run) = BlobResponse::decode(&answer).unwrap() {
            *run.0.last_mut().unwrap().last_mut().unwrap() ^= 0x80;
            answer = BlobResponse::Chunks(run).encode();
        }
        node.respond(id, answer).unwrap();
    }
}

/// Fetches over the network; returns the content and the liars.
async fn fetch_all(node: &LiveNetwork, id: BlobId) -> (Vec<u8>, Vec<PeerId>) {
    let (mut fetch, mut out, mut blamed) = (Fetch::new(id), Vec::new(), Vec::new());
    let mut tickets: BTreeMap<RequestId, Ticket> = BTreeMap::new();
    let clock = std::time::Instant::now();
    while fetch.state() != FetchState::Complete {
        let now = clock.elapsed().as_millis() as u64;
        let peers: Vec<PeerId> = node.peers().iter().map(|p| p.peer).collect();
        for outgoing in fetch.next_requests(&peers, now) {
            let sent = node.request(outgoing.peer, Protocol::Blob, outgoing.bytes).unwrap();
            tickets.insert(sent, outgoing.ticket);
        }
        let event = tokio::time::timeout(PATIENCE, node.next()).await.expect("the fetch goes on");
        match event {
            Event::Response { id, data, .. } => {
                let Some(ticket) = tickets.remove(&id) else { continue };
                let progress = fetch.on_response(ticket, &data, now);
                out.resize(fetch.list().map_or(0, |l| l.length() as usize), 0);
                for (n, chunk) in progress.chunks {
                    let at = n as usize * limits::BLOB_CHUNK_BYTES;
                    out[at..at + chunk.len()].copy_from_slice(&chunk);
                }
                if let Some(blame) = progress.blame {
                    assert_eq!(blame.offence, Offence::BadChunk);
                    node.penalize(&blame.peer, blame.offence);
                    blamed.push(blame.peer);
                }
            }
            Event::RequestFailed { id, .. } => {
                if let Some(ticket) = tickets.remove(&id) {
                    fetch.on_failure(ticket, now);
                }
            }
            _ => {}
        }
    }
    (out, blamed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_mebibytes_arrive_although_one_of_three_peers_lies() {
    let content: Vec<u8> =
        (0..6 * 1024 * 1024 + 77u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let list = ChunkList::of(&content).unwrap();
    let store = Arc::new(Store { content, list });
    let mut nodes = cluster(4, QUIC).await;
    let fetcher = nodes.remove(0);
    let liar = nodes[1].local_peer_id();
    let servers: Vec<_> = nodes
        .into_iter()
        .map(|node| {
            let lies = node.local_peer_id() == liar;
            tokio::spawn(serve_all(Arc::new(node), store.clone(), lies))
        })
        .collect();
    let (got, blamed) = fetch_all(&fetcher, store.list.id()).await;
    assert!(got == store.content, "every byte is as it was");
    assert!(!blamed.is_empty() && blamed.iter().all(|p| *p == liar), "{blamed:?}");
    servers.iter().for_each(|s| s.abort());
}
