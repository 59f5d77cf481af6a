//! Directory listings: the whole directory, sorted by name, numbered as `stat` numbers.
//!
//! The position of the descriptor counts entries of the sorted list, so that seeking, rewinding and duplicating work
//! as the kernel does them. The list is made anew when a reading begins at the start, and kept until its end.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{Outcome, Stop, Supervisor, err, procfs};
use crate::pinned::memory;
use crate::pinned::paths;
use crate::pinned::task::{Call, TaskId};
use crate::pinned::tree::{self, Key};
use crate::sys;

/// Most bytes that one call gives.
const MOST: u64 = 1 << 20;
/// Bytes before the name in the newer record.
const HEAD: usize = 19;

/// Lists that are being read.
pub(crate) type Lists = BTreeMap<Key, Vec<Entry>>;

/// One entry: number, type byte, name.
#[derive(Clone, Debug)]
pub(crate) struct Entry(u64, u8, CString);

pub(super) fn read(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let fd = match cage.descriptor(id, call.int(0)) {
        Ok(fd) => fd,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let Ok(st) = sys::fstat(fd.as_fd()) else { return Ok(err(libc::EIO)) };
    if st.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Ok(err(libc::ENOTDIR));
    }
    if sys::descriptor_flags(fd.as_raw_fd()).is_ok_and(|flags| flags & libc::O_PATH != 0) {
        return Ok(err(libc::EBADF));
    }
    let at = match sys::seek(fd.as_fd(), 0, libc::SEEK_CUR) {
        Ok(at) => usize::try_from(at).unwrap_or(usize::MAX),
        Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EIO))),
    };
    let key = (st.st_dev, st.st_ino);
    let list = match cage.classes.lists.remove(&key).filter(|_| at > 0) {
        Some(list) => list,
        None => match list_of(cage, id, &fd, &st) {
            Ok(list) => list,
            Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::ENOENT))),
        },
    };
    let room = call.args[2].min(MOST) as usize;
    let (bytes, taken) =
        records(list.get(at..).unwrap_or_default(), at, room, call.number == libc::SYS_getdents);
    if bytes.is_empty() && at < list.len() {
        return Ok(err(libc::EINVAL));
    }
    if let Err(errno) = memory::write(cage.tid(id), call.args[1], &bytes) {
        return Ok(Outcome::Return(errno));
    }
    if taken > 0 {
        sys::seek(fd.as_fd(), (at + taken) as i64, libc::SEEK_SET)
            .map_err(|e| Stop::broken("move in a directory", &e))?;
        cage.classes.lists.insert(key, list);
    }
    let length = bytes.len() as i64;
    cage.note(bytes);
    Ok(Outcome::Return(length))
}

/// As many records as fit, and how many that is.
fn records(list: &[Entry], first: usize, room: usize, old: bool) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for (index, Entry(number, kind, name)) in list.iter().enumerate() {
        let name = name.as_bytes_with_nul();
        let length = (HEAD + name.len()).next_multiple_of(8);
        if bytes.len() + length > room {
            return (bytes, index);
        }
        let start = bytes.len();
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&((first + index + 1) as u64).to_le_bytes());
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
        if !old {
            bytes.push(*kind);
        }
        bytes.extend_from_slice(name);
        bytes.resize(start + length, 0);
        if old {
            bytes[start + length - 1] = *kind;
        }
    }
    (bytes, list.len())
}

/// The directory's entries, sorted.
fn list_of(cage: &mut Supervisor, id: TaskId, fd: &OwnedFd, st: &libc::stat) -> std::io::Result<Vec<Entry>> {
    let in_proc = cage.tree().is_some_and(|t| t.in_proc(st));
    if in_proc {
        return procfs::list(cage, id, fd)
            .map(|list| list.into_iter().map(|(n, k, name)| Entry(n, k, name)).collect());
    }
    // A description of its own: the program's position says how far it has read the sorted list.
    let own = sys::openat(fd.as_raw_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut names = sys::entries(own.as_fd())?;
    names.retain(|(name, _)| !name.to_bytes().starts_with(tree::HIDDEN.as_bytes()));
    names.sort_by(|(a, _), (b, _)| (!is_dots(a), a).cmp(&(!is_dots(b), b)));
    let Some(tree) = cage.tree_mut() else { return Err(std::io::Error::from_raw_os_error(libc::EIO)) };
    let mut list = Vec::with_capacity(names.len());
    for (name, kind) in names {
        let Ok(st) = sys::lstatat(own.as_raw_fd(), &name) else {
            list.push(Entry(tree.number_of_name(name.to_bytes()), kind, name));
            continue;
        };
        let shown = tree.shown(&st, true, Some(b""));
        list.push(Entry(shown.st_ino, (shown.st_mode >> 12) as u8, name));
    }
    Ok(list)
}

fn is_dots(name: &CString) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// What `/proc` offers in a directory, as entries with numbers.
pub(super) fn numbered(
    cage: &mut Supervisor,
    dir: &[u8],
    names: Vec<(Vec<u8>, u8)>,
) -> Vec<(u64, u8, CString)> {
    let Some(tree) = cage.tree_mut() else { return Vec::new() };
    let number = |(name, kind): (Vec<u8>, u8)| {
        let path = if dir.is_empty() { name.clone() } else { [dir, b"/", &name].concat() };
        let path = match name.as_slice() {
            b"." => dir.to_vec(),
            b".." => dir[..dir.iter().rposition(|c| *c == b'/').unwrap_or(0)].to_vec(),
            _ => path,
        };
        Some((tree.number_of_name(&path), kind, CString::new(name).ok()?))
    };
    names.into_iter().filter_map(number).collect()
}

/// Name in `/proc` of an open directory.
pub(super) fn proc_directory(cage: &Supervisor, id: TaskId, fd: &OwnedFd) -> Option<Vec<u8>> {
    paths::proc_name(cage, id, &paths::path_of(fd)?)
}
