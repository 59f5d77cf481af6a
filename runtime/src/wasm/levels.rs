//! Owns the levels of WASM runs, each behind the walls: `pinned` is one run, `reproduced` two that agree, `replayed`
//! one from a witness that agrees with it. Refuses to lower a level silently: what differs is named in the report.

use std::path::{Path, PathBuf};

use metanode_cage::Report;
use metanode_cage::witness::Witness;
use metanode_types::level::CageLevel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::contained::{WasmJob, WasmVerdict, contain, read_input, run_contained, write_report};
use super::recording;
use super::spec::WasmOutcome;
use crate::digest::hex_of;
use crate::error::{AtPath, Error, Result};

/// Where the second run of a pair keeps its state, below that of the first.
const SECOND: &str = "second";
/// The witness of a run that is to be replayed, when no other file was named.
const WITNESS_FILE: &str = "witness";

/// Runs a job; with `record` its witness goes to that file. The calling process must have one thread.
pub fn run_wasm(job: &WasmJob, record: Option<&Path>) -> Result<(Report, WasmVerdict)> {
    let mut job = job.clone();
    job.witness = record.map(Path::to_path_buf).or(job.witness);
    run_contained(&job)
}

/// Runs a job twice: the level is `reproduced` when nothing differs, and else the report says what does.
pub fn reproduce_wasm(job: &WasmJob, record: Option<&Path>) -> Result<(Report, WasmVerdict)> {
    let (mut report, verdict) = run_wasm(job, record)?;
    let again = WasmJob { state_dir: job.state_dir.join(SECOND), witness: None, ..job.clone() };
    let (_, second) = run_contained(&again)?;
    match (&verdict, &second) {
        (WasmVerdict::Ran(one), WasmVerdict::Ran(two)) if one.has_verdict() && two.has_verdict() => {
            judge(&mut report, &differences(one, two), CageLevel::Reproduced);
        }
        _ => report.downgraded.push("one of the two runs has no verdict: not reproduced".to_owned()),
    }
    write_report(&job.state_dir, &report)?;
    Ok((report, verdict))
}

/// Runs a job, and then once more from its witness alone: the level is `replayed` when nothing differs.
fn run_and_replay(job: &WasmJob) -> Result<(Report, WasmVerdict)> {
    let witness = job.witness.clone().unwrap_or_else(|| job.state_dir.join(WITNESS_FILE));
    std::fs::create_dir_all(&job.state_dir).at("create", &job.state_dir)?;
    let (mut report, verdict) = run_wasm(job, Some(&witness))?;
    // What has no verdict, or dropped inputs, has said so already.
    if matches!(&verdict, WasmVerdict::Ran(outcome) if outcome.has_verdict() && outcome.replayable) {
        let (replayed, _) = replay_wasm(&ReplayJob {
            witness,
            module: job.module.clone(),
            state_dir: job.state_dir.join(SECOND),
            cpu_milli: job.cpu_milli,
            output_bytes: job.output_bytes,
            wall_ms: job.spec.limits.wall_ms,
        })?;
        if replayed.level == CageLevel::Replayed.to_string() {
            report.level = replayed.level;
        }
        report.downgraded.extend(replayed.downgraded);
    }
    write_report(&job.state_dir, &report)?;
    Ok((report, verdict))
}

/// The whole of `metanode __wasm --spec FILE`: reads a [`WasmJob`], runs it at its level, leaves report and verdict
/// in its directory.
pub fn run_shim(spec: &Path) -> Result<()> {
    let job: WasmJob = read_json("read WASM job", spec)?;
    match job.level {
        CageLevel::Contained | CageLevel::Pinned => run_contained(&job),
        CageLevel::Reproduced => reproduce_wasm(&job, None),
        CageLevel::Replayed => run_and_replay(&job),
    }
    .map(drop)
}

/// The whole of `metanode __wasm --replay FILE`: the same for a [`ReplayJob`].
pub fn replay_shim(spec: &Path) -> Result<()> {
    replay_wasm(&read_json("read WASM replay", spec)?).map(drop)
}

fn read_json<T: DeserializeOwned>(intent: &'static str, path: &Path) -> Result<T> {
    serde_json::from_slice(&read_input(path)?).map_err(std::io::Error::other).at(intent, path)
}

/// A run from a witness alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayJob {
    /// The witness.
    pub witness: PathBuf,
    /// The module: a witness holds its digest, not its bytes.
    pub module: PathBuf,
    /// Directory for logs, record, report and verdict.
    pub state_dir: PathBuf,
    /// CPU share in thousandths of one CPU.
    pub cpu_milli: u64,
    /// Bytes kept of each output stream.
    pub output_bytes: u64,
    /// Milliseconds of real time after which the replay is given up; 0 for none.
    #[serde(default)]
    pub wall_ms: u64,
}

/// Runs again what a witness describes, with the inputs that it holds. The level is `replayed` when trace, outputs
/// and end are those of the witness.
pub fn replay_wasm(replay: &ReplayJob) -> Result<(Report, WasmVerdict)> {
    let refuse = |reason: String| Error::ReplayWitness { reason };
    let witness = Witness::open(&replay.witness).map_err(|error| refuse(error.to_string()))?;
    let (spec, stdin) = recording::read(&witness, replay.wall_ms)?;
    let module = read_input(&replay.module)?;
    let job = WasmJob {
        id: "replay".to_owned(),
        state_dir: replay.state_dir.clone(),
        module: replay.module.clone(),
        stdin: None,
        cpu_milli: replay.cpu_milli,
        output_bytes: replay.output_bytes,
        level: CageLevel::Replayed,
        witness: None,
        witness_bytes: 0,
        spec,
    };
    let (mut report, verdict) = contain(&job, &module, stdin)?;
    match &verdict {
        WasmVerdict::Ran(outcome) if outcome.has_verdict() => {
            judge(&mut report, &departures(outcome, &witness), CageLevel::Replayed);
        }
        _ => report.downgraded.push("the replay has no verdict".to_owned()),
    }
    write_report(&job.state_dir, &report)?;
    Ok((report, verdict))
}

/// Gives the level, or says why not.
fn judge(report: &mut Report, differ: &[&str], level: CageLevel) {
    if differ.is_empty() {
        report.level = level.to_string();
    } else {
        report.downgraded.push(format!("not {level}: {} differ", differ.join(", ")));
    }
}

fn named<const N: usize>(same: [(&'static str, bool); N]) -> Vec<&'static str> {
    same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

/// What differs between two runs of one job.
fn differences(one: &WasmOutcome, two: &WasmOutcome) -> Vec<&'static str> {
    named([
        ("end", one.end == two.end),
        ("stdout", one.stdout == two.stdout),
        ("stderr", one.stderr == two.stderr),
        ("output tree", one.tree == two.tree),
        ("fuel", one.fuel_used == two.fuel_used),
        ("trace", one.trace_hash == two.trace_hash),
        ("witness root", one.witness_root == two.witness_root),
        ("digest", one.digest() == two.digest()),
    ])
}

/// What differs between a replay and its witness.
fn departures(outcome: &WasmOutcome, witness: &Witness) -> Vec<&'static str> {
    let recorded = witness.outcome();
    named([
        ("exit", recording::exit_of(&outcome.end) == recorded.exit),
        ("stdout", hex_of(&outcome.stdout.digest) == recorded.stdout_digest),
        ("stderr", hex_of(&outcome.stderr.digest) == recorded.stderr_digest),
        ("output tree", Some(hex_of(&outcome.tree)) == recorded.output_digest),
        ("logical time", outcome.clock_ns == recorded.logical_ns),
        ("trace", hex_of(&outcome.trace_hash) == witness.trace_hash()),
        ("witness root", hex_of(&outcome.witness_root) == witness.witness_root()),
    ])
}
