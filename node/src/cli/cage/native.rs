//! A program in a cage, taken to its level.

use super::given::{self, CageParts};
use super::launcher::{STREAMS, Scratch, launch};
use super::{Ended, RunArgs};
use crate::cli::failure::{Done, Failure};
use metanode_cage::{CageSpec, Exit, Limits, Report, Root, Verdict};
use metanode_runtime::levels::{Inputs, NativeInputs, Run, reach};
use metanode_types::level::CageLevel;

/// Said of every run that had a directory of this machine as its root.
const LOCAL_ROOT: &str = "the root is a directory of this machine: the run cannot be verified elsewhere";

pub(super) fn run(args: &RunArgs, parts: CageParts, scratch: &Scratch, live: bool) -> Done<Ended> {
    let mut spec = specification(args, parts, scratch)?;
    let mut stdin = None;
    if let Some(file) = &args.stdin {
        if args.level == CageLevel::Contained {
            spec.stdin = Some(given::absolute(file)?); // it may be endless: read as it comes
        } else {
            let (copy, what) = given::stdin(file, args.memory, scratch)?;
            (spec.stdin, stdin) = (Some(copy), Some(what));
        }
    }
    let inputs = Inputs::Native(NativeInputs::of(&spec, stdin));
    let mut report = reach(&spec, args.level, scratch.path(), &mut |spec, run| -> Done<Report> {
        let shown = if live && run == Run::First { STREAMS } else { &[] };
        launch(spec, scratch, shown)
    })?;
    if spec.image.is_empty() && !report.weaker.iter().any(|line| line.contains("verified elsewhere")) {
        report.weaker.push(LOCAL_ROOT.to_owned());
    }
    let outcome = outcome(&report, args.level);
    Ok(Ended { report, inputs, module: None, outcome })
}

fn specification(args: &RunArgs, parts: CageParts, scratch: &Scratch) -> Done<CageSpec> {
    let witness = args.witness.as_deref().map(given::absolute).transpose()?;
    let pinned_only = [("--witness", witness.is_some()), ("--net", !args.net.0.is_empty())];
    if args.level == CageLevel::Contained
        && let Some((flag, _)) = pinned_only.iter().find(|(_, given)| *given)
    {
        let why = "a contained run is not recorded";
        return Err(Failure::usage(format!("honour {flag}"), why).next("--level pinned or higher"));
    }
    Ok(CageSpec {
        id: "run".into(),
        state_dir: scratch.state_dir(),
        root: Root::Dir { path: parts.root },
        argv: parts.argv,
        env: given::environment(parts.env, args),
        cwd: parts.cwd,
        hostname: "cage".into(),
        limits: Limits {
            memory_bytes: args.memory,
            cpu_milli: args.cpu.into(),
            pids: args.pids.into(),
            tmpfs_bytes: args.storage,
            wall_ms: args.timeout.unwrap_or(0),
            ..Limits::default()
        },
        seed: args.seed.clone(),
        image: parts.image,
        witness,
        witness_bytes: args.witness_limit,
        net: args.net.0.clone(),
        ..CageSpec::default()
    })
}

/// The exit status, or why there is none. Above `contained` an end that says nothing about the program has none.
fn outcome(report: &Report, asked: CageLevel) -> Result<u8, String> {
    match (&report.verdict, &report.exit) {
        (Verdict::NoVerdict(why), _) if asked > CageLevel::Contained => {
            Err(format!("{why}; level {asked} is not reached"))
        }
        (_, Exit::Code(code)) => Ok((code & 0xff) as u8),
        (_, Exit::Signal(signal)) => Ok((128 + signal) as u8),
        (_, Exit::Oom) => Ok(128 + 9),
        (_, Exit::Timeout) => Err("the wall-clock limit passed".to_owned()),
        (_, Exit::LaunchError(why) | Exit::NoVerdict(why)) => Err(why.clone()),
    }
}
