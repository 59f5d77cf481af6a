//! What `/proc` offers to a pinned program: a short list, and nothing of the host in it.
//!
//! Owns the list. A name on it is one of three: the kernel's own file, where its content follows from the program
//! alone; a text written by the supervisor; or a directory, which shows only what is on the list. Everything else
//! looks missing. Names have no leading slash and no `self`.

mod machine;
mod process;

use std::ffi::CString;
use std::os::fd::OwnedFd;

use super::Supervisor;
use super::listing;
use crate::pinned::paths::Place;
use crate::pinned::task::{ProcessId, TaskId};

/// What a name in `/proc` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The kernel's own.
    Native,
    /// Written by the supervisor.
    Text,
    /// A directory; its entries are filtered.
    Directory,
    /// Not there.
    Missing,
}

/// Texts about the machine.
const MACHINE: &[&str] = &["cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"];
/// Links at the top.
const LINKS: &[&str] = &["mounts", "self", "thread-self"];
/// The kernel's own files about a process: they hold what the program itself put there.
const NATIVE: &[&str] = &["cmdline", "comm", "environ"];
/// The kernel's own links of a process.
const MAGIC: &[&str] = &["cwd", "exe", "root"];
/// Directories of a process.
const DIRECTORIES: &[&str] = &["fd", "fdinfo", "task"];
/// Texts about a process.
const TEXTS: &[&str] = &[
    "auxv",
    "cgroup",
    "gid_map",
    "limits",
    "maps",
    "mountinfo",
    "mounts",
    "oom_score",
    "oom_score_adj",
    "setgroups",
    "stat",
    "statm",
    "status",
    "uid_map",
];
const REGULAR: u8 = libc::DT_REG;
const DIRECTORY: u8 = libc::DT_DIR;
const LINK: u8 = libc::DT_LNK;

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit())
}

/// What the name is.
pub(super) fn node(name: &[u8]) -> Node {
    let Ok(name) = std::str::from_utf8(name) else { return Node::Missing };
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => Node::Directory,
        [one] if MACHINE.contains(one) => Node::Text,
        [one] if LINKS.contains(one) => Node::Native,
        ["sys", ..] => machine::sysctl_node(&parts[1..].join("/")),
        [pid, rest @ ..] if is_number(pid) => match rest {
            ["task", tid, rest @ ..] if is_number(tid) && rest.first() != Some(&"task") => of_process(rest),
            rest => of_process(rest),
        },
        _ => Node::Missing,
    }
}

fn of_process(parts: &[&str]) -> Node {
    match parts {
        [] => Node::Directory,
        [one] if DIRECTORIES.contains(one) => Node::Directory,
        [one] if NATIVE.contains(one) => Node::Native,
        [one] if TEXTS.contains(one) => Node::Text,
        ["fdinfo", number] if is_number(number) => Node::Text,
        ["fd", number, ..] if is_number(number) => Node::Native,
        [one, ..] if MAGIC.contains(one) => Node::Native,
        _ => Node::Missing,
    }
}

/// Whether the place is one that looks missing.
pub(super) fn hides(cage: &Supervisor, id: TaskId, place: &Place) -> bool {
    place.in_proc(cage, id).is_some_and(|name| node(&name) == Node::Missing)
}

/// The text behind a name; an errno when there is none (any more).
pub(super) fn text(cage: &mut Supervisor, id: TaskId, name: &[u8]) -> Result<Vec<u8>, i32> {
    let name = std::str::from_utf8(name).map_err(|_| libc::ENOENT)?;
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["sys", ..] => machine::sysctl(cage, id, &parts[1..].join("/")).ok_or(libc::ENOENT),
        [one] => machine::text(cage, one).ok_or(libc::ENOENT),
        [pid, rest @ ..] => {
            let process = process_of(cage, pid).ok_or(libc::ENOENT)?;
            let (dir, rest) = match rest {
                ["task", tid, rest @ ..] => (format!("{pid}/task/{tid}"), rest),
                rest => ((*pid).to_owned(), rest),
            };
            process::text(cage, process, &dir, rest).ok_or(libc::ENOENT)
        }
        [] => Err(libc::EISDIR),
    }
}

/// The living process of that number inside the cage.
fn process_of(cage: &Supervisor, number: &str) -> Option<ProcessId> {
    let number: i32 = number.parse().ok()?;
    cage.processes().find(|(_, process)| process.inner == number).map(|(id, _)| id)
}

/// The entries of an open directory: number, type, name.
pub(super) fn list(
    cage: &mut Supervisor,
    id: TaskId,
    fd: &OwnedFd,
) -> std::io::Result<Vec<(u64, u8, CString)>> {
    let missing = || std::io::Error::from_raw_os_error(libc::ENOENT);
    let dir = listing::proc_directory(cage, id, fd).ok_or_else(missing)?;
    let text = String::from_utf8(dir.clone()).map_err(|_| missing())?;
    let mut names = entries(cage, &text).ok_or_else(missing)?;
    names.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)).then(a.1.cmp(&b.1)));
    names.sort_by_key(|(name, _)| !is_number(name));
    let dots = [(".".to_owned(), DIRECTORY), ("..".to_owned(), DIRECTORY)];
    let names = dots.into_iter().chain(names).map(|(name, kind)| (name.into_bytes(), kind)).collect();
    Ok(listing::numbered(cage, &dir, names))
}

/// Names and types in a directory.
fn entries(cage: &Supervisor, dir: &str) -> Option<Vec<(String, u8)>> {
    let all = |names: &[&str], kind: u8| names.iter().map(|n| ((*n).to_owned(), kind)).collect::<Vec<_>>();
    let parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    let (pid, rest) = match parts.as_slice() {
        [] => {
            let processes = cage.processes().map(|(_, p)| (p.inner.to_string(), DIRECTORY));
            let named = [all(MACHINE, REGULAR), all(LINKS, LINK), all(&["sys"], DIRECTORY)].concat();
            return Some(processes.chain(named).collect());
        }
        ["sys", ..] => return Some(machine::sysctl_entries(&parts[1..].join("/"))),
        [pid, "task", tid, rest @ ..] => (format!("{pid}/task/{tid}"), rest),
        [pid, rest @ ..] => ((*pid).to_owned(), rest),
    };
    match rest {
        [] => {
            let task = pid.contains('/');
            let directories: Vec<&str> =
                DIRECTORIES.iter().copied().filter(|d| !task || *d != "task").collect();
            Some(
                [all(NATIVE, REGULAR), all(TEXTS, REGULAR), all(MAGIC, LINK), all(&directories, DIRECTORY)]
                    .concat(),
            )
        }
        // Numbers of descriptors and of threads: the program's own doing.
        [which @ ("fd" | "fdinfo" | "task")] => {
            let kind = match *which {
                "fd" => LINK,
                "fdinfo" => REGULAR,
                _ => DIRECTORY,
            };
            let names = cage.tree()?.names(format!("/proc/{pid}/{which}").as_bytes()).ok()?;
            let numbers =
                names.into_iter().filter_map(|(name, _)| name.into_string().ok()).filter(|n| is_number(n));
            Some(numbers.map(|name| (name, kind)).collect())
        }
        _ => None,
    }
}
