//! Attempts through files: handles, device nodes, overlay attributes, what the image brought along, `/dev`.
//!
//! Owns these attempts. The files named `image-*` were put into the root by the tests.

use std::ffi::CStr;
use std::os::unix::fs::{DirBuilderExt, symlink};

use crate::Attempt;
use crate::answer::{best, expect, io_result, open, open_for_write, sys};

const HERE: i32 = libc::AT_FDCWD;

/// The handle of inode 2, the root of most disks, below any descriptor of the mount.
fn open_by_handle() -> i64 {
    let handle = [8u32, 1, 2, 0]; // eight bytes, of type 1: inode and generation
    let root = unsafe { libc::open(c"/".as_ptr(), libc::O_DIRECTORY) };
    call!(libc::SYS_open_by_handle_at, root, handle.as_ptr(), libc::O_RDONLY)
}

fn make_handle() -> i64 {
    let mut handle = [0u32; 34];
    handle[0] = 128;
    let mut mount = 0i32;
    call!(libc::SYS_name_to_handle_at, HERE, c"/".as_ptr(), handle.as_mut_ptr(), &raw mut mount, 0)
}

fn node(kind: u32, major: u32, minor: u32) -> i64 {
    let (mode, device) = (kind | 0o666, libc::makedev(major, minor));
    best([
        call!(libc::SYS_mknod, c"/tmp/node".as_ptr(), mode, device),
        call!(libc::SYS_mknodat, HERE, c"/node".as_ptr(), mode, device),
    ])
}

fn set_attribute(path: &CStr, name: &CStr, value: &[u8]) -> i64 {
    let value = (value.as_ptr().cast(), value.len());
    sys(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.0, value.1, 0) }.into())
}

/// Attributes with which overlayfs itself hides, redirects and replaces, set from inside: whatever the kernel says to
/// each, what is below must still be what it was.
fn overlay_attributes() -> i64 {
    let before = list("/image-dir");
    for name in
        [c"user.overlay.opaque", c"user.overlay.redirect", c"user.overlay.metacopy", c"user.overlay.origin"]
    {
        for path in [c"/", c"/image-dir", c"/image-dir/below", c"/from-image"] {
            set_attribute(path, name, b"y");
            set_attribute(path, name, b"/../../../../etc");
        }
    }
    let same = std::fs::read("/from-image").is_ok_and(|text| text == b"original");
    expect(same && before.len() == 1 && list("/image-dir") == before)
}

fn list(path: &str) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}

/// Attributes that the image brought: a redirect out of the tree and a file whose contents are said to be elsewhere.
/// Nothing of what they point to may show.
fn image_attributes() -> i64 {
    let redirected = list("/image-redirect");
    let elsewhere = std::fs::read("/image-metacopy").unwrap_or_default();
    expect(!redirected.iter().any(|name| name == "secret") && !elsewhere.windows(6).any(|w| w == b"secret"))
}

/// Links that the image brought, absolute and climbing: all end inside.
fn image_links() -> i64 {
    let links = ["/image-link-absolute", "/image-link-up", "/image-link-proc"];
    best(links.map(|link| io_result(std::fs::read(link))))
}

/// A link made here to a file that exists on every host, and a way through the init's root.
fn made_links() -> i64 {
    let try_link = |target: &str| {
        let _ = std::fs::remove_file("/tmp/link");
        io_result(symlink(target, "/tmp/link").and_then(|()| std::fs::read("/tmp/link")))
    };
    best(["/etc/shadow", "../../../../../etc/shadow", "/proc/1/root/etc/shadow"].map(try_link))
}

/// Renames and links between the mounts that share one file system underneath.
fn across_mounts() -> i64 {
    let _ = std::fs::write("/tmp/here", b"x");
    best([
        io_result(std::fs::rename("/tmp/here", "/run/there")),
        io_result(std::fs::hard_link("/tmp/here", "/dev/shm/there")),
        io_result(std::fs::hard_link("/image-suid", "/tmp/suid")),
        io_result(std::fs::rename("/tmp/here", "/there")),
    ])
}

/// Takes the mount points away, or puts others in their place.
fn mount_points() -> i64 {
    best([
        io_result(std::fs::remove_dir("/proc")),
        io_result(std::fs::rename("/tmp", "/tmp2")),
        io_result(std::fs::rename("/dev", "/dev2")),
        io_result(std::fs::rename("/bin", "/run")),
    ])
}

/// Changes of the host's device nodes, which are bound into the cage.
fn change_a_device(how: fn(&CStr) -> i64) -> i64 {
    best([c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom", c"/dev/tty"].map(how))
}

fn touch(path: &CStr) -> i64 {
    sys(unsafe { libc::utimensat(HERE, path.as_ptr(), std::ptr::null(), 0) }.into())
}

/// Devices that exist on many hosts and not here; the answer is that of the first that opens.
fn other_devices() -> i64 {
    let names = [
        "kmsg",
        "mem",
        "port",
        "kvm",
        "fuse",
        "console",
        "ptmx",
        "pts/0",
        "net/tun",
        "vhost-vsock",
        "vsock",
        "loop0",
        "loop-control",
        "userfaultfd",
        "uinput",
        "hpet",
        "mapper/control",
        "snd/seq",
        "dri/card0",
        "nvidiactl",
        "vda",
        "sda",
        "cuse",
        "rtc0",
        "cpu/0/msr",
        "sgx_enclave",
        "snapshot",
        "btrfs-control",
    ];
    best(names.map(|name| open(&format!("/dev/{name}"))))
}

/// What stands in /dev: the list of the design and nothing else.
fn device_list() -> i64 {
    let mut names = list("/dev");
    names.sort();
    expect(
        names
            == ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"],
    )
}

/// A device node that the image brought along: it is there, and it cannot be opened.
fn image_device(path: &str) -> i64 {
    if std::fs::symlink_metadata(path).is_err() {
        return expect(false);
    }
    best([open(path), open_for_write(path)])
}

/// Where the supervisor keeps its state, by its path on the host.
fn state_directory() -> i64 {
    std::env::var("OUTSIDE").map_or_else(|_| expect(false), |path| io_result(std::fs::metadata(path)))
}

/// Writes to the root; the image must not change.
fn write_root() -> i64 {
    let made =
        std::fs::write("/made-by-the-cage", b"x").and_then(|()| std::fs::write("/from-image", b"changed"));
    io_result(made.and_then(|()| std::fs::remove_file("/deleted-by-the-cage")))
}

/// A tree that is a trap for whoever reads it afterwards: links out, FIFOs, files that cannot be read, a file that is
/// almost all hole, thousands of levels.
fn trap_tree() -> i64 {
    let make = || -> std::io::Result<()> {
        std::fs::create_dir("/trap")?;
        symlink("/etc/shadow", "/trap/link")?;
        symlink("/proc/self/mem", "/trap/memory")?;
        let fifo = unsafe { libc::mkfifo(c"/trap/fifo".as_ptr(), 0o666) };
        io_ok(fifo)?;
        std::os::unix::net::UnixListener::bind("/trap/socket")?;
        std::fs::DirBuilder::new().mode(0o000).create("/trap/closed")?;
        let file = std::fs::File::create("/trap/hole")?;
        file.set_len(1 << 50)?;
        std::fs::write("/trap/unreadable", b"x")?;
        std::fs::set_permissions("/trap/unreadable", std::os::unix::fs::PermissionsExt::from_mode(0o000))
    };
    io_result(make())
}

fn io_ok(r: i32) -> std::io::Result<()> {
    if r == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Directories in directories, as deep as it goes.
fn deep_tree() -> i64 {
    let mut depth = 0;
    while depth < 5000 {
        let made = unsafe { libc::mkdir(c"d".as_ptr(), 0o755) };
        if made != 0 || unsafe { libc::chdir(c"d".as_ptr()) } != 0 {
            return sys(-1);
        }
        depth += 1;
    }
    depth
}

pub(crate) const LIST: &[(&str, Attempt)] = &[
    ("open_by_handle", open_by_handle),
    ("name_to_handle", make_handle),
    ("node_null", || node(libc::S_IFCHR, 1, 3)),
    ("node_memory", || node(libc::S_IFCHR, 1, 1)),
    ("node_disk", || node(libc::S_IFBLK, 254, 0)),
    ("node_whiteout", || node(libc::S_IFCHR, 0, 0)),
    ("image_char_device", || image_device("/image-char")),
    ("image_block_device", || image_device("/image-block")),
    ("image_whiteout", || open("/image-whiteout")),
    ("trusted_attribute", || set_attribute(c"/tmp", c"trusted.overlay.opaque", b"y")),
    ("security_attribute", || set_attribute(c"/bin/probe", c"security.capability", &[1; 20])),
    ("overlay_attributes", overlay_attributes),
    ("image_attributes", image_attributes),
    ("image_links", image_links),
    ("made_links", made_links),
    ("across_mounts", across_mounts),
    ("mount_points", mount_points),
    ("device_mode", || change_a_device(|path| sys(unsafe { libc::chmod(path.as_ptr(), 0) }.into()))),
    ("device_owner", || change_a_device(|path| sys(unsafe { libc::chown(path.as_ptr(), 0, 0) }.into()))),
    ("device_times", || change_a_device(touch)),
    ("device_attribute", || change_a_device(|path| set_attribute(path, c"user.x", b"x"))),
    ("other_devices", other_devices),
    ("device_list", device_list),
    ("write_dev", || io_result(std::fs::write("/dev/x", b"x"))),
    ("tty", || open("/dev/tty")),
    ("state_directory", state_directory),
    ("write_root", write_root),
    ("trap_tree", trap_tree),
    ("deep_tree", deep_tree),
];
