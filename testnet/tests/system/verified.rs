//! Verified jobs on a network of four of which one node lies about what its cages wrote.
//!
//! The liar is an honest program on a dishonest machine: its node starts every module through a script that changes
//! the digest of the standard output in what the cage left behind.

use crate::rpc::Rpc;
use anyhow::{Context, Result, ensure};
use metanode_rpc::views::{
    DeploymentView, ExecutionState, ReplicaState, VerificationState, VerificationView,
};
use metanode_testnet::cluster::{Cluster, metanode_bin, show, wait_for};
use metanode_types::ids::{Digest, Name};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(120);
const LIAR: usize = 3;
/// Runs the real program; afterwards the first stream digest in the verdict begins with other digits.
const SCRIPT: &str = r#"#!/bin/sh
REAL "$@"
code=$?
if [ "$1" = __wasm ]; then
  verdict="${3%/*}/run/verdict.json"
  /bin/sed -E -i 's/("stdout": *\{[^}]*"digest": *"(sha256:)?)[0-9a-f]{8}/\1deadbeef/' "$verdict"
fi
exit $code
"#;

/// Has node `i` run by a copy of the program, in whose place the script then stands: that is what the node will start
/// its cages with.
fn corrupt(cluster: &Cluster, i: usize) -> Result<()> {
    let (real, dir) = (metanode_bin()?, cluster.scratch().join("liar"));
    std::fs::create_dir(&dir)?;
    let own = dir.join("metanode");
    std::fs::copy(&real, &own).context("copy the program")?;
    std::fs::copy(real.with_file_name("metanode-cage"), dir.join("metanode-cage"))
        .context("copy the cage")?;
    cluster.kill(i)?;
    let (net, index) = (cluster.net(), i.to_string());
    let mut start = std::process::Command::new(&own);
    start.args(["testnet", "start", &index, "--dir", net.to_str().context("UTF-8 path")?]);
    let started = start.output().context("start the liar")?;
    ensure!(started.status.success(), "{}", show(&started));
    wait_for("the liar answers", BOUND, || Ok(cluster.height(i)? > 0))?;
    let script = SCRIPT.replace("REAL", real.to_str().context("UTF-8 path")?);
    let beside = dir.join("script");
    std::fs::write(&beside, script)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&beside, &own).context("put the script in the program's place")
}

fn all_ready(cluster: &Cluster) -> Result<bool> {
    let nodes = cluster.json(&["get", "nodes"])?;
    let nodes = nodes.as_array().context("nodes")?;
    Ok(nodes.len() == 4 && nodes.iter().all(|n| n["state"] == "ready"))
}

/// A network whose last node lies; the liar's name.
fn with_a_liar(cluster: &Cluster) -> Result<(Rpc, String)> {
    corrupt(cluster, LIAR)?;
    wait_for("all nodes are ready", BOUND, || all_ready(cluster))?;
    Ok((Rpc::of(cluster)?, cluster.nodes[LIAR].name.clone()))
}

fn deployment(rpc: &Rpc, name: &str) -> Result<DeploymentView> {
    Ok(rpc.ask(rpc.nodes[0].deployment(name.parse::<Name>()?))?)
}

fn job(cluster: &Cluster, name: &str, replicas: &str, more: &[&str]) -> Result<Value> {
    let wat = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/fibonacci.wat");
    let wasm = format!("wasm:{}", wat.to_str().context("UTF-8 path")?);
    let args = ["deploy", name, "--job", "--level", "pinned", "--image", &wasm, "--replicas", replicas];
    cluster.json(&[&args[..], more, &["--wait", "--wait-timeout", "120s"]].concat())
}

fn compared(view: &DeploymentView) -> Result<Vec<&VerificationView>> {
    view.replicas.iter().map(|r| r.verification.as_ref().context("its runs are compared")).collect()
}

/// Checks one settled replica; true when the liar was among those asked.
fn settled(v: &VerificationView, liar: &str) -> Result<bool> {
    ensure!(v.asked == 3 && v.executions.len() == 3, "three were asked: {v:?}");
    ensure!(v.state == VerificationState::Open, "{v:?}");
    let nodes: BTreeSet<_> = v.executions.iter().map(|e| e.address).collect();
    ensure!(nodes.len() == 3, "three different nodes: {v:?}");
    let is_liar = |node: &Option<Name>| node.as_ref().is_some_and(|n| n.as_str() == liar);
    let honest: BTreeSet<Option<Digest>> =
        v.executions.iter().filter(|e| !is_liar(&e.node)).map(|e| e.outcome).collect();
    ensure!(honest.len() == 1 && honest.contains(&v.outcome), "the honest outcome stands: {v:?}");
    for e in &v.executions {
        let want = if is_liar(&e.node) { ExecutionState::Differs } else { ExecutionState::Agrees };
        ensure!(e.state == want, "{e:?}");
    }
    Ok(v.executions.iter().any(|e| is_liar(&e.node)))
}

/// The settlements on the ledger of a deployment: the receipt's id and the names that differ.
fn settlements(cluster: &Cluster, name: &str) -> Result<Vec<(String, Vec<String>)>> {
    let receipts = cluster.json(&["receipts", name])?;
    let mut out = Vec::new();
    for r in receipts.as_array().context("receipts")? {
        let action = &r["receipt"]["body"]["action"];
        if action["action"] == "settled" {
            let votes = action["votes"].as_array().context("votes")?;
            let differs = votes.iter().filter(|v| v["said"]["outcome"] != action["outcome"]);
            let names = differs.filter_map(|v| v["name"].as_str().map(str::to_owned)).collect();
            out.push((r["id"].as_str().context("id")?.to_owned(), names));
        }
    }
    Ok(out)
}

/// The receipt proves itself offline, and its evidence tells the count.
fn proves_itself(cluster: &Cluster, id: &str) -> Result<()> {
    let file = cluster.scratch().join(format!("{id}.proof"));
    let path = file.to_str().context("UTF-8 path")?;
    cluster.json(&["proofs", "export", id, "--out", path])?;
    let genesis = cluster.genesis.to_str().context("UTF-8 path")?;
    let told = cluster.json(&["proofs", "verify", path, "--genesis", genesis])?.to_string();
    ensure!(told.contains("of 3 nodes agree"), "{told}");
    Ok(())
}

#[test]
fn verified_jobs_settle_on_the_honest_digest_and_name_the_liar() {
    Cluster::up(4).expect("a network").test(|cluster| {
        let (rpc, liar) = with_a_liar(cluster)?;
        // All eight are drawn in one block, before anything is known of the liar.
        job(cluster, "verified", "8", &["--verify", "3"])?;
        let view = deployment(&rpc, "verified")?;
        ensure!(view.replicas.iter().all(|r| r.state == ReplicaState::Finished), "{:?}", view.replicas);
        let with_liar =
            compared(&view)?.into_iter().map(|v| settled(v, &liar)).collect::<Result<Vec<bool>>>()?;
        let lied = with_liar.iter().filter(|l| **l).count();
        ensure!(lied > 0, "with four nodes the chance that eight draws leave one out is 1 in 65536");
        let told = settlements(cluster, "verified")?;
        ensure!(told.len() == 8, "each replica has a settlement: {told:?}");
        ensure!(told.iter().filter(|(_, names)| *names == [liar.clone()]).count() == lied, "{told:?}");
        ensure!(told.iter().filter(|(_, names)| names.is_empty()).count() == 8 - lied, "{told:?}");
        for (id, _) in &told {
            proves_itself(cluster, id)?;
        }
        // What is known of it keeps it out while three others are there.
        job(cluster, "later", "2", &["--verify", "3"])?;
        let view = deployment(&rpc, "later")?;
        for v in compared(&view)? {
            ensure!(!settled(v, &liar)?, "the liar is avoided: {v:?}");
        }
        Ok(())
    });
}

#[test]
fn a_challenge_overturns_the_liars_word_and_upholds_an_honest_one() {
    Cluster::up(4).expect("a network").test(|cluster| {
        let (rpc, liar) = with_a_liar(cluster)?;
        job(cluster, "trusted", "4", &[])?;
        let view = deployment(&rpc, "trusted")?;
        let is_liar = |n: &Option<Name>| n.as_ref().is_some_and(|n| n.as_str() == liar);
        let by_liar = view.replicas.iter().find(|r| is_liar(&r.node));
        let by_liar = by_liar.context("four replicas are spread over four nodes")?.index;
        let honest = u32::from(by_liar == 0);
        for (index, state) in [(by_liar, ExecutionState::Differs), (honest, ExecutionState::Agrees)] {
            let replica = index.to_string();
            cluster.json(&[
                "challenge",
                "trusted",
                "--replica",
                &replica,
                "--wait",
                "--wait-timeout",
                "120s",
            ])?;
            let view = deployment(&rpc, "trusted")?;
            let v = compared(&view)?[index as usize];
            ensure!(v.state == VerificationState::Closed, "{v:?}");
            ensure!(v.executions[0].state == state, "{v:?}");
            let decided = v.challenge.as_ref().context("a run that decided")?;
            ensure!(decided.outcome == v.outcome && decided.address != v.executions[0].address, "{v:?}");
        }
        Ok(())
    });
}
