//! Owns the digest of an unpacked root filesystem: sorted paths, types, modes, sizes, contents, link targets.
//! Refuses anything that is not a directory, a regular file or a symlink. Invariant: the digest does not depend on
//! the order in which the tree was made, on times, on owners, on inode numbers or on hard links.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use super::rootdir::{self, NodeKind, RootDir};
use crate::digest::{Digest, Hasher};
use crate::limits;

const DOMAIN: &str = "metanode rootfs v1";

/// Digest of the tree below `root`.
pub(crate) fn rootfs_digest(root: &RootDir) -> io::Result<Digest> {
    let shared = RefCell::new(Hasher::with_domain(DOMAIN));
    let mut visit = |dir: BorrowedFd<'_>, name: &OsStr, kind| {
        let mut hasher = shared.borrow_mut();
        // The type comes first, so that every entry and the closing mark are told apart by one byte.
        hasher.raw(match kind {
            NodeKind::Dir => b"d",
            NodeKind::File => b"f",
            NodeKind::Symlink => b"l",
            NodeKind::Special => {
                return Err(io::Error::other("a device, FIFO or socket in a root filesystem"));
            }
        });
        hasher.field(name.as_bytes());
        hasher.number(u64::from(rootdir::stat_at(dir, name)?.st_mode & 0o7777));
        if kind == NodeKind::Symlink {
            hasher.field(&rootdir::read_link_at(dir, name)?);
        } else if kind == NodeKind::File {
            let (size, digest) = file_digest(dir, name)?;
            hasher.number(size);
            hasher.raw(&digest.0);
        }
        Ok(())
    };
    // The closing mark tells `a/b` from `a`, `b`.
    walk(root.fd(), 0, &mut visit, &mut |_, _| {
        shared.borrow_mut().raw(b"e");
        Ok(())
    })?;
    Ok(shared.into_inner().finish())
}

/// Sets every time in the tree to the epoch: contents first, since making them moved their directory's time.
pub(crate) fn clear_times(root: &RootDir) -> io::Result<()> {
    let mut leaf = |dir: BorrowedFd<'_>, name: &OsStr, kind| match kind {
        NodeKind::Dir => Ok(()),
        _ => rootdir::clear_times_at(dir, name),
    };
    walk(root.fd(), 0, &mut leaf, &mut |dir, name| rootdir::clear_times_at(dir, name))?;
    rootdir::clear_times_at(root.fd(), OsStr::new("."))
}

fn file_digest(dir: impl AsFd, name: &OsStr) -> io::Result<(u64, Digest)> {
    let mut file = rootdir::open_file_at(dir, name)?;
    let (mut hasher, mut buffer, mut size) = (Hasher::default(), vec![0; 64 << 10], 0);
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            return Ok((size, hasher.finish()));
        }
        hasher.raw(&buffer[..got]);
        size += got as u64;
    }
}

type Visit<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &OsStr, NodeKind) -> io::Result<()>;
type Leave<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &OsStr) -> io::Result<()>;

/// Depth first, children sorted by name; `leave` runs after a directory's children.
fn walk(dir: impl AsFd, depth: usize, visit: Visit<'_>, leave: Leave<'_>) -> io::Result<()> {
    if depth > limits::PATH_DEPTH_MAX {
        return Err(io::Error::other("tree is deeper than any image may be"));
    }
    for name in rootdir::names_in(dir.as_fd())? {
        let kind = NodeKind::of(&rootdir::stat_at(dir.as_fd(), &name)?);
        visit(dir.as_fd(), &name, kind)?;
        if kind == NodeKind::Dir {
            walk(rootdir::open_dir_at(dir.as_fd(), &name)?, depth + 1, visit, leave)?;
            leave(dir.as_fd(), &name)?;
        }
    }
    Ok(())
}
