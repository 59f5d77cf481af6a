//! Failures of this node on their way to a caller.
//!
//! Owns the one place where a broken store, a full disk or an ambiguous prefix becomes an error with a next
//! step. A fault of the node is `internal`; what the caller can mend says how. Locks are taken here: a thread
//! that panicked leaves data that was whole between any two statements, so the next one goes on.

use metanode_rpc::backend::IdPrefix;
use metanode_rpc::error::BackendError;
use metanode_state::View;
use metanode_state::store::Column;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ids shown of those that a prefix fits.
const SHOWN: usize = 4;
/// Ids counted of those that a prefix fits.
const COUNTED: usize = 1000;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ledger could not be read.
pub(super) fn broken(error: metanode_state::Error) -> BackendError {
    BackendError::internal(format!("read the ledger: {error}"))
        .next("look into the node's log; it may have to restart")
}

/// The ledger lacks what it must hold.
pub(super) fn gone(what: impl std::fmt::Display) -> BackendError {
    BackendError::internal(format!("the ledger of this node lacks {what}")).next("ask another node")
}

/// A file could not be read or written.
pub(super) fn disk(intent: &str, path: &Path, error: &std::io::Error) -> BackendError {
    BackendError::internal(format!("{intent} {}: {error}", path.display()))
}

/// Nothing has this beginning.
pub(super) fn absent(what: &str, prefix: &IdPrefix) -> BackendError {
    let why = format!("no {what} begins with {}", prefix.as_str());
    BackendError::not_found(why)
        .next("check the id; this node may also not have it yet: compare its height with others")
}

/// Several ids have this beginning: counts them and shows some.
pub(super) fn ambiguous(
    view: &View<'_>,
    column: Column,
    what: &str,
    sign: &str,
    prefix: &IdPrefix,
) -> BackendError {
    let (low, high) = (prefix.low(), prefix.high());
    let whole = low.iter().zip(&high).take_while(|(a, b)| a == b).count();
    let rows = match view.store().scan(column, &low[..whole], None, COUNTED) {
        Ok(rows) => rows,
        Err(error) => return broken(error),
    };
    let ids: Vec<&[u8]> =
        rows.iter().map(|(key, _)| &key[..]).filter(|k| *k >= &low[..] && *k <= &high[..]).collect();
    let more = if rows.len() == COUNTED { "at least " } else { "" };
    let shown: Vec<String> = ids.iter().take(SHOWN).map(|id| format!("{sign}{}", hex::encode(id))).collect();
    let why = format!("{more}{} {what}s begin with {}: {}", ids.len(), prefix.as_str(), shown.join(", "));
    let dots = if ids.len() > SHOWN { ", …" } else { "" };
    BackendError::invalid(why + dots).next("give more digits")
}
