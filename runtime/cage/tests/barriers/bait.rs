//! What a barrier's cages need besides the plain image: hostile files in the image, listeners on the host.
//!
//! Owns their making. Everything lives in the test's own directory or in the test's own sockets and goes with them.

use std::ffi::{CStr, CString};
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use super::Kept;
use crate::common::Bench;

/// Files that only a hostile image holds.
pub fn bait(bench: &mut Bench) -> Kept {
    let root = bench.root();
    for (name, mode) in [("image-suid", 0o4755), ("image-sgid", 0o2755), ("image-capable", 0o755)] {
        let path = root.join(name);
        fs::copy(env!("CARGO_BIN_EXE_cage-probe"), &path).expect("copy the probe");
        chown(&path, Some(1), Some(1)).expect("chown");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    }
    // Revision 2 with the effective bit, then every capability permitted.
    let mut capabilities = vec![1, 0, 0, 2];
    capabilities.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 1, 0, 0, 0, 0, 0, 0]);
    attribute(&root.join("image-capable"), c"security.capability", &capabilities);
    node(&root.join("image-char"), libc::S_IFCHR | 0o666, libc::makedev(1, 5));
    node(&root.join("image-block"), libc::S_IFBLK | 0o666, libc::makedev(1, 0));
    node(&root.join("image-whiteout"), libc::S_IFCHR | 0o666, 0);

    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).expect("outside");
    fs::write(outside.join("secret"), b"secret").expect("secret");
    fs::create_dir(root.join("image-redirect")).expect("dir");
    let text = outside.as_os_str().as_bytes();
    attribute(&root.join("image-redirect"), c"user.overlay.redirect", text);
    fs::write(root.join("image-metacopy"), b"").expect("file");
    attribute(&root.join("image-metacopy"), c"user.overlay.metacopy", b"");
    attribute(&root.join("image-metacopy"), c"user.overlay.redirect", &[text, b"/secret"].concat());
    symlink(outside.join("secret"), root.join("image-link-absolute")).expect("link");
    let up = format!("../../../../../../../../../..{}/secret", outside.display());
    symlink(up, root.join("image-link-up")).expect("link");
    symlink("/proc/1/root/etc/passwd", root.join("image-link-proc")).expect("link");
    fs::create_dir_all(root.join("image-dir/below")).expect("dir");
    Box::new(())
}

/// Listeners on the host that the cage is told of: its loopback, an abstract socket, a socket file.
pub fn listeners(bench: &mut Bench) -> Kept {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tcp.local_addr().expect("its number");
    std::net::TcpStream::connect(port).expect("reachable from the host");
    let directory = bench.dir.path().to_str().expect("a plain path").to_owned();
    let name = format!("metanode-{}", directory.replace('/', "-"));
    let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("address");
    let hidden = UnixListener::bind_addr(&address).expect("bind");
    UnixStream::connect_addr(&address).expect("reachable from the host");
    let socket = bench.dir.path().join("socket");
    let file = UnixListener::bind(&socket).expect("bind");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("mode");
    UnixStream::connect(&socket).expect("reachable from the host");
    bench.spec.env.push(format!("PORT={}", port.port()));
    bench.spec.env.push(format!("ABSTRACT={name}"));
    bench.spec.env.push(format!("OUTSIDE={directory}"));
    Box::new((tcp, hidden, file))
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

fn attribute(path: &Path, name: &CStr, value: &[u8]) {
    let path = c_path(path);
    // SAFETY: path and name are NUL-terminated; pointer and length describe the live slice.
    let r = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(r, 0, "{name:?}: {}", std::io::Error::last_os_error());
}

fn node(path: &Path, mode: u32, device: u64) {
    let path = c_path(path);
    // SAFETY: a NUL-terminated string and plain integers.
    let r = unsafe { libc::mknod(path.as_ptr(), mode, device) };
    assert_eq!(r, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: as above; the mode again, without the umask.
    assert_eq!(unsafe { libc::chmod(path.as_ptr(), mode & 0o777) }, 0);
}
