//! Not an attack: launches a cage whose program is a closure.
//!
//! Owns that one launch, which has to come from a process with one thread; the test harness has several.

use metanode_cage::{CageSpec, Entry, Limits, Root, supervise};

/// The closure, inside, makes executable memory as a JIT would, and tries what must fail.
pub(crate) fn in_a_cage() {
    let dir = std::env::args().nth(2).map(std::path::PathBuf::from).expect("a directory");
    let spec = CageSpec {
        id: "call".into(),
        state_dir: dir.join("cage"),
        root: Root::Empty,
        argv: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
        hostname: "cage".into(),
        stdin: None,
        limits: Limits { wall_ms: 60_000, ..Limits::default() },
        ..CageSpec::default()
    };
    let secret = [42u8];
    let entry = Entry::Call(Box::new(move || {
        let code = jit(secret[0]);
        let names = std::fs::read_dir("/").map_or(0, Iterator::count);
        let refused = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
        let open = (3..1024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).count();
        println!("code={code} names={names} unshare={refused} open={open}");
        if names == 4 && refused == -1 && open == 0 { code } else { 1 }
    }));
    supervise(&spec, entry, |_| ()).expect("a report");
}

/// Writes machine code that returns `value`, makes it executable and calls it.
fn jit(value: u8) -> i32 {
    let code = [0xb8, value, 0, 0, 0, 0xc3]; // mov eax, value; ret
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast::<u8>(), code.len());
        assert_eq!(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC), 0);
        std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(page)()
    }
}
