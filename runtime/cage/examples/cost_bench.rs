//! What `contained` and `pinned` cost against the same program run natively.
//!
//! Owns one measurement: medians of wall time, native and caged in turn, so that whatever else the machine does hits
//! both. `contained` is measured inside a running cage, by the program itself; `pinned`, whose clock is logical, from
//! outside: from the command line to its end, start and report of the cage included, and beside that with the time of
//! an empty pinned cage and an empty native process taken off. Needs root, a C compiler, python3 and sqlite3.
//!
//! Usage: `cost_bench [ROUNDS] [METANODE_CAGE]`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Prints the nanoseconds that each of three things took.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static unsigned compute(unsigned n) {
    unsigned x = 1;
    for (unsigned i = 0; i < n; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
    return x;
}
int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "cpu")) { printf("%u\n", compute(300000000)); return 0; }
    if (argc > 1) return 0;
    long long begin = now();
    unsigned x = compute(30000000);
    long long cpu = now() - begin;
    int fd = open("/dev/zero", O_RDONLY);
    char byte[8];
    begin = now();
    for (int i = 0; i < 200000; i++) if (read(fd, byte, 1) != 1 || lseek(fd, 0, SEEK_CUR) != 0) return 2;
    long long calls = now() - begin;
    begin = now();
    for (int i = 0; i < 3; i++) {
        pid_t p = fork();
        if (!p) { dup2(open("/dev/null", O_WRONLY), 1); execlp("ls", "ls", "-la", "/usr/bin", (char *)0); _exit(127); }
        int status;
        if (waitpid(p, &status, 0) != p || status) return 3;
    }
    printf("%lld %lld %lld %u\n", cpu, calls, now() - begin, x);
    return 0;
}
"#;
const SQLITE: &str = "d=$(mktemp -d); cd $d; (echo 'create table t(a,b);'; for i in $(seq 200); do echo \
    'insert into t values(1, 2);'; done) > s; sqlite3 d.db < s; rm -r $d";
const SPAWNS: &str = "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done";
const INSIDE: [(&str, f64); 3] =
    [("CPU-bound", 1.02), ("system calls, no path lookup", 1.05), ("ls -la /usr/bin", 1.4)];

struct Bench {
    dir: PathBuf,
    cage: PathBuf,
}

impl Bench {
    fn command(&self, level: &str, argv: &[&str]) -> Command {
        if level == "native" {
            let mut command = Command::new(argv[0]);
            command.args(&argv[1..]);
            return command;
        }
        let spec = self.dir.join("spec.json");
        let mut value = serde_json::json!({
            "id": "bench", "state_dir": self.dir.join("state"), "root": {"dir": {"path": "/"}}, "argv": argv,
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"], "level": level,
        });
        value["limits"] = serde_json::json!({"memory_bytes": 1u64 << 30, "cpu_milli": 2000});
        std::fs::write(&spec, value.to_string()).expect("write the specification");
        let mut command = Command::new(&self.cage);
        command.args(["run", "--spec"]).arg(&spec);
        command
    }

    /// What the program measured itself.
    fn inside(&self, level: &str) -> Vec<f64> {
        let program = self.dir.join("t");
        let program = program.to_str().expect("a plain path");
        // The cage's /tmp is its own, so that the program comes by its place in the root.
        let output =
            self.command(level, &[program]).stdin(Stdio::null()).output().expect("the command starts");
        assert!(output.status.success(), "{level}: {output:?}");
        let said = if level == "native" {
            output.stdout
        } else {
            std::fs::read(self.dir.join("state/stdout.log")).expect("its output")
        };
        let text = String::from_utf8_lossy(&said).into_owned();
        text.split_whitespace().take(3).map(|n| n.parse::<f64>().expect("a number") / 1e6).collect()
    }

    /// Milliseconds from the command line to the end.
    fn outside(&self, level: &str, argv: &[&str]) -> f64 {
        let mut command = self.command(level, argv);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        let status = command.status().expect("the command starts");
        let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
        assert!(status.success(), "{level} {argv:?}: {status}");
        elapsed
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(15, |n| n.parse().expect("a number of rounds"));
    let cage = arguments.next().map_or_else(|| sibling("metanode-cage"), PathBuf::from);
    let dir = PathBuf::from(format!("/var/tmp/cost-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let bench = Bench { dir, cage };
    compile(&bench.dir);
    contained(&bench, rounds);
    pinned(&bench, rounds);
    std::fs::remove_dir_all(&bench.dir).expect("clean up");
}

fn contained(bench: &Bench, rounds: usize) {
    let (mut native, mut caged) = (vec![Vec::new(); 3], vec![Vec::new(); 3]);
    for _ in 0..rounds {
        for (all, level) in [(&mut native, "native"), (&mut caged, "contained")] {
            all.iter_mut().zip(bench.inside(level)).for_each(|(list, ms)| list.push(ms));
        }
    }
    println!("contained, inside a running cage, medians of {rounds}");
    for (index, (name, target)) in INSIDE.into_iter().enumerate() {
        let (a, b) = (median(&native[index]), median(&caged[index]));
        println!("{name:>30}: native {a:8.2} ms  caged {b:8.2} ms  {:5.2}x  (target {target}x)", b / a);
    }
}

fn pinned(bench: &Bench, rounds: usize) {
    let program = bench.dir.join("t");
    let program = program.to_str().expect("a plain path");
    let cases: [(&str, f64, Vec<&str>); 6] = [
        ("an empty process", f64::NAN, vec![program, "empty"]),
        ("CPU-bound", 1.1, vec![program, "cpu"]),
        ("python3 start", 2.0, vec!["python3", "-c", "pass"]),
        ("200 sqlite commits", 3.0, vec!["sh", "-c", SQLITE]),
        ("100 shell spawns", 2.5, vec!["sh", "-c", SPAWNS]),
        ("ls -la /usr/bin", 4.0, vec!["ls", "-la", "/usr/bin"]),
    ];
    let mut times = vec![(Vec::new(), Vec::new()); cases.len()];
    for _ in 0..rounds {
        for ((_, _, argv), (native, caged)) in cases.iter().zip(&mut times) {
            native.push(bench.outside("native", argv));
            caged.push(bench.outside("pinned", argv));
        }
    }
    println!(
        "pinned, from the command line to the end, medians of {rounds}; in brackets without an empty cage's time"
    );
    let (none, start) = (median(&times[0].0), median(&times[0].1));
    for ((name, target, _), (native, caged)) in cases.iter().zip(&times) {
        let (a, b) = (median(native), median(caged));
        print!("{name:>30}: native {a:8.2} ms  caged {b:8.2} ms  {:5.2}x", b / a);
        if target.is_nan() {
            println!();
        } else {
            println!("  [{:5.2}x]  (target {target}x)", (b - start) / (a - none));
        }
    }
}

fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().and_then(Path::parent).expect("target/PROFILE/examples/cost_bench").join(name)
}

fn compile(dir: &Path) {
    let source = dir.join("t.c");
    std::fs::write(&source, PROGRAM).expect("write the program");
    let status = Command::new("cc").args(["-static", "-O1", "-o"]).arg(dir.join("t")).arg(&source).status();
    assert!(status.is_ok_and(|s| s.success()), "a C compiler and a static C library are needed");
}
