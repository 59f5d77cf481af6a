//! The store in memory, with the crash semantics of a disk.
//!
//! Owns [`MemStore`]: commits are durable at once unless a fault is set; [`MemStore::crash`] gives what a disk
//! would hold after the process and the machine died. Snapshots share the data and cost nothing until the
//! next commit.

use super::{Batch, Column, Op, Read, Row, Store, physical, scan_start, successor};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(super) type Data = BTreeMap<Vec<u8>, Vec<u8>>;

/// A failure to inject into the next commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The next commit writes nothing and fails.
    FailWrite,
    /// The next commit writes, its sync fails: visible to this process until a crash undoes it.
    FailSync,
    /// Commits claim success but are never synced, as on a disk that lies; a crash undoes them all.
    LoseSyncs,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) live: Arc<Data>,
    /// Previous values of what was written since the last sync, newest last.
    undo: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    fault: Option<Fault>,
    poisoned: bool,
}

/// See the module.
#[derive(Default)]
pub struct MemStore {
    inner: RwLock<Inner>,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        MemStore::default()
    }

    /// Sets the failure of the next commits; `None` heals a lying disk.
    pub fn inject(&self, fault: Option<Fault>) {
        self.write().fault = fault;
    }

    /// What is left after the process and the machine died: unsynced writes are gone, faults and poison too.
    pub fn crash(&self) {
        let inner = &mut *self.write();
        let data = Arc::make_mut(&mut inner.live);
        for (key, old) in inner.undo.drain(..).rev() {
            match old {
                Some(value) => data.insert(key, value),
                None => data.remove(&key),
            };
        }
        inner.fault = None;
        inner.poisoned = false;
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
    fn current(&self) -> Result<Arc<Data>> {
        let inner = self.read();
        if inner.poisoned { Err(Error::Poisoned) } else { Ok(inner.live.clone()) }
    }
}

impl Inner {
    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let data = Arc::make_mut(&mut self.live);
        let old = match value {
            Some(value) => data.insert(key.clone(), value),
            None => data.remove(&key),
        };
        self.undo.push((key, old));
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(c, k, v) => self.set(physical(*c, k), Some(v.clone())),
            Op::Delete(c, k) => self.set(physical(*c, k), None),
            Op::DeletePrefix(c, prefix) => {
                let prefix = physical(*c, prefix);
                let end = successor(&prefix).expect("a column number is below 0xff");
                let keys: Vec<Vec<u8>> = self.live.range(prefix..end).map(|(k, _)| k.clone()).collect();
                keys.into_iter().for_each(|k| self.set(k, None));
            }
        }
    }
}

fn scan(data: &Data, column: Column, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
    let start = scan_start(column, prefix, after);
    let end = successor(&physical(column, prefix)).expect("a column number is below 0xff");
    if start >= end {
        return Vec::new();
    }
    let range = (Bound::Included(start), Bound::Excluded(end));
    data.range(range).take(limit).map(|(k, v)| (k[1..].to_vec(), v.clone())).collect()
}

struct MemSnapshot(Arc<Data>);

impl Read for MemSnapshot {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(&physical(column, key)).cloned())
    }
    fn scan(&self, column: Column, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>> {
        Ok(scan(&self.0, column, prefix, after, limit))
    }
}

impl Read for MemStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.current()?.get(&physical(column, key)).cloned())
    }
    fn scan(&self, column: Column, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>> {
        Ok(scan(&*self.current()?, column, prefix, after, limit))
    }
}

impl Store for MemStore {
    fn commit(&self, batch: &Batch) -> Result<()> {
        let inner = &mut *self.write();
        if inner.poisoned {
            return Err(Error::Poisoned);
        }
        let fault = inner.fault;
        if fault == Some(Fault::FailWrite) {
            inner.poisoned = true;
            return Err(Error::CommitStore("injected write failure".into()));
        }
        batch.ops().iter().for_each(|op| inner.apply(op));
        match fault {
            None => inner.undo.clear(),
            Some(Fault::FailSync) => {
                inner.poisoned = true;
                return Err(Error::CommitStore("injected sync failure".into()));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(MemSnapshot(self.current()?)))
    }
}
