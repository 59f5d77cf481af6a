//! What the comparison of two witnesses says, as data and as text.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::diff::{CallNames, EXCERPT_BYTES, printable};
use super::{Data, InputKind, OwnedEvent, OwnedInput};
use crate::sys;

/// How two witnesses differ; at least one part says something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Fields of the header that the witness root binds.
    pub header: Vec<FieldDifference>,
    /// Fields of the header that it does not bind; they make no difference by themselves.
    pub notes: Vec<FieldDifference>,
    /// The first input that differs.
    pub inputs: Option<LogDivergence<InputView>>,
    /// The first trapped call that differs.
    pub trace: Option<LogDivergence<CallView>>,
    /// Fields of the outcome.
    pub outcome: Vec<FieldDifference>,
}

impl Divergence {
    pub(super) fn is_empty(&self) -> bool {
        self.header.is_empty() && self.inputs.is_none() && self.trace.is_none() && self.outcome.is_empty()
    }
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDifference {
    /// Its name.
    pub field: String,
    /// In the first witness.
    pub a: serde_json::Value,
    /// In the second.
    pub b: serde_json::Value,
}

/// One of the two witnesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// Where two logs part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogDivergence<V> {
    /// Both have this record, and it is not the same.
    Differs {
        /// Its position.
        seq: u64,
        /// What differs in it.
        fields: Vec<String>,
        /// The record of the first witness.
        a: V,
        /// The record of the second.
        b: V,
        /// Where its bytes part, when both were kept.
        bytes: Option<ByteDifference>,
    },
    /// One log ends, the other goes on.
    Ends {
        /// Position of the first record that only one has.
        seq: u64,
        /// Which goes on.
        goes_on: Side,
        /// With what.
        next: V,
    },
    /// The records that differ were dropped at the limit.
    Within {
        /// The first chunk that differs.
        chunk: u64,
        /// The first record in it.
        first: u64,
        /// The first record after it, when its head is known.
        end: Option<u64>,
    },
}

/// A trapped call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallView {
    /// The task.
    pub task: u32,
    /// System call number.
    pub number: u32,
    /// Its name, when it has one.
    pub name: Option<&'static str>,
    /// Its arguments.
    pub args: [u64; 6],
    /// What it returned.
    pub result: i64,
    /// The logical clock.
    pub clock_ns: u64,
    /// Its data.
    pub data: Vec<DataView>,
}

impl CallView {
    /// An event as it is shown.
    pub fn of(event: &OwnedEvent, names: CallNames) -> Self {
        let view = |data: &Data| match data {
            Data::Inline(bytes) => {
                let shown = &bytes[..bytes.len().min(EXCERPT_BYTES)];
                DataView { length: bytes.len() as u64, text: Some(printable(shown)), sha256: None }
            }
            Data::Digest { length, sha256 } => {
                DataView { length: *length, text: None, sha256: Some(sys::hex(sha256)) }
            }
        };
        Self {
            task: event.task,
            number: event.number,
            name: names(event.number),
            args: event.args,
            result: event.result,
            clock_ns: event.clock_ns,
            data: event.data.iter().map(view).collect(),
        }
    }
}

/// A piece of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataView {
    /// How many bytes.
    pub length: u64,
    /// The first of them, unprintable ones as dots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Their digest, when they were too long to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputView {
    /// Where it came from.
    pub kind: InputKind,
    /// Which one.
    pub label: String,
    /// How many trapped calls there had been.
    pub at_event: u64,
    /// How many bytes.
    pub length: u64,
}

impl InputView {
    pub(super) fn of(input: &OwnedInput) -> Self {
        let (kind, label, at_event) = (input.kind, input.label.clone(), input.at_event);
        Self { kind, label, at_event, length: input.bytes.len() as u64 }
    }
}

/// Where two sequences of bytes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ByteDifference {
    /// Which piece of data of the event; 0 for an input.
    pub piece: usize,
    /// The first byte that differs, or the end of the shorter.
    pub offset: u64,
    /// Where the excerpts begin.
    pub from: u64,
    /// Of the first witness.
    pub a: Excerpt,
    /// Of the second.
    pub b: Excerpt,
}

/// Some bytes around the first difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// How many bytes there are in all.
    pub length: u64,
    /// The excerpt in hexadecimal.
    pub hex: String,
    /// The same, unprintable bytes as dots.
    pub text: String,
}

impl Display for Divergence {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (what, fields) in [("header", &self.header), ("note", &self.notes), ("outcome", &self.outcome)] {
            for FieldDifference { field, a, b } in fields {
                writeln!(f, "{what} {field}:\n  a {a}\n  b {b}")?;
            }
        }
        if let Some(inputs) = &self.inputs {
            write!(f, "first divergent input: {inputs}")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, "first divergent event: {trace}")?;
        }
        Ok(())
    }
}

impl<V: Display> Display for LogDivergence<V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { seq, fields, a, b, bytes } => {
                writeln!(f, "number {seq} differs in {}\n  a {a}\n  b {b}", fields.join(", "))?;
                bytes.as_ref().map_or(Ok(()), |bytes| write!(f, "{bytes}"))
            }
            Self::Ends { seq, goes_on, next } => {
                let (ends, goes_on) = match goes_on {
                    Side::A => ("b", "a"),
                    Side::B => ("a", "b"),
                };
                writeln!(
                    f,
                    "{ends} ends before number {seq}, with which {goes_on} goes on\n  {goes_on} {next}"
                )
            }
            Self::Within { chunk, first, end: Some(end) } => {
                writeln!(
                    f,
                    "in chunk {chunk}, one of numbers {first} to {end} (excluded); bodies were dropped"
                )
            }
            Self::Within { first, end: None, .. } => {
                writeln!(f, "number {first} or later; what followed was dropped")
            }
        }
    }
}

impl Display for CallView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "task {} ", self.task)?;
        match self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "call {}", self.number)?,
        }
        let args: Vec<String> = self.args.iter().map(|arg| format!("{arg:#x}")).collect();
        write!(f, "({}) = {} at {} ns", args.join(", "), self.result, self.clock_ns)?;
        for DataView { length, text, sha256 } in &self.data {
            match (text, sha256) {
                (Some(text), _) => write!(f, " [{length} bytes {text:?}]")?,
                (None, sha256) => write!(f, " [{length} bytes {}]", sha256.as_deref().unwrap_or(""))?,
            }
        }
        Ok(())
    }
}

impl Display for InputView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, label, at_event, length } = self;
        write!(f, "{kind} {label:?}, {length} bytes, after event {at_event}")
    }
}

impl Display for ByteDifference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { piece, offset, from, a, b } = self;
        writeln!(f, "  piece {piece}, byte {offset} (of {} and {}); from byte {from}:", a.length, b.length)?;
        writeln!(f, "  a {}  {:?}\n  b {}  {:?}", a.hex, a.text, b.hex, b.text)
    }
}
