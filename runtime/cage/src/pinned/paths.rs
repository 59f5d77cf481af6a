//! Paths that programs name, turned into files that the supervisor can look at.
//!
//! Owns the reading of path arguments. The supervisor's own look-ups never leave the cage's root; they serve its
//! notes about times and its choice of what `/proc` shows, and never replace the kernel's permission checks: the
//! call itself is always the program's. A path that cannot be told is `None`, and then nothing is noted.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use super::task::TaskId;
use super::tree::Tree;
use super::{Supervisor, memory};
use crate::sys;

/// A path argument: the directory it starts from, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Descriptor of the directory, or `AT_FDCWD`.
    pub dir: i32,
    /// The text; empty means the descriptor itself.
    pub text: Vec<u8>,
}

impl Place {
    /// The place an address names. Errors are those that the kernel would give.
    pub(crate) fn read(cage: &Supervisor, id: TaskId, dir: i32, address: u64) -> Result<Self, i64> {
        Ok(Self { dir, text: memory::string(cage.tid(id), address)? })
    }

    /// What `/proc` calls this place, when its text alone says that it lies there: `self` is replaced, no leading
    /// slash. `/proc` itself is the empty name.
    pub(crate) fn in_proc(&self, cage: &Supervisor, id: TaskId) -> Option<Vec<u8>> {
        if !self.text.starts_with(b"/") {
            return None;
        }
        proc_name(cage, id, &self.text)
    }

    /// The same as an absolute path inside the cage.
    pub(crate) fn absolute(&self, cage: &Supervisor, id: TaskId) -> Option<Vec<u8>> {
        if self.text.starts_with(b"/") {
            return Some(match self.in_proc(cage, id) {
                Some(name) => [b"/proc/", name.as_slice()].concat(),
                None => self.text.clone(),
            });
        }
        let base = base(cage, id, self.dir)?;
        Some([base.as_slice(), b"/", &self.text].concat())
    }

    /// What is there, if it can be told. `follow`: also when it ends in a link.
    pub(crate) fn look(&self, cage: &Supervisor, id: TaskId, follow: bool) -> Option<libc::stat> {
        if self.text.is_empty() {
            return cage.descriptor(id, self.dir).ok().and_then(|fd| sys::fstat(fd.as_fd()).ok());
        }
        let found = cage.tree()?.lookup(&self.absolute(cage, id)?, follow).ok()?;
        sys::fstat(found.as_fd()).ok()
    }

    /// What the kernel would find there for the program; `None` when the program has to ask it itself.
    pub(crate) fn find(&self, cage: &Supervisor, id: TaskId, follow: bool) -> Option<Result<OwnedFd, i32>> {
        let start = if self.text.starts_with(b"/") { None } else { Some(start(cage, id, self.dir)?) };
        if let Some(start) = &start
            && cage.tree()?.in_proc(&sys::fstat(start.as_fd()).ok()?)
        {
            return None; // what is there depends on who asks
        }
        let found = cage.tree()?.find(start.as_ref(), &self.text, follow)?;
        Some(found.map_err(|e| e.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// The directory that holds it.
    pub(crate) fn parent(&self, cage: &Supervisor, id: TaskId) -> Option<libc::stat> {
        parent_of(cage.tree()?, &self.absolute(cage, id)?)
    }
}

/// The directory in which the last part of an absolute path lies.
pub(crate) fn parent_of(tree: &Tree, path: &[u8]) -> Option<libc::stat> {
    let end = path.iter().rposition(|c| *c != b'/')?;
    let cut = path[..=end].iter().rposition(|c| *c == b'/')?;
    let parent = if cut == 0 { b"/" } else { &path[..cut] };
    sys::fstat(tree.lookup(parent, true).ok()?.as_fd()).ok()
}

/// The directory that relative names start from.
fn start(cage: &Supervisor, id: TaskId, dir: i32) -> Option<OwnedFd> {
    if dir != libc::AT_FDCWD {
        return cage.descriptor(id, dir).ok();
    }
    let link = CString::new(format!("/proc/{}/cwd", cage.tid(id))).ok()?;
    sys::openat(libc::AT_FDCWD, &link, libc::O_PATH).ok()
}

/// Path of the directory that relative names start from.
fn base(cage: &Supervisor, id: TaskId, dir: i32) -> Option<Vec<u8>> {
    if dir == libc::AT_FDCWD {
        return absolute_link(&format!("/proc/{}/cwd", cage.tid(id)));
    }
    path_of(&cage.descriptor(id, dir).ok()?)
}

/// Path inside of what a descriptor has open, while it has one.
pub(crate) fn path_of(fd: &OwnedFd) -> Option<Vec<u8>> {
    absolute_link(&format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn absolute_link(link: &str) -> Option<Vec<u8>> {
    let target = std::fs::read_link(link).ok()?.into_os_string().into_vec();
    (target.starts_with(b"/") && !target.ends_with(b" (deleted)")).then_some(target)
}

/// The name in `/proc` of an absolute path.
pub(crate) fn proc_name(cage: &Supervisor, id: TaskId, path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|c| *c == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    match parts.as_slice() {
        [b"dev", b"fd", ..] => drop(parts.splice(..1, [&b"proc"[..], b"self"])),
        [b"proc", ..] => {}
        _ => return None,
    }
    let own = cage.process(id).inner.to_string();
    let mut name: Vec<Vec<u8>> = parts[1..].iter().map(|p| p.to_vec()).collect();
    match name.first().map(Vec::as_slice) {
        Some(b"self") => name[0] = own.into_bytes(),
        Some(b"thread-self") => {
            let thread = super::stops::inner_pid(cage.tid(id)).ok()?;
            let thread = [own.into_bytes(), b"task".to_vec(), thread.to_string().into_bytes()];
            drop(name.splice(..1, thread));
        }
        Some(b"mounts") => drop(name.splice(..1, [own.into_bytes(), b"mounts".to_vec()])),
        _ => {}
    }
    Some(name.join(&b'/'))
}
