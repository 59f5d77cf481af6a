//! Opening and closing: the kernel opens, the supervisor notes times and waits for the other side of a FIFO.
//!
//! An open that would wait is made without waiting. For a FIFO without its other side the call is put back: a reader
//! stays open in the supervisor's hand, so that the writer finds it. What lies in `/proc` is opened as the policy of
//! `procfs` says, also when a link led there.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::procfs::{self, Node};
use super::{Outcome, Stop, Supervisor, err, names};
use crate::pinned::memory;
use crate::pinned::paths::{self, Place};
use crate::pinned::task::{Call, TaskId, Wait};
use crate::pinned::tree;
use crate::sys;

/// What the kernel answers inside when a signal ends a call that may be made again.
const ERESTARTSYS: i64 = 512;
/// Flags with which an open never waits, or opens nothing that could.
const NO_WAIT: i32 = libc::O_NONBLOCK | libc::O_PATH | libc::O_DIRECTORY;
/// Status flags that `fcntl` can set.
const SETTABLE: i32 = libc::O_APPEND | libc::O_DIRECT | libc::O_NOATIME | libc::O_ASYNC;

/// An open that takes more than one attempt.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The reading end of a FIFO is open under this number, and waits for a writer.
    Reader { number: i64, fd: OwnedFd, met: bool },
    /// Something of `/proc` that must not be open is, under this number.
    Wrong { number: i64, name: Vec<u8> },
    /// This name in `/proc` is to be opened.
    Named(Vec<u8>),
}

/// Opens under way.
pub(crate) type Openings = BTreeMap<TaskId, Opening>;

/// An open as asked for.
struct Request {
    place: Place,
    flags: i32,
    /// Which arguments are the path and the flags; `creat` has none of the latter.
    path: usize,
    call: Call,
}

impl Request {
    fn read(cage: &Supervisor, id: TaskId, call: &Call) -> Result<Self, i64> {
        let mut call = *call;
        if call.number == libc::SYS_creat {
            call.number = libc::SYS_open;
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            (call.args[1], call.args[2]) = (flags as u64, call.args[1]);
        }
        let (dir, path) =
            if call.number == libc::SYS_openat { (call.int(0), 1) } else { (libc::AT_FDCWD, 0) };
        let place = Place::read(cage, id, dir, call.args[path])?;
        Ok(Self { place, flags: call.int(path + 1), path, call })
    }

    fn access(&self) -> i32 {
        self.flags & libc::O_ACCMODE
    }

    /// Whether the open may have to wait for another task.
    fn may_wait(&self) -> bool {
        self.access() != libc::O_RDWR && self.flags & NO_WAIT == 0
    }

    fn writes(&self) -> bool {
        self.flags & libc::O_PATH == 0 && (self.access() != libc::O_RDONLY || self.flags & libc::O_TRUNC != 0)
    }
}

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_open | libc::SYS_openat | libc::SYS_creat => open(cage, id, call),
        libc::SYS_close => {
            note_close(cage, id, call.int(0));
            Ok(Outcome::Native)
        }
        libc::SYS_close_range => {
            close_range(cage, id, call);
            Ok(Outcome::Native)
        }
        _ => names::handle(cage, id, call),
    }
}

/// A signal ends the waiting.
pub(super) fn interrupted(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let Some(Opening::Reader { number, .. }) = cage.classes.openings.remove(&id) else {
        return super::executed_as_is(cage, id, call);
    };
    let close = Call { number: libc::SYS_close, args: [number as u64, 0, 0, 0, 0, 0] };
    if cage.execute(id, &close)?.is_none() {
        return Ok(Outcome::Gone);
    }
    let task = cage.task_mut(id);
    task.registers.orig_rax = call.number as u64;
    cage.set_result(id, -ERESTARTSYS)?;
    Ok(Outcome::Done(-ERESTARTSYS))
}

fn open(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match cage.classes.openings.remove(&id) {
        Some(Opening::Reader { number, fd, met }) => return wait_for_writer(cage, id, number, fd, met),
        Some(Opening::Wrong { number, name }) => {
            let close = Call { number: libc::SYS_close, args: [number as u64, 0, 0, 0, 0, 0] };
            if cage.execute(id, &close)?.is_none() {
                return Ok(Outcome::Gone);
            }
            return again(cage, id, Opening::Named(name));
        }
        Some(Opening::Named(name)) => {
            return match Request::read(cage, id, call) {
                Ok(request) => open_named(cage, id, &request, &name),
                Err(errno) => Ok(Outcome::Return(errno)),
            };
        }
        None => {}
    }
    let request = match Request::read(cage, id, call) {
        Ok(request) => request,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    if let Some(name) = request.place.in_proc(cage, id)
        && request.flags & libc::O_PATH == 0
        && matches!(procfs::node(&name), Node::Text | Node::Missing)
    {
        return open_named(cage, id, &request, &name);
    }
    if let Some(outcome) = open_plainly(cage, id, &request) {
        return Ok(outcome);
    }
    open_in_tree(cage, id, request)
}

/// An open for reading of what is there and never waits needs nothing of the supervisor, and what is not there is not
/// opened: one stop. `None` for every other.
fn open_plainly(cage: &mut Supervisor, id: TaskId, request: &Request) -> Option<Outcome> {
    const PLAIN: i32 =
        libc::O_CLOEXEC | libc::O_DIRECTORY | libc::O_LARGEFILE | libc::O_NOCTTY | libc::O_NONBLOCK;
    const KERNEL_LARGEFILE: i32 = 0o100000; // zero in the C library's headers, set by its calls all the same
    if request.flags & !(PLAIN | KERNEL_LARGEFILE) != 0 {
        return None;
    }
    let outcome = match request.place.find(cage, id, true)? {
        Ok(fd) => {
            let st = sys::fstat(fd.as_fd()).ok()?;
            if !matches!(st.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR) {
                return None;
            }
            cage.tree_mut()?.note_opened(&fd);
            Outcome::Native
        }
        Err(errno) => err(errno),
    };
    cage.note(request.place.text.clone());
    Some(outcome)
}

/// Puts the call back; its next attempt goes on with `opening`.
fn again(cage: &mut Supervisor, id: TaskId, opening: Opening) -> Result<Outcome, Stop> {
    cage.classes.openings.insert(id, opening);
    cage.rewind(id)?;
    let now = cage.clock.now();
    Ok(Outcome::Block(Wait::until(Some(now))))
}

fn wait_for_writer(
    cage: &mut Supervisor,
    id: TaskId,
    number: i64,
    fd: OwnedFd,
    met: bool,
) -> Result<Outcome, Stop> {
    if met || sys::has_writer(fd.as_fd()).unwrap_or(true) {
        return Ok(Outcome::Return(number));
    }
    cage.classes.openings.insert(id, Opening::Reader { number, fd, met });
    Ok(Outcome::Block(Wait { any: true, ..Wait::default() }))
}

/// Opens a text of the supervisor's in the place of a name in `/proc`.
fn open_named(cage: &mut Supervisor, id: TaskId, request: &Request, name: &[u8]) -> Result<Outcome, Stop> {
    cage.note(name);
    let refused = match procfs::node(name) {
        Node::Text if request.flags & libc::O_DIRECTORY != 0 => Some(libc::ENOTDIR),
        Node::Text if request.writes() => Some(libc::EACCES),
        Node::Text => None,
        _ => Some(libc::ENOENT),
    };
    let text = match refused.map_or_else(|| procfs::text(cage, id, name), Err) {
        Ok(text) => text,
        Err(errno) => return Ok(err(errno)),
    };
    let fail = |e: std::io::Error| Stop::broken("write a file of /proc", &e);
    let Some(tree) = cage.tree_mut() else { return Ok(err(libc::ENOENT)) };
    let (path, file) = tree.synthesise(name, &text).map_err(fail)?;
    cage.note(text);
    // The kernel takes the path from the program's memory: the page of its stack pointer holds it meanwhile.
    let tid = cage.tid(id);
    let at = cage.task(id).registers.rsp & !4095;
    let with_end = [path.as_slice(), b"\0"].concat();
    let place =
        memory::read(tid, at, with_end.len()).and_then(|old| memory::write(tid, at, &with_end).map(|()| old));
    let Ok(old) = place else {
        return Err(super::unmodelled_form(&request.call, "a stack that cannot be written"));
    };
    let mut call = request.call;
    call.args[request.path] = at;
    call.args[request.path + 1] &= !(libc::O_CREAT as u64);
    let result = cage.execute(id, &call)?;
    if let Some(tree) = cage.tree() {
        tree.unname(&file);
    }
    let Some(result) = result else { return Ok(Outcome::Gone) };
    memory::write(tid, at, &old)
        .map_err(|_| Stop::Broken("a stack that could be written cannot any more".into()))?;
    Ok(Outcome::Done(result))
}

fn open_in_tree(cage: &mut Supervisor, id: TaskId, request: Request) -> Result<Outcome, Stop> {
    let creates = request.flags & libc::O_CREAT != 0;
    let existed =
        creates && request.flags & libc::O_EXCL == 0 && request.place.look(cage, id, true).is_some();
    let mut call = request.call;
    if request.may_wait() {
        call.args[request.path + 1] |= libc::O_NONBLOCK as u64;
    }
    let Some(result) = cage.execute(id, &call)? else { return Ok(Outcome::Gone) };
    if result == -i64::from(libc::ENXIO)
        && request.may_wait()
        && request.place.look(cage, id, true).is_some_and(|st| st.st_mode & libc::S_IFMT == libc::S_IFIFO)
    {
        cage.rewind(id)?;
        return Ok(Outcome::Block(Wait { any: true, ..Wait::default() }));
    }
    cage.note(request.place.text.clone());
    if result < 0 {
        return Ok(Outcome::Done(result));
    }
    opened(cage, id, &request, result, creates && !existed)
}

/// The kernel has opened: clears what was only for not waiting, notes times, and looks at what it is.
fn opened(
    cage: &mut Supervisor,
    id: TaskId,
    request: &Request,
    number: i64,
    new: bool,
) -> Result<Outcome, Stop> {
    let Ok(fd) = cage.descriptor(id, number as i32) else { return Ok(Outcome::Done(number)) };
    if request.may_wait() {
        sys::set_descriptor_flags(fd.as_fd(), request.flags & SETTABLE)
            .map_err(|e| Stop::broken("clear a descriptor's flag", &e))?;
    }
    let Ok(st) = sys::fstat(fd.as_fd()) else { return Ok(Outcome::Done(number)) };
    let now = tree::moment(cage.clock.real());
    let Some(tree) = cage.tree_mut() else { return Ok(Outcome::Done(number)) };
    if !new {
        tree.note_opened(&fd);
    }
    match st.st_mode & libc::S_IFMT {
        _ if tree.in_proc(&st) && request.flags & libc::O_PATH == 0 => {
            let name =
                paths::path_of(&fd).and_then(|path| paths::proc_name(cage, id, &path)).unwrap_or_default();
            if !matches!(procfs::node(&name), Node::Native | Node::Directory) {
                cage.classes.data.clear();
                return again(cage, id, Opening::Wrong { number, name });
            }
        }
        libc::S_IFREG if request.writes() || new => {
            tree.touch(&st, now, new);
            if new {
                touch_parent(cage, &fd);
            }
        }
        libc::S_IFIFO if !tree.is_anonymous_pipe(&st) => {
            return opened_fifo(cage, id, request, number, fd, &st);
        }
        _ => {}
    }
    Ok(Outcome::Done(number))
}

/// The directory of a file that has just been made has changed.
fn touch_parent(cage: &mut Supervisor, fd: &OwnedFd) {
    let now = tree::moment(cage.clock.real());
    let Some(tree) = cage.tree_mut() else { return };
    if let Some(parent) = paths::path_of(fd).and_then(|path| paths::parent_of(tree, &path)) {
        tree.touch(&parent, now, false);
    }
}

fn opened_fifo(
    cage: &mut Supervisor,
    id: TaskId,
    request: &Request,
    number: i64,
    fd: OwnedFd,
    st: &libc::stat,
) -> Result<Outcome, Stop> {
    cage.stir(false);
    let same = |other: &OwnedFd| {
        sys::fstat(other.as_fd()).is_ok_and(|o| (o.st_dev, o.st_ino) == (st.st_dev, st.st_ino))
    };
    if request.access() != libc::O_RDONLY {
        for opening in cage.classes.openings.values_mut() {
            if let Opening::Reader { fd, met, .. } = opening {
                *met |= same(fd);
            }
        }
        return Ok(Outcome::Done(number));
    }
    if !request.may_wait() || sys::has_writer(fd.as_fd()).unwrap_or(true) {
        return Ok(Outcome::Done(number));
    }
    cage.classes.data.clear();
    cage.classes.openings.insert(id, Opening::Reader { number, fd, met: false });
    cage.rewind(id)?;
    Ok(Outcome::Block(Wait { any: true, ..Wait::default() }))
}

/// A descriptor is about to be closed: the content of what it could write is as old as that.
fn note_close(cage: &mut Supervisor, id: TaskId, number: i32) {
    let Ok(fd) = cage.descriptor(id, number) else { return };
    let writes = sys::descriptor_flags(fd.as_raw_fd())
        .is_ok_and(|flags| flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_RDONLY);
    if !writes {
        return;
    }
    let now = tree::moment(cage.clock.real());
    if let Ok(st) = sys::fstat(fd.as_fd())
        && st.st_mode & libc::S_IFMT == libc::S_IFREG
        && let Some(tree) = cage.tree_mut()
    {
        tree.touch(&st, now, false);
    }
}

fn close_range(cage: &mut Supervisor, id: TaskId, call: &Call) {
    let (first, last, flags) = (call.args[0] as u32, call.args[1] as u32, call.args[2] as u32);
    if flags & libc::CLOSE_RANGE_CLOEXEC != 0 {
        return;
    }
    let names = std::fs::read_dir(format!("/proc/{}/fd", cage.tid(id))).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    for number in numbers.into_iter().filter(|n| (first..=last).contains(n)) {
        note_close(cage, id, number as i32);
    }
}
