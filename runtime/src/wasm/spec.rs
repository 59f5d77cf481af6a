//! Owns what a WASM run is asked and what it gives back, both as plain data. Refuses everything the host could
//! vary: no times, no pids, no paths of the host. Invariant: equal specs (and modules) give equal outcomes, or one
//! of them has no verdict.

use metanode_types::cage_report::ExitStatus;
use metanode_types::tx::ShortText;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

/// One run of a command module. The module's digest is part of it; its bytes come beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmSpec {
    /// Digest of the binary module.
    pub module: Digest,
    /// Arguments; the first is the program's name.
    pub args: Vec<String>,
    /// Environment, `KEY=value`.
    pub env: Vec<String>,
    /// What all randomness is derived from. Public: nothing drawn from it is a secret.
    #[serde(with = "metanode_types::ids::hex32")]
    pub seed: [u8; 32],
    /// The wall clock at the start, in nanoseconds since 1970.
    pub epoch_ns: u64,
    /// Files the run starts with.
    #[serde(default)]
    pub files: Vec<NamedFile>,
    /// Bounds.
    pub limits: WasmLimits,
}

/// A file in the virtual filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFile {
    /// Absolute path; its directories are made.
    pub path: String,
    /// Contents, hexadecimal in JSON.
    #[serde(with = "hex_bytes")]
    pub bytes: Vec<u8>,
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmLimits {
    /// Units of fuel: about one per instruction, one per byte that a bulk instruction or a host call moves.
    pub fuel: u64,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of each table.
    pub table_elements: u32,
    /// Bytes in the virtual filesystem: contents, names and a fixed charge per file.
    pub files_bytes: u64,
    /// Milliseconds of real time after which the run is given up without a verdict; 0 for none.
    pub wall_ms: u64,
}

impl Default for WasmLimits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000_000,
            memory_bytes: 256 << 20,
            table_elements: 1 << 20,
            files_bytes: 64 << 20,
            wall_ms: 0,
        }
    }
}

/// Why a module stopped other than by its own will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrapKind {
    /// The fuel is used up.
    OutOfFuel,
    /// The call stack is used up.
    StackOverflow,
    /// An access outside the memory.
    MemoryFault,
    /// An access outside a table, to an empty slot, or with the wrong signature.
    TableFault,
    /// The `unreachable` instruction: what an abort compiles to.
    Unreachable,
    /// A division by zero, or an overflow in a division or conversion.
    Arithmetic,
    /// A component broke a rule of the interface that it called: an unknown handle, a write beyond its permit, too
    /// many resources.
    BadCall,
    /// Any other trap the specification knows.
    Other,
}

impl TrapKind {
    /// The name used in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OutOfFuel => "out-of-fuel",
            Self::StackOverflow => "stack-overflow",
            Self::MemoryFault => "memory-fault",
            Self::TableFault => "table-fault",
            Self::Unreachable => "unreachable",
            Self::Arithmetic => "arithmetic",
            Self::BadCall => "bad-call",
            Self::Other => "other",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The module exited, or returned from `_start` (code 0).
    Exited {
        /// Its exit code.
        code: u32,
    },
    /// The module trapped; another node gets the same trap.
    Trapped {
        /// Which trap.
        trap: TrapKind,
    },
    /// The host gave the run up; this says nothing about the module.
    NoVerdict {
        /// Why.
        reason: String,
    },
}

impl End {
    /// The same, as the ledger says it.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        let short = |text: &str| ShortText::new(text);
        match self {
            // WASI codes are unsigned and the ledger's are not: the bits are kept.
            Self::Exited { code } => ExitStatus::Code(code.cast_signed()),
            Self::Trapped { trap: TrapKind::OutOfFuel } => ExitStatus::OutOfFuel,
            Self::Trapped { trap } => ExitStatus::Trap(short(trap.name())),
            Self::NoVerdict { reason } => ExitStatus::CageFailed(short(reason.as_str())),
        }
    }
}

/// What an output stream carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// SHA-256 of all of it.
    pub digest: Digest,
    /// How many bytes it had.
    pub bytes: u64,
}

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmOutcome {
    /// How it ended.
    pub end: End,
    /// Fuel used.
    pub fuel_used: u64,
    /// Host calls made.
    pub host_calls: u64,
    /// The logical clock at the end, in nanoseconds since the start.
    pub clock_ns: u64,
    /// Largest total size the linear memories reached.
    pub memory_peak_bytes: u64,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
    /// Digest of the virtual filesystem at the end.
    pub tree: Digest,
    /// Digest of every host call with its arguments and its data both ways, and of the end.
    pub trace_hash: Digest,
    /// How many events that covers: the host calls and the end.
    pub trace_events: u64,
    /// Digest of the spec and of every external input.
    pub witness_root: Digest,
    /// How many inputs that covers.
    pub witness_entries: u64,
    /// Bytes of the witness's file; 0 without one.
    pub witness_bytes: u64,
    /// There is a file, and it holds every input.
    pub replayable: bool,
}

impl WasmOutcome {
    /// Whether the outcome says something about the module, so that another run must give the same.
    #[must_use]
    pub fn has_verdict(&self) -> bool {
        !matches!(self.end, End::NoVerdict { .. })
    }

    /// One digest over everything but the witness's file, to compare two runs.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::with_domain("metanode wasm outcome v2");
        let (kind, detail) = match &self.end {
            End::Exited { code } => (0, code.to_string()),
            End::Trapped { trap } => (1, trap.name().to_owned()),
            End::NoVerdict { reason } => (2, reason.clone()),
        };
        hasher.number(kind);
        hasher.field(detail.as_bytes());
        for number in [self.fuel_used, self.host_calls, self.clock_ns, self.memory_peak_bytes] {
            hasher.number(number);
        }
        for stream in [&self.stdout, &self.stderr] {
            hasher.raw(&stream.digest.0);
            hasher.number(stream.bytes);
        }
        for digest in [&self.tree, &self.trace_hash, &self.witness_root] {
            hasher.raw(&digest.0);
        }
        hasher.finish()
    }
}
