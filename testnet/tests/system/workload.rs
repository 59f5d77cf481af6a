//! Workloads end to end: images, jobs, services, receipts, proofs, and cages that outlive their node's process.

use crate::rpc::Rpc;
use anyhow::{Context, Result, bail, ensure};
use metanode_cage::Record;
use metanode_cage::record::{Process, RECORD_FILE};
use metanode_rpc::views::{DeploymentView, ReplicaState, ReplicaView};
use metanode_testnet::cluster::{Cluster, show, wait_for};
use metanode_types::ids::Name;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);
/// A node is lost after 20 s of silence; its replicas are placed anew by the block after.
const LOST_BOUND: Duration = Duration::from_secs(90);
/// How deep below a home the records of cages are looked for.
const DEPTH: usize = 6;

/// A running cage and what the kernel holds for it.
#[derive(Clone, Debug)]
pub struct Cage {
    home: PathBuf,
    init: Process,
    /// Its supervisor and everything that was in its control groups when it was seen.
    processes: Vec<Process>,
}

impl Cage {
    /// Whether the very process that was seen still runs.
    pub fn is_alive(&self) -> bool {
        self.init.is_alive()
    }
}

fn find(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if dir.join(RECORD_FILE).exists() {
        found.push(dir.to_owned());
    } else if depth > 0 {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                find(&entry.path(), depth - 1, found);
            }
        }
    }
}

/// Every cage that runs now, of all nodes.
pub fn cages(cluster: &Cluster) -> Result<Vec<Cage>> {
    let mut out = Vec::new();
    for node in &cluster.nodes {
        let mut dirs = Vec::new();
        find(&node.home.join("data"), DEPTH, &mut dirs);
        for dir in dirs {
            // A cage may end, and its directory go, between the two looks.
            let Ok(record) = Record::read(&dir) else { continue };
            if record.running() {
                let mut processes = vec![record.supervisor];
                for group in &record.cgroups {
                    let pids = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                    processes.extend(pids.lines().filter_map(|pid| Process::find(pid.parse().ok()?)));
                }
                out.push(Cage { home: node.home.clone(), init: record.init, processes });
            }
        }
    }
    Ok(out)
}

/// Builds one of the sample programs as a static binary and packs it as an OCI image; the image's reference.
pub fn sample(cluster: &Cluster, name: &str) -> Result<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name).with_extension("rs");
    let (program, image) = (cluster.scratch().join(name), cluster.scratch().join(name).with_extension("oci"));
    if image.exists() {
        return image.to_str().map(|path| format!("oci:{path}")).context("UTF-8 path");
    }
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static"])
        .arg(source)
        .arg("-o")
        .arg(&program);
    let built = rustc.output().context("run rustc")?;
    ensure!(built.status.success(), "{}", show(&built));
    let path = |p: &Path| p.to_str().map(str::to_owned).context("UTF-8 path");
    cluster.json(&["image", "pack", &path(&program)?, "--out", &path(&image)?])?;
    Ok(format!("oci:{}", path(&image)?))
}

/// Deploys the sample service as `web` with `replicas` and waits until it runs; `None`, with the reason printed, where
/// this machine can not run images.
pub fn service(cluster: &Cluster, rpc: &Rpc, replicas: u32) -> Result<Option<Value>> {
    let status = rpc.ask(rpc.nodes[0].node_status())?;
    if !status.runs_oci {
        eprintln!("no service is run: {:?}", status.missing);
        return Ok(None);
    }
    let (image, count) = (sample(cluster, "http_server")?, replicas.to_string());
    let args = [
        "deploy",
        "web",
        "--image",
        &image,
        "--replicas",
        &count,
        "--env",
        "GREETING=hello",
        "--health-port",
    ];
    let args = [&args[..], &["8000", "--health-path", "/healthz", "--wait"]].concat();
    cluster.json(&args).map(Some)
}

fn deployment(rpc: &Rpc, asked: usize, name: &str) -> Result<DeploymentView> {
    Ok(rpc.ask(rpc.nodes[asked].deployment(name.parse::<Name>()?))?)
}

fn running(view: &DeploymentView) -> Vec<&ReplicaView> {
    view.replicas.iter().filter(|r| r.state == ReplicaState::Running).collect()
}

fn index_of(cluster: &Cluster, replica: &ReplicaView) -> Result<usize> {
    let name = replica.node.as_ref().context("a running replica has a node")?.to_string();
    cluster.nodes.iter().position(|n| n.name == name).with_context(|| format!("node {name}"))
}

fn cage_on(cluster: &Cluster, node: usize) -> Result<Cage> {
    let mut all = cages(cluster)?;
    all.retain(|c| c.home == cluster.nodes[node].home);
    ensure!(all.len() == 1, "node {node} runs {} cages", all.len());
    Ok(all.remove(0))
}

/// Skips, with the reason, where images can not be run.
fn ready() -> Result<Option<(Cluster, Rpc)>> {
    let cluster = Cluster::up(4)?;
    let rpc = Rpc::of(&cluster)?;
    let status = rpc.ask(rpc.nodes[0].node_status())?;
    if !status.runs_oci {
        eprintln!("skipped: {:?}", status.missing);
        return Ok(None);
    }
    Ok(Some((cluster, rpc)))
}

/// After `down` nothing of any cage is left: no process, no mount, no file.
fn ended_clean(cluster: Cluster, seen: Vec<Cage>) -> Result<()> {
    let scratch = cluster.scratch().to_str().context("UTF-8 path")?.to_owned();
    drop(cluster);
    for cage in &seen {
        // The groups themselves belong to a pool that outlives cages; what was in them must be gone.
        let left = cage.processes.iter().chain([&cage.init]).find(|p| p.is_alive());
        ensure!(left.is_none(), "process {left:?} of {cage:?} is left behind");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(&scratch), "a mount below {scratch} is left behind");
    ensure!(!Path::new(&scratch).exists(), "{scratch} is left behind");
    Ok(())
}

#[test]
fn jobs_run_and_their_receipts_prove_themselves_needs_root() -> Result<()> {
    let Some((cluster, rpc)) = ready()? else { return Ok(()) };
    let image = sample(&cluster, "primes_job")?;
    let done = cluster.json(&["deploy", "primes", "--job", "--image", &image, "--wait", "--", "1000"])?;
    ensure!(done["status"] == "finished" && done["replicas"][0]["state"] == "finished", "{done}");
    let logs = rpc.ask(rpc.nodes[1].logs(metanode_rpc::methods::params::LogsParams {
        name: "primes".parse()?,
        replica: 0,
        stream: metanode_rpc::views::LogStream::Stdout,
        tail: None,
    }));
    // Output is on the node that ran it; another says which one that is.
    let text = match logs {
        Ok(view) => view.text,
        Err(_) => cluster.json(&["logs", "primes"])?.to_string(),
    };
    ensure!(text.contains("168 primes below 1000"), "{text}");

    let wat = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/fibonacci.wat");
    let wasm = format!("wasm:{}", wat.to_str().context("UTF-8 path")?);
    let done = cluster.json(&["deploy", "fibonacci", "--job", "--image", &wasm, "--wait"])?;
    ensure!(done["status"] == "finished", "{done}");

    for name in ["primes", "fibonacci"] {
        let receipts = cluster.json(&["receipts", name])?;
        let list = receipts.as_array().context("a list of receipts")?;
        let tiers: BTreeSet<&str> = list.iter().filter_map(|r| r["tier"].as_str()).collect();
        ensure!(
            tiers == BTreeSet::from(["action", "agreement", "economic", "pipeline"]),
            "{name}: {tiers:?}"
        );
        for receipt in list {
            proves_itself(&cluster, receipt["id"].as_str().context("id")?)?;
        }
    }
    ended_clean(cluster, Vec::new())
}

/// The core bundle of a receipt is small, verifies with the genesis alone, and does not with any bit changed.
fn proves_itself(cluster: &Cluster, receipt: &str) -> Result<()> {
    let (file, genesis) = (cluster.scratch().join("proof"), cluster.genesis.to_str().context("UTF-8 path")?);
    let file = file.to_str().context("UTF-8 path")?;
    cluster.json(&["proofs", "export", receipt, "--out", file])?;
    let bytes = std::fs::read(file)?;
    ensure!(bytes.len() <= metanode_types::limits::CORE_BUNDLE_BYTES, "{receipt}: {} bytes", bytes.len());
    let verify = |path: &str| cluster.command(&["proofs", "verify", path, "--genesis", genesis]).output();
    let good = verify(file)?;
    ensure!(good.status.code() == Some(0), "{receipt}: {}", show(&good));
    let trust = metanode_genesis::Genesis::load(&cluster.genesis)?.trust_root();
    for at in (0..bytes.len()).step_by(7) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        if let Ok(bundle) = metanode_types::bundle::Bundle::from_bytes(&bad) {
            let verdict = metanode_types::verify::verify_with_replay(&bundle, &trust, None);
            ensure!(!verdict.verified(), "{receipt}: byte {at} flipped and still verified");
        }
    }
    let mut bad = bytes;
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    let tampered = cluster.scratch().join("tampered");
    std::fs::write(&tampered, bad)?;
    let refused = verify(tampered.to_str().context("UTF-8 path")?)?;
    ensure!(refused.status.code() == Some(1), "{receipt}, tampered: {}", show(&refused));
    Ok(())
}

#[test]
fn a_service_scales_tells_its_output_and_stops_needs_root() -> Result<()> {
    let Some((cluster, rpc)) = ready()? else { return Ok(()) };
    service(&cluster, &rpc, 2)?;
    let healthy = |n: usize| {
        let view = deployment(&rpc, 0, "web")?;
        let all = running(&view);
        Ok(all.len() == n && view.replicas.len() == n && all.iter().all(|r| r.healthy == Some(true)))
    };
    wait_for("two healthy replicas", BOUND, || healthy(2))?;
    let view = deployment(&rpc, 0, "web")?;
    let nodes: BTreeSet<_> = view.replicas.iter().filter_map(|r| r.node.clone()).collect();
    ensure!(nodes.len() == 2, "replicas are spread: {nodes:?}");
    let logs = cluster.json(&["logs", "web"])?.to_string();
    ensure!(logs.contains("listening on 127.0.0.1:8000") && logs.contains("/healthz"), "{logs}");

    let mut seen = cages(&cluster)?;
    cluster.json(&["scale", "web", "3"])?;
    wait_for("three healthy replicas", BOUND, || healthy(3))?;
    seen.extend(cages(&cluster)?);
    cluster.json(&["scale", "web", "1"])?;
    wait_for("one replica", BOUND, || Ok(healthy(1)? && cages(&cluster)?.len() == 1))?;

    let image = sample(&cluster, "http_server")?;
    cluster.json(&["deploy", "big", "--image", &image, "--cpu", "60000m"])?;
    let view = deployment(&rpc, 0, "big")?;
    ensure!(view.replicas[0].state == ReplicaState::Pending, "{view:?}");
    let explained = rpc.ask(rpc.nodes[0].explain("big".parse()?, None))?;
    for node in &explained.replicas[0].nodes {
        let refused = node.rules.iter().find(|r| !r.ok);
        ensure!(!node.fits && refused.is_some_and(|r| !r.detail.is_empty()), "{node:?}");
    }
    ensure!(explained.replicas[0].nodes.len() == 4, "every node is told: {explained:?}");

    cluster.json(&["stop", "web"])?;
    wait_for("no cage is left", BOUND, || Ok(cages(&cluster)?.is_empty()))?;
    ended_clean(cluster, seen)
}

#[test]
fn a_killed_node_keeps_its_cage_and_finds_it_again_needs_root() -> Result<()> {
    let Some((cluster, rpc)) = ready()? else { return Ok(()) };
    service(&cluster, &rpc, 1)?;
    let before = deployment(&rpc, 0, "web")?.replicas.remove(0);
    let node = index_of(&cluster, &before)?;
    let asked = (node + 1) % 4;
    let cage = cage_on(&cluster, node)?;

    cluster.kill(node)?;
    ensure!(cage.is_alive(), "a workload ended with its node's process");
    cluster.start(node)?;
    let tip = rpc.status(asked)?.height;
    rpc.reach(&[node], tip + 2, BOUND)?;
    ensure!(cage_on(&cluster, node)?.init == cage.init, "the cage was not adopted but started anew");
    let after = deployment(&rpc, asked, "web")?.replicas.remove(0);
    let same = |r: &ReplicaView| (r.node.clone(), r.epoch, r.restarts, r.state);
    ensure!(same(&after) == same(&before), "{before:?} -> {after:?}");
    ended_clean(cluster, vec![cage])
}

#[test]
fn a_lost_node_is_replaced_and_stops_its_stale_copy_needs_root() -> Result<()> {
    let Some((cluster, rpc)) = ready()? else { return Ok(()) };
    service(&cluster, &rpc, 2)?;
    let before = deployment(&rpc, 0, "web")?;
    let moved = before.replicas[0].clone();
    let node = index_of(&cluster, &moved)?;
    let asked = (0..4).find(|i| *i != node).expect("four nodes");
    let stale = cage_on(&cluster, node)?;

    cluster.kill(node)?;
    wait_for("the replica runs elsewhere under a new epoch", LOST_BOUND, || {
        let now = deployment(&rpc, asked, "web")?.replicas.remove(0);
        Ok(now.state == ReplicaState::Running && now.node != moved.node && now.epoch > moved.epoch)
    })?;
    let other = deployment(&rpc, asked, "web")?.replicas.remove(1);
    ensure!(
        (other.node.clone(), other.epoch) == (before.replicas[1].node.clone(), before.replicas[1].epoch),
        "{other:?}"
    );
    ensure!(stale.is_alive(), "nobody ordered the cut-off copy to stop");
    if rpc.ask(rpc.nodes[node].status()).is_ok() {
        bail!("the killed node answers");
    }
    cluster.start(node)?;
    wait_for("the returned node stops its stale copy", BOUND, || Ok(!stale.is_alive()))?;
    wait_for("two cages run", BOUND, || Ok(cages(&cluster)?.len() == 2))?;
    let seen = [cages(&cluster)?, vec![stale]].concat();
    ended_clean(cluster, seen)
}
