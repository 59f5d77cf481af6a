//! Used nonces, outside the trees.
//!
//! Owns the buckets by expiry: a transaction's nonce is kept until its `valid_until` has passed, then the whole
//! bucket goes at once. Each bucket is a hash chain over `(sender, nonce)` in block order; the header commits the
//! live buckets. A bucket is live while some `valid_until` in it is not below the block's time.

use crate::draft::Draft;
use crate::error::Result;
use crate::keys;
use crate::store::Column;
use crate::view::{StateRead, decode, load};
use metanode_types::hash::{Domain, Hash, hash};
use metanode_types::ids::Address;
use metanode_types::limits::NONCE_BUCKET_MS;

/// Bucket of an expiry time.
pub fn bucket(valid_until: u64) -> u64 {
    valid_until / NONCE_BUCKET_MS
}

/// Whether the nonce was used before.
pub(crate) fn is_used(
    state: &impl StateRead,
    sender: &Address,
    nonce: u64,
    valid_until: u64,
) -> Result<bool> {
    Ok(state.raw(&keys::nonce(bucket(valid_until), sender, nonce))?.is_some())
}

/// Marks the nonce as used.
pub(crate) fn mark(draft: &mut Draft<'_>, sender: &Address, nonce: u64, valid_until: u64) -> Result<()> {
    assert!(valid_until >= draft.block.time_ms, "an expired transaction is invalid");
    let at = bucket(valid_until);
    let key = keys::nonce_bucket(at);
    let chain: Hash = load(draft, &key, "nonce bucket")?.unwrap_or_default();
    draft.put(key, &hash(Domain::NonceBucket, &[&chain, &sender.0, &nonce.to_be_bytes()]));
    draft.put(keys::nonce(at, sender, nonce), &());
    Ok(())
}

/// Live buckets' digest at the block's time, and the buckets that expired with it.
pub(crate) fn digest(draft: &Draft<'_>) -> Result<(Hash, Vec<u64>)> {
    let first_live = bucket(draft.block.time_ms);
    let all = keys::Key { column: Column::NonceBuckets, bytes: Vec::new() };
    let (mut live, mut expired) = (Vec::new(), Vec::new());
    for (key, value) in draft.rows(&all)? {
        let at = keys::leading_number(&key).unwrap_or(0);
        if at < first_live {
            expired.push(at);
        } else {
            live.extend_from_slice(&at.to_be_bytes());
            live.extend_from_slice(&decode::<Hash>(&value, "nonce bucket")?);
        }
    }
    Ok((hash(Domain::Nonces, &[&live]), expired))
}
