//! `cage.json`: who watches a running cage, and how to find it again after this machine or the node
//! restarted.
//!
//! Owns the identity of processes: a pid alone means nothing, so each is kept with its start time and the
//! boot it belongs to. It refuses to call a process alive unless all three agree.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::{Disk, read_json, write_json};
use crate::{Error, sys};

/// File name of the record inside the cage's state directory.
pub const RECORD_FILE: &str = "cage.json";

/// A process, named so that it cannot be mistaken for a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid on the host.
    pub pid: i32,
    /// Its start time in clock ticks since boot.
    pub start_time: u64,
}

/// What is known about a cage from the moment its first process exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The `id` of the specification.
    pub id: String,
    /// Its supervisor.
    pub supervisor: Process,
    /// Its first process, pid 1 of the cage.
    pub init: Process,
    /// The boot in which both started.
    pub boot_id: String,
    /// When it was started, milliseconds since the epoch.
    pub started_ms: u64,
    /// The control groups it is in.
    pub cgroups: Vec<PathBuf>,
    /// CPU time that earlier cages had used in those groups, in microseconds.
    #[serde(default)]
    pub cpu_before_us: u64,
}

impl Process {
    /// The process that has this pid now, also when it has ended and only waits to be reaped.
    pub fn find(pid: i32) -> Option<Self> {
        Self::look(pid).map(|(process, _)| process)
    }

    /// The process and whether it has ended.
    fn look(pid: i32) -> Option<(Self, bool)> {
        let stat = sys::read_small(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
        // The name, field 2, may hold anything; the fields after its last parenthesis are plain. Start time
        // is field 22.
        let rest = &stat[stat.rfind(')')? + 1..];
        let mut fields = rest.split_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        Some((Self { pid, start_time: fields.nth(18)?.parse().ok()? }, ended))
    }

    /// Whether this very process is still there.
    pub fn is_alive(&self) -> bool {
        Self::look(self.pid).is_some_and(|(found, ended)| found == *self && !ended)
    }
}

/// The kernel's name for this boot.
pub(crate) fn boot_id() -> String {
    sys::read_small(Path::new("/proc/sys/kernel/random/boot_id"))
        .map_or_else(|_| String::new(), |id| id.trim().into())
}

impl Record {
    /// Reads the record of a cage.
    pub fn read(state_dir: &Path) -> Result<Self, Error> {
        read_json(state_dir, RECORD_FILE)
    }

    /// Writes the record, whole or not at all. It describes processes, so it need not outlive a power cut.
    pub(crate) fn write(&self, state_dir: &Path) -> Result<(), Error> {
        write_json(state_dir, RECORD_FILE, self, Disk::Whenever)
    }

    /// Whether the supervisor of this cage is still running.
    pub fn supervised(&self) -> bool {
        self.boot_id == boot_id() && self.supervisor.is_alive()
    }

    /// Whether the cage itself is still running.
    pub fn running(&self) -> bool {
        self.boot_id == boot_id() && self.init.is_alive()
    }
}
