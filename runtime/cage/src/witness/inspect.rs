//! A witness in a few lines: what it is of, what it amounts to, and which inputs it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::diff::CallNames;
use super::{InputKind, Log, Outcome, RunHeader, Witness, WitnessError};
use crate::sys;

/// Most inputs that are listed one by one.
const LISTED_INPUTS: usize = 1000;

/// What `inspect` says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What the run was.
    pub header: RunHeader,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Digest of all trapped calls.
    pub trace_hash: String,
    /// Digest of the header and all inputs.
    pub witness_root: String,
    /// Whether it holds all inputs, so that the run can be done again from it alone.
    pub replayable: bool,
    /// The trapped calls.
    pub trace: LogSummary,
    /// The inputs.
    pub inputs: LogSummary,
    /// Tasks seen in the trapped calls that were kept.
    pub tasks: usize,
    /// The trapped calls that were kept, by system call, most frequent first.
    pub calls: Vec<CallCount>,
    /// The inputs that were kept, at most the first 1000.
    pub listed_inputs: Vec<InputLine>,
}

/// What a log amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogSummary {
    /// How many records there were.
    pub count: u64,
    /// How many of them are in the file whole.
    pub kept: u64,
    /// Bytes of all records.
    pub bytes: u64,
    /// Chunks they were cut into.
    pub chunks: u64,
    /// Whether bodies were dropped at the limit.
    pub truncated: bool,
    /// Whether the root was computed from the chunks; else so many were dropped that it is only claimed.
    pub root_recomputed: bool,
}

/// How often a system call was trapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallCount {
    /// System call number.
    pub number: u32,
    /// Its name, when it has one.
    pub name: Option<&'static str>,
    /// How often.
    pub count: u64,
    /// How often it failed.
    pub failed: u64,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputLine {
    /// Its position.
    pub seq: u64,
    /// How many trapped calls there had been.
    pub at_event: u64,
    /// Where it came from.
    pub kind: InputKind,
    /// Which one.
    pub label: String,
    /// How many bytes.
    pub length: u64,
    /// Their digest.
    pub sha256: String,
}

impl Witness {
    /// Reads all that was kept and sums it up.
    pub fn summary(&self, names: CallNames) -> Result<Summary, WitnessError> {
        let (mut tasks, mut calls, mut events) = (BTreeSet::new(), BTreeMap::new(), 0);
        for event in kept(self.events()) {
            let event = event?;
            tasks.insert(event.task);
            let (count, failed) = calls.entry(event.number).or_insert((0u64, 0u64));
            *count += 1;
            *failed += u64::from((-4095..0).contains(&event.result));
            events += 1;
        }
        let mut calls: Vec<CallCount> = calls
            .into_iter()
            .map(|(number, (count, failed))| CallCount { number, name: names(number), count, failed })
            .collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.count));
        let (listed_inputs, inputs) = self.listed_inputs()?;
        Ok(Summary {
            header: self.header().clone(),
            outcome: self.outcome().clone(),
            file_bytes: self.bytes(),
            trace_hash: self.trace_hash(),
            witness_root: self.witness_root(),
            replayable: !self.truncated(),
            trace: self.log_summary(Log::Trace, events),
            inputs: self.log_summary(Log::Input, inputs),
            tasks: tasks.len(),
            calls,
            listed_inputs,
        })
    }

    fn listed_inputs(&self) -> Result<(Vec<InputLine>, u64), WitnessError> {
        let (mut lines, mut count) = (Vec::new(), 0);
        for input in kept(self.inputs()) {
            let input = input?;
            count += 1;
            if lines.len() < LISTED_INPUTS {
                let (length, sha256) = (input.bytes.len() as u64, sys::hex(&Sha256::digest(&input.bytes)));
                let (seq, at_event, kind, label) = (input.seq, input.at_event, input.kind, input.label);
                lines.push(InputLine { seq, at_event, kind, label, length, sha256 });
            }
        }
        Ok((lines, count))
    }

    fn log_summary(&self, log: Log, kept: u64) -> LogSummary {
        let totals = self.totals(log);
        LogSummary {
            count: totals.count,
            kept,
            bytes: totals.bytes,
            chunks: totals.chunks,
            truncated: self.dropped(log),
            root_recomputed: self.recomputed(log),
        }
    }
}

/// The records up to where the limit cut them off.
fn kept<T>(
    records: impl Iterator<Item = Result<T, WitnessError>>,
) -> impl Iterator<Item = Result<T, WitnessError>> {
    records.take_while(|record| !matches!(record, Err(WitnessError::Dropped { .. })))
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let RunHeader { image, argv, level, seed, epoch_ms, cpu_class, kernel, .. } = &self.header;
        writeln!(f, "image         {image}\nprogram       {argv:?}\nlevel asked   {level}")?;
        writeln!(f, "seed          {}\nepoch         {epoch_ms} ms", sys::hex(seed))?;
        writeln!(
            f,
            "cpu class     {cpu_class}\nkernel        {kernel}\nexit          {:?}",
            self.outcome.exit
        )?;
        writeln!(
            f,
            "stdout        {}\nstderr        {}",
            self.outcome.stdout_digest, self.outcome.stderr_digest
        )?;
        writeln!(f, "output tree   {}", self.outcome.output_digest.as_deref().unwrap_or("unavailable"))?;
        writeln!(f, "trace hash    {}\nwitness root  {}", self.trace_hash, self.witness_root)?;
        writeln!(
            f,
            "replayable    {}",
            if self.replayable { "yes" } else { "no: inputs were dropped at the limit" }
        )?;
        for (name, log) in [("events", &self.trace), ("inputs", &self.inputs)] {
            let claimed = if log.root_recomputed { "" } else { "; root claimed, not computed" };
            let LogSummary { count, kept, bytes, chunks, .. } = log;
            writeln!(f, "{name:<13} {count} ({kept} kept), {bytes} bytes in {chunks} chunks{claimed}")?;
        }
        writeln!(f, "tasks         {}", self.tasks)?;
        for CallCount { number, name, count, failed } in &self.calls {
            writeln!(f, "  {count:>9} {} ({number}), {failed} failed", name.unwrap_or("unnamed call"))?;
        }
        for InputLine { seq, at_event, kind, label, length, sha256 } in &self.listed_inputs {
            writeln!(
                f,
                "input {seq} after event {at_event}: {kind} {label:?}, {length} bytes, sha256 {sha256}"
            )?;
        }
        Ok(())
    }
}
