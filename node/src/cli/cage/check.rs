//! `metanode cage verify` and `replay`: a run is made again and compared with what a report or a witness says of it.
//!
//! Exit status: 0 equal, 1 something differs (each field by name), 3 not comparable here. Refuses to compare runs of
//! different kinds of machines, and to take an image for another.

use super::launcher::{STREAMS, Scratch, launch};
use super::{given, wasm, witness};
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::image::StoreArgs;
use crate::cli::output::{Form, line, note, value};
use crate::cli::session::Session;
use metanode_cage::witness::Witness;
use metanode_cage::{CAGE_ABI, CageSpec, Report, Verdict, cpu_class, kernel};
use metanode_runtime::image::Reference;
use metanode_runtime::levels::{
    Difference, Inputs, NativeInputs, Statement, Stdin, WasmInputs, comparable, differences,
    first_difference, from_recording, names,
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Where the files of the run come from.
#[derive(clap::Args, Debug)]
struct Files {
    /// Image of the run [default: the one that it names, from the image store]
    #[arg(long, value_name = "REF", conflicts_with = "rootfs")]
    image: Option<Reference>,
    /// Directory that was the root
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// What to verify.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit status: 0 equal, 1 something differs, 3 not comparable on this machine.")]
pub(super) struct VerifyArgs {
    /// Report of `cage run`
    #[arg(value_name = "REPORT")]
    report: PathBuf,
    #[command(flatten)]
    files: Files,
    /// What the run had as standard input
    #[arg(long, value_name = "FILE", conflicts_with = "witness")]
    stdin: Option<PathBuf>,
    /// Witness of the run: its inputs, network included, are taken from there
    #[arg(long, value_name = "FILE")]
    witness: Option<PathBuf>,
}

/// What to replay.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit status: 0 equal, 1 something differs, 3 not comparable on this machine.")]
pub(super) struct ReplayArgs {
    /// Witness of `cage run`
    #[arg(value_name = "WITNESS")]
    witness: PathBuf,
    #[command(flatten)]
    files: Files,
}

impl Files {
    /// The root or the module of a run of `image`, hashed again when it comes from the store.
    fn find(&self, image: &str) -> Done<PathBuf> {
        let what = "find the files of the run";
        if let Some(dir) = &self.rootfs {
            return given::directory(dir);
        }
        let reference = match &self.image {
            Some(reference) => reference.clone(),
            None if image.is_empty() => {
                let why = "it ran on a directory of the machine that it was made on";
                return Err(Failure::usage(what, why).next("pass --rootfs DIR"));
            }
            None => image.parse().usage(what)?,
        };
        let found = given::find(&self.store, &reference, true).map_err(|failure| match &self.image {
            None => Failure { code: crate::cli::failure::Code::Unavailable, ..failure }
                .next("import it, or pass --image REF"),
            Some(_) => failure,
        });
        let found = found?;
        let digest = found.descriptor.digest.to_string();
        if digest != image {
            let why = format!("the image is {digest}, the run was of {image:?}");
            return Err(Failure::failed(what, why).details(json!({ "verified": false, "failed": ["image"] })));
        }
        found.path.canonicalize().unavailable(what)
    }
}

fn not_comparable(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::unavailable(what, format!("not comparable: {why}"))
        .details(json!({ "verified": false, "comparable": false }))
}

/// Runs again what a report is of.
pub(super) fn verify(session: &Session, args: &VerifyArgs) -> Done {
    let what = format!("verify {}", args.report.display());
    let statement = Statement::read(&args.report).usage(&*what)?;
    let scratch = Scratch::create()?;
    let found = match &statement.inputs {
        Inputs::Native(inputs) => native(&what, &statement.report, inputs, args, &scratch)?,
        Inputs::Wasm(inputs) => module(&what, &statement.report, inputs, args, &scratch)?,
    };
    let differ = differences(&statement.report, &found);
    let first = match &args.witness {
        Some(file) if !differ.is_empty() => Some(first_difference(file, &again_file(&scratch))),
        _ => None,
    };
    conclude(session, &what, &found, &differ, first, line)
}

fn again_file(scratch: &Scratch) -> PathBuf {
    scratch.path().join("witness.again")
}

fn native(
    what: &str,
    report: &Report,
    inputs: &NativeInputs,
    args: &VerifyArgs,
    scratch: &Scratch,
) -> Done<Report> {
    comparable(report, &cpu_class(), &kernel()).map_err(|why| not_comparable(what, why))?;
    same_abi(what, inputs.cage_abi)?;
    let root = args.files.find(&inputs.image)?;
    let mut spec = inputs.spec(root, scratch.state_dir());
    match &args.witness {
        Some(file) => {
            let file = given::absolute(file)?;
            let root = witness::open(&file)?.witness_root();
            if report.witness_root.as_ref() != Some(&root) {
                let why = format!("the witness has root {root}, the report names another");
                let details = json!({ "verified": false, "failed": ["witness_root"] });
                return Err(Failure::failed(what, why).details(details));
            }
            spec.replay = Some(file);
            spec.witness = Some(again_file(scratch));
        }
        None if !inputs.net.is_empty() => {
            return Err(not_comparable(
                what,
                "the run had a network; pass --witness FILE, which holds its part",
            ));
        }
        None => spec.stdin = stdin(what, inputs.stdin.as_ref(), spec.limits.memory_bytes, args, scratch)?,
    }
    launch(&spec, scratch, &[])
}

fn same_abi(what: &str, recorded: u32) -> Done {
    if recorded == CAGE_ABI {
        return Ok(());
    }
    Err(not_comparable(what, format!("it ran under version {recorded} of the cage, here is {CAGE_ABI}")))
}

/// The file that is standard input: given again, and the same.
fn stdin(
    what: &str,
    recorded: Option<&Stdin>,
    bound: u64,
    args: &VerifyArgs,
    scratch: &Scratch,
) -> Done<Option<PathBuf>> {
    let given = args.stdin.as_deref().map(|file| given::stdin(file, bound, scratch)).transpose()?;
    match (recorded, given) {
        (None, None) => Ok(None),
        (Some(recorded), Some((copy, given))) if *recorded == given => Ok(Some(copy)),
        (Some(recorded), None) => {
            let why = format!("the run had standard input ({} bytes, {})", recorded.bytes, recorded.digest);
            Err(not_comparable(what, why).next("pass --stdin FILE or --witness FILE"))
        }
        (_, Some((_, given))) => {
            let why = format!("standard input is another one: {} bytes, {}", given.bytes, given.digest);
            Err(Failure::failed(what, why).details(json!({ "verified": false, "failed": ["stdin"] })))
        }
    }
}

fn module(
    what: &str,
    report: &Report,
    inputs: &WasmInputs,
    args: &VerifyArgs,
    scratch: &Scratch,
) -> Done<Report> {
    // No processor matters to a module, only the compiler and its settings.
    comparable(report, &report.cpu_class, &report.kernel).map_err(|why| not_comparable(what, why))?;
    let here = metanode_runtime::wasm::CAGE_ABI;
    if inputs.cage_abi != here {
        return Err(not_comparable(
            what,
            format!("it ran under rules {:?}, here is {here:?}", inputs.cage_abi),
        ));
    }
    let file = args.files.find(&inputs.spec.module.to_string())?;
    let bound = inputs.spec.limits.memory_bytes;
    let stdin = match &args.witness {
        None => stdin(what, inputs.stdin.as_ref(), bound, args, scratch)?,
        Some(_) => {
            let why = "a module's inputs are given again with --stdin; --witness serves native programs";
            return Err(Failure::usage(what, why).next("metanode cage replay WITNESS"));
        }
    };
    wasm::again(inputs, &file, stdin, scratch)
}

/// Runs again what a witness is of, from the witness alone.
pub(super) fn replay(session: &Session, args: &ReplayArgs) -> Done {
    let what = format!("replay {}", args.witness.display());
    let file = given::absolute(&args.witness)?;
    let recorded = witness::open(&file)?;
    if recorded.truncated() {
        return Err(not_comparable(&what, "the witness reached its limit and lacks inputs"));
    }
    let scratch = Scratch::create()?;
    let live = session.form == Form::Text;
    let found = if witness::is_module(&recorded) {
        let module = recorded.header().image.trim_start_matches("wasm:").to_owned();
        let module = args.files.find(&module)?;
        wasm::replay(&file, &module, &scratch, live)?
    } else {
        let spec = native_replay(&what, &recorded, &file, args, &scratch)?;
        launch(&spec, &scratch, if live { STREAMS } else { &[] })?
    };
    let differ = from_recording(&recorded, &found);
    let first = (!differ.is_empty()).then(|| first_difference(&file, &again_file(&scratch)));
    // Standard output is the program's.
    conclude(session, &what, &found, &differ, first, note)
}

fn native_replay(
    what: &str,
    recorded: &Witness,
    file: &Path,
    args: &ReplayArgs,
    scratch: &Scratch,
) -> Done<CageSpec> {
    let inputs = NativeInputs::from_witness(recorded).usage(what)?;
    same_abi(what, inputs.cage_abi)?;
    let (there, here) = (&recorded.header().cpu_class, cpu_class());
    if *there != here {
        return Err(not_comparable(what, format!("it ran on processors of class {there}, here is {here}")));
    }
    let (there, here) = (&recorded.header().kernel, kernel());
    if *there != here {
        return Err(not_comparable(what, format!("it ran on kernel {there:?}, here is {here:?}")));
    }
    let root = args.files.find(&inputs.image)?;
    let mut spec = inputs.spec(root, scratch.state_dir());
    spec.replay = Some(file.to_owned());
    spec.witness = Some(again_file(scratch));
    Ok(spec)
}

fn conclude(
    session: &Session,
    what: &str,
    found: &Report,
    differ: &[Difference],
    first: Option<String>,
    say: fn(String),
) -> Done {
    if let Verdict::NoVerdict(why) = &found.verdict {
        return Err(not_comparable(what, format!("the run here has no verdict: {why}")));
    }
    let failed: Vec<&str> = differ.iter().map(|one| one.field).collect();
    let answer = json!({
        "verified": differ.is_empty(),
        "comparable": true,
        "failed": failed,
        "differences": differ,
        "first_difference": first,
        "report": value(found),
    });
    if differ.is_empty() {
        let trace = found.trace_hash.as_deref().unwrap_or("unavailable");
        if session.form == Form::Json {
            line(answer.to_string());
        } else {
            say(format!(
                "verified: every digest is the same; trace {trace} over {} calls",
                found.trace_events
            ));
        }
        return Ok(());
    }
    if session.form == Form::Text {
        differ.iter().for_each(|one| say(format!("differs: {one}")));
        first.iter().for_each(|text| say(format!("first difference: {text}")));
    }
    Err(Failure::failed(what, format!("{} differ", names(differ))).details(answer))
}
