//! A witness file that was checked, and its records.
//!
//! Opening reads the whole file once; the iterators read chunk by chunk and check each chunk's hash again, so
//! a file that changes under the reader is an error, not other content.

use std::borrow::Borrow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::bytes::{Cursor, Malformed};
use super::check::{self, Indexed, InputRules, Sound};
use super::chunk::{self, Totals};
use super::header::{Outcome, RunHeader};
use super::input::{self, OwnedInput, Record};
use super::{Log, OwnedEvent, WitnessError, event};
use crate::sys;

/// A witness file that was checked from end to end.
pub struct Witness {
    file: File,
    sound: Sound,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("root", &self.witness_root()).finish_non_exhaustive()
    }
}

impl Witness {
    /// Opens a file and checks all of it.
    pub fn open(path: &Path) -> Result<Self, WitnessError> {
        let file = File::open(path).map_err(|source| WitnessError::Open { path: path.into(), source })?;
        Self::read(file)
    }

    /// Checks all of a file that is open and positioned at its start.
    pub fn read(file: File) -> Result<Self, WitnessError> {
        let sound = check::whole(&file)?;
        Ok(Self { file, sound })
    }

    /// What the run was.
    pub fn header(&self) -> &RunHeader {
        &self.sound.header
    }

    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        &self.sound.footer.outcome
    }

    /// Digest of all trapped calls. It means something only when compared with one that is trusted.
    pub fn trace_hash(&self) -> String {
        sys::hex(&self.sound.footer.trace_hash())
    }

    /// Digest of the header and all inputs. It means something only when compared with one that is trusted.
    pub fn witness_root(&self) -> String {
        sys::hex(&self.sound.footer.witness_root(&self.sound.header.bound_hash()))
    }

    /// How many trapped calls there were.
    pub fn event_count(&self) -> u64 {
        self.sound.footer.trace.count
    }

    /// How many inputs there were.
    pub fn input_count(&self) -> u64 {
        self.sound.footer.inputs.count
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.sound.bytes
    }

    /// Chunks of a log, kept or not.
    pub fn chunks(&self, log: Log) -> u64 {
        self.totals(log).chunks
    }

    /// Whether bodies of inputs were dropped: then it cannot be replayed.
    pub fn truncated(&self) -> bool {
        self.dropped(Log::Input)
    }

    /// Whether bodies of events were dropped: then a difference may be known only to its chunk.
    pub fn trace_truncated(&self) -> bool {
        self.dropped(Log::Trace)
    }

    /// Whether all leaves of a log are there, so that its root was computed and not only read.
    pub fn recomputed(&self, log: Log) -> bool {
        self.index(log).len() as u64 == self.chunks(log)
    }

    pub(super) fn dropped(&self, log: Log) -> bool {
        !self.recomputed(log) || self.index(log).last().is_some_and(|last| !last.head.kept)
    }

    /// The inputs in order. After the last that is whole, an error says what was dropped.
    pub fn inputs(&self) -> Inputs<&Self> {
        self.inputs_from(0)
    }

    /// The same, with the witness kept inside.
    pub fn into_inputs(self) -> Inputs<Self> {
        Inputs::new(self, 0)
    }

    /// The trapped calls in order. After the last that was kept, an error says what was dropped.
    pub fn events(&self) -> Events<&Self> {
        self.events_from(0)
    }

    pub(super) fn totals(&self, log: Log) -> &Totals {
        match log {
            Log::Trace => &self.sound.footer.trace,
            Log::Input => &self.sound.footer.inputs,
        }
    }

    pub(super) fn index(&self, log: Log) -> &[Indexed] {
        match log {
            Log::Trace => &self.sound.trace,
            Log::Input => &self.sound.inputs,
        }
    }

    /// The trapped calls from the start of a chunk on.
    pub(super) fn events_from(&self, chunk: usize) -> Events<&Self> {
        Events { from: Chunks::new(self, Log::Trace, chunk), ended: false }
    }

    /// The inputs that begin in a chunk, one of which does, and after it.
    pub(super) fn inputs_from(&self, chunk: usize) -> Inputs<&Self> {
        Inputs::new(self, chunk)
    }
}

/// Walks over the chunks of a log, one in memory.
struct Chunks<W> {
    witness: W,
    log: Log,
    /// The chunk to load next.
    next: usize,
    records: Vec<u8>,
    /// How far the loaded records were read.
    at: usize,
    /// Number of the next record that counts.
    seq: u64,
}

impl<W: Borrow<Witness>> Chunks<W> {
    fn new(witness: W, log: Log, chunk: usize) -> Self {
        let index = witness.borrow().index(log);
        let after = || index.last().map_or(0, |last| last.head.first + u64::from(last.head.count));
        let seq = index.get(chunk).map_or_else(after, |entry| entry.head.first);
        Self { witness, log, next: chunk, records: Vec::new(), at: 0, seq }
    }

    /// Makes sure that there is a record to read; false at the end of the log.
    fn load(&mut self) -> Result<bool, WitnessError> {
        if self.at < self.records.len() {
            return Ok(true);
        }
        let witness = self.witness.borrow();
        let Some(entry) = witness.index(self.log).get(self.next) else {
            return if witness.recomputed(self.log) { Ok(false) } else { Err(self.dropped()) };
        };
        if !entry.head.kept {
            return Err(self.dropped());
        }
        self.records = vec![0; entry.head.length as usize];
        let read = witness.file.read_exact_at(&mut self.records, entry.offset);
        read.map_err(|source| WitnessError::Read { offset: entry.offset, source })?;
        if chunk::leaf(self.log, entry.head.first, entry.head.count, &self.records) != entry.head.leaf {
            self.next += 1;
            return Err(self.refused("the file changed while it was read"));
        }
        self.at = 0;
        self.next += 1;
        Ok(true)
    }

    fn dropped(&self) -> WitnessError {
        WitnessError::Dropped { log: self.log, first: self.seq }
    }

    /// An error in the loaded chunk.
    fn refused(&self, why: Malformed) -> WitnessError {
        let chunk = self.next - 1;
        let offset = self.witness.borrow().index(self.log)[chunk].offset;
        WitnessError::Chunk { log: self.log, chunk: chunk as u64, offset, why }
    }
}

/// Iterator over the trapped calls of a witness.
pub struct Events<W> {
    from: Chunks<W>,
    ended: bool,
}

impl<W: Borrow<Witness>> Events<W> {
    fn step(&mut self) -> Result<Option<OwnedEvent>, WitnessError> {
        if !self.from.load()? {
            return Ok(None);
        }
        let mut cursor = Cursor::new(&self.from.records[self.from.at..]);
        let event = event::take(&mut cursor, self.from.seq).map_err(|why| self.from.refused(why))?;
        self.from.at = self.from.records.len() - cursor.left();
        self.from.seq += 1;
        Ok(Some(event))
    }
}

impl<W: Borrow<Witness>> Iterator for Events<W> {
    type Item = Result<OwnedEvent, WitnessError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

/// Iterator over the inputs of a witness.
pub struct Inputs<W> {
    from: Chunks<W>,
    rules: InputRules,
    /// The first opening was reached.
    begun: bool,
    ended: bool,
}

impl<W: Borrow<Witness>> Inputs<W> {
    /// The inputs that begin in a chunk, one of which does, and after it.
    fn new(witness: W, chunk: usize) -> Self {
        let (from, rules) = (Chunks::new(witness, Log::Input, chunk), InputRules::default());
        Self { from, rules, begun: false, ended: false }
    }

    /// The witness they are of.
    pub(super) fn witness(&self) -> &Witness {
        self.from.witness.borrow()
    }

    /// Passes over the parts of an input that began in an earlier chunk.
    fn skip_parts(&mut self) -> Result<(), WitnessError> {
        let mut cursor = Cursor::new(&self.from.records);
        while cursor.left() > 0 {
            let at = self.from.records.len() - cursor.left();
            if let Record::Opening(_) = input::take(&mut cursor).map_err(|why| self.from.refused(why))? {
                self.from.at = at;
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<OwnedInput>, WitnessError> {
        if !self.from.load()? {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.skip_parts()?;
        }
        let mut whole: Option<OwnedInput> = None;
        loop {
            // A part that is missing at the limit leaves the input it belongs to incomplete: it is the one named.
            self.from.load()?;
            let mut cursor = Cursor::new(&self.from.records[self.from.at..]);
            let length = self.from.records.len();
            let record = self.rules.next(&mut cursor, length).map_err(|why| self.from.refused(why))?;
            match (record, &mut whole) {
                (Record::Opening(opening), none) => {
                    let input::Opening { at_event, kind, label, .. } = opening;
                    let seq = self.from.seq;
                    *none = Some(OwnedInput { seq, at_event, kind, label: label.into(), bytes: Vec::new() });
                }
                (Record::Part(part), Some(input)) => input.bytes.extend_from_slice(part),
                (Record::Part(_), None) => return Err(self.from.refused("a part of no input")),
            }
            self.from.at = length - cursor.left();
            if self.rules.left == 0 {
                self.from.seq += 1;
                return Ok(whole);
            }
        }
    }
}

impl<W: Borrow<Witness>> Iterator for Inputs<W> {
    type Item = Result<OwnedInput, WitnessError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}
