//! What is asked: an image, how to run it, and within which limits.
//!
//! Owns the workload as it stands on the ledger and its bounds. A workload is public for ever. Refuses
//! anything beyond the named limits at decode time, so that no other code needs to ask again.

use crate::codec::{bounded_vec, invalid};
use crate::hash::{Domain, hash_value};
use crate::ids::{ContentDigest, Digest, Name};
use crate::level::{CageLevel, SecurityLevel};
use crate::limits::{MAX_ARGS, MAX_ENV, MAX_STRING_BYTES, MAX_VERIFY};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What kind of program an image holds.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// An OCI container image (linux/amd64).
    Oci,
    /// A WASM command module (WASI preview 1).
    Wasm,
}

/// An image by content: tags never reach the ledger.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRef {
    /// Kind of program.
    pub kind: ImageKind,
    /// SHA-256 of the OCI manifest, or of the WASM module.
    pub digest: ContentDigest,
    /// Hash of the image descriptor: the list of blobs that a node fetches chunk by chunk.
    pub descriptor: Digest,
}

/// Limits of one replica; also what it reserves on its node.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// CPU share in thousandths of a core.
    pub cpu_milli: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Writable space in bytes.
    pub disk_bytes: u64,
    /// Processes.
    pub pids: u32,
}

impl Resources {
    /// Field-wise sum, saturating (capacities are far below the bounds).
    pub fn saturating_add(self, o: Resources) -> Resources {
        Resources {
            cpu_milli: self.cpu_milli.saturating_add(o.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(o.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(o.disk_bytes),
            pids: self.pids.saturating_add(o.pids),
        }
    }
    /// Field-wise difference, or `None` when some field would go below zero.
    pub fn checked_sub(self, o: Resources) -> Option<Resources> {
        Some(Resources {
            cpu_milli: self.cpu_milli.checked_sub(o.cpu_milli)?,
            memory_bytes: self.memory_bytes.checked_sub(o.memory_bytes)?,
            disk_bytes: self.disk_bytes.checked_sub(o.disk_bytes)?,
            pids: self.pids.checked_sub(o.pids)?,
        })
    }
}

/// How a service shows that it is healthy, asked from inside its own network namespace.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// TCP port on the cage's loopback.
    pub port: u16,
    /// HTTP path to GET (2xx or 3xx is healthy); `None` = a TCP connection is enough.
    pub path: Option<String>,
}

/// Runs for ever, or once.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum WorkloadKind {
    /// Restarted when it exits.
    Service {
        /// Health check, if any.
        health: Option<HealthCheck>,
    },
    /// Runs once to its end.
    Job {
        /// Wall-clock bound in milliseconds.
        timeout_ms: u64,
    },
}

/// One environment variable.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvVar {
    /// Name, without `=` and NUL.
    pub name: String,
    /// Value, without NUL.
    pub value: String,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Program, by content.
    pub image: ImageRef,
    /// Arguments; empty = the image's own entry point and command.
    pub args: Vec<String>,
    /// Environment added to the image's, in this order.
    pub env: Vec<EnvVar>,
    /// Limits.
    pub resources: Resources,
    /// Service or job.
    pub kind: WorkloadKind,
    /// Lowest cage level that the run must reach.
    pub cage_level: CageLevel,
    /// Protection asked for.
    pub security: SecurityLevel,
    /// Nodes that run each replica and must agree on what it did; 0 = one node, whose word is taken. Only jobs, and
    /// only odd: an even number costs one more run than the odd one below it and outvotes no more liars.
    pub verify: u32,
}

impl Workload {
    /// Digest of the workload: the *inputs* of a run, with the seed.
    pub fn digest(&self) -> Digest {
        Digest(hash_value(Domain::Workload, self))
    }

    /// True for jobs.
    pub fn is_job(&self) -> bool {
        matches!(self.kind, WorkloadKind::Job { .. })
    }

    /// Cages that run for each replica.
    pub fn executions(&self) -> u32 {
        self.verify.max(1)
    }

    /// Checks bounds that the encoding alone does not (used on decode and before signing).
    pub fn validate(&self) -> Result<(), String> {
        if self.args.len() > MAX_ARGS || self.env.len() > MAX_ENV {
            return Err(format!(
                "at most {MAX_ARGS} arguments and {MAX_ENV} environment variables are allowed"
            ));
        }
        let bad = |s: &str| s.len() > MAX_STRING_BYTES || s.contains('\0');
        if let Some(a) = self.args.iter().find(|a| bad(a)) {
            return Err(format!("argument {:?}… has a NUL or exceeds {MAX_STRING_BYTES} bytes", clip(a)));
        }
        for v in &self.env {
            if v.name.is_empty() || v.name.contains('=') || bad(&v.name) || bad(&v.value) {
                return Err(format!(
                    "environment variable {:?} is empty, has '=' or NUL, or is too long",
                    clip(&v.name)
                ));
            }
        }
        if self.resources.cpu_milli == 0 || self.resources.memory_bytes == 0 || self.resources.pids == 0 {
            return Err("cpu, memory and pids must be above zero".into());
        }
        if self.verify > 0 {
            if !self.is_job() {
                return Err("only jobs are verified: a service has no result to compare".into());
            }
            if self.verify.is_multiple_of(2) || !(3..=MAX_VERIFY).contains(&self.verify) {
                return Err(format!("verify must be 0 or an odd number from 3 to {MAX_VERIFY}"));
            }
        }
        match &self.kind {
            WorkloadKind::Job { timeout_ms: 0 } => Err("a job's timeout must be above zero".into()),
            WorkloadKind::Job { timeout_ms } if *timeout_ms > 86_400_000 => {
                Err("a job's timeout is at most a day".into())
            }
            WorkloadKind::Service { health: Some(h) } => h.validate(),
            _ => Ok(()),
        }
    }
}

impl HealthCheck {
    fn validate(&self) -> Result<(), String> {
        if self.port == 0 {
            return Err("a health check needs a port above zero".into());
        }
        match &self.path {
            Some(p) if !p.starts_with('/') || p.len() > 1024 || p.bytes().any(|b| b <= b' ' || b == 0x7f) => {
                Err(format!("health check path {:?} must start with '/' and have no spaces", clip(p)))
            }
            _ => Ok(()),
        }
    }
}

fn clip(s: &str) -> String {
    s.chars().take(40).collect()
}

fn bounded_string<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<String> {
    String::from_utf8(bounded_vec(r, MAX_STRING_BYTES)?).map_err(|_| invalid("a string is UTF-8"))
}

impl BorshDeserialize for EnvVar {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(EnvVar { name: bounded_string(r)?, value: bounded_string(r)? })
    }
}

impl BorshDeserialize for HealthCheck {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let port = u16::deserialize_reader(r)?;
        let path = match u8::deserialize_reader(r)? {
            0 => None,
            1 => Some(bounded_string(r)?),
            _ => return Err(invalid("an option's tag is 0 or 1")),
        };
        Ok(HealthCheck { port, path })
    }
}

impl BorshDeserialize for Workload {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let image = ImageRef::deserialize_reader(r)?;
        let count = u32::deserialize_reader(r)? as usize;
        if count > MAX_ARGS {
            return Err(invalid(format!("{count} arguments, at most {MAX_ARGS} are allowed")));
        }
        let args = (0..count).map(|_| bounded_string(r)).collect::<borsh::io::Result<Vec<_>>>()?;
        let workload = Workload {
            image,
            args,
            env: bounded_vec(r, MAX_ENV)?,
            resources: Resources::deserialize_reader(r)?,
            kind: WorkloadKind::deserialize_reader(r)?,
            cage_level: CageLevel::deserialize_reader(r)?,
            security: SecurityLevel::deserialize_reader(r)?,
            verify: u32::deserialize_reader(r)?,
        };
        workload.validate().map_err(invalid)?;
        Ok(workload)
    }
}

/// Names one replica of a deployment.
#[derive(
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct ReplicaId {
    /// Deployment.
    pub deployment: Name,
    /// Index below the deployment's replica count.
    pub index: u32,
}

impl std::fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.deployment, self.index)
    }
}
