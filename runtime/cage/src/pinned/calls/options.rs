//! Options of sockets that show the host or its time.
//!
//! Owns constants for what the host would answer, and the time limits of sockets, which the kernel keeps and the
//! logical clock enforces. Every other option is the socket's own state and not trapped, or made by the kernel.

use std::os::fd::AsFd;

use super::moving::Stream;
use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Woken};
use crate::sys;

/// Options of `SOL_SOCKET` that are answered with a number.
const NUMBERS: &[(i32, u32)] =
    &[(libc::SO_BUSY_POLL, 0), (libc::SO_INCOMING_CPU, 0), (libc::SO_INCOMING_NAPI_ID, 0)];
/// Options of `SOL_SOCKET` that do not exist here: counters of the host.
const ABSENT: &[i32] = &[libc::SO_COOKIE, SO_MEMINFO, SO_NETNS_COOKIE];
const SO_MEMINFO: i32 = 55;
const SO_NETNS_COOKIE: i32 = 71;
/// Options of `SOL_SOCKET` that stamp packets with the host's time, or send at one.
const STAMPS: &[i32] =
    &[libc::SO_TIMESTAMP, libc::SO_TIMESTAMPNS, libc::SO_TIMESTAMPING, 63, 64, 65, libc::SO_TXTIME];
const TCP_TIMESTAMP: i32 = 24;
const TCP_CC_INFO: i32 = 26;
/// Bytes of `struct tcp_info` that a program may ask for.
const TCP_INFO_BYTES: u32 = 248;

pub(super) fn get(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let (level, name) = (call.int(1), call.int(2));
    match (level, name) {
        (libc::SOL_SOCKET, name) if ABSENT.contains(&name) => Ok(err(libc::ENOPROTOOPT)),
        (libc::SOL_SOCKET, name) => match NUMBERS.iter().find(|(number, _)| *number == name) {
            Some((_, value)) => Ok(answer(cage, id, call, &value.to_le_bytes())),
            None => noted(cage, id, call),
        },
        (libc::IPPROTO_TCP, libc::TCP_INFO) => tcp_info(cage, id, call),
        (libc::IPPROTO_TCP, TCP_CC_INFO) => Ok(answer(cage, id, call, &[])),
        (libc::IPPROTO_TCP, TCP_TIMESTAMP) => {
            let milliseconds = (cage.clock.monotonic() / 1_000_000) as u32;
            Ok(answer(cage, id, call, &milliseconds.to_le_bytes()))
        }
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => Ok(answer(cage, id, call, b"cubic\0")),
        _ => super::executed_as_is(cage, id, call),
    }
}

/// Writes a value, cut to the room that the program has.
fn answer(cage: &Supervisor, id: TaskId, call: &Call, value: &[u8]) -> Outcome {
    let tid = cage.tid(id);
    let put = memory::word32(tid, call.args[4]).and_then(|room| {
        let value = &value[..value.len().min(room as usize)];
        memory::write(tid, call.args[3], value)?;
        memory::write(tid, call.args[4], &(value.len() as u32).to_le_bytes())
    });
    Outcome::Return(put.map_or_else(|errno| errno, |()| 0))
}

/// The kernel's answer, which goes into the trace.
fn noted(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let Some(done) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    let tid = cage.tid(id);
    if done == 0
        && let Ok(length) = memory::word32(tid, call.args[4])
        && let Ok(value) = memory::read(tid, call.args[3], (length as usize).min(64))
    {
        cage.note(value);
    }
    Ok(Outcome::Done(done))
}

/// Only the state of the connection is the program's; the rest was measured.
fn tcp_info(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let tid = cage.tid(id);
    let room = match memory::word32(tid, call.args[4]) {
        Ok(room) => room.min(TCP_INFO_BYTES),
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let stream = match Stream::of(cage, id, call.int(0)) {
        Ok(stream) => stream,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    match sys::socket_option::<8>(stream.fd.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO) {
        Ok([state, ..]) => {
            let mut info = vec![0; room as usize];
            if let Some(first) = info.first_mut() {
                *first = state;
            }
            Ok(answer(cage, id, call, &info))
        }
        Err(e) => Ok(err(e.raw_os_error().unwrap_or(libc::ENOPROTOOPT))),
    }
}

pub(super) fn set(cage: &mut Supervisor, id: TaskId, call: &Call, stream: &Stream) -> Result<Outcome, Stop> {
    let (level, name) = (call.int(1), call.int(2));
    match (level, name) {
        (libc::SOL_SOCKET, name) if STAMPS.contains(&name) => {
            match memory::word32(cage.tid(id), call.args[3]) {
                Ok(0) => Ok(Outcome::Return(0)),
                Ok(_) => Ok(err(libc::ENOPROTOOPT)),
                Err(errno) => Ok(Outcome::Return(errno)),
            }
        }
        // A close that waits would wait by the host's clock; here data sent has always arrived.
        (libc::SOL_SOCKET, libc::SO_LINGER) => match memory::words::<1>(cage.tid(id), call.args[3]) {
            Ok([value]) if value as u32 != 0 && value >> 32 != 0 => Ok(Outcome::Return(0)),
            _ => super::executed_as_is(cage, id, call),
        },
        (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_RCVBUF) => {
            cage.classes.chosen_sizes.insert(stream.inode);
            super::executed_as_is(cage, id, call)
        }
        // Loopback loses nothing, so this limit is never reached.
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => Ok(Outcome::Return(0)),
        _ => super::executed_as_is(cage, id, call),
    }
}

/// When a wait on the socket ends by its own time limit.
pub(super) fn deadline(cage: &Supervisor, id: TaskId, stream: &Stream, limit: i32) -> Option<u64> {
    let length = time_limit(stream, limit)?;
    if cage.task(id).woken != Woken::Not {
        return cage.task(id).deadline;
    }
    Some(cage.clock.now().saturating_add(length))
}

/// Whether the time limit of the socket has ended the wait.
pub(super) fn late(cage: &Supervisor, id: TaskId, stream: &Stream, limit: i32) -> bool {
    cage.task(id).woken == Woken::TimedOut && time_limit(stream, limit).is_some()
}

/// A time limit of the socket, nanoseconds.
fn time_limit(stream: &Stream, limit: i32) -> Option<u64> {
    let value = sys::socket_option::<16>(stream.fd.as_fd(), libc::SOL_SOCKET, limit).ok()?;
    let word = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    let length = word(0).saturating_mul(1_000_000_000).saturating_add(word(8).saturating_mul(1_000));
    (length > 0).then_some(length)
}
