//! Programs nobody here wrote, at level pinned, beside busy processors: the same bytes in every run.
//!
//! The table is `catalogue`. Three runs of each in the plain tier, twenty in the soak one. A program that is not
//! installed is skipped, and said so; one that does not do its work fails, whether it repeats itself or not.

mod catalogue;

use std::path::Path;
use std::time::{Duration, Instant};

use catalogue::{Bench, Draws, Load, Program};
use metanode_cage::Level;

/// Longest one run may take.
const WALL_MS: u64 = 120_000;
/// When the plain tier stops beginning with further programs.
const BUDGET: Duration = Duration::from_secs(180);

fn bench() -> Bench {
    Bench::new(Path::new(env!("CARGO_BIN_EXE_metanode-cage")), WALL_MS)
}

/// Runs a program `runs` times and compares; then once with another seed.
fn check(bench: &Bench, program: &Program, runs: usize) -> Result<(), String> {
    let first = bench.run(program, Level::Pinned, 0);
    if program.draws == Draws::Refused {
        return match first.essence() {
            Err(why) if why.contains(program.says) => Ok(()),
            other => Err(format!("not refused as expected: {other:?}")),
        };
    }
    first.did(program)?;
    let expected = first.essence()?;
    for run in 1..runs {
        let again = bench.run(program, Level::Pinned, 0).essence()?;
        if again != expected {
            return Err(format!("run {run} differs: {again:?} after {expected:?}"));
        }
    }
    let other = bench.run(program, Level::Pinned, 1);
    other.did(program)?;
    let other = other.essence()?;
    match program.draws {
        Draws::Shown if other[1] == expected[1] && other[3] == expected[3] => {
            Err("another seed shows nothing else".into())
        }
        _ => Ok(()),
    }
}

fn check_all(runs: usize, budget: Option<Duration>) {
    let begin = Instant::now();
    let bench = bench();
    let _load = Load::start();
    let mut failed = Vec::new();
    for program in catalogue::programs() {
        if let Some(command) = catalogue::missing(&program) {
            println!("{}: skipped, {command} is not installed here", program.name);
            continue;
        }
        if budget.is_some_and(|most| begin.elapsed() > most) {
            println!("{}: left to the soak tier, the time is over", program.name);
            continue;
        }
        match check(&bench, &program, runs) {
            Ok(()) => println!("{}: {runs} of {runs}", program.name),
            Err(why) => {
                println!("{}: FAILED: {why}", program.name);
                failed.push(program.name);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn programs_repeat_themselves_needs_root() {
    check_all(3, Some(BUDGET));
}

#[test]
fn programs_repeat_themselves_twenty_times_soak() {
    check_all(20, None);
}

#[test]
fn an_argument_comes_back_and_is_in_the_trace_needs_root() {
    let bench = bench();
    let nonce = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a fresh id");
    let nonce = nonce.trim();
    let run = |word: &str| bench.run_argv(vec!["echo".into(), word.into()], Level::Pinned, 0);
    let said = run(nonce);
    assert_eq!(said.stdout.trim(), nonce);
    let digests = said.essence().expect("a verdict");
    assert_ne!(run("another").essence().expect("a verdict")[4], digests[4]);
}

#[test]
fn sleep_moves_the_logical_clock_needs_root() {
    let bench = bench();
    let ran = bench.run_argv(vec!["sleep".into(), "2".into()], Level::Pinned, 0);
    let logical = ran.report.expect("a report").logical_ns.expect("a pinned run has it");
    assert!((2_000_000_000..2_100_000_000).contains(&logical), "{logical} ns");
}

#[test]
fn an_edited_input_changes_every_digest_needs_root() {
    let bench = bench();
    let input = bench.dir().join("input");
    let mut seen = Vec::new();
    for text in ["one", "two", "one"] {
        std::fs::write(&input, text).expect("write the input");
        let spec = bench.adjusted(&["cat"], |spec| spec.stdin = Some(input.clone()));
        let ran = bench.run_spec(&spec);
        assert_eq!(ran.stdout, text);
        seen.push(ran.essence().expect("a verdict"));
    }
    assert_eq!(seen[0], seen[2]);
    for index in [1, 4] {
        assert_ne!(seen[0][index], seen[1][index]);
    }
}

#[test]
fn home_is_fresh_in_every_run_needs_root() {
    let bench = bench();
    let script = "cd; pwd; ls -A; echo x > left-behind; ls -A";
    for _ in 0..2 {
        let ran = bench.run_argv(vec!["sh".into(), "-c".into(), script.into()], Level::Pinned, 0);
        assert_eq!(ran.stdout, "/tmp\nleft-behind\n");
    }
}
