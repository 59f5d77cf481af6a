//! Two witnesses differ where the runs did, and the comparison says so.

use std::io::{Seek, SeekFrom};

use super::reading::recorded;
use super::recording::{header, outcome};
use crate::witness::diff::common_prefix;
use crate::witness::*;

fn names(number: u32) -> Option<&'static str> {
    [Some("read"), Some("write"), None].get(number as usize).copied().flatten()
}

/// One change of an event.
type Change = fn(&mut OwnedEvent);

/// What a test run does; each field changes one thing.
#[derive(Clone)]
struct Run {
    header: RunHeader,
    outcome: Outcome,
    events: u64,
    inputs: u64,
    limit: u64,
    /// Changes event `.0`, in the way `.1`.
    change: Option<(u64, Change)>,
    /// Changes the byte `.1` of input `.0`.
    input: Option<(u64, usize)>,
}

impl Default for Run {
    fn default() -> Self {
        let (header, outcome) = (header(), outcome());
        Self { header, outcome, events: 6000, inputs: 5, limit: 1 << 26, change: None, input: None }
    }
}

impl Run {
    fn record(&self) -> Witness {
        let mut file = tempfile::tempfile().unwrap();
        let mut recorder = Recorder::new(&self.header, Some(file.try_clone().unwrap()), self.limit).unwrap();
        for seq in 0..self.inputs {
            let mut bytes: Vec<u8> = (0..100_000u64).map(|i| (i % 95) as u8 + 32).collect();
            if let Some((_, at)) = self.input.filter(|(input, _)| *input == seq) {
                bytes[at] = 0xff;
            }
            let (label, kind) = (format!("/in/{seq}"), InputKind::File);
            recorder.input(&Input { kind, label: &label, bytes: &bytes, at_event: 0 }).unwrap();
        }
        for seq in 0..self.events {
            let data = vec![Data::Inline(format!("the data of event {seq}, of some length").into_bytes())];
            let (number, args, clock_ns) = ((seq % 3) as u32, [seq, 0, 0, 0, 0, 0], 1000 * seq);
            let mut event = OwnedEvent { seq, task: 1, number, args, result: 38, clock_ns, data };
            if let Some((_, change)) = self.change.filter(|(changed, _)| *changed == seq) {
                change(&mut event);
            }
            let inline: Vec<&[u8]> = event
                .data
                .iter()
                .map(|data| match data {
                    Data::Inline(bytes) => &bytes[..],
                    Data::Digest { .. } => unreachable!("the run has no long data"),
                })
                .collect();
            let OwnedEvent { task, number, args, result, clock_ns, .. } = event;
            recorder.event(&Event { task, number, args, result, clock_ns, data: &inline }).unwrap();
        }
        recorder.finish(&self.outcome).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        Witness::read(file).unwrap()
    }
}

fn compare(a: &Run, b: &Run) -> Option<Divergence> {
    diff(&a.record(), &b.record(), names).unwrap()
}

#[test]
fn bisection_finds_the_place_in_logarithmic_steps() {
    for positions in 0..200 {
        for equal in 0..=positions {
            assert_eq!(common_prefix(positions, |at| at < equal), equal);
        }
    }
    for equal in [0, 1, 499_999, 999_999, 1_000_000] {
        let mut asked = 0;
        let found = common_prefix(1_000_000, |at| {
            asked += 1;
            at < equal
        });
        assert_eq!(found, equal);
        assert!(asked <= 20, "{asked} comparisons among 2^20 chunks");
    }
}

#[test]
fn equal_runs_do_not_differ() {
    assert_eq!(compare(&Run::default(), &Run::default()), None);
    let mut notes = Run::default();
    notes.header.kernel = "Linux 7".into();
    notes.header.level = "replayed".into();
    assert_eq!(compare(&Run::default(), &notes), None, "notes make no difference by themselves");
    let cut = Run { limit: 150_000, ..Run::default() };
    let witness = cut.record();
    assert!(witness.truncated() && witness.trace_truncated());
    assert_eq!(compare(&Run::default(), &cut), None, "the limit makes no difference");
    let bare = Run { limit: 0, ..Run::default() };
    assert_eq!(compare(&bare, &Run::default()), None);
}

#[test]
fn the_first_event_that_differs_is_named() {
    let changes: [(Change, &str); 6] = [
        (|event| event.task = 2, "task"),
        (|event| event.number += 1, "call"),
        (|event| event.args[3] = 9, "argument 3"),
        (|event| event.result = -11, "result"),
        (|event| event.clock_ns += 1, "clock"),
        (|event| event.data.push(Data::Inline(vec![1])), "pieces of data"),
    ];
    let whole = Run::default().record();
    assert!(whole.chunks(Log::Trace) >= 5);
    for at in [0, 1, 2999, 5998] {
        for (change, field) in changes {
            let other = Run { change: Some((at, change)), ..Run::default() };
            let found = diff(&whole, &other.record(), names).unwrap().expect("a difference");
            assert!(found.header.is_empty() && found.outcome.is_empty() && found.inputs.is_none());
            let Some(LogDivergence::Differs { seq, fields, a, .. }) = found.trace else {
                panic!("{:?}", found.trace)
            };
            assert_eq!((seq, fields), (at, vec![field.to_string()]));
            assert_eq!((a.task, a.name, a.clock_ns), (1, names((at % 3) as u32), 1000 * at));
        }
    }
}

#[test]
fn the_bytes_that_differ_are_shown() {
    let changed = |event: &mut OwnedEvent| {
        let Data::Inline(bytes) = &mut event.data[0] else { unreachable!() };
        bytes[20] = 0;
    };
    let found = compare(&Run::default(), &Run { change: Some((4321, changed)), ..Run::default() });
    let found = found.expect("a difference");
    let text = found.to_string();
    let Some(LogDivergence::Differs { seq: 4321, bytes: Some(bytes), fields, .. }) = found.trace else {
        panic!("{:?}", found.trace)
    };
    assert_eq!(fields, ["data 0"]);
    assert_eq!((bytes.piece, bytes.offset, bytes.from), (0, 20, 4));
    assert_eq!(bytes.a.text, "data of event 4321, of some length");
    assert_eq!(bytes.b.text, "data of event 43.1, of some length");
    assert!(bytes.a.hex.starts_with("64617461206f66206576656e7420343332") && bytes.a.length == 38);
    for part in ["number 4321 differs in data 0", "task 1 write(0x10e1, ", "byte 20 (of 38 and 38)"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_trace_that_ends_earlier_is_named() {
    for shorter in [0, 1, 2999, 5999] {
        let short = Run { events: shorter, ..Run::default() };
        for (a, b, side) in [(&Run::default(), &short, Side::A), (&short, &Run::default(), Side::B)] {
            let found = compare(a, b).expect("a difference");
            let Some(LogDivergence::Ends { seq, goes_on, next }) = found.trace else {
                panic!("{:?}", found.trace)
            };
            assert_eq!((seq, goes_on, next.args[0]), (shorter, side, shorter));
        }
    }
}

#[test]
fn the_first_input_that_differs_is_named() {
    for (input, at) in [(0, 0), (0, 99_999), (2, 50_000), (4, 99_999)] {
        let other = Run { input: Some((input, at)), ..Run::default() };
        let found = compare(&Run::default(), &other).expect("a difference");
        assert!(found.trace.is_none());
        let Some(LogDivergence::Differs { seq, fields, a, bytes: Some(bytes), .. }) = found.inputs else {
            panic!("{:?}", found.inputs)
        };
        assert_eq!((seq, fields, a.label), (input, vec!["bytes".to_string()], format!("/in/{input}")));
        assert_eq!(bytes.offset, at as u64);
        let shown = at - bytes.from as usize;
        assert_eq!(&bytes.b.hex[2 * shown..2 * shown + 2], "ff");
    }
    let found = compare(&Run { inputs: 4, ..Run::default() }, &Run::default()).expect("a difference");
    assert!(
        matches!(&found.inputs, Some(LogDivergence::Ends { seq: 4, goes_on: Side::B, next })
            if next.label == "/in/4" && next.length == 100_000),
        "{:?}",
        found.inputs
    );
}

#[test]
fn header_and_outcome_are_compared() {
    let mut other = Run::default();
    other.header.seed = [9; 32];
    other.header.kernel = "Linux 7".into();
    other.outcome.exit = crate::Exit::Signal(9);
    let found = compare(&Run::default(), &other).expect("a difference");
    let names = |fields: &[FieldDifference]| fields.iter().map(|f| f.field.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found.header), ["seed"]);
    assert_eq!(names(&found.notes), ["kernel"]);
    assert_eq!(names(&found.outcome), ["exit"]);
    assert!(found.inputs.is_none() && found.trace.is_none());
}

#[test]
fn a_difference_past_the_limit_is_named_by_its_chunk() {
    let changed: Change = |event| event.result = 1;
    // Heads are kept: the chunk is known. Nothing is kept: only where the known part ends.
    let cut = Run { limit: 150_000, ..Run::default() };
    let other = Run { change: Some((5000, changed)), ..cut.clone() };
    let found = compare(&cut, &other).expect("a difference").trace;
    let Some(LogDivergence::Within { first, end: Some(end), .. }) = found else { panic!("{found:?}") };
    assert!((first..end).contains(&5000) && end - first < 1500, "{first} to {end}");
    let bare = Run { limit: 0, ..Run::default() };
    let other = Run { change: Some((5000, changed)), ..bare.clone() };
    let found = compare(&bare, &other).expect("a difference").trace;
    let Some(LogDivergence::Within { first, end: None, .. }) = found else { panic!("{found:?}") };
    assert!(first <= 5000);
}

#[test]
fn the_summary_counts_what_is_there() {
    let (recorded, witness) = recorded(1 << 24, 5000, 300_000, b"x");
    let summary = witness.summary(names).unwrap();
    assert_eq!((summary.trace_hash, summary.witness_root), (recorded.trace_hash, recorded.witness_root));
    assert!(summary.replayable && summary.trace.root_recomputed && summary.inputs.root_recomputed);
    assert_eq!((summary.trace.count, summary.trace.kept, summary.tasks), (5000, 5000, 1));
    let calls: Vec<_> = summary.calls.iter().map(|c| (c.number, c.name, c.count, c.failed)).collect();
    // Results are 0, -1, -2 .. -4999; only down to -4095 they are errors.
    assert_eq!(calls[0], (0, Some("read"), 1667, 1365));
    assert_eq!(calls.iter().map(|(.., failed)| failed).sum::<u64>(), 4095);
    assert_eq!(calls.iter().map(|(_, _, count, _)| count).sum::<u64>(), 5000);
    let lengths: Vec<u64> = summary.listed_inputs.iter().map(|input| input.length).collect();
    assert_eq!(lengths, [5, 300_000]);
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(summary.listed_inputs[0].sha256, hello);
    let cut = Run { limit: 150_000, ..Run::default() }.record().summary(names).unwrap();
    assert!(!cut.replayable && cut.trace.truncated && cut.trace.kept < cut.trace.count);
    assert!(cut.to_string().contains("replayable    no"));
}
