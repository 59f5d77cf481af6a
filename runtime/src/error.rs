//! Owns the errors of this crate. A variant names the intent that failed and carries the ids involved;
//! the text says what failed and why. Bugs are assertions and never appear here.

use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// What can go wrong in the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation of ours failed (not a judgement about anyone's image).
    #[error("cannot {intent} {}: {source}", path.display())]
    AccessFile {
        /// What was being done, as a verb phrase.
        intent: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An image reference that is not one.
    #[error("{text:?} is not an image reference: {reason}")]
    ParseReference {
        /// The reference, shortened.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that holds no usable OCI image layout.
    #[error("cannot read an OCI image layout from {}: {reason}", path.display())]
    ReadLayout {
        /// The layout.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob that is missing, too large, truncated or not what its digest says.
    #[error("cannot import blob {blob}: {reason}")]
    ImportBlob {
        /// The blob at fault.
        blob: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer that does not unpack within the rules.
    #[error("cannot unpack layer {layer}, entry {entry:?}: {reason}")]
    UnpackLayer {
        /// The layer's blob.
        layer: Digest,
        /// The entry, or empty when the stream itself is at fault.
        entry: String,
        /// Which rule it broke.
        reason: String,
    },
    /// Bytes that are not a WASM module we run.
    #[error("cannot accept {} as a WASM module: {reason}", path.display())]
    ImportModule {
        /// Where the module was read.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A directory or binary that cannot become an image.
    #[error("cannot pack {}: {reason}", path.display())]
    PackImage {
        /// The input.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that are not an image descriptor, or one that contradicts itself.
    #[error("cannot decode image descriptor: {reason}")]
    DecodeDescriptor {
        /// What is wrong with it.
        reason: String,
    },
    /// A chunk from a peer that does not belong where it claims.
    #[error("cannot accept chunk {index} of blob {blob}: {reason}")]
    AcceptChunk {
        /// The blob.
        blob: Digest,
        /// The chunk's position.
        index: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// An image or blob that this store does not hold.
    #[error("{what} {digest} is not in the image store")]
    FindImage {
        /// `image`, `blob` or `chunk`.
        what: &'static str,
        /// What was looked for.
        digest: Digest,
    },
    /// An unpacked root that is no longer what was imported.
    #[error("root filesystem of image {image} has changed: recorded {recorded}, found {found}")]
    VerifyRootfs {
        /// The image.
        image: Digest,
        /// Its digest at import.
        recorded: Digest,
        /// Its digest now.
        found: Digest,
    },
    /// A module that cannot be run at all: nothing was executed.
    #[error("cannot start WASM module: {reason}")]
    StartModule {
        /// Why not.
        reason: String,
    },
    /// A witness that cannot be replayed.
    #[error("cannot replay this witness: {reason}")]
    ReplayWitness {
        /// Why not.
        reason: String,
    },
    /// A cage that could not be started, read or ended.
    #[error("cannot {intent} cage {cage}: {reason}")]
    DriveCage {
        /// What was being done, as a verb.
        intent: &'static str,
        /// The cage's name.
        cage: String,
        /// What went wrong.
        reason: String,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Gives a failed file operation its intent and its path.
pub(crate) trait AtPath<T> {
    fn at(self, intent: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> AtPath<T> for std::result::Result<T, E> {
    fn at(self, intent: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::AccessFile { intent, path: path.to_path_buf(), source: source.into() })
    }
}
