//! Owns streaming SHA-256 for content and for trees of files. The digest type itself is `types`' `ContentDigest`.
//! Refuses to know what is hashed: domains and layouts are stated by the callers.
//! Invariant: structured input goes through [`Hasher::field`], so no two field lists share an input.

pub(crate) use metanode_types::ids::ContentDigest as Digest;
use sha2::{Digest as _, Sha256};

/// The digest of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(metanode_types::hash::sha256(bytes))
}

/// The 64 hex digits that name a blob's file.
pub(crate) fn hex_of(digest: &Digest) -> String {
    hex::encode(digest.0)
}

/// SHA-256 over a stream.
#[derive(Default, Clone)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// A hasher whose input starts with `domain`, so that equal bytes of two kinds never collide.
    pub(crate) fn with_domain(domain: &'static str) -> Self {
        let mut hasher = Self::default();
        hasher.field(domain.as_bytes());
        hasher
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds `bytes` with their length in front.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.0.update(value.to_le_bytes());
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
