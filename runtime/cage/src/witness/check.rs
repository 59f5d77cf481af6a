//! Reading a whole file once, believing nothing: every hash, every record, every total.
//!
//! Owns the order of blocks and the rules by which a log is cut into chunks. It holds one chunk in memory and
//! an index entry for every head it has seen, so a file costs no more memory than its own length.

use std::fs::File;
use std::io::{BufReader, Read};

use super::bytes::{Cursor, Malformed};
use super::chunk::{self, HEAD_BYTES, Head, Totals};
use super::header::{MAX_HEADER_BYTES, MAX_OUTCOME_BYTES, Outcome, RunHeader};
use super::input::{self, Record};
use super::merkle::{Hash, Tree};
use super::recorder::{FOOTER_TAG, Footer, block_check};
use super::{CHUNK_BYTES, Log, MAGIC, WitnessError, event};

/// Longest footer.
const MAX_FOOTER_BYTES: usize = MAX_OUTCOME_BYTES + 128;

/// Where a chunk is and what the log was up to and with it.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    pub head: Head,
    /// Where its records begin.
    pub offset: u64,
    /// Chained over the leaves up to this one: equal here means equal up to here.
    pub prefix: Hash,
}

/// A file that was found sound.
pub(super) struct Sound {
    pub header: RunHeader,
    pub footer: Footer,
    pub trace: Vec<Indexed>,
    pub inputs: Vec<Indexed>,
    pub bytes: u64,
}

/// Reads and checks everything.
pub(super) fn whole(file: &File) -> Result<Sound, WitnessError> {
    let mut source = Source { from: BufReader::with_capacity(CHUNK_BYTES, file), offset: 0 };
    if source.array::<8>("its first 8 bytes")? != *MAGIC {
        return Err(WitnessError::NotAWitness);
    }
    let offset = source.offset;
    let refused = |why| WitnessError::Header { offset, why };
    let header = source.block(MAX_HEADER_BYTES, "the header", refused)?;
    let header = RunHeader::decode(&header).map_err(refused)?;
    let (mut trace, mut inputs) = (Checked::new(Log::Trace), Checked::new(Log::Input));
    loop {
        let mut head = [0; HEAD_BYTES];
        source.fill(&mut head[..1], "the chunks, before a footer")?;
        if head[0] == FOOTER_TAG {
            break;
        }
        let damaged = WitnessError::Head {
            offset: source.offset - 1,
            trace: trace.index.len() as u64,
            input: inputs.index.len() as u64,
        };
        if ![Log::Trace, Log::Input].iter().any(|log| log.tag() == head[0]) {
            return Err(damaged);
        }
        source.fill(&mut head[1..], "the head of a chunk")?;
        let head = Head::decode(&head).ok_or(damaged)?;
        match head.log {
            Log::Trace => trace.chunk(head, &mut source)?,
            Log::Input => inputs.chunk(head, &mut source)?,
        }
    }
    let footer = footer(&mut source)?;
    trace.end(&footer.trace)?;
    inputs.end(&footer.inputs)?;
    let bytes = source.end()?;
    Ok(Sound { header, footer, trace: trace.index, inputs: inputs.index, bytes })
}

fn footer(source: &mut Source<'_>) -> Result<Footer, WitnessError> {
    let offset = source.offset;
    let refused = |why| WitnessError::Footer { offset, why };
    let block = source.block(MAX_FOOTER_BYTES, "the footer", refused)?;
    let mut from = Cursor::new(&block);
    let footer = (|| {
        let (trace, inputs) = (totals(&mut from)?, totals(&mut from)?);
        Ok(Footer { trace, inputs, outcome: Outcome::take(&mut from)? })
    })()
    .map_err(refused)?;
    from.end().map_err(refused)?;
    Ok(footer)
}

fn totals(from: &mut Cursor<'_>) -> Result<Totals, Malformed> {
    Ok(Totals { count: from.uint()?, chunks: from.uint()?, bytes: from.uint()?, root: from.array()? })
}

/// The file, front to back.
struct Source<'a> {
    from: BufReader<&'a File>,
    offset: u64,
}

impl Source<'_> {
    fn fill(&mut self, into: &mut [u8], within: &'static str) -> Result<(), WitnessError> {
        let mut done = 0;
        while done < into.len() {
            match self.from.read(&mut into[done..]) {
                Ok(0) => return Err(WitnessError::Ends { offset: self.offset + done as u64, within }),
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(WitnessError::Read { offset: self.offset + done as u64, source }),
            }
        }
        self.offset += done as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self, within: &'static str) -> Result<[u8; N], WitnessError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, within)?;
        Ok(bytes)
    }

    /// Length, content, digest.
    fn block(
        &mut self,
        most: usize,
        within: &'static str,
        refused: impl Fn(&'static str) -> WitnessError,
    ) -> Result<Vec<u8>, WitnessError> {
        let length = u32::from_le_bytes(self.array(within)?) as usize;
        if length > most {
            return Err(refused("its length is out of range"));
        }
        let mut content = vec![0; length];
        self.fill(&mut content, within)?;
        if self.array(within)? != block_check(&content) {
            return Err(refused("its bytes do not match its digest"));
        }
        Ok(content)
    }

    /// Nothing may follow. The length of the file.
    fn end(mut self) -> Result<u64, WitnessError> {
        match self.fill(&mut [0], "") {
            Ok(()) => Err(WitnessError::Trailing { offset: self.offset - 1 }),
            Err(WitnessError::Ends { offset, .. }) => Ok(offset),
            Err(other) => Err(other),
        }
    }
}

/// One log, as far as it was read.
struct Checked {
    log: Log,
    index: Vec<Indexed>,
    tree: Tree,
    count: u64,
    bytes: u64,
    /// No body was missing so far.
    keeping: bool,
    inputs: InputRules,
}

impl Checked {
    fn new(log: Log) -> Self {
        let (index, tree) = (Vec::new(), Tree::default());
        Self { log, index, tree, count: 0, bytes: 0, keeping: true, inputs: InputRules::default() }
    }

    /// Takes a chunk whose head was just read.
    fn chunk(&mut self, head: Head, source: &mut Source<'_>) -> Result<(), WitnessError> {
        let (log, chunk, offset) = (self.log, self.index.len() as u64, source.offset);
        let refused = |why| WitnessError::Chunk { log, chunk, offset, why };
        if head.first != self.count {
            return Err(refused("it does not follow the chunk before it"));
        }
        if head.kept {
            if !self.keeping {
                return Err(refused("it follows a chunk that was dropped"));
            }
            let mut records = vec![0; head.length as usize];
            source.fill(&mut records, "the records of a chunk")?;
            if chunk::leaf(log, head.first, head.count, &records) != head.leaf {
                return Err(refused("its bytes do not match its hash"));
            }
            self.records(&head, &records).map_err(refused)?;
        }
        self.keeping &= head.kept;
        self.count =
            self.count.checked_add(u64::from(head.count)).ok_or_else(|| refused("its count overflows"))?;
        self.bytes += u64::from(head.length);
        self.tree.push(head.leaf);
        let prefix = chunk::prefix(self.index.last().map(|last| &last.prefix), &head.leaf);
        self.index.push(Indexed { head, offset, prefix });
        Ok(())
    }

    /// Decodes every record and checks that the chunk was cut where it must be.
    fn records(&mut self, head: &Head, records: &[u8]) -> Result<(), Malformed> {
        let mut from = Cursor::new(records);
        let mut counted = 0;
        while from.left() > 0 {
            let start = from.left();
            let counts = match self.log {
                Log::Trace => event::take(&mut from, 0).map(|_| true)?,
                Log::Input => matches!(self.inputs.next(&mut from, records.len())?, Record::Opening(_)),
            };
            let before = self.index.last().map_or(CHUNK_BYTES, |last| last.head.length as usize);
            if counts && start == records.len() && before + start - from.left() <= CHUNK_BYTES {
                return Err("its first record had room in the chunk before");
            }
            counted += u32::from(counts);
        }
        if counted != head.count {
            return Err("its head counts its records wrongly");
        }
        self.inputs.chunk_ends(records.len())
    }

    /// Compares with what the footer says of the log.
    fn end(&self, totals: &Totals) -> Result<(), WitnessError> {
        let differs = |what| WitnessError::Totals { log: self.log, what };
        let heads = self.index.len() as u64;
        if heads < totals.chunks && !self.keeping {
            return if self.count <= totals.count { Ok(()) } else { Err(differs("the number of records")) };
        }
        if heads != totals.chunks {
            return Err(differs("the number of chunks"));
        }
        if self.count != totals.count {
            return Err(differs("the number of records"));
        }
        if self.bytes != totals.bytes {
            return Err(differs("the number of bytes"));
        }
        if self.tree.root() != totals.root {
            return Err(differs("the root"));
        }
        if self.keeping && self.inputs.left > 0 {
            return Err(differs("the end of the last input"));
        }
        Ok(())
    }
}

/// The order of the records of the input log.
#[derive(Default)]
pub(super) struct InputRules {
    /// Bytes that the input being read still lacks.
    pub left: u64,
    last_at_event: u64,
}

impl InputRules {
    /// Reads the next record of a chunk of `length` bytes.
    pub(super) fn next<'a>(&mut self, from: &mut Cursor<'a>, length: usize) -> Result<Record<'a>, Malformed> {
        let room = CHUNK_BYTES - (length - from.left());
        let record = input::take(from)?;
        match &record {
            Record::Opening(_) if self.left > 0 => return Err("an input begins inside another"),
            Record::Opening(opening) if opening.at_event < self.last_at_event => {
                return Err("an input is before the one before it");
            }
            Record::Opening(opening) => {
                self.left = opening.length;
                self.last_at_event = opening.at_event;
            }
            Record::Part(part) => {
                if part.is_empty() || part.len() != input::part_len(room, self.wanted()) {
                    return Err("a part of an input is not cut where it must be");
                }
                self.left -= part.len() as u64;
            }
        }
        Ok(record)
    }

    /// An input that goes on in the next chunk has left no room in this one.
    fn chunk_ends(&self, length: usize) -> Result<(), Malformed> {
        let room = CHUNK_BYTES - length;
        if self.left > 0 && input::part_len(room, self.wanted()) > 0 {
            return Err("it ends inside an input");
        }
        Ok(())
    }

    fn wanted(&self) -> usize {
        self.left.min(CHUNK_BYTES as u64) as usize
    }
}
