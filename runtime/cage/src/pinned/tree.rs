//! The files of a pinned cage as programs see them: numbers and times that do not come from the host.
//!
//! Owns the numbering of inodes (in the order in which the program first meets them) and the logical times. A file
//! of the image shows its own time, but none after the beginning of the run; what the run makes or writes shows the
//! logical time of that. It refuses to show what a host file system decides: devices, sizes and link counts of
//! directories, allocated blocks. Invariant: the same calls give the same answers, whatever lies underneath.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sys;

/// What the kernel calls a file: device and inode.
pub(crate) type Key = (u64, u64);
/// Seconds and nanoseconds since 1970.
pub(crate) type Moment = (i64, i64);

/// The only device number of files, pipes and sockets.
pub(crate) const DEVICE: u64 = 0x2a;
/// First inode number that is given out.
const FIRST: u64 = 1 << 10;
/// Size of a block, and of a directory.
pub(crate) const BLOCK: i64 = 4096;
/// Where the supervisor keeps files that stand for those of `/proc`: the beginning of a directory name in `/dev`.
pub(crate) const HIDDEN: &str = ".synthetic-";

/// Times that differ from those of the image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Of the last reading: only a program that sets it changes it.
    pub accessed: Moment,
    /// Of the last change of the content.
    pub modified: Moment,
    /// Of the last change of anything.
    pub changed: Moment,
}

impl Stamp {
    const fn all(when: Moment) -> Self {
        Self { accessed: when, modified: when, changed: when }
    }
}

/// A range of user or group ids: inside, outside, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMap(u32, u32, u32);

impl IdMap {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// The id as it is known inside; the kernel's "nobody" when it is not.
    fn inside(self, outside: u32) -> u32 {
        match outside.checked_sub(self.1) {
            Some(offset) if offset < self.2 => self.0 + offset,
            _ => 65_534,
        }
    }

    /// What the first id of the range is outside.
    pub(crate) fn first_outside(self) -> u32 {
        self.1
    }
}

/// The supervisor's knowledge of the cage's files.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The cage's root directory.
    root: OwnedFd,
    /// Directories on which the cage has mounts of its own, with their paths.
    mounts: Vec<(&'static [u8], OwnedFd)>,
    /// Directory that only the supervisor can name, and its path inside.
    hidden: Option<(OwnedFd, Vec<u8>)>,
    /// Devices: of `/proc`, of the hidden directory, of anonymous pipes, of sockets.
    proc: Option<u64>,
    hidden_device: Option<u64>,
    pipes: u64,
    sockets: u64,
    /// The two files that stand for random devices, with their minor numbers.
    random: Vec<(Key, u32)>,
    users: IdMap,
    groups: IdMap,
    /// When the run begins, logically, and when it began on the host.
    epoch: Moment,
    began: Moment,
    numbers: BTreeMap<Key, u64>,
    named: BTreeMap<Vec<u8>, u64>,
    stamps: BTreeMap<Key, Stamp>,
    /// Hidden files, each with the name in `/proc` that it stands for: by number, and number by inode.
    hidden_files: Vec<Vec<u8>>,
    hidden_inodes: BTreeMap<u64, usize>,
    next: u64,
    /// Paths of files that were opened or executed, when somebody wants to know.
    opened: Option<BTreeSet<Vec<u8>>>,
}

fn key_of(st: &libc::stat) -> Key {
    (st.st_dev, st.st_ino)
}

/// Nanoseconds since 1970 as a moment.
pub(crate) fn moment(ns: u64) -> Moment {
    ((ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64)
}

impl Tree {
    /// The tree that the process `pid` lives in. `epoch`: the wall clock at the beginning, nanoseconds.
    /// `local_root`: keep the paths of what is opened.
    pub(crate) fn open(pid: i32, epoch: u64, local_root: bool) -> io::Result<Self> {
        let path = CString::new(format!("/proc/{pid}/root")).map_err(io::Error::other)?;
        let root = sys::openat(libc::AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY)?;
        let map = |file: &str| -> io::Result<IdMap> {
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
            IdMap::parse(&text).ok_or_else(|| io::Error::other("no map of user ids"))
        };
        let device = |name| {
            let found = sys::open_below(root.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW).ok()?;
            Some((sys::fstat(found.as_fd()).ok()?, found))
        };
        let mount = |path: &'static [u8]| {
            let name = CString::new(path).ok()?;
            Some((path, sys::open_below(root.as_fd(), &name, libc::O_PATH | libc::O_DIRECTORY).ok()?))
        };
        let top = sys::fstat(root.as_fd())?;
        let proc = device(c"proc").map(|(st, _)| st.st_dev).filter(|dev| *dev != top.st_dev);
        let (users, groups) = (map("uid_map")?, map("gid_map")?);
        if users.2 > 1 {
            sys::drop_groups(); // the program has none either
        }
        let random = [(c"dev/random", 8), (c"dev/urandom", 9)]
            .into_iter()
            .filter_map(|(name, minor)| device(name).map(|(st, _)| (st, minor)))
            .filter(|(st, _)| st.st_mode & libc::S_IFMT == libc::S_IFREG)
            .map(|(st, minor)| (key_of(&st), minor))
            .collect();
        let hidden = Self::find_hidden(root.as_fd())?;
        let hidden_device =
            hidden.as_ref().map(|(dir, _)| sys::fstat(dir.as_fd())).transpose()?.map(|st| st.st_dev);
        let (reading, _writing) = sys::pipe()?;
        let (socket, _peer) = sys::packet_pair()?;
        Ok(Self {
            mounts: [&b"/tmp/"[..], b"/run/", b"/dev/shm/"].into_iter().filter_map(mount).collect(),
            hidden,
            proc,
            hidden_device,
            pipes: sys::fstat(reading.as_fd())?.st_dev,
            sockets: sys::fstat(socket.as_fd())?.st_dev,
            random,
            users,
            groups,
            epoch: moment(epoch),
            began: ((sys::now_ms() / 1000) as i64 - 1, 0),
            root,
            numbers: BTreeMap::new(),
            named: BTreeMap::new(),
            stamps: BTreeMap::new(),
            hidden_files: Vec::new(),
            hidden_inodes: BTreeMap::new(),
            next: FIRST,
            opened: local_root.then(BTreeSet::new),
        })
    }

    fn find_hidden(root: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, Vec<u8>)>> {
        let Ok(dev) = sys::open_below(root, c"dev", libc::O_RDONLY | libc::O_DIRECTORY) else {
            return Ok(None);
        };
        let names = sys::entries(dev.as_fd())?;
        let Some((name, _)) =
            names.into_iter().find(|(name, _)| name.to_bytes().starts_with(HIDDEN.as_bytes()))
        else {
            return Ok(None);
        };
        let dir = sys::openat(dev.as_raw_fd(), &name, libc::O_RDONLY | libc::O_DIRECTORY)?;
        Ok(Some((dir, [b"/dev/", name.to_bytes()].concat())))
    }

    /// What `path` (absolute, inside) leads to, as an `O_PATH` descriptor. `follow`: also when it ends in a link.
    pub(crate) fn lookup(&self, path: &[u8], follow: bool) -> io::Result<OwnedFd> {
        let path = CString::new(path).map_err(io::Error::other)?;
        let flags = if follow { libc::O_PATH } else { libc::O_PATH | libc::O_NOFOLLOW };
        sys::open_below(self.root.as_fd(), &path, flags)
    }

    /// What a path leads to for the program, with its rights: the answer that the kernel would give it. `None`
    /// when that cannot be told without the program: the path meets a mount, `/proc`, or leaves `start` (the
    /// directory it is relative to; absolute when there is none).
    pub(crate) fn find(
        &self,
        start: Option<&OwnedFd>,
        path: &[u8],
        follow: bool,
    ) -> Option<io::Result<OwnedFd>> {
        if self.users.first_outside() == 0 {
            return None; // the host's root without its capabilities: nothing this thread could be
        }
        let (dir, rest, top) = match (start, self.mounts.iter().find(|(at, _)| path.starts_with(at))) {
            (Some(dir), _) => (dir, path, false),
            (None, Some((at, dir))) => (dir, &path[at.len()..], false),
            (None, None) => (&self.root, path, true),
        };
        let rest = if rest.is_empty() && start.is_none() { b"." } else { rest };
        let rest = CString::new(rest).ok()?;
        let user = (self.users.first_outside(), self.groups.first_outside());
        let found = sys::as_user(user, || sys::find_in_mount(dir.as_fd(), &rest, follow, top));
        let unsure =
            |e: &io::Error| matches!(e.raw_os_error(), Some(libc::EXDEV | libc::ELOOP | libc::EAGAIN));
        if found.as_ref().is_err_and(unsure) { None } else { Some(found) }
    }

    /// Opens a file for reading, by its absolute path inside.
    pub(crate) fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let path = CString::new(path).map_err(io::Error::other)?;
        let file = sys::open_below(self.root.as_fd(), &path, libc::O_RDONLY | libc::O_NONBLOCK)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes)?;
        Ok(bytes)
    }

    /// A file was opened.
    pub(crate) fn note_opened(&mut self, fd: &OwnedFd) {
        if let Some(opened) = &mut self.opened
            && let Some(path) = super::paths::path_of(fd)
        {
            opened.insert(path);
        }
    }

    /// The kernel opened these for an execution: the program and its loader.
    pub(crate) fn note_executed(&mut self, pid: i32) {
        let Some(opened) = &mut self.opened else { return };
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
        opened.extend(paths.map(|path| path.as_bytes().to_vec()));
    }

    /// The paths of all that was opened.
    pub(crate) fn take_opened(&mut self) -> BTreeSet<Vec<u8>> {
        self.opened.take().unwrap_or_default()
    }

    /// Names in a directory, by its absolute path inside, in no order.
    pub(crate) fn names(&self, path: &[u8]) -> io::Result<Vec<(CString, u8)>> {
        let path = CString::new(path).map_err(io::Error::other)?;
        let dir = sys::open_below(self.root.as_fd(), &path, libc::O_RDONLY | libc::O_DIRECTORY)?;
        sys::entries(dir.as_fd())
    }

    /// The number of a file.
    pub(crate) fn number(&mut self, key: Key) -> u64 {
        let next = &mut self.next;
        *self.numbers.entry(key).or_insert_with(|| {
            *next += 1;
            *next - 1
        })
    }

    /// The number of something that only has a name.
    pub(crate) fn number_of_name(&mut self, name: &[u8]) -> u64 {
        if let Some(number) = self.named.get(name) {
            return *number;
        }
        self.next += 1;
        self.named.insert(name.to_owned(), self.next - 1);
        self.next - 1
    }

    /// The number of an anonymous pipe that the kernel knows under `inode`.
    pub(crate) fn number_of_pipe(&mut self, inode: u64) -> u64 {
        self.number((self.pipes, inode))
    }

    /// The number of a socket that the kernel knows under `inode`.
    pub(crate) fn number_of_socket(&mut self, inode: u64) -> u64 {
        self.number((self.sockets, inode))
    }

    /// Whether that is an anonymous pipe.
    pub(crate) fn is_anonymous_pipe(&self, st: &libc::stat) -> bool {
        st.st_dev == self.pipes
    }

    /// Whether that lies in the kernel's `/proc`.
    pub(crate) fn in_proc(&self, st: &libc::stat) -> bool {
        self.proc == Some(st.st_dev)
    }

    /// The name in `/proc` of which this hidden file holds the content.
    pub(crate) fn stands_for(&self, st: &libc::stat) -> Option<&[u8]> {
        let number = self.hidden_inodes.get(&st.st_ino).filter(|_| self.hidden_device == Some(st.st_dev))?;
        self.hidden_files.get(*number).map(Vec::as_slice)
    }

    /// The name in `/proc` that stands for the path of a hidden file.
    pub(crate) fn name_behind(&self, path: &[u8]) -> Option<&[u8]> {
        let (_, hidden) = self.hidden.as_ref()?;
        let rest = path.strip_prefix(hidden.as_slice())?.strip_prefix(b"/")?;
        let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).collect();
        let number = std::str::from_utf8(&digits).ok()?.parse::<usize>().ok()?;
        self.hidden_files.get(number).map(Vec::as_slice)
    }

    /// Minor number of the random device that this file stands for.
    pub(crate) fn random_device(&self, key: Key) -> Option<u32> {
        self.random.iter().find(|(k, _)| *k == key).map(|(_, minor)| *minor)
    }

    /// The file was made or written at `when`.
    pub(crate) fn touch(&mut self, st: &libc::stat, when: Moment, new: bool) {
        let stamp = if new { Stamp::all(when) } else { self.stamp(st) };
        self.stamps.insert(key_of(st), Stamp { modified: when, changed: when, ..stamp });
    }

    /// Something but the content changed at `when`.
    pub(crate) fn change(&mut self, st: &libc::stat, when: Moment) {
        let stamp = self.stamp(st);
        self.stamps.insert(key_of(st), Stamp { changed: when, ..stamp });
    }

    /// The program set these times (none: left as they are) at `when`.
    pub(crate) fn set_times(&mut self, st: &libc::stat, times: [Option<Moment>; 2], when: Moment) {
        let old = self.stamp(st);
        let [accessed, modified] = times;
        let stamp = Stamp {
            accessed: accessed.unwrap_or(old.accessed),
            modified: modified.unwrap_or(old.modified),
            changed: when,
        };
        self.stamps.insert(key_of(st), stamp);
    }

    /// The times of a file.
    fn stamp(&self, st: &libc::stat) -> Stamp {
        if let Some(stamp) = self.stamps.get(&key_of(st)) {
            return *stamp;
        }
        let own = (st.st_mtime, st.st_mtime_nsec);
        // What the run itself made without a stamp (a socket's name) has the host's time: never that one.
        let shown = if own >= self.began || own > self.epoch { self.epoch } else { own };
        Stamp::all(shown)
    }

    /// The file as the program shall see it. `outside`: the supervisor asked, so owners are the host's.
    pub(crate) fn shown(&mut self, st: &libc::stat, outside: bool, name: Option<&[u8]>) -> libc::stat {
        let mut shown = *st;
        shown.st_dev = DEVICE;
        shown.st_blksize = BLOCK;
        if outside {
            shown.st_uid = self.users.inside(st.st_uid);
            shown.st_gid = self.groups.inside(st.st_gid);
        }
        let stands_for = self.stands_for(st).map(<[u8]>::to_vec);
        let synthetic = stands_for.is_some() || self.in_proc(st);
        let stamp = if synthetic { Stamp::all(self.epoch) } else { self.stamp(st) };
        (shown.st_atime, shown.st_atime_nsec) = stamp.accessed;
        (shown.st_mtime, shown.st_mtime_nsec) = stamp.modified;
        (shown.st_ctime, shown.st_ctime_nsec) = stamp.changed;
        shown.st_ino = match stands_for.as_deref().or(name.filter(|_| synthetic)) {
            Some(name) => self.number_of_name(name),
            None => self.number(key_of(st)),
        };
        if synthetic {
            (shown.st_size, shown.st_nlink) = (0, 1);
            (shown.st_uid, shown.st_gid) = (0, 0); // the host's root, whom nobody inside is
        }
        if let Some(minor) = self.random_device(key_of(st)) {
            shown.st_mode = libc::S_IFCHR | 0o666;
            shown.st_rdev = libc::makedev(1, minor);
            shown.st_size = 0;
        }
        let kind = shown.st_mode & libc::S_IFMT;
        if kind == libc::S_IFDIR {
            (shown.st_nlink, shown.st_size) = (1, if synthetic { 0 } else { BLOCK });
        }
        shown.st_blocks = match kind {
            libc::S_IFREG | libc::S_IFDIR => shown.st_size.saturating_add(BLOCK - 1) / BLOCK * (BLOCK / 512),
            _ => 0,
        };
        shown
    }

    /// Makes a file of this content that stands for `name` in `/proc`; its path inside, and its name
    /// among the hidden ones.
    pub(crate) fn synthesise(&mut self, name: &[u8], bytes: &[u8]) -> io::Result<(Vec<u8>, CString)> {
        let Some((dir, path)) = &self.hidden else { return Err(io::Error::from_raw_os_error(libc::ENOENT)) };
        let number = self.hidden_files.len();
        let file = CString::new(number.to_string()).map_err(io::Error::other)?;
        let owner = (self.users.first_outside(), self.groups.first_outside());
        let made = sys::create_as(owner, dir.as_fd(), &file, 0o444, bytes)?;
        self.hidden_inodes.insert(sys::fstat(made.as_fd())?.st_ino, number);
        self.hidden_files.push(name.to_owned());
        Ok(([path, &b"/"[..], file.to_bytes()].concat(), file))
    }

    /// Takes the name of a synthesised file away; who has it open keeps it.
    pub(crate) fn unname(&self, file: &CString) {
        if let Some((dir, _)) = &self.hidden {
            let _ = sys::unlinkat(dir.as_raw_fd(), file); // its name cannot be guessed; a left-over only takes room
        }
    }
}
