//! `metanode cage run`: one cage on this machine, without a chain.
//!
//! Owns the specification that it writes and the exit status: the program's own, 128 + signal for one that was killed,
//! 125 when the cage failed or the time ran out. The launching is done by `metanode-cage` (native programs) and by
//! `metanode __wasm` (modules), each a process of one thread. Refuses the levels that are not built, by name.

mod streams;
mod wasm;

use super::failure::{Doing, Done, Failure};
use super::image::{self, StoreArgs};
use super::output::{Form, line, note, value};
use super::session::Session;
use metanode_cage::{CageSpec, Exit, Limits, Report, Root};
use metanode_runtime::image::Reference;
use metanode_types::level::CageLevel;
use metanode_types::quantity::{parse_bytes, parse_cpu_milli, parse_duration_ms};
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Exit status when the cage, not the program, failed.
const CAGE_FAILED: u8 = 125;
/// Exit status of a module that trapped: that of a program that aborted.
const TRAPPED: u8 = 134;
/// How often new output of the cage is looked for.
const POLL: Duration = Duration::from_millis(20);
/// Where programs are looked for inside a cage when its environment does not say.
// tidy: allow(paths): inside of a cage
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Run one cage.
#[derive(clap::Args, Debug)]
pub struct CageArgs {
    #[command(subcommand)]
    command: CageCommand,
}

#[derive(clap::Subcommand, Debug)]
enum CageCommand {
    /// Run a program or a module behind every barrier of this machine
    Run(Box<RunArgs>),
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
    /// Level that the run must reach: contained; for a module also pinned, reproduced, replayed
    #[arg(long, default_value = "contained", value_name = "LEVEL")]
    level: CageLevel,
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
    /// What a module came to.
    verdict: Option<Value>,
    /// Level reached, if a statement about the program can be made.
    level: Option<CageLevel>,
    /// Exit status, or why there is none.
    outcome: Result<u8, String>,
}

/// Carries the command out.
pub fn run(session: &Session, args: CageArgs) -> Done<u8> {
    let CageCommand::Run(args) = args.command;
    cage(session, &args).map_err(|failure| match failure.code {
        super::failure::Code::Usage => failure,
        _ => failure.status(CAGE_FAILED),
    })
}

fn cage(session: &Session, args: &RunArgs) -> Done<u8> {
    let what = "run the cage";
    let scratch = Scratch::create()?;
    let live = session.form == Form::Text;
    let ended = match source(args)? {
        Source::Module(path) => {
            check_level(args.level, CageLevel::Replayed)?;
            wasm::run(args, &path, &scratch, live)?
        }
        Source::Root { root, argv, env, cwd } => {
            check_level(args.level, CageLevel::Contained)?;
            native(args, CageParts { root, argv, env, cwd }, &scratch, live)?
        }
    };
    let mut answer = value(&ended.report);
    answer["level"] = json!(ended.level);
    if let Some(verdict) = &ended.verdict {
        answer["verdict"] = verdict.clone();
    }
    if let Some(file) = &args.report {
        let text = serde_json::to_string_pretty(&answer).expect("a report has only string keys");
        std::fs::write(file, format!("{text}\n")).usage(format!("write {}", file.display()))?;
    }
    for weaker in ended.report.weaker.iter().filter(|_| live) {
        note(format!("note: weaker than asked: {weaker}"));
    }
    match &ended.outcome {
        Ok(status) => answer["status"] = json!(status),
        Err(why) => {
            let failure =
                Failure::failed(what, why).next("metanode security audit shows what this machine offers");
            return Err(failure.details(answer));
        }
    }
    if ended.level.is_some_and(|reached| reached < args.level) || ended.level.is_none() {
        let why = format!("the run did not reach the level {}", args.level);
        return Err(Failure::failed(what, why).details(answer));
    }
    if !live {
        answer["stdout"] = json!(streams::kept(&scratch.state_dir(), "stdout.log"));
        answer["stderr"] = json!(streams::kept(&scratch.state_dir(), "stderr.log"));
        line(answer.to_string());
    }
    Ok(ended.outcome.unwrap_or(CAGE_FAILED))
}

fn check_level(asked: CageLevel, built: CageLevel) -> Done {
    if asked <= built {
        return Ok(());
    }
    let failure = Failure::usage(
        format!("honour --level {asked}"),
        format!("it is not built for this program; {built} is"),
    );
    Err(failure.next(format!("--level {built}")))
}

/// What is to run.
enum Source {
    Module(PathBuf),
    Root { root: PathBuf, argv: Vec<String>, env: Vec<String>, cwd: String },
}

struct CageParts {
    root: PathBuf,
    argv: Vec<String>,
    env: Vec<String>,
    cwd: String,
}

fn source(args: &RunArgs) -> Done<Source> {
    let what = "prepare the cage";
    if let Some(file) = &args.wasm {
        let store = image::open(&args.store)?;
        return Ok(Source::Module(image::import(&store, &Reference::Wasm { path: file.clone() })?.path));
    }
    if let Some(reference) = &args.image {
        let image = image::import(&image::open(&args.store)?, reference)?;
        if image.rootfs_digest.is_none() {
            return Ok(Source::Module(image.path));
        }
        let config = image.descriptor.config;
        let argv = config.argv(&args.args);
        if argv.is_empty() {
            return Err(Failure::usage(what, "the image names no program").next("give one after --"));
        }
        let root = image.path.canonicalize().unavailable(what)?;
        return Ok(Source::Root { root, argv, env: config.env, cwd: config.workdir });
    }
    let dir = args.rootfs.as_ref().expect("clap requires one of the three");
    if args.args.is_empty() {
        return Err(Failure::usage(what, "no program is named").next("give one after --"));
    }
    let root = dir.canonicalize().usage(format!("use {} as the root", dir.display()))?;
    Ok(Source::Root { root, argv: args.args.clone(), env: Vec::new(), cwd: "/".into() })
}

/// The environment of the image, then that of the command line, and a search path when neither has one.
fn environment(image: Vec<String>, args: &RunArgs) -> Vec<String> {
    let mut env: Vec<String> = image;
    for var in &args.env {
        env.retain(|old| old.split_once('=').is_none_or(|(name, _)| name != var.name));
        env.push(format!("{}={}", var.name, var.value));
    }
    if !env.iter().any(|var| var.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
    env
}

fn native(args: &RunArgs, parts: CageParts, scratch: &Scratch, live: bool) -> Done<Ended> {
    let what = "run the cage";
    let spec = CageSpec {
        id: "run".into(),
        state_dir: scratch.state_dir(),
        root: Root::Dir { path: parts.root },
        argv: parts.argv,
        env: environment(parts.env, args),
        cwd: parts.cwd,
        hostname: "cage".into(),
        stdin: None,
        limits: Limits {
            memory_bytes: args.memory,
            cpu_milli: args.cpu.into(),
            pids: args.pids.into(),
            tmpfs_bytes: args.storage,
            wall_ms: args.timeout.unwrap_or(0),
            ..Limits::default()
        },
        ..CageSpec::default()
    };
    spec.validate(true).usage(what)?;
    let mut command = Command::new(program()?);
    command.arg("run").arg("--spec").arg(scratch.write_spec(&value(&spec))?);
    let said = supervise(command, scratch, live.then_some(&["stdout.log", "stderr.log"][..]))?;
    let report = Report::read(&scratch.state_dir()).map_err(|_| Failure::unavailable(what, said))?;
    let level = report.level.parse().ok();
    let outcome = match &report.exit {
        Exit::Code(code) => Ok(*code as u8),
        Exit::Signal(signal) => Ok((128 + *signal) as u8),
        Exit::Oom => Ok(128 + 9),
        Exit::Timeout => Err("the wall-clock limit passed".to_owned()),
        Exit::LaunchError(why) | Exit::NoVerdict(why) => Err(why.clone()),
    };
    Ok(Ended { report, verdict: None, level, outcome })
}

/// Runs the launcher to its end, showing the named streams as they grow. Returns what it said itself.
fn supervise(mut command: Command, scratch: &Scratch, shown: Option<&[&str]>) -> Done<String> {
    let what = "run the cage";
    let said = scratch.root.join("launcher.log");
    let log = std::fs::File::create(&said).unavailable(what)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().unavailable(format!("start {}", command.get_program().display()))?;
    let mut child = Running(child);
    let mut tails: Vec<streams::Tail> =
        shown.unwrap_or(&[]).iter().map(|name| streams::Tail::new(&scratch.state_dir(), name)).collect();
    loop {
        let ended = child.0.try_wait().unavailable(what)?;
        tails.iter_mut().for_each(streams::Tail::show_new);
        if ended.is_some() {
            break;
        }
        std::thread::sleep(POLL);
    }
    let text = std::fs::read_to_string(&said).unwrap_or_default();
    Ok(text.trim().trim_start_matches("metanode-cage: ").to_owned())
}

/// A launcher that is not left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The program `metanode-cage`: the one that `METANODE_CAGE` names, else beside this one, else in the search path.
pub fn program() -> Done<PathBuf> {
    const NAME: &str = "metanode-cage";
    if let Some(named) = std::env::var_os("METANODE_CAGE") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(NAME)));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&paths).map(|dir| dir.join(NAME)))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::unavailable("find metanode-cage", "it is neither beside this program nor in PATH")
            .next("build or install it together with metanode; WASM modules run without it")
    })
}

/// A private directory that vanishes in the end.
pub(super) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    fn create() -> Done<Scratch> {
        let what = "make a directory for the cage";
        let number = crate::keys::random_u64().unavailable(what)?;
        let temporary = std::env::temp_dir().canonicalize().unavailable(what)?;
        let root = temporary.join(format!("metanode-cage-{number:016x}"));
        DirBuilder::new().mode(0o700).create(&root).unavailable(what)?;
        Ok(Scratch { root })
    }
    fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }
    fn write_spec(&self, spec: &Value) -> Done<PathBuf> {
        let path = self.root.join("spec.json");
        std::fs::write(&path, spec.to_string()).unavailable(format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// The path of this program.
fn this_program() -> Done<PathBuf> {
    std::env::current_exe().unavailable("find this program")
}
