//! What a cage is asked to be: the specification that a node or a person writes and this crate obeys.
//!
//! Owns `CageSpec`, its JSON form (unknown fields are refused) and its validation. It refuses to guess: a
//! value outside its range is an error that names the field. It does no system call except looking at the
//! root directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest specification that is read, in bytes.
pub const MAX_SPEC_BYTES: u64 = 1 << 20;
/// Most bytes of arguments and environment together (the kernel's own limit for one string is the same).
pub const MAX_ARG_BYTES: usize = 128 << 10;

/// One cage: what runs in it, from which root, within which limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CageSpec {
    /// Name of this execution: 1 to 64 of `a-z A-Z 0-9 . _ -`, not starting with a dot.
    pub id: String,
    /// Directory (absolute) that the supervisor owns for this cage; created when missing.
    pub state_dir: PathBuf,
    /// The root filesystem.
    pub root: Root,
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`.
    #[serde(default)]
    pub argv: Vec<String>,
    /// The exact environment, `NAME=value` each; nothing is inherited.
    #[serde(default)]
    pub env: Vec<String>,
    /// Working directory inside the cage.
    #[serde(default = "default_cwd")]
    pub cwd: String,
    /// Host name inside the cage.
    #[serde(default = "default_hostname")]
    pub hostname: String,
    /// File whose bytes the program reads as standard input; end of file at once when absent.
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// Bounds on what the program may use.
    #[serde(default)]
    pub limits: Limits,
    /// How determined the run shall be.
    #[serde(default)]
    pub level: Level,
    /// Key of all randomness of a pinned run, 64 hexadecimal digits. It is public, and so is all that follows from it.
    #[serde(default = "default_seed")]
    pub seed: String,
    /// Where the logical clock of a pinned run starts, milliseconds since 1970.
    #[serde(default = "default_epoch_ms")]
    pub epoch_ms: u64,
    /// What names the root filesystem in a witness: the digest of an image, or empty.
    #[serde(default)]
    pub image: String,
    /// File (absolute) that receives the witness of a pinned run.
    #[serde(default)]
    pub witness: Option<PathBuf>,
    /// Bytes that a witness may take; beyond them nothing is kept and the run cannot be replayed.
    #[serde(default = "default_witness_bytes")]
    pub witness_bytes: u64,
    /// Witness (absolute) whose inputs a pinned run takes instead of the world's.
    #[serde(default)]
    pub replay: Option<PathBuf>,
    /// Hosts (`HOST:PORT`) that a pinned run may connect to; what they say is recorded.
    #[serde(default)]
    pub net: Vec<String>,
}

/// How determined a run shall be, as far as one cage can say: to be `reproduced` or `replayed` takes a second one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All walls.
    #[default]
    Contained,
    /// All walls, and everything that could differ between two runs is virtualised.
    Pinned,
}

impl Level {
    /// Its name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contained => "contained",
            Self::Pinned => "pinned",
        }
    }
}

/// Where the root filesystem comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Root {
    /// A directory that is never written, with a size-limited tmpfs over it.
    Dir {
        /// Absolute path of the directory.
        path: PathBuf,
    },
    /// An empty, size-limited tmpfs.
    Empty,
}

/// Bounds of one cage. Every field has a default, so a specification states only what differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of all processes and tmpfs files together.
    pub memory_bytes: u64,
    /// CPU share in thousandths of one CPU.
    pub cpu_milli: u64,
    /// Processes and threads at one time (the cage's init is not counted).
    pub pids: u64,
    /// Bytes of everything written to the root, `/tmp`, `/run` and `/dev/shm` together.
    pub tmpfs_bytes: u64,
    /// Files and directories created there.
    pub tmpfs_inodes: u64,
    /// Descriptors one process may hold.
    pub nofile: u64,
    /// Bytes kept of each of standard output and standard error.
    pub output_bytes: u64,
    /// Milliseconds after which the cage is killed; 0 means never.
    pub wall_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            cpu_milli: 1000,
            pids: 128,
            tmpfs_bytes: 64 << 20,
            tmpfs_inodes: 16_384,
            nofile: 1024,
            output_bytes: 1 << 20,
            wall_ms: 0,
        }
    }
}

impl Default for CageSpec {
    /// Every field at its default; `id`, `state_dir` and `argv` must still be given.
    fn default() -> Self {
        Self {
            id: String::new(),
            state_dir: PathBuf::new(),
            root: Root::Empty,
            argv: Vec::new(),
            env: Vec::new(),
            cwd: default_cwd(),
            hostname: default_hostname(),
            stdin: None,
            limits: Limits::default(),
            level: Level::default(),
            seed: default_seed(),
            epoch_ms: default_epoch_ms(),
            image: String::new(),
            witness: None,
            witness_bytes: default_witness_bytes(),
            replay: None,
            net: Vec::new(),
        }
    }
}

fn default_cwd() -> String {
    "/".into()
}

fn default_seed() -> String {
    "0".repeat(64)
}

/// 1 January 2026, so that certificates and build tools see a year they can live with.
fn default_epoch_ms() -> u64 {
    1_767_225_600_000
}

fn default_witness_bytes() -> u64 {
    64 << 20
}

fn default_hostname() -> String {
    "cage".into()
}

fn bad(field: &'static str, why: impl Into<String>) -> Error {
    Error::BadSpec { field, why: why.into() }
}

impl CageSpec {
    /// Parses the JSON form. Unknown or missing fields are errors; ranges are checked by
    /// [`CageSpec::validate`].
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(text).map_err(Error::ParseSpec)
    }

    /// Checks every field. `exec` tells whether `argv` will be executed (a closure needs none).
    pub fn validate(&self, exec: bool) -> Result<(), Error> {
        check_id(&self.id)?;
        check_path("state_dir", &self.state_dir)?;
        if let Root::Dir { path } = &self.root {
            check_path("root.dir.path", path)?;
            if !path.is_dir() {
                return Err(bad("root.dir.path", format!("{} is not a directory", path.display())));
            }
        }
        if exec && self.argv.first().is_none_or(String::is_empty) {
            return Err(bad("argv", "names no program"));
        }
        self.check_strings()?;
        if !self.cwd.starts_with('/') {
            return Err(bad("cwd", "must be an absolute path inside the cage"));
        }
        let host_ok = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
        if self.hostname.is_empty() || self.hostname.len() > 63 || !self.hostname.bytes().all(host_ok) {
            return Err(bad("hostname", "must be 1 to 63 letters, digits, dots or hyphens"));
        }
        if let Some(path) = &self.stdin {
            check_path("stdin", path)?;
        }
        self.check_level()?;
        self.limits.validate()
    }

    /// The seed as bytes.
    pub fn seed_bytes(&self) -> Result<[u8; 32], Error> {
        let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
        let pairs: Option<Vec<u8>> = self
            .seed
            .as_bytes()
            .chunks(2)
            .map(|p| Some(digit(*p.first()?)? << 4 | digit(*p.get(1)?)?))
            .collect();
        pairs.and_then(|b| b.try_into().ok()).ok_or_else(|| bad("seed", "must be 64 hexadecimal digits"))
    }

    fn check_level(&self) -> Result<(), Error> {
        self.seed_bytes()?;
        if self.epoch_ms > 1 << 43 {
            return Err(bad("epoch_ms", "lies beyond the year 2248"));
        }
        for (field, path) in [("witness", &self.witness), ("replay", &self.replay)] {
            if let Some(path) = path {
                check_path(field, path)?;
            }
        }
        crate::netns::endpoints(&self.net).map_err(|why| bad("net", why))?;
        let pinned_only = self.witness.is_some() || self.replay.is_some() || !self.net.is_empty();
        if self.level == Level::Contained && pinned_only {
            return Err(bad("level", "witness, replay and net need level `pinned`"));
        }
        Ok(())
    }

    fn check_strings(&self) -> Result<(), Error> {
        let strings = || self.argv.iter().chain(&self.env).chain([&self.cwd]);
        if strings().any(|s| s.contains('\0')) {
            return Err(bad("argv, env or cwd", "contains a NUL byte"));
        }
        let total: usize = strings().map(|s| s.len() + 1).sum();
        if total > MAX_ARG_BYTES {
            return Err(bad(
                "argv",
                format!("arguments and environment take {total} bytes, at most {MAX_ARG_BYTES}"),
            ));
        }
        for entry in &self.env {
            if entry.find('=').is_none_or(|at| at == 0) {
                return Err(bad("env", format!("{entry:?} is not NAME=value")));
            }
        }
        Ok(())
    }
}

impl Limits {
    fn validate(&self) -> Result<(), Error> {
        let ranges = [
            ("limits.memory_bytes", self.memory_bytes, 4 << 20, 1 << 50),
            ("limits.cpu_milli", self.cpu_milli, 1, 1_000_000),
            ("limits.pids", self.pids, 1, 1 << 20),
            ("limits.tmpfs_bytes", self.tmpfs_bytes, 64 << 10, 1 << 50),
            ("limits.tmpfs_inodes", self.tmpfs_inodes, 64, 1 << 32),
            ("limits.nofile", self.nofile, 16, 1 << 20),
            ("limits.output_bytes", self.output_bytes, 4096, 1 << 40),
            ("limits.wall_ms", self.wall_ms, 0, 1 << 40),
        ];
        for (field, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(bad(field, format!("{value} is outside {low}..={high}")));
            }
        }
        Ok(())
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if id.is_empty() || id.len() > 64 || id.starts_with('.') || !id.bytes().all(ok) {
        return Err(bad("id", "must be 1 to 64 of a-z A-Z 0-9 . _ - and not start with a dot"));
    }
    Ok(())
}

fn check_path(field: &'static str, path: &Path) -> Result<(), Error> {
    if !path.is_absolute() {
        return Err(bad(field, format!("{} is not an absolute path", path.display())));
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(bad(field, "contains a NUL byte"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
