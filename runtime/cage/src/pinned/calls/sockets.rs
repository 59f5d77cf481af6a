//! Sockets: connecting, accepting, and messages.
//!
//! The kernel moves the messages itself, in the task, because descriptors and credentials travel with them; it is told
//! not to wait, and a task that would wait parks. Ports and names that nobody asked for come from counters. Time limits
//! of sockets are logical. The network is only loopback: whatever is elsewhere is unreachable.

use std::os::fd::AsFd;

use super::moving::{self, Buffers, Kind, Stream};
use super::settle::{networked, sort};
use super::{Outcome, Stop, Supervisor, err, options};
use crate::pinned::memory;
use crate::pinned::task::{Call, TaskId, Woken};
use crate::sys;

const EAGAIN: i64 = -(libc::EAGAIN as i64);
const NOW: u64 = libc::MSG_DONTWAIT as u64;
/// Longest encoded address.
const ADDRESS: u64 = 128;
/// Messages of one call, as the kernel bounds them.
const MESSAGES: u64 = 1024;
/// What ends a run that has too many descriptors in messages that nobody received: the kernel counts them for the user,
/// and those that nobody can receive any more until its collector runs.
const FLYING: &str = "too many descriptors in flight, by a count of the host";
/// Bytes of `struct mmsghdr`.
const MMSGHDR: u64 = 64;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let stream = match Stream::of(cage, id, call.int(0)) {
        Ok(stream) if stream.kind == Kind::Socket => stream,
        Ok(_) => return Ok(err(libc::ENOTSOCK)),
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let (domain, kind) = sort(&stream);
    if networked(domain) {
        cage.adopt(&stream);
        cage.settle_network()?;
        let sends = matches!(call.number, libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg);
        if call.number == libc::SYS_listen || sends && kind == libc::SOCK_DGRAM {
            cage.choose_port(&stream);
        }
    }
    let tid = cage.tid(id);
    let [_, address, length, flags, ..] = call.args;
    match call.number {
        libc::SYS_bind => bind(cage, id, call, &stream),
        libc::SYS_connect => connect(cage, id, call, stream),
        libc::SYS_accept | libc::SYS_accept4 => accept(cage, id, call, stream),
        libc::SYS_sendto => {
            let list = moving::one_buffer(address, length);
            send(cage, id, call, 3, flags, stream, &list)
        }
        libc::SYS_sendmsg => match message(tid, address) {
            Ok(list) => send(cage, id, call, 2, length, stream, &list),
            Err(errno) => Ok(Outcome::Return(errno)),
        },
        libc::SYS_recvfrom => {
            let list = moving::one_buffer(address, length);
            receive(cage, id, call, 3, flags, stream, &list)
        }
        libc::SYS_recvmsg => match message(tid, address) {
            Ok(list) => receive(cage, id, call, 2, length, stream, &list),
            Err(errno) => Ok(Outcome::Return(errno)),
        },
        libc::SYS_sendmmsg | libc::SYS_recvmmsg => several(cage, id, call, stream),
        libc::SYS_shutdown | libc::SYS_listen => super::executed_as_is(cage, id, call),
        libc::SYS_getsockopt => options::get(cage, id, call),
        libc::SYS_setsockopt => options::set(cage, id, call, &stream),
        _ => Err(super::unmodelled(call)),
    }
}

/// The buffers of the `msghdr` at `address`.
fn message(tid: i32, address: u64) -> Result<Buffers, i64> {
    let [_, _, vectors, count] = memory::words::<4>(tid, address)?;
    moving::vector(tid, vectors, count)
}

/// `read` and `readv`.
pub(super) fn read(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    stream: Stream,
    list: &Buffers,
) -> Result<Outcome, Stop> {
    cage.settle_network()?;
    let now = match call.number {
        libc::SYS_read => Call { number: libc::SYS_recvfrom, args: plain(call, 0) },
        _ => Call { number: libc::SYS_preadv2, args: vectored(call) },
    };
    receive_as(cage, id, now, stream, list, false, false)
}

/// `write` and `writev`.
pub(super) fn write(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    stream: Stream,
    list: &Buffers,
) -> Result<Outcome, Stop> {
    cage.settle_network()?;
    let now = match call.number {
        libc::SYS_write => Call { number: libc::SYS_sendto, args: plain(call, 0) },
        _ => Call { number: libc::SYS_pwritev2, args: vectored(call) },
    };
    send_as(cage, id, now, stream, list, false)
}

/// `sendto` and `recvfrom` for one buffer and no address.
fn plain(call: &Call, flags: u64) -> [u64; 6] {
    [call.args[0], call.args[1], call.args[2], flags | NOW, 0, 0]
}

/// `preadv2` and `pwritev2` at no offset, without waiting.
fn vectored(call: &Call) -> [u64; 6] {
    [call.args[0], call.args[1], call.args[2], u64::MAX, 0, libc::RWF_NOWAIT as u64]
}

fn receive(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    place: usize,
    flags: u64,
    stream: Stream,
    list: &Buffers,
) -> Result<Outcome, Stop> {
    let has = |flag: i32| flags & flag as u64 != 0;
    let mut now = *call;
    now.args[place] = flags & !(libc::MSG_WAITALL as u64) | NOW;
    let at_once = has(libc::MSG_DONTWAIT) || has(libc::MSG_OOB) || has(libc::MSG_ERRQUEUE);
    let all = has(libc::MSG_WAITALL) && !has(libc::MSG_PEEK) && sort(&stream).1 == libc::SOCK_STREAM;
    receive_as(cage, id, now, stream, list, at_once, all)
}

/// Receives by the form `now` of the call, which does not wait. `all`: comes back only with all that was asked for.
fn receive_as(
    cage: &mut Supervisor,
    id: TaskId,
    mut now: Call,
    stream: Stream,
    list: &Buffers,
    at_once: bool,
    all: bool,
) -> Result<Outcome, Stop> {
    let (moved, total) = (cage.task(id).moved, moving::total(list));
    let at_once = at_once || stream.impatient();
    let deadline = options::deadline(cage, id, &stream, libc::SO_RCVTIMEO);
    let late = options::late(cage, id, &stream, libc::SO_RCVTIMEO);
    if !at_once && !late && !stream.ready(libc::POLLIN) {
        return Ok(stream.wait(libc::POLLIN, deadline));
    }
    if moved > 0 {
        let (address, length) = moving::rest(list, moved)[0];
        now = Call { number: libc::SYS_recvfrom, args: [now.args[0], address, length, NOW, 0, 0] };
    }
    let Some(got) = cage.execute(id, &now)? else { return Ok(Outcome::Gone) };
    let moved = moved + got.max(0) as u64;
    cage.task_mut(id).moved = moved;
    let incomplete = all && got > 0 && moved < total;
    if !at_once && !late && (got == EAGAIN || incomplete) {
        cage.rewind(id)?;
        return Ok(if got == EAGAIN && stream.ready(libc::POLLIN) {
            moving::look_again(cage)
        } else {
            stream.wait(libc::POLLIN, deadline)
        });
    }
    moving::note_moved(cage, id, list, moved.min(total));
    cage.stir(false); // there is room for whoever waits to send
    cage.give_result(id, if moved > 0 { moved as i64 } else { got })
}

fn send(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    place: usize,
    flags: u64,
    stream: Stream,
    list: &Buffers,
) -> Result<Outcome, Stop> {
    let mut now = *call;
    now.args[place] = flags | NOW;
    send_as(cage, id, now, stream, list, flags & NOW != 0)
}

/// Sends by the form `now` of the call, which does not wait.
fn send_as(
    cage: &mut Supervisor,
    id: TaskId,
    mut now: Call,
    stream: Stream,
    list: &Buffers,
    at_once: bool,
) -> Result<Outcome, Stop> {
    let (before, total) = (cage.task(id).moved, moving::total(list));
    let at_once = at_once || stream.impatient();
    if before > 0 {
        let (address, length) = moving::rest(list, before)[0];
        let flags = NOW | libc::MSG_NOSIGNAL as u64;
        now = Call { number: libc::SYS_sendto, args: [now.args[0], address, length, flags, 0, 0] };
    }
    let Some(done) = cage.execute(id, &now)? else { return Ok(Outcome::Gone) };
    if done == -i64::from(libc::EPIPE) {
        cage.stir(true);
    }
    if done == -i64::from(libc::ETOOMANYREFS) {
        return Err(super::unmodelled_form(&now, FLYING));
    }
    let moved = before + done.max(0) as u64;
    cage.task_mut(id).moved = moved;
    let streaming = sort(&stream).1 == libc::SOCK_STREAM;
    let more = streaming && done >= 0 && moved < total;
    let late = options::late(cage, id, &stream, libc::SO_SNDTIMEO);
    if !at_once && !late && (done == EAGAIN || more) {
        let deadline = options::deadline(cage, id, &stream, libc::SO_SNDTIMEO);
        cage.rewind(id)?;
        cage.settle_network()?;
        // The receiver of a datagram may be full although the sender has room.
        return Ok(if done == EAGAIN && stream.ready(libc::POLLOUT) {
            moving::look_again(cage)
        } else {
            stream.wait(libc::POLLOUT, deadline)
        });
    }
    moving::note_moved(cage, id, list, moved.min(total));
    cage.give_result(id, if moved > 0 { moved as i64 } else { done })
}

/// `sendmmsg` and `recvmmsg`: as many as go without waiting, at least one.
fn several(cage: &mut Supervisor, id: TaskId, call: &Call, stream: Stream) -> Result<Outcome, Stop> {
    let receives = call.number == libc::SYS_recvmmsg;
    let events = if receives { libc::POLLIN } else { libc::POLLOUT };
    let mut now = *call;
    now.args[3] = (call.args[3] | NOW) & !(libc::MSG_WAITFORONE as u64 * u64::from(receives));
    now.args[4] = 0; // a time limit of its own, which counts from the first message: nothing is waited for then
    let limit = if receives { libc::SO_RCVTIMEO } else { libc::SO_SNDTIMEO };
    let at_once = call.args[3] & NOW != 0 || stream.impatient() || options::late(cage, id, &stream, limit);
    let deadline = options::deadline(cage, id, &stream, limit);
    if receives && !at_once && !stream.ready(events) {
        return Ok(stream.wait(events, deadline));
    }
    let Some(done) = cage.execute(id, &now)? else { return Ok(Outcome::Gone) };
    if done == -i64::from(libc::ETOOMANYREFS) {
        return Err(super::unmodelled_form(call, FLYING));
    }
    if done == EAGAIN && !at_once {
        cage.rewind(id)?;
        return Ok(if stream.ready(events) {
            moving::look_again(cage)
        } else {
            stream.wait(events, deadline)
        });
    }
    let tid = cage.tid(id);
    for index in 0..u64::try_from(done).unwrap_or(0).min(MESSAGES) {
        let at = call.args[1] + index * MMSGHDR;
        if let (Ok(list), Ok(length)) = (message(tid, at), memory::word32(tid, at + MMSGHDR - 8)) {
            moving::note_moved(cage, id, &list, u64::from(length).min(moving::total(&list)));
        }
    }
    cage.stir(false);
    Ok(Outcome::Done(done))
}

/// The address argument of `bind` and `connect`.
fn address_of(cage: &Supervisor, id: TaskId, call: &Call) -> Result<Vec<u8>, i64> {
    let length = call.args[2];
    if length > ADDRESS {
        return Err(-i64::from(libc::EINVAL));
    }
    memory::read(cage.tid(id), call.args[1], length as usize)
}

fn bind(cage: &mut Supervisor, id: TaskId, call: &Call, stream: &Stream) -> Result<Outcome, Stop> {
    let mut address = match address_of(cage, id, call) {
        Ok(address) => address,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let (domain, _) = sort(stream);
    cage.note(address.clone());
    if networked(domain) && address.get(2..4) == Some(&[0, 0]) {
        // Any port: the next of ours that is free. Binding the copy binds the socket.
        for _ in 0..u16::MAX {
            address[2..4].copy_from_slice(&cage.classes.network.port().to_be_bytes());
            match sys::bind(stream.fd.as_fd(), &address) {
                Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => {}
                Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EINVAL))),
                Ok(()) => return Ok(Outcome::Return(0)),
            }
        }
        return Ok(err(libc::EADDRINUSE));
    }
    if domain == libc::AF_UNIX && address.len() == 2 {
        // Any name.
        for _ in 0..1 << 20 {
            let name = format!("\0{:05x}", cage.classes.network.name());
            let named = [&address, name.as_bytes()].concat();
            match sys::bind(stream.fd.as_fd(), &named) {
                Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => {}
                Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EINVAL))),
                Ok(()) => return Ok(Outcome::Return(0)),
            }
        }
        return Ok(err(libc::EADDRINUSE));
    }
    super::executed_as_is(cage, id, call)
}

fn connect(cage: &mut Supervisor, id: TaskId, call: &Call, stream: Stream) -> Result<Outcome, Stop> {
    let address = match address_of(cage, id, call) {
        Ok(address) => address,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let (domain, kind) = sort(&stream);
    let first = cage.task(id).woken == Woken::Not;
    let outside = if first && kind == libc::SOCK_STREAM { cage.connect_outside(&address)? } else { None };
    if let Some(errno @ 1..) = outside {
        cage.note(address);
        return Ok(err(errno));
    }
    if networked(domain) && first {
        cage.choose_port(&stream);
    }
    let made = Stream::without_waiting(&[&stream], || cage.execute(id, call))?;
    let Some(made) = made else { return Ok(Outcome::Gone) };
    cage.settle_network()?;
    if outside.is_some() {
        let reached = made == 0 || made == -i64::from(libc::EINPROGRESS);
        cage.accept_outside(&address, reached)?;
    }
    let in_use = made == -i64::from(libc::EADDRNOTAVAIL) && networked(domain);
    let under_way = made == -i64::from(libc::EINPROGRESS) || made == -i64::from(libc::EALREADY);
    let full = made == EAGAIN && domain == libc::AF_UNIX;
    if in_use && cage.classes.network.try_another() {
        // The port of ours that was next is taken.
        cage.choose_port(&stream);
        cage.rewind(id)?;
        let now = cage.clock.now();
        return Ok(Outcome::Block(crate::pinned::task::Wait::until(Some(now))));
    }
    cage.classes.network.port_decided();
    if !stream.impatient() && kind != libc::SOCK_DGRAM && (under_way || full) {
        cage.rewind(id)?;
        if full || !stream.ready(libc::POLLOUT) {
            if under_way {
                // The listener has no room and ignores us; the kernel would ask again by the host's clock.
                let _ = sys::connect(stream.fd.as_fd(), &[0; 16]); // AF_UNSPEC: give up
            }
            return Ok(moving::look_again(cage));
        }
        return Ok(stream.wait(libc::POLLOUT, None));
    }
    cage.note(address.clone());
    if networked(domain) && made == -i64::from(libc::EINPROGRESS) {
        cage.ask_again(stream, address);
    }
    Ok(Outcome::Done(made))
}

fn accept(cage: &mut Supervisor, id: TaskId, call: &Call, stream: Stream) -> Result<Outcome, Stop> {
    let late = options::late(cage, id, &stream, libc::SO_RCVTIMEO);
    if !stream.impatient() && !late && !stream.ready(libc::POLLIN) {
        let deadline = options::deadline(cage, id, &stream, libc::SO_RCVTIMEO);
        return Ok(stream.wait(libc::POLLIN, deadline));
    }
    let made = Stream::without_waiting(&[&stream], || cage.execute(id, call))?;
    let Some(made) = made else { return Ok(Outcome::Gone) };
    if made == EAGAIN && !stream.impatient() && !late {
        cage.rewind(id)?;
        return Ok(stream.wait(libc::POLLIN, cage.task(id).deadline));
    }
    cage.stir(false); // there is room for whoever waits to connect
    let [_, address, length, ..] = call.args;
    if made >= 0
        && address != 0
        && let Ok(length) = memory::word32(cage.tid(id), length)
        && let Ok(peer) = memory::read(cage.tid(id), address, u64::from(length).min(ADDRESS) as usize)
    {
        cage.note(peer);
    }
    Ok(Outcome::Done(made))
}
