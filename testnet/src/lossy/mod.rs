//! A disk that forgets: a FUSE file system in memory that throws unsynced writes away when the power goes.
//!
//! `kill -9` keeps the page cache, so it can not show a missing `fsync`. Here every change goes to a volatile layer:
//!
//! * `fsync` and `fdatasync` of a file, and a write through a descriptor opened with `O_SYNC` or `O_DSYNC`, make that
//!   file's bytes and length durable.
//! * A name (create, link, rename, unlink, mkdir, rmdir, symlink) becomes durable only by an `fsync` of its
//!   directory: the strict reading of POSIX. ext4 also keeps the name of a new file when the file itself is synced;
//!   relying on that is a bug this disk shows. A rename is one step: after a crash the old state or the new one.
//! * `sync_file_range` and `syncfs` promise nothing. Mode, owner and times are not rolled back.
//!
//! [`Lossy::crash`] is a power cut: whoever still runs gets errors, the tree returns to its durable state (with part
//! of the unsynced changes, if asked), and a new mount with cold caches takes the place of the old one.
//!
//! The mount lives in a mount namespace that belongs to the calling thread and to the processes it starts, so nothing
//! of it is left on the machine whatever happens; a thread that starts processes on the disk is the one that mounts it.

mod content;
mod fs;
mod load;
mod tree;

#[cfg(test)]
mod tests;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tree::Tree;

/// How long a session may take to end after its connection was cut.
const END_BOUND: Duration = Duration::from_secs(10);

/// What a power cut does to changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of them are lost.
    Lose,
    /// Of each file a prefix of its changes is kept, the last of them torn at any byte; of the names a prefix.
    Torn(u64),
    /// Of each file any subset of its writes is kept, each torn at any byte; of the names and lengths a prefix.
    Scattered(u64),
}

/// What a crash threw away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Unsynced writes and truncations of files.
    pub changes: u64,
    /// Of these, how many were kept whole or in part.
    pub kept: u64,
    /// Names that were not durable.
    pub names: u64,
}

/// What a disk was asked for since it was mounted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes of files.
    pub writes: u64,
    /// Syncs of files.
    pub file_syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
}

thread_local! {
    static PRIVATE: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread a mount namespace of its own, once; processes that it starts inherit it.
fn private_mounts() -> io::Result<()> {
    if PRIVATE.get() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    PRIVATE.set(true);
    Ok(())
}

/// Why this machine can not mount a lossy disk, or `None` when it can; tests that need one print it and end.
pub fn unavailable() -> Option<String> {
    if let Err(e) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        return Some(format!("/dev/fuse can not be opened: {e}"));
    }
    private_mounts().err().map(|e| format!("no mount namespace of our own (root is needed): {e}"))
}

/// A mounted disk; see the module. It is unmounted when dropped, on the thread that mounted it.
pub struct Lossy {
    dir: PathBuf,
    tree: Arc<Mutex<Tree>>,
    session: Option<BackgroundSession>,
    /// The mount is visible to the mounting thread's namespace only, so the value stays on that thread.
    _on_its_thread: PhantomData<*const ()>,
}

impl std::fmt::Debug for Lossy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lossy({})", self.dir.display())
    }
}

/// The tree stays usable after a panic elsewhere: its steps keep it whole.
fn locked(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lossy {
    /// Mounts a disk over `dir`; what the directory holds becomes the disk's durable content.
    pub fn mount(dir: &Path) -> io::Result<Lossy> {
        private_mounts()?;
        let dir = dir.canonicalize()?;
        let tree = Arc::new(Mutex::new(load::tree_of(&dir)?));
        let mut disk = Lossy { dir, tree, session: None, _on_its_thread: PhantomData };
        disk.attach()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What was asked of it so far.
    pub fn counts(&self) -> Counts {
        locked(&self.tree).counts
    }

    /// Makes everything durable, as a clean unmount would: for what was set up long before the crash.
    pub fn sync_all(&self) {
        locked(&self.tree).sync_all();
    }

    /// Cuts the power of this disk: from now on every access to it fails.
    pub fn cut(&self) {
        locked(&self.tree).dead = true;
    }

    /// Cuts the power, reverts to the durable state and mounts the disk again.
    pub fn crash(&mut self, how: Crash) -> io::Result<Loss> {
        self.cut();
        self.detach()?;
        let loss = locked(&self.tree).crash(how);
        self.attach()?;
        Ok(loss)
    }

    fn attach(&mut self) -> io::Result<()> {
        assert!(self.session.is_none(), "a disk is mounted once");
        locked(&self.tree).dead = false;
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("metanode-lossy".into()),
            MountOption::DefaultPermissions,
            MountOption::NoAtime,
        ];
        // Cages look at the disk from user namespaces of their own.
        config.acl = SessionACL::All;
        let files = fs::Files::new(self.tree.clone());
        self.session = Some(Session::new(files, &self.dir, &config)?.spawn()?);
        Ok(())
    }

    /// Aborts the connection, so that nobody waits for an answer, and takes the mount away.
    fn detach(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // MNT_FORCE makes the kernel abort the connection; MNT_DETACH works although files are open.
        umount2(&self.dir, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
        let until = Instant::now() + END_BOUND;
        while !session.guard.is_finished() {
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the FUSE session did not end"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // An aborted connection is how every session here ends; its error says nothing more.
        drop(session.join());
        Ok(())
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.cut();
        if let Err(e) = self.detach() {
            eprintln!("lossy disk at {}: {e}", self.dir.display());
        }
    }
}
