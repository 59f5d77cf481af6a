//! Reads and writes that may have to wait for somebody.
//!
//! The supervisor moves the bytes itself, through its own copy of the descriptor and without waiting, so they go into
//! the trace and a call that would block parks its task instead. A regular file never blocks; its reads go the same
//! way.

use std::os::fd::{AsRawFd, OwnedFd};

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Wait, Watched};
use crate::sys;

/// Most bytes moved by one call, as the kernel's own bound.
const MOST: u64 = 16 << 20;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_read | libc::SYS_readv => read(cage, id, call),
        libc::SYS_write | libc::SYS_writev => write(cage, id, call),
        _ => Err(super::unmodelled(call)),
    }
}

/// The buffers of a call: one, or a vector.
fn buffers(cage: &Supervisor, id: TaskId, call: &Call) -> Result<Vec<(u64, u64)>, i64> {
    let [_, address, length, ..] = call.args;
    if matches!(call.number, libc::SYS_read | libc::SYS_write) {
        return Ok(vec![(address, length.min(MOST))]);
    }
    if length > 1024 {
        return Err(-i64::from(libc::EINVAL));
    }
    let raw = memory::read(cage.tid(id), address, length as usize * 16)?;
    let word = |part: &[u8]| u64::from_le_bytes(part.try_into().expect("eight bytes"));
    let mut left = MOST;
    let list = raw.chunks_exact(16).map(|entry| {
        let length = word(&entry[8..]).min(left);
        left -= length;
        (word(&entry[..8]), length)
    });
    Ok(list.collect())
}

fn flags(fd: &OwnedFd) -> i32 {
    sys::descriptor_flags(fd.as_raw_fd()).unwrap_or(0)
}

fn block(fd: OwnedFd, events: i16) -> Outcome {
    Outcome::Block(Wait { descriptors: vec![Watched { fd, events }], ..Wait::default() })
}

fn ready(fd: &OwnedFd, events: i16) -> bool {
    let mut one = [libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }];
    sys::poll(&mut one, Some(0)).unwrap_or(true)
}

fn read(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let fd = match cage.descriptor(id, call.int(0)) {
        Ok(fd) => fd,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let list = match buffers(cage, id, call) {
        Ok(list) => list,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    if let Some(outcome) = super::random::device(cage, id, &fd, &list) {
        return Ok(outcome);
    }
    if !ready(&fd, libc::POLLIN) {
        return Ok(if flags(&fd) & libc::O_NONBLOCK != 0 { err(libc::EAGAIN) } else { block(fd, libc::POLLIN) });
    }
    let total: u64 = list.iter().map(|(_, length)| length).sum();
    let mut bytes = vec![0; total as usize];
    let got = match sys::read(std::os::fd::AsFd::as_fd(&fd), &mut bytes) {
        Ok(got) => got,
        Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EIO))),
    };
    bytes.truncate(got);
    let mut rest = &bytes[..];
    for (address, length) in list {
        let (now, later) = rest.split_at(rest.len().min(length as usize));
        if let Err(errno) = memory::write(cage.tid(id), address, now) {
            return Ok(Outcome::Return(errno));
        }
        rest = later;
    }
    cage.note(bytes);
    Ok(Outcome::Return(got as i64))
}

fn write(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let fd = match cage.descriptor(id, call.int(0)) {
        Ok(fd) => fd,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let list = match buffers(cage, id, call) {
        Ok(list) => list,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let mut bytes = Vec::new();
    for (address, length) in list {
        match memory::read(cage.tid(id), address, length as usize) {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(errno) => return Ok(Outcome::Return(errno)),
        }
    }
    let moved = cage.task(id).moved as usize;
    if !ready(&fd, libc::POLLOUT) {
        return Ok(if flags(&fd) & libc::O_NONBLOCK != 0 && moved == 0 {
            err(libc::EAGAIN)
        } else {
            block(fd, libc::POLLOUT)
        });
    }
    let done = match sys::write_now(&fd, &bytes[moved..]) {
        Ok(done) => done,
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(block(fd, libc::POLLOUT)),
        Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
            sys::kill(cage.tid(id), libc::SIGPIPE);
            return Ok(err(libc::EPIPE));
        }
        Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EIO))),
    };
    cage.task_mut(id).moved += done as u64;
    cage.pump();
    if moved + done < bytes.len() && flags(&fd) & libc::O_NONBLOCK == 0 {
        return Ok(block(fd, libc::POLLOUT));
    }
    cage.note(bytes);
    Ok(Outcome::Return((moved + done) as i64))
}
