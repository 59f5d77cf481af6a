//! Texts about a process: what the kernel says, without addresses of its own, counters and times of the host.
//!
//! Lines and fields are taken over when they follow from what the program did, replaced when they do not, and left
//! out when nobody argued for them.

use crate::pinned::Supervisor;
use crate::pinned::task::ProcessId;
use crate::pinned::tree;

/// Resident pages that every process is said to have: how many really are is the host's affair.
const RESIDENT: u64 = 1024;

/// Lines of `status` that the program's own calls decide.
const OWN: &[&str] = &[
    "Name",
    "Umask",
    "Tgid",
    "Pid",
    "PPid",
    "Uid",
    "Gid",
    "FDSize",
    "Groups",
    "NStgid",
    "NSpid",
    "NSpgid",
    "NSsid",
    "VmPeak",
    "VmSize",
    "VmLck",
    "VmPin",
    "VmData",
    "VmStk",
    "VmExe",
    "VmLib",
    "Threads",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
];
/// Lines of `status` with the same value for everybody.
const FIXED: &[(&str, &str)] = &[
    ("Ngid", "0"),
    ("TracerPid", "0"),
    ("Kthread", "0"),
    ("VmHWM", "    4096 kB"),
    ("VmRSS", "    4096 kB"),
    ("RssAnon", "    4096 kB"),
    ("RssFile", "       0 kB"),
    ("RssShmem", "       0 kB"),
    ("VmSwap", "       0 kB"),
    ("SigQ", "0/512"),
    ("Seccomp", "2"),
    ("Cpus_allowed", "1"),
    ("Cpus_allowed_list", "0"),
    ("Mems_allowed_list", "0"),
    ("voluntary_ctxt_switches", "0"),
    ("nonvoluntary_ctxt_switches", "0"),
];
/// Fields of `stat` (counted from 0) that the program's own calls decide; the others are zero or below.
const STAT_OWN: &[usize] =
    &[3, 4, 5, 6, 7, 19, 22, 25, 26, 27, 30, 31, 32, 33, 37, 39, 40, 44, 45, 46, 47, 48, 49, 50];
/// Mounts: source, point, type, options.
const MOUNTS: &[(&str, &str, &str, &str)] = &[
    ("overlay", "/", "overlay", "rw,nosuid,nodev"),
    ("tmpfs", "/tmp", "tmpfs", "rw,nosuid,nodev"),
    ("tmpfs", "/run", "tmpfs", "rw,nosuid,nodev"),
    ("proc", "/proc", "proc", "rw,nosuid,nodev,noexec"),
    ("tmpfs", "/dev", "tmpfs", "ro,nosuid,nodev,noexec"),
    ("tmpfs", "/dev/shm", "tmpfs", "rw,nosuid,nodev"),
];

/// A text below `dir`, the directory of a process or thread.
pub(super) fn text(cage: &mut Supervisor, process: ProcessId, dir: &str, parts: &[&str]) -> Option<Vec<u8>> {
    let [name, rest @ ..] = parts else { return None };
    let path = format!("/proc/{dir}/{}", parts.join("/"));
    let kernel = |cage: &Supervisor| {
        let bytes = cage.tree()?.read(path.as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = match (*name, rest) {
        ("auxv", []) => return auxiliary(cage.tree()?.read(path.as_bytes()).ok()?),
        ("cgroup", []) => "0::/\n".into(),
        ("uid_map" | "gid_map", []) => "         0          0      65536\n".into(),
        ("setgroups", []) => "deny\n".into(),
        // Said to be the default and not to be changed: the real one has the cage killed before its supervisor.
        ("oom_score" | "oom_score_adj", []) => "0\n".into(),
        ("limits", []) => kernel(cage)?,
        ("maps", []) => maps(cage, &kernel(cage)?),
        ("mounts", []) => MOUNTS.iter().map(|(s, p, t, o)| format!("{s} {p} {t} {o} 0 0\n")).collect(),
        ("mountinfo", []) => mountinfo(),
        ("stat", []) => stat(cage, process, &kernel(cage)?)?,
        ("statm", []) => statm(&kernel(cage)?)?,
        ("status", []) => status(cage, process, &kernel(cage)?),
        ("fdinfo", [_]) => fdinfo(&kernel(cage)?),
        _ => return None,
    };
    Some(text.into_bytes())
}

/// What the kernel gave the program at its start, without the vDSO, which the cage has taken away.
fn auxiliary(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for pair in bytes.chunks_exact_mut(16) {
        let kind = u64::from_le_bytes(pair[..8].try_into().expect("eight bytes"));
        if kind == libc::AT_SYSINFO_EHDR {
            pair[..8].copy_from_slice(&libc::AT_IGNORE.to_le_bytes());
            pair[8..].fill(0);
        }
    }
    Some(bytes)
}

fn mountinfo() -> String {
    let (major, minor) = (libc::major(tree::DEVICE), libc::minor(tree::DEVICE));
    let row = |(index, (source, point, kind, options)): (usize, &(&str, &str, &str, &str))| {
        let parent = usize::from(index > 0);
        format!("{} {parent} {major}:{minor} / {point} {options} - {kind} {source} rw\n", index + 1)
    };
    MOUNTS.iter().enumerate().map(row).collect()
}

/// Whether the process runs, waits, is stopped.
fn letter(cage: &Supervisor, process: ProcessId) -> (&'static str, &'static str) {
    match cage.process_letter(process) {
        'R' => ("R", "R (running)"),
        'T' => ("T", "T (stopped)"),
        _ => ("S", "S (sleeping)"),
    }
}

fn stat(cage: &Supervisor, process: ProcessId, kernel: &str) -> Option<String> {
    // The name in parentheses may hold anything.
    let (head, tail) = kernel.rsplit_once(')')?;
    let mut fields: Vec<String> = tail.split_whitespace().map(str::to_owned).collect();
    let busy = cage.clock.now() / 10_000_000;
    for (index, field) in (2..).zip(&mut fields) {
        let value = match index {
            2 => letter(cage, process).0.to_owned(),
            8 => "4194304".into(),
            13 => busy.to_string(),
            17 => "20".into(),
            21 => (cage.began(process) / 10_000_000).to_string(),
            23 => RESIDENT.to_string(),
            24 => u64::MAX.to_string(),
            index if STAT_OWN.contains(&index) => continue,
            _ => "0".into(),
        };
        *field = value;
    }
    Some(format!("{head}) {}\n", fields.join(" ")))
}

fn statm(kernel: &str) -> Option<String> {
    let fields: Vec<u64> = kernel.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [size, _, _, text, _, data, _] = fields[..] else { return None };
    Some(format!("{size} {RESIDENT} 0 {text} 0 {data} 0\n"))
}

fn status(cage: &Supervisor, process: ProcessId, kernel: &str) -> String {
    let init = cage.init; // in the cage's user namespace, as everybody in it
    let map = |kind: &str| std::fs::read_to_string(format!("/proc/{init}/{kind}_map")).unwrap_or_default();
    let (users, groups) = (map("uid"), map("gid"));
    let mut text = String::new();
    for line in kernel.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name).map(|(_, value)| *value);
        let value = match (name, fixed) {
            ("State", _) => letter(cage, process).1.to_owned(),
            ("Uid", _) => inner_ids(value, &users),
            ("Gid" | "Groups", _) => inner_ids(value, &groups),
            (_, Some(value)) => value.to_owned(),
            (name, None) if OWN.contains(&name) => value.trim_start_matches('\t').to_owned(),
            _ => continue,
        };
        text.push_str(&format!("{name}:\t{value}\n"));
    }
    text
}

/// Ids of the supervisor's user namespace as the cage's own, by the map that the kernel shows of it; one that has no
/// place there is nobody's.
fn inner_ids(ids: &str, map: &str) -> String {
    const NOBODY: u64 = 65_534;
    let rows: Vec<[u64; 3]> = map
        .lines()
        .filter_map(|line| {
            let fields: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            fields.try_into().ok()
        })
        .collect();
    let inner = |id: u64| {
        let row = rows.iter().find(|[_, outer, count]| id.checked_sub(*outer).is_some_and(|n| n < *count));
        row.map_or(NOBODY, |[inner, outer, _]| inner + (id - outer))
    };
    let ids: Vec<String> = ids
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .map(|id: u64| inner(id).to_string())
        .collect();
    ids.join("\t")
}

/// Mappings with the numbers of files that `stat` shows.
fn maps(cage: &mut Supervisor, kernel: &str) -> String {
    let mut text = String::new();
    for line in kernel.lines() {
        // range, permissions, offset, device, inode, then spaces up to column 73 and the name.
        let mut fields = line.splitn(5, ' ');
        let (Some(range), Some(mode), Some(offset), Some(_), Some(rest)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (inode, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let name = name.trim_start();
        let head = match inode.parse::<u64>() {
            Ok(0) | Err(_) => format!("{range} {mode} {offset} 00:00 0"),
            Ok(inode) => {
                let number = number_of_mapping(cage, name, inode);
                let device = tree::DEVICE;
                format!(
                    "{range} {mode} {offset} {:02x}:{:02x} {number}",
                    libc::major(device),
                    libc::minor(device)
                )
            }
        };
        let line = if name.is_empty() { head } else { format!("{head:<73}{name}") };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The number of a mapped file: that of its name, while it has one.
fn number_of_mapping(cage: &mut Supervisor, name: &str, inode: u64) -> u64 {
    let Some(tree) = cage.tree_mut() else { return 0 };
    let found =
        tree.lookup(name.as_bytes(), false).and_then(|fd| crate::sys::fstat(std::os::fd::AsFd::as_fd(&fd)));
    match found {
        Ok(st) if name.starts_with('/') => tree.shown(&st, true, None).st_ino,
        _ => tree.number_of_name(format!("mapping:{inode}:{name}").as_bytes()),
    }
}

/// Position and flags of a descriptor; what else its kind tells, except numbers of the host.
fn fdinfo(kernel: &str) -> String {
    let keep = ["pos", "flags", "eventfd-count", "sigmask"];
    let mut text = String::new();
    for line in kernel.lines() {
        if line.split_once(':').is_some_and(|(name, _)| keep.contains(&name)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str("mnt_id:\t1\n");
    text
}
