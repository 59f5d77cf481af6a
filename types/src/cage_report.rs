//! What one cage run measured, as it stands on the ledger.
//!
//! Owns the report's fields. Everything here is an integer, a digest or a short text; times of the host and
//! host pids never enter. Only `runtime` makes these; `state` records them under the node's signature. Owns, too, what
//! two runs of one workload must have in common ([`CageReport::outcome`]), and how a node commits to a report before it
//! tells it.

use crate::codec::{bounded_vec, invalid};
use crate::hash::{Domain, hash_value};
use crate::ids::{Address, ContentDigest, Digest};
use crate::level::CageLevel;
use crate::limits::MAX_KERNEL_BYTES;
use crate::params::Usage;
use crate::tx::ShortText;
use crate::workload::ReplicaId;
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

/// Release of a kernel, as `uname -r` prints it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct KernelRelease(#[serde(deserialize_with = "bounded_kernel")] String);

impl KernelRelease {
    /// The first bytes of `text`, up to the bound and a character's end.
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(MAX_KERNEL_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        KernelRelease(text[..end].to_owned())
    }
}

impl std::fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn bounded_kernel<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(d)?;
    if text.len() > MAX_KERNEL_BYTES {
        return Err(serde::de::Error::custom("a kernel release has at most 64 bytes"));
    }
    Ok(text)
}

impl BorshDeserialize for KernelRelease {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let text = String::from_utf8(bounded_vec(r, MAX_KERNEL_BYTES)?);
        text.map(KernelRelease).map_err(|_| invalid("a kernel release is UTF-8"))
    }
}

/// Machines whose runs can be compared: the same CPU features under the same kernel.
#[derive(
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Default,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct MachineClass {
    /// Digest of the CPU features.
    pub cpu: Digest,
    /// Kernel release.
    pub kernel: KernelRelease,
}

impl std::fmt::Display for MachineClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CPU class {} under kernel {}", self.cpu.short(), self.kernel)
    }
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
    /// Running hash over every trapped call with its data, at levels that trap them.
    pub trace: Option<Digest>,
    /// Machine it ran on.
    pub machine: MachineClass,
}

impl CageReport {
    /// Digest of everything that another run of the same workload on the same class of machine must come to, too: not
    /// what it cost.
    pub fn outcome(&self) -> Digest {
        let common = (
            (self.level, &self.image, &self.inputs, &self.exit),
            (&self.stdout, &self.stderr, &self.output, &self.witness, &self.trace),
        );
        Digest(hash_value(Domain::Outcome, &common))
    }

    /// Digest of the whole report.
    pub fn digest(&self) -> Digest {
        Digest(hash_value(Domain::CageReport, self))
    }

    /// False when the run says nothing about the program: the host's clock or memory ended it, or the cage failed.
    pub fn has_verdict(&self) -> bool {
        let by_host =
            matches!(self.exit, ExitStatus::Timeout | ExitStatus::OutOfMemory | ExitStatus::CageFailed(_));
        !by_host
    }
}

/// What a node commits to before any of the nodes that run the same replica reveals: its report, hidden by a salt and
/// bound to node and execution, so that it cannot be copied.
pub fn commitment(
    report: &CageReport,
    salt: &Digest,
    node: &Address,
    replica: &ReplicaId,
    epoch: u64,
) -> Digest {
    Digest(hash_value(Domain::Commitment, &(report.digest(), salt, node, replica, epoch)))
}
