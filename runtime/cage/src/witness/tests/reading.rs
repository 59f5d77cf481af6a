//! What was written is what is read.

use std::io::{Seek, SeekFrom};

use super::recording::{header, outcome, record};
use crate::witness::*;

/// A recording and the witness read from it.
pub(super) fn recorded(limit: u64, events: u64, bulk: usize, changed: &[u8]) -> (Recorded, Witness) {
    let mut file = tempfile::tempfile().unwrap();
    let recorded = record(Some(file.try_clone().unwrap()), limit, &header(), events, bulk, changed);
    file.seek(SeekFrom::Start(0)).unwrap();
    (recorded, Witness::read(file).unwrap())
}

#[test]
fn everything_comes_back() {
    let (recorded, witness) = recorded(1 << 24, 5000, 300_000, b"x");
    assert_eq!(witness.header(), &header());
    assert_eq!(witness.outcome(), &outcome());
    assert_eq!(witness.trace_hash(), recorded.trace_hash);
    assert_eq!(witness.witness_root(), recorded.witness_root);
    assert_eq!((witness.event_count(), witness.input_count()), (5000, 2));
    assert_eq!(witness.bytes(), recorded.bytes);
    assert!(!witness.truncated() && !witness.trace_truncated());
    assert!(witness.chunks(Log::Trace) > 2 && witness.chunks(Log::Input) > 4);
    let events: Vec<OwnedEvent> = witness.events().map(Result::unwrap).collect();
    assert_eq!(events.len(), 5000);
    for (seq, event) in (0..).zip(&events) {
        let data = if seq == 7 { b"x".to_vec() } else { b"some data".to_vec() };
        let (args, result) = ([seq, 1, 2, 0, u64::MAX, 1 << 40], -(seq as i64));
        let (number, clock_ns, data) = ((seq % 3) as u32, 1000 * seq, vec![Data::Inline(data)]);
        assert_eq!(*event, OwnedEvent { seq, task: 1, number, args, result, clock_ns, data });
    }
    let inputs: Vec<OwnedInput> = witness.inputs().map(Result::unwrap).collect();
    assert_eq!(inputs.len(), 2);
    assert_eq!((inputs[0].kind, &inputs[0].bytes[..]), (InputKind::Stdin, &b"hello"[..]));
    assert_eq!((inputs[1].seq, inputs[1].at_event, inputs[1].label.as_str()), (1, 2501, "h:80#0"));
    assert!(inputs[1].bytes.iter().enumerate().all(|(i, byte)| *byte == (i % 251) as u8));
    assert_eq!(inputs[1].bytes.len(), 300_000);
}

#[test]
fn an_empty_run_comes_back() {
    let (recorded, witness) = recorded(0, 0, 0, b"");
    assert!(recorded.truncated, "the one input had no room");
    assert!(!recorded.trace_truncated, "there was no event to drop");
    assert_eq!(witness.events().count(), 0);
    assert!(witness.truncated() && !witness.trace_truncated());
}

#[test]
fn what_the_limit_dropped_is_said() {
    for (limit, first) in [(0, 0), (150_000, 1), (200_000, 1)] {
        let (recorded, witness) = recorded(limit, 20_000, 300_000, b"x");
        assert_eq!(witness.truncated(), recorded.truncated);
        assert!(witness.truncated() && witness.trace_truncated(), "limit {limit}");
        assert_eq!(witness.trace_hash(), recorded.trace_hash);
        assert_eq!(witness.witness_root(), recorded.witness_root);
        let inputs: Vec<_> = witness.inputs().collect();
        let Some(Err(WitnessError::Dropped { log: Log::Input, first: said })) = inputs.last() else {
            panic!("{:?}", inputs.last())
        };
        assert_eq!(*said, first, "limit {limit}");
        assert_eq!(inputs.len() as u64, first + 1);
        let events: Vec<_> = witness.events().collect();
        let Some(Err(WitnessError::Dropped { log: Log::Trace, first: said })) = events.last() else {
            panic!("{:?}", events.last())
        };
        assert_eq!(*said, events.len() as u64 - 1);
    }
}

#[test]
fn long_data_stands_as_its_digest() {
    use sha2::{Digest, Sha256};
    let mut file = tempfile::tempfile().unwrap();
    let mut recorder = Recorder::new(&header(), Some(file.try_clone().unwrap()), 1 << 20).unwrap();
    let (long, edge) = (vec![1; 4097], vec![2; 4096]);
    let data: [&[u8]; 7] = [&long, &edge, &edge, &edge, &edge, &edge, b""];
    recorder.event(&Event { task: 1, number: 0, args: [0; 6], result: 0, clock_ns: 0, data: &data }).unwrap();
    recorder.finish(&outcome()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let witness = Witness::read(file).unwrap();
    let event = witness.events().next().unwrap().unwrap();
    let digest =
        |bytes: &[u8]| Data::Digest { length: bytes.len() as u64, sha256: Sha256::digest(bytes).into() };
    assert_eq!(event.data[0], digest(&long));
    for kept in 1..5 {
        assert_eq!(event.data[kept], Data::Inline(edge.clone()));
    }
    assert_eq!(event.data[5], digest(&edge), "past what one event keeps");
    assert_eq!(event.data[6], Data::Inline(Vec::new()));
}

/// Numbers that look random and are always the same (splitmix64).
pub(super) fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Property: any run comes back as it was, wherever its records fall among the chunks.
#[test]
fn any_run_comes_back() {
    for seed in 0..60 {
        let mut next = numbers(seed);
        let mut file = tempfile::tempfile().unwrap();
        let mut recorder = Recorder::new(&header(), Some(file.try_clone().unwrap()), 1 << 26).unwrap();
        let (mut events, mut inputs) = (Vec::new(), Vec::new());
        for _ in 0..next() % 400 {
            if next().is_multiple_of(4) {
                let near_a_chunk = CHUNK_BYTES as u64 - 30 + next() % 60;
                let length = [0, next() % 40, near_a_chunk, next() % 200_000][(next() % 4) as usize];
                let bytes: Vec<u8> = (0..length).map(|i| (i ^ seed) as u8).collect();
                let kind = if length.is_multiple_of(2) { InputKind::File } else { InputKind::Host };
                let (label, at_event, seq) = (format!("/{length}"), recorder.events(), recorder.entries());
                recorder.input(&Input { kind, label: &label, bytes: &bytes, at_event }).unwrap();
                inputs.push(OwnedInput { seq, at_event, kind, label, bytes });
            } else {
                let pieces: Vec<Vec<u8>> =
                    (0..next() % 5).map(|_| vec![next() as u8; (next() % 4097) as usize]).collect();
                let data: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
                let args = std::array::from_fn(|_| next() >> (next() % 64));
                let (task, number, result) = (next() as u32, next() as u32, next() as i64 >> (next() % 64));
                let (clock_ns, seq) = (next() >> (next() % 64), recorder.events());
                recorder.event(&Event { task, number, args, result, clock_ns, data: &data }).unwrap();
                let data = pieces.into_iter().map(Data::Inline).collect();
                events.push(OwnedEvent { seq, task, number, args, result, clock_ns, data });
            }
        }
        recorder.finish(&outcome()).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let witness = Witness::read(file).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let read: Vec<OwnedEvent> = witness.events().map(Result::unwrap).collect();
        assert!(read == events, "events of seed {seed}");
        let read: Vec<OwnedInput> = witness.inputs().map(Result::unwrap).collect();
        assert!(read == inputs, "inputs of seed {seed}");
    }
}
