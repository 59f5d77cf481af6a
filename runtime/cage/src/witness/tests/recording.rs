//! What is hashed and what is written.

use std::collections::BTreeMap;
use std::fs::File;

use sha2::{Digest, Sha256};

use crate::Exit;
use crate::witness::bytes::{Cursor, put_int, put_uint, uint_len};
use crate::witness::merkle::{Hash, Tree};
use crate::witness::*;

pub(super) fn header() -> RunHeader {
    RunHeader {
        image: "sha256:00ff".into(),
        argv: vec!["/bin/sh".into(), "-c".into(), "date".into()],
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        hostname: "cage".into(),
        limits: BTreeMap::from([("nofile".into(), 1024), ("pids".into(), 128)]),
        seed: [7; 32],
        epoch_ms: 1_700_000_000_000,
        cage_abi: 1,
        cpu_class: "c1".into(),
        level: "pinned".into(),
        kernel: "Linux 6.1 x86_64".into(),
    }
}

pub(super) fn outcome() -> Outcome {
    Outcome {
        exit: Exit::Code(0),
        stdout_digest: "11".repeat(32),
        stderr_digest: "22".repeat(32),
        output_digest: Some("33".repeat(32)),
        logical_ns: 5_000,
    }
}

/// Records `events` calls (call 7 with `changed` data) and two inputs, the second of `bulk` bytes.
pub(super) fn record(
    file: Option<File>,
    limit: u64,
    header: &RunHeader,
    events: u64,
    bulk: usize,
    changed: &[u8],
) -> Recorded {
    let mut recorder = Recorder::new(header, file, limit).unwrap();
    recorder.input(&Input { kind: InputKind::Stdin, label: "", bytes: b"hello", at_event: 0 }).unwrap();
    for seq in 0..events {
        let data: &[u8] = if seq == 7 { changed } else { b"some data" };
        let args = [seq, 1, 2, 0, u64::MAX, 1 << 40];
        let (number, result, clock_ns) = ((seq % 3) as u32, -(seq as i64), 1000 * seq);
        recorder.event(&Event { task: 1, number, args, result, clock_ns, data: &[data] }).unwrap();
        if seq == events / 2 {
            let bytes: Vec<u8> = (0..bulk).map(|i| (i % 251) as u8).collect();
            let (kind, at_event) = (InputKind::Receive, recorder.events());
            recorder.input(&Input { kind, label: "h:80#0", bytes: &bytes, at_event }).unwrap();
        }
    }
    recorder.finish(&outcome()).unwrap()
}

/// The root by the definition of RFC 9162, section 2.1.1.
fn root_by_recursion(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let pair = [root_by_recursion(left), root_by_recursion(right)].concat();
            Sha256::new_with_prefix([1]).chain_update(pair).finalize().into()
        }
    }
}

#[test]
fn the_tree_is_that_of_the_rfc() {
    let leaves: Vec<Hash> = (0..130u8).map(|i| Sha256::digest([0, i]).into()).collect();
    let mut tree = Tree::default();
    for count in 0..=leaves.len() {
        assert_eq!(tree.root(), root_by_recursion(&leaves[..count]), "{count} leaves");
        if let Some(leaf) = leaves.get(count) {
            tree.push(*leaf);
        }
    }
}

#[test]
fn the_tree_matches_published_roots() {
    // The test vectors of the Certificate Transparency reference implementation: eight leaves.
    let leaves: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into());
    }
    let root = crate::sys::hex(&tree.root());
    assert_eq!(root, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn integers_have_one_form() {
    for value in [0, 1, 0xff, 0x100, u64::from(u32::MAX), 1 << 40, u64::MAX - 1, u64::MAX] {
        let mut out = Vec::new();
        put_uint(&mut out, value);
        assert_eq!(out.len(), uint_len(value));
        assert_eq!(Cursor::new(&out).uint(), Ok(value));
        let signed = value as i64;
        out.clear();
        put_int(&mut out, signed);
        assert_eq!(Cursor::new(&out).int(), Ok(signed));
    }
    assert!(Cursor::new(&[1, 0]).uint().is_err(), "zero is the length 0 alone");
    assert!(Cursor::new(&[2, 5, 0]).uint().is_err(), "no leading zeros");
    assert!(Cursor::new(&[9, 1, 1, 1, 1, 1, 1, 1, 1, 1]).uint().is_err());
    assert!(Cursor::new(&[3, 1]).uint().is_err());
}

#[test]
fn hashes_do_not_depend_on_the_file_or_its_limit() {
    let plain = record(None, 0, &header(), 5000, 200_000, b"x");
    assert!(plain.truncated && plain.trace_truncated && plain.bytes == 0);
    for (limit, truncated, trace_truncated) in
        [(0, true, true), (100_000, true, true), (440_000, false, true), (1 << 24, false, false)]
    {
        let file = tempfile::tempfile().unwrap();
        let length = file.try_clone().unwrap();
        let kept = record(Some(file), limit, &header(), 5000, 200_000, b"x");
        assert_eq!((&kept.trace_hash, &kept.witness_root), (&plain.trace_hash, &plain.witness_root));
        assert_eq!((kept.truncated, kept.trace_truncated), (truncated, trace_truncated), "limit {limit}");
        assert_eq!((kept.events, kept.entries), (5000, 2));
        assert_eq!(kept.bytes, length.metadata().unwrap().len());
        assert!(kept.bytes <= limit + 1000, "{} of {limit}", kept.bytes);
    }
}

#[test]
fn every_part_of_an_event_and_of_an_input_is_hashed() {
    let event = Event { task: 1, number: 2, args: [3; 6], result: 4, clock_ns: 5, data: &[b"ab"] };
    let hash_of = |event: Event<'_>| {
        let mut recorder = Recorder::new(&header(), None, 0).unwrap();
        recorder.event(&event).unwrap();
        recorder.finish(&outcome()).unwrap().trace_hash
    };
    let long = vec![1; 5000];
    let mut other = long.clone();
    other[4999] = 2;
    let mut hashes = vec![
        hash_of(event),
        hash_of(Event { task: 9, ..event }),
        hash_of(Event { number: 9, ..event }),
        hash_of(Event { args: [3, 3, 3, 3, 3, 9], ..event }),
        hash_of(Event { result: -4, ..event }),
        hash_of(Event { clock_ns: 9, ..event }),
        hash_of(Event { data: &[b"ac"], ..event }),
        hash_of(Event { data: &[b"a", b"b"], ..event }),
        hash_of(Event { data: &[], ..event }),
        hash_of(Event { data: &[&long], ..event }),
        hash_of(Event { data: &[&other], ..event }),
    ];
    let input = Input { kind: InputKind::File, label: "/in", bytes: b"xy", at_event: 3 };
    let root_of = |header: &RunHeader, input: Input<'_>| {
        let mut recorder = Recorder::new(header, None, 0).unwrap();
        recorder.input(&input).unwrap();
        recorder.finish(&outcome()).unwrap().witness_root
    };
    hashes.extend([
        root_of(&header(), input),
        root_of(&header(), Input { kind: InputKind::Stdin, ..input }),
        root_of(&header(), Input { label: "/im", ..input }),
        root_of(&header(), Input { bytes: b"xz", ..input }),
        root_of(&header(), Input { at_event: 4, ..input }),
        root_of(&RunHeader { seed: [8; 32], ..header() }, input),
        root_of(&RunHeader { env: vec![], ..header() }, input),
    ]);
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count, "two different runs have one hash");
    let notes = RunHeader { level: "replayed".into(), kernel: "Linux 7".into(), ..header() };
    assert_eq!(root_of(&notes, input), root_of(&header(), input), "notes are not bound");
}

#[test]
fn what_cannot_be_recorded_is_refused() {
    let mut recorder = Recorder::new(&header(), None, 0).unwrap();
    let event = Event { task: 1, number: 0, args: [0; 6], result: 0, clock_ns: 0, data: &[] };
    let pieces: Vec<&[u8]> = vec![b"x"; MAX_SLICES + 1];
    assert!(recorder.event(&Event { data: &pieces, ..event }).is_err());
    recorder.event(&Event { data: &pieces[..MAX_SLICES], ..event }).unwrap();
    let input = Input { kind: InputKind::Stdin, label: "", bytes: b"", at_event: 1 };
    recorder.input(&input).unwrap();
    assert!(recorder.input(&Input { at_event: 0, ..input }).is_err());
    let label = "x".repeat(MAX_LABEL_BYTES + 1);
    assert!(recorder.input(&Input { label: &label, ..input }).is_err());
    assert!(recorder.finish(&Outcome { stdout_digest: "zz".repeat(32), ..outcome() }).is_err());
    let argv = vec!["x".repeat(MAX_HEADER_BYTES)];
    assert!(Recorder::new(&RunHeader { argv, ..header() }, None, 0).is_err());
}

#[test]
fn a_failed_write_is_final() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(Recorder::new(&header(), Some(full), 1 << 20).is_err());
}
