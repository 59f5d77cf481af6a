//! The first difference of two witnesses.
//!
//! Both indexes hold, for every chunk, a hash over all chunks up to it, so the first chunk that differs is
//! found by bisection, and only from there on are records read. It refuses to guess: where bodies were
//! dropped, it names the chunk and the records that lie in it.

use super::divergence::{
    ByteDifference, CallView, Divergence, Excerpt, FieldDifference, InputView, LogDivergence, Side,
};
use super::{Data, Log, OwnedEvent, OwnedInput, Witness, WitnessError};
use crate::sys;

/// Says what a system call number is called.
pub type CallNames = fn(u32) -> Option<&'static str>;

/// Fields of the header that the witness root does not bind.
const NOTES: [&str; 2] = ["level", "kernel"];
/// Longest excerpt, in bytes.
pub(super) const EXCERPT_BYTES: usize = 48;
/// Bytes of an excerpt that stand before the first difference.
const EXCERPT_BEFORE: usize = 16;

/// Compares two witnesses. Nothing when they are of one run: the same header (but for its notes), the same
/// inputs, the same trapped calls and the same outcome.
pub fn diff(a: &Witness, b: &Witness, names: CallNames) -> Result<Option<Divergence>, WitnessError> {
    let (notes, header) = fields(a.header(), b.header()).into_iter().partition(is_note);
    let found = Divergence {
        header,
        notes,
        inputs: inputs(a, b)?,
        trace: trace(a, b, names)?,
        outcome: fields(a.outcome(), b.outcome()),
    };
    Ok((!found.is_empty()).then_some(found))
}

fn is_note(field: &FieldDifference) -> bool {
    NOTES.contains(&field.field.as_str())
}

/// The fields of two structures of one type that differ.
fn fields<T: serde::Serialize>(a: &T, b: &T) -> Vec<FieldDifference> {
    let object = |value: &T| match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(fields)) => fields,
        other => unreachable!("a structure of text and numbers is a JSON object, not {other:?}"),
    };
    let (a, b) = (object(a), object(b));
    let differ = a.iter().filter_map(|(field, value)| {
        let other = b.get(field).cloned().unwrap_or_default();
        (*value != other).then(|| FieldDifference { field: field.clone(), a: value.clone(), b: other })
    });
    differ.collect()
}

/// How many leading positions are the same, given that once they differ they differ for good. `same` is asked
/// a logarithmic number of times.
pub(super) fn common_prefix(positions: usize, mut same: impl FnMut(usize) -> bool) -> usize {
    let (mut equal, mut unknown) = (0, positions);
    while equal < unknown {
        let middle = equal + (unknown - equal) / 2;
        if same(middle) {
            equal = middle + 1;
        } else {
            unknown = middle;
        }
    }
    equal
}

/// The first chunk that differs; nothing when the logs are equal.
fn first_chunk(a: &Witness, b: &Witness, log: Log) -> Option<usize> {
    let (left, right) = (a.index(log), b.index(log));
    let shared = left.len().min(right.len());
    let equal = common_prefix(shared, |chunk| left[chunk].prefix == right[chunk].prefix);
    let all = equal == shared && a.totals(log) == b.totals(log);
    (!all).then_some(equal)
}

/// What is known when the records that differ were dropped.
fn within<V>(a: &Witness, b: &Witness, log: Log, chunk: usize) -> LogDivergence<V> {
    let (left, right) = (a.index(log).get(chunk), b.index(log).get(chunk));
    let before = |entry: &super::check::Indexed| entry.head.first + u64::from(entry.head.count);
    let first = left.or(right).map(|entry| entry.head.first);
    let first = first.or_else(|| a.index(log).last().or(b.index(log).last()).map(before)).unwrap_or(0);
    let end = left.zip(right).map(|(left, right)| before(left).max(before(right)));
    LogDivergence::Within { chunk: chunk as u64, first, end }
}

/// What two iterators give next: both, one, or a reason to stop looking.
enum Pair<T> {
    Same,
    Differ(T, T),
    Only(Side, T),
    Unknown,
}

fn pair<T: PartialEq>(
    a: Option<Result<T, WitnessError>>,
    b: Option<Result<T, WitnessError>>,
) -> Result<Pair<T>, WitnessError> {
    Ok(match (a, b) {
        (Some(Err(WitnessError::Dropped { .. })), _) | (_, Some(Err(WitnessError::Dropped { .. }))) => {
            Pair::Unknown
        }
        (Some(Err(error)), _) | (_, Some(Err(error))) => return Err(error),
        (Some(Ok(a)), Some(Ok(b))) if a == b => Pair::Same,
        (Some(Ok(a)), Some(Ok(b))) => Pair::Differ(a, b),
        (Some(Ok(a)), None) => Pair::Only(Side::A, a),
        (None, Some(Ok(b))) => Pair::Only(Side::B, b),
        (None, None) => Pair::Unknown,
    })
}

fn trace(
    a: &Witness,
    b: &Witness,
    names: CallNames,
) -> Result<Option<LogDivergence<CallView>>, WitnessError> {
    let Some(chunk) = first_chunk(a, b, Log::Trace) else { return Ok(None) };
    let (mut left, mut right) = (a.events_from(chunk), b.events_from(chunk));
    loop {
        return Ok(Some(match pair(left.next(), right.next())? {
            Pair::Same => continue,
            Pair::Unknown => within(a, b, Log::Trace, chunk),
            Pair::Only(goes_on, event) => {
                LogDivergence::Ends { seq: event.seq, goes_on, next: CallView::of(&event, names) }
            }
            Pair::Differ(a, b) => {
                let (fields, bytes) = event_difference(&a, &b);
                let (a, b, seq) = (CallView::of(&a, names), CallView::of(&b, names), a.seq);
                LogDivergence::Differs { seq, fields, a, b, bytes }
            }
        }));
    }
}

fn inputs(a: &Witness, b: &Witness) -> Result<Option<LogDivergence<InputView>>, WitnessError> {
    let Some(chunk) = first_chunk(a, b, Log::Input) else { return Ok(None) };
    // The input that differs may have begun in an earlier chunk: start where one certainly begins.
    let begins = |entry: &super::check::Indexed| entry.head.count > 0;
    let start = a.index(Log::Input)[..chunk].iter().rposition(begins).unwrap_or(0);
    let (mut left, mut right) = (a.inputs_from(start), b.inputs_from(start));
    loop {
        return Ok(Some(match pair(left.next(), right.next())? {
            Pair::Same => continue,
            Pair::Unknown => within(a, b, Log::Input, chunk),
            Pair::Only(goes_on, input) => {
                LogDivergence::Ends { seq: input.seq, goes_on, next: InputView::of(&input) }
            }
            Pair::Differ(a, b) => {
                let (fields, bytes) = input_difference(&a, &b);
                LogDivergence::Differs {
                    seq: a.seq,
                    fields,
                    a: InputView::of(&a),
                    b: InputView::of(&b),
                    bytes,
                }
            }
        }));
    }
}

fn event_difference(a: &OwnedEvent, b: &OwnedEvent) -> (Vec<String>, Option<ByteDifference>) {
    let mut fields = Vec::new();
    let mut note = |differs: bool, field: String| {
        if differs {
            fields.push(field);
        }
    };
    note(a.task != b.task, "task".into());
    note(a.number != b.number, "call".into());
    for (i, (left, right)) in a.args.iter().zip(&b.args).enumerate() {
        note(left != right, format!("argument {i}"));
    }
    note(a.result != b.result, "result".into());
    note(a.clock_ns != b.clock_ns, "clock".into());
    note(a.data.len() != b.data.len(), "pieces of data".into());
    let mut bytes = None;
    for (piece, (left, right)) in a.data.iter().zip(&b.data).enumerate() {
        note(left != right, format!("data {piece}"));
        if let (true, None, Data::Inline(left), Data::Inline(right)) = (left != right, &bytes, left, right) {
            bytes = byte_difference(piece, left, right);
        }
    }
    (fields, bytes)
}

fn input_difference(a: &OwnedInput, b: &OwnedInput) -> (Vec<String>, Option<ByteDifference>) {
    let differing = [
        (a.kind != b.kind, "kind"),
        (a.label != b.label, "label"),
        (a.at_event != b.at_event, "event at which it came"),
        (a.bytes != b.bytes, "bytes"),
    ];
    let fields = differing.into_iter().filter(|(differs, _)| *differs).map(|(_, field)| field.into());
    (fields.collect(), byte_difference(0, &a.bytes, &b.bytes))
}

fn byte_difference(piece: usize, a: &[u8], b: &[u8]) -> Option<ByteDifference> {
    if a == b {
        return None;
    }
    let shared = a.len().min(b.len());
    let offset = a.iter().zip(b).position(|(left, right)| left != right).unwrap_or(shared);
    let from = offset.saturating_sub(EXCERPT_BEFORE);
    let excerpt = |bytes: &[u8]| {
        let shown = &bytes[from.min(bytes.len())..(from + EXCERPT_BYTES).min(bytes.len())];
        Excerpt { length: bytes.len() as u64, hex: sys::hex(shown), text: printable(shown) }
    };
    Some(ByteDifference { piece, offset: offset as u64, from: from as u64, a: excerpt(a), b: excerpt(b) })
}

pub(super) fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
    bytes.iter().map(shown).collect()
}
