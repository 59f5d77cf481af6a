//! Settings of one node: `HOME/config/config.toml`, and the environment above it.
//!
//! Owns the sections and their defaults, the commented file that `init` writes, and the override
//! `METANODE_<SECTION>_<KEY>` of every key. Refuses unknown sections, keys and variables; an error names the file and
//! line, or the variable, and the key. Nothing here can change what the chain computes: those rules are in the genesis.

mod machine;
mod template;

pub use machine::{Share, detect};
pub use template::commented;

use crate::home::Home;
use metanode_types::quantity::{format_bytes, parse_bytes, parse_cpu_milli};
use metanode_types::workload::Resources;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Bytes of a configuration file at most.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not a configuration.
    #[error("{}{}: {why}", path.display(), line.map(|l| format!(" line {l}")).unwrap_or_default())]
    File {
        /// The file.
        path: PathBuf,
        /// Line of the fault, when there is one.
        line: Option<usize>,
        /// What is wrong, with the key.
        why: String,
    },
    /// An environment variable holds what its key cannot.
    #[error("environment variable {variable}: {why}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong.
        why: String,
    },
    /// A value is well-formed but cannot be used.
    #[error("{key}: {why}")]
    Value {
        /// The key, with its section.
        key: &'static str,
        /// The rule that it breaks.
        why: String,
    },
}

/// All settings.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This node.
    pub node: NodeSection,
    /// Its interface.
    pub rpc: RpcSection,
    /// Its peers.
    pub p2p: P2pSection,
    /// Its log.
    pub log: LogSection,
    /// Its images.
    pub images: ImagesSection,
    /// Bounds that an operator may lower.
    pub limits: LimitsSection,
}

/// `[node]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// Name under which it registers; empty = derived from its address.
    pub name: String,
    /// Whether it runs workloads.
    pub runs_workloads: bool,
    /// CPU offered, such as `2` or `1500m`; empty = a share of the machine.
    pub cpu: String,
    /// Memory offered, such as `4Gi`; empty = a share of the machine.
    pub memory: String,
    /// Disk offered; empty = a share of what is free under HOME.
    pub disk: String,
    /// Processes offered; 0 = a share of the machine's bound.
    pub pids: u32,
    /// The share, in percent, of what is not stated.
    pub share_percent: u32,
}

impl Default for NodeSection {
    fn default() -> Self {
        let empty = String::new;
        NodeSection {
            name: empty(),
            runs_workloads: true,
            cpu: empty(),
            memory: empty(),
            disk: empty(),
            pids: 0,
            share_percent: 75,
        }
    }
}

/// `[rpc]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcSection {
    /// Address of the interface.
    pub listen: SocketAddr,
    /// Who may hand images to this node: `refused`, `loopback` or `anyone`.
    pub image_upload: ImageUpload,
}

/// Who may hand images to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageUpload {
    /// Nobody.
    Refused,
    /// Callers on this machine.
    #[default]
    Loopback,
    /// Everybody who reaches the port.
    Anyone,
}

impl Default for RpcSection {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        RpcSection { listen, image_upload: ImageUpload::default() }
    }
}

/// `[p2p]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct P2pSection {
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses of static peers, each with its peer id.
    pub peers: Vec<String>,
}

impl Default for P2pSection {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/udp/30303/quic-v1", "/ip4/0.0.0.0/tcp/30303"];
        P2pSection { listen: listen.map(str::to_owned).into(), peers: Vec::new() }
    }
}

/// `[log]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// Filter, such as `info` or `info,metanode_p2p=debug`.
    pub level: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

impl Default for LogSection {
    fn default() -> Self {
        LogSection { level: "info".into(), format: LogFormat::default() }
    }
}

/// `[images]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImagesSection {
    /// Directory of the image store; empty = `HOME/data/images`.
    pub dir: String,
}

/// `[limits]`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Bytes kept of each output stream of a replica.
    pub log_bytes: String,
    /// Connections that the interface accepts at once.
    pub rpc_connections: usize,
    /// Transactions waiting here at most.
    pub mempool_txs: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        LimitsSection {
            log_bytes: "4Mi".into(),
            rpc_connections: metanode_rpc::limits::MAX_CONNECTIONS,
            mempool_txs: metanode_types::limits::MAX_MEMPOOL_TXS,
        }
    }
}

impl Config {
    /// The settings of a home: its file when there is one, then the environment.
    pub fn load(home: &Home) -> Result<Config, ConfigError> {
        let path = home.config_file();
        let base = match std::fs::read(&path) {
            Ok(text) => Config::parse(&path, &text)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Config::default(),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        base.overridden(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// Reads the text of a file.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Config, ConfigError> {
        let fail = |line, why: &str| {
            Err(ConfigError::File { path: path.to_owned(), line, why: why.trim().to_owned() })
        };
        if text.len() > MAX_CONFIG_BYTES {
            return fail(None, "it is longer than any configuration");
        }
        let Ok(text) = std::str::from_utf8(text) else { return fail(None, "it is not UTF-8 text") };
        match toml::from_str::<Config>(text) {
            Ok(config) => config.checked(),
            Err(e) => {
                let line = e.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
                let key = line.and_then(|line| key_at(text, line)).map(|key| format!("{key}: "));
                fail(line, &format!("{}{}", key.unwrap_or_default(), e.message()))
            }
        }
    }

    /// These settings under the variables given; others than `METANODE_<SECTION>_<KEY>` are left alone.
    pub fn overridden(
        self,
        variables: impl Iterator<Item = (String, std::ffi::OsString)>,
    ) -> Result<Config, ConfigError> {
        let mut table = toml::Table::try_from(&self).expect("settings are plain TOML");
        let mut used: Vec<String> = Vec::new();
        for (variable, text) in variables {
            let Some((section, key)) = section_and_key(&table, &variable) else { continue };
            let fail = |why: String| Err(ConfigError::Variable { variable: variable.clone(), why });
            let Ok(text) = text.into_string() else { return fail("its value is not UTF-8".into()) };
            let keys = table[&section].as_table_mut().expect("every section is a table");
            let Some(old) = keys.get(&key) else {
                let known: Vec<&str> = keys.keys().map(String::as_str).collect();
                return fail(format!("[{section}] has no key {key}; it has {}", known.join(", ")));
            };
            match like(old, &text) {
                Some(new) => keys.insert(key, new),
                None => return fail(format!("{text:?} is not {}", word_for(old))),
            };
            used.push(variable);
        }
        let merged = Config::deserialize(toml::Value::Table(table));
        let merged =
            merged.map_err(|e| ConfigError::Variable { variable: used.join(" or "), why: e.to_string() });
        merged?.checked()
    }

    fn checked(self) -> Result<Config, ConfigError> {
        let refuse = |key, why: String| Err(ConfigError::Value { key, why });
        let node = &self.node;
        if !node.name.is_empty()
            && let Err(e) = node.name.parse::<metanode_types::ids::Name>()
        {
            return refuse("node.name", e.to_string());
        }
        if !(1..=100).contains(&node.share_percent) {
            return refuse("node.share_percent", format!("{} is not from 1 to 100", node.share_percent));
        }
        let sizes = [
            ("node.memory", &node.memory),
            ("node.disk", &node.disk),
            ("limits.log_bytes", &self.limits.log_bytes),
        ];
        for (key, text) in sizes {
            if !text.is_empty()
                && let Err(e) = parse_bytes(text)
            {
                return refuse(key, e.to_string());
            }
        }
        if !node.cpu.is_empty()
            && let Err(e) = parse_cpu_milli(&node.cpu)
        {
            return refuse("node.cpu", e.to_string());
        }
        for peer in &self.p2p.peers {
            if let Err(e) = peer.parse::<metanode_p2p::PeerAddress>() {
                return refuse("p2p.peers", e.to_string());
            }
        }
        let most = metanode_types::limits::MAX_MEMPOOL_TXS;
        if !(1..=most).contains(&self.limits.mempool_txs) {
            return refuse("limits.mempool_txs", format!("must be from 1 to {most}"));
        }
        let most = metanode_rpc::limits::MAX_CONNECTIONS;
        if !(1..=most).contains(&self.limits.rpc_connections) {
            return refuse("limits.rpc_connections", format!("must be from 1 to {most}"));
        }
        Ok(self)
    }

    /// Directory of the image store.
    pub fn images_dir(&self, home: &Home) -> PathBuf {
        if self.images.dir.is_empty() {
            home.data_dir().join("images")
        } else {
            PathBuf::from(&self.images.dir)
        }
    }

    /// Bytes kept of each output stream of a replica.
    pub fn log_bytes(&self) -> u64 {
        parse_bytes(&self.limits.log_bytes).unwrap_or(4 << 20)
    }

    /// What this node offers: what is stated, and a share of the machine for the rest.
    pub fn capacity(&self, home: &Home) -> Resources {
        let found = detect(home.root());
        let share = Share(self.node.share_percent);
        let node = &self.node;
        let or = |stated: Option<u64>, all: u64| stated.unwrap_or_else(|| share.of(all));
        let clip = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Resources {
            cpu_milli: clip(or(parse_cpu_milli(&node.cpu).ok().map(u64::from), found.cpu_milli.into())),
            memory_bytes: or(parse_bytes(&node.memory).ok(), found.memory_bytes),
            disk_bytes: or(parse_bytes(&node.disk).ok(), found.disk_bytes),
            pids: clip(or((node.pids > 0).then_some(node.pids.into()), found.pids.into())),
        }
    }
}

/// A capacity as people read it.
pub fn describe(capacity: &Resources) -> String {
    let (memory, disk) = (format_bytes(capacity.memory_bytes), format_bytes(capacity.disk_bytes));
    format!("cpu {}m, memory {memory}, disk {disk}, {} processes", capacity.cpu_milli, capacity.pids)
}

/// The key that a line of the file sets.
fn key_at(text: &str, line: usize) -> Option<String> {
    let this = text.lines().nth(line - 1)?;
    let key = this.split_once('=').map(|(key, _)| key.trim())?;
    let section =
        text.lines().take(line - 1).filter_map(|l| l.trim().strip_prefix('[')?.strip_suffix(']')).last();
    Some(section.map_or_else(|| key.to_owned(), |s| format!("{s}.{key}")))
}

/// Splits `METANODE_RPC_LISTEN` into `rpc` and `listen`; `None` for variables that are no settings.
fn section_and_key(sections: &toml::Table, variable: &str) -> Option<(String, String)> {
    let rest = variable.strip_prefix("METANODE_")?;
    let (section, key) = rest.split_once('_')?;
    let section = section.to_ascii_lowercase();
    sections.contains_key(&section).then(|| (section, key.to_ascii_lowercase()))
}

/// `text` as a value of the same type as `old`; lists are separated by commas.
fn like(old: &toml::Value, text: &str) -> Option<toml::Value> {
    Some(match old {
        toml::Value::String(_) => toml::Value::String(text.to_owned()),
        toml::Value::Integer(_) => toml::Value::Integer(text.parse().ok()?),
        toml::Value::Boolean(_) => toml::Value::Boolean(text.parse().ok()?),
        toml::Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            toml::Value::Array(parts.map(|part| toml::Value::String(part.to_owned())).collect())
        }
        _ => return None,
    })
}

fn word_for(value: &toml::Value) -> &'static str {
    match value {
        toml::Value::Integer(_) => "a whole number",
        toml::Value::Boolean(_) => "true or false",
        _ => "a value that this key can have",
    }
}

#[cfg(test)]
mod tests;
