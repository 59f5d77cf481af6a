//! Attacks on the supervisor of a pinned cage: floods that make it work or allocate, storms that could confuse it, and
//! calls with nonsense for arguments.
//!
//! The supervisor holds when the run ends with the program's own end or, told with a reason, without a verdict; when it
//! wrote a report; when two runs are the same; and when the next cage is well.

mod common;

use common::{Bench, Ran};
use metanode_cage::{Exit, Level, Report, Verdict};

fn benches() -> [Bench; 2] {
    [Bench::at(Level::Pinned, false), Bench::at(Level::Pinned, true)]
}

/// What must be the same in two runs.
fn essence(report: &Report) -> impl PartialEq + std::fmt::Debug + use<> {
    (report.verdict.clone(), report.stdout_digest.clone(), report.trace_hash.clone(), report.trace_events)
}

/// Memory that the supervisor allocates for the program (it moves the bytes) is the cage's.
fn flood_ends_the_cage(attempt: &str) {
    let mut bench = Bench::at(Level::Pinned, false);
    bench.spec.limits.memory_bytes = 64 << 20;
    let ran = bench.attempt(attempt);
    assert_eq!(ran.report.exit, Exit::Oom, "{attempt}: {:?} {} {}", ran.report, ran.stdout, ran.message);
    assert!(matches!(&ran.report.verdict, Verdict::NoVerdict(_)), "{attempt}: {:?}", ran.report);
    let peak = ran.report.usage.max_memory_bytes;
    assert!((32 << 20..=65 << 20).contains(&peak), "{attempt}: {peak} bytes");
    // The slot is free again, and nothing of the flood is left in it.
    bench.spec.limits.memory_bytes = 256 << 20;
    let ran = bench.attempt("whoami");
    assert_eq!(
        (ran.answer("whoami"), &ran.report.verdict),
        ("ok:0", &Verdict::Completed),
        "{:?}",
        ran.report
    );
    assert!(ran.report.usage.max_memory_bytes < 48 << 20, "{}", ran.report.usage.max_memory_bytes);
}

#[test]
fn mapped_memory_ends_the_cage_and_not_its_supervisor_needs_root() {
    flood_ends_the_cage("eat_memory");
}

#[test]
fn memory_files_end_the_cage_and_not_its_supervisor_needs_root() {
    flood_ends_the_cage("fill_memory_files");
}

#[test]
fn pipes_end_the_cage_and_not_its_supervisor_needs_root() {
    flood_ends_the_cage("fill_pipes");
}

#[test]
fn sockets_hold_no_more_than_the_cage_may_use_needs_root() {
    let mut bench = Bench::at(Level::Pinned, false);
    bench.spec.limits.memory_bytes = 64 << 20;
    let ran = bench.attempt("fill_sockets");
    assert!(matches!(ran.answer("fill_sockets"), "EMFILE" | "ENOMEM" | "EAGAIN"), "{}", ran.stdout);
    assert!((1 << 20..64 << 20).contains(&ran.number("bytes")), "{} bytes in sockets", ran.number("bytes"));
    assert!(ran.report.usage.max_memory_bytes <= 65 << 20);
}

#[test]
fn bombs_are_refused_as_without_a_supervisor_needs_root() {
    for mut bench in benches() {
        bench.spec.limits.pids = 20;
        for (attempt, counted) in [("fork_bomb", "children"), ("thread_bomb", "threads")] {
            let ran = bench.attempt(attempt);
            assert_eq!(ran.answer(attempt), "EAGAIN");
            assert!((10..20).contains(&ran.number(counted)), "{} {counted}", ran.number(counted));
        }
        bench.spec.limits.nofile = 64;
        assert_eq!(bench.attempt("many_files").answer("many_files"), "EMFILE");
    }
}

#[test]
fn zombies_and_kills_of_everything_needs_root() {
    for mut bench in benches() {
        bench.spec.limits.pids = 30;
        assert_eq!(bench.attempt("zombie_storm").answer("zombie_storm"), "ok:0");
        assert_eq!(bench.attempt("kill_everything").answer("kill_everything"), "ok:0");
    }
}

#[test]
fn output_floods_keep_the_newest_bytes_needs_root() {
    let mut bench = Bench::at(Level::Pinned, false);
    bench.spec.limits.output_bytes = 1 << 20;
    let ran = bench.attempt("flood");
    assert_eq!(ran.answer("flood"), "ok:0", "the last line was kept");
    assert_eq!(ran.report.stdout_bytes, (32 << 20) + "\nRAN flood: ok:0\n".len() as u64);
    assert!(ran.report.output_dropped_bytes >= 31 << 20, "{:?}", ran.report);
}

/// A witness that is full ends nothing: the run goes on, and the report says that it cannot be replayed.
#[test]
fn a_flood_of_the_witness_is_cut_and_told_needs_root() {
    let mut bench = Bench::at(Level::Pinned, false);
    let path = bench.dir.path().join("state").join("witness");
    bench.spec.witness = Some(path.clone());
    bench.spec.witness_bytes = 64 << 10;
    let input = bench.dir.path().join("input");
    std::fs::write(&input, vec![7; 1 << 20]).expect("input");
    bench.spec.stdin = Some(input);
    let ran = bench.attempt("whoami");
    assert_eq!(ran.report.verdict, Verdict::Completed, "{:?}", ran.report);
    let size = std::fs::metadata(&path).expect("a witness").len();
    assert!(size <= 64 << 10, "{size} bytes of witness");
    assert!(
        ran.report.downgraded.iter().any(|why| why.contains("witness reached its limit")),
        "{:?}",
        ran.report
    );
}

const STORMS: &[(&str, &str)] = &[
    ("vectors_at_limits", "ok:0"),
    ("robust_cycles", "ok:0"),
    ("thread_storm", "ok:0"),
    ("futex_storm", "ok:0"),
    ("vfork_chain", "ok:0"),
    ("killed_at_every_point", "ok:0"),
    ("stop_storm", "ok:0"),
    ("own_memory_by_file", "ENOENT"),
    ("oom_score_of_my_own", "EACCES"),
    ("huge_arguments", "ok:0"),
    ("streams_closed", "ok:0"),
];

/// The storms leave the supervisor in order: right answers, and the same trace twice.
#[test]
fn storms_needs_root() {
    for mut bench in benches() {
        let mut fallen = Vec::new();
        for (name, answer) in STORMS {
            let runs: [Ran; 2] = std::array::from_fn(|_| bench.attempt(name));
            let told = |ran: &Ran| ran.stdout.trim().to_owned();
            let right = runs.iter().all(|ran| told(ran) == format!("RAN {name}: {answer}"));
            if !right || essence(&runs[0].report) != essence(&runs[1].report) {
                let what =
                    |ran: &Ran| format!("{} {} {:?}", told(ran), ran.stderr.trim(), essence(&ran.report));
                fallen.push(format!("{name}: {}\n  {}", what(&runs[0]), what(&runs[1])));
            }
        }
        assert!(fallen.is_empty(), "{}", fallen.join("\n"));
    }
}

/// How many descriptors may be in flight depends on the kernel's collector: a run that meets the limit has no verdict.
#[test]
fn descriptors_in_circles_needs_root() {
    for mut bench in benches() {
        let ran = bench.attempt("descriptors_in_circles");
        match &ran.report.verdict {
            Verdict::Completed => assert_eq!(ran.number("sent"), 800, "none was refused"),
            Verdict::NoVerdict(why) => assert!(why.contains("too many descriptors in flight"), "{why}"),
        }
    }
}

#[test]
fn executions_among_threads_needs_root() {
    for mut bench in benches() {
        let runs: [Ran; 2] = std::array::from_fn(|_| bench.attempt("execution_storm"));
        assert_eq!(runs[0].answer("execution_storm"), "ok:0");
        assert_eq!(essence(&runs[0].report), essence(&runs[1].report));
    }
}

/// Nonsense for arguments: an end or a reason, never a hang or a supervisor that is gone; the same twice.
#[test]
fn random_calls_needs_root() {
    let mut completed = 0;
    for seed in 1u64..9 {
        let mut bench = Bench::at(Level::Pinned, seed % 2 == 0);
        bench.spec.env.push(format!("FUZZ_SEED={seed}"));
        let runs: [Ran; 2] = std::array::from_fn(|_| bench.attempt("random_calls"));
        for ran in &runs {
            println!(
                "seed {seed}: {:?} {:?} {}",
                ran.report.verdict,
                ran.report.exit,
                ran.stdout.lines().count()
            );
            let Verdict::NoVerdict(why) = &ran.report.verdict else {
                completed += 1;
                continue;
            };
            assert!(why.starts_with("E_") && !why.starts_with("E_SUPERVISOR"), "seed {seed}: {why}");
        }
        assert_eq!(essence(&runs[0].report), essence(&runs[1].report), "seed {seed}");
    }
    println!("{completed} completed");
}
