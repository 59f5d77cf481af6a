//! Owns what a run was given, in the words of a report or of a witness, and the way back to a specification. Paths of
//! the machine are not part of it: whoever runs it again brings the root.

use std::path::PathBuf;

use metanode_cage::witness::{InputKind, RunHeader, Witness};
use metanode_cage::{CAGE_ABI, CageSpec, Level, Limits, Root};
use metanode_types::ids::ContentDigest;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::wasm::WasmSpec;

/// What a run was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Inputs {
    /// A program.
    Native(NativeInputs),
    /// A module.
    Wasm(WasmInputs),
}

/// Standard input, by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stdin {
    /// SHA-256 of it.
    pub digest: ContentDigest,
    /// Its length.
    pub bytes: u64,
}

impl Stdin {
    /// That of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: crate::digest::digest_of(bytes), bytes: bytes.len() as u64 }
    }
}

/// What a program was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeInputs {
    /// Digest of the image; empty for a directory of the machine that it ran on.
    pub image: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Host name.
    pub hostname: String,
    /// Bounds.
    pub limits: Limits,
    /// Key of all randomness.
    pub seed: String,
    /// Where the logical clock started, milliseconds since 1970.
    pub epoch_ms: u64,
    /// Hosts that it could reach; what they said is in the witness.
    #[serde(default)]
    pub net: Vec<String>,
    /// Standard input.
    #[serde(default)]
    pub stdin: Option<Stdin>,
    /// Version of what the supervisor shows to programs.
    pub cage_abi: u32,
}

/// What a module was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmInputs {
    /// Everything but standard input.
    pub spec: WasmSpec,
    /// Standard input.
    #[serde(default)]
    pub stdin: Option<Stdin>,
    /// Compiler, settings and host functions.
    pub cage_abi: String,
}

impl NativeInputs {
    /// What a specification gives to its program.
    #[must_use]
    pub fn of(spec: &CageSpec, stdin: Option<Stdin>) -> Self {
        Self {
            image: spec.image.clone(),
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            hostname: spec.hostname.clone(),
            limits: spec.limits.clone(),
            seed: spec.seed.clone(),
            epoch_ms: spec.epoch_ms,
            net: spec.net.clone(),
            stdin,
            cage_abi: CAGE_ABI,
        }
    }

    /// What a witness says that its program was given. What it does not say, because no program sees it, is at its
    /// default.
    pub fn from_witness(witness: &Witness) -> Result<Self> {
        let RunHeader { image, argv, env, cwd, hostname, seed, epoch_ms, cage_abi, .. } =
            witness.header().clone();
        let (mut net, mut stdin) = (Vec::new(), None);
        for input in witness.inputs() {
            let input = input.map_err(|error| refused(error.to_string()))?;
            match (input.kind, input.label.as_str()) {
                (InputKind::Stdin, _) => stdin = Some(Stdin::of(&input.bytes)),
                (InputKind::Host, "net") => {
                    let text = String::from_utf8(input.bytes)
                        .map_err(|_| refused("its list of hosts is not text".to_owned()))?;
                    net = text.lines().map(String::from).collect();
                }
                _ => {}
            }
        }
        let limits = limits_of(witness.header())?;
        let seed = hex::encode(seed);
        Ok(Self { image, argv, env, cwd, hostname, limits, seed, epoch_ms, net, stdin, cage_abi })
    }

    /// The specification of a pinned run that is given the same, with the root and the state directory of this
    /// machine.
    #[must_use]
    pub fn spec(&self, root: PathBuf, state_dir: PathBuf) -> CageSpec {
        CageSpec {
            id: "again".to_owned(),
            state_dir,
            root: Root::Dir { path: root },
            argv: self.argv.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            hostname: self.hostname.clone(),
            limits: self.limits.clone(),
            level: Level::Pinned,
            seed: self.seed.clone(),
            epoch_ms: self.epoch_ms,
            image: self.image.clone(),
            net: self.net.clone(),
            ..CageSpec::default()
        }
    }
}

fn refused(reason: String) -> Error {
    Error::ReplayWitness { reason }
}

fn limits_of(header: &RunHeader) -> Result<Limits> {
    let mut limits = Limits::default();
    let fields = [
        ("memory_bytes", &mut limits.memory_bytes),
        ("nofile", &mut limits.nofile),
        ("pids", &mut limits.pids),
        ("tmpfs_bytes", &mut limits.tmpfs_bytes),
        ("tmpfs_inodes", &mut limits.tmpfs_inodes),
    ];
    for (name, field) in fields {
        *field = *header.limits.get(name).ok_or_else(|| refused(format!("it names no limit {name}")))?;
    }
    Ok(limits)
}
