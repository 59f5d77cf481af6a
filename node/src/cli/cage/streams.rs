//! The output of a running cage, shown as it grows.
//!
//! A stream is `NAME` with its newest bytes and `NAME.1` with those before: at half the bound the one becomes the
//! other.
//! Every byte that is still in a file when looked at is shown once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One stream and how far it was shown.
pub(super) struct Tail {
    path: PathBuf,
    to_stderr: bool,
    /// Inode of the file that was read last, and how far.
    seen: Option<(u64, u64)>,
}

impl Tail {
    /// The stream `name` of the cage whose state is in `dir`.
    pub fn new(dir: &Path, name: &str) -> Tail {
        Tail { path: dir.join(name), to_stderr: name.starts_with("stderr"), seen: None }
    }

    /// Writes what came since the last look to our own stream. A reader that went away is no failure of the cage.
    pub fn show_new(&mut self) {
        let bytes = self.take_new();
        if bytes.is_empty() {
            return;
        }
        let _ = if self.to_stderr {
            let mut out = std::io::stderr().lock();
            out.write_all(&bytes).and_then(|()| out.flush())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes).and_then(|()| out.flush())
        };
    }

    fn take_new(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let older = older(&self.path);
        // The file that was read last may have been moved aside: its rest comes first.
        if let Some((inode, at)) = self.seen
            && std::fs::metadata(&older).is_ok_and(|m| m.ino() == inode)
        {
            read_from(&older, at, &mut bytes);
            self.seen = None;
        }
        if let Ok(inode) = std::fs::metadata(&self.path).map(|m| m.ino()) {
            let at = self.seen.filter(|(seen, _)| *seen == inode).map_or(0, |(_, at)| at);
            let more = read_from(&self.path, at, &mut bytes);
            self.seen = Some((inode, at + more));
        }
        bytes
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Appends what `path` has from `at` on; returns how much that was.
fn read_from(path: &Path, at: u64, into: &mut Vec<u8>) -> u64 {
    let mut read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        file.read_to_end(into)
    };
    read().map_or(0, |n| n as u64)
}

/// What the files still have of a stream, as text.
pub(super) fn kept(dir: &Path, name: &str) -> String {
    let mut bytes = Vec::new();
    read_from(&older(&dir.join(name)), 0, &mut bytes);
    read_from(&dir.join(name), 0, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_once_across_its_rotation() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stdout.log");
        let mut tail = Tail::new(dir.path(), "stdout.log");
        assert_eq!(tail.take_new(), b"");
        std::fs::write(&path, "one ").expect("written");
        assert_eq!(tail.take_new(), b"one ");
        std::fs::write(&path, "one two ").expect("written");
        std::fs::rename(&path, older(&path)).expect("moved");
        std::fs::write(&path, "three").expect("written");
        assert_eq!(tail.take_new(), b"two three");
        assert_eq!(tail.take_new(), b"");
        assert_eq!(kept(dir.path(), "stdout.log"), "one two three");
    }
}
