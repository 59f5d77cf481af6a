//! What a replica wrote, from the node that holds it.
//!
//! Owns finding the right cage: the newest epoch of the replica that this node ran, unless the ledger has
//! since given the replica to another node. Refuses to guess: a caller at the wrong node is told the right
//! one.
//!
//! Positions count from the oldest byte that is kept. Until half of the bound is used nothing was ever
//! dropped, so they are positions in the stream; beyond it the cage does not tell how much it dropped, and
//! they are lower bounds.

use super::deployments::{last_holder, node_name, replica};
use super::fault::lock;
use metanode_rpc::backend::Answer;
use metanode_rpc::error::BackendError;
use metanode_rpc::views::{LogStream, LogsView};
use metanode_runtime::driver::{Driver, LogStream as CageStream};
use metanode_runtime::reconcile::CageKey;
use metanode_state::View;
use metanode_types::ids::{Address, Name};
use metanode_types::tx::NodeSpec;
use std::sync::Mutex;

/// Whose output is asked for.
pub struct Wanted<'a> {
    /// Deployment.
    pub deployment: &'a Name,
    /// Replica.
    pub index: u32,
    /// Stream.
    pub stream: LogStream,
    /// Bytes at most.
    pub tail: usize,
    /// Bytes that a node keeps of a stream.
    pub kept: u64,
}

/// The end of a replica's output.
pub fn tail(
    view: &View<'_>,
    driver: Option<&Mutex<Driver>>,
    me: (&Address, &NodeSpec),
    wanted: &Wanted<'_>,
) -> Answer<LogsView> {
    let record = replica(view, wanted.deployment, wanted.index)?;
    let what = format!("replica {}", record.id);
    let Some((holder, epoch)) = last_holder(view, &record)? else {
        let why = format!("no node has held {what} yet");
        return Err(BackendError::unavailable(why).next("see why with deployment_explain"));
    };
    if holder != *me.0 {
        let name = node_name(view, &holder)?.map_or_else(|| holder.short(), |name| name.to_string());
        let why = format!("node {name} ({holder}) holds the output of {what}, this is {}", me.1.name);
        return Err(BackendError::unavailable(why).next(format!("ask the interface of node {name}")));
    }
    let driver = driver.ok_or_else(|| BackendError::unavailable("this node runs no workloads"))?;
    let key = CageKey { replica: record.id.clone(), epoch };
    let driver = lock(driver);
    if !driver.cages().iter().any(|(cage, _)| *cage == key) {
        let why =
            format!("no cage of {what} (epoch {epoch}) is here: it has not been started, or was cleaned up");
        return Err(BackendError::unavailable(why).next("try again when deployment_get says that it runs"));
    }
    let stream = match wanted.stream {
        LogStream::Stdout => CageStream::Stdout,
        LogStream::Stderr => CageStream::Stderr,
    };
    let kept = driver.logs(&key, stream, usize::try_from(wanted.kept).unwrap_or(usize::MAX));
    let kept = kept.map_err(|e| BackendError::internal(format!("read the output of {what}: {e}")))?;
    drop(driver);
    let start = tail_start(&kept, wanted.tail);
    Ok(LogsView {
        deployment: wanted.deployment.clone(),
        replica: wanted.index,
        stream: wanted.stream,
        node: me.1.name.clone(),
        offset: start as u64,
        dropped: None,
        text: String::from_utf8_lossy(&kept[start..]).into_owned(),
    })
}

/// Where the last `tail` bytes begin, moved on to the next line when the cut would fall inside one.
fn tail_start(bytes: &[u8], tail: usize) -> usize {
    let start = bytes.len().saturating_sub(tail);
    if start == 0 || bytes[start - 1] == b'\n' {
        return start;
    }
    let line_end = bytes[start..].iter().position(|byte| *byte == b'\n');
    line_end.map(|end| start + end + 1).filter(|next| *next < bytes.len()).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::tail_start;

    #[test]
    fn a_tail_begins_at_a_line_unless_one_line_fills_it() {
        let text = b"one\ntwo\nthree\n";
        let tail = |n| std::str::from_utf8(&text[tail_start(text, n)..]).unwrap();
        assert_eq!((tail(100), tail(14)), ("one\ntwo\nthree\n", "one\ntwo\nthree\n"));
        assert_eq!((tail(13), tail(10), tail(9)), ("two\nthree\n", "two\nthree\n", "three\n"));
        assert_eq!((tail(6), tail(5), tail(0)), ("three\n", "hree\n", ""));
        assert_eq!(tail_start(b"abcdef", 3), 3, "a single long line is cut");
    }
}
