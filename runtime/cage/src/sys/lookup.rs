//! Looking into the cage's own tree from outside: paths that stay below a root, facts of open files, listings.
//!
//! Owns thin wrappers only, as its parent module says; refuses to follow anything out of the given root.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, own};

/// `openat2(2)` with `root` as the root directory of the walk: neither `..` nor a link leads out of it.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero `open_how` is a valid value of that plain structure.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let size = std::mem::size_of::<libc::open_how>();
    // SAFETY: `path` is NUL-terminated and `how` is live and of the size given.
    own(unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &raw const how, size) })
}

/// `openat2(2)` of an `O_PATH` descriptor, from `dir` and without leaving its mount: what lies behind a mount
/// point or a magic link is `EXDEV` or `ELOOP`. `top`: `dir` is the root of the walk; else whatever leads out
/// of it is `EXDEV`.
pub(crate) fn find_in_mount(
    dir: BorrowedFd<'_>,
    path: &CStr,
    follow: bool,
    top: bool,
) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero `open_how` is a valid value of that plain structure.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    let last = if follow { 0 } else { libc::O_NOFOLLOW };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | last) as u64;
    let bound = if top { libc::RESOLVE_IN_ROOT } else { libc::RESOLVE_BENEATH };
    how.resolve = bound | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;
    let size = std::mem::size_of::<libc::open_how>();
    // SAFETY: `path` is NUL-terminated and `how` is live and of the size given.
    own(unsafe { libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), path.as_ptr(), &raw const how, size) })
}

/// Does something with the rights that another user has on files; this thread alone changes, and only meanwhile.
pub(crate) fn as_user<T>((uid, gid): (u32, u32), act: impl FnOnce() -> T) -> T {
    // SAFETY: plain integers only; the raw calls concern the calling thread.
    let before = unsafe { (libc::syscall(libc::SYS_setfsgid, gid), libc::syscall(libc::SYS_setfsuid, uid)) };
    let done = act();
    // SAFETY: as above.
    unsafe { (libc::syscall(libc::SYS_setfsuid, before.1), libc::syscall(libc::SYS_setfsgid, before.0)) };
    done
}

/// Gives up this thread's supplementary groups; without the right to, nothing changes.
pub(crate) fn drop_groups() {
    // SAFETY: an empty list needs no pointer; the raw call concerns the calling thread.
    unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
}

/// `fstat(2)`.
pub(crate) fn fstat(fd: BorrowedFd<'_>) -> io::Result<libc::stat> {
    // SAFETY: an all-zero `stat` is a valid value of that plain structure.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `st` is live and writable for the whole call.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut st) }.into())?;
    Ok(st)
}

/// `lseek(2)`.
pub(crate) fn seek(fd: BorrowedFd<'_>, offset: i64, whence: libc::c_int) -> io::Result<u64> {
    // SAFETY: plain integers only.
    check(unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) }).map(|at| at as u64)
}

/// Sets the status flags of an open file description.
pub(crate) fn set_descriptor_flags(fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers only.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }.into())?;
    Ok(())
}

/// Names and type bytes of a directory's entries, in the file system's order, from the descriptor's position on.
pub(crate) fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<(CString, u8)>> {
    let mut found = Vec::new();
    let mut buffer = vec![0u8; 32 << 10];
    loop {
        // SAFETY: pointer and length describe the live, writable vector.
        let got = check(unsafe {
            libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
        })?;
        let mut rest = &buffer[..got as usize];
        if rest.is_empty() {
            return Ok(found);
        }
        // A record: inode and offset of eight bytes each, its length of two, the type, the name.
        while let [_, .., _] = rest {
            let length = rest.get(16..18).map_or(0, |l| usize::from(u16::from_le_bytes([l[0], l[1]])));
            let (Some(kind), Some(name)) = (rest.get(18), rest.get(19..length)) else {
                return Err(io::Error::other("a directory record of impossible length"));
            };
            let name = CStr::from_bytes_until_nul(name).map_err(io::Error::other)?;
            found.push((name.to_owned(), *kind));
            rest = &rest[length..];
        }
    }
}

/// Whether somebody has the named pipe open for writing, asked through its reading end. Nothing is taken out of it.
pub(crate) fn has_writer(pipe: BorrowedFd<'_>) -> io::Result<bool> {
    let (_reading, writing) = super::pipe()?;
    let flags = libc::SPLICE_F_NONBLOCK;
    // SAFETY: plain integers only.
    match check(unsafe { libc::tee(pipe.as_raw_fd(), writing.as_raw_fd(), 1, flags) } as libc::c_long) {
        Ok(copied) => Ok(copied > 0), // nothing to copy and nobody to wait for
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

/// Creates a file of this content and mode below `dir`, owned by the given user, whose ids the file system knows.
pub(crate) fn create_as(
    user: (u32, u32),
    dir: BorrowedFd<'_>,
    name: &CStr,
    mode: libc::mode_t,
    bytes: &[u8],
) -> io::Result<OwnedFd> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
    let (dir, mask) = (dir.as_raw_fd(), 0o600 as libc::mode_t);
    // SAFETY: a NUL-terminated string; the mode that O_CREAT demands is given.
    let made = as_user(user, || own(unsafe { libc::openat(dir, name.as_ptr(), flags, mask) }.into()));
    let mut file = std::fs::File::from(made?);
    io::Write::write_all(&mut file, bytes)?;
    // SAFETY: plain integers only.
    check(unsafe { libc::fchmod(file.as_raw_fd(), mode) }.into())?;
    Ok(file.into())
}

/// The C structures that calls about files fill.
pub(crate) trait Plain: Copy {}
impl Plain for libc::stat {}
impl Plain for libc::statx {}
impl Plain for libc::statfs {}

/// A structure of the kernel from its bytes; `None` when these are too few.
pub(crate) fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length was checked, every bit pattern is a value of these plain structures, and the read needs no
    // alignment.
    (bytes.len() >= std::mem::size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of a structure of the kernel.
pub(crate) fn to_bytes<T: Plain>(value: &T) -> Vec<u8> {
    let length = std::mem::size_of::<T>();
    // SAFETY: these structures have no padding that is not itself a field, and come from the kernel or from zeroed
    // memory, so all their bytes are initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), length) }.to_vec()
}

/// Unpredictable bytes of the host, at most 256.
pub(crate) fn host_random(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe the live, writable slice; so few bytes come at once.
    let got = check(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } as libc::c_long)?;
    if got as usize == bytes.len() { Ok(()) } else { Err(io::Error::other("too few random bytes")) }
}

/// `chmod(2)` of the current directory.
pub(crate) fn chmod_here(mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::chmod(c".".as_ptr(), mode) }.into())?;
    Ok(())
}
