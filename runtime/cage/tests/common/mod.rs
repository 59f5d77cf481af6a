//! What the tests share: a root that only tests have, and a cage run inside private mount and pid namespaces.

#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use metanode_cage::{CageSpec, Level, Limits, Report, Root};
use tempfile::TempDir;

/// The user of rootless runs.
pub const NOBODY: u32 = 65_534;

/// A test's own directory with a root, a state directory and copies of the binaries.
pub struct Bench {
    pub dir: TempDir,
    pub spec: CageSpec,
    rootless: bool,
}

/// What one run gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub message: String,
    pub report: Report,
}

impl Bench {
    pub fn new() -> Self {
        Self::at(Level::Contained, false)
    }

    /// As an ordinary user instead of root.
    pub fn rootless() -> Self {
        Self::at(Level::Contained, true)
    }

    /// At a level, as root or as an ordinary user.
    pub fn at(level: Level, rootless: bool) -> Self {
        let own =
            fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).expect("/proc/self");
        assert_eq!(own, 0, "tests of this tier need root");
        let dir =
            tempfile::Builder::new().prefix("cage-test-").tempdir_in("/tmp").expect("temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let root = dir.path().join("root");
        make_root(&root);
        let cage = dir.path().join("metanode-cage");
        place(env!("CARGO_BIN_EXE_metanode-cage"), &cage);
        let state = dir.path().join("state");
        fs::create_dir(&state).expect("state");
        if rootless {
            chown(&state, Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let limits = Limits { wall_ms: 60_000, ..Limits::default() };
        let spec = CageSpec {
            id: "test".into(),
            state_dir: state.join("cage"),
            root: Root::Dir { path: root },
            argv: Vec::new(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            hostname: "cage".into(),
            stdin: None,
            limits,
            level,
            ..CageSpec::default()
        };
        Self { dir, spec, rootless }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// `metanode-cage` with these arguments, inside namespaces of the test's own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "-f", "--mount-proc", "--propagation", "private", "--kill-child"]);
        if self.rootless {
            let user = format!("--reuid={NOBODY}");
            let group = format!("--regid={NOBODY}");
            command.args(["setpriv", &user, &group, "--clear-groups"]);
        }
        command.arg(self.dir.path().join("metanode-cage")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn write_spec(&self) -> PathBuf {
        let path = self.dir.path().join("spec.json");
        fs::write(&path, serde_json::to_vec(&self.spec).expect("json")).expect("write the spec");
        path
    }

    /// Runs the specification to its end.
    pub fn run(&self) -> Ran {
        let spec = self.write_spec();
        let output =
            self.command(&["run", "--spec", &spec.to_string_lossy()]).output().expect("unshare runs");
        self.collect(&output)
    }

    /// Runs one attempt of the probe.
    pub fn attempt(&mut self, name: &str) -> Ran {
        self.spec.argv = vec!["/bin/probe".into(), name.into()];
        self.run()
    }

    /// Makes several attempts in one cage, each in a process of its own.
    pub fn attempts(&mut self, names: &[&str]) -> Ran {
        self.spec.argv = ["/bin/probe", "try"].iter().chain(names).map(|word| (*word).into()).collect();
        self.run()
    }

    fn collect(&self, output: &Output) -> Ran {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let report =
            Report::read(&self.spec.state_dir).unwrap_or_else(|e| panic!("no report: {e}; {message}"));
        let log = |name: &str| {
            let bytes = fs::read(self.spec.state_dir.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ran {
            code: output.status.code(),
            stdout: log("stdout.log"),
            stderr: log("stderr.log"),
            message,
            report,
        }
    }
}

impl Ran {
    /// The probe's answer; panics when the attempt was not made.
    pub fn answer(&self, name: &str) -> &str {
        let lead = format!("RAN {name}: ");
        let line = self.stdout.lines().find_map(|l| l.strip_prefix(lead.as_str()));
        line.unwrap_or_else(|| {
            panic!(
                "{name} was not tried: {:?} {} {} {:?}",
                self.stdout, self.stderr, self.message, self.report.exit
            )
        })
    }

    /// The number after `key=` on standard error.
    pub fn number(&self, key: &str) -> u64 {
        let found = self.stderr.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
        found.unwrap_or_else(|| panic!("no {key} in {:?}", self.stderr))
    }
}

/// The root: marker, probe, the shared libraries that this very process uses, and files for the file-system
/// tests.
fn make_root(root: &Path) {
    fs::create_dir_all(root.join("bin")).expect("bin");
    fs::write(root.join(".metanode-cage-test-root"), b"").expect("marker");
    let probe = env!("CARGO_BIN_EXE_cage-probe");
    place(probe, &root.join("bin/probe"));
    for library in libraries() {
        let target = root.join(library.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(target.parent().expect("has a parent")).expect("lib");
        fs::copy(&library, &target).expect("copy a library");
    }
    fs::create_dir_all(root.join("lib64")).expect("lib64");
    fs::copy("/lib64/ld-linux-x86-64.so.2", root.join("lib64/ld-linux-x86-64.so.2")).expect("loader");
    fs::write(root.join("from-image"), b"original").expect("file");
    fs::write(root.join("deleted-by-the-cage"), b"original").expect("file");
}

/// Puts a program where the test's user can reach it. A link where possible: a copy is open for writing for a
/// moment, and a fork of another test in that moment makes the program "busy".
fn place(program: &str, target: &Path) {
    if fs::hard_link(program, target).is_err() {
        fs::copy(program, target).expect("copy a program");
    }
}

/// Shared libraries mapped into this process: the probe, built by the same compiler, needs no others.
fn libraries() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let paths = maps.lines().filter_map(|l| l.split_whitespace().nth(5));
    let mut found: Vec<PathBuf> = paths.filter(|p| p.contains(".so")).map(PathBuf::from).collect();
    found.sort();
    found.dedup();
    // The loader looks where the libraries were found: /usr/lib here may be reached as /lib there.
    let short = found.iter().filter_map(|p| p.strip_prefix("/usr").ok()).map(|p| Path::new("/").join(p));
    let both: Vec<PathBuf> = found.iter().cloned().chain(short).filter(|p| p.exists()).collect();
    both
}
