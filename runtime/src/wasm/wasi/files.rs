//! Owns the descriptor table and the `fd_*` calls. Refuses sockets and devices: a descriptor is a standard stream,
//! a file or a directory in memory. Short reads and writes do not happen except at the end of a file: how much a
//! call moves never depends on the host.

use super::abi::{self, Errno, FileStat, Guest, Outcome, filetype, rights};
use super::memfs::{Ino, ROOT};
use super::{Host, Tee};

/// Descriptors open at one time.
const DESCRIPTORS_MAX: u32 = 256;
/// Buffers in one vectored call, as POSIX's IOV_MAX.
const IOVECS_MAX: u32 = 1024;
pub(crate) const PREOPEN: u32 = 3;
/// The one preopened directory's name.
const PREOPEN_NAME: &[u8] = b"/";

#[derive(Debug)]
pub(crate) enum Object {
    Stdin,
    Stdout,
    Stderr,
    File { ino: Ino, position: u64 },
    Dir { ino: Ino, listing: Option<Listing> },
}

/// What a directory held when its reading began: later changes neither skip nor repeat an entry.
#[derive(Debug)]
pub(crate) struct Listing {
    entries: Vec<(Vec<u8>, Ino, u8)>,
    charged: u64,
}

#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) object: Object,
    pub(crate) flags: u16,
    pub(crate) base: u64,
    pub(crate) inheriting: u64,
}

impl Descriptor {
    fn stream(object: Object, base: u64) -> Self {
        Self { object, flags: 0, base, inheriting: 0 }
    }

    pub(crate) fn standard() -> std::collections::BTreeMap<u32, Self> {
        let root = Self {
            object: Object::Dir { ino: ROOT, listing: None },
            flags: 0,
            base: rights::DIR,
            inheriting: rights::DIR | rights::FILE,
        };
        [
            (0, Self::stream(Object::Stdin, rights::FD_READ)),
            (1, Self::stream(Object::Stdout, rights::FD_WRITE)),
            (2, Self::stream(Object::Stderr, rights::FD_WRITE)),
            (PREOPEN, root),
        ]
        .into()
    }

    fn ino(&self) -> Option<Ino> {
        match self.object {
            Object::File { ino, .. } | Object::Dir { ino, .. } => Some(ino),
            _ => None,
        }
    }
}

impl Host {
    pub(crate) fn descriptor(&mut self, fd: u32) -> Outcome<&mut Descriptor> {
        self.descriptors.get_mut(&fd).ok_or(Errno::Badf)
    }

    /// The directory behind a descriptor.
    pub(crate) fn dir(&mut self, fd: u32) -> Outcome<Ino> {
        match self.descriptor(fd)?.object {
            Object::Dir { ino, .. } => Ok(ino),
            _ => Err(Errno::Notdir),
        }
    }

    fn file(&mut self, fd: u32, right: u64) -> Outcome<(Ino, u64, u16)> {
        let descriptor = self.descriptor(fd)?;
        match descriptor.object {
            Object::File { .. } if descriptor.base & right != right => Err(Errno::Badf),
            Object::File { ino, position } => Ok((ino, position, descriptor.flags)),
            Object::Dir { .. } => Err(Errno::Isdir),
            _ => Err(Errno::Spipe),
        }
    }

    /// Enters a descriptor under the lowest free number.
    pub(crate) fn open_descriptor(&mut self, descriptor: Descriptor) -> Outcome<u32> {
        let fd = (0..DESCRIPTORS_MAX).find(|fd| !self.descriptors.contains_key(fd)).ok_or(Errno::Mfile)?;
        if let Some(ino) = descriptor.ino() {
            self.fs.opened(ino)?;
        }
        self.descriptors.insert(fd, descriptor);
        Ok(fd)
    }

    pub(crate) fn fd_close(&mut self, fd: u32) -> Outcome {
        self.descriptor(fd)?;
        self.drop_listing(fd)?;
        let gone = self.descriptors.remove(&fd).ok_or(Errno::Badf)?;
        match gone.ino() {
            // The preopened root was never counted as opened, and has a name for ever.
            Some(ROOT) | None => Ok(()),
            Some(ino) => self.fs.closed(ino),
        }
    }

    pub(crate) fn fd_renumber(&mut self, from: u32, to: u32) -> Outcome {
        self.descriptor(from)?;
        self.descriptor(to)?;
        if from != to {
            self.fd_close(to)?;
            let moved = self.descriptors.remove(&from).ok_or(Errno::Badf)?;
            self.descriptors.insert(to, moved);
        }
        Ok(())
    }

    pub(crate) fn fd_sync(&mut self, fd: u32) -> Outcome {
        match self.descriptor(fd)?.object {
            Object::File { .. } | Object::Dir { .. } => Ok(()),
            _ => Err(Errno::Inval),
        }
    }

    pub(crate) fn fd_advise(&mut self, fd: u32, advice: u32) -> Outcome {
        self.file(fd, 0)?;
        // Six kinds of advice exist; none changes what a call returns, so none needs to be kept.
        if advice > 5 { Err(Errno::Inval) } else { Ok(()) }
    }

    pub(crate) fn fd_allocate(&mut self, fd: u32, offset: u64, length: u64) -> Outcome {
        let (ino, ..) = self.file(fd, rights::FD_WRITE)?;
        let end = offset.checked_add(length).filter(|_| length > 0).ok_or(Errno::Inval)?;
        if end > self.fs.file(ino)?.len() as u64 { self.fs.resize(ino, end) } else { Ok(()) }
    }

    pub(crate) fn fd_fdstat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Outcome {
        let descriptor = self.descriptor(fd)?;
        let mut bytes = [0; 24];
        bytes[0] = match descriptor.object {
            Object::File { .. } => filetype::REGULAR_FILE,
            Object::Dir { .. } => filetype::DIRECTORY,
            // Not a terminal, and not a file either.
            _ => filetype::UNKNOWN,
        };
        bytes[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&descriptor.base.to_le_bytes());
        bytes[16..24].copy_from_slice(&descriptor.inheriting.to_le_bytes());
        guest.write(out, &bytes)
    }

    pub(crate) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Outcome {
        let flags =
            u16::try_from(flags).ok().filter(|flags| flags & !abi::FDFLAGS_KNOWN == 0).ok_or(Errno::Inval)?;
        self.descriptor(fd)?.flags = flags;
        Ok(())
    }

    pub(crate) fn fd_fdstat_set_rights(&mut self, fd: u32, base: u64, inheriting: u64) -> Outcome {
        let descriptor = self.descriptor(fd)?;
        if base & !descriptor.base != 0 || inheriting & !descriptor.inheriting != 0 {
            return Err(Errno::Notcapable);
        }
        (descriptor.base, descriptor.inheriting) = (base, inheriting);
        Ok(())
    }

    pub(crate) fn fd_filestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Outcome {
        let stat = match self.descriptor(fd)?.ino() {
            Some(ino) => self.fs.stat(ino)?,
            None => FileStat {
                ino: 0,
                filetype: filetype::UNKNOWN,
                links: 1,
                size: 0,
                accessed_ns: 0,
                modified_ns: 0,
            },
        };
        guest.write(out, &stat.encode())
    }

    pub(crate) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Outcome {
        let (ino, ..) = self.file(fd, rights::FD_WRITE).map_err(|_| Errno::Inval)?;
        self.fs.resize(ino, size)
    }

    pub(crate) fn fd_filestat_set_times(
        &mut self,
        fd: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Outcome {
        let ino = self.descriptor(fd)?.ino().ok_or(Errno::Inval)?;
        self.set_times(ino, accessed, modified, flags)
    }

    /// `flags`: 1 and 4 take the values given, 2 and 8 take the logical wall clock.
    pub(crate) fn set_times(&mut self, ino: Ino, accessed: u64, modified: u64, flags: u32) -> Outcome {
        if flags > 0xf || flags & 3 == 3 || flags & 12 == 12 {
            return Err(Errno::Inval);
        }
        let now = self.clock.realtime_ns();
        let pick = |set: bool, set_now: bool, value| if set { Some(value) } else { set_now.then_some(now) };
        let accessed = pick(flags & 1 != 0, flags & 2 != 0, accessed);
        let modified = pick(flags & 4 != 0, flags & 8 != 0, modified);
        self.fs.set_times(ino, accessed, modified)
    }

    pub(crate) fn fd_prestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Outcome {
        if fd != PREOPEN || self.dir(fd)? != ROOT {
            return Err(Errno::Badf);
        }
        guest.write_u32(out, 0)?;
        guest.write_u32(out.checked_add(4).ok_or(Errno::Fault)?, PREOPEN_NAME.len() as u32)
    }

    pub(crate) fn fd_prestat_dir_name(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        out: u32,
        length: u32,
    ) -> Outcome {
        if fd != PREOPEN || self.dir(fd)? != ROOT {
            return Err(Errno::Badf);
        }
        if (length as usize) < PREOPEN_NAME.len() {
            return Err(Errno::Nametoolong);
        }
        guest.write(out, PREOPEN_NAME)
    }

    pub(crate) fn fd_seek(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        delta: i64,
        whence: u32,
        out: u32,
    ) -> Outcome {
        let (ino, position, _) = self.file(fd, 0)?;
        if self.descriptor(fd)?.base & rights::FD_SEEK == 0 && (whence != 1 || delta != 0) {
            return Err(Errno::Notcapable);
        }
        let base = match whence {
            0 => 0,
            1 => position,
            2 => self.fs.file(ino)?.len() as u64,
            _ => return Err(Errno::Inval),
        };
        let target =
            base.checked_add_signed(delta).filter(|at| i64::try_from(*at).is_ok()).ok_or(Errno::Inval)?;
        self.set_position(fd, target)?;
        guest.write_u64(out, target)
    }

    pub(crate) fn fd_tell(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Outcome {
        let (_, position, _) = self.file(fd, 0)?;
        if self.descriptor(fd)?.base & rights::FD_TELL == 0 {
            return Err(Errno::Notcapable);
        }
        guest.write_u64(out, position)
    }

    fn set_position(&mut self, fd: u32, at: u64) -> Outcome {
        if let Object::File { position, .. } = &mut self.descriptor(fd)?.object {
            *position = at;
        }
        Ok(())
    }

    pub(crate) fn fd_read(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        out: u32,
    ) -> Outcome {
        if matches!(self.descriptor(fd)?.object, Object::Stdin) {
            let (stdin, mut position) = (std::mem::take(&mut self.stdin), self.stdin_position);
            let read = read_into(guest, iovs, count, &stdin, position as u64);
            position += read.unwrap_or(0) as usize;
            (self.stdin, self.stdin_position) = (stdin, position);
            return guest.write_u32(out, read?);
        }
        if matches!(self.descriptor(fd)?.object, Object::Stdout | Object::Stderr) {
            return Err(Errno::Badf);
        }
        let (ino, position, _) = self.file(fd, rights::FD_READ)?;
        let read = read_into(guest, iovs, count, self.fs.file(ino)?, position)?;
        self.set_position(fd, position + u64::from(read))?;
        guest.write_u32(out, read)
    }

    pub(crate) fn fd_pread(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Outcome {
        let (ino, ..) = self.file(fd, rights::FD_READ)?;
        let read = read_into(guest, iovs, count, self.fs.file(ino)?, offset)?;
        guest.write_u32(out, read)
    }

    pub(crate) fn fd_write(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        out: u32,
    ) -> Outcome {
        let stream = match self.descriptor(fd)?.object {
            Object::Stdin => return Err(Errno::Badf),
            Object::Stdout => Some(&mut self.stdout),
            Object::Stderr => Some(&mut self.stderr),
            _ => None,
        };
        if let Some(stream) = stream {
            let written = write_stream(guest, iovs, count, stream)?;
            return guest.write_u32(out, written);
        }
        let (ino, position, flags) = self.file(fd, rights::FD_WRITE)?;
        let append = flags & abi::FDFLAG_APPEND != 0;
        let at = if append { self.fs.file(ino)?.len() as u64 } else { position };
        let written = self.write_file(guest, ino, iovs, count, at)?;
        self.set_position(fd, at + u64::from(written))?;
        guest.write_u32(out, written)
    }

    pub(crate) fn fd_pwrite(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Outcome {
        let (ino, _, flags) = self.file(fd, rights::FD_WRITE)?;
        let append = flags & abi::FDFLAG_APPEND != 0;
        let at = if append { self.fs.file(ino)?.len() as u64 } else { offset };
        let written = self.write_file(guest, ino, iovs, count, at)?;
        guest.write_u32(out, written)
    }

    fn write_file(
        &mut self,
        guest: &mut Guest<'_>,
        ino: Ino,
        iovs: u32,
        count: u32,
        at: u64,
    ) -> Outcome<u32> {
        let mut written = 0_u32;
        for index in 0..checked_count(count)? {
            let (pointer, length) = guest.iovec(iovs, index)?;
            let total = written.checked_add(length).ok_or(Errno::Inval)?;
            let data = guest.read(pointer, length)?;
            match self.fs.write_at(ino, at.saturating_add(u64::from(written)), data) {
                Ok(()) => written = total,
                // What fitted was written: that is what the caller is told.
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn drop_listing(&mut self, fd: u32) -> Outcome {
        if let Object::Dir { listing, .. } = &mut self.descriptor(fd)?.object
            && let Some(listing) = listing.take()
        {
            self.fs.refund(listing.charged);
        }
        Ok(())
    }

    pub(crate) fn fd_readdir(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        buffer: u32,
        length: u32,
        cookie: u64,
        out: u32,
    ) -> Outcome {
        let ino = self.dir(fd)?;
        let fresh = matches!(self.descriptor(fd)?.object, Object::Dir { listing: None, .. });
        if cookie == 0 || fresh {
            self.drop_listing(fd)?;
            let mut entries =
                vec![(b".".to_vec(), ino, filetype::DIRECTORY), (b"..".to_vec(), ino, filetype::DIRECTORY)];
            entries.extend(self.fs.list(ino)?);
            let charged = entries.iter().map(|(name, ..)| name.len() as u64 + 48).sum();
            self.fs.charge(charged)?;
            if let Object::Dir { listing, .. } = &mut self.descriptor(fd)?.object {
                *listing = Some(Listing { entries, charged });
            }
        }
        let Object::Dir { listing: Some(listing), .. } = &self.descriptor(fd)?.object else {
            return Err(Errno::Badf);
        };
        let target = guest.slice_mut(buffer, length)?;
        let mut used = 0;
        let start = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (index, (name, ino, kind)) in listing.entries.iter().enumerate().skip(start) {
            let mut entry = Vec::with_capacity(abi::DIRENT_BYTES + name.len());
            entry.extend_from_slice(&(index as u64 + 1).to_le_bytes());
            entry.extend_from_slice(&ino.to_le_bytes());
            entry.extend_from_slice(&(name.len() as u32).to_le_bytes());
            entry.extend_from_slice(&u32::from(*kind).to_le_bytes());
            entry.extend_from_slice(name);
            // An entry cut short by the buffer's end tells the caller that there is more.
            let take = entry.len().min(target.len() - used);
            target[used..used + take].copy_from_slice(&entry[..take]);
            used += take;
            if used == target.len() {
                break;
            }
        }
        guest.write_u32(out, used as u32)
    }
}

fn checked_count(count: u32) -> Outcome<u32> {
    if count > IOVECS_MAX { Err(Errno::Inval) } else { Ok(count) }
}

fn read_into(guest: &mut Guest<'_>, iovs: u32, count: u32, source: &[u8], at: u64) -> Outcome<u32> {
    let mut rest = source.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or(&[]);
    let mut read = 0_u32;
    for index in 0..checked_count(count)? {
        let (pointer, length) = guest.iovec(iovs, index)?;
        let take = rest.len().min(length as usize);
        read = read.checked_add(take as u32).ok_or(Errno::Inval)?;
        // The whole buffer must be the guest's, even when the file ends before it does.
        guest.slice_mut(pointer, length)?[..take].copy_from_slice(&rest[..take]);
        rest = &rest[take..];
    }
    Ok(read)
}

fn write_stream(guest: &mut Guest<'_>, iovs: u32, count: u32, stream: &mut Tee) -> Outcome<u32> {
    let mut written = 0_u32;
    for index in 0..checked_count(count)? {
        let (pointer, length) = guest.iovec(iovs, index)?;
        written = written.checked_add(length).ok_or(Errno::Inval)?;
        stream.push(guest.read(pointer, length)?);
    }
    Ok(written)
}
