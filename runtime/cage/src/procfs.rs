//! `/proc` of the cage: its own processes, and of the machine only what is on a list.
//!
//! Owns the allow-list. Whatever the kernel offers beyond it is covered, unless its mode already keeps every
//! unprivileged user out; so a file that a newer kernel adds is hidden until somebody argues for it here.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::report::Barriers;
use crate::{Error, sys};

/// What stays visible, and why.
const VISIBLE: &[(&str, &str)] = &[
    ("cpuinfo", "run-time libraries choose code paths by it"),
    ("filesystems", "C libraries and mount tools read it; a list of names"),
    ("loadavg", "load figures, no secret"),
    ("meminfo", "allocators and databases size themselves by it"),
    ("mounts", "link to the process's own mounts"),
    ("net", "link to the process's own network namespace"),
    ("self", "link to the process's own directory"),
    ("stat", "boot time and CPU count for process tools"),
    ("sys", "read-only, see below"),
    ("thread-self", "link to the thread's own directory"),
    ("uptime", "process tools"),
    ("version", "kernel release, also in uname"),
];

/// Mounts and masks `/proc` below `root`. A kernel that refuses a fresh one gives the cage none, which is
/// reported. `blank` is an empty directory.
pub(crate) fn mount(
    root: BorrowedFd<'_>,
    blank: BorrowedFd<'_>,
    barriers: &mut Barriers,
) -> Result<(), Error> {
    let fresh = match fresh() {
        Ok(fresh) => fresh,
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            barriers.installed("proc_masked", "no /proc at all");
            barriers.weaker("this host does not allow a new /proc in a user namespace: the cage has none");
            return Ok(());
        }
        Err(e) => return Err(Error::launch("mount /proc", e)),
    };
    let masked = cover(root, blank, fresh).map_err(|e| Error::launch("mask /proc", e))?;
    barriers.installed("proc_masked", format!("hidepid, /proc/sys read-only, {masked} entries covered"));
    Ok(())
}

fn fresh() -> io::Result<OwnedFd> {
    let fs = sys::fsopen(c"proc")?;
    sys::fsconfig(fs.as_fd(), c"hidepid", Some(c"invisible"))?;
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    sys::fsmount(fs.as_fd(), attributes)
}

/// Attaches `/proc` and covers what is not on the list; returns how many entries were covered. Leaves the
/// current directory in there.
fn cover(root: BorrowedFd<'_>, blank: BorrowedFd<'_>, fresh: OwnedFd) -> io::Result<usize> {
    sys::attach(fresh.as_fd(), root.as_raw_fd(), c"proc")?;
    let proc = fresh.as_raw_fd();
    let sysctl = sys::clone_tree(proc, c"sys", false)?;
    sys::set_mount(sysctl.as_fd(), libc::MOUNT_ATTR_RDONLY, None, false)?;
    sys::attach(sysctl.as_fd(), proc, c"sys")?;

    // An empty read-only directory and the null device are what covered entries show.
    sys::fchdir(fresh.as_fd())?;
    let names = covered_names(proc)?;
    let mut first: Option<&CStr> = None;
    for (name, directory) in &names {
        match (directory, first) {
            (false, _) => sys::bind_path(c"/dev/null", name)?,
            (true, Some(covered)) => sys::bind_path(covered, name)?,
            (true, None) => {
                let cover = sys::clone_tree(blank.as_raw_fd(), c".", false)?;
                sys::set_mount(cover.as_fd(), libc::MOUNT_ATTR_RDONLY, None, false)?;
                sys::attach(cover.as_fd(), proc, name)?;
                first = Some(name);
            }
        }
    }
    Ok(names.len())
}

/// Entries of `/proc` that are neither processes, nor links, nor on the list, and whether each is a
/// directory.
fn covered_names(proc: i32) -> io::Result<Vec<(CString, bool)>> {
    let top = sys::openat(proc, c".", libc::O_DIRECTORY)?;
    let path = format!("/proc/self/fd/{}", top.as_raw_fd());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let process = name.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let listed = VISIBLE.iter().any(|(visible, _)| name.as_bytes() == visible.as_bytes());
        if process || listed || kind.is_symlink() {
            continue;
        }
        let name = CString::new(name.as_bytes())?;
        // What no unprivileged user can open needs no cover: nobody in the cage is more than that on the
        // host.
        if kind.is_dir() || sys::lstatat(proc, &name)?.st_mode & 0o007 != 0 {
            found.push((name, kind.is_dir()));
        }
    }
    Ok(found)
}
