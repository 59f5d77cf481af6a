//! The networks of this machine by the addresses of their nodes, so that a command with `--rpc` finds the faucet key.
//!
//! Owns one small file in the user's state directory, `metanode/testnets.json`: directories and nothing else. What a
//! network consists of is read from its own `testnet.json` each time. Entries whose directory is gone are dropped. A
//! registry that cannot be read or written costs convenience, never a command.

use super::record::{FILE, Testnet, replace};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Networks that are remembered at most.
const MAX_ENTRIES: usize = 256;

#[derive(Default, Serialize, Deserialize)]
struct Registry {
    testnets: Vec<PathBuf>,
}

fn file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("metanode/testnets.json"))
}

fn read(path: &Path) -> Registry {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Changes the list under a lock, dropping entries that are gone.
fn change(edit: impl FnOnce(&mut Vec<PathBuf>)) -> Option<()> {
    let path = file()?;
    std::fs::create_dir_all(path.parent()?).ok()?;
    let lock = File::create(path.with_extension("lock")).ok()?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).ok()?;
    let mut registry = read(&path);
    registry.testnets.retain(|dir| dir.join(FILE).exists());
    edit(&mut registry.testnets);
    registry.testnets.truncate(MAX_ENTRIES);
    replace(&path, serde_json::to_string_pretty(&registry).ok()?.as_bytes()).ok()
}

/// Remembers a network; it stands before the others.
pub fn remember(dir: &Path) {
    change(|dirs| {
        dirs.retain(|known| known != dir);
        dirs.insert(0, dir.to_owned());
    });
}

/// Forgets a network.
pub fn forget(dir: &Path) {
    change(|dirs| dirs.retain(|known| known != dir));
}

/// The network that a node at `url` belongs to: one that runs before one that does not.
pub fn find(url: &str) -> Option<Testnet> {
    let mut dirs = file().map(|path| read(&path).testnets).unwrap_or_default();
    dirs.extend(std::path::absolute(".testnet").ok());
    choose(dirs.iter().filter_map(|dir| Testnet::load(dir).ok()), url)
}

fn choose(all: impl Iterator<Item = Testnet>, url: &str) -> Option<Testnet> {
    let url = normal(url);
    let mut found: Vec<Testnet> = all.filter(|t| t.nodes.iter().any(|n| normal(&n.rpc) == url)).collect();
    let running =
        found.iter().position(|t| t.nodes.iter().any(|n| normal(&n.rpc) == url && n.alive().is_some()));
    (!found.is_empty()).then(|| found.swap_remove(running.unwrap_or(0)))
}

/// One spelling for all of an address on this machine.
fn normal(url: &str) -> String {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    bare.replace("localhost", "127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::super::record::TestnetNode;
    use super::*;
    use metanode_cage::record::Process;

    fn testnet(dir: &str, rpc: &str, process: Option<Process>) -> Testnet {
        let node = TestnetNode {
            name: "n".parse().expect("a name"),
            home: PathBuf::new(),
            rpc: rpc.into(),
            p2p: String::new(),
            process,
        };
        let chain = ("c".parse().expect("a name"), metanode_types::ids::ChainId::default());
        Testnet::new(dir.into(), chain, PathBuf::new(), PathBuf::new(), vec![node])
    }

    #[test]
    fn a_running_network_comes_before_one_that_ended() {
        let own = Process::find(std::process::id() as i32).expect("this process");
        let dead = Process { start_time: own.start_time + 1, ..own.clone() };
        let all = || {
            [
                testnet("dead", "http://127.0.0.1:5000", Some(dead.clone())),
                testnet("other", "http://127.0.0.1:6000", Some(own.clone())),
                testnet("alive", "http://127.0.0.1:5000", Some(own.clone())),
            ]
            .into_iter()
        };
        assert_eq!(choose(all(), "http://localhost:5000/").expect("found").dir, Path::new("alive"));
        assert_eq!(choose(all(), "127.0.0.1:6000").expect("found").dir, Path::new("other"));
        assert_eq!(choose(all(), "http://127.0.0.1:7000"), None);
    }
}
