//! Our own WASI, both generations: everything a command can ask of the world, answered from the spec alone.
//!
//! Owns the state behind the calls (`Host`) and their registration: `link` for preview 1, `p2` for the component
//! interfaces of WASI 0.2. All 46 functions of preview 1 exist, so every module links; what is not supported returns
//! its errno (`NOTSOCK` for sockets, `NOSYS` for signals). Refuses host resources of any kind. Every call costs
//! fuel: a fixed part and one unit per byte moved, so that no cheap call can do dear work; and every call goes into
//! the trace with its arguments and its data both ways.

mod abi;
mod calls;
mod files;
mod link;
mod memfs;
mod p2;
mod paths;
mod system;
mod tree;

use std::collections::BTreeMap;
use std::io::{self, Write};

use metanode_cage::witness::{Event, Recorder};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use wasmtime::component::ResourceTable;

use super::execute::{Caps, Output};
use super::recording;
use super::spec::{End, Stream, WasmOutcome, WasmSpec};
use crate::digest::{Digest, Hasher};
pub use calls::call_name;
pub(super) use link::{Exit, link};
pub(super) use p2::{CALL_BYTES_MAX, Misuse, link as link_p2};

/// Most bytes of arguments and environment together.
const STRINGS_BYTES_MAX: usize = 1 << 20;

/// An output stream: digest of everything, a copy to a writer.
struct Tee {
    hasher: Hasher,
    bytes: u64,
    // None once it failed: a full disk must not change what the guest does.
    writer: Option<Box<dyn Write>>,
}

impl Tee {
    fn new(writer: Box<dyn Write>) -> Self {
        Self { hasher: Hasher::default(), bytes: 0, writer: Some(writer) }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.hasher.raw(bytes);
        self.bytes += bytes.len() as u64;
        if self.writer.as_mut().is_some_and(|writer| writer.write_all(bytes).is_err()) {
            self.writer = None;
        }
    }

    fn finish(mut self) -> Stream {
        if let Some(writer) = &mut self.writer {
            let _ = writer.flush();
        }
        Stream { digest: self.hasher.finish(), bytes: self.bytes }
    }
}

/// The world of one run.
pub(super) struct Host {
    args: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    clock: system::Clock,
    random: ChaCha20Rng,
    /// What the interfaces call insecure: streams of their own, so that drawing from one leaves the others alone.
    insecure: ChaCha20Rng,
    insecure_seed: (u64, u64),
    fs: memfs::MemFs,
    descriptors: BTreeMap<u32, files::Descriptor>,
    stdin: Vec<u8>,
    stdin_position: usize,
    stdout: Tee,
    stderr: Tee,
    /// The handles of a component.
    resources: ResourceTable,
    calls: u64,
    recorder: Recorder,
    pub(super) caps: Caps,
}

impl Host {
    pub(super) fn new(spec: &WasmSpec, stdin: Vec<u8>, output: Output, caps: Caps) -> Result<Self, String> {
        let strings = || spec.args.iter().chain(&spec.env);
        if strings().any(|text| text.contains('\0')) {
            return Err("an argument or environment entry has a NUL in it".to_owned());
        }
        if strings().map(|text| text.len() + 1).sum::<usize>() > STRINGS_BYTES_MAX {
            return Err(format!("arguments and environment are longer than {STRINGS_BYTES_MAX} bytes"));
        }
        let recorder = recording::begin(spec, &stdin, output.witness)
            .map_err(|error| format!("its witness cannot be begun: {error}"))?;
        let bytes = |texts: &[String]| texts.iter().map(|text| text.clone().into_bytes()).collect();
        let mut fs = memfs::MemFs::new(spec.limits.files_bytes);
        for file in &spec.files {
            fs.place_file(&file.path, &file.bytes)
                .map_err(|errno| format!("file {:?} cannot be placed: {errno:?}", file.path))?;
        }
        fs.work = 0;
        let stream = |number| {
            let mut random = ChaCha20Rng::from_seed(spec.seed);
            random.set_stream(number);
            random
        };
        let mut seeds = stream(2);
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(p2::RESOURCES_MAX);
        Ok(Self {
            args: bytes(&spec.args),
            env: bytes(&spec.env),
            clock: system::Clock::new(spec.epoch_ns),
            random: stream(0),
            insecure: stream(1),
            insecure_seed: (seeds.next_u64(), seeds.next_u64()),
            fs,
            descriptors: files::Descriptor::standard(),
            stdin,
            stdin_position: 0,
            stdout: Tee::new(output.stdout),
            stderr: Tee::new(output.stderr),
            resources,
            calls: 0,
            recorder,
            caps,
        })
    }

    /// What happens before every call: the clock ticks.
    fn enter(&mut self) {
        self.clock.tick();
        self.calls += 1;
    }

    /// Puts a call into the trace. Arguments beyond the sixth stand behind the data.
    fn record(&mut self, number: u32, words: &[u64], result: i64, data: &[&[u8]]) {
        let mut args = [0; 6];
        let (first, rest) = words.split_at(words.len().min(args.len()));
        args[..first.len()].copy_from_slice(first);
        let rest: Vec<u8> = rest.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut pieces = data.to_vec();
        if !rest.is_empty() {
            pieces.push(&rest);
        }
        let clock_ns = self.clock.elapsed_ns();
        let event = Event { task: 0, number, args, result, clock_ns, data: &pieces };
        if let Err(error) = self.recorder.event(&event) {
            self.caps.host_failed(|| format!("the witness could not be written: {error}"));
        }
    }

    /// What the run gave; an error when its witness cannot be ended.
    pub(super) fn sum_up(self, end: End, fuel_used: u64) -> io::Result<WasmOutcome> {
        let mut outcome = WasmOutcome {
            end,
            fuel_used,
            host_calls: self.calls,
            clock_ns: self.clock.elapsed_ns(),
            memory_peak_bytes: self.caps.memory_peak(),
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            tree: self.fs.digest(),
            trace_hash: Digest::default(),
            trace_events: 0,
            witness_root: Digest::default(),
            witness_entries: 0,
            witness_bytes: 0,
            replayable: false,
        };
        recording::end(self.recorder, &mut outcome)?;
        Ok(outcome)
    }
}
