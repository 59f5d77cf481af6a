//! What the classes that move bytes share: what a descriptor is, whether it is ready, the buffers of a call.
//!
//! Owns the bounds on what one attempt takes into the supervisor's memory, and how moved bytes get into the trace:
//! themselves while they are few, else their digest. Nothing here waits.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use sha2::{Digest, Sha256};

use super::{Outcome, Stop, Supervisor};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Wait, Watched};
use crate::sys;

/// Most bytes that pass through the supervisor's memory in one attempt of a call.
pub(super) const PIECE: u64 = 256 << 10;
/// More moved bytes than this go into the trace as their digest.
const INLINE: u64 = 64 << 10;
/// Most bytes that the kernel moves in one call.
const MOST: u64 = 0x7fff_f000;
/// Buffers of one call, as the kernel bounds them.
const VECTORS: u64 = 1024;
/// How long a task waits for a change that nothing announces before it looks again, nanoseconds of logical time.
pub(super) const LOOK_AGAIN: u64 = 1_000_000;

/// What stands behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A pipe, named or not.
    Pipe,
    /// A socket of any family.
    Socket,
    /// A file or directory: never waits.
    File,
    /// A device of those that never wait. The kernel cuts their reads short for a signal, so only the task itself
    /// reads.
    Device,
    /// An event counter, a watch, an epoll set.
    Other,
}

/// A call's descriptor.
pub(super) struct Stream {
    /// The supervisor's copy.
    pub fd: OwnedFd,
    /// What it is.
    pub kind: Kind,
    /// Its number on its file system.
    pub inode: u64,
    flags: i32,
}

impl Stream {
    /// The descriptor `fd` of the task.
    pub(super) fn of(cage: &Supervisor, id: TaskId, fd: i32) -> Result<Self, i64> {
        let fd = cage.descriptor(id, fd)?;
        let errno = |e: std::io::Error| -i64::from(e.raw_os_error().unwrap_or(libc::EBADF));
        let st = sys::fstat(fd.as_fd()).map_err(errno)?;
        let kind = match st.st_mode & libc::S_IFMT {
            libc::S_IFIFO => Kind::Pipe,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::File,
            libc::S_IFCHR => Kind::Device,
            _ => Kind::Other,
        };
        let flags = sys::descriptor_flags(fd.as_raw_fd()).map_err(errno)?;
        Ok(Self { fd, kind, inode: st.st_ino, flags })
    }

    /// The program asked not to wait.
    pub(super) fn impatient(&self) -> bool {
        self.flags & libc::O_NONBLOCK != 0
    }

    /// The status flags.
    pub(super) fn flags(&self) -> i32 {
        self.flags
    }

    /// One of `events`, an error or a hang-up is there now.
    pub(super) fn ready(&self, events: i16) -> bool {
        let mut one = [libc::pollfd { fd: self.fd.as_raw_fd(), events, revents: 0 }];
        sys::poll(&mut one, Some(0)).unwrap_or(true)
    }

    /// Waits for `events`, until `deadline` if there is one.
    pub(super) fn wait(self, events: i16, deadline: Option<u64>) -> Outcome {
        Outcome::Block(Wait {
            descriptors: vec![Watched { fd: self.fd, events }],
            deadline,
            ..Wait::default()
        })
    }

    /// Runs `work` while the description does not wait, whatever the program asked for. Every task stands still or is
    /// the one that works, so nobody else sees it.
    pub(super) fn without_waiting<T>(
        streams: &[&Self],
        work: impl FnOnce() -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let patient = || streams.iter().filter(|s| !s.impatient());
        for stream in patient() {
            sys::set_descriptor_flags(stream.fd.as_fd(), stream.flags | libc::O_NONBLOCK)
                .map_err(|e| Stop::broken("set a descriptor's flags", &e))?;
        }
        let done = work();
        for stream in patient() {
            sys::set_descriptor_flags(stream.fd.as_fd(), stream.flags)
                .map_err(|e| Stop::broken("set a descriptor's flags", &e))?;
        }
        done
    }
}

/// Waits for a change that nothing announces: looks again soon, or when some task did something that may matter.
pub(super) fn look_again(cage: &Supervisor) -> Outcome {
    let deadline = Some(cage.clock.now() + LOOK_AGAIN);
    Outcome::Block(Wait { any: true, deadline, ..Wait::default() })
}

/// Address and length of each buffer.
pub(super) type Buffers = Vec<(u64, u64)>;

/// One buffer, at most what the kernel moves at once.
pub(super) fn one_buffer(address: u64, length: u64) -> Buffers {
    vec![(address, length.min(MOST))]
}

/// The buffers that an array of `count` `iovec`s at `address` names.
pub(super) fn vector(tid: i32, address: u64, count: u64) -> Result<Buffers, i64> {
    if count > VECTORS {
        return Err(-i64::from(libc::EINVAL));
    }
    let raw = memory::read(tid, address, count as usize * 16)?;
    let word = |part: &[u8]| u64::from_le_bytes(part.try_into().expect("eight bytes"));
    let mut left = MOST;
    let mut list = Vec::with_capacity(count as usize);
    for entry in raw.chunks_exact(16) {
        let (address, length) = (word(&entry[..8]), word(&entry[8..]));
        if length > i64::MAX as u64 {
            return Err(-i64::from(libc::EINVAL));
        }
        let length = length.min(left);
        left -= length;
        list.push((address, length));
    }
    Ok(list)
}

/// Bytes that the buffers hold together.
pub(super) fn total(buffers: &[(u64, u64)]) -> u64 {
    buffers.iter().map(|(_, length)| length).sum()
}

/// What is left of the buffers behind the first `skipped` bytes.
pub(super) fn rest(buffers: &[(u64, u64)], mut skipped: u64) -> Buffers {
    let mut left = Vec::with_capacity(buffers.len());
    for (address, length) in buffers {
        let now = skipped.min(*length);
        skipped -= now;
        if now < *length {
            left.push((address + now, length - now));
        }
    }
    left
}

/// The bytes in the buffers, at most `limit` of them.
pub(super) fn gather(tid: i32, buffers: &[(u64, u64)], limit: u64) -> Result<Vec<u8>, i64> {
    let mut bytes = Vec::new();
    for (address, length) in buffers {
        let length = (*length).min(limit - bytes.len() as u64);
        let before = bytes.len();
        bytes.resize(before + length as usize, 0);
        if let Err(errno) = memory::fill(tid, *address, &mut bytes[before..]) {
            bytes.truncate(before);
            return if before == 0 { Err(errno) } else { Ok(bytes) };
        }
    }
    Ok(bytes)
}

/// Spreads bytes over the buffers.
pub(super) fn scatter(tid: i32, buffers: &[(u64, u64)], bytes: &[u8]) -> Result<(), i64> {
    let mut left = bytes;
    for (address, length) in buffers {
        let (now, later) = left.split_at(left.len().min(*length as usize));
        memory::write(tid, *address, now)?;
        left = later;
    }
    Ok(())
}

/// Puts the first `moved` bytes of the buffers, as they are in the task's memory, into the trace.
pub(super) fn note_moved(cage: &mut Supervisor, id: TaskId, buffers: &[(u64, u64)], moved: u64) {
    let tid = cage.tid(id);
    if moved <= INLINE {
        if let Ok(bytes) = gather(tid, buffers, moved) {
            cage.note(bytes);
        }
        return;
    }
    let mut digest = Sha256::new();
    let mut done = 0;
    while done < moved {
        let Ok(piece) = gather(tid, &rest(buffers, done), PIECE.min(moved - done)) else { break };
        if piece.is_empty() {
            break;
        }
        digest.update(&piece);
        done += piece.len() as u64;
    }
    cage.note(digest.finalize().to_vec());
}

impl Supervisor {
    /// The call has been made by the kernel, in one form or several: this is its result for the program.
    pub(super) fn give_result(&mut self, id: TaskId, value: i64) -> Result<Outcome, Stop> {
        let task = self.task_mut(id);
        if task.registers.rax as i64 != value {
            task.registers.rax = value as u64;
            self.write_registers(id)?;
        }
        Ok(Outcome::Done(value))
    }

    /// Has the kernel make a form of the call that does not wait, with the same effect. `None`: the task is gone.
    pub(super) fn execute_as(
        &mut self,
        id: TaskId,
        number: i64,
        args: [u64; 6],
    ) -> Result<Option<i64>, Stop> {
        self.execute(id, &Call { number, args })
    }
}
