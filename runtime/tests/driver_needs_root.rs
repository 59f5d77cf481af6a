//! The driver with real cages: a shell and `sleep` from this machine packed as an image, and a module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metanode_cage::Record;
use metanode_runtime::driver::{Assignment, Driver, DriverConfig, LogStream, Observation};
use metanode_runtime::image::{Image, ImageStore, PackSpec, RunConfig, pack};
use metanode_runtime::reconcile::CageKey;
use metanode_types::cage_report::{CageReport, ExitStatus};
use metanode_types::hash::sha256;
use metanode_types::ids::ContentDigest;
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::workload::{ReplicaId, Resources, Workload, WorkloadKind};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    dir: TempDir,
    images: ImageStore,
    driver: Option<Driver>,
    seen: Vec<Observation>,
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// The program and every library it loads, at their own paths below `root`.
fn copy_program(root: &Path, program: &str) {
    let listed = Command::new("ldd").arg(program).output().expect("ldd runs");
    let listed = String::from_utf8(listed.stdout).expect("utf-8");
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let target = root.join(&path[1..]);
        fs::create_dir_all(target.parent().expect("a parent")).expect("dir");
        fs::copy(path, target).expect("copy");
    }
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("driver-test-").tempdir().expect("dir");
        let images = ImageStore::open(&dir.path().join("images")).expect("store");
        let mut bench = Self { dir, images, driver: None, seen: Vec::new() };
        bench.restart_node();
        bench
    }

    fn config(&self) -> DriverConfig {
        // Cargo builds examples next to the directory this test runs from.
        let own = std::env::current_exe().expect("own path");
        let shim = own.parent().and_then(Path::parent).expect("target directory").join("examples/shim");
        let mut config =
            DriverConfig::new(&self.dir.path().join("cages"), self.images.clone()).expect("config");
        config.wasm_command = vec![shim.clone().into(), "__wasm".into()];
        config.cage_binary = shim;
        config.stop_grace_ms = 200;
        config
    }

    /// Drops the driver as a killed node would, and starts another.
    fn restart_node(&mut self) {
        self.driver = None;
        self.driver = Some(Driver::new(self.config()).expect("driver"));
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.as_mut().expect("a driver")
    }

    fn shell_image(&self) -> Image {
        let root = self.dir.path().join("root");
        for program in ["/bin/sh", "/bin/sleep"] {
            copy_program(&root, program);
        }
        let config = RunConfig { entrypoint: vec!["/bin/sh".into(), "-c".into()], ..RunConfig::default() };
        let layout = self.dir.path().join("layout");
        pack(&PackSpec { source: root, config }, &layout).expect("pack");
        self.images.import_oci(&layout, None).expect("import")
    }

    fn module_image(&self, wat: &str) -> Image {
        let path = self.dir.path().join("module.wat");
        fs::write(&path, wat).expect("module");
        self.images.import_wasm(&path).expect("import")
    }

    /// Steps until `done` says so, and gives what was seen since the last call.
    fn until(
        &mut self,
        desired: Option<&[Assignment]>,
        mut done: impl FnMut(&[Observation], &Driver) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        self.seen.clear();
        loop {
            let driver = self.driver.as_mut().expect("a driver");
            self.seen.extend(driver.step(now_ms(), desired).expect("step"));
            if done(&self.seen, driver) {
                return;
            }
            assert!(Instant::now() < deadline, "not in time; seen {:#?}", self.seen);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until_started(&mut self, desired: &[Assignment], restarts: u32) {
        self.until(Some(desired), |seen, _| {
            seen.iter().any(|one| matches!(one, Observation::Started { restarts: n, .. } if *n == restarts))
        });
    }

    fn until_ended(&mut self, desired: &[Assignment]) -> CageReport {
        let mut found = None;
        self.until(Some(desired), |seen, _| {
            found = seen.iter().find_map(|one| match one {
                Observation::Ended { report, .. } => Some((**report).clone()),
                Observation::Refused { reason, .. } => panic!("refused: {reason}"),
                _ => None,
            });
            found.is_some()
        });
        found.expect("just found")
    }

    fn record(&self, key: &CageKey) -> Record {
        Record::read(&self.run_dir(key)).expect("cage record")
    }

    fn run_dir(&self, key: &CageKey) -> PathBuf {
        self.dir.path().join("cages").join(key.to_string()).join("run")
    }
}

impl Drop for Bench {
    /// Ends what a failed test would leave: everything stops, whatever it was.
    fn drop(&mut self) {
        let Some(driver) = &mut self.driver else { return };
        let deadline = Instant::now() + PATIENCE;
        while driver.cages().iter().any(|(_, live)| *live) && Instant::now() < deadline {
            let _ = driver.step(now_ms(), Some(&[]));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn assignment(image: &Image, epoch: u64, kind: WorkloadKind, args: &[&str]) -> Assignment {
    Assignment {
        replica: ReplicaId { deployment: "web".parse().expect("name"), index: 0 },
        epoch,
        workload: Workload {
            image: image.descriptor.image_ref(),
            args: args.iter().map(|text| (*text).to_owned()).collect(),
            env: Vec::new(),
            resources: Resources { cpu_milli: 1000, memory_bytes: 64 << 20, disk_bytes: 8 << 20, pids: 16 },
            kind,
            cage_level: CageLevel::Contained,
            security: SecurityLevel::Standard,
            verify: 0,
        },
        seed: [3; 32],
        epoch_ns: 1_700_000_000_000_000_000,
    }
}

const SERVICE: WorkloadKind = WorkloadKind::Service { health: None };
const JOB: WorkloadKind = WorkloadKind::Job { timeout_ms: 60_000 };

#[test]
fn a_job_runs_once_and_its_end_is_told_until_acknowledged_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    let job = assignment(&image, 1, JOB, &["echo out; echo err >&2; exit 3"]);
    let (key, desired) = (job.key(), [job]);
    let report = bench.until_ended(&desired);
    assert_eq!(report.exit, ExitStatus::Code(3));
    assert_eq!(report.stdout, ContentDigest(sha256(b"out\n")));
    assert_eq!(report.level, CageLevel::Contained);
    assert_eq!(report.image, image.descriptor.digest);
    assert_eq!(bench.driver().logs(&key, LogStream::Stderr, 100).expect("log"), b"err\n");
    assert_eq!(bench.driver().logs(&key, LogStream::Stdout, 2).expect("log"), b"t\n");
    // A node that comes back before the ledger has the end tells it again.
    bench.restart_node();
    assert_eq!(bench.until_ended(&desired), report);
    bench.driver().acknowledge(&key, 0).expect("acknowledge");
    for _ in 0..3 {
        let seen = bench.driver().step(now_ms() + (1 << 30), Some(&desired)).expect("step");
        assert_eq!(seen, [], "a job that has run is left alone");
    }
    bench.until(Some(&[]), |_, driver| driver.cages().is_empty());
    assert!(!bench.run_dir(&key).exists());
}

#[test]
fn a_job_that_asks_for_pinned_runs_so_on_the_ledgers_seed_and_clock_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    let mut job = assignment(&image, 1, JOB, &["echo $RANDOM; echo done"]);
    job.workload.cage_level = CageLevel::Pinned;
    let first = bench.until_ended(std::slice::from_ref(&job));
    assert_eq!((&first.exit, first.level), (&ExitStatus::Code(0), CageLevel::Pinned));
    assert!(first.trace.is_some() && first.witness.is_some(), "{first:?}");
    let root = |report: &CageReport| report.witness.as_ref().map(|witness| witness.root);
    // Another execution of the same assignment gives the same; another seed is another run.
    let again = bench.until_ended(&[Assignment { epoch: 2, ..job.clone() }]);
    assert_eq!((again.stdout, again.trace, root(&again)), (first.stdout, first.trace, root(&first)));
    let other = bench.until_ended(&[Assignment { epoch: 3, seed: [4; 32], ..job }]);
    assert_ne!(root(&other), root(&first));
}

#[test]
fn a_torn_report_is_a_lost_run_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    let shim = bench.dir.path().join("torn");
    let torn = "#!/bin/sh\nprintf '{\"id\":\"job\",\"level\":\"pin' > \"${3%/*}/run/report.json\"\n";
    fs::write(&shim, torn).expect("written");
    fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let config = DriverConfig { cage_binary: shim, ..bench.config() };
    bench.driver = None;
    bench.driver = Some(Driver::new(config).expect("driver"));
    let job = assignment(&image, 1, JOB, &["true"]);
    bench.until(Some(&[job]), |seen, _| {
        assert!(!seen.iter().any(|one| matches!(one, Observation::Ended { .. })), "{seen:?}");
        seen.iter().any(|one| matches!(one, Observation::Refused { .. }))
    });
}

#[test]
fn a_service_that_crashes_comes_back_and_one_unwanted_ends_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    let crashing = assignment(&image, 1, SERVICE, &["exit 1"]);
    bench.until_started(std::slice::from_ref(&crashing), 1);
    assert!(bench.seen.iter().any(|one| matches!(one, Observation::Ended { .. })), "the crash was told");
    let steady = assignment(&image, 2, SERVICE, &["echo up; sleep 1000"]);
    bench.until(Some(std::slice::from_ref(&steady)), |seen, _| {
        seen.iter().any(|one| matches!(one, Observation::Started { key, .. } if key.epoch == 2))
    });
    assert!(!bench.driver().cages().contains(&(crashing.key(), true)), "the stale epoch still lives");
    let record = bench.record(&steady.key());
    // Silence stops nothing.
    bench.until(None, |_, _| true);
    assert!(record.running());
    bench.until(Some(&[]), |seen, _| {
        seen.iter().any(|one| matches!(one, Observation::Ended { key, .. } if key.epoch == 2))
    });
    assert!(!record.running());
}

#[test]
fn a_node_that_returns_adopts_what_still_runs_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    let service = assignment(&image, 1, SERVICE, &["sleep 1000"]);
    let (key, desired) = (service.key(), [service]);
    bench.until_started(&desired, 0);
    let record = bench.record(&key);
    assert!(Driver::new(bench.config()).is_err(), "two drivers of one directory");
    bench.restart_node();
    bench.until(None, |seen, _| seen.contains(&Observation::Adopted { key: key.clone() }));
    bench.until(Some(&desired), |_, _| true);
    assert_eq!(bench.record(&key), record, "the same processes");
    assert!(record.running());
    // The assignment moved while the node was away: its own copy stops.
    bench.restart_node();
    bench.until(Some(&[]), |seen, _| seen.iter().any(|one| matches!(one, Observation::Ended { .. })));
    assert!(!record.running());
}

#[test]
fn a_killed_shim_leaves_no_process_and_the_service_comes_back_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    let service = assignment(&image, 1, SERVICE, &["sleep 1000"]);
    let (key, desired) = (service.key(), [service]);
    bench.until_started(&desired, 0);
    let record = bench.record(&key);
    let killed =
        Command::new("kill").args(["-9", &record.supervisor.pid.to_string()]).status().expect("kill");
    assert!(killed.success());
    bench.until_started(&desired, 1);
    assert!(!record.running(), "the first cage leaked");
    assert!(bench.seen.iter().any(|one| matches!(one, Observation::Refused { .. })), "the loss was told");
}

#[test]
fn an_image_that_is_not_here_is_asked_for_and_a_changed_one_is_refused_needs_root() {
    let mut bench = Bench::new();
    let image = bench.shell_image();
    bench.images.remove(&image.descriptor.digest).expect("remove");
    let job = assignment(&image, 1, JOB, &["exit 0"]);
    let needed = Observation::NeedsImage { key: job.key(), image: image.descriptor.image_ref() };
    assert_eq!(bench.driver().step(now_ms(), Some(std::slice::from_ref(&job))).expect("step"), [needed]);
    bench.images.import_oci(&bench.dir.path().join("layout"), None).expect("import");
    fs::write(image.path.join("bin/sh"), "changed").expect("write");
    for _ in 0..2 {
        bench.until(Some(std::slice::from_ref(&job)), |seen, _| {
            seen.iter().any(
                |one| matches!(one, Observation::Refused { reason, .. } if reason.contains("has changed")),
            )
        });
        // The reason outlives the node.
        bench.restart_node();
    }
}

const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "hello from a module\n")
    (func (export "_start")
        (drop (call $random (i32.const 28) (i32.const 32)))
        (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 52))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 96)))
        (i32.store (i32.const 4) (i32.const 20))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 96)))))"#;

#[test]
fn a_module_runs_in_a_cage_and_gives_the_same_twice_needs_root() {
    let mut reports = Vec::new();
    for _ in 0..2 {
        let mut bench = Bench::new();
        let image = bench.module_image(HELLO);
        let job = assignment(&image, 1, JOB, &["argument"]);
        let (key, desired) = (job.key(), [job]);
        let report = bench.until_ended(&desired);
        assert_eq!(report.exit, ExitStatus::Code(0), "{report:?}");
        assert_eq!(report.level, CageLevel::Pinned);
        let stdout = bench.driver().logs(&key, LogStream::Stdout, 1000).expect("log");
        assert!(stdout.starts_with(b"hello from a module\n") && stdout.len() == 52);
        assert_eq!(report.stdout, ContentDigest(sha256(&stdout)));
        let stderr = bench.driver().logs(&key, LogStream::Stderr, 1000).expect("log");
        assert_eq!(stderr, b"hello from a module\n", "the verdict line is not the guest's");
        assert!(report.fuel.is_some_and(|fuel| fuel > 100));
        reports.push(CageReport { usage: Default::default(), ..report });
    }
    assert_eq!(reports[0], reports[1]);
}

#[test]
fn a_module_that_never_ends_is_stopped_without_a_verdict_needs_root() {
    let mut bench = Bench::new();
    let image = bench.module_image("(module (func (export \"_start\") (loop (br 0))))");
    let job = assignment(&image, 1, WorkloadKind::Job { timeout_ms: 300 }, &[]);
    let report = bench.until_ended(&[job]);
    assert_eq!((report.exit, report.level), (ExitStatus::Timeout, CageLevel::Contained));
}

#[test]
fn a_module_that_traps_or_cannot_start_says_so_needs_root() {
    let mut bench = Bench::new();
    let image = bench.module_image("(module (func (export \"_start\") unreachable))");
    let trapping = assignment(&image, 1, JOB, &[]);
    assert!(matches!(bench.until_ended(&[trapping]).exit, ExitStatus::Trap(_)));
    let image = bench.module_image("(module)");
    let job = assignment(&image, 2, JOB, &[]);
    bench.until(Some(&[job]), |seen, _| {
        seen.iter().any(|one| matches!(one, Observation::Refused { reason, .. } if reason.contains("_start")))
    });
}
