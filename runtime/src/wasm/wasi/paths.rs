//! Owns the `path_*` calls. Refuses paths that leave the directory they are relative to; see `memfs::resolve`
//! and `tree`.

use super::Host;
use super::abi::{self, Errno, Guest, Outcome, rights};
use super::files::{Descriptor, Object};
use super::memfs::Ino;
use super::tree::How;

/// Arguments of `path_open` beyond the path.
pub(crate) struct OpenRequest {
    pub(crate) lookup: u32,
    pub(crate) oflags: u32,
    pub(crate) base: u64,
    pub(crate) inheriting: u64,
    pub(crate) fdflags: u32,
}

impl Host {
    pub(crate) fn path_create_directory(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: (u32, u32),
    ) -> Outcome {
        let dir = self.dir(fd)?;
        self.fs.make_dir(dir, &guest.path(path.0, path.1)?)
    }

    /// Something that exists.
    fn existing(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32), lookup: u32) -> Outcome<Ino> {
        let dir = self.dir(fd)?;
        let follow = lookup & abi::LOOKUP_SYMLINK_FOLLOW != 0;
        self.fs.existing(dir, &guest.path(path.0, path.1)?, follow)
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
        let (from_dir, from) = (self.dir(from_fd)?, guest.path(from.0, from.1)?);
        let (to_dir, to) = (self.dir(to_fd)?, guest.path(to.0, to.1)?);
        self.fs.make_link((from_dir, &from), (to_dir, &to))
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
        let how = How {
            follow: lookup & abi::LOOKUP_SYMLINK_FOLLOW != 0,
            create: has(abi::OFLAG_CREAT),
            directory: has(abi::OFLAG_DIRECTORY),
            exclusive: has(abi::OFLAG_EXCL),
            truncate: has(abi::OFLAG_TRUNC),
            write: base & rights::FD_WRITE != 0,
        };
        if how.create && how.directory {
            return Err(Errno::Inval);
        }
        let (dir, allowed) = (self.dir(fd)?, self.descriptor(fd)?.inheriting);
        let node = self.fs.open(dir, &guest.path(path.0, path.1)?, how)?;
        let descriptor = if self.fs.is_dir(node) {
            let object = Object::Dir { ino: node, listing: None };
            Descriptor { object, flags, base: base & allowed & rights::DIR, inheriting: inheriting & allowed }
        } else {
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
        let dir = self.dir(fd)?;
        let target = self.fs.target(dir, &guest.path(path.0, path.1)?)?;
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
        let dir = self.dir(fd)?;
        self.fs.remove_dir_at(dir, &guest.path(path.0, path.1)?)
    }

    pub(crate) fn path_rename(
        &mut self,
        guest: &mut Guest<'_>,
        from_fd: u32,
        from: (u32, u32),
        to_fd: u32,
        to: (u32, u32),
    ) -> Outcome {
        let (from_dir, from) = (self.dir(from_fd)?, guest.path(from.0, from.1)?);
        let (to_dir, to) = (self.dir(to_fd)?, guest.path(to.0, to.1)?);
        self.fs.rename_at((from_dir, &from), (to_dir, &to))
    }

    pub(crate) fn path_symlink(
        &mut self,
        guest: &mut Guest<'_>,
        target: (u32, u32),
        fd: u32,
        path: (u32, u32),
    ) -> Outcome {
        let target = guest.path(target.0, target.1)?;
        let dir = self.dir(fd)?;
        self.fs.make_symlink(target, dir, &guest.path(path.0, path.1)?)
    }

    pub(crate) fn path_unlink_file(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Outcome {
        let dir = self.dir(fd)?;
        self.fs.unlink_at(dir, &guest.path(path.0, path.1)?)
    }
}
