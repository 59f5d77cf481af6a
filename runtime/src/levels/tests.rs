//! The way to a level, with a launcher that says what it is told to; real runs are tested where the binary is.

use metanode_cage::{CageSpec, Level, Report, Root};
use metanode_types::level::CageLevel;
use serde_json::json;

use super::*;

const DIGEST: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

fn report(stdout: &str) -> Report {
    serde_json::from_value(json!({
        "id": "run", "level": "pinned", "exit": {"code": 0}, "verdict": "completed", "seed": DIGEST,
        "trace_hash": DIGEST, "trace_events": 5, "witness_root": DIGEST, "witness_entries": 0,
        "logical_ns": 5000, "started_ms": 1, "ended_ms": 2,
        "usage": {"cpu_ms": 1, "max_memory_bytes": 1, "wall_ms": 1},
        "stdout_digest": stdout, "stderr_digest": DIGEST, "stdout_bytes": 1, "stderr_bytes": 0,
        "output_dropped_bytes": 0, "output_digest": DIGEST, "barriers": [], "weaker": [],
        "kernel": "Linux 6 x86_64", "cpu_class": "class"
    }))
    .expect("a report")
}

fn spec() -> CageSpec {
    CageSpec {
        id: "run".into(),
        state_dir: "/nowhere/state".into(),
        root: Root::Dir { path: "/".into() },
        argv: vec!["/bin/true".into()],
        ..CageSpec::default()
    }
}

/// Reaches for a level with a launcher that gives these reports, and tells what it was asked to launch.
fn reached(asked: CageLevel, reports: &[Report]) -> (Report, Vec<(CageSpec, Run)>) {
    let dir = tempfile::tempdir().expect("dir");
    let mut launched = Vec::new();
    let mut left = reports.iter().cloned();
    let report = reach(&spec(), asked, dir.path(), &mut |spec, run| {
        launched.push((spec.clone(), run));
        left.next().ok_or("launched too often")
    });
    (report.expect("every launch has a report"), launched)
}

#[test]
fn one_run_is_pinned_and_two_that_agree_are_reproduced() {
    let (one, launched) = reached(CageLevel::Pinned, &[report("a")]);
    assert_eq!((one.level.as_str(), launched.len()), ("pinned", 1));
    assert_eq!(launched[0].0.level, Level::Pinned);

    let (two, launched) = reached(CageLevel::Reproduced, &[report("a"), report("a")]);
    assert_eq!((two.level.as_str(), two.downgraded), ("reproduced", vec![]));
    assert_eq!(launched.iter().map(|(_, run)| *run).collect::<Vec<_>>(), [Run::First, Run::Again]);
    let [(first, _), (again, _)] = launched.as_slice() else { panic!("two launches") };
    assert_ne!(first.state_dir, again.state_dir, "the second run starts afresh");
    assert_ne!(first.witness, again.witness);
    assert_eq!(again.replay, None);
}

#[test]
fn a_contained_run_is_launched_so() {
    let (_, launched) = reached(CageLevel::Contained, &[report("a")]);
    assert_eq!((launched.len(), launched[0].0.level), (1, Level::Contained));
    assert_eq!(launched[0].0.witness, None);
}

#[test]
fn what_differs_keeps_the_level_at_pinned_and_is_named() {
    let (two, _) = reached(CageLevel::Reproduced, &[report("a"), report("b")]);
    assert_eq!(two.level, "pinned");
    assert_eq!(two.downgraded.len(), 1);
    assert!(two.downgraded[0].starts_with("not reproduced: stdout_digest differ"), "{:?}", two.downgraded);
}

#[test]
fn a_run_without_a_verdict_is_not_made_again() {
    let mut lost = report("a");
    lost.verdict = metanode_cage::Verdict::NoVerdict("E_KILLED: why".into());
    let (one, launched) = reached(CageLevel::Replayed, &[lost.clone()]);
    assert_eq!(launched.len(), 1);
    assert_eq!(one.verdict, lost.verdict);

    let (two, _) = reached(CageLevel::Reproduced, &[report("a"), lost]);
    assert_eq!(two.level, "pinned");
    assert_eq!(two.downgraded, ["not reproduced: the second run has no verdict: E_KILLED: why"]);
}

#[test]
fn a_missing_witness_forfeits_replayed() {
    let (one, launched) = reached(CageLevel::Replayed, &[report("a")]);
    assert_eq!((one.level.as_str(), launched.len()), ("pinned", 1));
    assert!(one.downgraded[0].starts_with("not replayed: cannot open the witness"), "{:?}", one.downgraded);
}

#[test]
fn every_compared_field_is_noticed() {
    let before = report("a");
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 12] = [
        ("exit", |r| r.exit = metanode_cage::Exit::Code(1)),
        ("seed", |r| r.seed = None),
        ("stdout_digest", |r| r.stdout_digest.push('0')),
        ("stdout_bytes", |r| r.stdout_bytes += 1),
        ("stderr_digest", |r| r.stderr_digest.push('0')),
        ("output_digest", |r| r.output_digest = None),
        ("trace_hash", |r| r.trace_hash = None),
        ("trace_events", |r| r.trace_events += 1),
        ("witness_root", |r| r.witness_root = None),
        ("witness_entries", |r| r.witness_entries += 1),
        ("logical_ns", |r| r.logical_ns = None),
        ("fuel", |r| r.fuel = Some(1)),
    ];
    for (field, change) in changes {
        let mut after = before.clone();
        change(&mut after);
        assert_eq!(names(&differences(&before, &after)), field);
    }
    let mut slower = before.clone();
    slower.usage.cpu_ms += 1000;
    slower.ended_ms += 1000;
    assert_eq!(differences(&before, &slower), []);
}

#[test]
fn only_equal_machines_and_verdicts_are_compared() {
    let good = report("a");
    assert_eq!(comparable(&good, "class", "Linux 6 x86_64"), Ok(()));
    assert!(comparable(&good, "other", "Linux 6 x86_64").unwrap_err().contains("class class, here is other"));
    assert!(comparable(&good, "class", "Linux 7 x86_64").unwrap_err().contains("kernel"));
    let mut contained = good.clone();
    contained.trace_hash = None;
    assert!(comparable(&contained, "class", "Linux 6 x86_64").unwrap_err().contains("not determined"));
    let mut lost = good;
    lost.verdict = metanode_cage::Verdict::NoVerdict("E_KILLED".into());
    assert!(comparable(&lost, "class", "Linux 6 x86_64").unwrap_err().contains("no verdict"));
}

#[test]
fn a_statement_survives_its_file_and_a_torn_one_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("report.json");
    let inputs = Inputs::Native(NativeInputs::of(&spec(), Some(Stdin::of(b"in"))));
    let statement = Statement { report: report("a"), asked: CageLevel::Pinned, inputs };
    let text = serde_json::to_vec(&statement).expect("json");
    std::fs::write(&path, &text).expect("write");
    assert_eq!(Statement::read(&path).expect("read"), statement);
    std::fs::write(&path, &text[..text.len() - 1]).expect("write");
    assert!(Statement::read(&path).is_err());
    let Inputs::Native(given) = &statement.inputs else { panic!("native") };
    let again = given.spec("/".into(), "/nowhere/again".into());
    assert_eq!(NativeInputs::of(&again, given.stdin.clone()), *given);
}
