//! Nothing lost: all validators die at once, during load, again and again.

use crate::load::{Final, Load};
use crate::rpc::Rpc;
use anyhow::{Context, Result, ensure};
use metanode_testnet::cluster::{Cluster, wait_for};
use metanode_testnet::lossy::{self, Crash, Lossy};
use std::time::Duration;

const VALIDATORS: usize = 4;
/// What a network may take to become final again after all of it died.
const RECOVERY: Duration = Duration::from_secs(60);
/// Transfers that must be final before the next blow.
const FINALS_PER_ROUND: usize = 40;
/// What a node says when a key signed twice; see `docs/formats` and the node's alarms.
const DOUBLE_SIGNATURES: [&str; 2] = ["signed two messages", "elsewhere: stop one of the two"];

/// Kills all validators at once while they work; the transfers that were final by then.
fn blow(cluster: &Cluster, rpc: &Rpc, round: u64) -> Result<Vec<Final>> {
    let load = Load::start(rpc, round)?;
    wait_for("transfers become final under load", RECOVERY, || Ok(load.count() >= FINALS_PER_ROUND))?;
    cluster.kill_all()?;
    load.stop()
}

fn start_all(cluster: &Cluster, rpc: &Rpc, beyond: u64) -> Result<()> {
    for i in 0..VALIDATORS {
        cluster.start(i)?;
    }
    rpc.reach(&[0, 1, 2, 3], beyond, RECOVERY)
}

/// No validator was seen to contradict itself, by any node, ever.
fn no_double_signature(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        let log = std::fs::read_to_string(node.home.join("node.log")).context("a node's log")?;
        for words in DOUBLE_SIGNATURES {
            let line = log.lines().find(|l| l.contains(words));
            ensure!(line.is_none(), "{}: {}", node.name, line.unwrap_or_default());
        }
    }
    Ok(())
}

/// `rounds` blows, with `between` run while all are dead; every final transfer must be everywhere after each.
fn survive(
    cluster: &Cluster,
    rpc: &Rpc,
    rounds: u64,
    mut between: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut finals = Vec::new();
    for round in 0..rounds {
        finals.extend(blow(cluster, rpc, round)?);
        between(round)?;
        let highest = finals.iter().map(|f| f.height).max().context("transfers were final")?;
        // One more than was reported: the chain goes on, it does not only show what it had.
        start_all(cluster, rpc, highest + 1).with_context(|| format!("after blow {round}"))?;
        rpc.agree(&finals).with_context(|| format!("after blow {round}"))?;
    }
    no_double_signature(cluster)?;
    eprintln!("{rounds} blows, {} transfers reported final, all there on all nodes", finals.len());
    Ok(())
}

#[test]
fn all_killed_during_load_lose_nothing_slow() -> Result<()> {
    Cluster::up(VALIDATORS)?.test(|cluster| survive(cluster, &Rpc::of(cluster)?, 5, |_| Ok(())));
    Ok(())
}

/// How long the disks were there before the first blow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disks {
    /// The node made its directories just now, and nothing but the node itself synced them.
    New,
    /// Everything was written back once since the directories were made, as on a machine that has run for a minute.
    InUse,
}

fn lossy_rounds(disks: Disks, modes: &[Crash]) -> Result<()> {
    if let Some(reason) = lossy::unavailable() {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    Cluster::up(VALIDATORS)?.test(|cluster| lose_power(cluster, disks, modes));
    Ok(())
}

fn lose_power(cluster: &Cluster, disks: Disks, modes: &[Crash]) -> Result<()> {
    cluster.on_lossy_disks()?;
    let rpc = Rpc::of(cluster)?;
    start_all(cluster, &rpc, 1)?;
    if disks == Disks::InUse {
        cluster.disks.borrow().iter().for_each(Lossy::sync_all);
    }
    survive(cluster, &rpc, modes.len() as u64, |round| {
        let mut lost = lossy::Loss::default();
        for (i, disk) in cluster.disks.borrow_mut().iter_mut().enumerate() {
            let loss = disk.crash(seeded(modes[round as usize], i as u64))?;
            lost.changes += loss.changes - loss.kept;
            lost.names += loss.names;
        }
        eprintln!(
            "blow {round}, {:?}: {} changes and {} names lost",
            modes[round as usize], lost.changes, lost.names
        );
        Ok(())
    })?;
    let syncs: u64 = cluster.disks.borrow().iter().map(|d| d.counts().file_syncs).sum();
    ensure!(syncs > 0, "the nodes never synced a file of these disks");
    Ok(())
}

/// Each disk tears elsewhere.
fn seeded(mode: Crash, disk: u64) -> Crash {
    match mode {
        Crash::Lose => Crash::Lose,
        Crash::Torn(seed) => Crash::Torn(seed * 64 + disk),
        Crash::Scattered(seed) => Crash::Scattered(seed * 64 + disk),
    }
}

#[test]
fn unsynced_writes_thrown_away_lose_nothing_needs_root() -> Result<()> {
    lossy_rounds(Disks::InUse, &[Crash::Lose, Crash::Lose, Crash::Lose])
}

#[test]
fn a_power_cut_right_after_the_first_start_loses_nothing_needs_root() -> Result<()> {
    lossy_rounds(Disks::New, &[Crash::Lose])
}

#[test]
fn torn_writes_lose_nothing_needs_root() -> Result<()> {
    lossy_rounds(Disks::InUse, &[Crash::Torn(1), Crash::Scattered(2), Crash::Torn(3), Crash::Scattered(4)])
}

/// The plug is pulled while the nodes write: their next write fails, and a failed write stops a node.
#[test]
fn a_node_whose_disk_dies_stops_needs_root() -> Result<()> {
    if let Some(reason) = lossy::unavailable() {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    Cluster::up(VALIDATORS)?.test(lose_one_disk);
    Ok(())
}

fn lose_one_disk(cluster: &Cluster) -> Result<()> {
    cluster.on_lossy_disks()?;
    let rpc = Rpc::of(cluster)?;
    start_all(cluster, &rpc, 1)?;
    let load = Load::start(&rpc, 0)?;
    wait_for("transfers become final under load", RECOVERY, || Ok(load.count() >= FINALS_PER_ROUND))?;
    cluster.disks.borrow()[2].cut();
    let victim = cluster.pids()?[2].context("node 2 runs")?;
    wait_for("the node whose disk died stops", Duration::from_secs(30), || {
        Ok(cluster.pids()?[2] != Some(victim))
    })?;
    // Three of four go on.
    let height = rpc.status(0)?.height;
    rpc.reach(&[0, 1, 3], height + 2, RECOVERY)?;
    let finals: Vec<Final> = load.stop()?;
    cluster.disks.borrow_mut()[2].crash(Crash::Torn(5))?;
    cluster.start(2)?;
    let highest = finals.iter().map(|f| f.height).max().context("transfers were final")?;
    rpc.reach(&[0, 1, 2, 3], highest, RECOVERY)?;
    rpc.agree(&finals)?;
    no_double_signature(cluster)
}
