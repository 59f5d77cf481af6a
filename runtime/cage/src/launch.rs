//! The supervisor's side of a launch: make the first process, give it its user ids and its root, wait until
//! it runs.
//!
//! Owns the pipes, the maps and the clone of the root tree. Invariants: on every error path the first process
//! is dead and reaped before this returns, and nothing on the host has changed. It refuses to launch from a
//! process with several threads. With root, a whole range of unprivileged user ids is mapped; without, only
//! the caller's own.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::cgroup::{Controller, RANGE, Slot};
use crate::child::{Child, Failure, Go};
use crate::report::Barriers;
use crate::spec::{CageSpec, Level, Root};
use crate::{Entry, Error, sys};

/// Namespaces of the first process; the cgroup namespace follows once it is in its groups.
const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS) as u64;
/// Largest packet from the first process: its list of barriers.
const MAX_PACKET: usize = 64 << 10;

/// A cage whose program has started.
pub(crate) struct Running {
    /// Host pid of the first process.
    pub pid: i32,
    /// The same as a descriptor, readable when it has ended.
    pub pidfd: OwnedFd,
    /// Packets from the first process: the program's status.
    pub control: OwnedFd,
    /// Where standard input is written.
    pub stdin: OwnedFd,
    /// Where standard output is read.
    pub stdout: OwnedFd,
    /// Where standard error is read.
    pub stderr: OwnedFd,
    /// Directory that receives the program's writes to its root.
    pub upper: OwnedFd,
    /// Its user namespace.
    pub user_namespace: OwnedFd,
    /// What stands and what is weaker.
    pub barriers: Barriers,
    /// Pid of the program, which waits to be traced, and where it tells whether it could be executed.
    pub traced: Option<(i32, OwnedFd)>,
    /// Sockets inside a pinned cage: the probe, then a listener for every endpoint.
    pub sockets: Vec<OwnedFd>,
}

/// The supervisor's ends while the launch is under way.
struct Ends {
    control: OwnedFd,
    status: OwnedFd,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Launches the cage. `input` is the program's standard input, a pipe when absent. `meanwhile` runs in the supervisor
/// while the first process builds its walls.
pub(crate) fn launch(
    spec: &CageSpec,
    entry: Entry<'_>,
    slot: Option<&Slot>,
    input: Option<OwnedFd>,
    meanwhile: impl FnOnce(i32) -> Result<(), Error>,
) -> Result<Running, Error> {
    require_one_thread()?;
    let pipe = |name: &str| sys::pipe().map_err(|e| Error::launch(name, e));
    let (control, control_child) =
        sys::packet_pair().map_err(|e| Error::launch("make the control socket", e))?;
    let (status, status_child) = pipe("make the status pipe")?;
    let (stdin_child, stdin) = pipe("make standard input")?;
    let stdin_child = input.unwrap_or(stdin_child);
    let (stdout, stdout_child) = pipe("make standard output")?;
    let (stderr, stderr_child) = pipe("make standard error")?;
    let groups = |e| Error::launch("open the cgroup", e);
    let tasks = slot.map_or(Ok(Vec::new()), Slot::task_files).map_err(groups)?;
    let birth = slot.map_or(Ok(None), Slot::birth_group).map_err(groups)?;

    let cloned = sys::clone_child(NAMESPACES, birth.as_ref().map(AsFd::as_fd)).map_err(|e| explain_clone(&e));
    let Some((pid, pidfd)) = cloned? else {
        // The supervisor's ends must not stay open here: the control socket tells by closing that it has
        // died.
        drop((control, status, stdin, stdout, stderr));
        let stdio = [stdin_child, stdout_child, stderr_child];
        Child { spec, entry, stdio, status: status_child, control: control_child, tasks }.run()
    };
    let pipes = [stdin_child, stdout_child, stderr_child];
    let theirs = (status_child, control_child, tasks);
    let ends = Ends { control, status, stdin, stdout, stderr };
    let finish = || -> Result<Running, Error> {
        let (user_namespace, mut barriers) = admit(spec, slot, pid, &ends, &pipes)?;
        drop((pipes, theirs));
        // When the first process is already gone, its own reason is the better one.
        meanwhile(pid).or_else(|e| await_program(&ends.status).and(Err(e)))?;
        let pinned = spec.level == Level::Pinned;
        if !pinned {
            await_program(&ends.status)?;
        }
        let wanted = if pinned { 1 + spec.net.len() } else { 0 };
        let sockets = (0..wanted).map(|_| take_socket(&ends)).collect::<Result<Vec<_>, _>>();
        let sockets = sockets.or_else(|e| await_program(&ends.status).and(Err(e)))?;
        let (walls, upper) = read_barriers(&ends).or_else(|e| await_program(&ends.status).and(Err(e)))?;
        barriers.list.extend(walls.list);
        barriers.weaker.extend(walls.weaker);
        let program = if pinned { Some(await_traced(&ends)?) } else { None };
        let Ends { control, status, stdin, stdout, stderr } = ends;
        let pidfd = pidfd.try_clone().map_err(|e| Error::launch("keep the cage's descriptor", e))?;
        let traced = program.map(|program| (program, status));
        Ok(Running {
            pid,
            pidfd,
            control,
            stdin,
            stdout,
            stderr,
            upper,
            user_namespace,
            barriers,
            traced,
            sockets,
        })
    };
    finish().inspect_err(|_| {
        let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL, None);
        let _ = sys::wait_for(pid);
    })
}

/// A forked copy of a process with threads would inherit locks that nobody releases.
pub(crate) fn require_one_thread() -> Result<(), Error> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads == 1 { Ok(()) } else { Err(Error::ManyThreads(threads)) }
}

fn explain_clone(error: &io::Error) -> Error {
    let step = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "make namespaces (unprivileged user namespaces are switched off here; root is needed)"
        }
        Some(libc::ENOSPC | libc::EUSERS) => "make namespaces (the limit in /proc/sys/user is reached)",
        Some(libc::ENOSYS) => "make namespaces (this kernel lacks clone3: Linux 5.3 or newer is needed)",
        _ => "make namespaces",
    };
    Error::launch(step, io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0)))
}

/// Maps the user ids, prepares the root and says go.
fn admit(
    spec: &CageSpec,
    slot: Option<&Slot>,
    pid: i32,
    ends: &Ends,
    pipes: &[OwnedFd; 3],
) -> Result<(OwnedFd, Barriers), Error> {
    let mut barriers = Barriers::default();
    let range = map_users(pid, slot, &mut barriers)?;
    let path = CString::new(format!("/proc/{pid}/ns/user")).expect("digits hold no NUL");
    let namespace = sys::openat(libc::AT_FDCWD, &path, libc::O_RDONLY)
        .map_err(|e| Error::launch("open the user namespace", e))?;
    if let Some(slot) = slot.filter(|_| range) {
        for pipe in pipes {
            // So that a program may reopen its own /dev/stdout.
            sys::fchown(pipe.as_fd(), slot.first_uid(), slot.first_uid())
                .map_err(|e| Error::launch("give the standard streams to the cage", e))?;
        }
    }
    let tree = match &spec.root {
        Root::Dir { path } if sys::euid() == 0 => {
            prepare_tree(path, range.then_some(&namespace), &mut barriers)?
        }
        _ => None,
    };
    note_limits(slot, &mut barriers);
    let go = Go { range, memory_cgroup: slot.is_some_and(|s| s.has(Controller::Memory)) };
    let text = serde_json::to_vec(&go).map_err(|e| Error::launch("say go", io::Error::other(e)))?;
    let sent = sys::send(ends.control.as_fd(), &text, tree.as_ref().map(AsFd::as_fd));
    sent.or_else(|e| await_program(&ends.status).and(Err(Error::launch("say go", e))))?;
    Ok((namespace, barriers))
}

/// Maps a range when there is one and that is allowed, else the caller's own ids. Tells which.
fn map_users(pid: i32, slot: Option<&Slot>, barriers: &mut Barriers) -> Result<bool, Error> {
    let put = |file: &str, text: String| std::fs::write(format!("/proc/{pid}/{file}"), text);
    if let Some(slot) = slot {
        let map = format!("0 {} {RANGE}", slot.first_uid());
        if put("gid_map", map.clone()).and_then(|()| put("uid_map", map)).is_ok() {
            let first = slot.first_uid();
            barriers.installed("uid_map", format!("root of the cage is host user {first}, range {RANGE}"));
            return Ok(true);
        }
    }
    let own = || {
        put("setgroups", "deny".into())?;
        put("gid_map", format!("0 {} 1", sys::egid()))?;
        put("uid_map", format!("0 {} 1", sys::euid()))
    };
    own().map_err(|e| Error::launch("map the user ids", e))?;
    barriers.installed("uid_map", format!("single id: root of the cage is host user {}", sys::euid()));
    barriers.weaker(
        "user ids: without root only the caller's own id is mapped, so the cage's files belong to it",
    );
    Ok(false)
}

/// A detached read-only clone of the root, its owners shifted into the cage's range where the file system can
/// do that.
fn prepare_tree(
    path: &std::path::Path,
    namespace: Option<&OwnedFd>,
    barriers: &mut Barriers,
) -> Result<Option<OwnedFd>, Error> {
    let text = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::BadSpec { field: "root.dir.path", why: "contains a NUL byte".into() })?;
    let fail = |e| Error::launch(format!("open the root {}", path.display()), e);
    let hard = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let tree = match sys::clone_tree(libc::AT_FDCWD, &text, false) {
        Ok(tree) => tree,
        // A uid of 0 without the capability (a container): the first process clones it in its own namespace.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let shifted = namespace
        .map(|ns| sys::set_mount(tree.as_fd(), hard | libc::MOUNT_ATTR_IDMAP, Some(ns.as_fd()), false));
    match shifted {
        Some(Ok(())) => barriers.installed("root_idmapped", "owners shifted into the cage's range"),
        _ => {
            sys::set_mount(tree.as_fd(), hard, None, false).map_err(fail)?;
            barriers.missing(
                "root_idmapped",
                "this file system cannot shift owners: only world-readable files are visible",
            );
        }
    }
    Ok(Some(tree))
}

/// What the cgroups bound, and what bounds it where they do not.
fn note_limits(slot: Option<&Slot>, barriers: &mut Barriers) {
    let rows = [
        (
            Controller::Memory,
            "cgroup_memory",
            "private memory of each process is bounded by RLIMIT_DATA instead; shared memory, buffers and the \
             cage as a whole are not",
        ),
        (Controller::Pids, "cgroup_pids", "RLIMIT_NPROC bounds the cage's user instead"),
        (Controller::Cpu, "cgroup_cpu", "CPU time is not bounded"),
    ];
    for (controller, name, instead) in rows {
        if slot.is_some_and(|s| s.has(controller)) {
            barriers.installed(name, "limit set");
        } else {
            barriers.missing(
                name,
                format!(
                    "no cgroup ({}): {instead}",
                    if slot.is_some() { "controller" } else { "needs root" }
                ),
            );
        }
    }
}

/// Takes the next socket that the first process has made.
fn take_socket(ends: &Ends) -> Result<OwnedFd, Error> {
    let fail = |e| Error::launch("take over the network of the cage", e);
    let (_, socket) = sys::receive(ends.control.as_fd(), &mut [0; 16]).map_err(fail)?;
    socket.ok_or_else(|| fail(io::Error::other("the first process ended without a word")))
}

/// Takes the list of walls and the upper directory. They were sent before the program started, so they are
/// there once `await_program` has returned: one wait instead of two.
fn read_barriers(ends: &Ends) -> Result<(Barriers, OwnedFd), Error> {
    let mut buffer = vec![0u8; MAX_PACKET];
    let fail = |e| Error::launch("wait for the cage", e);
    match sys::receive(ends.control.as_fd(), &mut buffer).map_err(fail)? {
        (length @ 1.., Some(upper)) => {
            let walls = serde_json::from_slice(&buffer[..length]).map_err(|e| fail(io::Error::other(e)))?;
            Ok((walls, upper))
        }
        _ => Err(fail(io::Error::other("the first process ended without a word"))),
    }
}

/// Waits for the process that shall be traced; its pid.
fn await_traced(ends: &Ends) -> Result<i32, Error> {
    let fail = |e| Error::launch("find the program to trace", e);
    let mut packet = [0; 16];
    let (_, pidfd) = sys::receive(ends.control.as_fd(), &mut packet).map_err(fail)?;
    let Some(pidfd) = pidfd else {
        await_program(&ends.status)?;
        return Err(fail(io::Error::other("it ended without a word")));
    };
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).map_err(fail)?;
    info.lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|pid| pid.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| fail(io::Error::other("its descriptor names no process")))
}

/// Reads the status pipe to its end: nothing means that the program runs.
pub(crate) fn await_program(status: &OwnedFd) -> Result<(), Error> {
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match sys::read(status.as_fd(), &mut buffer) {
            Ok(0) => break,
            Ok(n) => text.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::launch("wait for the program", e)),
        }
    }
    if text.is_empty() {
        return Ok(());
    }
    let failure: Failure = serde_json::from_slice(&text)
        .map_err(|e| Error::launch("understand why the cage failed", io::Error::other(e)))?;
    let source = match failure.errno {
        0 => io::Error::other("refused"),
        errno => io::Error::from_raw_os_error(errno),
    };
    Err(Error::launch(failure.step, source))
}
