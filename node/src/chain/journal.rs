//! What consensus must find again after a crash: its write-ahead log, its sign history, undecided blocks.
//!
//! Owns the trait and the file form (`HOME/data/consensus/{wal,guard,blocks/}`). Every write that the effects call
//! durable is fsynced before the call returns. Refuses to carry on after a failed write: the caller stops the
//! process, and the next start finds what was durable. A torn end of the log is cut off and reported; damage in
//! its middle is an error that names the offset.

use metanode_consensus::{SignHistory, WalRecord, wal};
use metanode_types::block::Block;
use metanode_types::codec;
use metanode_types::ids::BlockId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The log is damaged in its middle.
    #[error("read the write-ahead log {path}: {source}; keep a copy, then restore this node from its peers")]
    Wal {
        /// Where.
        path: PathBuf,
        /// What is damaged.
        source: wal::WalError,
    },
    /// The sign history is damaged: without it this key must not sign.
    #[error(
        "read the sign history {path}: {source}; this validator must not sign until its history is imported"
    )]
    Guard {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        source: Box<metanode_consensus::HistoryError>,
    },
}

/// What was found at the start.
#[derive(Default)]
pub struct Recovered {
    /// Records of the log.
    pub records: Vec<WalRecord>,
    /// Undecided blocks.
    pub blocks: Vec<Block>,
    /// A torn end that was cut off, for the operator.
    pub torn: Option<String>,
}

/// Durable memory of consensus.
pub trait Journal: Send {
    /// Empties the log and forgets undecided blocks: a height begins.
    fn reset(&mut self) -> Result<(), JournalError>;
    /// Appends a record; durable after the next [`Journal::sync`].
    fn append(&mut self, record: &WalRecord) -> Result<(), JournalError>;
    /// Makes appended records durable.
    fn sync(&mut self) -> Result<(), JournalError>;
    /// Makes the history durable.
    fn persist_guard(&mut self, history: &SignHistory) -> Result<(), JournalError>;
    /// Makes an undecided block durable.
    fn persist_block(&mut self, id: BlockId, block: &Block) -> Result<(), JournalError>;
}

/// The journal on disk.
pub struct FileJournal {
    dir: PathBuf,
    wal: File,
    dirty: bool,
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io { what, path: path.to_owned(), source }
}

impl FileJournal {
    /// Opens or creates the journal in `dir` and reads what it holds.
    pub fn open(dir: &Path) -> Result<(FileJournal, Recovered), JournalError> {
        let blocks_dir = dir.join("blocks");
        fs::create_dir_all(&blocks_dir).map_err(io_error("create", &blocks_dir))?;
        let path = dir.join("wal");
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut wal = options.open(&path).map_err(io_error("open", &path))?;
        let mut bytes = Vec::new();
        wal.read_to_end(&mut bytes).map_err(io_error("read", &path))?;
        let found =
            wal::recover(&bytes).map_err(|source| JournalError::Wal { path: path.clone(), source })?;
        let mut torn = None;
        if let Some(t) = &found.torn {
            torn = Some(format!("{} bytes at offset {} of {}: {}", t.len, t.offset, path.display(), t.why));
            wal.set_len(found.valid_len as u64).map_err(io_error("cut", &path))?;
        }
        wal.sync_all().map_err(io_error("sync", &path))?;
        sync_dir(dir)?;
        let blocks = read_blocks(&blocks_dir)?;
        let recovered = Recovered { records: found.records, blocks, torn };
        Ok((FileJournal { dir: dir.to_owned(), wal, dirty: false }, recovered))
    }

    /// The sign history of this key, if it signed before.
    pub fn guard(&self) -> Result<Option<SignHistory>, JournalError> {
        let path = self.dir.join("guard");
        match fs::read(&path) {
            Ok(bytes) => {
                let history = SignHistory::from_bytes(&bytes);
                history.map(Some).map_err(|source| JournalError::Guard { path, source: Box::new(source) })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error("read", &path)(e)),
        }
    }
}

/// Undecided blocks; a half-written one was never promised to anybody and is skipped.
fn read_blocks(dir: &Path) -> Result<Vec<Block>, JournalError> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        match Block::decode(&bytes) {
            Ok(block) => out.push(block),
            Err(_) => fs::remove_file(&path).map_err(io_error("remove", &path))?,
        }
    }
    Ok(out)
}

fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))
}

/// Replaces `path` by `bytes`: written beside, synced, renamed, directory synced.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(io_error("create", &beside))?;
    file.write_all(bytes).map_err(io_error("write", &beside))?;
    file.sync_all().map_err(io_error("sync", &beside))?;
    fs::rename(&beside, path).map_err(io_error("rename", path))?;
    sync_dir(path.parent().expect("a file has a directory"))
}

impl Journal for FileJournal {
    fn reset(&mut self) -> Result<(), JournalError> {
        let path = self.dir.join("wal");
        self.wal.set_len(0).map_err(io_error("empty", &path))?;
        let blocks = self.dir.join("blocks");
        for entry in fs::read_dir(&blocks).map_err(io_error("list", &blocks))? {
            let file = entry.map_err(io_error("list", &blocks))?.path();
            fs::remove_file(&file).map_err(io_error("remove", &file))?;
        }
        self.dirty = true;
        Ok(())
    }

    fn append(&mut self, record: &WalRecord) -> Result<(), JournalError> {
        self.dirty = true;
        self.wal.write_all(&wal::encode(record)).map_err(io_error("append to", &self.dir.join("wal")))
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.dirty) {
            self.wal.sync_data().map_err(io_error("sync", &self.dir.join("wal")))?;
        }
        Ok(())
    }

    fn persist_guard(&mut self, history: &SignHistory) -> Result<(), JournalError> {
        write_atomic(&self.dir.join("guard"), &history.to_bytes())
    }

    fn persist_block(&mut self, id: BlockId, block: &Block) -> Result<(), JournalError> {
        let path = self.dir.join("blocks").join(hex::encode(id.0));
        if path.exists() {
            return Ok(());
        }
        write_atomic(&path, &codec::encode(block))
    }
}
