//! Owns reading an OCI image layout, a directory or an uncompressed tar of one, and choosing the image in it.
//! Refuses to trust any name: files are opened without following the last symlink, must be regular, and every
//! blob's bytes are checked against digest and size by whoever copies them (`read_document` for the small ones,
//! `store` for the rest).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::oci::{Index, Link};
use crate::digest::{Digest, digest_of, hex_of};
use crate::error::{AtPath, Error, Result};
use crate::limits;

/// An opened layout.
pub(crate) struct Layout {
    path: PathBuf,
    form: Form,
}

enum Form {
    Directory,
    /// Offset and size of every regular file in the archive.
    Tar {
        archive: Arc<File>,
        files: BTreeMap<String, (u64, u64)>,
    },
}

/// A part of a file, read without moving the file's own position.
struct Window {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

/// Opens a regular file for reading; never blocks on a FIFO and never follows a symlink at the end of the path.
pub(crate) fn open_regular(path: &Path, follow: bool) -> io::Result<(File, u64)> {
    let no_follow = if follow { 0 } else { libc::O_NOFOLLOW };
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | no_follow).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, metadata.len()))
}

impl Layout {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).at("open image layout", path)?;
        let form = if metadata.is_dir() { Form::Directory } else { Self::scan_tar(path)? };
        let layout = Self { path: path.to_path_buf(), form };
        layout.check_version()?;
        Ok(layout)
    }

    fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::ReadLayout { path: self.path.clone(), reason: reason.into() }
    }

    fn scan_tar(path: &Path) -> Result<Form> {
        let refuse = |reason: String| Error::ReadLayout { path: path.to_path_buf(), reason };
        let (file, _) = open_regular(path, true).at("open image layout", path)?;
        let mut magic = [0; 4];
        if file.read_at(&mut magic, 0).is_ok_and(|n| n == 4)
            && (magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd])
        {
            return Err(refuse(
                "the archive is compressed: decompress it first (gzip -d, zstd -d)".to_owned(),
            ));
        }
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(&file);
        let entries = archive.entries_with_seek().at("read image layout", path)?;
        // Raw entries: a layout's own names are short, so no long-name extension is needed or read into memory.
        for entry in entries.raw(true) {
            let entry = entry.map_err(|error| refuse(format!("not a readable tar: {error}")))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            let size = entry.header().entry_size().map_err(|error| refuse(error.to_string()))?;
            files.insert(name, (entry.raw_file_position(), size));
            if files.len() > limits::LAYOUT_FILES_MAX {
                return Err(refuse(format!("more than {} files", limits::LAYOUT_FILES_MAX)));
            }
        }
        Ok(Form::Tar { archive: Arc::new(file), files })
    }

    /// Opens one file of the layout and says how large it is.
    fn open_file(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        match &self.form {
            Form::Directory => {
                let (file, size) = open_regular(&self.path.join(name), false)?;
                Ok((Box::new(file), size))
            }
            Form::Tar { archive, files } => {
                let &(at, size) = files.get(name).ok_or(io::ErrorKind::NotFound)?;
                Ok((Box::new(Window { file: Arc::clone(archive), at, left: size }), size))
            }
        }
    }

    fn read_file(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>> {
        let (reader, size) = self.open_file(name).map_err(|error| self.refuse(format!("{name}: {error}")))?;
        if size > bytes_max {
            return Err(self.refuse(format!("{name} has {size} bytes, at most {bytes_max} are allowed")));
        }
        let mut bytes = Vec::new();
        reader
            .take(bytes_max)
            .read_to_end(&mut bytes)
            .map_err(|error| self.refuse(format!("{name}: {error}")))?;
        Ok(bytes)
    }

    fn check_version(&self) -> Result<()> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let bytes = self.read_file("oci-layout", limits::MANIFEST_BYTES_MAX)?;
        let marker: Marker =
            serde_json::from_slice(&bytes).map_err(|error| self.refuse(format!("oci-layout: {error}")))?;
        if marker.image_layout_version != "1.0.0" {
            return Err(
                self.refuse(format!("layout version {:?}, expected \"1.0.0\"", marker.image_layout_version))
            );
        }
        Ok(())
    }

    /// Opens a blob. Its digest is not checked here: the reader must.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<(Box<dyn Read>, u64)> {
        self.open_file(&format!("blobs/sha256/{}", hex_of(digest))).map_err(|error| Error::ImportBlob {
            blob: *digest,
            reason: format!("cannot open it in {}: {error}", self.path.display()),
        })
    }

    /// Reads and verifies a small blob.
    pub(crate) fn read_document(&self, link: &Link) -> Result<Vec<u8>> {
        let refuse = |reason: String| Error::ImportBlob { blob: link.digest, reason };
        if link.size > limits::MANIFEST_BYTES_MAX {
            return Err(refuse(format!(
                "{} bytes, at most {} are allowed",
                link.size,
                limits::MANIFEST_BYTES_MAX
            )));
        }
        let (reader, _) = self.open_blob(&link.digest)?;
        let mut bytes = Vec::new();
        reader.take(link.size + 1).read_to_end(&mut bytes).map_err(|error| refuse(error.to_string()))?;
        if bytes.len() as u64 != link.size {
            return Err(refuse(format!("size differs from the {} bytes its descriptor says", link.size)));
        }
        let found = digest_of(&bytes);
        if found != link.digest {
            return Err(refuse(format!("content has digest {found}")));
        }
        Ok(bytes)
    }

    /// The one linux/amd64 image manifest of the layout, or the one `select` leads to.
    pub(crate) fn choose(&self, select: Option<Digest>) -> Result<Link> {
        let bytes = self.read_file("index.json", limits::MANIFEST_BYTES_MAX)?;
        let top = Index::parse(&bytes).map_err(|reason| self.refuse(reason))?;
        let mut found = BTreeMap::new();
        self.collect(&top, select, 0, &mut found)?;
        let mut links = found.into_values();
        match (links.next(), links.next()) {
            (Some(link), None) => Ok(link),
            (None, _) => Err(self.refuse(match select {
                Some(digest) => format!("{digest} leads to no linux/amd64 image in it"),
                None => "no linux/amd64 image in it".to_owned(),
            })),
            (Some(first), Some(second)) => Err(self.refuse(format!(
                "several images in it; choose one with oci:PATH@DIGEST, for example {} or {}",
                first.digest, second.digest
            ))),
        }
    }

    fn collect(
        &self,
        index: &Index,
        select: Option<Digest>,
        depth: usize,
        found: &mut BTreeMap<Digest, Link>,
    ) -> Result<()> {
        for link in &index.manifests {
            let selected = select.is_none_or(|digest| digest == link.digest);
            if link.is_manifest() && selected && link.may_be_ours() {
                found.insert(link.digest, link.clone());
            } else if link.is_index() && link.may_be_ours() {
                if depth == limits::INDEX_DEPTH_MAX {
                    return Err(
                        self.refuse(format!("indexes nested deeper than {}", limits::INDEX_DEPTH_MAX))
                    );
                }
                let refuse = |reason| Error::ImportBlob { blob: link.digest, reason };
                let nested = Index::parse(&self.read_document(link)?).map_err(refuse)?;
                // Below the selected index everything counts.
                let select = if selected { None } else { select };
                self.collect(&nested, select, depth + 1, found)?;
            }
        }
        Ok(())
    }
}
