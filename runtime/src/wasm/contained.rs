//! Owns running a module behind the walls of `metanode-cage`: compilation and execution both happen in a fork that
//! has an empty root, no network, no capabilities and a seccomp filter. Called by a fresh single-threaded process
//! of its own (`metanode __wasm`, see `levels`), never by the node itself.
//!
//! The fork holds nothing but its standard streams and the witness's file, if there is one, so its verdict
//! comes back as the last line of its standard error. The guest can write such a line too, but never the last
//! one of a run that ended well: a verdict is read only when the fork returned success, and then its own line
//! came after everything the guest wrote.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use metanode_cage::report::REPORT_FILE;
use metanode_cage::{CageSpec, Entry, Exit, Limits, Report, Root, Verdict, supervise};
use metanode_types::level::CageLevel;
use serde::{Deserialize, Serialize};

use super::execute::{Output, execute};
use super::recording::{WITNESS_BYTES, exit_of};
use super::spec::{End, WasmOutcome, WasmSpec};
use crate::digest::hex_of;
use crate::error::{AtPath, Error, Result};
use crate::image::open_regular;
use crate::limits;

/// What the compiler and the runtime need beside the guest's own memory.
const HOST_MEMORY_BYTES: u64 = 256 << 20;
/// Compilation counts against the cage's wall clock and not against the guest's.
const COMPILE_GRACE_MS: u64 = 30_000;
/// The guest runs on one thread; the watchdog is another.
const THREADS_MAX: u64 = 4;
/// Longest verdict line.
const VERDICT_BYTES_MAX: usize = 4096;
/// What the fork returns when the guest's time is up. Its other codes are 0 (there is a verdict) and 1.
const TIMED_OUT: i32 = 124;
const MARK: &[u8] = b"\nmetanode-verdict: ";
/// File name of the verdict in the cage's state directory.
pub(crate) const VERDICT_FILE: &str = "verdict.json";

/// A module to run in a cage of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmJob {
    /// The cage's name.
    pub id: String,
    /// Directory for logs, record, report and verdict.
    pub state_dir: PathBuf,
    /// File of the binary module.
    pub module: PathBuf,
    /// File that is standard input; empty when absent.
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// CPU share in thousandths of one CPU.
    pub cpu_milli: u64,
    /// Bytes kept of each output stream.
    pub output_bytes: u64,
    /// Level to show: `pinned` takes one run, `reproduced` two, `replayed` one more from the witness of the first.
    #[serde(default = "default_level")]
    pub level: CageLevel,
    /// File that receives the witness; none when only the digests are wanted.
    #[serde(default)]
    pub witness: Option<PathBuf>,
    /// Bytes that the witness may take; what comes after is not kept, and the run cannot be replayed.
    #[serde(default = "default_witness_bytes")]
    pub witness_bytes: u64,
    /// The run.
    pub spec: WasmSpec,
}

fn default_level() -> CageLevel {
    CageLevel::Pinned
}

fn default_witness_bytes() -> u64 {
    WITNESS_BYTES
}

/// What a contained run came to.
#[expect(clippy::large_enum_variant, reason = "made once a run and kept by value")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WasmVerdict {
    /// The module was executed.
    Ran(WasmOutcome),
    /// The module cannot be run at all; nothing was executed.
    Refused(String),
    /// The cage ended before there was a verdict.
    Lost(String),
}

impl WasmVerdict {
    /// The level reached: behind the walls, every input virtual. None without a statement about the module.
    #[must_use]
    pub fn level(&self, report: &Report) -> Option<CageLevel> {
        let walls = report.level.parse::<CageLevel>().ok()?;
        match self {
            Self::Ran(outcome) if outcome.has_verdict() => Some(walls.max(CageLevel::Pinned)),
            _ => None,
        }
    }

    /// Reads the verdict that a contained run left.
    pub fn read(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(VERDICT_FILE);
        let bytes = std::fs::read(&path).at("read verdict", &path)?;
        serde_json::from_slice(&bytes).map_err(std::io::Error::other).at("read verdict", &path)
    }
}

/// Runs a module in a cage and waits for its end. The calling process must have one thread.
pub fn run_contained(job: &WasmJob) -> Result<(Report, WasmVerdict)> {
    let module = read_input(&job.module)?;
    let stdin = job.stdin.as_deref().map(read_input).transpose()?.unwrap_or_default();
    contain(job, &module, stdin)
}

/// The same with module and standard input in memory.
pub(super) fn contain(job: &WasmJob, module: &[u8], stdin: Vec<u8>) -> Result<(Report, WasmVerdict)> {
    let cage = cage_spec(job, (module.len() + stdin.len()) as u64);
    let limit = job.witness_bytes;
    let inside = |witness: Option<File>| {
        let witness = witness.map(|file| (file, limit));
        i32::from(speak(&job.spec, module, stdin, witness).is_err())
    };
    let entry = match &job.witness {
        None => Entry::Call(Box::new(|| inside(None))),
        Some(path) => Entry::Recorded {
            call: Box::new(|file| inside(Some(file))),
            witness: File::create(path).at("create witness", path)?,
        },
    };
    let refuse = |error: metanode_cage::Error| Error::DriveCage {
        intent: "run",
        cage: job.id.clone(),
        reason: error.to_string(),
    };
    let mut report = supervise(&cage, entry, |_| ()).map_err(refuse)?;
    if report.exit == Exit::Code(TIMED_OUT) {
        report.exit = Exit::Timeout;
    }
    let verdict = match &report.exit {
        Exit::Code(0) => listen(&job.state_dir)?,
        Exit::Timeout => WasmVerdict::Lost("the wall-clock limit passed".to_owned()),
        exit => WasmVerdict::Lost(format!("the cage ended early: {exit:?}")),
    };
    tell(&mut report, job, &verdict);
    write_report(&job.state_dir, &report)?;
    write_verdict(&job.state_dir, &verdict)?;
    Ok((report, verdict))
}

fn cage_spec(job: &WasmJob, input_bytes: u64) -> CageSpec {
    let wall_ms = job.spec.limits.wall_ms;
    CageSpec {
        id: job.id.clone(),
        state_dir: job.state_dir.clone(),
        root: Root::Empty,
        witness_bytes: job.witness_bytes,
        limits: Limits {
            memory_bytes: job.spec.limits.memory_bytes
                + job.spec.limits.files_bytes
                + HOST_MEMORY_BYTES
                + input_bytes,
            cpu_milli: job.cpu_milli,
            pids: THREADS_MAX,
            output_bytes: job.output_bytes,
            wall_ms: if wall_ms == 0 { 0 } else { wall_ms.saturating_add(COMPILE_GRACE_MS) },
            ..Limits::default()
        },
        ..CageSpec::default()
    }
}

/// Puts what the module came to into the cage's report, in the fields that native runs have. The cage's own account
/// stands where there is no verdict.
fn tell(report: &mut Report, job: &WasmJob, verdict: &WasmVerdict) {
    report.seed = Some(hex::encode(job.spec.seed));
    let outcome = match verdict {
        WasmVerdict::Ran(outcome) => outcome,
        WasmVerdict::Refused(why) | WasmVerdict::Lost(why) => {
            report.verdict = Verdict::NoVerdict(why.clone());
            return;
        }
    };
    report.exit = exit_of(&outcome.end);
    report.verdict = match &outcome.end {
        End::NoVerdict { reason } => Verdict::NoVerdict(reason.clone()),
        End::Exited { .. } | End::Trapped { .. } => Verdict::Completed,
    };
    if let Some(level) = verdict.level(report) {
        report.level = level.to_string();
    }
    report.trace_hash = Some(hex_of(&outcome.trace_hash));
    report.trace_events = outcome.trace_events;
    report.witness_root = Some(hex_of(&outcome.witness_root));
    report.witness_entries = outcome.witness_entries;
    report.witness_bytes = outcome.witness_bytes;
    report.logical_ns = Some(outcome.clock_ns);
    report.fuel = Some(outcome.fuel_used);
    report.stdout_digest = hex_of(&outcome.stdout.digest);
    report.stderr_digest = hex_of(&outcome.stderr.digest);
    report.stdout_bytes = outcome.stdout.bytes;
    report.stderr_bytes = outcome.stderr.bytes;
    report.output_digest = Some(hex_of(&outcome.tree));
    if job.witness.is_some() && !outcome.replayable {
        let why = format!("the witness reached its limit of {} bytes: not replayable", job.witness_bytes);
        report.downgraded.push(why);
    }
}

pub(super) fn read_input(path: &Path) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path, true).at("open", path)?;
    if size > limits::MODULE_BYTES_MAX {
        let reason = format!("{size} bytes, at most {} are allowed", limits::MODULE_BYTES_MAX);
        return Err(Error::ImportModule { path: path.to_path_buf(), reason });
    }
    let mut bytes = Vec::new();
    file.take(limits::MODULE_BYTES_MAX).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Inside the cage: runs the module and says what came of it.
fn speak(
    spec: &WasmSpec,
    module: &[u8],
    stdin: Vec<u8>,
    witness: Option<(File, u64)>,
) -> std::io::Result<()> {
    let output = Output {
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        witness,
        give_up: Some(|| std::process::exit(TIMED_OUT)),
    };
    let mut verdict = match execute(spec, module, stdin, output) {
        Ok(outcome) => WasmVerdict::Ran(outcome),
        Err(error) => WasmVerdict::Refused(error.to_string().chars().take(VERDICT_BYTES_MAX / 8).collect()),
    };
    let mut line = serde_json::to_vec(&verdict)?;
    if line.len() > VERDICT_BYTES_MAX {
        verdict = WasmVerdict::Lost("its verdict is too long to be told".to_owned());
        line = serde_json::to_vec(&verdict)?;
    }
    let mut stderr = std::io::stderr();
    stderr.write_all(&[MARK, &line, b"\n"].concat())?;
    stderr.flush()
}

/// Outside: takes the verdict off the end of the log.
fn listen(state_dir: &Path) -> Result<WasmVerdict> {
    let path = state_dir.join("stderr.log");
    let read = |path: &Path| match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.at("read log", path),
    };
    let newest = read(&path)?;
    let mut tail = read(&state_dir.join("stderr.log.1"))?;
    let older = tail.len();
    tail.extend_from_slice(&newest);
    let lost = || WasmVerdict::Lost("the end of its log is not a verdict".to_owned());
    let Some(at) = tail.windows(MARK.len()).rposition(|window| window == MARK) else { return Ok(lost()) };
    let Ok(verdict) = serde_json::from_slice(&tail[at + MARK.len()..]) else { return Ok(lost()) };
    // The log is the guest's: our line leaves it again.
    if at >= older {
        let file = OpenOptions::new().write(true).open(&path).at("open log", &path)?;
        file.set_len((at - older) as u64).at("shorten log", &path)?;
    }
    Ok(verdict)
}

fn write_verdict(state_dir: &Path, verdict: &WasmVerdict) -> Result<()> {
    write_whole(state_dir, VERDICT_FILE, verdict)
}

/// Replaces the cage's report by one that says what the module came to.
pub(super) fn write_report(state_dir: &Path, report: &Report) -> Result<()> {
    write_whole(state_dir, REPORT_FILE, report)
}

/// Whole or not at all, and on the disk when it returns.
fn write_whole(state_dir: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let (partial, path) = (state_dir.join(format!(".{name}.part")), state_dir.join(name));
    let mut bytes = serde_json::to_vec(value).expect("it has only string keys");
    bytes.push(b'\n');
    let mut file = File::create(&partial).at("create", &partial)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).at("write", &partial)?;
    std::fs::rename(&partial, &path).at("move into place", &path)?;
    File::open(state_dir).and_then(|dir| dir.sync_all()).at("sync", state_dir)
}
