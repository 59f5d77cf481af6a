//! The home directory of one node: where its files are, and that only one process uses them.
//!
//! ```text
//! HOME/                      mode 0700
//!   lock                     held by the running node; holds its pid
//!   config/config.toml       settings, every key commented
//!   config/genesis.json      the chain
//!   config/node_key.json     identity towards peers        mode 0600
//!   config/validator_key.json  votes                       mode 0600
//!   config/account_key.json  the node's account            mode 0600
//!   keys/NAME.json           further keys                  mode 0600
//!   data/                    everything that the node writes while it runs
//! ```
//!
//! Refuses to share: a second process on the same home is told who has it. The lock is the kernel's, so a process that
//! was killed leaves none behind.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Environment variable that names the home directory.
pub const HOME_VARIABLE: &str = "METANODE_HOME";
/// Longest content of the lock file that is read.
const MAX_LOCK_BYTES: u64 = 64;

/// Why a home directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither given nor derivable.
    #[error("find the home directory: neither --home, {HOME_VARIABLE} nor HOME is set")]
    Find,
    /// The system refused.
    #[error("{intent} {}: {source}", path.display())]
    Access {
        /// What was being done.
        intent: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("use the home directory {}: {} has it", path.display(), holder(.pid))]
    InUse {
        /// The home.
        path: PathBuf,
        /// The process, when its pid could be read.
        pid: Option<u32>,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A home directory, by its path. It need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Home {
        Home { root: root.into() }
    }

    /// The home that was asked for: the flag, else `METANODE_HOME`, else `~/.metanode`.
    pub fn resolve(flag: Option<&Path>) -> Result<Home, HomeError> {
        if let Some(root) = flag {
            return Ok(Home::at(root));
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(root) = set(HOME_VARIABLE) {
            return Ok(Home::at(root));
        }
        set("HOME").map(|user| Home::at(user.join(".metanode"))).ok_or(HomeError::Find)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Directory of the settings and the node's keys.
    pub fn config_dir(&self) -> PathBuf {
        self.root.join("config")
    }
    /// Directory of everything that the node writes while it runs.
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }
    /// Directory of further keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.root.join("keys")
    }
    /// Settings.
    pub fn config_file(&self) -> PathBuf {
        self.config_dir().join("config.toml")
    }
    /// The chain's genesis.
    pub fn genesis_file(&self) -> PathBuf {
        self.config_dir().join("genesis.json")
    }
    /// Key of the node's identity towards peers.
    pub fn node_key_file(&self) -> PathBuf {
        self.config_dir().join("node_key.json")
    }
    /// Key of its votes.
    pub fn validator_key_file(&self) -> PathBuf {
        self.config_dir().join("validator_key.json")
    }
    /// Key of its account.
    pub fn account_key_file(&self) -> PathBuf {
        self.config_dir().join("account_key.json")
    }

    /// True when there is a chain to start: the genesis is the last file that `init` writes.
    pub fn is_initialised(&self) -> bool {
        self.genesis_file().exists()
    }

    /// Makes the directories, private to their owner.
    pub fn create(&self) -> Result<(), HomeError> {
        for path in [self.root.clone(), self.config_dir(), self.data_dir(), self.keys_dir()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|source| HomeError::Access { intent: "create", path, source })?;
        }
        Ok(())
    }

    /// Takes the home for this process, until the lock is dropped or the process ends.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.root.join("lock");
        let fail = |intent, source| HomeError::Access { intent, path: path.clone(), source };
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(|e| fail("open", e))?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(HomeError::InUse { path: self.root.clone(), pid: read_pid(&mut file) });
            }
            Err((_, errno)) => return Err(fail("lock", errno.into())),
        };
        let mut write = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write().map_err(|e| fail("write", e))?;
        Ok(HomeLock { _file: file })
    }
}

/// Proof that this process alone uses a home; gives it back when dropped.
#[derive(Debug)]
pub struct HomeLock {
    _file: Flock<File>,
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_LOCK_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder_and_a_dropped_one_frees() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path().join("h"));
        home.create().expect("made");
        let first = home.lock().expect("free");
        // A second open file description is refused even within one process.
        let error = home.lock().expect_err("taken");
        assert!(
            matches!(&error, HomeError::InUse { pid, .. } if *pid == Some(std::process::id())),
            "{error}"
        );
        assert!(error.to_string().contains(&format!("process {} has it", std::process::id())));
        drop(first);
        home.lock().expect("free again");
    }

    #[test]
    fn directories_are_private_and_the_flag_wins() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::resolve(Some(&dir.path().join("h"))).expect("given");
        assert_eq!(home.root(), dir.path().join("h"));
        home.create().expect("made");
        for path in [home.root().to_owned(), home.config_dir(), home.data_dir()] {
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        }
        assert!(!home.is_initialised());
    }
}
