//! Proof bundles: a receipt with everything a stranger needs to check it offline.
//!
//! Owns the container's bytes (magic, borsh, checksum) and its canonical form. A *core* bundle holds the
//! receipt, its predecessor in the subject's chain, the assignment it was made under, the causing transaction,
//! one certified header and inclusion paths that share their hashes. A *full* bundle adds the header chain
//! from height 1, the receipt's block and all receipts of that block. Refuses to judge: that is
//! [`crate::verify`].

use crate::account::{AccountKey, AccountSignature};
use crate::block::{Block, Header};
use crate::certificate::Certificate;
use crate::codec::{self, DecodeError, bounded_vec, invalid};
use crate::hash::{Domain, Hash, hash};
use crate::ids::ChainId;
use crate::limits::{MAX_BUNDLE_BYTES, MAX_PROOF_HASHES};
use crate::receipt::Receipt;
use crate::tx::{SignedTx, TxBody, TxEnvelope};
use borsh::{BorshDeserialize, BorshSerialize};

/// First bytes of every bundle file.
pub const MAGIC: &[u8; 8] = b"MNPROOF1";
/// A body longer than this is left out of a core bundle; its hash stays.
pub const MAX_CORE_BODY_BYTES: usize = 1024;
/// Bytes of the trailing checksum.
const CHECKSUM_BYTES: usize = 8;

/// A receipt with its place in the log.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize)]
pub struct BundledReceipt {
    /// Leaf index in the receipts log.
    pub log_index: u64,
    /// Inclusion path as indices into [`Bundle::hashes`].
    pub path: Vec<u8>,
    /// The receipt.
    pub receipt: Receipt,
}

impl BorshDeserialize for BundledReceipt {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(BundledReceipt {
            log_index: u64::deserialize_reader(r)?,
            path: bounded_vec(r, MAX_PROOF_HASHES)?,
            receipt: Receipt::deserialize_reader(r)?,
        })
    }
}

/// The transaction that caused a receipt.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Cause {
    /// What was signed.
    pub envelope: TxEnvelope,
    /// What it does; absent when longer than [`MAX_CORE_BODY_BYTES`].
    pub body: Option<TxBody>,
    /// Key of the signer.
    pub key: AccountKey,
    /// Signature of the id.
    pub signature: AccountSignature,
}

impl Cause {
    /// Takes what a core bundle holds of `tx`.
    pub fn of(tx: &SignedTx) -> Cause {
        let small = codec::encode(&tx.body).len() <= MAX_CORE_BODY_BYTES;
        Cause {
            envelope: tx.envelope.clone(),
            body: small.then(|| tx.body.clone()),
            key: tx.key,
            signature: tx.signature,
        }
    }
}

/// What `--full` adds.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize)]
pub struct FullPart {
    /// Headers from height 1 to the one before the certified header.
    pub headers: Vec<Header>,
    /// The block that made the receipt.
    pub block: Block,
    /// Every receipt of that block, in log order.
    pub receipts: Vec<Receipt>,
    /// Consistency proof from the log before that block to the certified log; absent when the log before
    /// that block is empty or equal.
    pub consistency: Vec<Hash>,
    /// State that the block read, with proofs against the parent's roots (opaque here; replayed by `state`).
    pub witness: Vec<u8>,
}

impl BorshDeserialize for FullPart {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(FullPart {
            headers: bounded_vec(r, MAX_BUNDLE_BYTES / 512)?,
            block: Block::deserialize_reader(r)?,
            receipts: bounded_vec(r, 1 << 20)?,
            consistency: bounded_vec(r, MAX_PROOF_HASHES)?,
            witness: bounded_vec(r, MAX_BUNDLE_BYTES)?,
        })
    }
}

/// A proof bundle.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize)]
pub struct Bundle {
    /// Chain that the bundle is from.
    pub chain_id: ChainId,
    /// A certified header whose receipts log holds every receipt here.
    pub header: Header,
    /// Certificate of that header.
    pub certificate: Certificate,
    /// The receipt in question, then its predecessor, then its assignment, each only if it exists and is not
    /// already there.
    pub receipts: Vec<BundledReceipt>,
    /// Hashes of all inclusion paths, each once, in the order of first use.
    pub hashes: Vec<Hash>,
    /// Transaction that caused the receipt; absent for what the state machine does by itself.
    pub cause: Option<Cause>,
    /// What `--full` adds.
    pub full: Option<FullPart>,
}

impl BorshDeserialize for Bundle {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let bundle = Bundle {
            chain_id: ChainId::deserialize_reader(r)?,
            header: Header::deserialize_reader(r)?,
            certificate: Certificate::deserialize_reader(r)?,
            receipts: bounded_vec(r, 3)?,
            hashes: bounded_vec(r, 256)?,
            cause: Option::deserialize_reader(r)?,
            full: Option::deserialize_reader(r)?,
        };
        if bundle.receipts.is_empty() {
            return Err(invalid("a bundle holds at least one receipt"));
        }
        Ok(bundle)
    }
}

impl Bundle {
    /// Builds the shared hash table from one path per receipt. `None` when there are more than 256 hashes.
    pub fn share_paths(items: Vec<(u64, Receipt, Vec<Hash>)>) -> Option<(Vec<BundledReceipt>, Vec<Hash>)> {
        let mut hashes: Vec<Hash> = Vec::new();
        let mut out = Vec::with_capacity(items.len());
        for (log_index, receipt, path) in items {
            let mut indices = Vec::with_capacity(path.len());
            for h in path {
                let at = hashes.iter().position(|x| *x == h).unwrap_or_else(|| {
                    hashes.push(h);
                    hashes.len() - 1
                });
                indices.push(u8::try_from(at).ok()?);
            }
            out.push(BundledReceipt { log_index, path: indices, receipt });
        }
        Some((out, hashes))
    }

    /// The inclusion path of receipt `i`, or `None` when an index lies outside the table.
    pub fn path(&self, i: usize) -> Option<Vec<Hash>> {
        self.receipts.get(i)?.path.iter().map(|at| self.hashes.get(*at as usize).copied()).collect()
    }

    /// True when the hash table is the one that [`Bundle::share_paths`] makes.
    pub fn is_canonical(&self) -> bool {
        let mut items = Vec::new();
        for (i, r) in self.receipts.iter().enumerate() {
            let Some(path) = self.path(i) else { return false };
            items.push((r.log_index, r.receipt.clone(), path));
        }
        Bundle::share_paths(items).is_some_and(|(r, h)| r == self.receipts && h == self.hashes)
    }

    /// Bytes of the bundle: magic, borsh, checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&codec::encode(self));
        let sum = hash(Domain::Bundle, &[&out]);
        out.extend_from_slice(&sum[..CHECKSUM_BYTES]);
        out
    }

    /// Reads bytes from outside.
    pub fn from_bytes(bytes: &[u8]) -> Result<Bundle, DecodeError> {
        let what = "proof bundle";
        let fail = |why: &str| Err(DecodeError::Malformed { what, why: why.into() });
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(DecodeError::TooLong { what, len: bytes.len(), cap: MAX_BUNDLE_BYTES });
        }
        if bytes.len() < MAGIC.len() + CHECKSUM_BYTES || &bytes[..MAGIC.len()] != MAGIC {
            return fail("it does not begin with MNPROOF1: not a proof bundle, or cut short");
        }
        let (content, sum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if hash(Domain::Bundle, &[content])[..CHECKSUM_BYTES] != *sum {
            return fail("the checksum does not match: the file was altered or cut short");
        }
        codec::decode(what, &content[MAGIC.len()..], MAX_BUNDLE_BYTES)
    }
}
