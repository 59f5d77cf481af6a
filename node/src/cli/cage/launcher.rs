//! The processes that cages run in: where `metanode-cage` is, the directory of a run, and watching one to its end.
//!
//! Owns that nothing is left behind: a launcher that is given up is killed, a directory vanishes.

use super::streams;
use crate::cli::failure::{Doing, Done, Failure};
use metanode_cage::{CageSpec, Report};
use serde_json::Value;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often new output of the cage is looked for.
const POLL: Duration = Duration::from_millis(20);
/// What is shown of a running program.
pub(in crate::cli) const STREAMS: &[&str] = &["stdout.log", "stderr.log"];

/// Runs a native cage to its report, showing the named streams.
pub(in crate::cli) fn launch(spec: &CageSpec, scratch: &Scratch, shown: &[&str]) -> Done<Report> {
    let what = "run the cage";
    spec.validate(true).usage(what)?;
    let file = scratch.write_spec(&crate::cli::output::value(spec))?;
    let mut command = Command::new(program()?);
    command.arg("run").arg("--spec").arg(file);
    let said = supervise(command, scratch, &spec.state_dir, shown)?;
    Report::read(&spec.state_dir).map_err(|_| Failure::unavailable(what, no_report(&said)))
}

/// Why a launcher that left no report failed.
pub(super) fn no_report(said: &str) -> String {
    if said.is_empty() { "the cage left no report and no message".to_owned() } else { said.to_owned() }
}

/// Runs the launcher to its end, showing the named streams as they grow. Returns what it said itself.
pub(super) fn supervise(
    mut command: Command,
    scratch: &Scratch,
    state_dir: &Path,
    shown: &[&str],
) -> Done<String> {
    let what = "run the cage";
    let said = scratch.root.join("launcher.log");
    let log = std::fs::File::create(&said).unavailable(what)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().unavailable(format!("start {}", command.get_program().display()))?;
    let mut child = Running(child);
    let mut tails: Vec<streams::Tail> =
        shown.iter().map(|name| streams::Tail::new(state_dir, name)).collect();
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
pub(in crate::cli) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    pub(in crate::cli) fn create() -> Done<Scratch> {
        let what = "make a directory for the cage";
        let number = crate::keys::random_u64().unavailable(what)?;
        let temporary = std::env::temp_dir().canonicalize().unavailable(what)?;
        let root = temporary.join(format!("metanode-cage-{number:016x}"));
        DirBuilder::new().mode(0o700).create(&root).unavailable(what)?;
        Ok(Scratch { root })
    }
    pub(in crate::cli) fn path(&self) -> &Path {
        &self.root
    }
    pub(in crate::cli) fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }
    pub(super) fn write_spec(&self, spec: &Value) -> Done<PathBuf> {
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
pub(super) fn this_program() -> Done<PathBuf> {
    std::env::current_exe().unavailable("find this program")
}
