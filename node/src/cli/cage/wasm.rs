//! A module in a cage of its own: the job that `metanode __wasm` reads, and what came of it.
//!
//! Standard error is shown at the end rather than as it grows, because the verdict travels through it.

use super::{Ended, RunArgs, Scratch, TRAPPED, streams, supervise, this_program};
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::output::value;
use metanode_cage::{Limits, Report};
use metanode_runtime::wasm::{End, WITNESS_BYTES, WasmJob, WasmLimits, WasmSpec, WasmVerdict};
use metanode_types::ids::ContentDigest;
use metanode_types::level::CageLevel;
use std::path::Path;
use std::process::Command;

pub(super) fn run(args: &RunArgs, module: &Path, scratch: &Scratch, live: bool) -> Done<Ended> {
    let what = "run the module";
    let bytes = std::fs::read(module).unavailable(what)?;
    let mut argv = vec!["module".to_owned()];
    argv.extend(args.args.iter().cloned());
    let job = WasmJob {
        id: "run".into(),
        state_dir: scratch.state_dir(),
        module: module.canonicalize().unavailable(what)?,
        stdin: None,
        cpu_milli: args.cpu.into(),
        output_bytes: Limits::default().output_bytes,
        level: args.level.max(CageLevel::Pinned),
        witness: None,
        witness_bytes: WITNESS_BYTES,
        spec: WasmSpec {
            module: ContentDigest(metanode_types::hash::sha256(&bytes)),
            args: argv,
            env: args.env.iter().map(|v| format!("{}={}", v.name, v.value)).collect(),
            seed: [0; 32],
            epoch_ns: 0,
            files: Vec::new(),
            limits: WasmLimits {
                memory_bytes: args.memory,
                files_bytes: args.storage,
                wall_ms: args.timeout.unwrap_or(0),
                ..WasmLimits::default()
            },
        },
    };
    let mut command = Command::new(this_program()?);
    command.arg(crate::cli::wasm::COMMAND).arg("--spec").arg(scratch.write_spec(&value(&job))?);
    let said = supervise(command, scratch, live.then_some(&["stdout.log"][..]))?;
    let report = Report::read(&scratch.state_dir()).map_err(|_| Failure::unavailable(what, &said))?;
    if live {
        streams::Tail::new(&scratch.state_dir(), "stderr.log").show_new();
    }
    let verdict = WasmVerdict::read(&scratch.state_dir()).map_err(|_| Failure::unavailable(what, &said))?;
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
    let level = verdict.level(&report);
    Ok(Ended { report, level, outcome, verdict: Some(value(&verdict)) })
}
