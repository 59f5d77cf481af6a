//! Control groups: which hierarchy serves which controller here, and a pool of ready groups.
//!
//! Owns detection *per controller* (version 1, version 2 and machines that mix both), the pool, limits and
//! readings. A slot of the pool is one group in every hierarchy plus one range of user ids; it belongs to
//! whoever holds the lock file, so a supervisor that dies gives it back by dying. Groups are made once and
//! reused, because making and removing them costs more than starting a cage. It refuses to hand out a slot in
//! which a process is still alive.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::spec::Limits;
use crate::{Error, sys};

/// Where the pool's lock files live; they vanish with the machine, as the groups do.
const POOL: &str = "/run/metanode-cage";
/// The group under which every hierarchy keeps the pool.
const PARENT: &str = "metanode-cage";
/// Most cages on one machine at one time.
pub(crate) const MAX_SLOTS: u32 = 4096;
/// First user id of the first slot's range; slot n starts `n * RANGE` later.
const FIRST_UID: u32 = 0x4000_0000;
/// User ids in one slot's range.
pub(crate) const RANGE: u32 = 65_536;
/// How long to wait for the last processes of a previous cage to vanish.
const DRAIN: Duration = Duration::from_millis(500);

/// The part of the memory limit that internet sockets may use beside the rest (version 1).
const SOCKET_SHARE: u64 = 8;

/// What a cage needs from control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    /// Bounds and measures memory.
    Memory,
    /// Bounds processes.
    Pids,
    /// Bounds CPU time.
    Cpu,
    /// Measures CPU time (part of `cpu` in version 2).
    Cpuacct,
}

/// All controllers, with the kernel's names.
const CONTROLLERS: [(Controller, &str); 4] = [
    (Controller::Memory, "memory"),
    (Controller::Pids, "pids"),
    (Controller::Cpu, "cpu"),
    (Controller::Cpuacct, "cpuacct"),
];

/// One hierarchy and the controllers that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Version 2 (else version 1).
    pub unified: bool,
    /// What it serves.
    pub serves: Vec<Controller>,
}

/// Reads which hierarchies exist from the text of `/proc/self/mounts`; `unified` lists a version 2 mount's
/// controllers.
pub(crate) fn parse_mounts(mounts: &str, unified: impl Fn(&Path) -> String) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (is_unified, names) = match kind {
            "cgroup" => (false, options.split(',').map(String::from).collect::<Vec<_>>()),
            "cgroup2" => (true, unified(Path::new(at)).split_whitespace().map(String::from).collect()),
            _ => continue,
        };
        let has = |name: &str| {
            names.iter().any(|n| n == name)
                || (is_unified && name == "cpuacct" && names.iter().any(|n| n == "cpu"))
        };
        let taken = |c: Controller| found.iter().any(|h| h.serves.contains(&c));
        let serves: Vec<_> =
            CONTROLLERS.iter().filter(|(c, n)| has(n) && !taken(*c)).map(|(c, _)| *c).collect();
        if !serves.is_empty() {
            found.push(Hierarchy { mount: at.into(), unified: is_unified, serves });
        }
    }
    found
}

/// The hierarchies of this machine.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    let mut mounts = Vec::with_capacity(32 << 10); // so that it takes few reads
    let _ = File::open("/proc/self/mounts").and_then(|f| f.take(1 << 20).read_to_end(&mut mounts));
    let controllers = |at: &Path| sys::read_small(&at.join("cgroup.controllers")).unwrap_or_default();
    parse_mounts(&String::from_utf8_lossy(&mounts), controllers)
}

/// One group in every hierarchy and one range of user ids, held by this process.
pub(crate) struct Slot {
    /// Its number.
    pub index: u32,
    groups: Vec<Group>,
    oom_kills_before: u64,
    /// CPU time that earlier cages used in these groups.
    pub cpu_before_us: u64,
    /// Files through which this process goes back to where it came from.
    homes: Vec<PathBuf>,
    _lock: File,
}

struct Group {
    dir: PathBuf,
    unified: bool,
    serves: Vec<Controller>,
}

fn put(path: PathBuf, value: impl std::fmt::Display) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.to_string().as_bytes())
}

fn number(path: PathBuf) -> Option<u64> {
    sys::read_small(&path).ok()?.trim().parse().ok()
}

/// The value after `key` in a file of `key value` lines.
fn keyed(path: PathBuf, key: &str) -> Option<u64> {
    let text = sys::read_small(&path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// CPU time used in a group since it was made; none in a hierarchy that does not measure it.
pub(crate) fn cpu_us(dir: &Path) -> Option<u64> {
    let old = number(dir.join("cpuacct.usage")).map(|ns| ns / 1000);
    old.or_else(|| keyed(dir.join("cpu.stat"), "usage_usec "))
}

/// Memory in use in a group now; none in a hierarchy that does not measure it.
pub(crate) fn memory_bytes(dir: &Path) -> Option<u64> {
    number(dir.join("memory.usage_in_bytes")).or_else(|| number(dir.join("memory.current")))
}

/// Takes the first free slot and sets its limits. `weaker` gets a line for every controller that cannot be
/// used.
pub(crate) fn acquire(limits: &Limits, weaker: &mut Vec<String>) -> Result<Slot, Error> {
    let fail = |path: &str, source| Error::WriteState { path: path.into(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(POOL).map_err(|e| fail(POOL, e))?;
    let hierarchies = hierarchies();
    for index in 0..MAX_SLOTS {
        let path = format!("{POOL}/{index}.lock");
        let Some(lock) = lock(&path).map_err(|e| fail(&path, e))? else { continue };
        let mut groups = Vec::new();
        for hierarchy in &hierarchies {
            match prepare(hierarchy, index) {
                Ok(group) => groups.push(group),
                Err(e) => weaker.push(format!("no cgroup in {}: {e}", hierarchy.mount.display())),
            }
        }
        if !groups.iter().all(|g| drained(&g.dir)) {
            continue; // a process of an earlier cage is stuck in there: leave it alone
        }
        let mut slot =
            Slot { index, groups, oom_kills_before: 0, cpu_before_us: 0, homes: Vec::new(), _lock: lock };
        slot.limit(limits, weaker);
        slot.oom_kills_before = slot.oom_count();
        slot.cpu_before_us = slot.cpu_total_us().unwrap_or(0);
        return Ok(slot);
    }
    Err(fail(POOL, io::Error::other(format!("all {MAX_SLOTS} slots are in use"))))
}

/// The lock file of a slot, if nobody else holds it.
fn lock(path: &str) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

fn prepare(hierarchy: &Hierarchy, index: u32) -> io::Result<Group> {
    let parent = hierarchy.mount.join(PARENT);
    let dir = parent.join(index.to_string());
    if !dir.is_dir() {
        fs::create_dir_all(&parent)?;
        if hierarchy.unified {
            let wanted = hierarchy.serves.iter().filter(|c| **c != Controller::Cpuacct);
            for name in wanted.filter_map(|c| CONTROLLERS.iter().find(|(k, _)| k == c)).map(|(_, n)| n) {
                put(hierarchy.mount.join("cgroup.subtree_control"), format!("+{name}"))?;
                put(parent.join("cgroup.subtree_control"), format!("+{name}"))?;
            }
        }
        fs::create_dir_all(&dir)?;
    }
    Ok(Group { dir, unified: hierarchy.unified, serves: hierarchy.serves.clone() })
}

/// Kills what is left in a group and waits until it is empty; false when it does not become so.
fn drained(dir: &Path) -> bool {
    let deadline = Instant::now() + DRAIN;
    loop {
        let left = sys::read_small(&dir.join("cgroup.procs")).unwrap_or_default();
        if left.trim().is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        // 0 stands for a process that this pid namespace cannot see; it must never be passed to kill.
        left.lines()
            .filter_map(|l| l.parse::<i32>().ok())
            .filter(|pid| *pid > 1)
            .for_each(|pid| sys::kill(pid, libc::SIGKILL));
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Slot {
    /// First host user id of the range that this slot owns.
    pub(crate) fn first_uid(&self) -> u32 {
        FIRST_UID + self.index * RANGE
    }

    /// The group's directories, for the record.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.groups.iter().map(|g| g.dir.clone()).collect()
    }

    fn group(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|g| g.serves.contains(&controller))
    }

    /// Whether a controller bounds this cage.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.group(controller).is_some()
    }

    fn limit(&mut self, limits: &Limits, weaker: &mut Vec<String>) {
        let (quota, period) = match limits.cpu_milli {
            low @ ..10 => (low * 1000, 1_000_000),
            milli => (milli * 100, 100_000),
        };
        for (controller, name) in CONTROLLERS {
            let Some(group) = self.group(controller) else {
                weaker.push(format!("no cgroup controller {name} on this host"));
                continue;
            };
            let file = |name: &str| group.dir.join(name);
            let set = match (controller, group.unified) {
                (Controller::Memory, false) => limit_memory_v1(&group.dir, limits.memory_bytes),
                (Controller::Memory, true) => {
                    let _ = put(file("memory.swap.max"), 0); // absent without swap accounting
                    put(file("memory.max"), limits.memory_bytes)
                }
                (Controller::Pids, _) => put(file("pids.max"), limits.pids + 1),
                (Controller::Cpu, false) => {
                    put(file("cpu.cfs_period_us"), period).and_then(|()| put(file("cpu.cfs_quota_us"), quota))
                }
                (Controller::Cpu, true) => put(file("cpu.max"), format!("{quota} {period}")),
                (Controller::Cpuacct, _) => Ok(()),
            };
            if let Err(e) = set {
                weaker.push(format!("cannot set the {name} limit: {e}"));
                self.forget(controller);
            }
        }
    }

    /// A controller whose limit could not be set is not one that bounds this cage.
    fn forget(&mut self, controller: Controller) {
        self.groups.iter_mut().for_each(|g| g.serves.retain(|c| *c != controller));
    }

    /// Moves this process into the groups that bound memory and CPU time: it works for the cage, and what it allocates
    /// for it (pages of files that it writes, of pipes, of sockets) is the cage's. It goes back when the slot is given
    /// back. When memory runs out, `tasks` and what they fork are killed before it, whatever they hold.
    pub(crate) fn join(&mut self, tasks: &[i32]) -> io::Result<()> {
        for pid in tasks {
            put(format!("/proc/{pid}/oom_score_adj").into(), 1000)?;
        }
        // Not every root may spare itself altogether.
        let _ = put("/proc/self/oom_score_adj".into(), -1000);
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let bounds = |g: &&Group| g.serves.iter().any(|c| matches!(c, Controller::Memory | Controller::Cpu));
        let mut homes = Vec::new();
        for group in self.groups.iter().filter(bounds) {
            let mount = group.dir.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
            let home = own.lines().find_map(|line| home_in(line, group, mount));
            put(group.dir.join("cgroup.procs"), 0)?;
            homes.push(home.unwrap_or_else(|| mount.to_path_buf()).join("cgroup.procs"));
        }
        self.homes = homes;
        Ok(())
    }

    /// The files into which the cage's first process writes itself (version 1).
    pub(crate) fn task_files(&self) -> io::Result<Vec<OwnedFd>> {
        let old = self.groups.iter().filter(|g| !g.unified);
        old.map(|g| OpenOptions::new().write(true).open(g.dir.join("tasks")).map(OwnedFd::from)).collect()
    }

    /// The group in which the cage's first process is born (version 2).
    pub(crate) fn birth_group(&self) -> io::Result<Option<OwnedFd>> {
        let new = self.groups.iter().find(|g| g.unified);
        new.map(|g| File::open(&g.dir).map(OwnedFd::from)).transpose()
    }

    fn oom_count(&self) -> u64 {
        let Some(group) = self.group(Controller::Memory) else { return 0 };
        let file = if group.unified { "memory.events" } else { "memory.oom_control" };
        keyed(group.dir.join(file), "oom_kill ").unwrap_or(0)
    }

    /// Whether the kernel killed something in this cage for lack of memory.
    pub(crate) fn oom_killed(&self) -> bool {
        self.oom_count() > self.oom_kills_before
    }

    fn cpu_total_us(&self) -> Option<u64> {
        cpu_us(&self.group(Controller::Cpuacct)?.dir)
    }

    /// CPU time used since the slot was taken.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        self.cpu_total_us().map(|total| total.saturating_sub(self.cpu_before_us))
    }

    /// Highest memory use since the last call (version 1) or the use right now (version 2).
    pub(crate) fn memory_sample(&self) -> Option<u64> {
        let group = self.group(Controller::Memory)?;
        if group.unified {
            return number(group.dir.join("memory.current"));
        }
        let peak = number(group.dir.join("memory.max_usage_in_bytes"));
        let _ = put(group.dir.join("memory.max_usage_in_bytes"), 0);
        peak
    }
}

/// The directory of this process in the hierarchy of `group`, from a line of `/proc/self/cgroup`.
fn home_in(line: &str, group: &Group, mount: &Path) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (names, path) = (fields.next()?, fields.next()?);
    let serves = |name: &str| CONTROLLERS.iter().any(|(c, n)| *n == name && group.serves.contains(c));
    let same = if group.unified { names.is_empty() } else { names.split(',').any(serves) };
    same.then(|| mount.join(path.trim_start_matches('/')))
}

impl Drop for Slot {
    fn drop(&mut self) {
        for home in &self.homes {
            let _ = put(home.clone(), 0); // a hierarchy that lost its group ends with this process
        }
    }
}

/// Version 1 wants memory <= memory+swap at every moment, so the outer limit is lifted first.
fn limit_memory_v1(dir: &Path, bytes: u64) -> io::Result<()> {
    let outer = dir.join("memory.memsw.limit_in_bytes");
    let with_swap = outer.exists();
    if with_swap {
        put(outer.clone(), -1)?;
    }
    put(dir.join("memory.limit_in_bytes"), bytes)?;
    if with_swap {
        put(outer, bytes)?;
    }
    // Buffers of internet sockets are an account of their own here, unlimited unless asked for.
    match put(dir.join("memory.kmem.tcp.limit_in_bytes"), bytes / SOCKET_SHARE) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {} // a kernel without it counts them with the rest, or not at all: the probe tells
    }
    put(dir.join("memory.max_usage_in_bytes"), 0)
}

/// Empties every slot that nobody holds and removes those numbered `keep` and above: (processes killed,
/// groups removed).
pub(crate) fn sweep(keep: u32) -> (usize, usize) {
    let hierarchies = hierarchies();
    let (mut killed, mut removed) = (0, 0);
    let Ok(entries) = fs::read_dir(POOL) else { return (0, 0) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(index) = name.to_str().and_then(|n| n.strip_suffix(".lock")?.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(Some(_lock)) = lock(&format!("{POOL}/{index}.lock")) else { continue };
        for dir in hierarchies.iter().map(|h| h.mount.join(PARENT).join(index.to_string())) {
            let left = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            killed += left.lines().count();
            if drained(&dir) && index >= keep && fs::remove_dir(&dir).is_ok() {
                removed += 1;
            }
        }
    }
    (killed, removed)
}

#[cfg(test)]
mod tests;
