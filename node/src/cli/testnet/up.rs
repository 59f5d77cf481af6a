//! `metanode testnet up`: lays a network out, starts it and waits until it can be used.
//!
//! Usable means, seen from every node: a block is final, and all nodes are registered and ready. The wait has a bound;
//! when it passes, a node ends early, or the command is interrupted, everything started is ended again, the cages
//! included, and the tails of the logs say why.

use super::nodes::{clean_cages, end_all, spawn};
use super::plan::{absolute, is_free, lay_out};
use super::record::{FILE, Testnet};
use super::registry;
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::get::every_node;
use crate::cli::output::{note, table};
use crate::cli::session::Session;
use metanode_cage::record::Process;
use metanode_rpc::Client;
use metanode_rpc::views::NodeState;
use metanode_types::quantity::parse_duration_ms;
use serde::Serialize;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How often the nodes are asked.
const POLL: Duration = Duration::from_millis(25);
/// An answer that takes longer counts as none.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of each log that are shown when the start fails.
const LOG_TAIL: u64 = 1500;

/// Start a network.
#[derive(clap::Args, Debug)]
pub struct UpArgs {
    /// Number of validators
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    validators: u16,
    /// Directory of the network
    #[arg(long, value_name = "DIR", default_value = "./.testnet")]
    dir: PathBuf,
    /// Bound on the wait
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = parse_duration_ms)]
    timeout: u64,
}

/// What `up` prints.
#[derive(Serialize)]
struct Up {
    dir: PathBuf,
    genesis: PathBuf,
    faucet_key: PathBuf,
    chain_id: metanode_types::ids::ChainId,
    nodes: Vec<UpNode>,
    height: u64,
    milliseconds: u64,
}

#[derive(Serialize)]
struct UpNode {
    name: metanode_types::ids::Name,
    pid: i32,
    rpc: String,
    p2p: String,
    home: PathBuf,
}

/// Carries the command out.
pub fn run(session: &Session, args: UpArgs) -> Done {
    let started = Instant::now();
    let what = "start the testnet";
    if !is_free(&args.dir) {
        let dir = absolute(&args.dir);
        if !dir.join(FILE).exists() {
            let why = format!("{} is not empty, and no testnet", dir.display());
            return Err(Failure::usage(what, why).next("pass another --dir"));
        }
        let why = format!("{} was used by a testnet before", dir.display());
        let next =
            format!("metanode testnet down --purge --dir {}, or pass another --dir", args.dir.display());
        return Err(Failure::usage(what, why).next(next));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unavailable(what)?;
    let mut testnet = lay_out(&args.dir, args.validators.into())?;
    let mut running = Running { children: Vec::new(), testnet: testnet.clone(), keep: false };
    for at in 0..testnet.nodes.len() {
        let child = spawn(&testnet.nodes[at])?;
        testnet.nodes[at].process = Process::find(child.id() as i32);
        running.children.push(child);
        running.testnet = testnet.clone();
    }
    testnet.save()?;
    let wait = usable(&testnet, &mut running.children, Duration::from_millis(args.timeout));
    let height = runtime.block_on(async {
        tokio::select! {
            height = wait => height,
            _ = tokio::signal::ctrl_c() => Err("it was interrupted".to_owned()),
        }
    });
    let height = match height {
        Ok(height) => height,
        Err(why) => {
            let tails = tails(&testnet);
            drop(running);
            let next = format!("nothing is left running; the logs are in {}", testnet.dir.display());
            return Err(Failure::unavailable(what, format!("{why}{tails}")).next(next));
        }
    };
    running.keep = true;
    registry::remember(&testnet.dir);
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    session.form.emit(&answer(&testnet, height, milliseconds), text);
    Ok(())
}

fn answer(testnet: &Testnet, height: u64, milliseconds: u64) -> Up {
    let node = |n: &super::record::TestnetNode| UpNode {
        name: n.name.clone(),
        pid: n.process.as_ref().map_or(0, |p| p.pid),
        rpc: n.rpc.clone(),
        p2p: n.p2p.clone(),
        home: n.home.clone(),
    };
    Up {
        dir: testnet.dir.clone(),
        genesis: testnet.genesis.clone(),
        faucet_key: testnet.faucet_key.clone(),
        chain_id: testnet.chain_id,
        nodes: testnet.nodes.iter().map(node).collect(),
        height,
        milliseconds,
    }
}

fn text(up: &Up) -> String {
    let row =
        |n: &UpNode| vec![n.name.to_string(), n.pid.to_string(), n.rpc.clone(), n.home.display().to_string()];
    let rows: Vec<Vec<String>> = up.nodes.iter().map(row).collect();
    let first = up.nodes.first().map_or("", |n| n.rpc.as_str());
    format!(
        "{}\nheight {}, all {} nodes registered after {} ms\nnext: export METANODE_RPC={first}",
        table(&["NODE", "PID", "RPC", "HOME"], &rows),
        up.height,
        up.nodes.len(),
        up.milliseconds,
    )
}

/// What was started; ended again unless it is kept.
struct Running {
    children: Vec<Child>,
    testnet: Testnet,
    keep: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        end_all(&mut self.testnet, Duration::ZERO);
        for child in &mut self.children {
            // Reaps it; a child that is not yet in the record is ended here.
            let _ = child.kill();
            let _ = child.wait();
        }
        for node in &self.testnet.nodes {
            clean_cages(&node.home);
        }
        for node in &mut self.testnet.nodes {
            node.process = None;
        }
        let _ = self.testnet.save();
    }
}

/// Waits until every node is usable; returns the least height.
async fn usable(testnet: &Testnet, children: &mut [Child], timeout: Duration) -> Result<u64, String> {
    let started = Instant::now();
    let clients = testnet.nodes.iter().map(|n| Client::new(&n.rpc)).collect::<Result<Vec<_>, _>>();
    let clients = clients.map_err(|e| e.to_string())?;
    loop {
        for (child, node) in children.iter_mut().zip(&testnet.nodes) {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("{} ended early: {status}", node.name));
            }
        }
        let waiting_for = match look(&clients, testnet.nodes.len()).await {
            Ok(height) => return Ok(height),
            Err(why) => why,
        };
        if started.elapsed() > timeout {
            return Err(format!("not usable after {} s, waiting for {waiting_for}", timeout.as_secs()));
        }
        if started.elapsed() > Duration::from_secs(1) && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{} s: waiting for {waiting_for}", started.elapsed().as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// One look at every node; says what is still missing.
async fn look(clients: &[Client], count: usize) -> Result<u64, String> {
    let mut least = u64::MAX;
    for client in clients {
        let url = client.url();
        let status = tokio::time::timeout(ANSWER, client.status()).await;
        let status = status.ok().and_then(Result::ok).ok_or_else(|| format!("an answer of {url}"))?;
        if status.height == 0 {
            return Err(format!("a final block at {url}"));
        }
        least = least.min(status.height);
        let nodes = tokio::time::timeout(ANSWER, every_node(|page| client.nodes(page))).await;
        let nodes = nodes.ok().and_then(Result::ok).ok_or_else(|| format!("the list of nodes of {url}"))?;
        let ready = nodes.iter().filter(|n| n.state == NodeState::Ready).count();
        if ready < count {
            return Err(format!("registration: {ready} of {count} nodes at {url}, height {}", status.height));
        }
    }
    Ok(least)
}

/// The ends of all logs.
fn tails(testnet: &Testnet) -> String {
    if std::io::stderr().is_terminal() {
        note("");
    }
    let mut out = String::new();
    for node in &testnet.nodes {
        let text = tail(&node.log(), LOG_TAIL);
        let shown = if text.is_empty() { "(empty)" } else { text.trim_end() };
        out.push_str(&format!("\n--- {} log ---\n{shown}", node.name));
    }
    out
}

/// The last bytes of a file, from the start of a line.
pub fn tail(path: &Path, bytes: u64) -> String {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(bytes);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        std::io::Result::Ok((from, String::from_utf8_lossy(&text).into_owned()))
    };
    match read() {
        Ok((0, text)) => text,
        Ok((_, text)) => text.split_once('\n').map_or(text.clone(), |(_, rest)| rest.to_owned()),
        Err(_) => String::new(),
    }
}
