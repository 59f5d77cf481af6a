//! `metanode cage`: cages on this machine, without a chain: run one to a level, run it again and compare, read what
//! was recorded.
//!
//! Owns the exit status of `run`: the program's own, 128 + signal for one that was killed, 125 when the cage failed,
//! the time ran out or the level was not reached. The launching is done by `metanode-cage` (native programs) and by
//! `metanode __wasm` (modules), each a process of one thread. Refuses to say of a level that it was reached when a
//! digest says otherwise.

mod check;
mod given;
mod launcher;
mod native;
mod streams;
#[cfg(test)]
mod tests;
mod wasm;
mod witness;

use super::failure::{Doing, Done, Failure};
use super::image::StoreArgs;
use super::output::{Form, line, note, value};
use super::session::Session;
use given::{Net, Source};
pub use launcher::program;
pub(in crate::cli) use launcher::{Scratch, launch};
use metanode_cage::{Report, Verdict};
use metanode_runtime::image::Reference;
use metanode_runtime::levels::{Inputs, Statement};
use metanode_types::level::CageLevel;
use metanode_types::quantity::{parse_bytes, parse_cpu_milli, parse_duration_ms};
use serde_json::{Value, json};
use std::path::PathBuf;
pub(in crate::cli) use wasm::launch_module;

/// Exit status when the cage, not the program, failed.
const CAGE_FAILED: u8 = 125;
/// Exit status of a module that trapped: that of a program that aborted.
const TRAPPED: u8 = 134;

/// Run one cage.
#[derive(clap::Args, Debug)]
pub struct CageArgs {
    #[command(subcommand)]
    command: CageCommand,
}

#[derive(clap::Subcommand, Debug)]
enum CageCommand {
    /// Run a program or a module behind every barrier of this machine, up to a level
    Run(Box<RunArgs>),
    /// Run again what a report is of, and compare
    Verify(Box<check::VerifyArgs>),
    /// Run again from a witness alone, without its inputs or a network, and compare
    Replay(Box<check::ReplayArgs>),
    /// Name the first difference of two witnesses
    Diff(witness::DiffArgs),
    /// Check a witness from end to end and say what it holds
    Inspect(witness::InspectArgs),
}

/// What runs, within which bounds.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit status: that of the program; 128 + signal when it was killed; 125 when the cage failed."
)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(super) struct RunArgs {
    /// Directory that is the root, never written
    #[arg(long, value_name = "DIR", group = "source")]
    rootfs: Option<PathBuf>,
    /// oci:PATH, wasm:PATH or sha256:… of the image store
    #[arg(long, value_name = "REF", group = "source")]
    image: Option<Reference>,
    /// WASM module, binary or text
    #[arg(long, value_name = "FILE", group = "source")]
    wasm: Option<PathBuf>,
    /// Memory
    #[arg(long, default_value = "256Mi", value_name = "SIZE", value_parser = parse_bytes)]
    memory: u64,
    /// CPU
    #[arg(long, default_value = "1", value_name = "CPU", value_parser = parse_cpu_milli)]
    cpu: u32,
    /// Writable space
    #[arg(long, default_value = "64Mi", value_name = "SIZE", value_parser = parse_bytes)]
    storage: u64,
    /// Processes and threads
    #[arg(long, default_value_t = 128, value_name = "N")]
    pids: u32,
    /// Wall-clock bound [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    timeout: Option<u64>,
    /// Environment variable; may be repeated. Nothing is inherited
    #[arg(long, value_name = "K=V", value_parser = super::deploy::secrets::parse)]
    env: Vec<metanode_types::workload::EnvVar>,
    /// Level that the run must reach: contained, pinned, reproduced (run twice) or replayed (run again from its
    /// witness alone)
    #[arg(long, default_value = "contained", value_name = "LEVEL")]
    level: CageLevel,
    /// Key of all randomness, at pinned and above
    #[arg(long, default_value = "0", value_name = "HEX", value_parser = given::parse_seed)]
    seed: String,
    /// File that the program reads as standard input, - for our own [default: empty]
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Connections outside: none, or record:HOST:PORT,… to these, recorded
    #[arg(long, default_value = "none", value_name = "NET", value_parser = given::parse_net)]
    net: Net,
    /// Write the witness, which holds every input and every trapped call, to this file
    #[arg(long, value_name = "FILE")]
    witness: Option<PathBuf>,
    /// Bytes that the witness may take; beyond them the run cannot be replayed
    #[arg(long, default_value = "64Mi", value_name = "SIZE", value_parser = parse_bytes)]
    witness_limit: u64,
    /// Write the cage report to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// Program and arguments; for an image, arguments in place of its own
    #[arg(last = true, value_name = "PROG ARGS")]
    args: Vec<String>,
}

/// A cage that has ended.
pub(super) struct Ended {
    report: Report,
    inputs: Inputs,
    /// What a module came to.
    module: Option<Value>,
    /// Exit status, or why there is none.
    outcome: Result<u8, String>,
}

impl Ended {
    /// The level reached, if a statement about the program can be made.
    fn level(&self) -> Option<CageLevel> {
        let level = self.report.level.parse().ok()?;
        let says_something = level == CageLevel::Contained || self.report.verdict == Verdict::Completed;
        says_something.then_some(level)
    }
}

/// Carries the command out.
pub fn run(session: &Session, args: CageArgs) -> Done<u8> {
    match args.command {
        CageCommand::Run(args) => cage(session, &args).map_err(|failure| match failure.code {
            super::failure::Code::Usage => failure,
            _ => failure.status(CAGE_FAILED),
        }),
        CageCommand::Verify(args) => check::verify(session, &args).map(|()| 0),
        CageCommand::Replay(args) => check::replay(session, &args).map(|()| 0),
        CageCommand::Diff(args) => witness::diff(session, &args).map(|()| 0),
        CageCommand::Inspect(args) => witness::inspect(session, &args).map(|()| 0),
    }
}

fn cage(session: &Session, args: &RunArgs) -> Done<u8> {
    let scratch = Scratch::create()?;
    let live = session.form == Form::Text;
    let ended = match given::source(args)? {
        Source::Module(path) => wasm::run(args, &path, &scratch, live)?,
        Source::Root(parts) => native::run(args, parts, &scratch, live)?,
    };
    let mut answer = answer(args, &ended)?;
    if live {
        notes(args, &ended.report);
    }
    conclude(args, &ended).map_err(|failure| failure.details(answer.clone()))?;
    if !live {
        answer["stdout"] = json!(streams::kept(&scratch.state_dir(), "stdout.log"));
        answer["stderr"] = json!(streams::kept(&scratch.state_dir(), "stderr.log"));
        line(answer.to_string());
    }
    Ok(ended.outcome.unwrap_or(CAGE_FAILED))
}

/// The report, in the file that was asked for too.
fn answer(args: &RunArgs, ended: &Ended) -> Done<Value> {
    let statement =
        Statement { report: ended.report.clone(), asked: args.level, inputs: ended.inputs.clone() };
    let mut answer = value(&statement);
    if let Some(module) = &ended.module {
        answer["module"] = module.clone();
    }
    if let Ok(status) = &ended.outcome {
        answer["status"] = json!(status);
    }
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&answer).expect("a report has only string keys");
        std::fs::write(file, format!("{text}\n")).usage(format!("write {}", file.display()))?;
    }
    Ok(answer)
}

/// What a person should know beside the output, on standard error.
fn notes(args: &RunArgs, report: &Report) {
    for weaker in &report.weaker {
        note(format!("note: weaker than asked: {weaker}"));
    }
    for reason in &report.downgraded {
        note(format!("note: downgraded: {reason}"));
    }
    if args.level > CageLevel::Contained {
        let seed = report.seed.as_deref().unwrap_or("unavailable");
        let trace = report.trace_hash.as_deref().unwrap_or("unavailable");
        note(format!("note: level {}, seed {seed}, trace {trace}", report.level));
    }
}

/// Whether the run is what was asked for.
fn conclude(args: &RunArgs, ended: &Ended) -> Done {
    let what = "run the cage";
    if let Err(why) = &ended.outcome {
        return Err(Failure::failed(what, why).next("metanode security audit shows what this machine offers"));
    }
    if ended.level().is_some_and(|reached| reached >= args.level) {
        return Ok(());
    }
    let why = match ended.report.downgraded.as_slice() {
        [] => format!("the run did not reach the level {}", args.level),
        reasons => format!("the run did not reach the level {}: {}", args.level, reasons.join("; ")),
    };
    Err(Failure::failed(what, why))
}
