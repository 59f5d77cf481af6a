//! Owns every file operation on a root filesystem that is being unpacked or walked.
//! Refuses to leave the root: parents are resolved by the kernel with `RESOLVE_IN_ROOT`, so `..`, absolute paths and
//! symlinks stay inside whatever an image says, and the last component is never followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::limits;

/// A path inside an image: relative, without `.`, `..`, empty components or NUL, bounded in length and depth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImagePath(Vec<Vec<u8>>);

impl ImagePath {
    /// Reads a path as an archive spells it. A leading `/` means the image's root.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > limits::PATH_BYTES_MAX {
            return Err(format!("path is longer than {} bytes", limits::PATH_BYTES_MAX));
        }
        if bytes.contains(&0) {
            return Err("path has a NUL in it".to_owned());
        }
        let mut parts = Vec::new();
        for part in bytes.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err("path has a .. in it".to_owned()),
                _ if part.len() > limits::NAME_BYTES_MAX => {
                    return Err(format!("name is longer than {} bytes", limits::NAME_BYTES_MAX));
                }
                _ => parts.push(part.to_vec()),
            }
        }
        if parts.len() > limits::PATH_DEPTH_MAX {
            return Err(format!("path is deeper than {} directories", limits::PATH_DEPTH_MAX));
        }
        Ok(Self(parts))
    }

    /// The directory and the name, or none for the root itself.
    pub(crate) fn split(&self) -> Option<(ImagePath, &OsStr)> {
        let (name, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), OsStr::from_bytes(name)))
    }

    /// Whether a component other than the last starts with `prefix`.
    pub(crate) fn parents_have_prefix(&self, prefix: &[u8]) -> bool {
        self.0.iter().rev().skip(1).any(|part| part.starts_with(prefix))
    }

    fn to_os(&self) -> OsString {
        if self.0.is_empty() { ".".into() } else { OsString::from_vec(self.0.join(&b'/')) }
    }
}

/// What stands at a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Dir,
    File,
    Symlink,
    /// Device, FIFO or socket.
    Special,
}

impl NodeKind {
    pub(crate) fn of(stat: &FileStat) -> Self {
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Self::Dir,
            SFlag::S_IFREG => Self::File,
            SFlag::S_IFLNK => Self::Symlink,
            _ => Self::Special,
        }
    }
}

/// A directory that acts as `/`.
pub(crate) struct RootDir {
    fd: OwnedFd,
}

const DIR_FLAGS: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

impl RootDir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = nix::fcntl::open(path, DIR_FLAGS | OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Self { fd })
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens a directory of the image, following symlinks as a process chrooted into it would.
    pub(crate) fn open_dir(&self, path: &ImagePath) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let how = OpenHow::new().flags(DIR_FLAGS).resolve(resolve);
        // EAGAIN: the kernel saw a rename elsewhere while it resolved a `..` of a symlink; asking again is the cure.
        for _ in 0..64 {
            match openat2(&self.fd, path.to_os().as_os_str(), how) {
                Err(Errno::EAGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// As [`Self::open_dir`], but makes the directories that are missing.
    pub(crate) fn ensure_dir(&self, path: &ImagePath) -> io::Result<OwnedFd> {
        match self.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let Some((parent, name)) = path.split() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let parent = self.ensure_dir(&parent)?;
        // EEXIST here is a dangling symlink: what it names does not exist, so nothing can be put below it.
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755))?;
        self.open_dir(path)
    }
}

pub(crate) fn kind_at(dir: impl AsFd, name: &OsStr) -> io::Result<Option<NodeKind>> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(NodeKind::of(&stat))),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory, sorted by bytes.
pub(crate) fn names_in(dir: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::openat(dir, ".", DIR_FLAGS, Mode::empty())?.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Removes whatever stands at `name`, whole trees included. Recursion is bounded by the depth of image paths.
pub(crate) fn remove_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    match kind_at(dir.as_fd(), name)? {
        None => Ok(()),
        Some(NodeKind::Dir) => {
            let inner = open_dir_at(dir.as_fd(), name)?;
            for child in names_in(&inner)? {
                remove_at(&inner, &child)?;
            }
            Ok(unlinkat(dir, name, UnlinkatFlags::RemoveDir)?)
        }
        Some(_) => Ok(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?),
    }
}

/// Opens a directory that must not be a symlink.
pub(crate) fn open_dir_at(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, DIR_FLAGS | OFlag::O_NOFOLLOW, Mode::empty())?)
}

/// Opens a regular file that must not be a symlink.
pub(crate) fn open_file_at(dir: impl AsFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?.into())
}

pub(crate) fn create_file_at(dir: impl AsFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::from_bits_truncate(0o600))?.into())
}

pub(crate) fn make_dir_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(mkdirat(dir, name, Mode::from_bits_truncate(0o755))?)
}

pub(crate) fn symlink_at(dir: impl AsFd, name: &OsStr, target: &[u8]) -> io::Result<()> {
    Ok(symlinkat(OsStr::from_bytes(target), dir, name)?)
}

pub(crate) fn hard_link_at(
    from: impl AsFd,
    from_name: &OsStr,
    to: impl AsFd,
    name: &OsStr,
) -> io::Result<()> {
    Ok(linkat(from, from_name, to, name, AtFlags::empty())?)
}

pub(crate) fn read_link_at(dir: impl AsFd, name: &OsStr) -> io::Result<Vec<u8>> {
    Ok(readlinkat(dir, name)?.into_vec())
}

pub(crate) fn stat_at(dir: impl AsFd, name: &OsStr) -> io::Result<FileStat> {
    Ok(fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

/// Sets the mode of something that is not a symlink.
pub(crate) fn set_mode_at(dir: impl AsFd, name: &OsStr, mode: u32) -> io::Result<()> {
    Ok(fchmodat(dir, name, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)?)
}

/// Sets both times to the epoch, on a symlink itself too.
pub(crate) fn clear_times_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    let zero = TimeSpec::new(0, 0);
    Ok(utimensat(dir, name, &zero, &zero, UtimensatFlags::NoFollowSymlink)?)
}
