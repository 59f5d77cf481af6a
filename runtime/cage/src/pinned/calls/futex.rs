//! Futexes: waits on words of memory, all of them kept by the supervisor.
//!
//! Owns the key of a futex, which is the same for everybody who shares the word. The kernel's own queues stay empty,
//! so what the kernel would wake (the end of a thread) is woken by `exits`. Priority inheritance is not modelled.

use super::{Outcome, Stop, Supervisor, err};
use crate::pinned::memory;
use crate::pinned::task::{Call, FutexKey, TaskId, Wait, Woken};

/// Every bit of a bitset.
const ALL: u32 = u32::MAX;

pub(super) fn handle(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    match call.number {
        libc::SYS_futex => operation(cage, id, call),
        libc::SYS_set_robust_list => Ok(Outcome::Native),
        libc::SYS_get_robust_list => Ok(err(libc::EPERM)),
        _ => Err(super::unmodelled(call)),
    }
}

/// The key of the word at `address`. `private`: the program says that nobody else shares it.
pub(crate) fn key(cage: &Supervisor, id: TaskId, address: u64, private: bool) -> FutexKey {
    let task = cage.task(id);
    let own = FutexKey::Private(task.space, address);
    if private {
        return own;
    }
    shared_mapping(task.tid, address).unwrap_or(own)
}

/// Device, inode and offset of the shared mapping that holds `address`.
fn shared_mapping(tid: i32, address: u64) -> Option<FutexKey> {
    let maps = std::fs::read_to_string(format!("/proc/{tid}/maps")).ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let from = hex(from)?;
        if !(from..hex(to)?).contains(&address) {
            return None;
        }
        let shared = fields.next()?.as_bytes().get(3) == Some(&b's');
        let offset = hex(fields.next()?)?;
        let (major, minor) = fields.next()?.split_once(':')?;
        let device = hex(major)? << 32 | hex(minor)?;
        let inode = fields.next()?.parse().ok()?;
        shared.then_some(FutexKey::Shared(device, inode, offset + (address - from)))
    })
}

fn operation(cage: &mut Supervisor, id: TaskId, call: &Call) -> Result<Outcome, Stop> {
    let [address, operation, value, fourth, second, bits] = call.args;
    let (operation, value, bits) = (operation as i32, value as u32, bits as u32);
    let private = operation & libc::FUTEX_PRIVATE_FLAG != 0;
    let command = operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    if address % 4 != 0 {
        return Ok(err(libc::EINVAL));
    }
    match command {
        libc::FUTEX_WAIT => wait(cage, id, call, ALL),
        libc::FUTEX_WAIT_BITSET if bits == 0 => Ok(err(libc::EINVAL)),
        libc::FUTEX_WAIT_BITSET => wait(cage, id, call, bits),
        libc::FUTEX_WAKE => Ok(wake(cage, id, address, private, ALL, value)),
        libc::FUTEX_WAKE_BITSET if bits == 0 => Ok(err(libc::EINVAL)),
        libc::FUTEX_WAKE_BITSET => Ok(wake(cage, id, address, private, bits, value)),
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE => {
            if command == libc::FUTEX_CMP_REQUEUE {
                match memory::word32(cage.tid(id), address) {
                    Ok(now) if now == bits => {}
                    Ok(_) => return Ok(err(libc::EAGAIN)),
                    Err(errno) => return Ok(Outcome::Return(errno)),
                }
            }
            let (from, to) = (key(cage, id, address, private), key(cage, id, second, private));
            let woken = cage.wake_futex(from, ALL, value.into());
            let moved = cage.requeue_futex(from, to, u64::from(fourth as u32));
            let told = if command == libc::FUTEX_CMP_REQUEUE { woken + moved } else { woken };
            Ok(Outcome::Return(told as i64))
        }
        libc::FUTEX_WAKE_OP => wake_op(cage, id, call, private),
        // Programs fall back to plain futexes, or say that the mutex is not supported.
        _ => Ok(err(libc::ENOSYS)),
    }
}

fn wake(cage: &mut Supervisor, id: TaskId, address: u64, private: bool, bits: u32, count: u32) -> Outcome {
    let key = key(cage, id, address, private);
    Outcome::Return(cage.wake_futex(key, bits, count.into()) as i64)
}

fn wait(cage: &mut Supervisor, id: TaskId, call: &Call, bits: u32) -> Result<Outcome, Stop> {
    match cage.task(id).woken {
        Woken::Ready => return Ok(Outcome::Return(0)),
        Woken::TimedOut => return Ok(err(libc::ETIMEDOUT)),
        Woken::Not | Woken::Signal => {}
    }
    let tid = cage.tid(id);
    let [address, operation, value, timeout, ..] = call.args;
    match memory::word32(tid, address) {
        Ok(now) if now == value as u32 => {}
        Ok(_) => return Ok(err(libc::EAGAIN)),
        Err(errno) => return Ok(Outcome::Return(errno)),
    }
    let operation = operation as i32;
    let deadline = if timeout == 0 {
        None
    } else {
        let length = match memory::timespec(tid, timeout) {
            Ok(length) => length,
            Err(errno) => return Ok(Outcome::Return(errno)),
        };
        let absolute =
            operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) != libc::FUTEX_WAIT;
        let clock = if operation & libc::FUTEX_CLOCK_REALTIME != 0 {
            libc::CLOCK_REALTIME
        } else {
            libc::CLOCK_MONOTONIC
        };
        if absolute {
            cage.clock.deadline(clock, length)
        } else {
            Some(cage.clock.now().saturating_add(length))
        }
    };
    let key = key(cage, id, address, operation & libc::FUTEX_PRIVATE_FLAG != 0);
    Ok(Outcome::Block(Wait { futex: Some((key, bits)), deadline, ..Wait::default() }))
}

/// `FUTEX_WAKE_OP`: change the second word, wake the first, and the second if its old value compares.
fn wake_op(cage: &mut Supervisor, id: TaskId, call: &Call, private: bool) -> Result<Outcome, Stop> {
    let [address, _, value, second_count, second, encoded] = call.args;
    let encoded = encoded as u32;
    let tid = cage.tid(id);
    let sign = |bits: u32| ((bits << 20) as i32) >> 20;
    let (operation, compare) = (encoded >> 28 & 0xf, encoded >> 24 & 0xf);
    let (mut argument, against) = (sign(encoded >> 12 & 0xfff), sign(encoded & 0xfff));
    if operation & 8 != 0 {
        argument = 1i32.wrapping_shl(argument as u32);
    }
    let old = match memory::word32(tid, second) {
        Ok(old) => old,
        Err(errno) => return Ok(Outcome::Return(errno)),
    };
    let argument = argument as u32;
    let new = match operation & 7 {
        0 => argument,
        1 => old.wrapping_add(argument),
        2 => old | argument,
        3 => old & !argument,
        4 => old ^ argument,
        _ => return Ok(err(libc::ENOSYS)),
    };
    if let Err(errno) = memory::write(tid, second, &new.to_le_bytes()) {
        return Ok(Outcome::Return(errno));
    }
    let (signed, against) = (old as i32, against);
    let holds = match compare {
        0 => signed == against,
        1 => signed != against,
        2 => signed < against,
        3 => signed <= against,
        4 => signed > against,
        5 => signed >= against,
        _ => return Ok(err(libc::ENOSYS)),
    };
    let first_key = key(cage, id, address, private);
    let mut woken = cage.wake_futex(first_key, ALL, u64::from(value as u32));
    if holds {
        let second_key = key(cage, id, second, private);
        woken += cage.wake_futex(second_key, ALL, u64::from(second_count as u32));
    }
    Ok(Outcome::Return(woken as i64))
}
