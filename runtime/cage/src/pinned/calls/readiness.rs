//! Waiting for several descriptors: `poll`, `select` and epoll in all their forms.
//!
//! The supervisor asks its own copies of the descriptors, without waiting, and parks the task when none is ready; the
//! deadline is logical. The events of an epoll set are taken by the kernel in the task, because taking them changes
//! the set. Signal descriptors are ready for their reader only, so with one among them the task asks itself.

use std::os::fd::AsRawFd;

use super::moving::Stream;
use super::{Outcome, Stop, Supervisor, err, signals};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Wait, Watched, Woken};
use crate::sys;

/// Descriptors of one call: more than a process can hold.
const MOST: u64 = 1 << 16;
/// Bytes of `struct pollfd`.
const POLLFD: usize = 8;
/// Bytes of `struct epoll_event`.
const EPOLL_EVENT: u64 = 12;
/// Errno of a bad address.
const EFAULT: i64 = memory::EFAULT;

/// What `select` calls readable, writable and exceptional.
const READABLE: i16 = libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND;
const WRITABLE: i16 = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;
const URGENT: i16 = libc::POLLPRI;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    cage.settle_network()?;
    let terms = match Terms::of(cage, id, call) {
        Ok(terms) => terms,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    match call.number {
        libc::SYS_poll | libc::SYS_ppoll => poll(cage, id, call, terms),
        libc::SYS_select | libc::SYS_pselect6 => select(cage, id, call, terms),
        _ => epoll(cage, id, call, terms),
    }
}

/// How long a call waits, and under which mask.
struct Terms {
    /// It does not wait at all.
    at_once: bool,
    deadline: Option<u64>,
    mask: Option<u64>,
}

impl Terms {
    fn of(cage: &Supervisor, id: TaskId, call: &Call) -> Result<Self, i64> {
        let tid = cage.tid(id);
        let args = &call.args;
        let mask = mask(tid, call)?;
        if cage.task(id).woken != Woken::Not {
            return Ok(Self { at_once: false, deadline: cage.task(id).deadline, mask });
        }
        let milliseconds = |ms: i32| u64::try_from(ms).ok().map(|ms| ms * 1_000_000);
        let at = |address: u64, read: fn(i32, u64) -> Result<u64, i64>| match address {
            0 => Ok(None),
            address => read(tid, address).map(Some),
        };
        let length = match call.number {
            libc::SYS_poll => milliseconds(call.int(2)),
            libc::SYS_epoll_wait | libc::SYS_epoll_pwait => milliseconds(call.int(3)),
            libc::SYS_ppoll => at(args[2], memory::timespec)?,
            libc::SYS_epoll_pwait2 => at(args[3], memory::timespec)?,
            libc::SYS_pselect6 => at(args[4], memory::timespec)?,
            _ => at(args[4], memory::timeval)?,
        };
        let deadline = length.map(|length| cage.clock.now().saturating_add(length));
        Ok(Self { at_once: length == Some(0), deadline, mask })
    }

    /// The wait is over although nothing is ready.
    fn over(&self, cage: &Supervisor, id: TaskId) -> bool {
        self.at_once || cage.task(id).woken == Woken::TimedOut
    }

    /// Parks the task.
    fn wait(self, cage: &mut Supervisor, id: TaskId, descriptors: Vec<Watched>, signals: u64) -> Outcome {
        if self.mask.is_some() && cage.task(id).woken == Woken::Not {
            cage.stir(true); // what the mask lets through may be pending already
        }
        Outcome::Block(Wait {
            descriptors,
            deadline: self.deadline,
            mask: self.mask,
            signals,
            ..Wait::default()
        })
    }
}

/// The mask of blocked signals that a call brings along.
pub(super) fn mask(tid: i32, call: &Call) -> Result<Option<u64>, i64> {
    let args = &call.args;
    match call.number {
        libc::SYS_ppoll => given_mask(tid, args[3], args[4]),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => given_mask(tid, args[4], args[5]),
        libc::SYS_pselect6 if args[5] != 0 => {
            let [set, size] = memory::words::<2>(tid, args[5])?;
            given_mask(tid, set, size)
        }
        _ => Ok(None),
    }
}

fn given_mask(tid: i32, address: u64, size: u64) -> Result<Option<u64>, i64> {
    match (address, size) {
        (0, _) => Ok(None),
        (address, 8) => memory::words::<1>(tid, address).map(|[mask]| Some(mask)),
        _ => Err(-i64::from(libc::EINVAL)),
    }
}

/// Writes back what is left of the time, for the calls that do.
fn write_left(cage: &Supervisor, id: TaskId, call: &Call, terms: &Terms) {
    let left = terms.deadline.map_or(0, |at| at.saturating_sub(cage.clock.now()));
    let (place, words) = match call.number {
        libc::SYS_ppoll => (call.args[2], memory::as_timespec(left)),
        libc::SYS_pselect6 => (call.args[4], memory::as_timespec(left)),
        libc::SYS_select => (call.args[4], memory::as_timeval(left)),
        _ => return,
    };
    if place != 0 && !terms.at_once {
        let _ = memory::write_words(cage.tid(id), place, &words); // the kernel does not mind either
    }
}

/// Asks copies of descriptors: their answers, in order. A descriptor that is not open answers `POLLNVAL`.
struct Asked {
    copies: Vec<Option<Watched>>,
    answers: Vec<i16>,
}

impl Asked {
    fn ask(cage: &Supervisor, id: TaskId, wanted: impl Iterator<Item = (i32, i16)>) -> Result<Self, Stop> {
        let mut copies = Vec::new();
        let mut asked = Vec::new();
        for (fd, events) in wanted {
            let copy = if fd < 0 { None } else { cage.descriptor(id, fd).ok() };
            asked.push(libc::pollfd { fd: copy.as_ref().map_or(-1, AsRawFd::as_raw_fd), events, revents: 0 });
            if fd >= 0 && copy.is_none() {
                asked.last_mut().expect("just added").revents = libc::POLLNVAL;
            }
            copies.push(copy.map(|fd| Watched { fd, events }));
        }
        let closed: Vec<bool> = asked.iter().map(|one| one.revents == libc::POLLNVAL).collect();
        sys::poll(&mut asked, Some(0)).map_err(|e| Stop::broken("poll", &e))?;
        let answer = |(one, closed): (&libc::pollfd, bool)| if closed { libc::POLLNVAL } else { one.revents };
        let answers = asked.iter().zip(closed).map(answer).collect();
        Ok(Self { copies, answers })
    }

    fn watched(self) -> Vec<Watched> {
        self.copies.into_iter().flatten().collect()
    }
}

fn poll(cage: &mut Supervisor, id: TaskId, call: &Call, terms: Terms) -> Result<Outcome, Stop> {
    let [address, count, ..] = call.args;
    let tid = cage.tid(id);
    if count > MOST {
        return Ok(err(libc::EINVAL));
    }
    let mut list = match memory::read(tid, address, count as usize * POLLFD) {
        Ok(list) => list,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let entry = |one: &[u8]| {
        let fd = i32::from_le_bytes([one[0], one[1], one[2], one[3]]);
        (fd, i16::from_le_bytes([one[4], one[5]]))
    };
    let own = signals::descriptors(cage, id, list.chunks_exact(POLLFD).map(|one| entry(one).0));
    if let Some(signals) = own {
        return poll_in_task(cage, id, call, terms, signals);
    }
    let asked = Asked::ask(cage, id, list.chunks_exact(POLLFD).map(entry))?;
    let ready = asked.answers.iter().filter(|answer| **answer != 0).count();
    if ready == 0 && !terms.over(cage, id) {
        return Ok(terms.wait(cage, id, asked.watched(), 0));
    }
    for (one, answer) in list.chunks_exact_mut(POLLFD).zip(&asked.answers) {
        one[6..8].copy_from_slice(&answer.to_le_bytes());
    }
    if memory::write(tid, address, &list).is_err() {
        return Ok(Outcome::Return(EFAULT));
    }
    write_left(cage, id, call, &terms);
    cage.note(list);
    Ok(Outcome::Return(ready as i64))
}

/// With a signal descriptor among them.
fn poll_in_task(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    terms: Terms,
    signals: u64,
) -> Result<Outcome, Stop> {
    let [address, count, ..] = call.args;
    let Some(ready) = cage.execute_as(id, libc::SYS_poll, [address, count, 0, 0, 0, 0])? else {
        return Ok(Outcome::Gone);
    };
    if ready == 0 && !terms.over(cage, id) {
        cage.rewind(id)?;
        let tid = cage.tid(id);
        let list = memory::read(tid, address, count as usize * POLLFD).unwrap_or_default();
        let fds = list.chunks_exact(POLLFD).map(|one| {
            (i32::from_le_bytes([one[0], one[1], one[2], one[3]]), i16::from_le_bytes([one[4], one[5]]))
        });
        let watched = Asked::ask(cage, id, fds)?.watched();
        let watched = watched.into_iter().filter(|w| !signals::is_descriptor(&w.fd)).collect();
        return Ok(terms.wait(cage, id, watched, signals));
    }
    write_left(cage, id, call, &terms);
    Ok(Outcome::Done(ready))
}

fn select(cage: &mut Supervisor, id: TaskId, call: &Call, terms: Terms) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    let count = match u64::from(call.args[0] as u32) {
        count if call.int(0) >= 0 => count.min(MOST),
        _ => return Ok(err(libc::EINVAL)),
    };
    let bytes = count.div_ceil(64) as usize * 8;
    let mut sets = [Vec::new(), Vec::new(), Vec::new()];
    for (set, address) in sets.iter_mut().zip(&call.args[1..4]) {
        *set = match address {
            0 => vec![0; bytes],
            address => match memory::read(tid, *address, bytes) {
                Ok(set) => set,
                Err(errno) => return Ok(Outcome::Return(errno)),
            },
        };
    }
    let kinds = [READABLE, WRITABLE, URGENT];
    let has = |set: &[u8], fd: u64| set[fd as usize / 8] & 1 << (fd % 8) != 0;
    let wanted: Vec<(i32, i16)> = (0..count)
        .map(|fd| {
            let events =
                kinds.iter().zip(&sets).filter(|(_, set)| has(set, fd)).fold(0, |e, (kind, _)| e | kind);
            (fd as i32, events)
        })
        .filter(|(_, events)| *events != 0)
        .collect();
    let own = signals::descriptors(cage, id, wanted.iter().map(|(fd, _)| *fd));
    let asked = Asked::ask(cage, id, wanted.iter().copied())?;
    if asked.answers.contains(&libc::POLLNVAL) {
        return Ok(err(libc::EBADF));
    }
    let mut found = [vec![0; bytes], vec![0; bytes], vec![0; bytes]];
    let mut ready = 0;
    let also = [libc::POLLHUP | libc::POLLERR, libc::POLLERR, 0];
    for ((fd, events), answer) in wanted.iter().zip(&asked.answers) {
        for ((kind, also), set) in kinds.iter().zip(also).zip(&mut found) {
            if events & kind != 0 && answer & (kind | also) != 0 {
                set[*fd as usize / 8] |= 1 << (fd % 8);
                ready += 1;
            }
        }
    }
    if own.is_some() {
        return Err(super::unmodelled_form(call, "with a signal descriptor"));
    }
    if ready == 0 && !terms.over(cage, id) {
        return Ok(terms.wait(cage, id, asked.watched(), 0));
    }
    for (set, address) in found.iter().zip(&call.args[1..4]) {
        if *address != 0 && memory::write(tid, *address, set).is_err() {
            return Ok(Outcome::Return(EFAULT));
        }
    }
    write_left(cage, id, call, &terms);
    cage.note(found.concat());
    Ok(Outcome::Return(ready))
}

fn epoll(cage: &mut Supervisor, id: TaskId, call: &Call, terms: Terms) -> Result<Outcome, Stop> {
    let [set, address, most, ..] = call.args;
    let stream = match Stream::of(cage, id, set as i32) {
        Ok(stream) => stream,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let signals = cage.classes.signal_descriptors;
    // With signal descriptors only the task itself can tell; the copy must not be asked while one is ready.
    let look = terms.over(cage, id) || signals != 0 || stream.ready(libc::POLLIN);
    if look {
        let args = [set, address, most, 0, 0, 0];
        let Some(ready) = cage.execute_as(id, libc::SYS_epoll_wait, args)? else { return Ok(Outcome::Gone) };
        if ready != 0 || terms.over(cage, id) {
            if ready > 0
                && let Ok(events) = memory::read(cage.tid(id), address, (ready as u64 * EPOLL_EVENT) as usize)
            {
                cage.note(events);
            }
            return Ok(Outcome::Done(ready));
        }
        cage.rewind(id)?;
    }
    let watched = vec![Watched { fd: stream.fd, events: libc::POLLIN }];
    Ok(terms.wait(cage, id, watched, signals))
}
