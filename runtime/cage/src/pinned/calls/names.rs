//! Names that come and go, and links: the kernel does it, the supervisor notes the logical time.

use std::os::fd::AsRawFd;

use super::{Outcome, Stop, Supervisor, err, procfs};
use crate::pinned::memory;
use crate::pinned::paths::Place;
use crate::pinned::task::{Call, TaskId};
use crate::pinned::tree;
use crate::sys;

/// What a call does to names, when it succeeds.
#[derive(Default)]
struct Effect {
    /// Directories of these places change.
    entries: Vec<Place>,
    /// This is new.
    made: Option<Place>,
    /// The content of this changes.
    written: Option<Place>,
    /// Something else of this changes.
    changed: Option<Place>,
}

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    if matches!(call.number, libc::SYS_readlink | libc::SYS_readlinkat) {
        return read_link(cage, id, call);
    }
    let effect = match effect(cage, id, call) {
        Ok(Some(effect)) => effect,
        Ok(None) => return Err(super::unmodelled(call)),
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let Some(result) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if result == 0 {
        apply(cage, id, &effect);
    }
    for place in effect.entries.into_iter().chain(effect.written) {
        cage.note(place.text);
    }
    Ok(Outcome::Done(result))
}

fn effect(cage: &Supervisor, id: TaskId, call: &Call) -> Result<Option<Effect>, i64> {
    let here = |path: usize| Place::read(cage, id, libc::AT_FDCWD, call.args[path]);
    let at = |dir: usize, path: usize| Place::read(cage, id, call.int(dir), call.args[path]);
    let make = |place: Place| Effect { entries: vec![place.clone()], made: Some(place), ..Effect::default() };
    let remove = |place: Place| Effect { entries: vec![place], ..Effect::default() };
    let rename = |from: Place, to: Place| Effect {
        entries: vec![from, to.clone()],
        changed: Some(to),
        ..Effect::default()
    };
    let write = |place: Place| Effect { written: Some(place), ..Effect::default() };
    Ok(Some(match call.number {
        libc::SYS_mkdir | libc::SYS_mknod => make(here(0)?),
        libc::SYS_mkdirat | libc::SYS_mknodat => make(at(0, 1)?),
        libc::SYS_symlink => make(here(1)?),
        libc::SYS_symlinkat => make(at(1, 2)?),
        libc::SYS_rmdir | libc::SYS_unlink => remove(here(0)?),
        libc::SYS_unlinkat => remove(at(0, 1)?),
        libc::SYS_rename => rename(here(0)?, here(1)?),
        libc::SYS_renameat | libc::SYS_renameat2 => rename(at(0, 1)?, at(2, 3)?),
        libc::SYS_link => Effect { changed: Some(here(1)?), ..remove(here(1)?) },
        libc::SYS_linkat => Effect { changed: Some(at(2, 3)?), ..remove(at(2, 3)?) },
        libc::SYS_truncate => write(here(0)?),
        libc::SYS_ftruncate => write(Place { dir: call.int(0), text: Vec::new() }),
        _ => return Ok(None),
    }))
}

fn apply(cage: &mut Supervisor, id: TaskId, effect: &Effect) {
    let now = tree::moment(cage.clock.real());
    let parents: Vec<_> = effect.entries.iter().filter_map(|place| place.parent(cage, id)).collect();
    let made = effect.made.as_ref().and_then(|place| place.look(cage, id, false));
    let written = effect.written.as_ref().and_then(|place| place.look(cage, id, true));
    let changed = effect.changed.as_ref().and_then(|place| place.look(cage, id, false));
    let Some(tree) = cage.tree_mut() else { return };
    parents.iter().for_each(|st| tree.touch(st, now, false));
    if let Some(st) = made {
        tree.touch(&st, now, true);
    }
    if let Some(st) = written {
        tree.touch(&st, now, false);
    }
    if let Some(st) = changed {
        tree.change(&st, now);
    }
}

fn read_link(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let (dir, path, buffer, room) = match (call.number, call.args) {
        (libc::SYS_readlink, [path, buffer, room, ..]) => (libc::AT_FDCWD, path, buffer, room),
        (_, [_, path, buffer, room, ..]) => (call.int(0), path, buffer, room),
    };
    let place = match Place::read(cage, id, dir, path) {
        Ok(place) if procfs::hides(cage, id, &place) => return Ok(err(libc::ENOENT)),
        Ok(place) => place,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let tid = cage.tid(id);
    if let Some(found) = place.find(cage, id, false).filter(|_| !place.text.is_empty() && room as i64 > 0) {
        cage.note(place.text);
        let target = found.and_then(|fd| {
            sys::readlinkat(fd.as_raw_fd(), c"").map_err(|e| match e.raw_os_error() {
                Some(libc::ENOENT) | None => libc::EINVAL, // what is open but is no link
                Some(errno) => errno,
            })
        });
        let mut target = match target {
            Ok(target) => target,
            Err(errno) => return Ok(err(errno)),
        };
        target.truncate(room as usize);
        let length = target.len() as i64;
        let put = memory::write(tid, buffer, &target);
        cage.note(target);
        return Ok(Outcome::Return(put.map_or_else(|errno| errno, |()| length)));
    }
    let Some(result) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    cage.note(place.text);
    let Ok(length) = usize::try_from(result) else { return Ok(Outcome::Done(result)) };
    let Ok(text) = memory::read(tid, buffer, length) else { return Ok(Outcome::Done(result)) };
    let Some(mut shown) = shown_link(cage, &text) else {
        cage.note(text);
        return Ok(Outcome::Done(result));
    };
    shown.truncate(room as usize);
    if let Err(errno) = memory::write(tid, buffer, &shown) {
        cage.set_result(id, errno)?;
        return Ok(Outcome::Done(errno));
    }
    let length = shown.len() as i64;
    cage.note(shown);
    cage.set_result(id, length)?;
    Ok(Outcome::Done(length))
}

/// What a link of `/proc` shows instead of the kernel's numbers; `None` when it has none.
fn shown_link(cage: &mut Supervisor, text: &[u8]) -> Option<Vec<u8>> {
    let tree = cage.tree_mut()?;
    if let Some(name) = tree.name_behind(text) {
        return Some([b"/proc/", name].concat());
    }
    let number =
        |kind: &str| std::str::from_utf8(text).ok()?.strip_prefix(kind)?.strip_suffix(']')?.parse().ok();
    if let Some(inode) = number("pipe:[") {
        return Some(format!("pipe:[{}]", tree.number_of_pipe(inode)).into_bytes());
    }
    let inode = number("socket:[")?;
    Some(format!("socket:[{}]", tree.number_of_socket(inode)).into_bytes())
}
