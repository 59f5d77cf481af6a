//! Owns the `path_*` calls. Refuses paths that leave the directory they are relative to; see `memfs::resolve`.

use super::Host;
use super::abi::{self, Errno, Guest, Outcome, rights};
use super::files::{Descriptor, Object};
use super::memfs::{Found, Ino, PATH_BYTES_MAX};

/// Arguments of `path_open` beyond the path.
pub(crate) struct OpenRequest {
    pub(crate) lookup: u32,
    pub(crate) oflags: u32,
    pub(crate) base: u64,
    pub(crate) inheriting: u64,
    pub(crate) fdflags: u32,
}

impl Host {
    fn find(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32), follow: bool) -> Outcome<Found> {
        let dir = self.dir(fd)?;
        let path = guest.path(path.0, path.1)?;
        self.fs.resolve(dir, &path, follow)
    }

    /// Something that exists.
    fn existing(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32), lookup: u32) -> Outcome<Ino> {
        let follow = lookup & abi::LOOKUP_SYMLINK_FOLLOW != 0;
        self.find(guest, fd, path, follow)?.node.ok_or(Errno::Noent)
    }

    /// Something that exists and has a name of its own (not `.`).
    fn named(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Outcome<((Ino, Vec<u8>), Ino)> {
        let found = self.find(guest, fd, path, false)?;
        let node = found.node.ok_or(Errno::Noent)?;
        Ok((found.place.ok_or(Errno::Inval)?, node))
    }

    /// A name that is free.
    fn free(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Outcome<((Ino, Vec<u8>), bool)> {
        let found = self.find(guest, fd, path, false)?;
        match found {
            Found { place: Some(place), node: None, must_be_dir } => Ok((place, must_be_dir)),
            _ => Err(Errno::Exist),
        }
    }

    pub(crate) fn path_create_directory(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: (u32, u32),
    ) -> Outcome {
        let (place, _) = self.free(guest, fd, path)?;
        self.fs.create_dir(place).map(drop)
    }

    pub(crate) fn path_filestat_get(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        lookup: u32,
        path: (u32, u32),
        out: u32,
    ) -> Outcome {
        let node = self.existing(guest, fd, path, lookup)?;
        guest.write(out, &self.fs.stat(node)?.encode())
    }

    pub(crate) fn path_filestat_set_times(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        lookup: u32,
        path: (u32, u32),
        times: (u64, u64),
        flags: u32,
    ) -> Outcome {
        let node = self.existing(guest, fd, path, lookup)?;
        self.set_times(node, times.0, times.1, flags)
    }

    pub(crate) fn path_link(
        &mut self,
        guest: &mut Guest<'_>,
        from_fd: u32,
        lookup: u32,
        from: (u32, u32),
        to_fd: u32,
        to: (u32, u32),
    ) -> Outcome {
        if lookup & abi::LOOKUP_SYMLINK_FOLLOW != 0 {
            return Err(Errno::Inval);
        }
        let node = self.existing(guest, from_fd, from, 0)?;
        let (place, must_be_dir) = self.free(guest, to_fd, to)?;
        if must_be_dir {
            return Err(Errno::Noent);
        }
        self.fs.link(node, place)
    }

    pub(crate) fn path_open(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: (u32, u32),
        request: &OpenRequest,
        out: u32,
    ) -> Outcome {
        let OpenRequest { lookup, oflags, base, inheriting, fdflags } = *request;
        let flags = u16::try_from(fdflags).ok().filter(|flags| flags & !abi::FDFLAGS_KNOWN == 0);
        let flags = flags.filter(|_| oflags & !abi::OFLAGS_KNOWN == 0).ok_or(Errno::Inval)?;
        let has = |flag| oflags & flag != 0;
        if has(abi::OFLAG_CREAT) && has(abi::OFLAG_DIRECTORY) {
            return Err(Errno::Inval);
        }
        let allowed = self.descriptor(fd)?.inheriting;
        let follow =
            lookup & abi::LOOKUP_SYMLINK_FOLLOW != 0 && !(has(abi::OFLAG_CREAT) && has(abi::OFLAG_EXCL));
        let found = self.find(guest, fd, path, follow)?;
        let node = match found.node {
            Some(_) if has(abi::OFLAG_CREAT) && has(abi::OFLAG_EXCL) => return Err(Errno::Exist),
            Some(node) => node,
            None if !has(abi::OFLAG_CREAT) => return Err(Errno::Noent),
            None if found.must_be_dir => return Err(Errno::Isdir),
            None => self.fs.create_file(found.place.ok_or(Errno::Noent)?)?,
        };
        let is_dir = self.fs.is_dir(node);
        if has(abi::OFLAG_DIRECTORY) && !is_dir {
            return Err(Errno::Notdir);
        }
        let descriptor = if is_dir {
            if has(abi::OFLAG_TRUNC) || has(abi::OFLAG_CREAT) || base & rights::FD_WRITE != 0 {
                return Err(Errno::Isdir);
            }
            let object = Object::Dir { ino: node, listing: None };
            Descriptor { object, flags, base: base & allowed & rights::DIR, inheriting: inheriting & allowed }
        } else {
            // A symlink that was not followed cannot be opened.
            self.fs.file(node).map_err(|_| Errno::Loop)?;
            if has(abi::OFLAG_TRUNC) {
                self.fs.resize(node, 0)?;
            }
            let object = Object::File { ino: node, position: 0 };
            Descriptor { object, flags, base: base & allowed & rights::FILE, inheriting: 0 }
        };
        let opened = self.open_descriptor(descriptor)?;
        guest.write_u32(out, opened)
    }

    pub(crate) fn path_readlink(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: (u32, u32),
        buffer: (u32, u32),
        out: u32,
    ) -> Outcome {
        let (_, node) = self.named(guest, fd, path)?;
        let target = self.fs.read_link(node)?;
        let take = target.len().min(buffer.1 as usize);
        guest.write(buffer.0, &target[..take])?;
        guest.write_u32(out, take as u32)
    }

    pub(crate) fn path_remove_directory(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: (u32, u32),
    ) -> Outcome {
        let (place, node) = self.named(guest, fd, path)?;
        if !self.fs.is_dir(node) {
            return Err(Errno::Notdir);
        }
        self.fs.remove_dir(&place, node)
    }

    pub(crate) fn path_rename(
        &mut self,
        guest: &mut Guest<'_>,
        from_fd: u32,
        from: (u32, u32),
        to_fd: u32,
        to: (u32, u32),
    ) -> Outcome {
        let (from, node) = self.named(guest, from_fd, from)?;
        let found = self.find(guest, to_fd, to, false)?;
        if found.must_be_dir && !self.fs.is_dir(node) {
            return Err(Errno::Notdir);
        }
        let to = found.place.ok_or(Errno::Inval)?;
        self.fs.rename(&from, node, &to, found.node)
    }

    pub(crate) fn path_symlink(
        &mut self,
        guest: &mut Guest<'_>,
        target: (u32, u32),
        fd: u32,
        path: (u32, u32),
    ) -> Outcome {
        let target = guest.path(target.0, target.1)?;
        if target.is_empty() || target.len() > PATH_BYTES_MAX {
            return Err(Errno::Noent);
        }
        if target.starts_with(b"/") {
            // It could never be followed: absolute paths leave every directory.
            return Err(Errno::Notcapable);
        }
        let (place, must_be_dir) = self.free(guest, fd, path)?;
        if must_be_dir {
            return Err(Errno::Noent);
        }
        self.fs.create_symlink(place, target).map(drop)
    }

    pub(crate) fn path_unlink_file(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Outcome {
        let (place, node) = self.named(guest, fd, path)?;
        if self.fs.is_dir(node) {
            return Err(Errno::Isdir);
        }
        self.fs.unlink(&place)
    }
}
