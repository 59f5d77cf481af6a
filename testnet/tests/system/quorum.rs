//! One of four down, the chain goes on; two down, it stops; back up, it resumes; and nobody's replica moves.

use crate::rpc::{Rpc, transfer};
use crate::workload::{self, Cage};
use anyhow::{Result, ensure};
use metanode_rpc::views::{ReplicaState, TxStatus};
use metanode_testnet::cluster::{Cluster, wait_for};
use metanode_types::ids::Address;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);
/// How long two of four are watched making no block: several idle intervals of 5 s each.
const STANDSTILL: Duration = Duration::from_secs(24);

/// Where the replicas of the service are, and under which epoch and with how many restarts.
fn placement(rpc: &Rpc) -> Result<Vec<(Option<String>, u64, u32)>> {
    let view = rpc.ask(rpc.nodes[0].deployment("web".parse()?))?;
    let place =
        |r: &metanode_rpc::views::ReplicaView| (r.node.as_ref().map(|n| n.to_string()), r.epoch, r.restarts);
    ensure!(view.replicas.iter().all(|r| r.state == ReplicaState::Running), "{:?}", view.replicas);
    Ok(view.replicas.iter().map(place).collect())
}

/// Watches node 0 for `STANDSTILL`: no height is added although `waiting` waits.
fn stands_still(rpc: &Rpc, waiting: metanode_types::ids::TxId) -> Result<()> {
    let (height, until) = (rpc.status(0)?.height, Instant::now() + STANDSTILL);
    while Instant::now() < until {
        ensure!(rpc.status(0)?.height == height, "two of four made a block");
        let view = rpc.ask(rpc.nodes[0].tx(&waiting.to_string()))?;
        ensure!(view.status == TxStatus::Pending, "two of four made a transaction final: {view:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[test]
fn a_quorum_goes_on_less_stops_and_resumes_slow() -> Result<()> {
    let cluster = Cluster::up(4)?;
    let rpc = Rpc::of(&cluster)?;
    let service = workload::service(&cluster, &rpc, 2)?;
    let before = service.as_ref().map(|_| placement(&rpc)).transpose()?;
    let cages: Vec<Cage> = workload::cages(&cluster)?;
    ensure!(service.is_none() || cages.len() == 2, "two replicas run in {} cages", cages.len());

    cluster.kill(3)?;
    let height = rpc.pay(0, 1, BOUND)?;
    let next = rpc.pay(1, 2, BOUND)?;
    ensure!(next >= height, "heights go up");

    cluster.kill(2)?;
    // Whatever was under way when the third vote went is settled once a transaction has to wait.
    let tx = transfer(&rpc.faucet, rpc.chain, 3, Address([7; 32]));
    let waiting = rpc.ask(rpc.nodes[0].submit(&tx))?;
    stands_still(&rpc, waiting)?;
    ensure!(cages.iter().all(Cage::is_alive), "a replica ended because the chain stood still");

    cluster.start(2)?;
    let view = rpc.ask(rpc.nodes[0].wait(waiting, BOUND))?;
    ensure!(view.status == TxStatus::Final, "the waiting transfer ended as {view:?}");
    cluster.start(3)?;
    let tip = rpc.status(0)?.height;
    rpc.reach(&[0, 1, 2, 3], tip, BOUND)?;

    if let Some(before) = before {
        // Long enough for a node that had been held lost to be replaced: its timeout and two idle intervals.
        rpc.reach(&[0], tip + 3, BOUND)?;
        ensure!(placement(&rpc)? == before, "replicas moved: {before:?} -> {:?}", placement(&rpc)?);
        ensure!(cages.iter().all(Cage::is_alive), "a replica was restarted because the chain stood still");
    }
    wait_for("all nodes agree", BOUND, || rpc.agree(&[]).map(|height| height >= tip))
}
