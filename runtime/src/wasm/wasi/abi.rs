//! Owns the byte layouts and numbers of `wasi_snapshot_preview1`, and checked access to the guest's memory.
//! Refuses nothing but out-of-range pointers (`Errno::Fault`). Source of the numbers: the `witx` description of the
//! WebAssembly/WASI repository, snapshot preview 1. Invariant: no guest pointer or length can make the host panic.

use crate::digest::digest_of;

/// Error numbers that this implementation returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    Badf = 8,
    Exist = 20,
    Fault = 21,
    Ilseq = 25,
    Inval = 28,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Mlink = 34,
    Nametoolong = 37,
    Noent = 44,
    Nospc = 51,
    Nosys = 52,
    Notdir = 54,
    Notempty = 55,
    Notsock = 57,
    Perm = 63,
    Spipe = 70,
    Notcapable = 76,
}

pub(crate) type Outcome<T = ()> = Result<T, Errno>;

/// Rights bits, by position in the `rights` flags.
pub(crate) mod rights {
    pub(crate) const FD_READ: u64 = 1 << 1;
    pub(crate) const FD_SEEK: u64 = 1 << 2;
    pub(crate) const FD_TELL: u64 = 1 << 5;
    pub(crate) const FD_WRITE: u64 = 1 << 6;
    /// Everything that can be done to a file.
    pub(crate) const FILE: u64 = 0x08e0_01ff;
    /// Everything that can be done to a directory.
    pub(crate) const DIR: u64 = 0x0fbf_fe19;
    const _: () = assert!((FILE | DIR) >> 30 == 0, "thirty rights are defined");
}

/// File types.
pub(crate) mod filetype {
    pub(crate) const UNKNOWN: u8 = 0;
    pub(crate) const DIRECTORY: u8 = 3;
    pub(crate) const REGULAR_FILE: u8 = 4;
    pub(crate) const SYMBOLIC_LINK: u8 = 7;
}

pub(crate) const FDFLAG_APPEND: u16 = 1;
/// append, dsync, nonblock, rsync, sync: the last four hold trivially for memory.
pub(crate) const FDFLAGS_KNOWN: u16 = 0x1f;
pub(crate) const OFLAG_CREAT: u32 = 1;
pub(crate) const OFLAG_DIRECTORY: u32 = 2;
pub(crate) const OFLAG_EXCL: u32 = 4;
pub(crate) const OFLAG_TRUNC: u32 = 8;
pub(crate) const OFLAGS_KNOWN: u32 = 0xf;
pub(crate) const LOOKUP_SYMLINK_FOLLOW: u32 = 1;

pub(crate) const DIRENT_BYTES: usize = 24;
pub(crate) const SUBSCRIPTION_BYTES: u32 = 48;
pub(crate) const EVENT_BYTES: u32 = 32;

/// What `fd_filestat_get` and `path_filestat_get` tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileStat {
    pub(crate) ino: u64,
    pub(crate) filetype: u8,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) accessed_ns: u64,
    pub(crate) modified_ns: u64,
}

impl FileStat {
    pub(crate) fn encode(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        // The device number is a constant: there is one filesystem.
        bytes[0..8].copy_from_slice(&1_u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ino.to_le_bytes());
        bytes[16] = self.filetype;
        bytes[24..32].copy_from_slice(&self.links.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.accessed_ns.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.modified_ns.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.modified_ns.to_le_bytes());
        bytes
    }
}

/// Longest stretch of memory that the trace keeps as it is; of a longer one it keeps the digest.
const KEPT_BYTES_MAX: usize = 256;
const READ: u8 = 0;
const WRITTEN: u8 = 1;

/// The guest's memory during one host call, with a count of the bytes the call moved (it pays fuel for them) and
/// what it read and wrote, for the trace.
pub(crate) struct Guest<'a> {
    bytes: &'a mut [u8],
    moved: u64,
    touched: Vec<u8>,
    written: Vec<(u32, u32)>,
}

/// Appends a stretch of memory: which way, where, how long, and the bytes or their digest.
fn touch(into: &mut Vec<u8>, way: u8, at: u32, bytes: &[u8]) {
    into.push(way);
    into.extend_from_slice(&at.to_le_bytes());
    into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    if bytes.len() <= KEPT_BYTES_MAX {
        into.extend_from_slice(bytes);
    } else {
        into.extend_from_slice(&digest_of(bytes).0);
    }
}

impl<'a> Guest<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, moved: 0, touched: Vec::new(), written: Vec::new() }
    }

    /// Ends the call: bytes moved, and what was read (as it was then) and written (as it is now).
    pub(crate) fn finish(mut self) -> (u64, Vec<u8>) {
        for (at, length) in std::mem::take(&mut self.written) {
            // In range: the stretch was borrowed from this memory before.
            let bytes = &self.bytes[at as usize..at as usize + length as usize];
            touch(&mut self.touched, WRITTEN, at, bytes);
        }
        (self.moved, self.touched)
    }

    pub(crate) fn read(&mut self, at: u32, length: u32) -> Outcome<&[u8]> {
        let end = (at as usize).checked_add(length as usize).ok_or(Errno::Fault)?;
        let bytes = self.bytes.get(at as usize..end).ok_or(Errno::Fault)?;
        self.moved += u64::from(length);
        touch(&mut self.touched, READ, at, bytes);
        Ok(bytes)
    }

    pub(crate) fn slice_mut(&mut self, at: u32, length: u32) -> Outcome<&mut [u8]> {
        let end = (at as usize).checked_add(length as usize).ok_or(Errno::Fault)?;
        let bytes = self.bytes.get_mut(at as usize..end).ok_or(Errno::Fault)?;
        self.moved += u64::from(length);
        self.written.push((at, length));
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Outcome {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.slice_mut(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn read_u32(&mut self, at: u32) -> Outcome<u32> {
        Ok(u32::from_le_bytes(self.read(at, 4)?.try_into().expect("four bytes were read")))
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Outcome {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Outcome {
        self.write(at, &value.to_le_bytes())
    }

    /// Entry `index` of an array of `(pointer, length)` pairs.
    pub(crate) fn iovec(&mut self, array: u32, index: u32) -> Outcome<(u32, u32)> {
        let at = index.checked_mul(8).and_then(|offset| array.checked_add(offset)).ok_or(Errno::Fault)?;
        Ok((self.read_u32(at)?, self.read_u32(at.checked_add(4).ok_or(Errno::Fault)?)?))
    }

    /// A path or a name: UTF-8, as WASI demands.
    pub(crate) fn path(&mut self, at: u32, length: u32) -> Outcome<Vec<u8>> {
        if length as usize > super::memfs::PATH_BYTES_MAX {
            return Err(Errno::Nametoolong);
        }
        let bytes = self.read(at, length)?.to_vec();
        if std::str::from_utf8(&bytes).is_err() || bytes.contains(&0) {
            return Err(Errno::Ilseq);
        }
        Ok(bytes)
    }
}
