//! Owns running a module behind the walls of `metanode-cage`: compilation and execution both happen in a fork that
//! has an empty root, no network, no capabilities and a seccomp filter. Called by a fresh single-threaded process
//! of its own (`metanode __wasm`), never by the node itself.
//!
//! The fork holds nothing but its standard streams, so its verdict comes back as the last line of its standard
//! error. The guest can write such a line too, but never the last one of a run that ended well: a verdict is read
//! only when the fork returned success, and then its own line came after everything the guest wrote.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use metanode_cage::{CageSpec, Entry, Exit, Limits, Report, Root, supervise};
use metanode_types::level::CageLevel;
use serde::{Deserialize, Serialize};

use super::execute::{Output, execute};
use super::spec::{WasmOutcome, WasmSpec};
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
    /// The run.
    pub spec: WasmSpec,
}

/// What a contained run came to.
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
    let wall_ms = job.spec.limits.wall_ms;
    let cage = CageSpec {
        id: job.id.clone(),
        state_dir: job.state_dir.clone(),
        root: Root::Empty,
        argv: Vec::new(),
        env: Vec::new(),
        cwd: "/".to_owned(),
        hostname: "cage".to_owned(),
        stdin: None,
        limits: Limits {
            memory_bytes: job.spec.limits.memory_bytes
                + job.spec.limits.files_bytes
                + HOST_MEMORY_BYTES
                + (module.len() + stdin.len()) as u64,
            cpu_milli: job.cpu_milli,
            pids: THREADS_MAX,
            output_bytes: job.output_bytes,
            wall_ms: if wall_ms == 0 { 0 } else { wall_ms.saturating_add(COMPILE_GRACE_MS) },
            ..Limits::default()
        },
        ..CageSpec::default()
    };
    let inside = || match speak(&job.spec, &module, stdin) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    let refuse = |error: metanode_cage::Error| Error::DriveCage {
        intent: "run",
        cage: job.id.clone(),
        reason: error.to_string(),
    };
    let report = supervise(&cage, Entry::Call(Box::new(inside)), |_| ()).map_err(refuse)?;
    let verdict = match &report.exit {
        Exit::Code(0) => listen(&job.state_dir)?,
        exit => WasmVerdict::Lost(format!("the cage ended early: {exit:?}")),
    };
    write_verdict(&job.state_dir, &verdict)?;
    Ok((report, verdict))
}

/// The whole of `metanode __wasm --spec FILE`: reads a [`WasmJob`], runs it, leaves report and verdict in its
/// directory.
pub fn run_shim(spec: &Path) -> Result<()> {
    let bytes = read_input(spec)?;
    let job: WasmJob =
        serde_json::from_slice(&bytes).map_err(std::io::Error::other).at("read WASM job", spec)?;
    run_contained(&job).map(drop)
}

fn read_input(path: &Path) -> Result<Vec<u8>> {
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
fn speak(spec: &WasmSpec, module: &[u8], stdin: Vec<u8>) -> std::io::Result<()> {
    let output = Output { stdout: Box::new(std::io::stdout()), stderr: Box::new(std::io::stderr()) };
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
    let (partial, path) = (state_dir.join(".verdict.part"), state_dir.join(VERDICT_FILE));
    let bytes = serde_json::to_vec(verdict).expect("a verdict has only string keys");
    let mut file = File::create(&partial).at("create", &partial)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).at("write", &partial)?;
    std::fs::rename(&partial, &path).at("move into place", &path)?;
    File::open(state_dir).and_then(|dir| dir.sync_all()).at("sync", state_dir)
}
