//! What a running cage has used so far, for whoever meters it.
//!
//! Owns `usage.json`, in which the supervisor leaves its memory integral every [`WRITE_EVERY`], and the
//! reading of everything else from the control groups named in `cage.json`. Where there is none, the cage's
//! processes are added up: all of them descend from its first. It only reads, so any thread of any process may
//! call it. It refuses to answer for a cage that has ended (the report has the final figures), because its
//! groups may belong to another cage by then.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::{Disk, read_json, write_json};
use crate::{Error, Record, cgroup, sys};

/// File name of the supervisor's figures inside the cage's state directory.
pub const USAGE_FILE: &str = "usage.json";
/// How old the memory integral may be.
pub const WRITE_EVERY: Duration = Duration::from_secs(2);

/// Use of a cage from its launch to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveUsage {
    /// CPU time of all its processes, ended ones included.
    pub cpu_ms: u64,
    /// Memory in use now: what the control group counts; without one the sum of the resident sets, in which a
    /// page shared by two processes counts twice.
    pub memory_bytes: u64,
    /// The integral that the report will end with (see [`crate::report::Usage`]), at most [`WRITE_EVERY`] old;
    /// absent without a memory cgroup, and in a cage's first moments.
    pub memory_mib_ms: Option<u64>,
}

/// What only the supervisor knows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Integral {
    /// See [`LiveUsage::memory_mib_ms`].
    pub memory_mib_ms: Option<u64>,
}

impl Integral {
    /// Whole or not at all; it describes a running process, so it need not outlive a power cut.
    pub(crate) fn write(&self, state_dir: &Path) -> Result<(), Error> {
        write_json(state_dir, USAGE_FILE, self, Disk::Whenever)
    }
}

/// What the cage of this state directory has used.
pub fn live(state_dir: &Path) -> Result<LiveUsage, Error> {
    let not_running = |why| Error::NotRunning { state_dir: state_dir.into(), why };
    let record = Record::read(state_dir)?;
    let group_cpu = record.cgroups.iter().find_map(|dir| cgroup::cpu_us(dir));
    let group_memory = record.cgroups.iter().find_map(|dir| cgroup::memory_bytes(dir));
    let added = match (group_cpu, group_memory) {
        (Some(_), Some(_)) => Added::default(),
        _ => add_up(record.init.pid).ok_or_else(|| not_running("its first process is gone"))?,
    };
    let memory_mib_ms = match read_json::<Integral>(state_dir, USAGE_FILE) {
        Ok(integral) => integral.memory_mib_ms,
        Err(Error::ReadState { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(other) => return Err(other),
    };
    // Asked last: whatever was read before belongs to this cage if it still runs now.
    if !record.running() {
        return Err(not_running("its first process has ended"));
    }
    let since_start = |total: u64| total.saturating_sub(record.cpu_before_us) / 1000;
    Ok(LiveUsage {
        cpu_ms: group_cpu.map_or(added.cpu_ms, since_start),
        memory_bytes: group_memory.unwrap_or(added.memory_bytes),
        memory_mib_ms,
    })
}

/// Sums over processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Added {
    cpu_ms: u64,
    memory_bytes: u64,
}

/// What `/proc/PID/stat` says about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    /// Own time and that of children it has waited for.
    ticks: u64,
    pages: u64,
}

/// The first process and all that descends from it; none when it is not there.
fn add_up(init: i32) -> Option<Added> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let text = fs::read_to_string(entry.path().join("stat")); // gone since it was listed: nothing to add
        if let Some(stat) = text.ok().as_deref().and_then(parse_stat) {
            all.insert(pid, stat);
        }
    }
    let (ticks_a_second, page) = (sys::clock_ticks(), sys::page_bytes());
    all.contains_key(&init).then(|| {
        let mine = all.iter().filter(|(pid, _)| descends(&all, **pid, init));
        mine.fold(Added::default(), |sum, (_, stat)| Added {
            cpu_ms: sum.cpu_ms.saturating_add(stat.ticks.saturating_mul(1000) / ticks_a_second),
            memory_bytes: sum.memory_bytes.saturating_add(stat.pages.saturating_mul(page)),
        })
    })
}

/// Whether `ancestor` is `pid` or above it. The steps are bounded, for a table read while pids are reused may
/// hold a ring.
fn descends(all: &BTreeMap<i32, Stat>, pid: i32, ancestor: i32) -> bool {
    let mut at = pid;
    for _ in 0..=all.len() {
        if at == ancestor {
            return true;
        }
        match all.get(&at) {
            Some(stat) => at = stat.parent,
            None => return false,
        }
    }
    false
}

/// Fields as in proc_pid_stat(5). The name, field 2, may hold anything; those after its last parenthesis are
/// plain.
fn parse_stat(text: &str) -> Option<Stat> {
    let rest = text.get(text.rfind(')')? + 1..)?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let count = |number: usize| field(number)?.parse::<u64>().ok();
    let ticks = [14, 15, 16, 17].into_iter().try_fold(0u64, |sum, n| sum.checked_add(count(n)?))?;
    Some(Stat { parent: field(4)?.parse().ok()?, ticks, pages: count(24)? })
}

#[cfg(test)]
mod tests;
