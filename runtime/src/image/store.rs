//! Owns the image store: content-addressed blobs, and for every image a record and (OCI) an unpacked root filesystem.
//!
//! ```text
//! images/            the store
//!   lock             held while something is committed, removed or swept
//!   blobs/<hex>      every blob of every image, as it was fetched
//!   leaves/<hex>     the leaf hashes of its 64 KiB chunks
//!   images/<hex>/    record, rootfs/         the directory's rename into place is the commit point
//!   stage/…          images being put together
//! ```
//!
//! Refuses names: an image is known by its digest alone. Invariants: what is under `blobs/` has the digest it is
//! named by; an image directory exists only whole; a failed import leaves no image and no stage behind.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::codec;
use metanode_types::hash::Hash;

use super::chunks;
use super::descriptor::{BlobRef, Descriptor, ImageKind, RunConfig};
use super::fetch::Fetch;
use super::layout::{Layout, open_regular};
use super::oci::{Compression, ImageConfig, Manifest};
use super::reference::Reference;
use super::rootdir::RootDir;
use super::stage::{Stage, lock_file};
use super::tree;
use super::unpack::{VerifiedLayer, unpack};
use crate::digest::{Digest, digest_of, hex_of};
use crate::error::{AtPath, Error, Result};
use crate::limits;

/// An image that is in the store, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is made of and what it runs.
    pub descriptor: Descriptor,
    /// The unpacked root filesystem (OCI) or the binary module (WASM).
    pub path: PathBuf,
    /// Digest of the unpacked root filesystem, for OCI images.
    pub rootfs_digest: Option<Digest>,
}

/// A chunk of a blob with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The chunk's bytes.
    pub bytes: Vec<u8>,
    /// Siblings from the chunk's leaf up to the blob's chunk root.
    pub proof: Vec<Hash>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Record {
    descriptor: Descriptor,
    rootfs_digest: Option<Digest>,
}

/// A directory of images. Cheap to clone; several processes may use one at the same time.
#[derive(Clone, Debug)]
pub struct ImageStore {
    root: PathBuf,
}

impl ImageStore {
    /// Opens the store at `root`, made if missing, and removes what crashed imports left.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_path_buf() };
        for name in ["blobs", "leaves", "images", "stage"] {
            let path = root.join(name);
            std::fs::create_dir_all(&path).at("create", &path)?;
        }
        let _lock = store.lock()?;
        Stage::sweep(&store.root.join("stage"))?;
        Ok(store)
    }

    fn lock(&self) -> Result<nix::fcntl::Flock<File>> {
        Ok(lock_file(&self.root.join("lock"), true)?.expect("a waiting lock is always taken"))
    }

    pub(crate) fn stage(&self) -> Result<Stage> {
        let _lock = self.lock()?;
        Stage::create(&self.root.join("stage"))
    }

    fn image_dir(&self, digest: &Digest) -> PathBuf {
        self.root.join("images").join(hex_of(digest))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(hex_of(digest))
    }

    fn leaves_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("leaves").join(hex_of(digest))
    }

    /// Makes the image a reference names available: imports a file, or finds a digest.
    pub fn resolve(&self, reference: &Reference) -> Result<Image> {
        match reference {
            Reference::Oci { path, select } => self.import_oci(path, *select),
            Reference::Wasm { path } => self.import_wasm(path),
            Reference::Digest(digest) => self.get(digest),
        }
    }

    /// Imports the linux/amd64 image of an OCI layout (directory or tar), or the one `select` leads to.
    pub fn import_oci(&self, path: &Path, select: Option<Digest>) -> Result<Image> {
        let layout = Layout::open(path)?;
        let link = layout.choose(select)?;
        if let Ok(image) = self.get(&link.digest) {
            return Ok(image);
        }
        let refuse = |reason| Error::ImportBlob { blob: link.digest, reason };
        let manifest = Manifest::parse(&layout.read_document(&link)?).map_err(refuse)?;
        let mut stage = self.stage()?;
        for part in [&link, &manifest.config].into_iter().chain(&manifest.layers) {
            let (mut reader, _) = layout.open_blob(&part.digest)?;
            stage.add_blob(&mut reader, part.digest, part.size)?;
        }
        self.assemble(stage, ImageKind::Oci, link.digest, None)
    }

    /// Imports a WASM module, binary or text; its digest is that of the binary form.
    pub fn import_wasm(&self, path: &Path) -> Result<Image> {
        let refuse = |reason: String| Error::ImportModule { path: path.to_path_buf(), reason };
        let (file, size) = open_regular(path, true).at("open module", path)?;
        if size > limits::MODULE_BYTES_MAX {
            return Err(refuse(format!("{size} bytes, at most {} are allowed", limits::MODULE_BYTES_MAX)));
        }
        let mut source = Vec::new();
        file.take(limits::MODULE_BYTES_MAX).read_to_end(&mut source).at("read module", path)?;
        let module = crate::wasm::to_binary(&source).map_err(refuse)?;
        let mut stage = self.stage()?;
        let digest = digest_of(&module);
        stage.add_blob(&mut module.as_slice(), digest, module.len() as u64)?;
        self.assemble(stage, ImageKind::Wasm, digest, None).map_err(|error| match error {
            Error::ImportBlob { reason, .. } => refuse(reason),
            other => other,
        })
    }

    /// Starts fetching an image from peers by its descriptor.
    pub fn fetch(&self, descriptor: Descriptor) -> Result<Fetch> {
        Fetch::start(self.clone(), descriptor)
    }

    /// Builds the image out of a stage that holds its verified blobs, and commits it.
    pub(crate) fn assemble(
        &self,
        stage: Stage,
        kind: ImageKind,
        digest: Digest,
        expected: Option<&Descriptor>,
    ) -> Result<Image> {
        let record = match kind {
            ImageKind::Oci => self.assemble_oci(&stage, digest, expected)?,
            ImageKind::Wasm => {
                let module = stage.read_blob(&digest, limits::MODULE_BYTES_MAX)?;
                let refuse = |reason| Error::ImportBlob { blob: digest, reason };
                crate::wasm::validate(&module).map_err(refuse)?;
                let descriptor = describe(&stage, kind, &[digest], RunConfig::wasm());
                check_expected(&descriptor, expected)?;
                Record { descriptor, rootfs_digest: None }
            }
        };
        self.commit(stage, &record)?;
        Ok(self.image_of(record))
    }

    fn assemble_oci(&self, stage: &Stage, digest: Digest, expected: Option<&Descriptor>) -> Result<Record> {
        let refuse = |blob| move |reason| Error::ImportBlob { blob, reason };
        let bytes = stage.read_blob(&digest, limits::MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::parse(&bytes).map_err(refuse(digest))?;
        for part in [&manifest.config].into_iter().chain(&manifest.layers) {
            if stage.blob(&part.digest).is_none_or(|blob| blob.size != part.size) {
                return Err(refuse(part.digest)(
                    "missing, or its size is not what the manifest says".to_owned(),
                ));
            }
        }
        let bytes = stage.read_blob(&manifest.config.digest, limits::CONFIG_BYTES_MAX)?;
        let config =
            ImageConfig::parse(&bytes, manifest.layers.len()).map_err(refuse(manifest.config.digest))?;
        let parts = [digest, manifest.config.digest]
            .into_iter()
            .chain(manifest.layers.iter().map(|link| link.digest));
        let descriptor = describe(stage, ImageKind::Oci, &parts.collect::<Vec<_>>(), config.run);
        check_expected(&descriptor, expected)?;
        let layers = manifest.layers.iter().zip(config.diff_ids).map(|(link, diff_id)| {
            let path = stage.blob_path(&link.digest);
            VerifiedLayer {
                blob: link.digest,
                size: link.size,
                compression: Compression::of_media_type(&link.media_type)
                    .expect("Manifest::parse checked it"),
                diff_id,
                file: Box::new(move || File::open(&path)),
            }
        });
        let layers: Vec<VerifiedLayer> = layers.collect();
        let rootfs = stage.image_dir().join("rootfs");
        std::fs::create_dir(&rootfs).at("create", &rootfs)?;
        let rootfs_digest = Some(unpack(&layers, &rootfs)?);
        Ok(Record { descriptor, rootfs_digest })
    }

    /// Makes a stage's image part of the store: everything on disk first, then one rename.
    fn commit(&self, stage: Stage, record: &Record) -> Result<()> {
        let path = stage.image_dir().join("record");
        std::fs::write(&path, codec::encode(record)).at("write", &path)?;
        let dir = File::open(stage.path()).at("open", stage.path())?;
        nix::unistd::syncfs(&dir).at("sync", stage.path())?;
        let _lock = self.lock()?;
        let target = self.image_dir(&record.descriptor.digest);
        if target.exists() {
            return Ok(());
        }
        for blob in stage.blobs() {
            rename(&stage.leaves_path(&blob.digest), &self.leaves_path(&blob.digest))?;
            rename(&stage.blob_path(&blob.digest), &self.blob_path(&blob.digest))?;
        }
        sync_dir(&self.root.join("leaves"))?;
        sync_dir(&self.root.join("blobs"))?;
        rename(&stage.image_dir(), &target)?;
        sync_dir(&self.root.join("images"))
    }

    fn image_of(&self, record: Record) -> Image {
        let digest = &record.descriptor.digest;
        let path = match record.descriptor.kind {
            ImageKind::Oci => self.image_dir(digest).join("rootfs"),
            ImageKind::Wasm => self.blob_path(digest),
        };
        Image { path, rootfs_digest: record.rootfs_digest, descriptor: record.descriptor }
    }

    /// The image with this digest.
    pub fn get(&self, digest: &Digest) -> Result<Image> {
        let path = self.image_dir(digest).join("record");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::FindImage { what: "image", digest: *digest });
            }
            other => other.at("read", &path)?,
        };
        let record: Record = codec::decode("image record", &bytes, limits::DESCRIPTOR_BYTES_MAX + 64)
            .map_err(|error| Error::DecodeDescriptor { reason: format!("{}: {error}", path.display()) })?;
        Ok(self.image_of(record))
    }

    /// All images, ordered by digest.
    pub fn list(&self) -> Result<Vec<Image>> {
        let dir = self.root.join("images");
        let mut images = Vec::new();
        for entry in std::fs::read_dir(&dir).at("read", &dir)? {
            let name = entry.at("read", &dir)?.file_name();
            if let Ok(digest) = format!("sha256:{}", name.to_string_lossy()).parse() {
                images.push(self.get(&digest)?);
            }
        }
        images.sort_by_key(|image| image.descriptor.digest);
        Ok(images)
    }

    /// Removes an image and the blobs that no other image uses.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        let gone = self.get(digest)?;
        let _lock = self.lock()?;
        // Out of sight in one step; a crash from here on leaves only a stage, which the next sweep removes.
        let stage = Stage::create(&self.root.join("stage"))?;
        rename(&self.image_dir(digest), &stage.image_dir().join("removed"))?;
        sync_dir(&self.root.join("images"))?;
        let kept: Vec<Image> = self.list()?;
        for blob in &gone.descriptor.blobs {
            if !kept
                .iter()
                .any(|image| image.descriptor.blobs.iter().any(|other| other.digest == blob.digest))
            {
                for path in [self.blob_path(&blob.digest), self.leaves_path(&blob.digest)] {
                    std::fs::remove_file(&path).at("remove", &path)?;
                }
            }
        }
        Ok(())
    }

    /// Hashes an image's root filesystem (or module) again and compares it with what was recorded at import.
    pub fn verify(&self, image: &Image) -> Result<()> {
        let (recorded, found) = match image.rootfs_digest {
            Some(recorded) => {
                let root = RootDir::open(&image.path).at("open root filesystem", &image.path)?;
                (recorded, tree::rootfs_digest(&root).at("hash root filesystem", &image.path)?)
            }
            None => {
                let module = std::fs::read(&image.path).at("read module", &image.path)?;
                (image.descriptor.digest, digest_of(&module))
            }
        };
        if recorded == found {
            Ok(())
        } else {
            Err(Error::VerifyRootfs { image: image.descriptor.digest, recorded, found })
        }
    }

    /// Whether the store holds this blob whole.
    #[must_use]
    pub fn has_blob(&self, blob: &BlobRef) -> bool {
        std::fs::metadata(self.blob_path(&blob.digest)).is_ok_and(|metadata| metadata.len() == blob.size)
    }

    /// The blobs of an image that would have to be fetched.
    #[must_use]
    pub fn missing_blobs<'a>(&self, descriptor: &'a Descriptor) -> Vec<&'a BlobRef> {
        descriptor.blobs.iter().filter(|blob| !self.has_blob(blob)).collect()
    }

    /// The hashes of a blob's chunks, in order, as they were computed at import.
    pub fn leaves(&self, blob: &Digest) -> Result<Vec<Hash>> {
        let path = self.leaves_path(blob);
        let leaves = std::fs::read(&path).at("read", &path)?;
        Ok(leaves.as_chunks().0.to_vec())
    }

    /// Reads chunk `index` of a blob with its proof, to serve it to a peer.
    pub fn read_chunk(&self, blob: &Digest, index: u32) -> Result<Chunk> {
        let absent = |what| Error::FindImage { what, digest: *blob };
        let path = self.blob_path(blob);
        let (file, size) = open_regular(&path, false).map_err(|_| absent("blob"))?;
        let length = chunks::chunk_len(size, index).ok_or_else(|| absent("chunk"))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, u64::from(index) * limits::CHUNK_BYTES as u64).at("read", &path)?;
        let leaves = self.leaves(blob)?;
        let proof =
            metanode_types::merkle::inclusion_path(&leaves, index as usize).ok_or_else(|| absent("chunk"))?;
        Ok(Chunk { bytes, proof })
    }

    pub(crate) fn copy_blob_into(&self, blob: &BlobRef, stage: &mut Stage) -> Result<()> {
        let path = self.blob_path(&blob.digest);
        let (mut file, _) = open_regular(&path, false).at("open", &path)?;
        stage.add_blob(&mut file, blob.digest, blob.size)
    }
}

fn describe(stage: &Stage, kind: ImageKind, parts: &[Digest], config: RunConfig) -> Descriptor {
    let blobs = parts.iter().map(|part| stage.blob(part).expect("every part was staged").clone());
    Descriptor { kind, digest: parts[0], blobs: blobs.collect(), config }
}

fn check_expected(derived: &Descriptor, expected: Option<&Descriptor>) -> Result<()> {
    match expected {
        Some(expected) if expected != derived => Err(Error::DecodeDescriptor {
            reason: format!("it does not describe the blobs of image {}", derived.digest),
        }),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).at("move into place", to)
}

fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).at("sync", path)
}
