//! Level pinned: the same program gives the same bytes, whatever the machine does meanwhile.
//!
//! Programs are C, compiled here; each is run several times, also beside processes that keep every processor busy,
//! and all digests must be equal.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Bench, Ran};
use metanode_cage::{Exit, Level, Report, Verdict};

/// Compiles `programs/NAME.c` into the root of the bench and makes it the program.
fn install(bench: &mut Bench, name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let target = bench.root().join("bin").join(name);
    let output = Command::new("cc")
        .args(["-O1", "-pthread", "-static", "-w", "-o"])
        .arg(&target)
        .arg(&source)
        .output()
        .expect("a C compiler, which the workspace needs anyway");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bench.spec.argv = vec![format!("/bin/{name}")];
    bench.spec.level = Level::Pinned;
}

/// Processes that never stop computing, one and a half for every processor.
struct Burners(Vec<Child>);

impl Burners {
    fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let burn = || Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
        Self((0..processors + processors / 2).map(|_| burn().expect("sh")).collect())
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What must be the same in every run.
fn essence(report: &Report) -> [String; 6] {
    let text = |value: &Option<String>| value.clone().expect("a pinned run has it");
    [
        format!("{:?}", report.exit),
        report.stdout_digest.clone(),
        report.stderr_digest.clone(),
        text(&report.output_digest),
        text(&report.trace_hash),
        text(&report.witness_root),
    ]
}

/// Runs several times, the last ones on a busy machine; the first run.
fn repeat(bench: &Bench) -> Ran {
    let first = bench.run();
    assert_eq!(first.report.verdict, Verdict::Completed, "{}", first.message);
    assert_eq!(first.report.level, "pinned");
    let again = bench.run();
    assert_eq!(essence(&again.report), essence(&first.report), "{} {}", first.stdout, again.stdout);
    let _burners = Burners::start();
    for _ in 0..2 {
        let busy = bench.run();
        assert_eq!(essence(&busy.report), essence(&first.report), "{} {}", first.stdout, busy.stdout);
    }
    first
}

#[test]
fn racing_threads_race_the_same_way_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        install(&mut bench, "race");
        let zero = repeat(&bench);
        assert!(zero.stdout.starts_with("counter "), "{}", zero.stdout);
        bench.spec.seed = "ab".repeat(32);
        let other = bench.run();
        assert_ne!(other.report.stdout_digest, zero.report.stdout_digest, "another seed draws other bytes");
        assert_ne!(other.report.trace_hash, zero.report.trace_hash);
    }
}

#[test]
fn spinning_threads_yield_needs_root() {
    let mut bench = Bench::new();
    install(&mut bench, "spin");
    let ran = repeat(&bench);
    assert!(ran.stdout.ends_with("entered 12 times\n"), "{}", ran.stdout);
}

#[test]
fn clocks_are_logical_needs_root() {
    let mut bench = Bench::new();
    install(&mut bench, "clock");
    bench.spec.epoch_ms = 1_000_000_000_000;
    let ran = repeat(&bench);
    let expected = ["slept 2.00000", "loop took 1000 ns", "rdtsc moved 1000", "date 1000000000", "time 2"];
    for (line, start) in ran.stdout.lines().zip(expected) {
        assert!(line.starts_with(start), "{}", ran.stdout);
    }
    assert_eq!(ran.stdout.lines().count(), expected.len());
}

#[test]
fn signals_keep_their_promises_needs_root() {
    let mut bench = Bench::new();
    install(&mut bench, "signals");
    let ran = repeat(&bench);
    for line in [
        "child read r=-1 errno=4 got=10",
        "child restarted r=1 b=x",
        "status 700",
        "term f",
        "kill 9",
        "exec 0",
        "exec from many",
        "stop 137f",
        "continued",
        "cont 300",
        "segv b",
        "sigwait 12",
        "timedwait -1 11",
        "suspend -1 4 got 10",
        "leader gone 9",
        "nanosleep -1 rem 7.999",
        "vfork 0",
    ] {
        assert!(ran.stdout.lines().any(|l| l.trim_start_matches('H') == line), "{line}: {}", ran.stdout);
    }
}

#[test]
fn a_run_killed_from_outside_has_no_verdict_needs_root() {
    let mut bench = Bench::new();
    install(&mut bench, "clock");
    bench.spec.argv = vec!["/bin/probe".into(), "spin".into()];
    bench.spec.limits.wall_ms = 1500;
    let ran = bench.run();
    assert_eq!(ran.report.exit, Exit::Timeout);
    assert!(matches!(ran.report.verdict, Verdict::NoVerdict(_)), "{:?}", ran.report.verdict);
}
