//! What is known of files: the kernel answers, so that its permissions count, and the answer is rewritten.
//!
//! A question about a descriptor needs no permission, so the supervisor answers that itself; and one about a path where
//! it can look with the program's own rights. That saves a second stop of the program.

use std::os::fd::AsFd;

use super::{Outcome, Stop, Supervisor, err, listing, procfs};
use crate::pinned::memory;
use crate::pinned::paths::{self, Place};
use crate::pinned::task::{Call, TaskId};
use crate::pinned::tree::{self, Moment};
use crate::sys;

/// Bytes of `struct stat`, `struct statx` and `struct statfs`.
const STAT: usize = 144;
const STATX: usize = 256;
const STATFS: usize = 120;
/// Where `struct statfs` has the flags of the mount.
const MOUNT_FLAGS: std::ops::Range<usize> = 80..88;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [a, b, c, ..] = call.args;
    match call.number {
        libc::SYS_fstat => Ok(of_descriptor(cage, id, call.int(0), b, false)),
        libc::SYS_stat | libc::SYS_lstat => of_path(cage, id, call, libc::AT_FDCWD, a, b),
        libc::SYS_newfstatat if names_descriptor(cage, id, call.int(0), b, call.int(3)) => {
            Ok(of_descriptor(cage, id, call.int(0), c, false))
        }
        libc::SYS_newfstatat => of_path(cage, id, call, call.int(0), b, c),
        libc::SYS_statx if names_descriptor(cage, id, call.int(0), b, call.int(2)) => {
            Ok(of_descriptor(cage, id, call.int(0), call.args[4], true))
        }
        libc::SYS_statx => of_path(cage, id, call, call.int(0), b, call.args[4]),
        libc::SYS_statfs | libc::SYS_fstatfs => file_system(cage, id, call),
        libc::SYS_getdents | libc::SYS_getdents64 => listing::read(cage, id, call),
        libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => {
            set_times(cage, id, call)
        }
        _ => Err(super::unmodelled(call)),
    }
}

/// Whether the call is about an open descriptor and no path.
fn names_descriptor(cage: &Supervisor, id: TaskId, fd: i32, path: u64, flags: i32) -> bool {
    let empty = || path == 0 || memory::read(cage.tid(id), path, 1) == Ok(vec![0]);
    flags & libc::AT_EMPTY_PATH != 0 && fd >= 0 && empty()
}

fn of_descriptor(cage: &mut Supervisor, id: TaskId, fd: i32, buffer: u64, extended: bool) -> Outcome {
    let fd = match cage.descriptor(id, fd) {
        Ok(fd) => fd,
        Err(errno) => return Outcome::Return(errno),
    };
    let Ok(st) = sys::fstat(fd.as_fd()) else { return err(libc::EIO) };
    let name = if cage.tree().is_some_and(|t| t.in_proc(&st)) { proc_name_of(cage, id, &fd) } else { None };
    told(cage, id, &st, buffer, extended, name.as_deref())
}

/// Tells the program what the supervisor has found out.
fn told(
    cage: &mut Supervisor,
    id: TaskId,
    st: &libc::stat,
    buffer: u64,
    extended: bool,
    name: Option<&[u8]>,
) -> Outcome {
    let Some(tree) = cage.tree_mut() else { return err(libc::EIO) };
    let shown = tree.shown(st, true, name);
    let bytes = if extended { sys::to_bytes(&as_statx(&shown, None)) } else { sys::to_bytes(&shown) };
    let put = memory::write(cage.tid(id), buffer, &bytes);
    cage.note(bytes);
    Outcome::Return(put.map_or_else(|errno| errno, |()| 0))
}

/// Whether the call follows a link at the end of its path; `None` when it has flags that only the kernel knows.
fn follows(call: &Call) -> Option<bool> {
    let flags = match call.number {
        libc::SYS_stat => return Some(true),
        libc::SYS_lstat => return Some(false),
        libc::SYS_newfstatat => call.int(3),
        _ => call.int(2) & !libc::AT_STATX_SYNC_TYPE,
    };
    let known = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_EMPTY_PATH;
    (flags & !known == 0).then_some(flags & libc::AT_SYMLINK_NOFOLLOW == 0)
}

fn proc_name_of(cage: &Supervisor, id: TaskId, fd: &std::os::fd::OwnedFd) -> Option<Vec<u8>> {
    paths::proc_name(cage, id, &paths::path_of(fd)?)
}

/// The kernel answers about a path; the answer at `buffer` is rewritten.
fn of_path(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    dir: i32,
    path: u64,
    buffer: u64,
) -> Result<Outcome, Stop> {
    let place = match Place::read(cage, id, dir, path) {
        Ok(place) => place,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    if procfs::hides(cage, id, &place) {
        cage.note(place.text);
        return Ok(err(libc::ENOENT));
    }
    let extended = call.number == libc::SYS_statx;
    if let Some(found) = follows(call).and_then(|follow| place.find(cage, id, follow)) {
        cage.note(place.text);
        return Ok(match found.map(|fd| sys::fstat(fd.as_fd())) {
            Ok(Ok(st)) => told(cage, id, &st, buffer, extended, None),
            Ok(Err(_)) => err(libc::EIO),
            Err(errno) => err(errno),
        });
    }
    let Some(result) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if result == 0 {
        let bytes = match memory::read(cage.tid(id), buffer, if extended { STATX } else { STAT }) {
            Ok(bytes) => bytes,
            Err(errno) => return Ok(Outcome::Done(errno)),
        };
        let bytes = rewritten(cage, id, &place, &bytes, extended);
        if let Err(errno) = memory::write(cage.tid(id), buffer, &bytes) {
            return Ok(Outcome::Done(errno));
        }
        cage.note(bytes);
    }
    cage.note(place.text);
    Ok(Outcome::Done(result))
}

/// The kernel's answer as the program shall see it.
fn rewritten(cage: &mut Supervisor, id: TaskId, place: &Place, bytes: &[u8], extended: bool) -> Vec<u8> {
    let answer: Option<libc::statx> = if extended { sys::from_bytes(bytes) } else { None };
    let st = match &answer {
        Some(answer) => Some(from_statx(answer)),
        None => sys::from_bytes::<libc::stat>(bytes),
    };
    let Some(st) = st else { return bytes.to_vec() };
    let name = if cage.tree().is_some_and(|t| t.in_proc(&st)) {
        place.absolute(cage, id).and_then(|path| paths::proc_name(cage, id, &path))
    } else {
        None
    };
    let Some(tree) = cage.tree_mut() else { return bytes.to_vec() };
    let shown = tree.shown(&st, false, name.as_deref());
    match answer {
        Some(answer) => sys::to_bytes(&as_statx(&shown, Some(&answer))),
        None => sys::to_bytes(&shown),
    }
}

fn from_statx(x: &libc::statx) -> libc::stat {
    let mut st: libc::stat = sys::from_bytes(&[0; STAT]).expect("as long as the structure");
    st.st_dev = libc::makedev(x.stx_dev_major, x.stx_dev_minor);
    st.st_rdev = libc::makedev(x.stx_rdev_major, x.stx_rdev_minor);
    (st.st_ino, st.st_nlink, st.st_mode) = (x.stx_ino, x.stx_nlink.into(), x.stx_mode.into());
    (st.st_uid, st.st_gid, st.st_size) = (x.stx_uid, x.stx_gid, x.stx_size as i64);
    (st.st_mtime, st.st_mtime_nsec) = (x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec.into());
    st
}

/// `statx` tells no more than `stat`: no time of birth, no attributes of the host's file system. A `mask` of what was
/// told comes back without what is left out.
fn as_statx(st: &libc::stat, answer: Option<&libc::statx>) -> libc::statx {
    let mut x: libc::statx = sys::from_bytes(&[0; STATX]).expect("as long as the structure");
    let zero = x.stx_atime;
    let time = |(seconds, nanoseconds): Moment| {
        let mut stamp = zero;
        (stamp.tv_sec, stamp.tv_nsec) = (seconds, nanoseconds as u32);
        stamp
    };
    x.stx_mask = libc::STATX_BASIC_STATS & answer.map_or(libc::STATX_BASIC_STATS, |a| a.stx_mask);
    x.stx_blksize = st.st_blksize as u32;
    (x.stx_nlink, x.stx_uid, x.stx_gid) = (st.st_nlink as u32, st.st_uid, st.st_gid);
    (x.stx_mode, x.stx_ino) = (st.st_mode as u16, st.st_ino);
    (x.stx_size, x.stx_blocks) = (st.st_size as u64, st.st_blocks as u64);
    x.stx_atime = time((st.st_atime, st.st_atime_nsec));
    x.stx_mtime = time((st.st_mtime, st.st_mtime_nsec));
    x.stx_ctime = time((st.st_ctime, st.st_ctime_nsec));
    (x.stx_rdev_major, x.stx_rdev_minor) = (libc::major(st.st_rdev), libc::minor(st.st_rdev));
    (x.stx_dev_major, x.stx_dev_minor) = (libc::major(st.st_dev), libc::minor(st.st_dev));
    x
}

/// The kernel says which kind of file system it is; sizes are those of the specification, and all of it is free.
fn file_system(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let place = if call.number == libc::SYS_statfs {
        match Place::read(cage, id, libc::AT_FDCWD, call.args[0]) {
            Ok(place) if procfs::hides(cage, id, &place) => return Ok(err(libc::ENOENT)),
            Ok(place) => place.text,
            Err(errno) => return Ok(Outcome::Return(errno)),
        }
    } else {
        Vec::new()
    };
    let Some(result) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if result == 0 {
        let tid = cage.tid(id);
        let Ok(kernel) = memory::read(tid, call.args[1], STATFS) else {
            return Ok(Outcome::Done(memory::EFAULT));
        };
        let mut shown: libc::statfs = sys::from_bytes(&[0; STATFS]).expect("as long as the structure");
        let real: libc::statfs = sys::from_bytes(&kernel).expect("as long as the structure");
        shown.f_type = real.f_type;
        (shown.f_bsize, shown.f_frsize, shown.f_namelen) = (tree::BLOCK, tree::BLOCK, 255);
        if real.f_type != libc::PROC_SUPER_MAGIC {
            let [bytes, inodes] = cage.settings().disk;
            shown.f_blocks = bytes / tree::BLOCK as u64;
            (shown.f_bfree, shown.f_bavail) = (shown.f_blocks, shown.f_blocks);
            (shown.f_files, shown.f_ffree) = (inodes, inodes);
        }
        let mut bytes = sys::to_bytes(&shown);
        bytes[MOUNT_FLAGS].copy_from_slice(&kernel[MOUNT_FLAGS]);
        if let Err(errno) = memory::write(tid, call.args[1], &bytes) {
            return Ok(Outcome::Done(errno));
        }
        cage.note(bytes);
    }
    cage.note(place);
    Ok(Outcome::Done(result))
}

/// The times that a call asks for: the access and the modification time, `None` where it stays as it is.
fn wanted_times(cage: &Supervisor, id: TaskId, call: &Call, now: Moment) -> Result<[Option<Moment>; 2], i64> {
    let tid = cage.tid(id);
    let from = match call.number {
        libc::SYS_utime | libc::SYS_utimes => call.args[1],
        _ => call.args[2],
    };
    if from == 0 {
        return Ok([Some(now); 2]);
    }
    if call.number == libc::SYS_utime {
        return Ok(memory::words::<2>(tid, from)?.map(|seconds| Some((seconds as i64, 0))));
    }
    let [a, a_part, m, m_part] = memory::words::<4>(tid, from)?.map(|word| word as i64);
    Ok([(a, a_part), (m, m_part)].map(|(seconds, part)| match part {
        part if call.number != libc::SYS_utimensat => Some((seconds, part.wrapping_mul(1000))),
        libc::UTIME_NOW => Some(now),
        libc::UTIME_OMIT => None,
        part => Some((seconds, part)),
    }))
}

fn set_times(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let now = tree::moment(cage.clock.real());
    let times = match wanted_times(cage, id, call, now) {
        Ok(times) => times,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let (dir, path) = match call.number {
        libc::SYS_utime | libc::SYS_utimes => (libc::AT_FDCWD, call.args[0]),
        _ => (call.int(0), call.args[1]),
    };
    let place = match path {
        0 => Ok(Place { dir, text: Vec::new() }),
        path => Place::read(cage, id, dir, path),
    };
    let Some(result) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if let Ok(place) = place {
        let follow = call.number != libc::SYS_utimensat || call.int(3) & libc::AT_SYMLINK_NOFOLLOW == 0;
        if result == 0
            && let Some(st) = place.look(cage, id, follow)
            && let Some(tree) = cage.tree_mut()
        {
            tree.set_times(&st, times, now);
        }
        cage.note(place.text);
    }
    cage.note(
        times
            .iter()
            .flatten()
            .flat_map(|(s, n)| [s.to_le_bytes(), n.to_le_bytes()])
            .flatten()
            .collect::<Vec<_>>(),
    );
    Ok(Outcome::Done(result))
}
