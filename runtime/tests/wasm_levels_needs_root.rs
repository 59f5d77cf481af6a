//! The levels of WASM runs behind the walls: a recorded run in a real cage, its replay when the inputs are gone, and
//! what damage or a lie does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use metanode_cage::witness::Witness;
use metanode_cage::{Exit, Report, Verdict};
use metanode_runtime::wasm::{
    End, NamedFile, ReplayJob, WITNESS_BYTES, WasmJob, WasmLimits, WasmSpec, WasmVerdict,
};
use metanode_types::hash::sha256;
use metanode_types::ids::ContentDigest;
use metanode_types::level::CageLevel;
use tempfile::TempDir;

/// Copies standard input and 16 random bytes to standard output; exits with code 3.
const COPY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $random (i32.const 1024) (i32.const 16)))
        (i32.store (i32.const 4) (i32.const 16))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $exit (i32.const 3))))"#;

struct Bench {
    dir: TempDir,
    job: WasmJob,
}

impl Bench {
    fn new(wat: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("wasm-levels-").tempdir().expect("dir");
        let bytes = wat::parse_str(wat).expect("a module");
        let (module, stdin) = (dir.path().join("module.wasm"), dir.path().join("stdin"));
        fs::write(&module, &bytes).expect("module");
        fs::write(&stdin, b"from outside").expect("stdin");
        let job = WasmJob {
            id: "levels".into(),
            state_dir: dir.path().join("state"),
            module,
            stdin: Some(stdin),
            cpu_milli: 1000,
            output_bytes: 1 << 16,
            level: CageLevel::Pinned,
            witness: None,
            witness_bytes: WITNESS_BYTES,
            spec: WasmSpec {
                module: ContentDigest(sha256(&bytes)),
                args: vec!["copy".into()],
                env: Vec::new(),
                seed: [9; 32],
                epoch_ns: 1_700_000_000_000_000_000,
                files: vec![NamedFile { path: "/declared".into(), bytes: b"a file".to_vec() }],
                limits: WasmLimits::default(),
            },
        };
        Self { dir, job }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self) -> (Report, WasmVerdict) {
        shim("--spec", &serde_json::to_vec(&self.job).expect("json"), &self.path("spec")).expect("a run");
        left(&self.job.state_dir)
    }

    fn replay(&self, witness: &Path) -> Result<(Report, WasmVerdict), String> {
        let replay = ReplayJob {
            witness: witness.into(),
            module: self.job.module.clone(),
            state_dir: self.path("replay"),
            cpu_milli: 1000,
            output_bytes: 1 << 16,
            wall_ms: 0,
        };
        shim("--replay", &serde_json::to_vec(&replay).expect("json"), &self.path("replay.json"))?;
        Ok(left(&replay.state_dir))
    }
}

/// What a run left.
fn left(state_dir: &Path) -> (Report, WasmVerdict) {
    (Report::read(state_dir).expect("a report"), WasmVerdict::read(state_dir).expect("a verdict"))
}

/// A process of one thread that runs a job, as `metanode __wasm` does.
fn shim(flag: &str, json: &[u8], file: &Path) -> Result<(), String> {
    fs::write(file, json).expect("a file");
    // Cargo builds examples next to the directory this test runs from.
    let own = std::env::current_exe().expect("own path");
    let shim = own.parent().and_then(Path::parent).expect("target directory").join("examples/shim");
    let output = Command::new(shim).arg("__wasm").arg(flag).arg(file).output().expect("the shim runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn a_recorded_run_is_replayed_when_its_inputs_are_gone_needs_root() {
    let mut bench = Bench::new(COPY);
    let witness = bench.path("witness");
    bench.job.witness = Some(witness.clone());
    let (report, verdict) = bench.run();
    let WasmVerdict::Ran(outcome) = &verdict else { panic!("{verdict:?}") };
    assert_eq!(outcome.end, End::Exited { code: 3 });
    assert_eq!((&report.exit, &report.verdict), (&Exit::Code(3), &Verdict::Completed));
    assert_eq!((&report.level[..], report.witness_entries), ("pinned", 2));
    assert_eq!(report.seed, Some("09".repeat(32)));
    assert_eq!((report.fuel, report.logical_ns), (Some(outcome.fuel_used), Some(outcome.clock_ns)));
    assert_eq!(report.downgraded, Vec::<String>::new());
    let sound = Witness::open(&witness).expect("a sound witness");
    assert_eq!(report.trace_hash, Some(sound.trace_hash()));
    assert_eq!(report.witness_root, Some(sound.witness_root()));
    assert_eq!(report.witness_bytes, fs::metadata(&witness).expect("the witness").len());
    let stdout = fs::read(bench.job.state_dir.join("stdout.log")).expect("the output");
    assert_eq!((&stdout[..12], stdout.len()), (&b"from outside"[..], 28));

    fs::remove_file(bench.path("stdin")).expect("the input goes");
    let (replayed, _) = bench.replay(&witness).expect("a replay");
    assert_eq!((&replayed.level[..], &replayed.exit), ("replayed", &Exit::Code(3)));
    assert_eq!((&replayed.trace_hash, &replayed.witness_root), (&report.trace_hash, &report.witness_root));
    assert_eq!(replayed.stdout_digest, report.stdout_digest);

    let mut bytes = fs::read(&witness).expect("the witness");
    let at = bytes.windows(12).position(|window| window == b"from outside").expect("the input is in it");
    bytes[at] ^= 1;
    fs::write(&witness, bytes).expect("damage");
    let refusal = bench.replay(&witness).expect_err("a damaged witness");
    assert!(refusal.contains("chunk"), "{refusal}");
}

#[test]
fn levels_are_reached_by_running_again_needs_root() {
    let mut bench = Bench::new(COPY);
    bench.job.level = CageLevel::Reproduced;
    let (reproduced, _) = bench.run();
    assert_eq!((&reproduced.level[..], reproduced.downgraded.len()), ("reproduced", 0));
    bench.job.level = CageLevel::Replayed;
    let (replayed, verdict) = bench.run();
    assert_eq!((&replayed.level[..], replayed.downgraded.len()), ("replayed", 0));
    assert_eq!(verdict.level(&replayed), Some(CageLevel::Replayed));
    assert_eq!(replayed.trace_hash, reproduced.trace_hash);
}

#[test]
fn a_module_that_runs_too_long_has_no_verdict_needs_root() {
    let mut bench =
        Bench::new("(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))");
    bench.job.spec.limits.wall_ms = 300;
    bench.job.spec.limits.fuel = u64::MAX >> 1;
    bench.job.level = CageLevel::Reproduced;
    let (report, verdict) = bench.run();
    assert_eq!(report.exit, Exit::Timeout);
    assert!(matches!(report.verdict, Verdict::NoVerdict(_)), "{:?}", report.verdict);
    assert!(matches!(verdict, WasmVerdict::Lost(_)), "{verdict:?}");
    assert_eq!((&report.level[..], report.downgraded.len()), ("contained", 1));
    assert_eq!(verdict.level(&report), None);
}

#[test]
fn a_witness_that_floods_stays_within_its_limit_needs_root() {
    let flood = COPY.replace(
        "(call $exit (i32.const 3))",
        "(loop (drop (call $random (i32.const 0) (i32.const 200))) (br 0))",
    );
    let mut bench = Bench::new(&flood);
    let witness = bench.path("witness");
    bench.job.witness = Some(witness.clone());
    bench.job.witness_bytes = 1 << 20;
    bench.job.spec.limits.fuel = 30_000_000;
    let (report, verdict) = bench.run();
    let WasmVerdict::Ran(outcome) = &verdict else { panic!("{verdict:?}") };
    assert!(outcome.host_calls > 50_000, "{} calls", outcome.host_calls);
    assert_eq!(report.exit, Exit::Signal(24), "out of fuel");
    let size = fs::metadata(&witness).expect("the witness").len();
    assert!(size <= (1 << 20) + (64 << 10), "{size} bytes");
    // The inputs are whole, so a full trace costs nothing but the comparison of single calls.
    let (replayed, _) = bench.replay(&witness).expect("a replay");
    assert_eq!(replayed.level, "replayed");
}
