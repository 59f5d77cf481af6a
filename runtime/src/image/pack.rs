//! Owns `image pack`: a directory or one static binary becomes an OCI image layout. Refuses devices, FIFOs, sockets
//! and dynamically linked single binaries (their loader would be missing at run time). Invariant: the same input
//! gives the same bytes. Names are sorted, times and owners are zero, modes are normalised as at unpacking, and the
//! layer is stored plain, so that no compressor's version can change a digest.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::descriptor::RunConfig;
use super::unpack::normal_mode;
use crate::digest::{Digest, Hasher, digest_of, hex_of};
use crate::error::{AtPath, Error, Result};
use crate::limits;

/// What to pack.
#[derive(Clone, Debug)]
pub struct PackSpec {
    /// A directory that becomes the root, or a static binary that becomes `/NAME`.
    pub source: PathBuf,
    /// What to run. An empty entrypoint means `/NAME` for a binary and nothing for a directory; an empty working
    /// directory means `/`.
    pub config: RunConfig,
}

/// Writes the layout to `into`, a directory that does not exist yet; returns the image digest.
pub fn pack(spec: &PackSpec, into: &Path) -> Result<Digest> {
    let source = &spec.source;
    let refuse = |reason: String| Error::PackImage { path: source.clone(), reason };
    let metadata = fs::metadata(source).at("read", source)?;
    let mut config = spec.config.clone();
    if config.workdir.is_empty() {
        config.workdir = "/".to_owned();
    }
    let blobs = into.join("blobs/sha256");
    fs::create_dir(into).at("create", into)?;
    fs::create_dir_all(&blobs).at("create", &blobs)?;
    let mut layer = LayerWriter::create(&blobs)?;
    if metadata.is_dir() {
        layer.add_tree(source, Path::new(""), 0)?;
    } else {
        let name = source.file_name().ok_or_else(|| refuse("it has no name".to_owned()))?;
        check_static(source).map_err(refuse)?;
        layer.add(source, Path::new(name), Some(0o755))?;
        if config.entrypoint.is_empty() {
            let name = name
                .to_str()
                .ok_or_else(|| refuse("its name is not UTF-8: state an entrypoint".to_owned()))?;
            config.entrypoint = vec![format!("/{name}")];
        }
    }
    config.check().map_err(refuse)?;
    let (layer_digest, layer_size) = layer.finish()?;
    write_documents(into, &blobs, &config, layer_digest, layer_size)
}

fn write_documents(
    into: &Path,
    blobs: &Path,
    config: &RunConfig,
    layer: Digest,
    layer_size: u64,
) -> Result<Digest> {
    let write_blob = |value: &serde_json::Value| -> Result<(Digest, usize)> {
        let bytes = serde_json::to_vec(value).expect("a JSON value has only string keys");
        let digest = digest_of(&bytes);
        let path = blobs.join(hex_of(&digest));
        fs::write(&path, &bytes).at("write", &path)?;
        Ok((digest, bytes.len()))
    };
    let (config_digest, config_size) = write_blob(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": config.entrypoint, "Cmd": config.cmd, "Env": config.env, "WorkingDir": config.workdir,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    }))?;
    let (manifest_digest, manifest_size) = write_blob(&json!({
        "schemaVersion": 2,
        "mediaType": super::oci::MANIFEST_TYPES[0],
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size,
        },
        "layers": [
            { "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size },
        ],
    }))?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": super::oci::INDEX_TYPES[0],
        "manifests": [{
            "mediaType": super::oci::MANIFEST_TYPES[0], "digest": manifest_digest, "size": manifest_size,
            "platform": { "architecture": "amd64", "os": "linux" },
        }],
    });
    for (name, value) in [("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })), ("index.json", index)] {
        let path = into.join(name);
        fs::write(&path, value.to_string()).at("write", &path)?;
    }
    Ok(manifest_digest)
}

/// Refuses an ELF file that asks for a loader, and a file that is no x86-64 ELF at all.
fn check_static(path: &Path) -> Result<(), String> {
    const PT_INTERP: u32 = 3;
    let read = |file: &File, at: u64, length: usize| -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at).map_err(|_| "it is not a whole ELF file".to_owned())?;
        Ok(bytes)
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let (file, _) = super::layout::open_regular(path, true).map_err(|error| error.to_string())?;
    let header = read(&file, 0, 64)?;
    if header[..4] != *b"\x7fELF" || header[4..6] != [2, 1] || number(&header[18..20]) != 62 {
        return Err("it is neither a directory nor an x86-64 ELF binary".to_owned());
    }
    let (table, entry_size, count) =
        (number(&header[32..40]), number(&header[54..56]), number(&header[56..58]));
    for index in 0..count {
        let at = table.checked_add(index * entry_size).ok_or("it is not a whole ELF file")?;
        if number(&read(&file, at, 4)?) as u32 == PT_INTERP {
            return Err("it is dynamically linked and its loader would be missing: link it statically \
                        (-C target-feature=+crt-static), or pack a directory that has the libraries too"
                .to_owned());
        }
    }
    Ok(())
}

/// Writes a tar and hashes it on its way to the disk.
struct HashingFile {
    file: BufWriter<File>,
    hasher: Hasher,
    size: u64,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.raw(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct LayerWriter {
    builder: tar::Builder<HashingFile>,
    blobs: PathBuf,
    path: PathBuf,
}

impl LayerWriter {
    fn create(blobs: &Path) -> Result<Self> {
        let path = blobs.join("layer.partial");
        let file = BufWriter::new(File::create(&path).at("create", &path)?);
        let builder = tar::Builder::new(HashingFile { file, hasher: Hasher::default(), size: 0 });
        Ok(Self { builder, blobs: blobs.to_path_buf(), path })
    }

    fn add_tree(&mut self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        if depth > limits::PATH_DEPTH_MAX {
            let reason = format!("deeper than {} directories", limits::PATH_DEPTH_MAX);
            return Err(Error::PackImage { path: from.to_path_buf(), reason });
        }
        let entries: Result<Vec<_>, _> = fs::read_dir(from).at("read", from)?.collect();
        let mut names: Vec<_> = entries.at("read", from)?.iter().map(fs::DirEntry::file_name).collect();
        names.sort();
        for name in names {
            let (from, to) = (from.join(&name), to.join(&name));
            self.add(&from, &to, None)?;
            if fs::symlink_metadata(&from).at("read", &from)?.is_dir() {
                self.add_tree(&from, &to, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Adds one file, directory or symlink. `forced_mode` follows symlinks: it is for the one binary a user named.
    fn add(&mut self, from: &Path, to: &Path, forced_mode: Option<u32>) -> Result<()> {
        let follow = forced_mode.is_some();
        let metadata =
            if follow { fs::metadata(from) } else { fs::symlink_metadata(from) }.at("read", from)?;
        let kind = metadata.file_type();
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header.set_mode(forced_mode.unwrap_or_else(|| normal_mode(kind.is_dir(), metadata.mode())));
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            self.builder.append_data(&mut header, to, io::empty()).at("pack", from)
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            let target = fs::read_link(from).at("read", from)?;
            self.builder.append_link(&mut header, to, &target).at("pack", from)
        } else if kind.is_file() {
            let (file, size) = super::layout::open_regular(from, follow).at("open", from)?;
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(size);
            let mut content = Exactly { inner: file.take(size), left: size };
            self.builder.append_data(&mut header, to, &mut content).at("pack", from)
        } else {
            let name = String::from_utf8_lossy(from.as_os_str().as_bytes()).into_owned();
            Err(Error::PackImage {
                path: from.to_path_buf(),
                reason: format!("{name} is a device, FIFO or socket"),
            })
        }
    }

    fn finish(self) -> Result<(Digest, u64)> {
        let Self { builder, blobs, path } = self;
        let mut output = builder.into_inner().at("write", &path)?;
        output.flush().at("write", &path)?;
        let digest = output.hasher.finish();
        let target = blobs.join(hex_of(&digest));
        fs::rename(&path, &target).at("move into place", &target)?;
        Ok((digest, output.size))
    }
}

/// A reader that fails when the file became shorter than its header already says.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.left -= got as u64;
        if got == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        Ok(got)
    }
}
