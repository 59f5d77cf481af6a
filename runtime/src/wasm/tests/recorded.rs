//! Witnesses of WASM runs: what they hold, that they are enough to run again, and that damage is seen.

use metanode_cage::Exit;
use metanode_cage::witness::{InputKind, Witness, diff};

use super::super::{call_name, recording};
use super::*;

/// Reads a file and standard input, draws randomness, sleeps, writes.
fn program() -> Run {
    let mut script = Script::new();
    script.open(b"in/data", 0).read(4, 8).dump(BUFFER, 8).read(0, 4).dump(BUFFER, 4);
    script.call("random_get", &[BUFFER, 16]).dump(BUFFER, 16).open(b"out", CREAT).write(5, b"result");
    let mut run = Run::new(&script.wat());
    run.spec.epoch_ns += 123;
    run.spec.files = vec![NamedFile { path: "/in/data".into(), bytes: b"declared".to_vec() }];
    run.stdin = vec![b'x'; 100_000];
    run
}

fn recorded(run: &mut Run, dir: &tempfile::TempDir, name: &str) -> (Ran, Witness) {
    let path = dir.path().join(name);
    run.record = Some((path.clone(), 1 << 20));
    let ran = run.go();
    (ran, Witness::open(&path).expect("a sound witness"))
}

#[test]
fn a_witness_holds_the_inputs_and_every_call() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = program();
    let unrecorded = run.go();
    let (ran, witness) = recorded(&mut run, &dir, "w");
    let outcome = &ran.outcome;
    assert_eq!(outcome.digest(), unrecorded.outcome.digest(), "a file changes no digest");
    assert!(outcome.replayable && !unrecorded.outcome.replayable);
    assert_eq!(witness.trace_hash(), hex::encode(outcome.trace_hash.0));
    assert_eq!(witness.witness_root(), hex::encode(outcome.witness_root.0));
    let inputs: Vec<_> = witness.inputs().map(|input| input.expect("an input")).collect();
    assert_eq!(inputs.len() as u64, outcome.witness_entries);
    assert_eq!((inputs[0].kind, &inputs[0].label[..]), (InputKind::File, "/in/data"));
    assert_eq!(inputs[0].bytes, b"declared");
    assert_eq!((inputs[1].kind, inputs[1].bytes.len()), (InputKind::Stdin, 100_000));
    let events: Vec<_> = witness.events().map(|event| event.expect("an event")).collect();
    let names: Vec<_> = events.iter().map(|event| call_name(event.number).expect("a known call")).collect();
    let expected = [
        "path_open",
        "fd_read",
        "fd_write",
        "fd_read",
        "fd_write",
        "random_get",
        "fd_write",
        "path_open",
        "fd_write",
        "fd_write",
        "end",
    ];
    assert_eq!(names, expected);
    assert_eq!(outcome.trace_events, 11);
    assert_eq!(outcome.host_calls, 10);
    assert_eq!(events[0].args[..6], [3, 1, 4096, 7, 0, ALL as u64]);
    assert!(events.windows(2).all(|pair| pair[0].clock_ns < pair[1].clock_ns || pair[1].number == 0));
    assert_eq!(witness.outcome().exit, Exit::Code(0));
}

#[test]
fn a_witness_alone_is_enough_to_run_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = program();
    let (first, witness) = recorded(&mut run, &dir, "w");
    let Run { module, .. } = run;
    let (spec, stdin) = recording::read(&witness, 0).expect("a replayable witness");
    assert_eq!(spec, run.spec);
    let again = Run { module, spec, stdin, record: None }.go();
    assert_eq!(again.outcome.digest(), first.outcome.digest());
    assert_eq!((again.stdout, again.stderr), (first.stdout, first.stderr));
}

#[test]
fn every_input_and_setting_is_bound_by_the_root() {
    let base = program().go().outcome;
    let root = |change: &dyn Fn(&mut Run)| {
        let mut run = program();
        change(&mut run);
        run.go().outcome.witness_root
    };
    assert_eq!(root(&|_| ()), base.witness_root);
    assert_eq!(root(&|run| run.spec.limits.wall_ms = 60_000), base.witness_root, "no outcome depends on it");
    let changes: [&dyn Fn(&mut Run); 7] = [
        &|run| run.spec.seed[0] ^= 1,
        &|run| run.spec.epoch_ns += 1,
        &|run| run.spec.args.push("x".into()),
        &|run| run.spec.env.push("A=b".into()),
        &|run| run.spec.limits.fuel += 1,
        &|run| run.stdin[99_999] ^= 1,
        &|run| run.spec.files[0].bytes[0] ^= 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_ne!(root(change), base.witness_root, "change {index}");
    }
}

#[test]
fn two_seeds_part_at_the_first_randomness() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = program();
    let (_, one) = recorded(&mut run, &dir, "one");
    run.spec.seed = [8; 32];
    let (_, two) = recorded(&mut run, &dir, "two");
    let divergence = diff(&one, &two, call_name).expect("two sound witnesses").expect("a difference");
    let text = format!("{divergence:?}");
    assert!(text.contains("random_get"), "{text}");
    assert!(!text.contains("path_open"), "{text}");
}

#[test]
fn a_witness_that_is_full_cannot_be_replayed_and_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = program();
    let path = dir.path().join("w");
    run.record = Some((path.clone(), 65_536));
    let full = run.go();
    assert!(!full.outcome.replayable);
    assert_eq!(full.outcome.digest(), program().go().outcome.digest(), "hashing went on");
    let witness = Witness::open(&path).expect("a sound witness");
    assert!(matches!(recording::read(&witness, 0), Err(Error::ReplayWitness { .. })));
}

#[test]
fn a_flipped_byte_anywhere_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("w");
    let mut run = program();
    run.stdin.truncate(40);
    run.record = Some((path.clone(), 1 << 20));
    run.go();
    let sound = std::fs::read(&path).expect("the witness");
    let damaged = dir.path().join("damaged");
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&damaged, &bytes).expect("a file");
        assert!(Witness::open(&damaged).is_err(), "byte {at} of {}", sound.len());
    }
}

#[test]
fn a_witness_that_cannot_be_written_leaves_no_verdict() {
    let mut run = program();
    run.record = Some(("/dev/full".into(), 1 << 20));
    match run.try_go() {
        Err(Error::StartModule { reason }) => assert!(reason.contains("witness"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
