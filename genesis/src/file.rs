//! Reading and writing `genesis.json`.
//!
//! Owns the bound on the file's size and the one way to write it: a complete new file takes the place of the
//! old one, so that a crash leaves either. The text written is a function of the value alone.

use crate::error::Error;
use crate::genesis::Genesis;
use crate::spec::GenesisSpec;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Bytes of one genesis file at most.
pub const MAX_GENESIS_BYTES: usize = 4 * 1024 * 1024;

impl GenesisSpec {
    /// Parses the text of a file. Unknown and repeated fields are refused by name, line and column.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_GENESIS_BYTES {
            return Err(Error::TooLong { cap: MAX_GENESIS_BYTES });
        }
        serde_json::from_slice(text).map_err(Error::Parse)
    }

    /// Reads and parses a file, which need not be valid yet.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = || {
            let mut text = Vec::new();
            File::open(path)?.take(MAX_GENESIS_BYTES as u64 + 1).read_to_end(&mut text)?;
            io::Result::Ok(text)
        };
        Self::parse(&read().map_err(|source| Error::Read { path: path.to_owned(), source })?)
    }

    /// The text of the file: two spaces of indentation, fields in the order of the type, a final newline.
    pub fn to_json_pretty(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("every key is a text and every value finite");
        text.push('\n');
        text
    }

    /// Writes the file so that a crash leaves the old one or the new one, complete.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        replace(path, self.to_json_pretty().as_bytes())
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}

impl Genesis {
    /// Parses and checks the text of a file.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        Genesis::from_spec(GenesisSpec::parse(text)?)
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Genesis::from_spec(GenesisSpec::load(path)?)
    }

    /// The canonical text: equal for every two files of one chain.
    pub fn to_json_pretty(&self) -> String {
        self.spec().to_json_pretty()
    }

    /// Writes the canonical text.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.spec().save(path)
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let mut draft_name = name.to_owned();
    draft_name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(draft_name);
    let write = || {
        let mut file = File::create_new(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        // The directory's entry must survive a crash, too.
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // Best effort: the write's own error is the one that matters.
        let _ = std::fs::remove_file(&draft);
    }
    written
}
