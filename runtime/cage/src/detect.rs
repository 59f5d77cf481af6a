//! Which walls this machine can raise, with and without root.
//!
//! Owns the capability report. Each answer comes from trying the thing, in a child that is thrown away; it
//! refuses to infer a feature from a version number. What is missing is said together with what still works.

use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Controller};
use crate::{Error, sys};

/// What this machine offers a cage started by this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Running as root.
    pub root: bool,
    /// A cage can be started at all.
    pub usable: bool,
    /// One line for each feature.
    pub features: Vec<Feature>,
}

/// One feature of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name, as in the barriers of a report where there is one.
    pub name: String,
    /// Whether it works here and now.
    pub available: bool,
    /// A cage cannot be started without it.
    pub required: bool,
    /// How it was found out, or what still works without it.
    pub detail: String,
}

/// Tries everything a cage needs. Must be called by a single-threaded process, as a launch must.
pub fn detect() -> Result<Capabilities, Error> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Error::ManyThreads(threads));
    }
    let root = sys::euid() == 0;
    let mut features = vec![
        tried("namespaces", true, "user, mount, pid, net, ipc, uts", "no cage can be started", namespaces),
        tried("overlay", true, "overlayfs in a user namespace", "only cages with an empty root work", || {
            inside(overlay)
        }),
        tried("proc_masked", false, "a fresh /proc can be mounted", "cages run without /proc", || {
            inside(proc_mount)
        }),
        tried("seccomp", true, "filters can be installed", "no cage can be started", || inside(filter)),
        tried("landlock", false, "second wall", "the other walls still stand", || {
            sys::landlock_abi().map(drop)
        }),
        tried(
            "pinned",
            false,
            "filtered calls of a traced program stop",
            "no run reaches level pinned",
            || inside(tracing),
        ),
    ];
    let hierarchies = cgroup::hierarchies();
    let rows = [
        (
            Controller::Memory,
            "cgroup_memory",
            "each process is bounded by RLIMIT_DATA, the cage as a whole is not",
        ),
        (Controller::Pids, "cgroup_pids", "RLIMIT_NPROC bounds the cage's user"),
        (Controller::Cpu, "cgroup_cpu", "CPU time is not bounded"),
        (Controller::Cpuacct, "cgroup_cpuacct", "CPU time is taken from the processes' own usage"),
    ];
    for (controller, name, instead) in rows {
        let home = hierarchies.iter().find(|h| h.serves.contains(&controller));
        let detail = match home {
            None => format!("no hierarchy serves it; {instead}"),
            Some(_) if !root => format!("needs root; {instead}"),
            Some(h) => format!("version {} at {}", if h.unified { 2 } else { 1 }, h.mount.display()),
        };
        features.push(Feature {
            name: name.into(),
            available: root && home.is_some(),
            required: false,
            detail,
        });
    }
    let detail =
        if root { "65536 ids for each cage" } else { "needs root; only the caller's own id is mapped" };
    features.push(Feature {
        name: "uid_range".into(),
        available: root,
        required: false,
        detail: detail.into(),
    });
    let usable = features.iter().all(|f| f.available || !f.required);
    Ok(Capabilities { root, usable, features })
}

fn tried(
    name: &str,
    required: bool,
    works: &str,
    else_: &str,
    attempt: impl FnOnce() -> io::Result<()>,
) -> Feature {
    let (available, detail) = match attempt() {
        Ok(()) => (true, works.to_owned()),
        Err(e) => (false, format!("{e}; {else_}")),
    };
    Feature { name: name.into(), available, required, detail }
}

fn namespaces() -> io::Result<()> {
    inside(|| Ok(()))
}

/// Runs `attempt` as root of throw-away namespaces.
fn inside(attempt: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (uid, gid) = (sys::euid(), sys::egid());
    let answer = sys::in_child(|| {
        let kinds = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS;
        let enter = || -> io::Result<()> {
            sys::unshare(kinds)?;
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
            std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            sys::make_mounts_private()
        };
        // The new pid namespace begins with the next child.
        let run = || enter().and_then(|()| sys::in_child(|| code(attempt())));
        run().unwrap_or_else(|e| code(Err(e)))
    })?;
    match answer.parse::<i32>() {
        Ok(0) => Ok(()),
        Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
        Err(_) => Err(io::Error::other("the trial ended without an answer")),
    }
}

fn code(result: io::Result<()>) -> String {
    result.map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0).to_string()
}

fn overlay() -> io::Result<()> {
    let fs = sys::fsopen(c"tmpfs")?;
    let scratch = sys::fsmount(fs.as_fd(), 0)?;
    sys::attach(scratch.as_fd(), libc::AT_FDCWD, c"/tmp")?;
    for name in [c"/tmp/l", c"/tmp/u", c"/tmp/w"] {
        sys::mkdirat(libc::AT_FDCWD, name, 0o755)?;
    }
    let fs = sys::fsopen(c"overlay")?;
    for (key, value) in [(c"lowerdir", c"/tmp/l"), (c"upperdir", c"/tmp/u"), (c"workdir", c"/tmp/w")] {
        sys::fsconfig(fs.as_fd(), key, Some(value))?;
    }
    sys::fsconfig(fs.as_fd(), c"userxattr", None)?;
    sys::fsmount(fs.as_fd(), 0).map(drop)
}

fn proc_mount() -> io::Result<()> {
    let fs = sys::fsopen(c"proc")?;
    sys::fsmount(fs.as_fd(), 0).map(drop)
}

fn filter() -> io::Result<()> {
    use crate::seccomp::{Level, compile};
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    compile(Level::Contained).map_err(io::Error::other)?.install().map_err(io::Error::other)
}

/// Traces a child into its first filtered call, as a pinned run does, and reads its memory there.
fn tracing() -> io::Result<()> {
    use crate::seccomp::{Level, compile};
    let traps = compile(Level::Pinned).map_err(io::Error::other)?;
    let (reader, writer) = sys::pipe()?;
    let Some(pid) = sys::fork()? else {
        drop(writer);
        let _ = sys::read(reader.as_fd(), &mut [0]); // until it is seized
        let filtered = || -> io::Result<()> {
            sys::ptrace::pin_process()?;
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
            traps.install().map_err(io::Error::other)
        };
        let _ = filtered().map(|()| sys::egid());
        sys::exit_now(1)
    };
    let seized = sys::ptrace::seize(pid, libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL);
    drop(writer);
    let seen = seized.and_then(|()| await_call(pid));
    sys::kill(pid, libc::SIGKILL);
    let _ = sys::wait_for(pid); // it may have been waited for
    seen
}

/// Lets the tracee run to the first call that the filter hands to its tracer.
fn await_call(pid: i32) -> io::Result<()> {
    loop {
        let Some((_, status)) = sys::ptrace::wait_trace(pid, 0)? else { continue };
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::other("the traced child ended before its first filtered call"));
        }
        if status >> 16 == libc::PTRACE_EVENT_SECCOMP {
            let stack = sys::ptrace::registers(pid)?.rsp;
            return sys::ptrace::read_memory(pid, stack, &mut [0; 8]).map(drop);
        }
        sys::ptrace::resume(pid, 0)?;
    }
}
