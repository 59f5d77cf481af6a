//! Owns an image on its way here from peers: which chunks are missing, and where an arriving one belongs. Refuses a
//! chunk whose proof does not lead to the blob's chunk root, before it is written. The network is not known here:
//! the caller asks peers for what [`Fetch::missing`] names and hands over what they send.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use super::chunks;
use super::descriptor::{BlobRef, Descriptor};
use super::stage::Stage;
use super::store::{Chunk, Image, ImageStore};
use crate::digest::Digest;
use crate::error::{AtPath, Error, Result};
use crate::limits;

/// An image being fetched. Dropping it gives the fetch up and leaves nothing behind.
pub struct Fetch {
    store: ImageStore,
    stage: Stage,
    descriptor: Descriptor,
    parts: BTreeMap<Digest, Part>,
}

struct Part {
    blob: BlobRef,
    file: File,
    have: Vec<bool>,
}

impl Fetch {
    pub(crate) fn start(store: ImageStore, descriptor: Descriptor) -> Result<Self> {
        // A descriptor built by hand gets the same checks as one that was decoded.
        let descriptor = Descriptor::decode(&descriptor.encode())?;
        let mut stage = store.stage()?;
        let mut parts = BTreeMap::new();
        for blob in &descriptor.blobs {
            if store.has_blob(blob) {
                store.copy_blob_into(blob, &mut stage)?;
                continue;
            }
            let path = stage.blob_path(&blob.digest);
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(true).write(true).open(&path).at("create", &path)?;
            // Sparse: a descriptor that lies about sizes costs no disk.
            file.set_len(blob.size).at("size", &path)?;
            let have = vec![false; chunks::chunk_count(blob.size) as usize];
            parts.insert(blob.digest, Part { blob: blob.clone(), file, have });
        }
        Ok(Self { store, stage, descriptor, parts })
    }

    /// The chunks still to come: blob and index, in order, at most `count_max` of them.
    #[must_use]
    pub fn missing(&self, count_max: usize) -> Vec<(Digest, u32)> {
        let chunks_of = |(digest, part): (&Digest, &Part)| {
            let missing = part.have.iter().zip(0_u32..).filter(|(have, _)| !**have);
            let digest = *digest;
            missing.map(move |(_, index)| (digest, index)).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(chunks_of).take(count_max).collect()
    }

    /// Takes a chunk in. One that came already is accepted again without effect.
    pub fn accept(&mut self, blob: &Digest, index: u32, chunk: &Chunk) -> Result<()> {
        let refuse = |reason: &str| Error::AcceptChunk { blob: *blob, index, reason: reason.to_owned() };
        let part = self.parts.get_mut(blob).ok_or_else(|| refuse("this blob is not being fetched"))?;
        if !chunks::verify_chunk(&part.blob.chunk_root, part.blob.size, index, &chunk.bytes, &chunk.proof) {
            return Err(refuse("its proof does not lead to the blob's chunk root"));
        }
        let path = self.stage.blob_path(blob);
        part.file
            .write_all_at(&chunk.bytes, u64::from(index) * limits::CHUNK_BYTES as u64)
            .at("write", &path)?;
        part.have[index as usize] = true;
        Ok(())
    }

    /// Imports the fetched image. Every blob is hashed whole, and the descriptor is derived again and compared.
    pub fn finish(mut self) -> Result<Image> {
        if let Some((blob, index)) = self.missing(1).first() {
            return Err(Error::AcceptChunk {
                blob: *blob,
                index: *index,
                reason: "it has not arrived yet".to_owned(),
            });
        }
        for part in self.parts.values() {
            self.stage.adopt_blob(part.blob.digest, part.blob.size)?;
        }
        self.store.assemble(self.stage, self.descriptor.kind, self.descriptor.digest, Some(&self.descriptor))
    }
}
