//! Writing a witness while the run goes on.
//!
//! Owns the two growing logs and, when there is one, the file. Memory is two chunks, whatever the run does.
//! It refuses inputs that go back in time. A failed write, or an input that
//! cannot be read to its end, is final: every later call repeats the failure, and
//! a file without its footer is refused by the reader.
//!
//! Past the limit the hashes go on and bodies are dropped; the trace may fill half the limit, so that a
//! talkative program does not cost the inputs, and with them the level `replayed`.

use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::bytes::put_uint;
use super::chunk::{Growing, HEAD_BYTES, Head, Totals};
use super::event::{self, Event, MAX_SLICES};
use super::header::{MAX_HEADER_BYTES, Outcome, RunHeader};
use super::input::{self, Input, InputKind, MAX_LABEL_BYTES, Opening};
use super::merkle::Hash;
use super::{BLOCK_DOMAIN, CHUNK_BYTES, Log, MAGIC, TRACE_DOMAIN, WITNESS_DOMAIN};
use crate::sys;

/// First byte of the footer, where a chunk's head has its log.
pub(super) const FOOTER_TAG: u8 = 3;

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Digest of all trapped calls with their data.
    pub trace_hash: String,
    /// How many trapped calls there were.
    pub events: u64,
    /// Digest of the header and all inputs.
    pub witness_root: String,
    /// How many inputs there were.
    pub entries: u64,
    /// Bytes of the file; 0 without one.
    pub bytes: u64,
    /// Bodies of inputs were dropped at the limit, or there is no file: the level `replayed` is forfeited.
    pub truncated: bool,
    /// Bodies of events were dropped at the limit, or there is no file.
    pub trace_truncated: bool,
}

/// Records one run.
pub struct Recorder {
    header: Hash,
    trace: Growing,
    inputs: Growing,
    sink: Sink,
    last_at_event: u64,
}

impl Recorder {
    /// Starts a recording, into `file` (empty, positioned at its start) or into hashes only. `limit_bytes`
    /// bounds what the chunks take in the file; header, footer and one head of either log come on top.
    pub fn new(header: &RunHeader, file: Option<File>, limit_bytes: u64) -> io::Result<Self> {
        let encoded = header.encode();
        if encoded.len() > MAX_HEADER_BYTES {
            return Err(invalid("the header of the witness is too long"));
        }
        let mut sink = Sink::new(file, limit_bytes);
        let mut block = MAGIC.to_vec();
        put_block(&mut block, &encoded);
        sink.write(&block)?;
        let (trace, inputs) = (Growing::new(Log::Trace), Growing::new(Log::Input));
        Ok(Self { header: header.bound_hash(), trace, inputs, sink, last_at_event: 0 })
    }

    /// How many trapped calls were recorded.
    pub fn events(&self) -> u64 {
        self.trace.count()
    }

    /// How many inputs were recorded.
    pub fn entries(&self) -> u64 {
        self.inputs.count()
    }

    /// Whether the level `replayed` is already lost.
    pub fn truncated(&self) -> bool {
        !self.sink.inputs.keeping
    }

    /// Records one trapped call, after it returned.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if event.data.len() > MAX_SLICES {
            return Err(invalid("an event with more than MAX_SLICES pieces of data"));
        }
        let sink = &mut self.sink;
        sink.usable()?;
        self.trace.record(|out| event::put(out, event), |chunk, head| sink.chunk(chunk, head))
    }

    /// Records one external input, before the program sees it.
    pub fn input(&mut self, input: &Input<'_>) -> io::Result<()> {
        let Input { kind, label, at_event, bytes } = *input;
        self.input_from(kind, label, at_event, bytes.len() as u64, &mut &bytes[..])
    }

    /// Records one external input of `length` bytes that is read piece by piece. When `from` fails or ends
    /// early the recording is over: the input is half written.
    pub fn input_from(
        &mut self,
        kind: InputKind,
        label: &str,
        at_event: u64,
        length: u64,
        from: &mut dyn Read,
    ) -> io::Result<()> {
        if label.len() > MAX_LABEL_BYTES {
            return Err(invalid("the label of an input is too long"));
        }
        if at_event < self.last_at_event {
            return Err(invalid("an input before the one before it"));
        }
        let (sink, inputs) = (&mut self.sink, &mut self.inputs);
        sink.usable()?;
        self.last_at_event = at_event;
        let opening = Opening { at_event, kind, label, length };
        inputs.record(|out| input::put_opening(out, &opening), |chunk, head| sink.chunk(chunk, head))?;
        let mut left = length;
        while left > 0 {
            let part = input::part_len(inputs.room(), left.min(CHUNK_BYTES as u64) as usize);
            if part == 0 {
                inputs.flush(|chunk, head| sink.chunk(chunk, head))?;
                continue;
            }
            let mut read = Ok(());
            inputs.uncounted(|out| read = input::put_part(out, part, from));
            if let Err(error) = read {
                sink.failed = true;
                return Err(error);
            }
            left -= part as u64;
        }
        Ok(())
    }

    /// Ends the recording.
    pub fn finish(mut self, outcome: &Outcome) -> io::Result<Recorded> {
        let sink = &mut self.sink;
        sink.usable()?;
        self.trace.flush(|chunk, head| sink.chunk(chunk, head))?;
        self.inputs.flush(|chunk, head| sink.chunk(chunk, head))?;
        let footer =
            Footer { trace: self.trace.totals(), inputs: self.inputs.totals(), outcome: outcome.clone() };
        let mut block = vec![FOOTER_TAG];
        put_block(&mut block, &footer.encode().map_err(invalid)?);
        sink.write(&block)?;
        Ok(Recorded {
            trace_hash: sys::hex(&footer.trace_hash()),
            events: footer.trace.count,
            witness_root: sys::hex(&footer.witness_root(&self.header)),
            entries: footer.inputs.count,
            bytes: sink.written,
            truncated: !sink.inputs.keeping,
            trace_truncated: !sink.trace.keeping,
        })
    }
}

/// What stands at the end of a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub trace: Totals,
    pub inputs: Totals,
    pub outcome: Outcome,
}

impl Footer {
    pub(super) fn trace_hash(&self) -> Hash {
        self.trace.seal(TRACE_DOMAIN, &[])
    }

    pub(super) fn witness_root(&self, header: &Hash) -> Hash {
        self.inputs.seal(WITNESS_DOMAIN, header)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, &'static str> {
        let mut out = Vec::new();
        for totals in [&self.trace, &self.inputs] {
            put_uint(&mut out, totals.count);
            put_uint(&mut out, totals.chunks);
            put_uint(&mut out, totals.bytes);
            out.extend_from_slice(&totals.root);
        }
        out.extend_from_slice(&self.outcome.encode()?);
        Ok(out)
    }
}

/// Appends a length (4 bytes), the content and the digest of both.
pub(super) fn put_block(out: &mut Vec<u8>, content: &[u8]) {
    let length = (content.len() as u32).to_le_bytes();
    let check = block_check(content);
    out.extend_from_slice(&length);
    out.extend_from_slice(content);
    out.extend_from_slice(&check);
}

/// The digest behind a block.
pub(super) fn block_check(content: &[u8]) -> Hash {
    let length = (content.len() as u32).to_le_bytes();
    Sha256::new_with_prefix(BLOCK_DOMAIN).chain_update(length).chain_update(content).finalize().into()
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Where chunks go, and how many more may.
struct Sink {
    file: Option<File>,
    trace: Share,
    inputs: Share,
    /// Bytes of chunks with bodies that both logs may still write.
    bodies_left: u64,
    /// Bytes of lone heads that may still be written.
    heads_left: u64,
    written: u64,
    failed: bool,
}

/// What one log may still write.
struct Share {
    /// Bytes of bodies.
    left: u64,
    /// No body was dropped yet.
    keeping: bool,
    /// No head was dropped yet.
    heading: bool,
}

impl Sink {
    fn new(file: Option<File>, limit: u64) -> Self {
        let kept = file.is_some();
        let share = |left| Share { left, keeping: kept, heading: kept };
        let heads = limit / 16;
        Self {
            file,
            trace: share(limit / 2),
            inputs: share(limit),
            bodies_left: limit - heads,
            heads_left: heads,
            written: 0,
            failed: false,
        }
    }

    fn usable(&self) -> io::Result<()> {
        if self.failed {
            Err(io::Error::other("the witness failed before: it is incomplete"))
        } else {
            Ok(())
        }
    }

    /// Takes a closed chunk: whole, as its head alone, or not at all.
    fn chunk(&mut self, chunk: &[u8], head: &Head) -> io::Result<()> {
        let share = match head.log {
            Log::Trace => &mut self.trace,
            Log::Input => &mut self.inputs,
        };
        let size = chunk.len() as u64;
        if share.keeping && size <= share.left.min(self.bodies_left) {
            share.left -= size;
            self.bodies_left -= size;
            return self.write(chunk);
        }
        // The first head without a body is always written: it tells "dropped" from "cut off".
        let was_keeping = std::mem::replace(&mut share.keeping, false);
        if share.heading && (was_keeping || HEAD_BYTES as u64 <= self.heads_left) {
            self.heads_left = self.heads_left.saturating_sub(HEAD_BYTES as u64);
            return self.write(&Head { kept: false, ..*head }.encode());
        }
        share.heading = false;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        self.failed = true;
        file.write_all(bytes)?;
        self.failed = false;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
