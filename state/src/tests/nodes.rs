//! Registration, heartbeats, lost and returning nodes, clusters.

use super::chain::*;
use crate::records::*;
use crate::*;
use metanode_types::ids::ChainId;
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, ReceiptBody, UnassignReason};
use metanode_types::tx::*;
use metanode_types::workload::Resources;

fn actions(done: &Done) -> Vec<&'static str> {
    let actions = done.receipts.iter().filter_map(|r| match &r.body {
        ReceiptBody::Action(a) => Some(a.name()),
        _ => None,
    });
    actions.collect()
}

#[test]
fn registration_is_recorded_and_its_failures_have_codes() {
    let mut chain = Chain::with_nodes(1);
    let node = chain.view().node(&address(11)).unwrap().unwrap();
    assert_eq!((node.status, node.spec.clone()), (NodeStatus::Ready, node_spec(11)));
    assert_eq!(chain.view().node_by_name(&name("node-11")).unwrap(), Some(address(11)));
    let with = |change: &dyn Fn(&mut NodeSpec)| {
        let mut spec = node_spec(12);
        change(&mut spec);
        TxBody::RegisterNode(spec)
    };
    assert_eq!(chain.code(12, with(&|s| s.name = name("node-11"))), Code::NodeNameTaken as u32);
    assert_eq!(chain.code(12, with(&|s| s.peer_id = PeerIdBytes(vec![11; 38]))), Code::PeerIdTaken as u32);
    assert_eq!(chain.code(12, with(&|s| s.capacity.pids = 0)), Code::NoCapacity as u32);
    assert_eq!(
        chain.code(12, TxBody::Heartbeat { boot_id: 1, free: Resources::default() }),
        Code::NotANode as u32
    );
    let renamed = with(&|s| {
        s.name = name("other");
        s.peer_id = PeerIdBytes(vec![11; 38]);
    });
    chain.ok(11, renamed);
    assert_eq!(chain.view().node_by_name(&name("node-11")).unwrap(), None, "the old name is free again");
    chain.ok(12, with(&|s| s.name = name("node-11")));
}

#[test]
fn heartbeats_are_free_within_the_quota_and_leave_no_receipt() {
    let mut chain = Chain::with_nodes(1);
    let poor = |nonce, until| {
        let body = TxBody::Heartbeat { boot_id: 1, free: Resources::default() };
        SignedTx::sign(&secret(11), ChainId([5; 32]), nonce, until, Amount::ZERO, body)
    };
    let balance = chain.balance(11);
    let until = chain.time_ms + 60_000;
    assert!(
        matches!(chain.invalid(&poor(900, until)), Invalid::FeeLimit { .. }),
        "too soon after registration"
    );
    let done = chain.block_after(5000, vec![poor(900, until)]);
    assert_eq!(done.receipts, vec![]);
    assert_eq!(chain.balance(11), balance);
    let twice = [poor(901, until), poor(902, until)];
    let p = propose(&chain.view(), &chain.context(5000), twice, Signatures::Verify).unwrap();
    assert_eq!((p.txs.len(), p.rejected.len()), (1, 1), "one per half interval");
}

#[test]
fn a_silent_node_is_lost_and_its_replicas_go_elsewhere_under_a_new_epoch() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(service("web", 2)));
    let lost = chain.holder("web", 0);
    let other = if lost == 11 { 12 } else { 11 };
    assert_eq!(chain.holder("web", 1), other, "spread over two nodes");
    let old = chain.held("web", 0);
    let untouched = chain.held("web", 1);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let beats = chain.heartbeats(other..other + 1);
        seen.extend(actions(&chain.block_after(5000, beats)));
    }
    assert_eq!(seen, ["node-lost", "unassigned", "assigned"]);
    let new = chain.held("web", 0);
    assert_eq!(new.node, address(other));
    assert!(new.epoch > old.epoch, "the epoch is a fencing token");
    assert_eq!(chain.held("web", 1), untouched, "what runs is not moved");

    // The node returns: Ready again, but its old copy is fenced off.
    let stale =
        TxBody::Report(Report { replica: id("web", 0), epoch: old.epoch, event: ReplicaEvent::Started });
    assert_eq!(chain.code(lost, stale.clone()), Code::StaleEpoch as u32);
    let done = chain.send(lost, TxBody::Heartbeat { boot_id: 9, free: Resources::default() });
    assert_eq!(actions(&done), ["node-returned"]);
    let node = chain.view().node(&address(lost)).unwrap().unwrap();
    assert_eq!((node.status, node.boot_id, node.replicas), (NodeStatus::Ready, 9, 0));
    assert_eq!(chain.code(lost, stale), Code::StaleEpoch as u32);
}

#[test]
fn a_chain_that_stood_still_loses_no_node() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(service("web", 2)));
    let held = (chain.held("web", 0), chain.held("web", 1));
    assert!(
        chain.block_after(3 * 3_600_000, vec![]).receipts.is_empty(),
        "three hours count as one idle interval"
    );
    let beats = chain.heartbeats(11..13);
    assert!(chain.block(beats).receipts.is_empty());
    for _ in 0..4 {
        let beats = chain.heartbeats(11..13);
        assert!(chain.block_after(5000, beats).receipts.is_empty());
    }
    assert_eq!((chain.held("web", 0), chain.held("web", 1)), held);
}

#[test]
fn a_new_boot_keeps_assignments_and_epochs_but_less_capacity_sheds() {
    let mut chain = Chain::with_nodes(1);
    chain.ok(1, TxBody::Deploy(service("web", 3)));
    let held: Vec<_> = (0..3).map(|i| chain.held("web", i)).collect();
    let mut spec = node_spec(11);
    spec.boot_id = 2;
    chain.ok(11, TxBody::RegisterNode(spec.clone()));
    assert_eq!((0..3).map(|i| chain.held("web", i)).collect::<Vec<_>>(), held);
    spec.capacity.cpu_milli = 2500;
    let done = chain.ok(11, TxBody::RegisterNode(spec));
    let reasons = done.receipts.iter().filter_map(|r| match &r.body {
        ReceiptBody::Action(Action::Unassigned { reason, .. }) => Some(*reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [UnassignReason::NodeChanged]);
    assert_eq!((chain.held("web", 0), chain.held("web", 1)), (held[0].clone(), held[1].clone()));
    let waiting = ReplicaPhase::Pending {
        since_height: chain.view().head().height,
        reason: PendingReason::NodeChanged,
    };
    assert_eq!(chain.replica("web", 2).phase, waiting);
}

#[test]
fn clusters_limit_where_and_what() {
    let mut chain = Chain::with_nodes(2);
    let spec = |n: &str| ClusterSpec {
        name: name(n),
        security: SecurityLevel::Enterprise,
        placement: PlacementPolicy::BinPack,
        nodes: ClusterNodes(vec![address(12)]),
        max_replica: node_spec(1).capacity,
    };
    chain.ok(1, TxBody::CreateCluster(spec("eu")));
    assert_eq!(chain.code(1, TxBody::CreateCluster(spec("eu"))), Code::ClusterExists as u32);
    assert_eq!(chain.code(1, TxBody::CreateCluster(spec("default"))), Code::ClusterExists as u32);
    let twice = ClusterSpec { nodes: ClusterNodes(vec![address(12), address(12)]), ..spec("b") };
    assert_eq!(chain.code(1, TxBody::CreateCluster(twice)), Code::DuplicateMember as u32);
    let none = ClusterSpec { max_replica: Resources::default(), ..spec("b") };
    assert_eq!(chain.code(1, TxBody::CreateCluster(none)), Code::NoReplicaFits as u32);

    let mut d = DeploySpec { cluster: name("eu"), ..service("web", 2) };
    assert_eq!(chain.code(1, TxBody::Deploy(d.clone())), Code::SecurityTooLow as u32);
    d.workload.security = SecurityLevel::Enterprise;
    chain.ok(1, TxBody::Deploy(d));
    assert_eq!((chain.holder("web", 0), chain.holder("web", 1)), (12, 12), "only the member");
    assert_eq!(chain.view().node(&address(11)).unwrap().unwrap().spec.cage_level, CageLevel::Contained);
}
