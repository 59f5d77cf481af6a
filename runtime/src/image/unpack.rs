//! Owns turning verified layers into one root filesystem. Refuses to write before a layer was read once to its end
//! and found in order: the first pass judges every entry and checks the layer's diff id, the second writes.
//! Whiteouts act on the layers below only and come before the layer's own entries, so the result does not depend on
//! where in the archive they stand. Invariants of the result: no devices, no set-id or sticky bits, no extended
//! attributes, one owner, times at the epoch.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::layer::{Budget, Fault, LayerEntry, Request, read_layer};
use super::oci::Compression;
use super::rootdir::{self, NodeKind, RootDir};
use super::tree;
use crate::digest::Digest;
use crate::error::{AtPath, Error, Result};

/// A layer whose blob was verified already.
pub(crate) struct VerifiedLayer {
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
    pub(crate) diff_id: Digest,
    pub(crate) file: Box<dyn Fn() -> io::Result<File>>,
}

/// Unpacks `layers` into the empty directory `into`; returns the digest of the result.
pub(crate) fn unpack(layers: &[VerifiedLayer], into: &Path) -> Result<Digest> {
    let root = RootDir::open(into).at("open root filesystem", into)?;
    let mut budget = Budget::default();
    for layer in layers {
        let fault = |(entry, reason): Fault| Error::UnpackLayer { layer: layer.blob, entry, reason };
        let mut hidden = Vec::new();
        let read = |budget: &mut Budget, visit: Visit<'_>| {
            let file = (layer.file)().map_err(|error| (String::new(), error.to_string()))?;
            read_layer(file, layer.size, layer.compression, budget, visit)
        };
        let found = read(&mut budget, &mut |entry, _| {
            match &entry.request {
                Request::Whiteout { name } => hidden.push((entry.path.clone(), Some(name.clone()))),
                Request::Opaque => hidden.push((entry.path.clone(), None)),
                _ => {}
            }
            Ok(())
        })
        .map_err(fault)?;
        if found != layer.diff_id {
            let reason = format!("uncompressed it has digest {found}, the config says {}", layer.diff_id);
            return Err(fault((String::new(), reason)));
        }
        for (dir, name) in hidden {
            hide(&root, &dir, name.as_deref())
                .map_err(|error| fault((format!("{dir:?}"), error.to_string())))?;
        }
        // The first pass charged the budget; the second reads the same bytes.
        read(&mut Budget::default(), &mut |entry, content| write(&root, entry, content)).map_err(fault)?;
    }
    tree::clear_times(&root).at("set times in root filesystem", into)?;
    rootdir::set_mode_at(root.fd(), OsStr::new("."), 0o755).at("set mode of root filesystem", into)?;
    tree::rootfs_digest(&root).at("hash root filesystem", into)
}

type Visit<'a> = &'a mut dyn FnMut(&LayerEntry, &mut dyn Read) -> Result<(), String>;

/// Removes `name`, or all names, from a directory of the layers below.
fn hide(root: &RootDir, dir: &rootdir::ImagePath, name: Option<&[u8]>) -> io::Result<()> {
    let dir = match root.open_dir(dir) {
        Ok(dir) => dir,
        // Hiding what is not there: some builders do that.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match name {
        Some(name) => rootdir::remove_at(&dir, OsStr::from_bytes(name)),
        None => rootdir::names_in(&dir)?.iter().try_for_each(|name| rootdir::remove_at(&dir, name)),
    }
}

/// The mode a file keeps. Set-id and sticky bits go. All owners are folded into one that is not the caged user, so
/// what the owner might read or execute, everybody may; nothing becomes writable that was not.
pub(crate) fn normal_mode(is_dir: bool, mode: u32) -> u32 {
    let owner = if is_dir { 0o7 } else { (mode >> 6 & 0o7) | 0o4 };
    let shared = owner & 0o5;
    (mode & 0o777) | owner << 6 | shared << 3 | shared
}

fn write(root: &RootDir, entry: &LayerEntry, content: &mut dyn Read) -> Result<(), String> {
    write_entry(root, entry, content).map_err(|error| error.to_string())
}

fn write_entry(root: &RootDir, entry: &LayerEntry, content: &mut dyn Read) -> io::Result<()> {
    if matches!(entry.request, Request::Whiteout { .. } | Request::Opaque) {
        return Ok(());
    }
    let Some((parent, name)) = entry.path.split() else {
        return match entry.request {
            Request::Dir => Ok(()),
            _ => Err(io::Error::other("the root is not a directory")),
        };
    };
    let dir = root.ensure_dir(&parent)?;
    let existing = rootdir::kind_at(&dir, name)?;
    match &entry.request {
        Request::Dir => {
            if existing != Some(NodeKind::Dir) {
                rootdir::remove_at(&dir, name)?;
                rootdir::make_dir_at(&dir, name)?;
            }
            rootdir::set_mode_at(&dir, name, normal_mode(true, entry.mode))
        }
        Request::File { size } => {
            rootdir::remove_at(&dir, name)?;
            let mut file = rootdir::create_file_at(&dir, name)?;
            let written = io::copy(&mut content.take(*size), &mut file)?;
            if written != *size {
                return Err(io::Error::other(format!("truncated: {written} of {size} bytes")));
            }
            rootdir::set_mode_at(&dir, name, normal_mode(false, entry.mode))
        }
        Request::Symlink { target } => {
            rootdir::remove_at(&dir, name)?;
            rootdir::symlink_at(&dir, name, target)
        }
        Request::HardLink { target } => {
            let (from_parent, from_name) =
                target.split().ok_or_else(|| io::Error::other("hard link to the root"))?;
            let missing = |error| io::Error::other(format!("hard link target: {error}"));
            let from = root.open_dir(&from_parent).map_err(missing)?;
            let from_stat = rootdir::stat_at(&from, from_name).map_err(missing)?;
            if !matches!(NodeKind::of(&from_stat), NodeKind::File | NodeKind::Symlink) {
                return Err(io::Error::other("hard link to something that is not a file"));
            }
            if existing.is_some() && rootdir::stat_at(&dir, name)?.st_ino == from_stat.st_ino {
                return Ok(());
            }
            rootdir::remove_at(&dir, name)?;
            rootdir::hard_link_at(&from, from_name, &dir, name)
        }
        Request::Whiteout { .. } | Request::Opaque => Ok(()),
    }
}
