//! How long a cage takes from the command line to the program's end, beside its peers, interleaved.
//!
//! Owns one measurement: `metanode-cage run` against `bwrap --unshare-all` and `runc run` with the same
//! static program in the same root, one of each in turn, so that whatever else the machine does hits all. The
//! program inside the cage asserts from within the timed run that it has no capabilities, no new privileges, a
//! seccomp filter, its own pid namespace and nothing but loopback; a cage that skipped a wall fails the bench
//! instead of winning it. The peers run the same program without the assertions that they cannot meet (bubblewrap
//! installs no filter). A peer that is not installed, or does not work here, is said to be unavailable.
//! Needs a C compiler for the program.
//!
//! Usage: `start_bench [RUNS] [METANODE_CAGE]`, as root or not. It prints the targets beside what it measured;
//! its exit status is 1 when one was missed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The program: with an argument it checks the walls, without one it returns at once.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static char text[8192];
static int load(const char *path) {
    int fd = open(path, O_RDONLY), n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n >= 0) text[n] = 0;
    if (fd >= 0) close(fd);
    return n;
}
int main(int argc, char **argv) {
    if (argc < 2) return 0;
    if (getpid() != 2) return 10;
    if (load("/proc/self/status") < 0) return 11;
    if (!strstr(text, "CapBnd:\t0000000000000000")) return 12;
    if (!strstr(text, "NoNewPrivs:\t1")) return 13;
    if (!strstr(text, "Seccomp:\t2")) return 14;
    if (syscall(SYS_unshare, 0x10000000) != -1) return 15;
    if (syscall(SYS_fsopen, "tmpfs", 0) != -1) return 16;
    if (open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0) return 17;
    if (load("/proc/net/dev") < 0 || strstr(text, "eth")) return 18;
    for (int fd = 3; fd < 64; fd++) if (fcntl(fd, F_GETFD) >= 0) return 19;
    return 0;
}
"#;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runs: usize = arguments.next().map_or(50, |n| n.parse().expect("a number of runs"));
    let cage = arguments.next().map_or_else(|| sibling("metanode-cage"), PathBuf::from);
    let dir = std::env::temp_dir().join(format!("start-bench-{}", std::process::id()));
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("bin")).expect("make the root");
    for name in ["proc", "dev", "tmp"] {
        std::fs::create_dir_all(root.join(name)).expect("make the root");
    }
    compile(&dir, &root.join("bin/t"));
    let spec = dir.join("spec.json");
    let text = format!(
        r#"{{"id":"bench","state_dir":{:?},"root":{{"dir":{{"path":{:?}}}}},"argv":["/bin/t","check"]}}"#,
        dir.join("state"),
        root
    );
    std::fs::write(&spec, text).expect("write the specification");

    let mut rows = vec![
        Row::new("metanode-cage run", command(&cage, &[&"run", &"--spec", &spec])),
        Row::new("plain fork and exec", Command::new(root.join("bin/t"))),
    ];
    let mut targets = Vec::new();
    for (row, target) in peers(&dir, &root) {
        targets.push((rows.len(), target));
        rows.push(row);
    }
    measure(&mut rows, runs);
    std::fs::remove_dir_all(&dir).expect("clean up");
    rows.iter_mut().for_each(Row::report);
    let ours = rows[0].median();
    let mut missed = false;
    for (index, target) in targets {
        let ratio = ours / rows[index].median();
        let outcome = if ratio <= target { "met" } else { "missed" };
        println!(
            "median ratio metanode-cage / {}: {ratio:.2} over {runs} runs, target {target}: {outcome}",
            rows[index].name
        );
        missed |= ratio > target;
    }
    std::process::exit(i32::from(missed));
}

/// The peers that work here, and how much of their time a cage may take.
fn peers(dir: &Path, root: &Path) -> Vec<(Row, f64)> {
    let mut bwrap = Command::new("bwrap");
    bwrap.args(["--unshare-all", "--die-with-parent", "--ro-bind"]).arg(root);
    bwrap.args(["/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/t"]);
    let name = format!("start-bench-{}", std::process::id());
    let runc = runc_bundle(dir, root)
        .map(|bundle| command(Path::new("runc"), &[&"run", &"--bundle", &bundle, &name]));
    let mut found = Vec::new();
    for (name, command, target) in [("bwrap --unshare-all", Some(bwrap), 0.8), ("runc run", runc, 0.2)] {
        let mut row = command.map(|command| Row::new(name, command));
        // The first run fills caches, and shows whether there is a peer at all.
        if row.as_mut().and_then(Row::run).is_none() {
            println!("{name:>20}: unavailable");
            continue;
        }
        found.extend(row.map(|row| (row, target)));
    }
    found
}

/// One of each in turn, beginning with another one every time; the first turns fill caches and the pool.
fn measure(rows: &mut [Row], runs: usize) {
    const WARM: usize = 3;
    for turn in 0..runs + WARM {
        for at in 0..rows.len() {
            let row = (at + turn) % rows.len();
            let row = &mut rows[row];
            let elapsed = row.run().unwrap_or_else(|| panic!("{:?} failed", row.command));
            if turn >= WARM {
                row.times.push(elapsed);
            }
        }
    }
}

/// One launcher and what it took.
struct Row {
    name: &'static str,
    command: Command,
    times: Vec<f64>,
}

impl Row {
    fn new(name: &'static str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self { name, command, times: Vec::new() }
    }

    /// Milliseconds of one run; none if it could not be started or failed.
    fn run(&mut self) -> Option<f64> {
        let begin = Instant::now();
        let status = self.command.status().ok()?;
        let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
        status.success().then_some(elapsed)
    }

    fn median(&mut self) -> f64 {
        self.times.sort_by(f64::total_cmp);
        self.times[self.times.len() / 2]
    }

    fn report(&mut self) {
        let middle = self.median();
        let (least, most) = (self.times[0], self.times[self.times.len() - 1]);
        println!("{:>20}: min {least:7.2} ms  median {middle:7.2} ms  max {most:7.2} ms", self.name);
    }
}

fn command(program: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|a| a.as_ref()));
    command
}

/// runc's own default specification, with our root and program; none where runc is not installed.
fn runc_bundle(dir: &Path, root: &Path) -> Option<PathBuf> {
    let bundle = dir.join("bundle");
    std::fs::create_dir(&bundle).ok()?;
    let made = Command::new("runc").arg("spec").current_dir(&bundle).status();
    made.ok().filter(std::process::ExitStatus::success)?;
    let file = bundle.join("config.json");
    let text = std::fs::read_to_string(&file).ok()?;
    let mut config: serde_json::Value = serde_json::from_str(&text).ok()?;
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = vec!["/bin/t"].into();
    config["root"]["path"] = root.to_str()?.into();
    std::fs::write(&file, config.to_string()).ok()?;
    Some(bundle)
}

fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let target = own.parent().and_then(Path::parent).expect("target/PROFILE/examples/start_bench");
    target.join(name)
}

fn compile(dir: &Path, program: &Path) {
    let source = dir.join("t.c");
    std::fs::write(&source, PROGRAM).expect("write the program");
    let status = Command::new("cc").args(["-static", "-O1", "-o"]).arg(program).arg(&source).status();
    assert!(status.is_ok_and(|s| s.success()), "a C compiler and a static C library are needed");
}
