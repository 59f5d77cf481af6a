//! What the machine has, as far as the system tells: the base of the capacity that a node offers.
//!
//! Reads `/proc`, the affinity of this process and the file system of HOME. What cannot be read counts as the least
//! that is certainly there, never as a guess upwards.

use metanode_types::workload::Resources;
use std::path::Path;

/// Percent of the machine that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    /// That share of `all`, rounded down.
    pub fn of(self, all: u64) -> u64 {
        (u128::from(all) * u128::from(self.0) / 100) as u64
    }
}

/// What the machine has.
pub fn detect(home: &Path) -> Resources {
    // Respects CPU affinity and cgroup quotas, which /proc/cpuinfo does not.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Resources {
        cpu_milli: u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(1000),
        memory_bytes: memory_bytes().unwrap_or(256 << 20),
        disk_bytes: free_bytes(home).unwrap_or(0),
        pids: pids().unwrap_or(1024),
    }
}

/// Memory of the machine, or of the control group that this process is in when that is less.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?; // tidy: allow(paths): the kernel's own interface
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let total = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)?;
    // tidy: allow(paths): the kernel's own interface
    let bounds = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let bound =
        bounds.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    Some(bound.fold(total, u64::min))
}

fn free_bytes(home: &Path) -> Option<u64> {
    let there = home.ancestors().find(|path| path.exists())?;
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    stat.blocks_available().checked_mul(stat.fragment_size())
}

fn pids() -> Option<u32> {
    // tidy: allow(paths): the kernel's own interface
    let text = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_found_and_shares_do_not_overflow() {
        let found = detect(Path::new("."));
        assert!(found.cpu_milli >= 1000 && found.memory_bytes > 1 << 20 && found.pids > 0);
        assert_eq!(Share(75).of(u64::MAX), u64::MAX / 4 * 3 + 2);
        assert_eq!(Share(100).of(7), 7);
    }
}
