//! From a reference to what the ledger names: an image that the node can hand to the network.
//!
//! Owns the upload: only the blobs that the node lacks are sent, in order, each chunk once. Refuses to deploy a digest
//! that neither the store, the node nor the ledger knows.

use super::failure::{Doing, Done, Failure};
use super::get;
use super::image;
use super::output::note;
use super::session::Node;
use metanode_rpc::limits::IMAGE_CHUNK_BYTES;
use metanode_rpc::views::BlobNeedView;
use metanode_runtime::image::{Image, ImageStore, Reference, chunks};
use metanode_runtime::limits::CHUNK_BYTES;
use metanode_types::ids::{ContentDigest, Digest};
use metanode_types::workload::ImageRef;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Progress is shown when an upload takes longer than this.
const SHOW_PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// Makes the image that `reference` names deployable through `node`.
pub fn provide(node: &Node, store: &ImageStore, reference: &Reference) -> Done<ImageRef> {
    match reference {
        Reference::Digest(digest) => match store.get(digest) {
            Ok(image) => send(node, store, &image),
            Err(_) => known_elsewhere(node, digest),
        },
        file => send(node, store, &image::import(store, file)?),
    }
}

/// Finds a digest on the node or on the ledger.
fn known_elsewhere(node: &Node, digest: &ContentDigest) -> Done<ImageRef> {
    let held = node.ask("list the node's images", node.client().images())?;
    if let Some(view) = held.into_iter().find(|view| view.image.digest == *digest) {
        return Ok(view.image);
    }
    let deployed = get::all_deployments(node)?.into_iter().map(|d| d.workload.image);
    deployed.into_iter().find(|image| image.digest == *digest).ok_or_else(|| {
        let why = format!("{digest} is in no store here, on the node or on the ledger");
        Failure::failed("find the image", why).next("import it: metanode image import PATH")
    })
}

fn send(node: &Node, store: &ImageStore, image: &Image) -> Done<ImageRef> {
    let what = format!("hand image {} to the node", image.descriptor.digest);
    let descriptor = image.descriptor.encode();
    let have = node.ask(&what, node.client().image_have(&descriptor))?;
    if !have.complete {
        let mut progress =
            Progress::new(have.missing.iter().map(|need| need.size - need.received.min(need.size)).sum());
        for need in &have.missing {
            send_blob(node, store, &have.descriptor, need, &what, &mut progress)?;
        }
        progress.end();
    }
    let image_ref = node.ask(&what, node.client().image_commit(have.descriptor))?;
    if image_ref != image.descriptor.image_ref() {
        return Err(Failure::failed(what, format!("the node took it for {}", image_ref.digest)));
    }
    Ok(image_ref)
}

fn send_blob(
    node: &Node,
    store: &ImageStore,
    descriptor: &Digest,
    need: &BlobNeedView,
    what: &str,
    progress: &mut Progress,
) -> Done {
    const PER_CALL: usize = IMAGE_CHUNK_BYTES / CHUNK_BYTES;
    const { assert!(PER_CALL > 0) };
    // What arrived of a chunk that is not whole is sent again from the chunk's start: offsets count bytes.
    let mut index = u32::try_from(need.received / CHUNK_BYTES as u64).usage(what)?;
    let mut skip = (need.received % CHUNK_BYTES as u64) as usize;
    let count = chunks::chunk_count(need.size);
    let mut offset = need.received;
    while index < count {
        let mut bytes = Vec::new();
        let until = count.min(index + PER_CALL as u32);
        for at in index..until {
            bytes.extend_from_slice(&store.read_chunk(&need.blob, at).unavailable(what)?.bytes);
        }
        let put = node.ask(what, node.client().image_put(*descriptor, need.blob, offset, &bytes[skip..]))?;
        let sent = (bytes.len() - skip) as u64;
        offset += sent;
        if put.received != offset {
            let why = format!("it says it has {} bytes of {}, {offset} were sent", put.received, need.blob);
            return Err(Failure::failed(what, why));
        }
        progress.add(sent);
        (index, skip) = (until, 0);
    }
    Ok(())
}

/// A line on a terminal that says how far an upload is.
struct Progress {
    total: u64,
    done: u64,
    started: Instant,
    shown: bool,
}

impl Progress {
    fn new(total: u64) -> Progress {
        Progress { total, done: 0, started: Instant::now(), shown: false }
    }
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.started.elapsed() > SHOW_PROGRESS_AFTER && std::io::stderr().is_terminal() {
            self.shown = true;
            let percent = (u128::from(self.done) * 100).checked_div(self.total.into()).unwrap_or(100);
            eprint!("\rimage: {percent:3} % of {} KiB", self.total / 1024);
        }
    }
    fn end(&self) {
        if self.shown {
            note("");
        }
    }
}
