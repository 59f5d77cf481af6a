//! Owns what a path can be used for, in the terms of the tree alone: both generations of WASI come here with a base
//! directory and the bytes of a path. Refuses what `MemFs::resolve` refuses, and names that are taken or missing.

use super::abi::{Errno, Outcome};
use super::memfs::{Found, Ino, MemFs, PATH_BYTES_MAX};

/// How a path is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// A symlink in last place is followed.
    pub(crate) follow: bool,
    /// What is missing is made, as a file.
    pub(crate) create: bool,
    /// Only a directory will do.
    pub(crate) directory: bool,
    /// It must not exist yet.
    pub(crate) exclusive: bool,
    /// A file is emptied.
    pub(crate) truncate: bool,
    /// It will be written to.
    pub(crate) write: bool,
}

impl MemFs {
    /// Something that exists.
    pub(crate) fn existing(&mut self, base: Ino, path: &[u8], follow: bool) -> Outcome<Ino> {
        self.resolve(base, path, follow)?.node.ok_or(Errno::Noent)
    }

    /// Something that exists and has a name of its own (not `.`).
    fn named(&mut self, base: Ino, path: &[u8]) -> Outcome<((Ino, Vec<u8>), Ino)> {
        let found = self.resolve(base, path, false)?;
        let node = found.node.ok_or(Errno::Noent)?;
        Ok((found.place.ok_or(Errno::Inval)?, node))
    }

    /// A name that is free.
    fn free(&mut self, base: Ino, path: &[u8]) -> Outcome<((Ino, Vec<u8>), bool)> {
        match self.resolve(base, path, false)? {
            Found { place: Some(place), node: None, must_be_dir } => Ok((place, must_be_dir)),
            _ => Err(Errno::Exist),
        }
    }

    /// What a path opens: a directory, or a file that may be new.
    pub(crate) fn open(&mut self, base: Ino, path: &[u8], how: How) -> Outcome<Ino> {
        if how.create && how.directory {
            return Err(Errno::Inval);
        }
        let follow = how.follow && !(how.create && how.exclusive);
        let found = self.resolve(base, path, follow)?;
        let node = match found.node {
            Some(_) if how.create && how.exclusive => return Err(Errno::Exist),
            Some(node) => node,
            None if !how.create => return Err(Errno::Noent),
            None if found.must_be_dir => return Err(Errno::Isdir),
            None => self.create_file(found.place.ok_or(Errno::Noent)?)?,
        };
        let is_dir = self.is_dir(node);
        if how.directory && !is_dir {
            return Err(Errno::Notdir);
        }
        if is_dir {
            return if how.truncate || how.create || how.write { Err(Errno::Isdir) } else { Ok(node) };
        }
        // A symlink that was not followed cannot be opened.
        self.file(node).map_err(|_| Errno::Loop)?;
        if how.truncate {
            self.resize(node, 0)?;
        }
        Ok(node)
    }

    /// A new directory.
    pub(crate) fn make_dir(&mut self, base: Ino, path: &[u8]) -> Outcome {
        let (place, _) = self.free(base, path)?;
        self.create_dir(place).map(drop)
    }

    /// A second name for something that is not a directory.
    pub(crate) fn make_link(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8])) -> Outcome {
        let node = self.existing(from.0, from.1, false)?;
        let (place, must_be_dir) = self.free(to.0, to.1)?;
        if must_be_dir {
            return Err(Errno::Noent);
        }
        self.link(node, place)
    }

    /// A symlink. An absolute target could never be followed: absolute paths leave every directory.
    pub(crate) fn make_symlink(&mut self, target: Vec<u8>, base: Ino, path: &[u8]) -> Outcome {
        if target.is_empty() || target.len() > PATH_BYTES_MAX {
            return Err(Errno::Noent);
        }
        if target.starts_with(b"/") {
            return Err(Errno::Notcapable);
        }
        let (place, must_be_dir) = self.free(base, path)?;
        if must_be_dir {
            return Err(Errno::Noent);
        }
        self.create_symlink(place, target).map(drop)
    }

    /// What a symlink says.
    pub(crate) fn target(&mut self, base: Ino, path: &[u8]) -> Outcome<&[u8]> {
        let (_, node) = self.named(base, path)?;
        self.read_link(node)
    }

    /// Removes an empty directory by its name.
    pub(crate) fn remove_dir_at(&mut self, base: Ino, path: &[u8]) -> Outcome {
        let (place, node) = self.named(base, path)?;
        if !self.is_dir(node) {
            return Err(Errno::Notdir);
        }
        self.remove_dir(&place, node)
    }

    /// Removes the name of something that is not a directory.
    pub(crate) fn unlink_at(&mut self, base: Ino, path: &[u8]) -> Outcome {
        let (place, node) = self.named(base, path)?;
        if self.is_dir(node) {
            return Err(Errno::Isdir);
        }
        self.unlink(&place)
    }

    /// Moves a name.
    pub(crate) fn rename_at(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8])) -> Outcome {
        let (from, node) = self.named(from.0, from.1)?;
        let found = self.resolve(to.0, to.1, false)?;
        if found.must_be_dir && !self.is_dir(node) {
            return Err(Errno::Notdir);
        }
        let to = found.place.ok_or(Errno::Inval)?;
        self.rename(&from, node, &to, found.node)
    }
}
