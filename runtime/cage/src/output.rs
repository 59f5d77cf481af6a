//! The digest of what a program left behind in its root.
//!
//! Owns the canonical form: entries sorted by path; each contributes its path, type, permission bits and
//! content (files: size and every page that is not all zero, so that a hole and written zeros are the same;
//! links: the target; a whiteout: that the path was deleted). Times, owners and inode numbers are left out.
//! It refuses to follow links or to leave the tree, and reads at most what the tmpfs bound let the program
//! write.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use sha2::{Digest, Sha256};

use crate::{mounts, sys};

/// Names the form; a change of the form changes this.
const DOMAIN: &[u8] = b"metanode.cage.output-tree.v1\0";
/// Granularity at which zeros are skipped.
const PAGE: usize = 4096;
/// Deepest directory that is followed; deeper trees are an error, never a crash.
const MAX_DEPTH: usize = 512;

/// Digest of the tree below `top`.
pub(crate) fn digest(top: BorrowedFd<'_>) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    let own = sys::openat(top.as_raw_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)?;
    directory(own, &mut Vec::new(), 0, &mut hash)?;
    Ok(sys::hex(&hash.finalize()))
}

fn directory(dir: OwnedFd, path: &mut Vec<u8>, depth: usize, hash: &mut Sha256) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("directories nest deeper than {MAX_DEPTH}")));
    }
    for name in sorted_names(dir.as_fd())? {
        if depth == 0 && mounts::MOUNT_POINTS.contains(&name.as_c_str()) {
            continue;
        }
        let length = path.len();
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        entry(dir.as_raw_fd(), &name, path, depth, hash)?;
        path.truncate(length);
    }
    Ok(())
}

fn entry(dir: i32, name: &CStr, path: &mut Vec<u8>, depth: usize, hash: &mut Sha256) -> io::Result<()> {
    let st = sys::lstatat(dir, name)?;
    let kind = st.st_mode & libc::S_IFMT;
    hash.update((path.len() as u64).to_le_bytes());
    hash.update(&path[..]);
    hash.update(kind.to_le_bytes());
    hash.update((st.st_mode & 0o7777).to_le_bytes());
    match kind {
        libc::S_IFREG => {
            let file = sys::openat(dir, name, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK)?;
            contents(file.as_fd(), st.st_size as u64, hash)
        }
        libc::S_IFLNK => {
            let target = sys::readlinkat(dir, name)?;
            hash.update((target.len() as u64).to_le_bytes());
            hash.update(target);
            Ok(())
        }
        libc::S_IFDIR => {
            let below = sys::openat(dir, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
            hash.update([u8::from(sys::has_attribute(below.as_fd(), c"user.overlay.opaque"))]);
            directory(below, path, depth + 1, hash)
        }
        // A character device 0:0 is a whiteout; the type bits already say so, and no other device can be made
        // here.
        _ => {
            hash.update(st.st_rdev.to_le_bytes());
            Ok(())
        }
    }
}

/// Size, then (offset, bytes) of every page that holds something, found without reading holes.
fn contents(file: BorrowedFd<'_>, size: u64, hash: &mut Sha256) -> io::Result<()> {
    hash.update(size.to_le_bytes());
    let mut buffer = vec![0u8; 16 * PAGE];
    let mut at = 0;
    while let Some(data) = sys::next_data(file, at)? {
        at = data - data % PAGE as u64;
        let length = sys::pread(file, &mut buffer, at)?;
        if length == 0 {
            break;
        }
        for (index, page) in buffer[..length].chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                hash.update((at + (index * PAGE) as u64).to_le_bytes());
                hash.update((page.len() as u64).to_le_bytes());
                hash.update(page);
            }
        }
        at += length as u64;
    }
    hash.update(u64::MAX.to_le_bytes());
    Ok(())
}

fn sorted_names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    use std::os::unix::ffi::OsStringExt;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))? {
        names.push(CString::new(entry?.file_name().into_vec()).map_err(io::Error::other)?);
    }
    names.sort();
    Ok(names)
}
