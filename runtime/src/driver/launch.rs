//! Owns turning an assignment and its image into what a shim is told, and spawning the shim.
//! Refuses to run an image that is not what was imported. A shim is a process of its own group with no terminal: it
//! outlives the node, and a node that comes back finds it by its lock.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use metanode_cage::{CageSpec, Level, Limits, Root};
use metanode_types::hash;
use metanode_types::level::CageLevel;
use metanode_types::workload::{ImageKind, WorkloadKind};

use super::DriverConfig;
use super::dir::{Assignment, CageDir, write_json};
use crate::error::{AtPath, Error, Result};
use crate::image::Image;
use crate::wasm::{WITNESS_BYTES, WasmJob, WasmLimits, WasmSpec};

const NS_PER_MS: u64 = 1_000_000;

/// A cage's name in process lists and control groups: at most 64 characters, which a deployment's name can exceed.
fn cage_id(assignment: &Assignment) -> String {
    let name = assignment.key().to_string();
    let digest = hex::encode(&hash::sha256(name.as_bytes())[..8]);
    let short: String = name.chars().take(40).collect();
    format!("{short}-{digest}")
}

fn wall_ms(assignment: &Assignment) -> u64 {
    match assignment.workload.kind {
        WorkloadKind::Job { timeout_ms } => timeout_ms,
        WorkloadKind::Service { .. } => 0,
    }
}

fn env_of(assignment: &Assignment, image: &Image) -> Vec<String> {
    let given = || assignment.workload.env.iter();
    let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    // The deployment's variables replace the image's of the same name.
    let kept = image.descriptor.config.env.iter().filter(|pair| given().all(|var| var.name != name_of(pair)));
    kept.cloned().chain(given().map(|var| format!("{}={}", var.name, var.value))).collect()
}

fn native_spec(assignment: &Assignment, image: &Image, state_dir: PathBuf, output_bytes: u64) -> CageSpec {
    let config = &image.descriptor.config;
    let resources = &assignment.workload.resources;
    CageSpec {
        id: cage_id(assignment),
        state_dir,
        root: Root::Dir { path: image.path.clone() },
        argv: config.argv(&assignment.workload.args),
        env: env_of(assignment, image),
        cwd: config.workdir.clone(),
        hostname: "cage".to_owned(),
        stdin: None,
        limits: Limits {
            memory_bytes: resources.memory_bytes,
            cpu_milli: u64::from(resources.cpu_milli),
            pids: u64::from(resources.pids),
            tmpfs_bytes: resources.disk_bytes.max(1 << 20),
            output_bytes,
            wall_ms: wall_ms(assignment),
            ..Limits::default()
        },
        level: level_of(assignment),
        // The ledger's, so that every node that runs this assignment is given the same.
        seed: hex::encode(assignment.seed),
        epoch_ms: assignment.epoch_ns / NS_PER_MS,
        image: image.descriptor.digest.to_string(),
        ..CageSpec::default()
    }
}

/// A job that must be determined is run so; a service, which answers to the world, is not.
fn level_of(assignment: &Assignment) -> Level {
    let determined = assignment.workload.cage_level >= CageLevel::Pinned;
    if determined && assignment.workload.is_job() { Level::Pinned } else { Level::Contained }
}

fn wasm_job(assignment: &Assignment, image: &Image, state_dir: PathBuf, output_bytes: u64) -> WasmJob {
    let resources = &assignment.workload.resources;
    let args = std::iter::once("module".to_owned()).chain(assignment.workload.args.iter().cloned());
    WasmJob {
        id: cage_id(assignment),
        state_dir,
        module: image.path.clone(),
        stdin: None,
        cpu_milli: u64::from(resources.cpu_milli),
        output_bytes,
        level: CageLevel::Pinned,
        witness: None,
        witness_bytes: WITNESS_BYTES,
        spec: WasmSpec {
            module: image.descriptor.digest,
            args: args.collect(),
            env: env_of(assignment, image),
            seed: assignment.seed,
            epoch_ns: assignment.epoch_ns,
            files: Vec::new(),
            limits: WasmLimits {
                memory_bytes: resources.memory_bytes,
                files_bytes: resources.disk_bytes,
                wall_ms: wall_ms(assignment),
                ..WasmLimits::default()
            },
        },
    }
}

/// What a shim is told.
#[derive(Clone, Debug)]
pub enum Execution {
    /// A program, for `metanode-cage run`.
    Native(Box<CageSpec>),
    /// A module, for `metanode __wasm`.
    Wasm(Box<WasmJob>),
}

/// What is run for an assignment, here or anywhere else: only the state directory and what is kept of the output are
/// this machine's.
#[must_use]
pub fn execution(assignment: &Assignment, image: &Image, state_dir: PathBuf, output_bytes: u64) -> Execution {
    match image.descriptor.kind {
        ImageKind::Oci => {
            Execution::Native(Box::new(native_spec(assignment, image, state_dir, output_bytes)))
        }
        ImageKind::Wasm => Execution::Wasm(Box::new(wasm_job(assignment, image, state_dir, output_bytes))),
    }
}

/// Writes the shim's specification and spawns it. `claim` is the shim's lock.
pub(super) fn spawn(
    config: &DriverConfig,
    assignment: &Assignment,
    image: &Image,
    dir: &CageDir,
    claim: File,
) -> Result<Child> {
    let refuse =
        |reason: String| Error::DriveCage { intent: "start", cage: assignment.key().to_string(), reason };
    let spec_path = dir.spec();
    let mut command = match execution(assignment, image, dir.run(), config.output_bytes) {
        Execution::Native(spec) => {
            spec.validate(true).map_err(|error| refuse(error.to_string()))?;
            write_json(&spec_path, &spec)?;
            let mut command = Command::new(&config.cage_binary);
            command.args(["run", "--spec"]);
            command
        }
        Execution::Wasm(job) => {
            write_json(&spec_path, &job)?;
            let mut command = Command::new(&config.wasm_command[0]);
            command.args(&config.wasm_command[1..]).arg("--spec");
            command
        }
    };
    // An earlier run's end must not be taken for this one's.
    for name in ["report.json", "cage.json", "verdict.json"] {
        let path = dir.run().join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", &path);
            }
            _ => {}
        }
    }
    claim.set_len(0).at("empty shim log of", &dir.path)?;
    command.arg(&spec_path).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(claim);
    command.spawn().map_err(|error| refuse(format!("{}: {error}", command.get_program().display())))
}
