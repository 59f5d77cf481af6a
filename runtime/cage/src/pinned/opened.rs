//! The digest of the files of a local root directory that a run opened: what such a run depended on.
//!
//! Owns the canonical form: entries sorted by path; each contributes its path, type, permission bits, and for a regular
//! file its content's digest. It refuses to leave the directory, and says of a file that cannot be read only that.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::mounts::MOUNT_POINTS;
use crate::sys;

/// Names the form; a change of the form changes this.
const DOMAIN: &[u8] = b"metanode.cage.opened.v1\0";

/// Digest of what lies at these paths (absolute inside) below `root`. What is not there came from the run itself.
pub(super) fn digest(root: &Path, paths: &BTreeSet<Vec<u8>>) -> io::Result<String> {
    let top = CString::new(root.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let top = sys::openat(libc::AT_FDCWD, &top, libc::O_PATH | libc::O_DIRECTORY)?;
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    let covered = |path: &&Vec<u8>| {
        MOUNT_POINTS.iter().any(|m| path.split(|c| *c == b'/').nth(1) == Some(m.to_bytes()))
    };
    for path in paths.iter().filter(|path| !covered(path)) {
        let name = CString::new(path.as_slice()).map_err(io::Error::other)?;
        let Ok(found) = sys::open_below(top.as_fd(), &name, libc::O_PATH) else { continue };
        let st = sys::fstat(found.as_fd())?;
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update((st.st_mode & libc::S_IFMT).to_le_bytes());
        hash.update((st.st_mode & 0o7777).to_le_bytes());
        if st.st_mode & libc::S_IFMT == libc::S_IFREG {
            let content = sys::open_below(top.as_fd(), &name, libc::O_RDONLY | libc::O_NONBLOCK);
            hash.update([u8::from(content.is_ok())]);
            if let Ok(content) = content {
                let mut own = Sha256::new();
                io::copy(&mut std::fs::File::from(content), &mut own)?;
                hash.update(own.finalize());
            }
        }
    }
    Ok(sys::hex(&hash.finalize()))
}
