//! SHA-256 with one domain string per type, all in one table.
//!
//! Owns the domains and the one way to hash a typed value. Refuses to hash anything without a domain:
//! two types that happen to have the same bytes can never share a digest. Plain SHA-256 (no domain) is
//! offered only for content whose digest is fixed by others (OCI blobs, WASM modules, output streams).

use sha2::{Digest as _, Sha256};

/// A 32-byte SHA-256 digest.
pub type Hash = [u8; 32];

/// What a digest is about. The string of each variant is hashed before the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// Address of an account key.
    Address,
    /// Canonical genesis: the chain id.
    Genesis,
    /// Chain parameters.
    Params,
    /// Block header: the block id.
    Header,
    /// Body of a transaction.
    TxBody,
    /// Unsigned part of a transaction: the transaction id.
    Tx,
    /// Signed bytes of a transaction, as a leaf of `txs_root`.
    SignedTx,
    /// One validator, as a leaf of `validators_hash`.
    Validator,
    /// A prevote's or precommit's signed bytes.
    Vote,
    /// A proposal's signed bytes.
    Proposal,
    /// A receipt: the receipt id.
    Receipt,
    /// State record of a receipt's subject (before/after digests).
    Subject,
    /// Digest over the live buckets of used nonces.
    Nonces,
    /// One bucket of used nonces (hash chain).
    NonceBucket,
    /// Empty evidence list, or the list's digest.
    Evidence,
    /// Key of a state entry in a module's tree.
    StateKey,
    /// A named module root, as a leaf of `app_root`.
    ModuleRoot,
    /// A workload: what is asked.
    Workload,
    /// An image descriptor.
    ImageDescriptor,
    /// A content-addressed blob (length and chunk root).
    Blob,
    /// The rules under which a deployment was admitted.
    Agreement,
    /// Seed of a cage.
    Seed,
    /// A proof bundle's trailing checksum.
    Bundle,
    /// Inputs of a cage run: workload and seed.
    Inputs,
    /// A whole cage report.
    CageReport,
    /// What two runs of one workload must have in common.
    Outcome,
    /// A node's commitment to a cage report that it has not revealed yet.
    Commitment,
    /// A node's place in the draw of who runs a verified job.
    Draw,
}

impl Domain {
    /// Every domain, for the uniqueness test.
    pub const ALL: [Domain; 28] = [
        Domain::Address,
        Domain::Genesis,
        Domain::Params,
        Domain::Header,
        Domain::TxBody,
        Domain::Tx,
        Domain::SignedTx,
        Domain::Validator,
        Domain::Vote,
        Domain::Proposal,
        Domain::Receipt,
        Domain::Subject,
        Domain::Nonces,
        Domain::NonceBucket,
        Domain::Evidence,
        Domain::StateKey,
        Domain::ModuleRoot,
        Domain::Workload,
        Domain::ImageDescriptor,
        Domain::Blob,
        Domain::Agreement,
        Domain::Seed,
        Domain::Bundle,
        Domain::Inputs,
        Domain::CageReport,
        Domain::Outcome,
        Domain::Commitment,
        Domain::Draw,
    ];

    /// The domain's byte string. Frozen: changing one changes every digest of that type.
    pub const fn tag(self) -> &'static str {
        match self {
            Domain::Address => "metanode/address/v1",
            Domain::Genesis => "metanode/genesis/v1",
            Domain::Params => "metanode/params/v1",
            Domain::Header => "metanode/header/v1",
            Domain::TxBody => "metanode/tx-body/v1",
            Domain::Tx => "metanode/tx/v1",
            Domain::SignedTx => "metanode/signed-tx/v1",
            Domain::Validator => "metanode/validator/v1",
            Domain::Vote => "metanode/vote/v1",
            Domain::Proposal => "metanode/proposal/v1",
            Domain::Receipt => "metanode/receipt/v1",
            Domain::Subject => "metanode/subject/v1",
            Domain::Nonces => "metanode/nonces/v1",
            Domain::NonceBucket => "metanode/nonce-bucket/v1",
            Domain::Evidence => "metanode/evidence/v1",
            Domain::StateKey => "metanode/state-key/v1",
            Domain::ModuleRoot => "metanode/module-root/v1",
            Domain::Workload => "metanode/workload/v1",
            Domain::ImageDescriptor => "metanode/image-descriptor/v1",
            Domain::Blob => "metanode/blob/v1",
            Domain::Agreement => "metanode/agreement/v1",
            Domain::Seed => "metanode/seed/v1",
            Domain::Bundle => "metanode/bundle/v1",
            Domain::Inputs => "metanode/inputs/v1",
            Domain::CageReport => "metanode/cage-report/v1",
            Domain::Outcome => "metanode/outcome/v1",
            Domain::Commitment => "metanode/commitment/v1",
            Domain::Draw => "metanode/draw/v1",
        }
    }
}

/// Hashes `parts` under `domain`: SHA-256 of `len(tag) as u8 | tag | parts…`.
///
/// Callers pass one canonical encoding, or parts of fixed length, so that the concatenation is injective.
pub fn hash(domain: Domain, parts: &[&[u8]]) -> Hash {
    let tag = domain.tag().as_bytes();
    debug_assert!(tag.len() < 256, "a tag's length is one byte");
    let mut h = Sha256::new();
    h.update([tag.len() as u8]);
    h.update(tag);
    for part in parts {
        h.update(part);
    }
    h.finalize().into()
}

/// Hashes the canonical borsh encoding of `value` under `domain`.
pub fn hash_value<T: borsh::BorshSerialize + ?Sized>(domain: Domain, value: &T) -> Hash {
    hash(domain, &[&crate::codec::encode(value)])
}

/// Plain SHA-256, for content whose digest others define (OCI blobs, WASM modules, streams).
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_distinct_and_prefix_free() {
        for (i, a) in Domain::ALL.iter().enumerate() {
            for b in &Domain::ALL[i + 1..] {
                assert_ne!(a.tag(), b.tag());
                assert_ne!(hash(*a, &[b"x"]), hash(*b, &[b"x"]));
            }
        }
    }
}
