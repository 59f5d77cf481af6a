//! Owns how a WASM run and a witness stand for each other: the header that a spec becomes and is read back from, the
//! inputs, and the last event. Refuses to replay a witness of another kind of run, of other rules, or one whose inputs
//! were dropped. The layout itself belongs to `metanode_cage::witness`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use metanode_cage::Exit;
use metanode_cage::witness::{Event, Input, InputKind, Outcome, Recorded, Recorder, RunHeader, Witness};

use super::settings::{CAGE_ABI, CAGE_ABI_NUMBER};
use super::spec::{End, NamedFile, TrapKind, WasmLimits, WasmOutcome, WasmSpec};
use crate::digest::{Digest, hex_of};
use crate::error::{Error, Result};

/// Default for the bytes that a witness may take.
pub const WITNESS_BYTES: u64 = 64 << 20;
/// Stands before the module's digest where a witness names what ran.
const IMAGE: &str = "wasm:";
const STDIN: &str = "stdin";
/// Number of the event that ends every trace.
pub(super) const END_EVENT: u32 = 0;
const NS_PER_MS: u64 = 1_000_000;

/// The header of a spec. The wall-clock bound is not in it: it never decides an outcome.
fn header(spec: &WasmSpec) -> RunHeader {
    let limits = [
        ("epoch_ns_in_ms", spec.epoch_ns % NS_PER_MS),
        ("files_bytes", spec.limits.files_bytes),
        ("fuel", spec.limits.fuel),
        ("memory_bytes", spec.limits.memory_bytes),
        ("table_elements", spec.limits.table_elements.into()),
    ];
    RunHeader {
        image: format!("{IMAGE}{}", spec.module),
        argv: spec.args.clone(),
        env: spec.env.clone(),
        cwd: "/".to_owned(),
        hostname: String::new(),
        limits: limits.map(|(name, value)| (name.to_owned(), value)).into(),
        seed: spec.seed,
        epoch_ms: spec.epoch_ns / NS_PER_MS,
        cage_abi: CAGE_ABI_NUMBER,
        // No processor matters, only the compiler and its settings.
        cpu_class: CAGE_ABI.to_owned(),
        level: "pinned".to_owned(),
        kernel: String::new(),
    }
}

/// Begins a recording with everything that comes from outside.
pub(super) fn begin(spec: &WasmSpec, stdin: &[u8], file: Option<(File, u64)>) -> io::Result<Recorder> {
    let (file, limit) = file.map_or((None, 0), |(file, limit)| (Some(file), limit));
    let mut recorder = Recorder::new(&header(spec), file, limit)?;
    for file in &spec.files {
        let input = Input { kind: InputKind::File, label: &file.path, bytes: &file.bytes, at_event: 0 };
        recorder.input(&input)?;
    }
    recorder.input(&Input { kind: InputKind::Stdin, label: STDIN, bytes: stdin, at_event: 0 })?;
    Ok(recorder)
}

/// Ends it: how the module ended and what it used is the last event of the trace, so that the trace hash covers it.
pub(super) fn end(mut recorder: Recorder, outcome: &mut WasmOutcome) -> io::Result<()> {
    let (name, code) = match &outcome.end {
        End::Exited { code } => ("exited", u64::from(*code)),
        End::Trapped { trap } => (trap.name(), 0),
        End::NoVerdict { .. } => ("no-verdict", 0),
    };
    recorder.event(&Event {
        task: 0,
        number: END_EVENT,
        args: [code, outcome.fuel_used, outcome.memory_peak_bytes, 0, 0, 0],
        result: 0,
        clock_ns: outcome.clock_ns,
        data: &[name.as_bytes()],
    })?;
    let recorded = recorder.finish(&Outcome {
        exit: exit_of(&outcome.end),
        stdout_digest: hex_of(&outcome.stdout.digest),
        stderr_digest: hex_of(&outcome.stderr.digest),
        output_digest: Some(hex_of(&outcome.tree)),
        logical_ns: outcome.clock_ns,
    })?;
    let Recorded { trace_hash, events, witness_root, entries, bytes, truncated, .. } = recorded;
    outcome.trace_hash = digest(&trace_hash)?;
    outcome.trace_events = events;
    outcome.witness_root = digest(&witness_root)?;
    outcome.witness_entries = entries;
    outcome.witness_bytes = bytes;
    outcome.replayable = !truncated;
    Ok(())
}

fn digest(text: &str) -> io::Result<Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(io::Error::other)?;
    Ok(Digest(bytes))
}

/// The end in the words of native cages: a trap is the signal that a program gets for the same mistake.
pub(super) fn exit_of(end: &End) -> Exit {
    match end {
        End::Exited { code } => Exit::Code(code.cast_signed()),
        End::Trapped { trap } => Exit::Signal(match trap {
            TrapKind::OutOfFuel => libc::SIGXCPU,
            TrapKind::StackOverflow | TrapKind::MemoryFault => libc::SIGSEGV,
            TrapKind::Arithmetic => libc::SIGFPE,
            TrapKind::Unreachable => libc::SIGABRT,
            TrapKind::TableFault | TrapKind::BadCall | TrapKind::Other => libc::SIGILL,
        }),
        End::NoVerdict { reason } => Exit::NoVerdict(reason.clone()),
    }
}

/// What a witness says was run: the spec (with its files) and standard input.
pub(super) fn read(witness: &Witness, wall_ms: u64) -> Result<(WasmSpec, Vec<u8>)> {
    let refuse = |reason: String| Error::ReplayWitness { reason };
    let header = witness.header();
    let module = header.image.strip_prefix(IMAGE).and_then(|digest| digest.parse().ok());
    let module = module.ok_or_else(|| refuse(format!("{:?} is not a WASM module", header.image)))?;
    if (header.cage_abi, header.cpu_class.as_str()) != (CAGE_ABI_NUMBER, CAGE_ABI) {
        let recorded = format!("{} of rules {:?}", header.cage_abi, header.cpu_class);
        return Err(refuse(format!("it was recorded under version {recorded}, here is {CAGE_ABI:?}")));
    }
    if witness.truncated() {
        return Err(refuse("inputs were dropped when it reached its limit".to_owned()));
    }
    let limits = Limits(&header.limits);
    let mut spec = WasmSpec {
        module,
        args: header.argv.clone(),
        env: header.env.clone(),
        seed: header.seed,
        epoch_ns: header
            .epoch_ms
            .checked_mul(NS_PER_MS)
            .and_then(|ns| ns.checked_add(limits.get("epoch_ns_in_ms").ok()?))
            .ok_or_else(|| refuse("its epoch is out of range".to_owned()))?,
        files: Vec::new(),
        limits: WasmLimits {
            fuel: limits.get("fuel")?,
            memory_bytes: limits.get("memory_bytes")?,
            table_elements: u32::try_from(limits.get("table_elements")?)
                .map_err(|_| refuse("its table limit is out of range".to_owned()))?,
            files_bytes: limits.get("files_bytes")?,
            wall_ms,
        },
    };
    let mut stdin = None;
    for input in witness.inputs() {
        let input = input.map_err(|error| refuse(error.to_string()))?;
        match input.kind {
            InputKind::File => spec.files.push(NamedFile { path: input.label, bytes: input.bytes }),
            InputKind::Stdin if stdin.is_none() => stdin = Some(input.bytes),
            other => return Err(refuse(format!("a module has no input of kind {other:?} here"))),
        }
    }
    let stdin = stdin.ok_or_else(|| refuse("it has no standard input".to_owned()))?;
    Ok((spec, stdin))
}

struct Limits<'a>(&'a BTreeMap<String, u64>);

impl Limits<'_> {
    fn get(&self, name: &'static str) -> Result<u64> {
        let missing = || Error::ReplayWitness { reason: format!("it has no limit {name}") };
        self.0.get(name).copied().ok_or_else(missing)
    }
}
