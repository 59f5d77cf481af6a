//! Files whose every hash is right and whose content no recorder writes: there is one form for every run.

use std::io::{Seek, SeekFrom, Write};

use super::recording::{header, outcome, record};
use crate::witness::chunk::{self, Head, Totals};
use crate::witness::merkle::Tree;
use crate::witness::recorder::{FOOTER_TAG, Footer, put_block};
use crate::witness::*;

/// A chunk as its forger wants it: records, how many of them count, and whether they are in the file.
struct Forged {
    log: Log,
    records: Vec<u8>,
    count: u32,
    kept: bool,
}

fn forged(log: Log, count: u32, records: Vec<u8>) -> Forged {
    Forged { log, records, count, kept: true }
}

/// The file with these chunks, its footer drawn up to match and then changed.
fn file(chunks: &[Forged], change: impl FnOnce(&mut Footer)) -> Result<Witness, WitnessError> {
    let mut bytes = MAGIC.to_vec();
    put_block(&mut bytes, &header().encode());
    let totals = |log| {
        let (mut tree, mut totals) = (Tree::default(), (0, 0, 0));
        for part in chunks.iter().filter(|part| part.log == log) {
            tree.push(chunk::leaf(log, totals.0, part.count, &part.records));
            totals = (totals.0 + u64::from(part.count), totals.1 + 1, totals.2 + part.records.len() as u64);
        }
        Totals { count: totals.0, chunks: totals.1, bytes: totals.2, root: tree.root() }
    };
    let mut firsts = [0, 0];
    for Forged { log, records, count, kept } in chunks {
        let first = &mut firsts[usize::from(*log == Log::Input)];
        let leaf = chunk::leaf(*log, *first, *count, records);
        let length = records.len() as u32;
        let head = Head { log: *log, kept: *kept, first: *first, count: *count, length, leaf };
        bytes.extend_from_slice(&head.encode());
        if *kept {
            bytes.extend_from_slice(records);
        }
        *first += u64::from(*count);
    }
    let mut footer = Footer { trace: totals(Log::Trace), inputs: totals(Log::Input), outcome: outcome() };
    change(&mut footer);
    bytes.push(FOOTER_TAG);
    put_block(&mut bytes, &footer.encode().unwrap());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    Witness::read(file)
}

/// Records of `events` small calls.
fn events(events: std::ops::Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    for seq in events {
        let (args, clock_ns) = ([seq; 6], seq);
        event::put(&mut out, &Event { task: 1, number: 0, args, result: 0, clock_ns, data: &[] });
    }
    out
}

/// The opening of an input of `length` bytes.
fn opening(at_event: u64, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    input::put_opening(&mut out, &input::Opening { at_event, kind: InputKind::File, label: "/in", length });
    out
}

fn part(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    input::put_part(&mut out, length, &mut std::io::repeat(7)).unwrap();
    out
}

/// Why the first refused chunk was refused.
fn why(result: Result<Witness, WitnessError>) -> &'static str {
    match result {
        Err(WitnessError::Chunk { why, .. } | WitnessError::Totals { what: why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_forger_can_write_what_a_recorder_writes() {
    let full = input::part_len(CHUNK_BYTES - opening(0, 100_000).len(), 100_000);
    let first = [opening(0, 100_000), part(full)].concat();
    assert_eq!(first.len(), CHUNK_BYTES);
    let chunks = [
        forged(Log::Trace, 9, events(0..9)),
        forged(Log::Input, 1, first),
        forged(Log::Input, 0, part(100_000 - full)),
    ];
    let witness = file(&chunks, |_| ()).unwrap();
    assert_eq!((witness.events().count(), witness.inputs().count()), (9, 1));
}

#[test]
fn a_log_is_cut_in_one_way_only() {
    let halves = [forged(Log::Trace, 5, events(0..5)), forged(Log::Trace, 4, events(5..9))];
    assert_eq!(why(file(&halves, |_| ())), "its first record had room in the chunk before");
    let halves = [forged(Log::Input, 1, opening(0, 0)), forged(Log::Input, 1, opening(0, 0))];
    assert_eq!(why(file(&halves, |_| ())), "its first record had room in the chunk before");
    let early = [forged(Log::Input, 1, opening(0, 50)), forged(Log::Input, 0, part(50))];
    assert_eq!(why(file(&early, |_| ())), "it ends inside an input");
    let pieces = [forged(Log::Input, 1, [opening(0, 50), part(20), part(30)].concat())];
    assert_eq!(why(file(&pieces, |_| ())), "a part of an input is not cut where it must be");
    let empty = [forged(Log::Input, 1, [opening(0, 0), part(0)].concat())];
    assert_eq!(why(file(&empty, |_| ())), "a part of an input is not cut where it must be");
    let inside = [forged(Log::Input, 2, [opening(0, 50), opening(0, 50)].concat())];
    assert_eq!(why(file(&inside, |_| ())), "an input begins inside another");
}

#[test]
fn inputs_do_not_go_back_in_time() {
    let back = [forged(Log::Input, 2, [opening(5, 0), opening(4, 0)].concat())];
    assert_eq!(why(file(&back, |_| ())), "an input is before the one before it");
}

#[test]
fn an_input_that_never_ends_is_refused() {
    let full = input::part_len(CHUNK_BYTES - opening(0, 100_000).len(), 100_000);
    let open = [forged(Log::Input, 1, [opening(0, 100_000), part(full)].concat())];
    assert_eq!(why(file(&open, |_| ())), "the end of the last input");
}

#[test]
fn the_footer_must_sum_up_the_chunks() {
    let chunks = || [forged(Log::Trace, 9, events(0..9))];
    assert_eq!(why(file(&chunks(), |footer| footer.trace.count += 1)), "the number of records");
    assert_eq!(why(file(&chunks(), |footer| footer.trace.chunks += 1)), "the number of chunks");
    assert_eq!(why(file(&chunks(), |footer| footer.trace.bytes += 1)), "the number of bytes");
    assert_eq!(why(file(&chunks(), |footer| footer.trace.root[0] ^= 1)), "the root");
    assert_eq!(why(file(&chunks(), |footer| footer.inputs.count += 1)), "the number of records");
}

#[test]
fn nothing_is_kept_after_something_was_dropped() {
    let dropped = Forged { kept: false, ..forged(Log::Trace, 5, events(0..5)) };
    let after = forged(Log::Trace, 4, events(5..9));
    assert_eq!(why(file(&[dropped, after], |_| ())), "it follows a chunk that was dropped");
    // A dropped head that counts more than the footer does, where the footer cannot be computed again.
    let dropped = Forged { kept: false, ..forged(Log::Trace, 5, events(0..5)) };
    let more = |footer: &mut Footer| (footer.trace.chunks, footer.trace.count) = (2, 4);
    assert_eq!(why(file(&[dropped], more)), "the number of records");
}

#[test]
fn a_file_that_changes_under_the_reader_is_an_error() {
    let mut file = tempfile::tempfile().unwrap();
    record(Some(file.try_clone().unwrap()), 1 << 20, &header(), 100, 40, b"x");
    file.seek(SeekFrom::Start(0)).unwrap();
    let witness = Witness::read(file.try_clone().unwrap()).unwrap();
    let offset = witness.index(Log::Trace)[0].offset;
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[9]).unwrap();
    let read: Vec<_> = witness.events().collect();
    assert_eq!(read.len(), 1, "nothing follows the error");
    let Err(WitnessError::Chunk { log: Log::Trace, chunk: 0, why, .. }) = &read[0] else {
        panic!("{read:?}")
    };
    assert_eq!(*why, "the file changed while it was read");
    assert_eq!(witness.inputs().filter(Result::is_ok).count(), 2, "the other log is as it was");
}
