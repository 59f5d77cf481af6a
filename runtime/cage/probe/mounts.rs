//! Attempts to change which files are where: the classic mount calls, the new mount interface, other roots.
//!
//! Owns these attempts; each has arguments that would do something if nothing stood in the way.

use std::ffi::CStr;
use std::os::unix::fs::MetadataExt;

use crate::Attempt;
use crate::answer::{best, expect, io_result, sys};

const HERE: i32 = libc::AT_FDCWD;

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) -> i64 {
    let data = data.as_ptr().cast();
    sys(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) }.into())
}

fn umount(target: &CStr) -> i64 {
    sys(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }.into())
}

fn overlay() -> i64 {
    for dir in ["/tmp/u", "/tmp/w", "/tmp/m"] {
        let _ = std::fs::create_dir(dir);
    }
    mount(c"overlay", c"/tmp/m", c"overlay", 0, c"lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w,userxattr")
}

/// The classic way out of a chroot: a second chroot while a descriptor of the outside is held.
fn chroot_twice() -> i64 {
    let _ = std::fs::create_dir("/tmp/jail");
    let outside = unsafe { libc::open(c"/".as_ptr(), libc::O_DIRECTORY) };
    let jailed = sys(unsafe { libc::chroot(c"/tmp/jail".as_ptr()) }.into());
    unsafe { libc::fchdir(outside) };
    (0..64).for_each(|_| _ = unsafe { libc::chdir(c"..".as_ptr()) });
    let out = sys(unsafe { libc::chroot(c".".as_ptr()) }.into());
    best([jailed, out])
}

/// Whether climbing from the root leads anywhere but to the root: by descriptor, by path and by working directory.
fn above_the_root() -> i64 {
    let identity = |path: &str| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let Ok(root) = identity("/") else { return expect(false) };
    let climbed = ["/..", "/../../../../../..", "/proc/self/root/..", "/tmp/../..", "/proc/self/cwd/.."];
    let same = climbed.iter().all(|path| identity(path).is_ok_and(|found| found == root));
    (0..64).for_each(|_| _ = unsafe { libc::chdir(c"..".as_ptr()) });
    let here = std::env::current_dir().is_ok_and(|dir| dir == std::path::Path::new("/"));
    expect(same && here && identity(".").is_ok_and(|found| found == root))
}

/// A directory of one mount moved to another while this process is in it: out of a bind mount, if it worked.
fn carry_a_directory_away() -> i64 {
    let make = || {
        std::fs::create_dir_all("/tmp/carried/inner")?;
        std::env::set_current_dir("/tmp/carried/inner")?;
        std::fs::rename("/tmp/carried", "/run/carried")
    };
    io_result(make())
}

fn detached_tree() -> i64 {
    let tree = call!(libc::SYS_open_tree, HERE, c"/tmp".as_ptr(), libc::OPEN_TREE_CLONE);
    best([tree, call!(libc::SYS_move_mount, tree, c"".as_ptr(), HERE, c"/run".as_ptr(), 4)])
}

/// `mount_setattr` that takes away read-only.
fn writable_again(path: &CStr) -> i64 {
    let attr =
        libc::mount_attr { attr_set: 0, attr_clr: libc::MOUNT_ATTR_RDONLY, propagation: 0, userns_fd: 0 };
    call!(libc::SYS_mount_setattr, HERE, path.as_ptr(), 0, &raw const attr, size_of_val(&attr))
}

/// `statmount` and `listmount` with the request of size 24 that names the root mount.
fn ask_about_mounts(number: i64) -> i64 {
    let request = [24u64, u64::MAX, 0x3f]; // size, LSMT_ROOT, everything
    let mut buffer = [0u64; 512];
    call!(number, request.as_ptr(), buffer.as_mut_ptr(), 256, 0)
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("mount_tmpfs", || mount(c"none", c"/tmp", c"tmpfs", 0, c"")),
    ("mount_bind", || mount(c"/", c"/tmp", c"", libc::MS_BIND | libc::MS_REC, c"")),
    ("mount_remount", || mount(c"", c"/proc/sys", c"", libc::MS_REMOUNT | libc::MS_BIND, c"")),
    ("mount_shared", || mount(c"", c"/", c"", libc::MS_SHARED | libc::MS_REC, c"")),
    ("mount_move", || mount(c"/proc", c"/tmp", c"", libc::MS_MOVE, c"")),
    ("mount_proc", || mount(c"proc", c"/tmp", c"proc", 0, c"")),
    ("mount_sysfs", || mount(c"sysfs", c"/tmp", c"sysfs", 0, c"")),
    ("mount_devtmpfs", || mount(c"dev", c"/tmp", c"devtmpfs", 0, c"")),
    ("mount_cgroup", || mount(c"cgroup", c"/tmp", c"cgroup", 0, c"memory")),
    ("mount_cgroup2", || mount(c"cgroup2", c"/tmp", c"cgroup2", 0, c"")),
    ("mount_overlay", overlay),
    ("umount_proc", || umount(c"/proc")),
    ("umount_cover", || umount(c"/proc/sys")),
    ("umount_root", || umount(c"/")),
    ("pivot_root", || call!(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr())),
    ("chroot", || sys(unsafe { libc::chroot(c"/tmp".as_ptr()) }.into())),
    ("chroot_twice", chroot_twice),
    ("above_the_root", above_the_root),
    ("carry_a_directory_away", carry_a_directory_away),
    ("fsopen", || call!(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0)),
    ("fsconfig", || call!(libc::SYS_fsconfig, -1, libc::FSCONFIG_CMD_CREATE, 0, 0, 0)),
    ("fsmount", || call!(libc::SYS_fsmount, -1, 0, 0)),
    ("fspick", || call!(libc::SYS_fspick, HERE, c"/".as_ptr(), 0)),
    ("open_tree", || call!(libc::SYS_open_tree, HERE, c"/".as_ptr(), libc::OPEN_TREE_CLONE)),
    ("open_tree_attr", || call!(467, HERE, c"/".as_ptr(), libc::OPEN_TREE_CLONE, 0, 0)),
    ("move_mount", || call!(libc::SYS_move_mount, HERE, c"/proc".as_ptr(), HERE, c"/tmp".as_ptr(), 0)),
    ("detached_tree", detached_tree),
    ("mount_setattr", || best([writable_again(c"/proc/sys"), writable_again(c"/dev")])),
    ("statmount", || ask_about_mounts(457)),
    ("listmount", || ask_about_mounts(458)),
];
