//! What a cage says about itself: the barriers that stood, what was weaker, how it ended, what it used.
//!
//! Owns the JSON of `report.json` and its atomic writing. It refuses to hold a number nobody
//! measured: what could not be measured is absent, and what was weaker than asked for is listed in `weaker`.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

/// File name of the report inside the cage's state directory.
pub const REPORT_FILE: &str = "report.json";

/// The final account of one cage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The `id` of the specification.
    pub id: String,
    /// The level reached; this crate's launcher gives `contained`.
    pub level: String,
    /// How it ended.
    pub exit: Exit,
    /// Whether the digests mean anything.
    pub verdict: Verdict,
    /// Key of all randomness of a pinned run, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Digest of every trapped call of a pinned run, with its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_hash: Option<String>,
    /// How many there were.
    #[serde(default)]
    pub trace_events: u64,
    /// Root over the external inputs of a pinned run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_root: Option<String>,
    /// How many there were.
    #[serde(default)]
    pub witness_entries: u64,
    /// Their bytes.
    #[serde(default)]
    pub witness_bytes: u64,
    /// Logical nanoseconds that passed in a pinned run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_ns: Option<u64>,
    /// Fuel that a WASM module used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Why the level is lower than asked for.
    #[serde(default)]
    pub downgraded: Vec<String>,
    /// When it was started, milliseconds since the epoch.
    pub started_ms: u64,
    /// When everything in it had ended.
    pub ended_ms: u64,
    /// What it used.
    pub usage: Usage,
    /// SHA-256 of everything written to standard output, kept or not.
    pub stdout_digest: String,
    /// SHA-256 of everything written to standard error, kept or not.
    pub stderr_digest: String,
    /// Bytes written to standard output, kept or not.
    pub stdout_bytes: u64,
    /// Bytes written to standard error, kept or not.
    pub stderr_bytes: u64,
    /// Bytes of the two streams that are no longer in the log files.
    pub output_dropped_bytes: u64,
    /// Digest of what the program changed in its root (`/tmp`, `/run` and `/dev/shm` excluded); absent when
    /// the cage never ran or the tree could not be read, and then `weaker` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_digest: Option<String>,
    /// Digest of the files of a local root directory that a pinned run opened or executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_digest: Option<String>,
    /// Every wall, whether it stood, and how.
    pub barriers: Vec<Barrier>,
    /// What was weaker than a root launch on a fully equipped kernel, in words.
    pub weaker: Vec<String>,
    /// Kernel name, release and machine.
    pub kernel: String,
    /// Digest of what the processor says it can do; runs compare only within one class.
    pub cpu_class: String,
}

/// How a cage ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// The program returned this code.
    Code(i32),
    /// The program was killed by this signal.
    Signal(i32),
    /// The wall-clock limit passed.
    Timeout,
    /// The kernel killed it for exceeding its memory limit.
    Oom,
    /// It never ran, for this reason.
    LaunchError(String),
    /// The supervisor ended a pinned run that it could not carry on, for this reason. It says nothing about the
    /// program.
    NoVerdict(String),
}

/// Whether the run says anything about the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The program ended by itself.
    Completed,
    /// It did not, for this reason: no digest of this run may be held against anybody.
    NoVerdict(String),
}

/// What a cage used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all its processes.
    pub cpu_ms: u64,
    /// Highest memory use; of the whole cage with a memory cgroup, else of its largest process.
    pub max_memory_bytes: u64,
    /// Sum over sampling intervals of (peak memory in MiB x milliseconds), rounded up; absent without a
    /// memory cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib_ms: Option<u64>,
    /// From launch to end.
    pub wall_ms: u64,
}

/// One wall between the program and the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// Its name.
    pub name: String,
    /// Whether it stood when the program started.
    pub installed: bool,
    /// How, or why not.
    pub detail: String,
}

/// Barriers and weaknesses, collected while the cage is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Barriers {
    /// In the order in which they were raised.
    pub list: Vec<Barrier>,
    /// What fell short.
    pub weaker: Vec<String>,
}

impl Barriers {
    /// Notes a wall that now stands.
    pub(crate) fn installed(&mut self, name: &str, detail: impl Into<String>) {
        self.list.push(Barrier { name: name.into(), installed: true, detail: detail.into() });
    }

    /// Notes a wall that does not stand, and says so among the weaknesses too.
    pub(crate) fn missing(&mut self, name: &str, detail: impl Into<String>) {
        let detail = detail.into();
        self.weaker.push(format!("{name}: {detail}"));
        self.list.push(Barrier { name: name.into(), installed: false, detail });
    }

    /// Notes a weakness that is not the absence of one wall.
    pub(crate) fn weaker(&mut self, why: impl Into<String>) {
        self.weaker.push(why.into());
    }
}

/// When a file must be on disk. Whole or not at all is what every reader on a running machine sees; this is
/// about power cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// It describes processes, which a power cut ends, or is for a caller that waits here and would end too.
    Whenever,
    /// Before the call returns.
    Now,
}

/// Writes `value` as JSON to `dir/name`: whole or not at all.
pub(crate) fn write_json(dir: &Path, name: &str, value: &impl Serialize, disk: Disk) -> Result<(), Error> {
    let path = dir.join(name);
    let fail = |source| Error::WriteState { path: path.clone(), source };
    let mut text =
        serde_json::to_vec(value).map_err(|source| Error::ParseState { path: path.clone(), source })?;
    let partial = dir.join(format!(".{name}.part"));
    let mut file = File::create(&partial).map_err(fail)?;
    text.push(b'\n');
    file.write_all(&text).map_err(fail)?;
    match disk {
        Disk::Whenever => {}
        Disk::Now => file.sync_all().map_err(fail)?,
    }
    std::fs::rename(&partial, &path).map_err(fail)?;
    if disk == Disk::Now {
        File::open(dir).and_then(|d| d.sync_all()).map_err(fail)?;
    }
    Ok(())
}

/// Reads JSON from `dir/name`.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(dir: &Path, name: &str) -> Result<T, Error> {
    let path = dir.join(name);
    let text = std::fs::read(&path).map_err(|source| Error::ReadState { path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| Error::ParseState { path, source })
}

impl Report {
    /// Reads the report of a cage that has ended.
    pub fn read(state_dir: &Path) -> Result<Self, Error> {
        read_json(state_dir, REPORT_FILE)
    }

    /// Writes the report: whole or not at all.
    pub(crate) fn write(&self, state_dir: &Path, disk: Disk) -> Result<(), Error> {
        write_json(state_dir, REPORT_FILE, self, disk)
    }
}
