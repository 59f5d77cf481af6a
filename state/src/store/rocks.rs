//! The store on disk: RocksDB.
//!
//! Owns the database's options and the mapping of columns to four column families by how they are used: small
//! and hot (`state`), rewritten by every block (`tree`), appended and rarely read (`history`), looked up by
//! hash (`index`). Memory is bounded: one shared block cache and one budget for all write buffers.

use super::{Batch, Column, Op, Read, Row, Store, physical, scan_start, successor};
use crate::error::{Error, Result};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction,
    IteratorMode, LogLevel, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const FAMILIES: [&str; 4] = ["state", "tree", "history", "index"];
/// Blocks, indices and filters of all families.
const BLOCK_CACHE_BYTES: usize = 16 << 20;
/// Write buffers of all families together.
const WRITE_BUFFERS_BYTES: usize = 16 << 20;
/// Write buffer of one family.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Log on disk at most, before the oldest buffers are flushed.
const WAL_BYTES: u64 = 32 << 20;
/// Bits of the bloom filters per key: about one false hit in a hundred.
const BLOOM_BITS_PER_KEY: u8 = 10;
/// Files held open at most.
const OPEN_FILES: i32 = 256;

/// See the module.
pub struct RocksStore {
    db: DB,
    poisoned: AtomicBool,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RocksStore({:?})", self.db.path())
    }
}

fn family(column: Column) -> &'static str {
    use Column::*;
    match column {
        Meta | Entries | Pending | HeartbeatDue | NodeReplicas | Expiry | Nonces | NonceBuckets
        | Production | VerifyDue => "state",
        TreeNodes | TreeStale => "tree",
        Blocks | Certificates | Receipts | LogNodes => "history",
        BlockIds | Txs | ReceiptIds | SubjectReceipts | DeploymentReceipts => "index",
    }
}

fn database_options() -> Options {
    let mut o = Options::default();
    o.create_if_missing(true);
    o.create_missing_column_families(true);
    o.set_paranoid_checks(true);
    // Every commit is synced, so only a record that was never acknowledged may be torn.
    o.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    o.set_track_and_verify_wals_in_manifest(true);
    o.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    o.set_max_total_wal_size(WAL_BYTES);
    o.set_max_open_files(OPEN_FILES);
    o.set_max_background_jobs(2);
    o.set_keep_log_file_num(2);
    o.set_max_log_file_size(1 << 20);
    o.set_log_level(LogLevel::Warn);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    o
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY.into(), false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut o = Options::default();
    o.set_block_based_table_factory(&table);
    o.set_write_buffer_size(WRITE_BUFFER_BYTES);
    o.set_max_write_buffer_number(2);
    o
}

impl RocksStore {
    /// Opens or creates the database in `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
        let db =
            DB::open_cf_descriptors(&database_options(), path, families).map_err(|e| open_error(path, &e))?;
        Ok(RocksStore { db, poisoned: AtomicBool::new(false) })
    }

    fn check(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Acquire) { Err(Error::Poisoned) } else { Ok(()) }
    }

    fn family(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(family(column)).expect("every family is created on open")
    }

    fn get_with(&self, column: Column, key: &[u8], options: &ReadOptions) -> Result<Option<Vec<u8>>> {
        self.check()?;
        self.db.get_cf_opt(self.family(column), physical(column, key), options).map_err(read_error)
    }

    fn scan_with(
        &self,
        column: Column,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        mut options: ReadOptions,
    ) -> Result<Vec<Row>> {
        self.check()?;
        let start = scan_start(column, prefix, after);
        let end = successor(&physical(column, prefix)).expect("a column number is below 0xff");
        if start >= end {
            return Ok(Vec::new());
        }
        options.set_iterate_upper_bound(end);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let mut out = Vec::new();
        for row in self.db.iterator_cf_opt(self.family(column), options, mode).take(limit) {
            let (key, value) = row.map_err(read_error)?;
            out.push((key[1..].to_vec(), value.into_vec()));
        }
        Ok(out)
    }
}

fn read_error(e: rocksdb::Error) -> Error {
    Error::ReadStore(e.into_string())
}

fn open_error(path: &Path, e: &rocksdb::Error) -> Error {
    let why = e.to_string();
    let path = path.to_path_buf();
    if why.contains("/LOCK") { Error::HomeInUse { path } } else { Error::OpenStore { path, why } }
}

fn read_options() -> ReadOptions {
    let mut o = ReadOptions::default();
    o.set_verify_checksums(true);
    o
}

impl Read for RocksStore {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_with(column, key, &read_options())
    }
    fn scan(&self, column: Column, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>> {
        self.scan_with(column, prefix, after, limit, read_options())
    }
}

struct RocksSnapshot<'a> {
    store: &'a RocksStore,
    snapshot: SnapshotWithThreadMode<'a, DB>,
}

impl RocksSnapshot<'_> {
    fn options(&self) -> ReadOptions {
        let mut o = read_options();
        o.set_snapshot(&self.snapshot);
        o
    }
}

impl Read for RocksSnapshot<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.store.get_with(column, key, &self.options())
    }
    fn scan(&self, column: Column, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>> {
        self.store.scan_with(column, prefix, after, limit, self.options())
    }
}

impl Store for RocksStore {
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.check()?;
        let mut writes = WriteBatch::default();
        for op in batch.ops() {
            match op {
                Op::Put(c, k, v) => writes.put_cf(self.family(*c), physical(*c, k), v),
                Op::Delete(c, k) => writes.delete_cf(self.family(*c), physical(*c, k)),
                Op::DeletePrefix(c, prefix) => {
                    let from = physical(*c, prefix);
                    let to = successor(&from).expect("a column number is below 0xff");
                    writes.delete_range_cf(self.family(*c), from, to);
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(writes, &options).map_err(|e| {
            self.poisoned.store(true, Ordering::Release);
            Error::CommitStore(e.into_string())
        })
    }

    fn snapshot(&self) -> Result<Box<dyn Read + '_>> {
        self.check()?;
        Ok(Box::new(RocksSnapshot { store: self, snapshot: self.db.snapshot() }))
    }
}
