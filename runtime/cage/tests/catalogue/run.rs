//! One run of one program of the catalogue: this machine's files as the root, private namespaces around the cage.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use metanode_cage::{CageSpec, Level, Limits, Report, Root, Verdict};
use tempfile::TempDir;

use super::Program;

/// Every script begins in an empty directory that the output digest covers.
const PRELUDE: &str = "mkdir /out && cd /out || exit 99\n";
/// Where programs are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/games";

/// Where runs are made.
pub struct Bench {
    dir: TempDir,
    cage: PathBuf,
    wall_ms: u64,
}

/// What one run gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The report, or why there is none.
    pub report: Result<Report, String>,
    pub stdout: String,
    pub stderr: String,
    /// From the command line to its end.
    pub wall: Duration,
}

impl Bench {
    /// Runs are made with this `metanode-cage`, and killed after `wall_ms`.
    pub fn new(cage: &Path, wall_ms: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("cage-programs-").tempdir_in("/tmp").expect("a directory");
        Self { dir, cage: cage.to_owned(), wall_ms }
    }

    /// The directory of the bench.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn spec(&self, argv: Vec<String>, level: Level, seed: u8) -> CageSpec {
        CageSpec {
            id: "program".into(),
            state_dir: self.dir.path().join("cage"),
            root: Root::Dir { path: "/".into() },
            argv,
            env: vec![format!("PATH={PATH}"), "HOME=/tmp".into(), "LANG=C.UTF-8".into()],
            limits: Limits {
                memory_bytes: 2 << 30,
                pids: 512,
                tmpfs_bytes: 512 << 20,
                tmpfs_inodes: 65_536,
                wall_ms: self.wall_ms,
                ..Limits::default()
            },
            level,
            seed: format!("{seed:02x}").repeat(32),
            ..CageSpec::default()
        }
    }

    /// Runs a script of the catalogue.
    pub fn run(&self, program: &Program, level: Level, seed: u8) -> Ran {
        let script = format!("{PRELUDE}{}", program.script);
        self.run_argv(vec!["sh".into(), "-c".into(), script], level, seed)
    }

    /// Runs a command line.
    pub fn run_argv(&self, argv: Vec<String>, level: Level, seed: u8) -> Ran {
        self.run_spec(&self.spec(argv, level, seed))
    }

    /// Runs a specification that [`Bench::adjusted`] made.
    pub fn run_spec(&self, spec: &CageSpec) -> Ran {
        let _ = std::fs::remove_dir_all(&spec.state_dir); // absent before the first run
        let file = self.dir.path().join("spec.json");
        std::fs::write(&file, serde_json::to_vec(spec).expect("json")).expect("write the specification");
        let begin = Instant::now();
        let output = Command::new("unshare")
            .args(["-m", "-p", "-f", "--mount-proc", "--propagation", "private", "--kill-child"])
            .arg(&self.cage)
            .args(["run", "--spec"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .expect("unshare runs");
        let wall = begin.elapsed();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = Report::read(&spec.state_dir).map_err(|e| format!("no report: {e}; {message}"));
        let log = |name: &str| {
            let bytes = std::fs::read(spec.state_dir.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ran { report, stdout: log("stdout.log"), stderr: log("stderr.log"), wall }
    }

    /// The specification of a command line, to be changed before it is run.
    pub fn adjusted(&self, argv: &[&str], change: impl FnOnce(&mut CageSpec)) -> CageSpec {
        let mut spec = self.spec(argv.iter().map(|word| (*word).to_owned()).collect(), Level::Pinned, 0);
        change(&mut spec);
        spec
    }
}

impl Ran {
    /// What must be the same in every run: exit, both streams, output tree, trace; or why it means nothing.
    pub fn essence(&self) -> Result<[String; 5], String> {
        let report = self.report.as_ref().map_err(Clone::clone)?;
        if let Verdict::NoVerdict(why) = &report.verdict {
            return Err(why.clone());
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".into());
        Ok([
            format!("{:?}", report.exit),
            report.stdout_digest.clone(),
            report.stderr_digest.clone(),
            text(&report.output_digest),
            text(&report.trace_hash),
        ])
    }

    /// Whether the program did what it should: it said its word and ended well.
    pub fn did(&self, program: &Program) -> Result<(), String> {
        let essence = self.essence()?;
        if essence[0] != "Code(0)" || !self.stdout.contains(program.says) {
            let tail = |text: &str| text.lines().rev().take(3).collect::<Vec<_>>().join(" < ");
            return Err(format!("{}: {} / {}", essence[0], tail(&self.stdout), tail(&self.stderr)));
        }
        Ok(())
    }
}

/// What is missing for a program, if anything.
pub fn missing(program: &Program) -> Option<&'static str> {
    let there = |command: &str| PATH.split(':').any(|dir| Path::new(dir).join(command).exists());
    program.needs.iter().copied().find(|command| !there(command))
}

/// Processes that never stop computing, one and a half for every processor.
pub struct Load(Vec<Child>);

impl Load {
    pub fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let burn = || Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        Self((0..processors + processors / 2).map(|_| burn().expect("sh")).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill(); // it may have been killed already
            let _ = child.wait();
        }
    }
}
