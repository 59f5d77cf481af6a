//! Images between nodes: serves what is stored here, fetches what an assignment needs.
//!
//! Owns the blob side of the network. The ledger names an image by the hash of its descriptor; the descriptor
//! names blobs by the root over their chunks; so every byte is checked against the ledger the moment it arrives,
//! and a peer that lies is penalized and not asked again. Refuses to fetch what no assignment named, and to hold
//! more than a bounded number of fetches.
//!
//! Wire, inside the blob protocol: one tag byte, then `0: descriptor id` answered by the descriptor's bytes (empty
//! when absent), or `1: request of metanode_p2p::blob`.

use metanode_p2p::blob::{self, BlobId, BlobSource, ChunkList, FetchState, Ticket};
use metanode_p2p::{Event, Network, Offence, PeerId, Protocol, RequestId};
use metanode_runtime::image::{Chunk, Descriptor, Fetch as Import, Image, ImageStore};
use metanode_types::ids::{ContentDigest, Digest};
use metanode_types::merkle;
use metanode_types::workload::ImageRef;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Images fetched at the same time at most.
const MAX_FETCHES: usize = 8;
/// Messages waiting for the service at most; what does not fit is refused and asked again.
pub const QUEUE: usize = 1024;
/// The service looks at its timers this often at the least.
const TICK: Duration = Duration::from_millis(200);
/// A descriptor is asked of another peer after this long.
const DESCRIPTOR_TIMEOUT_MS: u64 = 3_000;

const TAG_DESCRIPTOR: u8 = 0;
const TAG_CHUNKS: u8 = 1;

/// What the service is told.
pub enum BlobMessage {
    /// A network event of the blob protocol.
    Network(Event),
    /// An assignment needs this image.
    Want(ImageRef),
    /// The process ends.
    Stop,
}

/// Where an image stands.
#[derive(Clone, Debug)]
pub enum ImageState {
    /// In the store.
    Here(Box<Image>),
    /// Being fetched: chunks still missing, if known.
    Fetching(Option<u32>),
    /// The fetch failed for a reason that another peer cannot mend.
    Failed(String),
}

type States = Arc<Mutex<BTreeMap<Digest, ImageState>>>;

/// The asking side; cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    store: ImageStore,
    states: States,
    sender: SyncSender<BlobMessage>,
}

impl Blobs {
    /// The asking side and the service; the service runs on a thread of the caller's.
    pub fn new(store: ImageStore, network: Arc<dyn Network>) -> (Blobs, BlobService) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(QUEUE);
        let states = States::default();
        let asking = Blobs { store: store.clone(), states: states.clone(), sender };
        let service = BlobService {
            store,
            network,
            states,
            receiver,
            fetches: BTreeMap::new(),
            requests: BTreeMap::new(),
            started: Instant::now(),
        };
        (asking, service)
    }

    /// Where events of the blob protocol go.
    pub fn sender(&self) -> SyncSender<BlobMessage> {
        self.sender.clone()
    }

    /// Takes events of the blob protocol from the chain loop; false when the service is busy.
    pub fn sink(&self) -> crate::chain::BlobSink {
        let sender = self.sender.clone();
        Box::new(move |event| sender.try_send(BlobMessage::Network(event)).is_ok())
    }

    /// The image, or how far its fetch is; asks for it when it is neither here nor on its way.
    pub fn ensure(&self, image: &ImageRef) -> ImageState {
        if let Ok(found) = self.store.get(&image.digest) {
            if found.descriptor.id() == image.descriptor {
                return ImageState::Here(Box::new(found));
            }
            return ImageState::Failed("the image here and the ledger disagree about the descriptor".into());
        }
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match states.get(&image.descriptor) {
            Some(state) => state.clone(),
            None if self.sender.try_send(BlobMessage::Want(image.clone())).is_ok() => {
                states.insert(image.descriptor, ImageState::Fetching(None));
                ImageState::Fetching(None)
            }
            None => ImageState::Fetching(None),
        }
    }

    /// Forgets a failed fetch, so that it is tried again.
    pub fn retry(&self, image: &ImageRef) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(states.get(&image.descriptor), Some(ImageState::Failed(_))) {
            states.remove(&image.descriptor);
        }
    }
}

/// One image on its way.
struct Fetching {
    image: ImageRef,
    /// Peers that said they lack the descriptor, with when to ask again.
    lacking: BTreeMap<PeerId, u64>,
    asked: Option<(RequestId, u64)>,
    import: Option<Import>,
    blobs: BTreeMap<ContentDigest, blob::Fetch>,
}

enum Pending {
    Descriptor(Digest),
    Chunks(Digest, ContentDigest, Ticket),
}

/// The fetching and serving side.
pub struct BlobService {
    store: ImageStore,
    network: Arc<dyn Network>,
    states: States,
    receiver: Receiver<BlobMessage>,
    fetches: BTreeMap<Digest, Fetching>,
    requests: BTreeMap<RequestId, Pending>,
    started: Instant,
}

/// What is stored, under the network's names.
struct Stored<'a> {
    store: &'a ImageStore,
}

impl Stored<'_> {
    fn find(&self, id: BlobId) -> Option<metanode_runtime::image::BlobRef> {
        let images = self.store.list().ok()?;
        let mut blobs = images.into_iter().flat_map(|i| i.descriptor.blobs);
        blobs.find(|b| BlobId::of_root(b.size, &b.chunk_root) == id)
    }
}

impl BlobSource for Stored<'_> {
    fn chunk_list(&self, id: BlobId) -> Option<ChunkList> {
        let blob = self.find(id)?;
        Some(ChunkList::from_leaves(blob.size, self.store.leaves(&blob.digest).ok()?))
    }
    fn chunk(&self, id: BlobId, n: u32) -> Option<Vec<u8>> {
        let blob = self.find(id)?;
        self.store.read_chunk(&blob.digest, n).ok().map(|c| c.bytes)
    }
}

impl BlobService {
    /// Runs until told to stop.
    pub fn run(mut self) {
        loop {
            match self.receiver.recv_timeout(TICK) {
                Ok(BlobMessage::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(BlobMessage::Want(image)) => self.want(image),
                Ok(BlobMessage::Network(event)) => self.event(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let ids: Vec<Digest> = self.fetches.keys().copied().collect();
            for id in ids {
                self.advance(&id);
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn set(&self, id: Digest, state: Option<ImageState>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            Some(state) => states.insert(id, state),
            None => states.remove(&id),
        };
    }

    fn want(&mut self, image: ImageRef) {
        if self.fetches.len() >= MAX_FETCHES {
            return self.set(image.descriptor, None);
        }
        let id = image.descriptor;
        self.fetches.entry(id).or_insert_with(|| Fetching {
            image,
            lacking: BTreeMap::new(),
            asked: None,
            import: None,
            blobs: BTreeMap::new(),
        });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Request { peer, id, data, .. } => match self.serve(&data) {
                Ok(answer) => {
                    if self.network.respond(id, answer).is_err() {
                        self.network.refuse(id);
                    }
                }
                Err(()) => {
                    self.network.penalize(&peer, Offence::InvalidRequest);
                    self.network.refuse(id);
                }
            },
            Event::Response { peer, id, data, .. } => match self.requests.remove(&id) {
                Some(Pending::Descriptor(image)) => self.descriptor_arrived(&image, peer, &data),
                Some(Pending::Chunks(image, blob, ticket)) => {
                    self.chunks_arrived(&image, &blob, ticket, &data)
                }
                None => {}
            },
            Event::RequestFailed { peer, id, .. } => {
                let now = self.now_ms();
                match self.requests.remove(&id) {
                    Some(Pending::Descriptor(image)) => self.lacks(&image, peer),
                    Some(Pending::Chunks(image, blob, ticket)) => {
                        let fetch = self.fetches.get_mut(&image).and_then(|f| f.blobs.get_mut(&blob));
                        if let Some(fetch) = fetch {
                            fetch.on_failure(ticket, now);
                        }
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn serve(&self, data: &[u8]) -> Result<Vec<u8>, ()> {
        match data.split_first() {
            Some((&TAG_DESCRIPTOR, id)) => {
                let id = Digest(id.try_into().map_err(|_| ())?);
                let images = self.store.list().unwrap_or_default();
                let found = images.into_iter().find(|i| i.descriptor.id() == id);
                Ok(found.map(|i| i.descriptor.encode()).unwrap_or_default())
            }
            Some((&TAG_CHUNKS, request)) => {
                blob::serve(&Stored { store: &self.store }, request).map_err(|_| ())
            }
            _ => Err(()),
        }
    }

    fn lacks(&mut self, image: &Digest, peer: PeerId) {
        let again = self.now_ms() + DESCRIPTOR_TIMEOUT_MS;
        if let Some(fetching) = self.fetches.get_mut(image) {
            fetching.asked = None;
            fetching.lacking.insert(peer, again);
        }
    }

    fn descriptor_arrived(&mut self, image: &Digest, peer: PeerId, data: &[u8]) {
        if data.is_empty() {
            return self.lacks(image, peer);
        }
        let Some(fetching) = self.fetches.get_mut(image) else { return };
        fetching.asked = None;
        let descriptor = match Descriptor::decode(data) {
            Ok(d) if d.id() == *image && d.image_ref() == fetching.image => d,
            _ => {
                self.network.penalize(&peer, Offence::InvalidResponse);
                return self.lacks(image, peer);
            }
        };
        let missing = self.store.missing_blobs(&descriptor).into_iter();
        let fetches = missing.map(|b| (b.digest, blob::Fetch::new(BlobId::of_root(b.size, &b.chunk_root))));
        fetching.blobs = fetches.collect();
        match self.store.fetch(descriptor) {
            Ok(import) => fetching.import = Some(import),
            Err(error) => self.fail(image, error.to_string()),
        }
    }

    fn chunks_arrived(&mut self, image: &Digest, blob: &ContentDigest, ticket: Ticket, data: &[u8]) {
        let now = self.now_ms();
        let Some(fetching) = self.fetches.get_mut(image) else { return };
        let (Some(import), Some(fetch)) = (fetching.import.as_mut(), fetching.blobs.get_mut(blob)) else {
            return;
        };
        let progress = fetch.on_response(ticket, data, now);
        if let Some(blame) = progress.blame {
            self.network.penalize(&blame.peer, blame.offence);
        }
        let leaves = fetch.list().map(|l| l.leaves().to_vec()).unwrap_or_default();
        for (index, bytes) in progress.chunks {
            let proof = merkle::inclusion_path(&leaves, index as usize).unwrap_or_default();
            if let Err(error) = import.accept(blob, index, &Chunk { bytes, proof }) {
                let why = error.to_string();
                return self.fail(image, why);
            }
        }
    }

    /// Sends what is due, and finishes the image when every chunk is here.
    fn advance(&mut self, id: &Digest) {
        let now = self.now_ms();
        let peers: Vec<PeerId> = self.network.peers().into_iter().map(|p| p.peer).collect();
        let Some(fetching) = self.fetches.get_mut(id) else { return };
        if fetching.import.is_none() {
            return self.ask_descriptor(id, &peers, now);
        }
        let mut left = 0;
        let mut unlisted = false;
        for (blob, fetch) in &mut fetching.blobs {
            for out in fetch.next_requests(&peers, now) {
                let bytes = [&[TAG_CHUNKS], out.bytes.as_slice()].concat();
                match self.network.request(out.peer, Protocol::Blob, bytes) {
                    Ok(handle) => {
                        self.requests.insert(handle, Pending::Chunks(*id, *blob, out.ticket));
                    }
                    Err(_) => fetch.on_failure(out.ticket, now),
                }
            }
            match fetch.state() {
                FetchState::NeedsList => unlisted = true,
                FetchState::NeedsChunks(n) => left += n,
                FetchState::Complete => {}
            }
        }
        if unlisted || left > 0 {
            return self.set(*id, Some(ImageState::Fetching((!unlisted).then_some(left))));
        }
        self.finish(id);
    }

    fn ask_descriptor(&mut self, id: &Digest, peers: &[PeerId], now: u64) {
        let Some(fetching) = self.fetches.get_mut(id) else { return };
        if fetching.asked.is_some_and(|(_, until)| until > now) {
            return;
        }
        let ready = |p: &&PeerId| fetching.lacking.get(p).is_none_or(|again| *again <= now);
        let Some(peer) = peers.iter().find(ready).copied() else { return };
        let request = [&[TAG_DESCRIPTOR], id.0.as_slice()].concat();
        match self.network.request(peer, Protocol::Blob, request) {
            Ok(handle) => {
                fetching.asked = Some((handle, now + DESCRIPTOR_TIMEOUT_MS));
                self.requests.insert(handle, Pending::Descriptor(*id));
            }
            Err(_) => {
                fetching.lacking.insert(peer, now + DESCRIPTOR_TIMEOUT_MS);
            }
        }
    }

    fn finish(&mut self, id: &Digest) {
        let Some(import) = self.fetches.remove(id).and_then(|f| f.import) else { return };
        match import.finish() {
            Ok(_) => self.set(*id, None),
            Err(error) => self.fail(id, error.to_string()),
        }
    }

    fn fail(&mut self, id: &Digest, why: String) {
        self.fetches.remove(id);
        self.set(*id, Some(ImageState::Failed(why)));
    }
}
