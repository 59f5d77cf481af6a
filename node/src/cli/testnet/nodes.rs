//! The processes of a network: start, kill, end, look at.
//!
//! Owns every signal that is sent. A process is signalled only while pid and start time agree with the record.
//! Cages are
//! ended after their nodes, through their own supervisors.

use super::DirArgs;
use super::record::{Testnet, TestnetNode};
use super::registry;
use super::up::tail;
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::output::{line, table};
use crate::cli::session::{Node, Session};
use crate::home::Home;
use metanode_cage::Record;
use metanode_cage::record::Process;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use serde::Serialize;
use serde_json::json;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a node may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
/// What a killed process may take to vanish.
const DEATH: Duration = Duration::from_secs(5);
/// What a cage may take to end when it is asked to.
const CAGE_GRACE_MS: u64 = 1_000;
/// What all cages of a node may take to end.
const CAGES: Duration = Duration::from_secs(20);
/// How often the end of a process is looked for.
const POLL: Duration = Duration::from_millis(10);

/// End a network.
#[derive(clap::Args, Debug)]
pub(super) struct DownArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// Remove its directory, too
    #[arg(long)]
    purge: bool,
}

/// One node of a network.
#[derive(clap::Args, Debug)]
pub(super) struct OneArgs {
    /// Index or name of the node
    #[arg(value_name = "I")]
    which: String,
    #[command(flatten)]
    dir: DirArgs,
}

/// The log of a node.
#[derive(clap::Args, Debug)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Only the last bytes
    #[arg(long, value_name = "BYTES", default_value_t = 65_536)]
    tail: u64,
}

/// One node as `status` shows it.
#[derive(Serialize)]
struct NodeLine {
    index: usize,
    name: metanode_types::ids::Name,
    pid: Option<i32>,
    running: bool,
    /// Null when it does not answer.
    height: Option<u64>,
    rpc: String,
    p2p: String,
    home: PathBuf,
}

/// Starts the node's process in a session of its own; its output goes to its log.
pub fn spawn(node: &TestnetNode) -> Done<Child> {
    let what = format!("start {}", node.name);
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).open(node.log()).unavailable(&*what)?;
    let errors = log.try_clone().unavailable(&*what)?;
    let mut command = Command::new(std::env::current_exe().unavailable(&*what)?);
    command.arg("start").arg("--home").arg(&node.home).arg("--detached");
    command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(&node.home);
    // Settings of the caller's own node are not those of this one; the log's are for whoever watches.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let kept = name.starts_with("METANODE_LOG_") || name == "METANODE_CAGE";
        if name.starts_with("METANODE_") && !kept {
            command.env_remove(name);
        }
    }
    command.spawn().unavailable(what)
}

fn signal(process: &Process, signal: Signal) {
    if process.is_alive() {
        // It may have ended by itself in between; that is what was wanted.
        let _ = send(Pid::from_raw(process.pid), signal);
    }
}

/// Waits until none of the processes is alive; false when the time ran out first.
fn gone(processes: &[Process], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while processes.iter().any(Process::is_alive) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// Ends every process of the network, by request first unless there is no `grace`. True when all are gone.
pub fn end_all(testnet: &mut Testnet, grace: Duration) -> bool {
    let alive: Vec<Process> = testnet.nodes.iter().filter_map(|n| n.alive().cloned()).collect();
    if !grace.is_zero() {
        alive.iter().for_each(|p| signal(p, Signal::SIGTERM));
        gone(&alive, grace);
    }
    alive.iter().for_each(|p| signal(p, Signal::SIGKILL));
    let all_gone = gone(&alive, DEATH);
    for node in &mut testnet.nodes {
        if node.alive().is_none() {
            node.process = None;
        }
    }
    all_gone
}

/// Ends the cages of a home whose node has ended: running ones through their supervisors, then what is left of the
/// others. True when none is left.
pub fn clean_cages(home: &Path) -> bool {
    let cages = Home::at(home).data_dir().join("cages");
    let deadline = Instant::now() + CAGES;
    loop {
        let dirs: Vec<PathBuf> = entries(&cages).filter(|dir| has_shim(dir)).collect();
        for run in dirs.iter().map(|dir| dir.join("run")) {
            // A shim without a record is still building its cage, and is looked at again.
            if Record::read(&run).is_ok_and(|record| record.supervised()) {
                let _ = metanode_cage::stop(&run, CAGE_GRACE_MS);
            }
        }
        if dirs.is_empty() || Instant::now() >= deadline {
            for dir in entries(&cages) {
                let _ = metanode_cage::sweep(&dir);
            }
            return dirs.is_empty();
        }
        std::thread::sleep(POLL);
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether the process that watches a cage lives: it holds a lock for as long as it does.
fn has_shim(dir: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(dir.join("shim.log")) else { return false };
    matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

/// Carries `down` out.
pub(super) fn down(session: &Session, args: &DownArgs) -> Done {
    let mut testnet = Testnet::load(&args.dir.dir)?;
    let ended: Vec<String> =
        testnet.nodes.iter().filter(|n| n.alive().is_some()).map(|n| n.name.to_string()).collect();
    let all_gone = end_all(&mut testnet, GRACE);
    let clean = all_gone && testnet.nodes.iter().all(|node| clean_cages(&node.home));
    testnet.save()?;
    if !clean {
        return Err(Failure::failed(
            "end the testnet",
            "a process of it does not end although it was killed",
        ));
    }
    registry::forget(&testnet.dir);
    if args.purge {
        std::fs::remove_dir_all(&testnet.dir).unavailable(format!("remove {}", testnet.dir.display()))?;
    }
    let answer = json!({ "dir": testnet.dir, "ended": ended, "removed": args.purge });
    session.form.emit(&answer, |_| match ended.as_slice() {
        [] => format!("nothing of {} was running", testnet.dir.display()),
        names => format!("ended {}", names.join(", ")),
    });
    Ok(())
}

/// Carries `kill` out.
pub(super) fn kill(session: &Session, args: &OneArgs) -> Done {
    let mut testnet = Testnet::load(&args.dir.dir)?;
    let at = testnet.position(&args.which)?;
    let name = testnet.nodes[at].name.clone();
    let Some(process) = testnet.nodes[at].alive().cloned() else {
        return Err(Failure::failed(format!("kill {name}"), "it is not running"));
    };
    signal(&process, Signal::SIGKILL);
    if !gone(std::slice::from_ref(&process), DEATH) {
        return Err(Failure::failed(format!("kill {name}"), "it does not end although it was killed"));
    }
    testnet.nodes[at].process = None;
    testnet.save()?;
    session.form.emit(&json!({ "node": name, "pid": process.pid }), |_| {
        format!("killed {name} (pid {})", process.pid)
    });
    Ok(())
}

/// Carries `start` out.
pub(super) fn start(session: &Session, args: &OneArgs) -> Done {
    let mut testnet = Testnet::load(&args.dir.dir)?;
    let at = testnet.position(&args.which)?;
    let name = testnet.nodes[at].name.clone();
    if let Some(process) = testnet.nodes[at].alive() {
        return Err(Failure::failed(format!("start {name}"), format!("it runs as process {}", process.pid)));
    }
    let mut child = spawn(&testnet.nodes[at])?;
    testnet.nodes[at].process = Process::find(child.id() as i32);
    testnet.save()?;
    registry::remember(&testnet.dir);
    answers(&testnet.nodes[at], &mut child)?;
    let answer = json!({ "node": name, "pid": child.id(), "rpc": testnet.nodes[at].rpc });
    session.form.emit(&answer, |_| format!("started {name} (pid {})", child.id()));
    Ok(())
}

/// Waits until a started node answers; its sync may take longer.
fn answers(node: &TestnetNode, child: &mut Child) -> Done {
    let what = format!("start {}", node.name);
    let asked = Node::at(&node.rpc)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unavailable(&*what)? {
            let why = format!("it ended early: {status}\n{}", tail(&node.log(), 1500).trim_end());
            return Err(Failure::unavailable(what, why));
        }
        match asked.ask(&what, asked.client().status()) {
            Ok(_) => return Ok(()),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Carries `status` out.
pub(super) fn status(session: &Session, args: &DirArgs) -> Done {
    let testnet = Testnet::load(&args.dir)?;
    let mut lines = Vec::new();
    for (index, node) in testnet.nodes.iter().enumerate() {
        let running = node.alive();
        let height = running.and_then(|_| {
            let asked = Node::at(&node.rpc).ok()?;
            Some(asked.ask("read the status", asked.client().status()).ok()?.height)
        });
        lines.push(NodeLine {
            index,
            name: node.name.clone(),
            pid: running.map(|p| p.pid),
            running: running.is_some(),
            height,
            rpc: node.rpc.clone(),
            p2p: node.p2p.clone(),
            home: node.home.clone(),
        });
    }
    let answer = json!({
        "dir": testnet.dir, "chain_id": testnet.chain_id, "genesis": testnet.genesis, "faucet_key": testnet.faucet_key,
        "nodes": lines,
    });
    session.form.emit(&answer, |_| {
        let row = |l: &NodeLine| {
            let state = if l.running { "running" } else { "not running" };
            let pid = l.pid.map_or_else(|| "-".to_owned(), |p| p.to_string());
            vec![
                l.index.to_string(),
                l.name.to_string(),
                state.into(),
                pid,
                crate::cli::output::known(l.height),
                l.rpc.clone(),
            ]
        };
        table(&["I", "NODE", "STATE", "PID", "HEIGHT", "RPC"], &lines.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

/// Carries `logs` out.
pub(super) fn logs(session: &Session, args: &LogsArgs) -> Done {
    let testnet = Testnet::load(&args.one.dir.dir)?;
    let node = &testnet.nodes[testnet.position(&args.one.which)?];
    let text = tail(&node.log(), args.tail);
    match session.form {
        crate::cli::output::Form::Json => {
            line(json!({ "node": node.name, "file": node.log(), "text": text }).to_string())
        }
        crate::cli::output::Form::Text => line(text.trim_end()),
    }
    Ok(())
}
