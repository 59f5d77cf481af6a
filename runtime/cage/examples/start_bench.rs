//! How long a cage takes from the command line to the program's end, beside bubblewrap, interleaved.
//!
//! Owns one measurement: `metanode-cage run` against `bwrap --unshare-all` with the same static program in
//! the same root, one of each in turn, so that whatever else the machine does hits both. The program inside
//! the cage asserts from within the timed run that it has no capabilities, no new privileges, a seccomp
//! filter, its own pid namespace and nothing but loopback; a cage that skipped a wall fails the bench instead
//! of winning it. bubblewrap runs the same program without the assertions that it cannot meet (it installs no
//! filter). Needs a C compiler for the program.
//!
//! Usage: `start_bench [RUNS] [METANODE_CAGE]`, as root or not.

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

    let (mut ours, mut theirs, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs + 3 {
        let a = timed(Command::new(&cage).args(["run", "--spec"]).arg(&spec));
        let b = timed(
            Command::new("bwrap")
                .args(["--unshare-all", "--die-with-parent", "--ro-bind"])
                .arg(&root)
                .args(["/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/t"]),
        );
        let c = timed(&mut Command::new(root.join("bin/t")));
        if run >= 3 {
            // the first ones fill caches and the pool
            ours.push(a);
            theirs.push(b);
            plain.push(c);
        }
    }
    std::fs::remove_dir_all(&dir).expect("clean up");
    report("metanode-cage run", &mut ours);
    report("bwrap --unshare-all", &mut theirs);
    report("plain fork and exec", &mut plain);
    println!(
        "median ratio metanode-cage / bwrap: {:.2} over {runs} runs",
        median(&mut ours) / median(&mut theirs)
    );
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

fn timed(command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status().expect("the command starts");
    let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
    assert!(status.success(), "{command:?} ended with {status}");
    elapsed
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn report(name: &str, times: &mut [f64]) {
    let middle = median(times);
    println!(
        "{name:>20}: min {:7.2} ms  median {middle:7.2} ms  max {:7.2} ms",
        times[0],
        times[times.len() - 1]
    );
}
