//! A task's memory, read and written while the task stands still.
//!
//! Owns plain values and strings at an address. It refuses to trust what it reads: lengths are bounded by the caller,
//! and a bad address is `EFAULT`, as the kernel would say.

use crate::sys::ptrace::{read_memory, write_memory};

/// Longest path, as the kernel's.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// A negative errno.
pub(crate) type Errno = i64;
/// The usual one here.
pub(crate) const EFAULT: Errno = -(libc::EFAULT as i64);

/// Exactly `length` bytes.
pub(crate) fn read(tid: i32, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    fill(tid, address, &mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` exactly.
pub(crate) fn fill(tid: i32, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    match read_memory(tid, address, bytes) {
        Ok(n) if n == bytes.len() => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Writes all of `bytes`.
pub(crate) fn write(tid: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    match write_memory(tid, address, bytes) {
        Ok(n) if n == bytes.len() => Ok(()),
        _ => Err(EFAULT),
    }
}

/// An array of little-endian words.
pub(crate) fn words<const N: usize>(tid: i32, address: u64) -> Result<[u64; N], Errno> {
    let mut out = [0; N];
    let bytes = read(tid, address, N * 8)?;
    for (word, chunk) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
    }
    Ok(out)
}

/// A 32-bit word.
pub(crate) fn word32(tid: i32, address: u64) -> Result<u32, Errno> {
    let mut bytes = [0; 4];
    fill(tid, address, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Writes an array of words.
pub(crate) fn write_words(tid: i32, address: u64, words: &[u64]) -> Result<(), Errno> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    write(tid, address, &bytes)
}

/// A path or other string, without its NUL.
pub(crate) fn string(tid: i32, address: u64) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let mut at = address;
    while text.len() < PATH_MAX {
        // Never across a page that may be missing: the string may end just before it.
        let room = 4096 - (at as usize & 4095);
        let mut part = vec![0; room.min(256)];
        let got = read_memory(tid, at, &mut part).map_err(|_| EFAULT)?;
        if let Some(end) = part[..got].iter().position(|byte| *byte == 0) {
            text.extend_from_slice(&part[..end]);
            return Ok(text);
        }
        if got < part.len() {
            return Err(EFAULT);
        }
        text.extend_from_slice(&part);
        at += got as u64;
    }
    Err(-i64::from(libc::ENAMETOOLONG))
}

/// A `timespec`, as nanoseconds.
pub(crate) fn timespec(tid: i32, address: u64) -> Result<u64, Errno> {
    let [seconds, nanoseconds] = words::<2>(tid, address)?;
    if (seconds as i64) < 0 || nanoseconds >= 1_000_000_000 {
        return Err(-i64::from(libc::EINVAL));
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// A `timeval`, as nanoseconds.
pub(crate) fn timeval(tid: i32, address: u64) -> Result<u64, Errno> {
    let [seconds, microseconds] = words::<2>(tid, address)?;
    if (seconds as i64) < 0 || microseconds >= 1_000_000 {
        return Err(-i64::from(libc::EINVAL));
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(microseconds * 1_000))
}

/// Nanoseconds as the two words of a `timespec`.
pub(crate) fn as_timespec(ns: u64) -> [u64; 2] {
    [ns / 1_000_000_000, ns % 1_000_000_000]
}

/// Nanoseconds as the two words of a `timeval`.
pub(crate) fn as_timeval(ns: u64) -> [u64; 2] {
    [ns / 1_000_000_000, ns % 1_000_000_000 / 1_000]
}
