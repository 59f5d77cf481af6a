//! Reads and writes that may have to wait for somebody.
//!
//! Bytes of pipes and small reads of files pass through the supervisor, which moves them without waiting through its
//! own copy of the descriptor; a call that would wait parks its task. Sockets, and whatever depends on who calls
//! (signal descriptors, SIGPIPE), are left to the kernel in a form that does not wait. A file never waits.

use std::os::fd::AsFd;

use super::moving::{self, Buffers, Kind, PIECE, Stream};
use super::{Outcome, Stop, Supervisor, err, sockets};
use crate::pinned::task::{Call, TaskId, Woken};
use crate::sys;

const EAGAIN: i64 = -(libc::EAGAIN as i64);
/// Longest read of a file that passes through the supervisor; longer ones the kernel makes.
const SMALL: u64 = 64 << 10;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_read | libc::SYS_readv => read(cage, id, call),
        libc::SYS_write | libc::SYS_writev => write(cage, id, call),
        libc::SYS_preadv2 | libc::SYS_pwritev2 => at_offset(cage, id, call),
        libc::SYS_sendfile => sendfile(cage, id, call),
        libc::SYS_splice => spliced(cage, id, call, [0, 2], 5),
        libc::SYS_tee => spliced(cage, id, call, [0, 1], 3),
        libc::SYS_vmsplice => spliced(cage, id, call, [0, 0], 3),
        _ => Err(super::unmodelled(call)),
    }
}

/// The buffers of a call: one, or a vector.
fn buffers(cage: &Supervisor, id: TaskId, call: &Call) -> Result<Buffers, i64> {
    let [_, address, length, ..] = call.args;
    if matches!(call.number, libc::SYS_read | libc::SYS_write) {
        return Ok(moving::one_buffer(address, length));
    }
    moving::vector(cage.tid(id), address, length)
}

fn parts(cage: &Supervisor, id: TaskId, call: &Call) -> Result<(Stream, Buffers), i64> {
    Ok((Stream::of(cage, id, call.int(0))?, buffers(cage, id, call)?))
}

fn read(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let (stream, list) = match parts(cage, id, call) {
        Ok(parts) => parts,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    if let Some(outcome) = super::random::device(cage, id, &stream.fd, &list) {
        return Ok(outcome);
    }
    let total = moving::total(&list);
    match stream.kind {
        Kind::Socket if total > 0 => return sockets::read(cage, id, call, stream, &list),
        Kind::Device => return read_by_kernel(cage, id, call, &list),
        Kind::File if total > SMALL => return read_by_kernel(cage, id, call, &list),
        Kind::Other if cage.reads_in_task(&stream) => return read_in_task(cage, id, call, stream, &list),
        _ => {}
    }
    if total > 0 && stream.kind != Kind::File && !stream.ready(libc::POLLIN) {
        return Ok(if stream.impatient() { err(libc::EAGAIN) } else { stream.wait(libc::POLLIN, None) });
    }
    let mut bytes = vec![0; total.min(PIECE) as usize];
    let got = match sys::read_now(stream.fd.as_fd(), &mut bytes) {
        Ok(got) => got,
        // A file whose pages are not in memory.
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && stream.kind == Kind::File => {
            return read_by_kernel(cage, id, call, &list);
        }
        Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EIO))),
    };
    bytes.truncate(got);
    if let Err(errno) = moving::scatter(cage.tid(id), &list, &bytes) {
        return Ok(Outcome::Return(errno));
    }
    cage.note(bytes);
    Ok(Outcome::Return(got as i64))
}

/// A read that cannot wait, made by the kernel.
fn read_by_kernel(cage: &mut Supervisor, id: TaskId, call: &Call, list: &Buffers) -> Result<Outcome, Stop> {
    let Some(got) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    moving::note_moved(cage, id, list, got.max(0) as u64);
    Ok(Outcome::Done(got))
}

/// A read whose result depends on who reads: signal descriptors.
fn read_in_task(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    stream: Stream,
    list: &Buffers,
) -> Result<Outcome, Stop> {
    let got = Stream::without_waiting(&[&stream], || cage.execute(id, call))?;
    match got {
        None => Ok(Outcome::Gone),
        Some(EAGAIN) if !stream.impatient() => {
            cage.rewind(id)?;
            Ok(super::signals::wait_readable(&stream))
        }
        Some(got) => {
            moving::note_moved(cage, id, list, got.max(0) as u64);
            Ok(Outcome::Done(got))
        }
    }
}

fn write(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let (stream, list) = match parts(cage, id, call) {
        Ok(parts) => parts,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let total = moving::total(&list);
    match stream.kind {
        Kind::Socket => return sockets::write(cage, id, call, stream, &list),
        // Charged to the cage, and with the limits of the task.
        Kind::File | Kind::Device => {
            moving::note_moved(cage, id, &list, total);
            return super::executed_as_is(cage, id, call);
        }
        Kind::Other => return write_other(cage, id, call, stream, &list),
        Kind::Pipe => {}
    }
    let mut moved = cage.task(id).moved;
    while moved < total {
        if !stream.ready(libc::POLLOUT) {
            cage.pump(); // it may be the cage's own output
            if !stream.ready(libc::POLLOUT) {
                break;
            }
        }
        let piece = match moving::gather(cage.tid(id), &moving::rest(&list, moved), PIECE) {
            Ok(piece) => piece,
            Err(errno) if moved == 0 => return Ok(Outcome::Return(errno)),
            Err(_) => break,
        };
        match sys::write_now(&stream.fd, &piece) {
            Ok(done) => moved += done as u64,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
                return broken_pipe(cage, id, call, &list, moved);
            }
            Err(e) => return Ok(err(e.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
    cage.pump();
    cage.task_mut(id).moved = moved;
    if moved < total && !stream.impatient() {
        return Ok(stream.wait(libc::POLLOUT, None));
    }
    if moved == 0 && total > 0 {
        return Ok(err(libc::EAGAIN));
    }
    moving::note_moved(cage, id, &list, moved);
    Ok(Outcome::Return(moved as i64))
}

/// Nobody reads any more: the kernel tells the task so itself, with its signal.
fn broken_pipe(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    list: &Buffers,
    moved: u64,
) -> Result<Outcome, Stop> {
    let (address, _) = moving::rest(list, moved).first().copied().unwrap_or((0, 0));
    let Some(result) = cage.execute_as(id, libc::SYS_write, [call.args[0], address, 1, 0, 0, 0])? else {
        return Ok(Outcome::Gone);
    };
    cage.stir(true);
    cage.give_result(id, if moved > 0 { moved as i64 } else { result })
}

/// Devices take what they are given; a counter may be full.
fn write_other(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    stream: Stream,
    list: &Buffers,
) -> Result<Outcome, Stop> {
    moving::note_moved(cage, id, list, moving::total(list));
    let done = Stream::without_waiting(&[&stream], || cage.execute(id, call))?;
    match done {
        None => Ok(Outcome::Gone),
        Some(EAGAIN) if !stream.impatient() => {
            cage.classes.data.clear();
            cage.rewind(id)?;
            // A counter that has room for one, but not for what is added, looks ready.
            let full = !stream.ready(libc::POLLOUT);
            Ok(if full { stream.wait(libc::POLLOUT, None) } else { moving::look_again(cage) })
        }
        Some(done) => Ok(Outcome::Done(done)),
    }
}

/// `preadv2` and `pwritev2`: at no offset they are `readv` and `writev`, else nothing waits.
fn at_offset(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let reads = call.number == libc::SYS_preadv2;
    if call.args[3] as i64 == -1 {
        if call.args[5] & libc::RWF_NOWAIT as u64 != 0 {
            return super::executed_as_is(cage, id, call);
        }
        let number = if reads { libc::SYS_readv } else { libc::SYS_writev };
        return handle(cage, id, &Call { number, args: call.args });
    }
    let list = moving::vector(cage.tid(id), call.args[1], call.args[2]);
    let Some(done) = cage.execute(id, call)? else { return Ok(Outcome::Gone) };
    if let Ok(list) = list {
        moving::note_moved(cage, id, &list, done.max(0) as u64);
    }
    Ok(Outcome::Done(done))
}

fn sendfile(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let both =
        Stream::of(cage, id, call.int(0)).and_then(|out| Ok((out, Stream::of(cage, id, call.int(1))?)));
    let (out, from) = match both {
        Ok(both) => both,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let (moved, count) = (cage.task(id).moved, call.args[3]);
    let mut now = *call;
    now.args[3] = count - moved.min(count);
    cage.settle_network()?;
    let done = Stream::without_waiting(&[&out, &from], || cage.execute(id, &now))?;
    cage.pump();
    let Some(done) = done else { return Ok(Outcome::Gone) };
    let moved = moved + done.max(0) as u64;
    cage.task_mut(id).moved = moved;
    let more = done > 0 && moved < count && !matches!(out.kind, Kind::File | Kind::Device);
    if !out.impatient() && (done == EAGAIN || more) {
        cage.rewind(id)?;
        let stuck = done == EAGAIN && out.ready(libc::POLLOUT);
        return Ok(if stuck && !from.ready(libc::POLLIN) {
            from.wait(libc::POLLIN, None)
        } else if stuck {
            moving::look_again(cage)
        } else {
            out.wait(libc::POLLOUT, None)
        });
    }
    cage.give_result(id, if moved > 0 { moved as i64 } else { done })
}

/// `splice`, `tee` and `vmsplice`: made by the kernel, told not to wait.
fn spliced(
    cage: &mut Supervisor,
    id: TaskId,
    call: &Call,
    [from, to]: [usize; 2],
    flags: usize,
) -> Result<Outcome, Stop> {
    let both =
        Stream::of(cage, id, call.int(from)).and_then(|a| Ok((a, Stream::of(cage, id, call.int(to))?)));
    let (from, to) = match both {
        Ok(both) => both,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let asked = call.args[flags] & u64::from(libc::SPLICE_F_NONBLOCK) != 0;
    let mut now = *call;
    now.args[flags] |= u64::from(libc::SPLICE_F_NONBLOCK);
    cage.settle_network()?;
    let done = Stream::without_waiting(&[&from, &to], || cage.execute(id, &now))?;
    cage.pump();
    match done {
        None => Ok(Outcome::Gone),
        Some(EAGAIN) if !asked => {
            cage.rewind(id)?;
            let vm = call.number == libc::SYS_vmsplice;
            Ok(if !vm && !from.ready(libc::POLLIN) {
                from.wait(libc::POLLIN, None)
            } else if !to.ready(libc::POLLOUT) {
                to.wait(libc::POLLOUT, None)
            } else if vm && !from.ready(libc::POLLIN) && from.flags() & libc::O_ACCMODE == libc::O_RDONLY {
                from.wait(libc::POLLIN, None)
            } else {
                debug_assert_ne!(cage.task(id).woken, Woken::Signal, "signals are handled before");
                moving::look_again(cage)
            })
        }
        Some(done) => Ok(Outcome::Done(done)),
    }
}
