//! The two output streams: kept within a bound, hashed in full.
//!
//! Owns `NAME.log` and `NAME.log.1`. The newest bytes are kept: when the file reaches half the bound it
//! becomes `.1` and replaces the older one. The digest and the count cover every byte, kept or not. A disk
//! that refuses a write costs log lines, never the workload; the loss is counted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, sys};

/// One stream on its way from the program to the disk.
pub(crate) struct Stream {
    path: PathBuf,
    file: File,
    half: u64,
    in_file: u64,
    in_older: u64,
    hash: Sha256,
    /// Bytes that came.
    pub total: u64,
    /// Bytes that are not in the files any more.
    pub dropped: u64,
    source: Option<OwnedFd>,
}

impl Stream {
    /// Creates the log file `name` in `dir`, for at most `bound` bytes.
    pub(crate) fn create(dir: &Path, name: &str, bound: u64) -> Result<Self, Error> {
        let path = dir.join(name);
        let file = create(&path).map_err(|source| Error::WriteState { path: path.clone(), source })?;
        let hash = Sha256::new();
        Ok(Self {
            path,
            file,
            half: bound / 2,
            in_file: 0,
            in_older: 0,
            hash,
            total: 0,
            dropped: 0,
            source: None,
        })
    }

    /// Starts reading from the program's end.
    pub(crate) fn attach(&mut self, source: OwnedFd) -> std::io::Result<()> {
        sys::set_nonblocking(source.as_fd())?;
        self.source = Some(source);
        Ok(())
    }

    /// The descriptor to wait for, while the stream is open.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(AsFd::as_fd)
    }

    /// Takes what has come, at most `rounds` buffers of it, so that one stream cannot starve the other or the
    /// clock.
    pub(crate) fn pump(&mut self, buffer: &mut [u8], rounds: usize) {
        for _ in 0..rounds {
            let Some(source) = &self.source else { return };
            match sys::read(source.as_fd(), buffer) {
                Ok(0) => self.source = None,
                Ok(n) => self.take(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.source = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.total += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.in_file >= self.half {
                self.rotate();
            }
            let room = (self.half - self.in_file).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at(room);
            match self.file.write_all(now) {
                Ok(()) => self.in_file += room as u64,
                Err(_) => self.dropped += room as u64,
            }
            rest = later;
        }
    }

    fn rotate(&mut self) {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        let rotated = std::fs::rename(&self.path, older).and_then(|()| create(&self.path));
        match rotated {
            Ok(file) => {
                self.file = file;
                self.dropped += self.in_older;
                self.in_older = self.in_file;
            }
            Err(_) => {
                // The bound matters more than the bytes: start the same file again.
                let _ = self.file.set_len(0);
                let _ = std::io::Seek::rewind(&mut self.file);
                self.dropped += self.in_file;
            }
        }
        self.in_file = 0;
    }

    /// The digest of everything that came.
    pub(crate) fn digest(self) -> String {
        sys::hex(&self.hash.finalize())
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(path)
}
