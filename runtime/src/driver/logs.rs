//! Owns reading a cage's output while it runs and after. Refuses to read more than it is asked for: a log is as
//! large as the workload made it, and the reader may be a remote caller.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{AtPath, Result};

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The last `bytes_max` bytes that are kept of a stream; starts at a line when the cut would fall inside one.
pub(super) fn tail(run: &Path, stream: LogStream, bytes_max: usize) -> Result<Vec<u8>> {
    let name = match stream {
        LogStream::Stdout => "stdout.log",
        LogStream::Stderr => "stderr.log",
    };
    let newest = tail_of(&run.join(name), bytes_max)?;
    let left = bytes_max - newest.0.len();
    let older = if left > 0 { tail_of(&run.join(format!("{name}.1")), left)? } else { (Vec::new(), true) };
    let is_cut = newest.1 || older.1;
    let mut bytes = [older.0, newest.0].concat();
    if is_cut
        && let Some(end) = bytes.iter().position(|byte| *byte == b'\n').filter(|end| end + 1 < bytes.len())
    {
        bytes.drain(..=end);
    }
    Ok(bytes)
}

/// The end of a file, and whether something before it was left out.
fn tail_of(path: &Path, bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        other => other.at("open log", path)?,
    };
    let size = file.metadata().at("read log", path)?.len();
    let start = size.saturating_sub(bytes_max as u64);
    let mut bytes = vec![0; (size - start) as usize];
    let mut filled = 0;
    // The file may be cut or replaced while it is read: what is there counts.
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64).at("read log", path)? {
            0 => break,
            got => filled += got,
        }
    }
    bytes.truncate(filled);
    Ok((bytes, start > 0))
}
