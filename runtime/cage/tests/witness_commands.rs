//! `inspect` and `diff` of `metanode-cage`: what they print and how they exit.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use metanode_cage::Exit;
use metanode_cage::witness::{Event, Input, InputKind, Outcome, Recorded, Recorder, RunHeader};

fn run(words: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metanode-cage")).args(words).args(files).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A run of 3000 calls to `write`, the one numbered `odd` of which wrote something else.
fn write(path: &Path, odd: Option<u64>) -> Recorded {
    let header = RunHeader { argv: vec!["/bin/true".into()], level: "pinned".into(), ..RunHeader::default() };
    let mut recorder = Recorder::new(&header, Some(File::create(path).unwrap()), 1 << 20).unwrap();
    recorder.input(&Input { kind: InputKind::Stdin, label: "", bytes: b"hello", at_event: 0 }).unwrap();
    for seq in 0..3000 {
        let data: &[u8] = if odd == Some(seq) { b"line of mine" } else { b"line of text" };
        let (args, result, clock_ns) = ([1, 0, 12, 0, 0, 0], 12, 1000 * seq);
        recorder.event(&Event { task: 2, number: 1, args, result, clock_ns, data: &[data] }).unwrap();
    }
    let (stdout_digest, stderr_digest) = ("00".repeat(32), "00".repeat(32));
    let exit = Exit::Code(0);
    let outcome = Outcome { exit, stdout_digest, stderr_digest, output_digest: None, logical_ns: 3_000_000 };
    recorder.finish(&outcome).unwrap()
}

fn witnesses(dir: &Path) -> (PathBuf, PathBuf, PathBuf, Recorded) {
    let [a, same, other] = ["a", "same", "other"].map(|name| dir.join(name));
    let recorded = write(&a, None);
    write(&same, None);
    write(&other, Some(1234));
    (a, same, other, recorded)
}

#[test]
fn inspect_says_what_is_in_a_witness() {
    let dir = tempfile::tempdir().unwrap();
    let (a, _, _, recorded) = witnesses(dir.path());
    let output = run(&["inspect", "--json"], &[&a]);
    assert_eq!(output.status.code(), Some(0));
    let said = json(&output);
    assert_eq!(said["trace_hash"], recorded.trace_hash);
    assert_eq!(said["witness_root"], recorded.witness_root);
    assert_eq!(said["file_bytes"], recorded.bytes);
    assert_eq!(
        said["calls"],
        serde_json::json!([{"number": 1, "name": "write", "count": 3000, "failed": 0}])
    );
    assert_eq!(said["listed_inputs"][0]["kind"], "stdin");
    let text = String::from_utf8(run(&["inspect"], &[&a]).stdout).unwrap();
    for part in ["trace hash    ", &recorded.trace_hash, "3000 write (1), 0 failed", "replayable    yes"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn inspect_lists_every_trapped_call() {
    let dir = tempfile::tempdir().unwrap();
    let (a, ..) = witnesses(dir.path());
    let text = String::from_utf8(run(&["inspect", "--events"], &[&a]).stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3000);
    let last =
        "2999 task 2 write(0x1, 0x0, 0xc, 0x0, 0x0, 0x0) = 12 at 2999000 ns [12 bytes \"line of text\"]";
    assert_eq!(lines[2999], last);
    let output = run(&["inspect", "--events", "--json"], &[&a]);
    let text = String::from_utf8(output.stdout).unwrap();
    let second: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&second["seq"], &second["name"], &second["result"]),
        (&1.into(), &"write".into(), &12.into())
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (a, ..) = witnesses(dir.path());
    for words in [["inspect", "--events"], ["inspect", "--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metanode-cage"));
        let mut child =
            command.args(words).arg(&a).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]), "{words:?}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_metanode-cage"));
    let output = command.args(["inspect", "--events"]).arg(&a).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "a full disk is one");
}

#[test]
fn diff_exits_with_one_only_when_they_differ() {
    let dir = tempfile::tempdir().unwrap();
    let (a, same, other, _) = witnesses(dir.path());
    let equal = run(&["diff"], &[&a, &same]);
    assert_eq!((equal.status.code(), &equal.stdout[..]), (Some(0), &b"no difference\n"[..]));
    let equal = run(&["diff", "--json"], &[&a, &same]);
    assert_eq!((equal.status.code(), json(&equal)), (Some(0), serde_json::Value::Null));
    let differ = run(&["diff"], &[&a, &other]);
    assert_eq!(differ.status.code(), Some(1));
    let text = String::from_utf8(differ.stdout).unwrap();
    for part in
        ["first divergent event: number 1234 differs in data 0", "task 2 write(0x1,", "byte 8 (of 12 and 12)"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let differ = run(&["diff", "--json"], &[&a, &other]);
    assert_eq!(differ.status.code(), Some(1));
    let differs = &json(&differ)["trace"]["differs"];
    assert_eq!((&differs["seq"], &differs["bytes"]["offset"]), (&1234.into(), &8.into()));
}

#[test]
fn a_damaged_witness_is_named_and_never_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (a, _, other, _) = witnesses(dir.path());
    let mut bytes = std::fs::read(&other).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&other, bytes).unwrap();
    for output in [run(&["diff"], &[&a, &other]), run(&["inspect"], &[&other])] {
        assert_eq!(output.status.code(), Some(125));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("other: trace chunk ") && said.contains("do not match its hash"), "{said}");
    }
    assert_eq!(run(&["diff"], &[&a, &dir.path().join("absent")]).status.code(), Some(125));
    assert_eq!(run(&["diff"], &[&a]).status.code(), Some(2));
    assert_eq!(run(&["inspect", "--yaml"], &[&a]).status.code(), Some(2));
}
