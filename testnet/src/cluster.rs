//! A network of real processes on this machine, driven through the command line as a user would.
//!
//! Owns one directory and the processes that `metanode testnet up` started in it; both end with the value. Refuses
//! to look inside a node: everything is asked through the CLI or RPC. Waiting is always for a condition, with a
//! bound; nothing sleeps and hopes.

use crate::lossy::Lossy;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The `metanode` binary of this build: beside the test binaries' directory, or `METANODE_BIN`.
pub fn metanode_bin() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("METANODE_BIN") {
        return Ok(path.into());
    }
    let exe = std::env::current_exe().context("find this test's own path")?;
    let dirs = exe.ancestors().skip(1).take(2);
    let found = dirs.map(|d| d.join("metanode")).find(|p| p.is_file());
    found.context("the metanode binary is not built: cargo build -p metanode-node -p metanode-cage --bins")
}

/// What a killed process may take to vanish.
const DEATH: Duration = Duration::from_secs(10);

/// What `testnet up` printed of one node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Process id when it was started.
    pub pid: i32,
    /// RPC address.
    pub rpc: String,
    /// Home directory.
    pub home: PathBuf,
}

/// A running network.
pub struct Cluster {
    bin: PathBuf,
    /// Disks below the nodes' data after [`Cluster::on_lossy_disks`]; unmounted when the processes have ended and
    /// before the directory goes, which is why this field stands above it.
    pub disks: RefCell<Vec<Lossy>>,
    dir: tempfile::TempDir,
    /// Path of the genesis file.
    pub genesis: PathBuf,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `validators` processes; returns when a block is final and every node is registered.
    pub fn up(validators: usize) -> Result<Cluster> {
        Cluster::up_with(validators, &[])
    }

    /// As [`Cluster::up`], with more arguments.
    pub fn up_with(validators: usize, more: &[&str]) -> Result<Cluster> {
        let bin = metanode_bin()?;
        let dir = tempfile::Builder::new().prefix("metanode-test-").tempdir().context("make a directory")?;
        let mut cluster =
            Cluster { bin, disks: RefCell::default(), dir, genesis: PathBuf::new(), nodes: Vec::new() };
        let count = validators.to_string();
        let net = cluster.net();
        let mut args =
            vec!["testnet", "up", "--validators", &count, "--dir", net.to_str().context("UTF-8 path")?];
        args.extend(more);
        let up = cluster.json_of(&mut cluster.command(&args))?;
        cluster.genesis = text(&up, "genesis")?.into();
        for node in up["nodes"].as_array().context("nodes")? {
            cluster.nodes.push(Node {
                name: text(node, "name")?,
                pid: node["pid"].as_i64().context("pid")? as i32,
                rpc: text(node, "rpc")?,
                home: text(node, "home")?.into(),
            });
        }
        ensure!(
            cluster.nodes.len() == validators,
            "{} nodes came up, {validators} were asked for",
            cluster.nodes.len()
        );
        Ok(cluster)
    }

    /// Runs a test on the network. What failed is a panic before the network ends, so that its logs are shown.
    pub fn test(self, body: impl FnOnce(&Cluster) -> Result<()>) {
        if let Err(e) = body(&self) {
            panic!("{e:?}");
        }
    }

    /// Directory of the network.
    pub fn net(&self) -> PathBuf {
        self.dir.path().join("net")
    }
    /// Scratch directory that goes with the network.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// A command of the binary under test, against node 0, with JSON output.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_at(0, args)
    }

    /// A command against node `i`.
    pub fn command_at(&self, i: usize, args: &[&str]) -> Command {
        let mut command = Command::new(&self.bin);
        command.arg("-o").arg("json");
        if let Some(node) = self.nodes.get(i) {
            command.arg("--rpc").arg(&node.rpc);
        }
        command
            .args(args)
            .env("XDG_STATE_HOME", self.dir.path().join("state"))
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .current_dir(self.dir.path());
        command
    }

    fn json_of(&self, command: &mut Command) -> Result<Value> {
        let output = command.output().context("run metanode")?;
        if !output.status.success() {
            bail!("{command:?} ended with {}: {}", output.status, show(&output));
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{command:?} printed {}", show(&output)))
    }

    /// Runs a command against node 0 that must succeed; its JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        self.json_of(&mut self.command(args))
    }
    /// Runs a command against node `i` that must succeed; its JSON.
    pub fn json_at(&self, i: usize, args: &[&str]) -> Result<Value> {
        self.json_of(&mut self.command_at(i, args))
    }

    /// Height of node `i`; an error while it does not answer.
    pub fn height(&self, i: usize) -> Result<u64> {
        self.json_at(i, &["status"])?["height"].as_u64().context("height")
    }

    /// Kills node `i` with SIGKILL.
    pub fn kill(&self, i: usize) -> Result<()> {
        self.testnet("kill", i)
    }
    /// Starts node `i` again.
    pub fn start(&self, i: usize) -> Result<()> {
        self.testnet("start", i)
    }

    /// Ends all nodes and gives each a new, empty disk that forgets what was not synced, below its data. The chain
    /// begins anew when they are started again, which must happen on this thread: others do not see the disks.
    pub fn on_lossy_disks(&self) -> Result<()> {
        self.kill_all()?;
        for node in &self.nodes {
            let data = node.home.join("data");
            std::fs::remove_dir_all(&data).context("empty the data directory")?;
            std::fs::create_dir(&data).context("make the data directory")?;
            self.disks.borrow_mut().push(Lossy::mount(&data).context("mount a lossy disk")?);
        }
        Ok(())
    }

    /// Process ids of the nodes that run now.
    pub fn pids(&self) -> Result<Vec<Option<i32>>> {
        let net = self.net();
        let status = self.json(&["testnet", "status", "--dir", net.to_str().context("UTF-8 path")?])?;
        let nodes = status["nodes"].as_array().context("nodes")?;
        Ok(nodes.iter().map(|n| n["pid"].as_i64().map(|pid| pid as i32)).collect())
    }

    /// Kills every running node with SIGKILL in one go, as a power cut would, and waits until all are gone.
    pub fn kill_all(&self) -> Result<()> {
        for pid in self.pids()?.into_iter().flatten() {
            // The status names only processes that this network started and that still run.
            kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("kill process {pid}"))?;
        }
        wait_for("the killed nodes are gone", DEATH, || Ok(self.pids()?.iter().all(Option::is_none)))
    }

    fn testnet(&self, what: &str, i: usize) -> Result<()> {
        let net = self.net();
        let (dir, index) = (net.to_str().context("UTF-8 path")?, i.to_string());
        self.json(&["testnet", what, &index, "--dir", dir]).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let net = self.net();
        if let Some(dir) = net.to_str() {
            // A failed test leaves its logs on standard error before the directory goes.
            if std::thread::panicking() {
                for node in &self.nodes {
                    let log = std::fs::read_to_string(node.home.join("node.log")).unwrap_or_default();
                    let tail: Vec<&str> = log.lines().rev().take(20).collect();
                    eprintln!("--- last lines of {}", node.name);
                    tail.iter().rev().for_each(|l| eprintln!("{l}"));
                }
            }
            let ended = self.command(&["testnet", "down", "--dir", dir]).output();
            if !ended.as_ref().is_ok_and(|o| o.status.success()) {
                eprintln!("testnet down failed: {:?}", ended.map(|o| show(&o)));
            }
        }
    }
}

fn text(value: &Value, field: &str) -> Result<String> {
    Ok(value[field].as_str().with_context(|| format!("no {field} in {value}"))?.to_owned())
}

/// Both streams of a finished command, for messages.
pub fn show(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).chars().take(4000).collect()
}

/// Asks `done` until it answers true, for at most `bound`; the last answer otherwise is an error that names `what`.
pub fn wait_for(what: &str, bound: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + bound;
    loop {
        let answer = done();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= until {
            return match answer {
                Ok(_) => bail!("{what}: not within {bound:?}"),
                Err(e) => Err(e.context(format!("{what}: not within {bound:?}"))),
            };
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
