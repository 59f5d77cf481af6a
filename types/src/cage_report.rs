//! What one cage run measured, as it stands on the ledger.
//!
//! Owns the report's fields. Everything here is an integer, a digest or a short text; times of the host and
//! host pids never enter. Only `runtime` makes these; `state` records them under the node's signature.

use crate::ids::{ContentDigest, Digest};
use crate::level::CageLevel;
use crate::params::Usage;
use crate::tx::ShortText;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// How a cage run ended.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// The program exited with this code.
    Code(i32),
    /// The program was ended by this signal.
    Signal(i32),
    /// The wall-clock bound was reached.
    Timeout,
    /// The memory limit was reached.
    OutOfMemory,
    /// A WASM module used up its fuel.
    OutOfFuel,
    /// A WASM module trapped.
    Trap(ShortText),
    /// The cage itself failed; no statement about the program.
    CageFailed(ShortText),
}

impl ExitStatus {
    /// True for exit code zero.
    pub fn success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Code(c) => write!(f, "exit {c}"),
            ExitStatus::Signal(s) => write!(f, "signal {s}"),
            ExitStatus::Timeout => f.write_str("timeout"),
            ExitStatus::OutOfMemory => f.write_str("out of memory"),
            ExitStatus::OutOfFuel => f.write_str("out of fuel"),
            ExitStatus::Trap(t) => write!(f, "trap: {t}"),
            ExitStatus::CageFailed(t) => write!(f, "cage failed: {t}"),
        }
    }
}

/// Commitment to the recorded inputs of a run.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessRoot {
    /// Merkle root over the witness's chunks.
    pub root: Digest,
    /// Entries recorded.
    pub entries: u64,
    /// Bytes recorded.
    pub bytes: u64,
}

/// Digest of the inputs of a run: the workload (image, arguments, environment, limits), the seed, and where a
/// logical clock starts.
pub fn inputs_digest(workload: &Digest, seed: &Digest, clock_ms: u64) -> Digest {
    Digest(crate::hash::hash(crate::hash::Domain::Inputs, &[&workload.0, &seed.0, &clock_ms.to_le_bytes()]))
}

/// What one cage run measured.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CageReport {
    /// Level reached.
    pub level: CageLevel,
    /// Image that ran.
    pub image: ContentDigest,
    /// [`inputs_digest`] of the workload, its seed and its clock.
    pub inputs: Digest,
    /// How it ended.
    pub exit: ExitStatus,
    /// SHA-256 of all of standard output.
    pub stdout: ContentDigest,
    /// SHA-256 of all of standard error.
    pub stderr: ContentDigest,
    /// Digest of the files it wrote, if the cage has a writable tree.
    pub output: Option<Digest>,
    /// Recorded inputs, at levels that record them.
    pub witness: Option<WitnessRoot>,
    /// Resources used.
    pub usage: Usage,
    /// WASM fuel used.
    pub fuel: Option<u64>,
    /// Digest of the CPU features it ran on.
    pub cpu_class: Digest,
}
