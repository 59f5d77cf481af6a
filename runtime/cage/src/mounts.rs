//! The cage's file system, built by the cage's first process inside its own mount namespace.
//!
//! Owns the order: one bounded tmpfs holds everything that can be written (`u` and `w` for the overlay,
//! `tmp`, `run`, `shm`), the root is an overlay of a read-only lower tree and `u` (or `u` alone), then
//! `/proc`, `/dev` and the scratch directories, then `pivot_root` and the old tree is detached. It refuses
//! device nodes other than [`DEVICES`] and leaves nothing of the host reachable. Every mount is nosuid; all
//! but the device nodes are nodev.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::pinned::tree::HIDDEN;
use crate::report::Barriers;
use crate::spec::{CageSpec, Level};
use crate::{Error, procfs, sys};

/// Device nodes a program may see, bound from the host one by one.
const DEVICES: &[&CStr] = &[c"null", c"zero", c"full", c"random", c"urandom", c"tty"];
/// Those whose bytes a pinned cage takes from its seed.
const RANDOM: &[&CStr] = &[c"random", c"urandom"];
/// Links in `/dev` that programs expect.
const LINKS: &[(&CStr, &CStr)] = &[
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
];
/// Bounds of the texts of `/proc` that a pinned cage has open.
const HIDDEN_BYTES: u64 = 16 << 20;
const HIDDEN_FILES: u64 = 4096;
/// Where the new tree may be assembled: any directory that exists will do, since only this namespace sees it.
const STAGES: &[&CStr] = &[c"/tmp", c"/run", c"/mnt", c"/var"];
/// Top-level names that are mount points of the cage; they are never part of its output.
pub(crate) const MOUNT_POINTS: &[&CStr] = &[c"proc", c"dev", c"tmp", c"run"];

const HARD: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// The lower tree of the root.
pub(crate) enum Lower {
    /// None: the root starts empty.
    Nothing,
    /// A detached read-only mount that the supervisor prepared.
    Prepared(OwnedFd),
    /// A path to clone here, because the supervisor had no right to.
    Path(CString),
}

/// Builds the tree, makes it the root, and returns the directory that receives every write to it.
///
/// For a pinned cage the random devices are empty files, which the supervisor answers for, and `/dev` holds a directory
/// with a name that cannot be guessed, in which it puts what stands for files of `/proc`.
pub(crate) fn build(
    lower: Lower,
    spec: &CageSpec,
    hosts: Option<&str>,
    barriers: &mut Barriers,
) -> Result<OwnedFd, Error> {
    let (limits, pinned) = (&spec.limits, spec.level == Level::Pinned);
    let at = |step: &str, r: io::Result<OwnedFd>| r.map_err(|e| Error::launch(step, e));
    sys::make_mounts_private().map_err(|e| Error::launch("make mounts private", e))?;
    barriers.installed("mount_namespace", "private copy, propagation off");
    let lower = open_lower(lower)?; // before the stage covers a directory in which it may lie
    let scratch = at("create the bounded tmpfs", tmpfs(limits.tmpfs_bytes, limits.tmpfs_inodes, HARD))?;
    let stage = stage(scratch.as_fd())?;
    for (name, mode) in [(c"u", 0o755), (c"w", 0o700), (c"l", 0o700), (c"m", 0o755), (c"e", 0o555)] {
        step("create a directory of the tmpfs", sys::mkdirat(scratch.as_raw_fd(), name, mode))?;
    }
    for name in [c"tmp", c"shm"] {
        step("create a scratch directory", sys::mkdirat(scratch.as_raw_fd(), name, 0o1777))?;
    }
    step("create a scratch directory", sys::mkdirat(scratch.as_raw_fd(), c"run", 0o755))?;
    let upper =
        at("open the overlay's upper directory", sys::openat(scratch.as_raw_fd(), c"u", libc::O_DIRECTORY))?;

    let root = root_mount(lower, &scratch, stage, pinned, barriers)?;
    for name in MOUNT_POINTS {
        step("create a mount point", mount_point(root.as_raw_fd(), name))?;
    }
    scratch_directories(&scratch, &root)?;
    barriers
        .installed("tmpfs_limits", format!("{} bytes, {} inodes", limits.tmpfs_bytes, limits.tmpfs_inodes));
    if let Some(hosts) = hosts {
        step("name the hosts outside", name_hosts(&scratch, &root, hosts))?;
    }
    let blank = at("open the empty directory", sys::openat(scratch.as_raw_fd(), c"e", libc::O_PATH))?;
    procfs::mount(root.as_fd(), blank.as_fd(), barriers)?;
    devices(&root, &scratch, pinned)?;
    barriers.installed("dev_minimal", "null zero full random urandom tty");

    step("enter the new root", sys::fchdir(root.as_fd()))?;
    step("pivot_root", sys::pivot_here())?;
    barriers.installed("pivot_root", "old root detached");
    Ok(upper)
}

fn step(name: &str, result: io::Result<()>) -> Result<(), Error> {
    result.map_err(|e| Error::launch(name, e))
}

/// The lower tree as a detached read-only mount.
fn open_lower(lower: Lower) -> Result<Option<OwnedFd>, Error> {
    let path = match lower {
        Lower::Nothing => return Ok(None),
        Lower::Prepared(tree) => return Ok(Some(tree)),
        Lower::Path(path) => path,
    };
    let tree = sys::clone_tree(libc::AT_FDCWD, &path, true).map_err(|e| Error::launch("open the root", e))?;
    step(
        "make the root read-only",
        sys::set_mount(tree.as_fd(), HARD | libc::MOUNT_ATTR_RDONLY, None, true),
    )?;
    Ok(Some(tree))
}

/// A detached tmpfs of at most `bytes` and `inodes`.
fn tmpfs(bytes: u64, inodes: u64, attributes: u64) -> io::Result<OwnedFd> {
    let number = |n: u64| CString::new(n.to_string()).expect("digits hold no NUL");
    let fs = sys::fsopen(c"tmpfs")?;
    sys::fsconfig(fs.as_fd(), c"size", Some(&number(bytes)))?;
    sys::fsconfig(fs.as_fd(), c"nr_inodes", Some(&number(inodes)))?;
    sys::fsconfig(fs.as_fd(), c"mode", Some(c"0755"))?;
    sys::fsmount(fs.as_fd(), attributes)
}

/// Attaches the tmpfs where it can be reached by path: overlayfs wants paths.
fn stage(scratch: BorrowedFd<'_>) -> Result<&'static CStr, Error> {
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in STAGES {
        match sys::attach(scratch, libc::AT_FDCWD, candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) => last = e,
        }
    }
    Err(Error::launch("find a directory to build the root in", last))
}

/// Mounts the root at `m` and returns a descriptor of its top directory.
fn root_mount(
    lower: Option<OwnedFd>,
    scratch: &OwnedFd,
    stage: &CStr,
    pinned: bool,
    barriers: &mut Barriers,
) -> Result<OwnedFd, Error> {
    let dir = scratch.as_raw_fd();
    let mount = match lower {
        Some(tree) => overlay(tree, dir, stage, pinned, barriers)?,
        None => {
            barriers.installed("root_read_only", "no image: an empty tmpfs");
            sys::clone_tree(dir, c"u", false).map_err(|e| Error::launch("make the empty root", e))?
        }
    };
    step("attach the root", sys::attach(mount.as_fd(), dir, c"m"))?;
    sys::openat(dir, c"m", libc::O_DIRECTORY | libc::O_PATH).map_err(|e| Error::launch("open the root", e))
}

fn overlay(
    tree: OwnedFd,
    dir: i32,
    stage: &CStr,
    pinned: bool,
    barriers: &mut Barriers,
) -> Result<OwnedFd, Error> {
    step("attach the lower tree", sys::attach(tree.as_fd(), dir, c"l"))?;
    let below = |name: &str| {
        let path = format!("{}/{name}", stage.to_string_lossy());
        CString::new(path).expect("stages and names hold no NUL")
    };
    let make = || {
        let fs = sys::fsopen(c"overlay")?;
        sys::fsconfig(fs.as_fd(), c"lowerdir", Some(&below("l")))?;
        sys::fsconfig(fs.as_fd(), c"upperdir", Some(&below("u")))?;
        sys::fsconfig(fs.as_fd(), c"workdir", Some(&below("w")))?;
        sys::fsconfig(fs.as_fd(), c"userxattr", None)?;
        if pinned {
            // Inode numbers that stay when the kernel forgets a directory and meets it again.
            sys::fsconfig(fs.as_fd(), c"xino", Some(c"on"))?;
        }
        sys::fsmount(fs.as_fd(), HARD)
    };
    let mount = make().map_err(|e| Error::launch("mount the overlay", e))?;
    barriers.installed("root_read_only", "read-only lower tree under a tmpfs overlay");
    Ok(mount)
}

/// Makes sure that `name` is a directory to mount on, replacing whatever else the image has there.
fn mount_point(root: i32, name: &CStr) -> io::Result<()> {
    if let Ok(st) = sys::lstatat(root, name)
        && st.st_mode & libc::S_IFMT != libc::S_IFDIR
    {
        sys::unlinkat(root, name)?;
    }
    sys::mkdirat(root, name, 0o755)
}

fn scratch_directories(scratch: &OwnedFd, root: &OwnedFd) -> Result<(), Error> {
    for name in [c"tmp", c"run"] {
        step("mount a scratch directory", bind(scratch.as_raw_fd(), name, root.as_raw_fd(), name))?;
    }
    Ok(())
}

/// Covers the image's `/etc/hosts`; without one the program is not told names, and must use addresses.
fn name_hosts(scratch: &OwnedFd, root: &OwnedFd, text: &str) -> io::Result<()> {
    let is = |path: &CStr, kind| {
        sys::lstatat(root.as_raw_fd(), path).is_ok_and(|st| st.st_mode & libc::S_IFMT == kind)
    };
    if !is(c"etc", libc::S_IFDIR) || !is(c"etc/hosts", libc::S_IFREG) {
        return Ok(());
    }
    sys::create_file(scratch.as_raw_fd(), c"hosts")?;
    let file = sys::openat(scratch.as_raw_fd(), c"hosts", libc::O_WRONLY)?;
    io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())?;
    bind(scratch.as_raw_fd(), c"hosts", root.as_raw_fd(), c"etc/hosts")
}

/// Mounts a copy of `from/source` on `to/target`.
fn bind(from: i32, source: &CStr, to: i32, target: &CStr) -> io::Result<()> {
    sys::attach(sys::clone_tree(from, source, false)?.as_fd(), to, target)
}

/// `/dev`: a tiny tmpfs with the allowed nodes bound into it, read-only once it is complete.
fn devices(root: &OwnedFd, scratch: &OwnedFd, pinned: bool) -> Result<(), Error> {
    let make = || -> io::Result<()> {
        let dev = tmpfs(64 << 10, 64, HARD | libc::MOUNT_ATTR_NOEXEC)?;
        sys::attach(dev.as_fd(), root.as_raw_fd(), c"dev")?;
        let dir = dev.as_raw_fd();
        sys::fchdir(dev.as_fd())?;
        for name in DEVICES {
            sys::create_file(dir, name)?;
            if pinned && RANDOM.contains(name) {
                continue;
            }
            let source = CString::new([b"/dev/", name.to_bytes()].concat()).expect("names hold no NUL");
            sys::bind_path(&source, name)?;
        }
        for (target, name) in LINKS {
            sys::symlinkat(target, dir, name)?;
        }
        sys::mkdirat(dir, c"shm", 0o1777)?;
        let hidden = if pinned { Some(hidden(dir)?) } else { None };
        // The nodes too: their inodes are the host's, and whoever may write to one may otherwise change its times.
        sys::set_mount(dev.as_fd(), libc::MOUNT_ATTR_RDONLY, None, true)?;
        if let Some(name) = hidden {
            sys::attach(hidden_files()?.as_fd(), dir, &name)?;
        }
        bind(scratch.as_raw_fd(), c"shm", dir, c"shm")
    };
    step("build /dev", make())
}

/// Makes the supervisor's own directory below `/dev`; its name.
fn hidden(dev: i32) -> io::Result<CString> {
    let mut bytes = [0; 16];
    sys::host_random(&mut bytes)?;
    let name = CString::new(format!("{HIDDEN}{}", sys::hex(&bytes))).expect("digits hold no NUL");
    sys::mkdirat(dev, &name, 0o711)?;
    Ok(name)
}

/// What is mounted on it: it can be entered by whoever knows the name, and listed by nobody.
fn hidden_files() -> io::Result<OwnedFd> {
    let files = tmpfs(HIDDEN_BYTES, HIDDEN_FILES, HARD | libc::MOUNT_ATTR_NOEXEC)?;
    sys::fchdir(files.as_fd())?;
    sys::chmod_here(0o711)?;
    Ok(files)
}
