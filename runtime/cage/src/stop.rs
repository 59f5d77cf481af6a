//! Ending cages from outside: one that runs, and what is left of those whose supervisor died.
//!
//! Owns `stop` and `sweep`. Both look at processes through descriptors and start times, so a pid that was
//! reused is never signalled. They refuse to touch a cage whose supervisor is alive, except by asking that
//! supervisor.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::record::{Process, RECORD_FILE};
use crate::report::REPORT_FILE;
use crate::{Error, Record, Report, cgroup, sys};

/// How long a supervisor may take, after the grace period, to write its report.
const REPORT_TIME: Duration = Duration::from_secs(10);
/// How long a killed process may take to vanish.
const DEATH_TIME: Duration = Duration::from_secs(5);
/// Idle slots of the cgroup pool that a sweep leaves ready.
const READY_SLOTS: u32 = 16;

/// Asks the cage to stop, insists after `grace_ms`, and returns its report.
pub fn stop(state_dir: &Path, grace_ms: u64) -> Result<Report, Error> {
    let record = Record::read(state_dir)?;
    let not_running = |why| Error::NotRunning { state_dir: state_dir.into(), why };
    if !record.supervised() {
        return Report::read(state_dir).map_err(|_| not_running("its supervisor is gone and left no report"));
    }
    let failed = |source| Error::Supervise { step: "signal the supervisor", source };
    let supervisor = sys::pidfd_open(record.supervisor.pid).map_err(failed)?;
    if !record.supervised() {
        return Report::read(state_dir); // it ended while the descriptor was being opened
    }
    let grace = i32::try_from(grace_ms).unwrap_or(i32::MAX);
    sys::pidfd_signal(supervisor.as_fd(), libc::SIGTERM, Some(grace)).map_err(failed)?;
    if !ended(supervisor.as_fd(), Duration::from_millis(grace_ms) + REPORT_TIME).map_err(failed)? {
        // The cage dies with its supervisor, whatever state that is in.
        sys::pidfd_signal(supervisor.as_fd(), libc::SIGKILL, None).map_err(failed)?;
        ended(supervisor.as_fd(), DEATH_TIME).map_err(failed)?;
    }
    Report::read(state_dir)
}

/// Waits until the process has ended; false when it has not in time.
fn ended(pidfd: std::os::fd::BorrowedFd<'_>, patience: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + patience;
    let mut fds = [libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if sys::poll(&mut fds, Some(left.as_millis() as u64))? {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Cages that are being watched, and were left alone.
    pub running: Vec<String>,
    /// Cages that ended with a report.
    pub reported: Vec<String>,
    /// Cages whose supervisor died before it could report.
    pub lost: Vec<String>,
    /// Processes of lost cages that were still there and were killed.
    pub killed: usize,
    /// Idle control groups that were removed.
    pub groups_removed: usize,
}

/// Looks at every cage below `state_root` and cleans up after supervisors that died.
///
/// Mounts and namespaces need no cleaning: they belong to the cage's processes and vanish with the last of
/// them.
pub fn sweep(state_root: &Path) -> Result<Swept, Error> {
    let fail = |source| Error::ReadState { path: state_root.into(), source };
    let mut swept = Swept::default();
    let mut directories: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(state_root).map_err(fail)? {
        directories.push(entry.map_err(fail)?.path());
    }
    directories.sort();
    for dir in directories.iter().filter(|d| d.join(RECORD_FILE).exists()) {
        let Ok(record) = Record::read(dir) else { continue };
        if record.supervised() {
            swept.running.push(record.id);
        } else if dir.join(REPORT_FILE).exists() {
            swept.reported.push(record.id);
        } else {
            if record.running() && end(&record.init) {
                swept.killed += 1;
            }
            swept.lost.push(record.id);
        }
    }
    if sys::euid() == 0 {
        let (killed, removed) = cgroup::sweep(READY_SLOTS);
        swept.killed += killed;
        swept.groups_removed = removed;
    }
    Ok(swept)
}

/// Kills one process, if it is still that one, and waits until it is gone.
fn end(process: &Process) -> bool {
    let Ok(pidfd) = sys::pidfd_open(process.pid) else { return false };
    process.is_alive()
        && sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL, None).is_ok()
        && ended(pidfd.as_fd(), DEATH_TIME).unwrap_or(false)
}
