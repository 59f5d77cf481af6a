//! FUSE requests, answered from the tree.
//!
//! Owns the translation between the kernel's requests and [`Tree`]'s steps, and the listings of open directories.
//! Refuses to cache or to delay: an answered write is in the tree's volatile layer, an answered sync in its durable
//! one. After the power is cut every request that the tree would have to serve fails with `EIO`.

use super::locked;
use super::tree::{Ino, Kind, Names, Node, Tree};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Nothing changes behind the kernel's back, but hard links share attributes that it caches per name.
const TTL: Duration = Duration::from_secs(1);
const BLOCK_BYTES: u64 = 512;
/// Blocks that `statfs` reports: 8 GiB, so that no one waits for space.
const BLOCKS: u64 = (8 << 30) / BLOCK_BYTES;

type Listing = Vec<(Ino, FileType, OsString)>;
type Outcome<T> = Result<T, Errno>;

/// The answering side of one mount.
pub(super) struct Files {
    tree: Arc<Mutex<Tree>>,
    /// What open directories showed when they were opened, so that removing while listing misses nothing.
    listings: Mutex<(u64, BTreeMap<u64, Listing>)>,
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Dir(_) => FileType::Directory,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::Special(bits) if *bits == libc::S_IFSOCK => FileType::Socket,
        Kind::Special(_) => FileType::NamedPipe,
    }
}

fn attr(ino: Ino, node: &Node) -> FileAttr {
    let size = match &node.kind {
        Kind::File(content) => content.len(),
        Kind::Symlink(target) => target.len() as u64,
        Kind::Dir(_) | Kind::Special(_) => 0,
    };
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(BLOCK_BYTES),
        atime: node.mtime,
        mtime: node.mtime,
        ctime: node.mtime,
        crtime: node.mtime,
        kind: file_type(&node.kind),
        perm: node.mode as u16,
        nlink: node.links,
        uid: node.uid,
        gid: node.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Files {
    pub(super) fn new(tree: Arc<Mutex<Tree>>) -> Files {
        Files { tree, listings: Mutex::new((0, BTreeMap::new())) }
    }

    /// Runs one step, unless the power is off.
    fn step<T>(&self, f: impl FnOnce(&mut Tree) -> Result<T, nix::errno::Errno>) -> Outcome<T> {
        let mut tree = locked(&self.tree);
        if tree.dead {
            return Err(Errno::EIO);
        }
        f(&mut tree).map_err(|e| Errno::from_i32(e as i32))
    }

    /// Makes a node and remembers that the kernel knows it.
    fn make(&self, dir: INodeNo, name: &OsStr, node: Node) -> Outcome<FileAttr> {
        self.step(|tree| {
            let ino = tree.create(dir.0, name, node)?;
            tree.retain(ino);
            Ok(attr(ino, tree.node(ino)?))
        })
    }

    fn listing(&self, dir: INodeNo) -> Outcome<Listing> {
        self.step(|tree| {
            let mut out =
                vec![(dir.0, FileType::Directory, ".".into()), (dir.0, FileType::Directory, "..".into())];
            for (name, ino) in &tree.names(dir.0)?.volatile {
                out.push((*ino, file_type(&tree.node(*ino)?.kind), name.clone()));
            }
            Ok(out)
        })
    }
}

fn entry(reply: ReplyEntry, answer: Outcome<FileAttr>) {
    match answer {
        Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
        Err(e) => reply.error(e),
    }
}

fn empty(reply: ReplyEmpty, answer: Outcome<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e),
    }
}

fn owner(req: &Request) -> (u32, u32) {
    (req.uid(), req.gid())
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self.step(|tree| {
            let ino = tree.lookup(parent.0, name)?;
            tree.retain(ino);
            Ok(attr(ino, tree.node(ino)?))
        });
        entry(reply, answer);
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        locked(&self.tree).release(ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.step(|tree| Ok(attr(ino.0, tree.node(ino.0)?))) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let answer = self.step(|tree| {
            if let Some(size) = size {
                tree.content_mut(ino.0)?.resize(size)?;
            }
            let node = tree.node_mut(ino.0)?;
            node.mode = mode.map_or(node.mode, |m| m & 0o7777);
            (node.uid, node.gid) = (uid.unwrap_or(node.uid), gid.unwrap_or(node.gid));
            match mtime {
                Some(TimeOrNow::SpecificTime(time)) => node.mtime = time,
                Some(TimeOrNow::Now) => node.mtime = SystemTime::now(),
                None => {}
            }
            Ok(attr(ino.0, node))
        });
        match answer {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let answer = self.step(|tree| match &tree.node(ino.0)?.kind {
            Kind::Symlink(target) => Ok(target.clone()),
            _ => Err(nix::errno::Errno::EINVAL),
        });
        match answer {
            Ok(target) => reply.data(target.as_bytes()),
            Err(e) => reply.error(e),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        dir: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File(Default::default()),
            bits @ (libc::S_IFSOCK | libc::S_IFIFO) => Kind::Special(bits),
            _ => return reply.error(Errno::EPERM),
        };
        entry(reply, self.make(dir, name, Node::new(kind, mode & !umask, owner(req))));
    }

    fn mkdir(&self, req: &Request, dir: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let kind = Kind::Dir(Names::default());
        entry(reply, self.make(dir, name, Node::new(kind, mode & !umask, owner(req))));
    }

    fn symlink(&self, req: &Request, dir: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let kind = Kind::Symlink(target.as_os_str().to_owned());
        entry(reply, self.make(dir, name, Node::new(kind, 0o777, owner(req))));
    }

    fn create(
        &self,
        req: &Request,
        dir: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let kind = Kind::File(Default::default());
        match self.make(dir, name, Node::new(kind, mode & !umask, owner(req))) {
            Ok(attr) => reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(e) => reply.error(e),
        }
    }

    fn link(&self, _: &Request, ino: INodeNo, dir: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self.step(|tree| {
            tree.link(ino.0, dir.0, name)?;
            tree.retain(ino.0);
            Ok(attr(ino.0, tree.node(ino.0)?))
        });
        entry(reply, answer);
    }

    fn unlink(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.step(|tree| tree.remove(dir.0, name, false)));
    }

    fn rmdir(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.step(|tree| tree.remove(dir.0, name, true)));
    }

    fn rename(
        &self,
        _: &Request,
        from: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let replace = flags.is_empty();
        empty(reply, self.step(|tree| tree.rename((from.0, name), (to.0, new_name), replace)));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.step(|tree| Ok(tree.content(ino.0)?.read(at, size).to_vec())) {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => reply.error(e),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let answer = self.step(|tree| {
            tree.counts.writes += 1;
            let content = tree.content_mut(ino.0)?;
            content.write(at, bytes)?;
            // O_SYNC contains the bit of O_DSYNC.
            if flags.0 & libc::O_DSYNC != 0 {
                content.sync();
            }
            Ok(())
        });
        match answer {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(e) => reply.error(e),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let answer = match mode {
            // Space is not accounted for, so reserving it beyond the end changes nothing.
            libc::FALLOC_FL_KEEP_SIZE => Ok(()),
            0 => self.step(|tree| {
                let content = tree.content_mut(ino.0)?;
                content.resize(content.len().max(at.saturating_add(len)))
            }),
            _ => Err(Errno::EOPNOTSUPP),
        };
        empty(reply, answer);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(reply, self.step(|tree| tree.sync_file(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(reply, self.step(|tree| tree.sync_dir(ino.0)));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.listing(ino) {
            Ok(listing) => {
                let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
                listings.0 += 1;
                let handle = listings.0;
                listings.1.insert(handle, listing);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(e) => reply.error(e),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, at: u64, mut reply: ReplyDirectory) {
        let listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(listing) = listings.1.get(&fh.0) else { return reply.error(Errno::EBADF) };
        for (i, (ino, kind, name)) in listing.iter().enumerate().skip(at as usize) {
            if reply.add(INodeNo(*ino), i as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, 0, 0, BLOCK_BYTES as u32, 255, BLOCK_BYTES as u32);
    }
}
