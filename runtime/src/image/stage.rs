//! Owns the place where an image is put together before it exists: a directory of its own under `stage/`, locked by
//! the process that fills it. Refuses to keep a blob whose size or digest is not what was asked for. Invariant:
//! whatever happens before `ImageStore::commit`, dropping the stage (or the next sweep, after a crash) removes it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::chunks::LeafBuilder;
use super::descriptor::BlobRef;
use crate::digest::{Digest, Hasher, hex_of};
use crate::error::{AtPath, Error, Result};

const LOCK: &str = ".lock";

/// A directory in which one image is being put together.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    blobs: BTreeMap<Digest, BlobRef>,
    // Held for as long as the stage lives; a sweep leaves locked stages alone.
    _lock: Flock<File>,
}

/// Takes an exclusive lock on a file, made if missing.
pub(crate) fn lock_file(path: &Path, wait: bool) -> Result<Option<Flock<File>>> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).at("open lock", path)?;
    let how = if wait { FlockArg::LockExclusive } else { FlockArg::LockExclusiveNonblock };
    match Flock::lock(file, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) if !wait => Ok(None),
        Err((_, error)) => Err(error).at("lock", path),
    }
}

impl Stage {
    /// Makes a stage below `parent`. The caller holds the store's lock, so no sweep can see it half made.
    pub(crate) fn create(parent: &Path) -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix_in("image-", parent).at("create stage in", parent)?;
        let lock = lock_file(&dir.path().join(LOCK), true)?.expect("a waiting lock is always taken");
        for name in ["blobs", "leaves", "image"] {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).at("create", &path)?;
        }
        Ok(Self { dir, blobs: BTreeMap::new(), _lock: lock })
    }

    /// Removes the stages that no living process holds. The caller holds the store's lock.
    pub(crate) fn sweep(parent: &Path) -> Result<()> {
        for entry in std::fs::read_dir(parent).at("read", parent)? {
            let path = entry.at("read", parent)?.path();
            if let Some(_lock) = lock_file(&path.join(LOCK), false)? {
                std::fs::remove_dir_all(&path).at("remove abandoned stage", &path)?;
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that becomes the image's own.
    pub(crate) fn image_dir(&self) -> PathBuf {
        self.path().join("image")
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path().join("blobs").join(hex_of(digest))
    }

    pub(crate) fn leaves_path(&self, digest: &Digest) -> PathBuf {
        self.path().join("leaves").join(hex_of(digest))
    }

    /// The blobs put in so far.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        self.blobs.values()
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Option<&BlobRef> {
        self.blobs.get(digest)
    }

    /// Copies a blob in; its size and digest are verified while it streams by.
    pub(crate) fn add_blob(&mut self, source: &mut dyn Read, digest: Digest, size: u64) -> Result<()> {
        if self.blobs.get(&digest).is_some_and(|known| known.size == size) {
            return Ok(());
        }
        let path = self.blob_path(&digest);
        let mut file = File::create(&path).at("create", &path)?;
        let mut write = |bytes: &[u8]| file.write_all(bytes).at("write", &path);
        let leaves = verify_stream(source, digest, size, &mut write)?;
        self.record(digest, size, leaves)
    }

    /// Verifies a blob that was written to its place in the stage by other means.
    pub(crate) fn adopt_blob(&mut self, digest: Digest, size: u64) -> Result<()> {
        let path = self.blob_path(&digest);
        let mut file = File::open(&path).at("open", &path)?;
        let leaves = verify_stream(&mut file, digest, size, &mut |_| Ok(()))?;
        self.record(digest, size, leaves)
    }

    fn record(&mut self, digest: Digest, size: u64, leaves: Vec<[u8; 32]>) -> Result<()> {
        let path = self.leaves_path(&digest);
        std::fs::write(&path, leaves.concat()).at("write", &path)?;
        let chunk_root = metanode_types::merkle::root(&leaves);
        self.blobs.insert(digest, BlobRef { digest, size, chunk_root });
        Ok(())
    }

    /// Reads a blob that was verified already, if it is at most `bytes_max` long.
    pub(crate) fn read_blob(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let refuse = |reason: String| Error::ImportBlob { blob: *digest, reason };
        let known = self.blobs.get(digest).ok_or_else(|| refuse("it is missing".to_owned()))?;
        if known.size > bytes_max {
            return Err(refuse(format!("{} bytes, at most {bytes_max} are allowed here", known.size)));
        }
        std::fs::read(&path).at("read", &path)
    }
}

/// Reads exactly `size` bytes with digest `digest`; hands them to `write` and returns the chunk leaves.
fn verify_stream(
    source: &mut dyn Read,
    digest: Digest,
    size: u64,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Vec<[u8; 32]>> {
    let refuse = |reason: String| Error::ImportBlob { blob: digest, reason };
    let (mut hasher, mut leaves, mut buffer, mut total) =
        (Hasher::default(), LeafBuilder::default(), vec![0; 64 << 10], 0_u64);
    loop {
        let got = source.read(&mut buffer).map_err(|error| refuse(format!("reading failed: {error}")))?;
        if got == 0 {
            break;
        }
        total += got as u64;
        if total > size {
            return Err(refuse(format!("larger than the {size} bytes its descriptor says")));
        }
        hasher.raw(&buffer[..got]);
        leaves.push(&buffer[..got]);
        write(&buffer[..got])?;
    }
    if total < size {
        return Err(refuse(format!("truncated: {total} of {size} bytes")));
    }
    let found = hasher.finish();
    if found != digest {
        return Err(refuse(format!("content has digest {found}")));
    }
    Ok(leaves.finish())
}
