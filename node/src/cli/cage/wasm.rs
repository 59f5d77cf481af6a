//! A module in a cage of its own: the job that `metanode __wasm` reads, and what came of it.
//!
//! Standard error is shown at the end rather than as it grows, because the verdict travels through it.

use super::launcher::{Scratch, no_report, supervise, this_program};
use super::{Ended, RunArgs, TRAPPED, given, streams};
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::output::value;
use metanode_cage::{Limits, Report};
use metanode_runtime::levels::{Inputs, Stdin, WasmInputs};
use metanode_runtime::wasm::{CAGE_ABI, End, ReplayJob, WasmJob, WasmLimits, WasmSpec, WasmVerdict};
use metanode_types::ids::ContentDigest;
use metanode_types::level::CageLevel;
use std::path::{Path, PathBuf};
use std::process::Command;

const WHAT: &str = "run the module";

pub(super) fn run(args: &RunArgs, module: &Path, scratch: &Scratch, live: bool) -> Done<Ended> {
    if !args.net.0.is_empty() {
        let why = "a module has no sockets";
        return Err(Failure::usage("honour --net", why).next("--net none"));
    }
    let (file, stdin) = match &args.stdin {
        None => (None, None),
        Some(file) => {
            let (copy, stdin) = given::stdin(file, args.memory, scratch)?;
            (Some(copy), Some(stdin))
        }
    };
    let job = WasmJob {
        id: "run".into(),
        state_dir: scratch.state_dir(),
        module: module.canonicalize().unavailable(WHAT)?,
        stdin: file,
        cpu_milli: args.cpu.into(),
        output_bytes: Limits::default().output_bytes,
        level: args.level.max(CageLevel::Pinned),
        witness: args.witness.as_deref().map(given::absolute).transpose()?,
        witness_bytes: args.witness_limit,
        spec: specification(args, module)?,
    };
    let (report, verdict) = launch(&job, scratch, live)?;
    let inputs = Inputs::Wasm(inputs(&job, stdin));
    let outcome = match &verdict {
        WasmVerdict::Ran(outcome) => match &outcome.end {
            End::Exited { code } => Ok((code & 0xff) as u8),
            End::Trapped { trap } => {
                crate::cli::output::note(format!("note: the module trapped: {}", trap.name()));
                Ok(TRAPPED)
            }
            End::NoVerdict { reason } => Err(reason.clone()),
        },
        WasmVerdict::Refused(why) | WasmVerdict::Lost(why) => Err(why.clone()),
    };
    Ok(Ended { report, inputs, outcome, module: Some(value(&verdict)) })
}

fn specification(args: &RunArgs, module: &Path) -> Done<WasmSpec> {
    let bytes = std::fs::read(module).unavailable(WHAT)?;
    let mut argv = vec!["module".to_owned()];
    argv.extend(args.args.iter().cloned());
    let mut seed = [0; 32];
    hex::decode_to_slice(&args.seed, &mut seed).usage("read the seed")?;
    Ok(WasmSpec {
        module: ContentDigest(metanode_types::hash::sha256(&bytes)),
        args: argv,
        env: args.env.iter().map(|v| format!("{}={}", v.name, v.value)).collect(),
        seed,
        epoch_ns: 0,
        files: Vec::new(),
        limits: WasmLimits {
            memory_bytes: args.memory,
            files_bytes: args.storage,
            wall_ms: args.timeout.unwrap_or(0),
            ..WasmLimits::default()
        },
    })
}

fn inputs(job: &WasmJob, stdin: Option<Stdin>) -> WasmInputs {
    WasmInputs { spec: job.spec.clone(), stdin, cage_abi: CAGE_ABI.to_owned() }
}

/// Runs a job to its report and verdict.
fn launch(job: &WasmJob, scratch: &Scratch, live: bool) -> Done<(Report, WasmVerdict)> {
    shim("--spec", &value(job), &job.state_dir, scratch, live)
}

/// Runs a job that is told from its state directory alone.
pub(in crate::cli) fn launch_module(job: &WasmJob, scratch: &Scratch) -> Done {
    launch(job, scratch, false).map(drop)
}

/// Runs again what a report says that a module was given.
pub(super) fn again(
    inputs: &WasmInputs,
    module: &Path,
    stdin: Option<PathBuf>,
    scratch: &Scratch,
) -> Done<Report> {
    let job = WasmJob {
        id: "again".into(),
        state_dir: scratch.state_dir(),
        module: module.canonicalize().unavailable(WHAT)?,
        stdin,
        cpu_milli: 1000,
        output_bytes: Limits::default().output_bytes,
        level: CageLevel::Pinned,
        witness: None,
        witness_bytes: 0,
        spec: inputs.spec.clone(),
    };
    launch(&job, scratch, false).map(|(report, _)| report)
}

/// Runs again what a witness says, and shows what it prints.
pub(super) fn replay(witness: &Path, module: &Path, scratch: &Scratch, live: bool) -> Done<Report> {
    let job = ReplayJob {
        witness: witness.to_owned(),
        module: module.canonicalize().unavailable(WHAT)?,
        state_dir: scratch.state_dir(),
        cpu_milli: 1000,
        output_bytes: Limits::default().output_bytes,
        wall_ms: 0,
    };
    shim("--replay", &value(&job), &job.state_dir, scratch, live).map(|(report, _)| report)
}

fn shim(
    flag: &str,
    job: &serde_json::Value,
    state_dir: &Path,
    scratch: &Scratch,
    live: bool,
) -> Done<(Report, WasmVerdict)> {
    let mut command = Command::new(this_program()?);
    command.arg(crate::cli::wasm::COMMAND).arg(flag).arg(scratch.write_spec(job)?);
    let shown: &[&str] = if live { &["stdout.log"] } else { &[] };
    let said = supervise(command, scratch, state_dir, shown)?;
    let missing = |_| Failure::unavailable(WHAT, no_report(&said));
    let report = Report::read(state_dir).map_err(missing)?;
    let verdict = WasmVerdict::read(state_dir).map_err(|_| Failure::unavailable(WHAT, no_report(&said)))?;
    if live {
        streams::Tail::new(state_dir, "stderr.log").show_new();
    }
    Ok((report, verdict))
}
