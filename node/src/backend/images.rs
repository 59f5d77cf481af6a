//! Images handed to this node over its interface.
//!
//! ```text
//! have(descriptor) ──▶ missing blobs ──put, put, …──▶ every blob whole, of its digest ──commit──▶ image store
//! ```
//!
//! Owns the staging directory: one directory per upload, one file per blob, filled from its start. A blob is
//! complete when its SHA-256 is the descriptor's; the image store then checks everything again and takes the
//! image whole or not at all. Refuses bytes that no announced descriptor names, and more uploads or bytes
//! than the named bounds. What a crash left behind is removed at the next start; an upload that nobody
//! touches gives way to the next.

use super::fault::{disk, lock};
use metanode_rpc::backend::{Answer, ImageChunk};
use metanode_rpc::error::BackendError;
use metanode_rpc::views::{BlobNeedView, ImageHaveView, ImagePutView, ImageView};
use metanode_runtime::image::{BlobRef, Chunk, Descriptor, Fetch, ImageStore};
use metanode_runtime::limits::CHUNK_BYTES;
use metanode_types::hash::Hash;
use metanode_types::ids::{ContentDigest, Digest};
use metanode_types::merkle::{leaf_hash, node_hash};
use metanode_types::workload::ImageRef;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Uploads under way at most.
pub const MAX_UPLOADS: usize = 8;
/// Bytes that all uploads under way may stage together.
pub const MAX_STAGED_BYTES: u64 = 16 << 30;
/// An upload untouched for this long gives way when there is no room.
pub const STALE_AFTER: Duration = Duration::from_secs(600);

/// The uploads of one node.
pub struct Uploads {
    store: ImageStore,
    dir: PathBuf,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    started: u64,
    slots: BTreeMap<Digest, Slot>,
}

struct Slot {
    bytes: u64,
    touched: Instant,
    upload: Arc<Mutex<Upload>>,
}

/// One image on its way. Its directory goes with it.
struct Upload {
    descriptor: Descriptor,
    dir: PathBuf,
    blobs: BTreeMap<ContentDigest, Partial>,
}

/// One blob, filled from its start.
struct Partial {
    blob: ContentDigest,
    size: u64,
    path: PathBuf,
    file: File,
    received: u64,
    hash: Sha256,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!("remove upload {}: {error}", self.dir.display());
        }
    }
}

impl Uploads {
    /// Stages below `dir`, which is emptied first.
    pub fn open(store: ImageStore, dir: &Path) -> std::io::Result<Uploads> {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(dir)?;
        Ok(Uploads { store, dir: dir.to_owned(), open: Mutex::default() })
    }

    /// Every image here.
    pub fn images(&self) -> Answer<Vec<ImageView>> {
        let images = self.store.list().map_err(refused)?;
        let view = |d: Descriptor| ImageView {
            image: d.image_ref(),
            bytes: distinct(&d).map(|b| b.size).sum(),
            name: None,
        };
        Ok(images.into_iter().map(|image| view(image.descriptor)).collect())
    }

    /// Bytes of all blobs here, each once.
    pub fn bytes_held(&self) -> Answer<u64> {
        let images = self.store.list().map_err(refused)?;
        let blobs = images.into_iter().flat_map(|image| image.descriptor.blobs);
        let sizes: BTreeMap<ContentDigest, u64> = blobs.map(|blob| (blob.digest, blob.size)).collect();
        Ok(sizes.values().sum())
    }

    /// Begins an upload, or says how far it is.
    pub fn have(&self, bytes: &[u8]) -> Answer<ImageHaveView> {
        let descriptor = Descriptor::decode(bytes).map_err(refused)?;
        let id = descriptor.id();
        if let Ok(held) = self.store.get(&descriptor.digest) {
            if held.descriptor.id() == id {
                return Ok(ImageHaveView { descriptor: id, complete: true, missing: Vec::new() });
            }
            let why = format!(
                "image {} is here, and its descriptor is {}",
                descriptor.digest,
                held.descriptor.id()
            );
            return Err(
                BackendError::invalid(why).next("import the image again with `metanode image import`")
            );
        }
        let upload = self.slot(id, descriptor)?;
        let missing = lock(&upload).blobs.values().filter(|p| !p.is_whole()).map(Partial::need).collect();
        Ok(ImageHaveView { descriptor: id, complete: false, missing })
    }

    fn slot(&self, id: Digest, descriptor: Descriptor) -> Answer<Arc<Mutex<Upload>>> {
        let mut open = lock(&self.open);
        if let Some(slot) = open.slots.get_mut(&id) {
            slot.touched = Instant::now();
            return Ok(slot.upload.clone());
        }
        let lacking: Vec<BlobRef> =
            distinct(&descriptor).filter(|b| !self.store.has_blob(b)).cloned().collect();
        let bytes = lacking.iter().map(|b| b.size).sum();
        open.make_room(bytes)?;
        open.started += 1;
        let dir = self.dir.join(open.started.to_string());
        let upload = Upload::start(descriptor, dir, &lacking)?;
        let upload = Arc::new(Mutex::new(upload));
        open.slots.insert(id, Slot { bytes, touched: Instant::now(), upload: upload.clone() });
        Ok(upload)
    }

    /// Stores one chunk; what came before is taken again without effect.
    pub fn put(&self, chunk: &ImageChunk) -> Answer<ImagePutView> {
        let upload = {
            let mut open = lock(&self.open);
            let slot = open.slots.get_mut(&chunk.descriptor).ok_or_else(|| unknown(&chunk.descriptor))?;
            slot.touched = Instant::now();
            slot.upload.clone()
        };
        let mut upload = lock(&upload);
        let part = upload.blobs.get_mut(&chunk.blob).ok_or_else(|| {
            let why = format!("blob {} is not one that image {} lacks here", chunk.blob, chunk.descriptor);
            BackendError::invalid(why).next("send only the blobs that node_image_have names")
        })?;
        part.take(chunk.offset, &chunk.bytes)?;
        Ok(ImagePutView { blob: chunk.blob, received: part.received, complete: part.is_whole() })
    }

    /// Hands a complete upload to the image store. Committing an image that is here already finds it.
    pub fn commit(&self, id: &Digest) -> Answer<ImageRef> {
        let upload = lock(&self.open).slots.get(id).map(|slot| slot.upload.clone());
        let Some(upload) = upload else { return self.held(id) };
        let upload = lock(&upload);
        if let Some(part) = upload.blobs.values().find(|part| !part.is_whole()) {
            let why = format!("blob {} has {} of {} bytes", part.blob, part.received, part.size);
            return Err(
                BackendError::invalid(why).next("send the rest with node_image_put, then commit again")
            );
        }
        // Whatever becomes of it, this upload is over: a retry starts from what the store then lacks.
        lock(&self.open).slots.remove(id);
        let image = self.store.fetch(upload.descriptor.clone()).map_err(refused)?;
        Ok(upload.feed(image)?.finish().map_err(refused)?.descriptor.image_ref())
    }

    fn held(&self, id: &Digest) -> Answer<ImageRef> {
        let images = self.store.list().map_err(refused)?;
        let found = images.iter().map(|image| &image.descriptor).find(|d| d.id() == *id);
        found.map(Descriptor::image_ref).ok_or_else(|| unknown(id))
    }
}

impl Open {
    /// Room for one more upload of `bytes`; stale ones give way, the oldest first.
    fn make_room(&mut self, bytes: u64) -> Answer<()> {
        if bytes > MAX_STAGED_BYTES {
            let why = format!("the image's blobs have {bytes} bytes, at most {MAX_STAGED_BYTES} are taken");
            return Err(BackendError::limit(why)
                .next("import the image on that machine with `metanode image import`"));
        }
        loop {
            let staged: u64 = self.slots.values().map(|slot| slot.bytes).sum();
            if self.slots.len() < MAX_UPLOADS && staged + bytes <= MAX_STAGED_BYTES {
                return Ok(());
            }
            let oldest =
                self.slots.iter().min_by_key(|(_, slot)| slot.touched).map(|(id, slot)| (*id, slot.touched));
            match oldest {
                Some((id, touched)) if touched.elapsed() >= STALE_AFTER => self.slots.remove(&id),
                _ => {
                    let why = format!("{} uploads with {staged} bytes are under way here", self.slots.len());
                    return Err(BackendError::limit(why).next("try again when one of them is finished"));
                }
            };
        }
    }
}

impl Upload {
    fn start(descriptor: Descriptor, dir: PathBuf, lacking: &[BlobRef]) -> Answer<Upload> {
        std::fs::create_dir(&dir).map_err(|e| disk("create", &dir, &e))?;
        let mut upload = Upload { descriptor, dir, blobs: BTreeMap::new() };
        for blob in lacking {
            let path = upload.dir.join(hex::encode(blob.digest.0));
            let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path);
            let file = file.map_err(|e| disk("create", &path, &e))?;
            let (blob, size) = (blob.digest, blob.size);
            let part = Partial { blob, size, path, file, received: 0, hash: Sha256::new() };
            upload.blobs.insert(blob, part);
        }
        Ok(upload)
    }

    /// Gives the image store every chunk that it lacks, each with its proof.
    fn feed(&self, mut image: Fetch) -> Answer<Fetch> {
        let mut wanted: BTreeMap<ContentDigest, Vec<u32>> = BTreeMap::new();
        for (blob, index) in image.missing(usize::MAX) {
            wanted.entry(blob).or_default().push(index);
        }
        for (blob, indices) in wanted {
            let part = self.blobs.get(&blob).ok_or_else(|| {
                let why = format!("blob {blob} was here when the upload began and is gone");
                BackendError::unavailable(why).next("begin the upload again with node_image_have")
            })?;
            let tree = Levels::of(part)?;
            for index in indices {
                let chunk = Chunk { bytes: part.chunk(index)?, proof: tree.path(index as usize) };
                image.accept(&blob, index, &chunk).map_err(refused)?;
            }
        }
        Ok(image)
    }
}

impl Partial {
    fn is_whole(&self) -> bool {
        // An empty blob is whole from the start; the image store checks its digest with all others.
        self.received == self.size
    }

    fn need(&self) -> BlobNeedView {
        BlobNeedView { blob: self.blob, size: self.size, received: self.received }
    }

    /// Takes `bytes` at `offset`; bytes already here are skipped.
    fn take(&mut self, offset: u64, bytes: &[u8]) -> Answer<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.size);
        let Some(end) = end else {
            let why = format!(
                "{} bytes at {offset} reach beyond the {} of blob {}",
                bytes.len(),
                self.size,
                self.blob
            );
            return Err(BackendError::invalid(why));
        };
        if offset > self.received {
            let why = format!(
                "blob {} has {} bytes so far, the chunk starts at {offset}",
                self.blob, self.received
            );
            return Err(BackendError::invalid(why).next(format!("continue at offset {}", self.received)));
        }
        if end <= self.received {
            return Ok(());
        }
        let new = &bytes[(self.received - offset) as usize..];
        self.file.write_all_at(new, self.received).map_err(|e| disk("write", &self.path, &e))?;
        self.hash.update(new);
        self.received = end;
        if self.is_whole() { self.check() } else { Ok(()) }
    }

    fn check(&mut self) -> Answer<()> {
        let got = ContentDigest(self.hash.clone().finalize().into());
        if got == self.blob {
            return Ok(());
        }
        (self.received, self.hash) = (0, Sha256::new());
        let why = format!("the bytes sent for blob {} have digest {got}", self.blob);
        Err(BackendError::invalid(why).next("send that blob again from offset 0"))
    }

    fn chunk(&self, index: u32) -> Answer<Vec<u8>> {
        let start = u64::from(index) * CHUNK_BYTES as u64;
        let length = self.size.saturating_sub(start).min(CHUNK_BYTES as u64) as usize;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start).map_err(|e| disk("read", &self.path, &e))?;
        Ok(bytes)
    }
}

/// Every level of a blob's chunk tree, the leaves first: all proofs cost one pass instead of one each.
///
/// Pairing from the left and carrying an unpaired node up unchanged gives the RFC 9162 shape.
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn of(part: &Partial) -> Answer<Levels> {
        let count = u32::try_from(part.size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(u32::MAX);
        let leaves: Answer<Vec<Hash>> = (0..count).map(|i| Ok(leaf_hash(&part.chunk(i)?))).collect();
        Ok(Levels::above(leaves?))
    }

    fn above(leaves: Vec<Hash>) -> Levels {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let pair = |two: &[Hash]| if let [left, right] = two { node_hash(left, right) } else { two[0] };
            let next = below.chunks(2).map(pair).collect();
            levels.push(next);
        }
        Levels(levels)
    }

    fn path(&self, index: usize) -> Vec<Hash> {
        let sibling = |(height, level): (usize, &Vec<Hash>)| level.get((index >> height) ^ 1).copied();
        let below_root = self.0.len() - 1;
        self.0.iter().enumerate().take(below_root).filter_map(sibling).collect()
    }
}

/// The blobs of an image, each once: two layers may be the same.
fn distinct(descriptor: &Descriptor) -> impl Iterator<Item = &BlobRef> {
    let once: BTreeMap<ContentDigest, &BlobRef> =
        descriptor.blobs.iter().map(|blob| (blob.digest, blob)).collect();
    once.into_values()
}

fn unknown(id: &Digest) -> BackendError {
    let why = format!("no upload of image descriptor {id} is under way here");
    BackendError::not_found(why).next("begin with node_image_have")
}

/// A fault of the machine is ours, everything else the uploader's.
fn refused(error: metanode_runtime::Error) -> BackendError {
    match error {
        metanode_runtime::Error::AccessFile { .. } => BackendError::internal(error.to_string()),
        other => BackendError::invalid(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
