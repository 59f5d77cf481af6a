//! Recorded inputs are handed out again, where they were asked for and nowhere else.

use std::io::{Seek, SeekFrom};

use super::reading::recorded;
use super::recording::{header, outcome, record};
use crate::witness::*;

/// A witness of two inputs: "hello" of standard input at event 0, 300 000 bytes received at event 2501.
fn replay() -> Replay {
    Replay::new(recorded(1 << 24, 5000, 300_000, b"x").1).unwrap()
}

#[test]
fn inputs_come_in_order_and_are_used_up() {
    let mut replay = replay();
    assert_eq!(replay.witness().header(), &header());
    assert_eq!(replay.peek().map(|input| (input.kind, input.at_event)), Some((InputKind::Stdin, 0)));
    assert_eq!(replay.take(InputKind::Stdin, "", 0).unwrap(), b"hello");
    assert_eq!(replay.peek().map(|input| (input.kind, input.at_event)), Some((InputKind::Receive, 2501)));
    assert_eq!(replay.take(InputKind::Receive, "h:80#0", 2501).unwrap().len(), 300_000);
    assert!(replay.peek().is_none());
    let more = replay.take(InputKind::Stdin, "", 4000);
    assert!(matches!(more, Err(ReplayError::UsedUp { count: 2, .. })), "{more:?}");
    replay.finish().unwrap();
}

#[test]
fn another_input_than_the_recorded_one_is_refused() {
    let asked = [(InputKind::File, "", 0), (InputKind::Stdin, "/in", 0), (InputKind::Stdin, "", 1)];
    for (kind, label, at_event) in asked {
        let refused = replay().take(kind, label, at_event).expect_err("another input was handed out");
        assert!(matches!(refused, ReplayError::OtherInput { seq: 0, .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("input 0; recorded was stdin \"\", 5 bytes, after event 0"), "{said}");
    }
}

#[test]
fn an_input_that_is_left_over_is_named() {
    let mut replay = replay();
    replay.take(InputKind::Stdin, "", 0).unwrap();
    let left = replay.finish();
    assert!(matches!(left, Err(ReplayError::Unused { seq: 1, count: 2, .. })), "{left:?}");
}

#[test]
fn a_witness_that_lacks_inputs_is_not_replayed() {
    let (_, witness) = recorded(200_000, 20_000, 300_000, b"x");
    assert!(matches!(Replay::new(witness), Err(ReplayError::Truncated)));
    // The trace reached its share of the limit, the inputs did not: nothing is missing.
    let (recorded, witness) = recorded(440_000, 20_000, 100_000, b"x");
    assert!(recorded.trace_truncated && !recorded.truncated);
    assert!(Replay::new(witness).is_ok());
}

#[test]
fn recording_the_replayed_inputs_gives_the_same_root() {
    let original = record(None, 0, &header(), 5000, 300_000, b"x");
    let mut replay = replay();
    let mut recorder = Recorder::new(&header(), None, 0).unwrap();
    while let Some(next) = replay.peek() {
        let (kind, label, at_event) = (next.kind, next.label.clone(), next.at_event);
        let bytes = replay.take(kind, &label, at_event).unwrap();
        // In pieces: what is hashed does not depend on how the bytes came.
        let length = bytes.len() as u64;
        recorder.input_from(kind, &label, at_event, length, &mut Dribble(&bytes)).unwrap();
    }
    assert_eq!(recorder.finish(&outcome()).unwrap().witness_root, original.witness_root);
}

/// Gives at most 1000 bytes at a time.
struct Dribble<'a>(&'a [u8]);

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(1000);
        self.0.read(&mut into[..count])
    }
}

#[test]
fn an_input_that_ends_early_ends_the_recording() {
    let mut file = tempfile::tempfile().unwrap();
    let mut recorder = Recorder::new(&header(), Some(file.try_clone().unwrap()), 1 << 20).unwrap();
    let short = vec![1; 100_000];
    assert!(recorder.input_from(InputKind::File, "/in", 0, 100_001, &mut &short[..]).is_err());
    let input = Input { kind: InputKind::Stdin, label: "", bytes: b"", at_event: 0 };
    assert!(recorder.input(&input).is_err(), "nothing follows half an input");
    assert!(recorder.finish(&outcome()).is_err());
    file.seek(SeekFrom::Start(0)).unwrap();
    assert!(matches!(Witness::read(file), Err(WitnessError::Ends { .. })));
}
