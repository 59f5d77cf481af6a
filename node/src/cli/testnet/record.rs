//! `testnet.json`: what a network of this machine consists of, and which processes are its own.
//!
//! Owns the file, its atomic replacement and the identity of processes. A pid alone means nothing: a process is
//! ours only
//! while its start time is the one that was written down.

use crate::cli::failure::{Doing, Done, Failure};
use metanode_cage::record::Process;
use metanode_types::ids::{ChainId, Name};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file.
pub const FILE: &str = "testnet.json";
/// Version of its form.
const VERSION: u32 = 1;

/// A network of this machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Testnet {
    version: u32,
    /// Directory of everything, absolute.
    pub dir: PathBuf,
    /// Name of the chain.
    pub chain_name: Name,
    /// The chain.
    pub chain_id: ChainId,
    /// Its genesis.
    pub genesis: PathBuf,
    /// Key file of an account with money.
    pub faucet_key: PathBuf,
    /// The nodes in order.
    pub nodes: Vec<TestnetNode>,
}

/// One node of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestnetNode {
    /// Name under which it registers.
    pub name: Name,
    /// Home directory.
    pub home: PathBuf,
    /// Address of its interface.
    pub rpc: String,
    /// Address for its peers.
    pub p2p: String,
    /// The process that was started last; null when it was ended by a command.
    pub process: Option<Process>,
}

impl TestnetNode {
    /// Its process, while it is alive.
    pub fn alive(&self) -> Option<&Process> {
        self.process.as_ref().filter(|p| p.is_alive())
    }
    /// What it printed.
    pub fn log(&self) -> PathBuf {
        self.home.join("node.log")
    }
}

impl Testnet {
    /// A network without processes.
    pub fn new(
        dir: PathBuf,
        chain: (Name, ChainId),
        genesis: PathBuf,
        faucet_key: PathBuf,
        nodes: Vec<TestnetNode>,
    ) -> Testnet {
        let (chain_name, chain_id) = chain;
        Testnet { version: VERSION, dir, chain_name, chain_id, genesis, faucet_key, nodes }
    }

    /// Reads the network of a directory.
    pub fn load(dir: &Path) -> Done<Testnet> {
        let path = dir.join(FILE);
        let what = format!("find the testnet in {}", dir.display());
        let text = std::fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Failure::usage(&*what, format!("there is no {FILE}"))
                .next("metanode testnet up, or pass --dir DIR"),
            _ => Failure::unavailable(&*what, e),
        })?;
        let testnet: Testnet = serde_json::from_slice(&text).usage(&*what)?;
        if testnet.version != VERSION {
            return Err(Failure::usage(
                what,
                format!("{FILE} has version {}, not {VERSION}", testnet.version),
            ));
        }
        Ok(testnet)
    }

    /// Writes the file: whole or not at all.
    pub fn save(&self) -> Done {
        let text = serde_json::to_string_pretty(self).expect("a record has only string keys");
        replace(&self.dir.join(FILE), format!("{text}\n").as_bytes()).unavailable(format!("write {FILE}"))
    }

    /// Position of a node by its index or name.
    pub fn position(&self, which: &str) -> Done<usize> {
        let index = which.parse::<usize>().ok().filter(|i| *i < self.nodes.len());
        let found = index.or_else(|| self.nodes.iter().position(|n| n.name.as_str() == which));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().map(|n| n.name.as_str()).collect();
            Failure::usage(
                "find the node",
                format!(
                    "{which:?} is neither an index below {} nor one of {}",
                    names.len(),
                    names.join(", ")
                ),
            )
        })
    }
}

/// Puts a complete new file in the place of the old one.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.new", std::process::id()));
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, path)
}
