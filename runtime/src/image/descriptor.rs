//! Owns the descriptor of an image: everything another node needs to fetch an image's blobs from peers, chunk by
//! chunk, and to know that it got the right ones. Its id is what a deployment can name on the ledger. Refuses to
//! trust itself: after a fetch the descriptor is derived again from the blobs and must come out equal.

use borsh::{BorshDeserialize, BorshSerialize};
use metanode_types::codec;
use metanode_types::hash::{Domain, Hash, hash_value};
use metanode_types::ids;
pub use metanode_types::workload::ImageKind;
use metanode_types::workload::ImageRef;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits;

/// A blob, named by content, with what is needed to verify it one chunk at a time.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlobRef {
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Root of the RFC 9162 tree over its 64 KiB chunks.
    pub chunk_root: Hash,
}

/// What to run by default, from the image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RunConfig {
    /// Program and leading arguments.
    pub entrypoint: Vec<String>,
    /// Arguments when the deployment gives none.
    pub cmd: Vec<String>,
    /// `KEY=value` pairs.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub workdir: String,
}

impl RunConfig {
    /// What every WASM module runs with: it has no configuration of its own.
    pub(crate) fn wasm() -> Self {
        Self { workdir: "/".to_owned(), ..Self::default() }
    }

    /// The command line: the entrypoint, then `args`, or the image's own `cmd` when there are none.
    #[must_use]
    pub fn argv(&self, args: &[String]) -> Vec<String> {
        let tail = if args.is_empty() { &self.cmd } else { args };
        self.entrypoint.iter().chain(tail).cloned().collect()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let strings = || self.entrypoint.iter().chain(&self.cmd).chain(&self.env).chain([&self.workdir]);
        if strings().count() > limits::CONFIG_STRINGS_MAX {
            return Err(format!("config has more than {} strings", limits::CONFIG_STRINGS_MAX));
        }
        if strings().any(|text| text.len() > limits::CONFIG_STRING_BYTES_MAX) {
            return Err(format!("config has a string longer than {} bytes", limits::CONFIG_STRING_BYTES_MAX));
        }
        if strings().any(|text| text.contains('\0')) {
            return Err("config has a string with a NUL in it".to_owned());
        }
        if let Some(bad) = self.env.iter().find(|pair| pair.find('=').is_none_or(|at| at == 0)) {
            return Err(format!("environment entry {bad:?} is not KEY=value"));
        }
        if !self.workdir.starts_with('/') {
            return Err(format!("working directory {:?} is not absolute", self.workdir));
        }
        Ok(())
    }
}

/// The description of an image. The blobs of an OCI image are its manifest, its configuration and its layers, in that
/// order; those of a WASM image are the module alone.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Descriptor {
    /// OCI or WASM.
    pub kind: ImageKind,
    /// The image digest.
    pub digest: Digest,
    /// The blobs; the first one's digest is the image digest.
    pub blobs: Vec<BlobRef>,
    /// What to run.
    pub config: RunConfig,
}

impl Descriptor {
    /// The descriptor's id: its encoding hashed under its own domain.
    #[must_use]
    pub fn id(&self) -> ids::Digest {
        ids::Digest(hash_value(Domain::ImageDescriptor, self))
    }

    /// How the ledger names this image.
    #[must_use]
    pub fn image_ref(&self) -> ImageRef {
        ImageRef { kind: self.kind, digest: self.digest, descriptor: self.id() }
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes bytes from a stranger.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: String| Error::DecodeDescriptor { reason };
        let descriptor: Self = codec::decode("image descriptor", bytes, limits::DESCRIPTOR_BYTES_MAX)
            .map_err(|error| refuse(error.to_string()))?;
        descriptor.check().map_err(refuse)?;
        Ok(descriptor)
    }

    fn check(&self) -> Result<(), String> {
        if self.blobs.first().map(|blob| blob.digest) != Some(self.digest) {
            return Err("the first blob is not the image itself".to_owned());
        }
        let fits = match self.kind {
            ImageKind::Wasm => self.blobs.len() == 1 && self.blobs[0].size <= limits::MODULE_BYTES_MAX,
            ImageKind::Oci => (2..=limits::LAYERS_MAX + 2).contains(&self.blobs.len()),
        };
        if !fits {
            return Err(format!(
                "{} blobs of these sizes do not make a {:?} image",
                self.blobs.len(),
                self.kind
            ));
        }
        if let Some(blob) = self.blobs.iter().find(|blob| blob.size > limits::BLOB_BYTES_MAX) {
            return Err(format!("blob {} is larger than {} bytes", blob.digest, limits::BLOB_BYTES_MAX));
        }
        self.config.check()
    }
}
