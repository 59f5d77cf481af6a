//! Admission, placement, scaling, stopping, expiry.

use super::chain::*;
use crate::records::*;
use crate::*;
use metanode_types::cage_report::ExitStatus;
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::receipt::*;
use metanode_types::tx::*;

fn kinds(done: &Done) -> Vec<String> {
    let kind = |r: &Receipt| match &r.body {
        ReceiptBody::Action(a) => a.name().to_string(),
        _ => r.tier().to_string(),
    };
    done.receipts.iter().map(kind).collect()
}

fn is_refund(r: &Receipt) -> bool {
    matches!(&r.body, ReceiptBody::Economic(e) if matches!(e.kind, EconomicKind::Refunded { .. }))
}

fn scale(n: &str, replicas: u32, deposit: u128) -> TxBody {
    TxBody::Scale { deployment: name(n), replicas, deposit: Amount(deposit) }
}
fn stop(n: &str) -> TxBody {
    TxBody::Stop { deployment: name(n) }
}

#[test]
fn a_deploy_makes_all_four_tiers_and_is_placed_in_its_own_block() {
    let mut chain = Chain::with_nodes(2);
    let done = chain.ok(1, TxBody::Deploy(service("web", 2)));
    assert_eq!(kinds(&done), ["pipeline", "agreement", "economic", "deployed", "assigned", "assigned"]);
    let ReceiptBody::Pipeline(p) = &done.receipts[0].body else { panic!() };
    assert_eq!(p.light, Light::Green);
    assert!(p.rules.len() >= 9 && p.rules.iter().all(|r| r.light == Light::Green));
    assert!(done.receipts[4].tx.is_none(), "placement has no transaction");
    let d = chain.deployment("web");
    assert_eq!((d.generation, d.live, d.escrow), (1, 2, Amount(50_000_000)));
    let listed = chain.view().receipts_of(&name("web"), None, 100).unwrap();
    assert_eq!(listed.items.len(), 6, "all of them concern the deployment");
    let work = query::assignments_of(&chain.view(), &address(chain.holder("web", 1))).unwrap();
    assert_eq!(work.len(), 1);
    assert_eq!((work[0].replica.clone(), work[0].desired.clone()), (id("web", 1), query::Desired::Run));
    assert_eq!(work[0].receipt, done.receipts[5].id());
    assert_ne!(
        work[0].seed,
        query::assignments_of(&chain.view(), &address(chain.holder("web", 0))).unwrap()[0].seed
    );
}

#[test]
fn each_red_rule_refuses_with_its_code_and_a_pipeline_receipt() {
    let mut chain = Chain::with_nodes(1);
    chain.ok(1, TxBody::Deploy(service("taken", 1)));
    let cases: Vec<(Code, &str, DeploySpec)> = vec![
        (Code::UnknownCluster, "cluster", DeploySpec { cluster: name("nowhere"), ..service("a", 1) }),
        (Code::BadReplicas, "replicas", service("a", 0)),
        (Code::NameTaken, "name", service("taken", 1)),
        (Code::DepositTooSmall, "deposit", DeploySpec { deposit: Amount(100), ..service("a", 1) }),
        (Code::InsufficientFunds, "balance", DeploySpec { deposit: Amount(RICH), ..service("a", 1) }),
        (Code::CageLevelNotOffered, "cage-level", change(|s| s.workload.cage_level = CageLevel::Pinned)),
        (Code::CageLevelNotOffered, "cage-level", change(|s| s.workload.security = SecurityLevel::High)),
        (Code::ResourcesTooLarge, "profile-limits", change(|s| s.workload.resources.cpu_milli = 65_000)),
    ];
    for (code, rule, spec) in cases {
        let done = chain.send(2, TxBody::Deploy(spec));
        let TxOutcome::Failed { code: got, reason, .. } = &done.outcomes[0] else { panic!("{rule}") };
        assert_eq!(*got, code as u32, "{rule}: {reason}");
        assert_eq!(kinds(&done), ["pipeline", "economic", "failed"]);
        let ReceiptBody::Pipeline(p) = &done.receipts[0].body else { panic!() };
        let red: Vec<_> =
            p.rules.iter().filter(|r| r.light == Light::Red).map(|r| r.rule.0.as_str()).collect();
        assert_eq!((p.light, red[0]), (Light::Red, rule));
        let own = done.receipts[0].subject == Subject::Deployment(name("taken"));
        assert!(!own, "a stranger's refusal is not on record under another's deployment");
    }
    let done = chain.send(2, TxBody::Deploy(change(|s| s.workload.security = SecurityLevel::High)));
    let ReceiptBody::Pipeline(p) = &done.receipts[0].body else { panic!() };
    let red: Vec<_> = p.rules.iter().filter(|r| r.light == Light::Red).map(|r| r.reason.0.clone()).collect();
    assert!(red[0].contains("security level high demands cage level pinned"), "{red:?}");
    assert!(red[1].contains("services run contained"), "{red:?}");
    assert!(red[2].contains("witness"), "{red:?}");
    let done = chain.send(2, TxBody::Deploy(change(|s| s.workload.security = SecurityLevel::Maximum)));
    let ReceiptBody::Pipeline(p) = &done.receipts[0].body else { panic!() };
    assert!(p.rules.iter().any(|r| r.light == Light::Red && r.reason.0 == "approvals are not built"));
}

fn change(f: impl FnOnce(&mut DeploySpec)) -> DeploySpec {
    let mut spec = service("a", 1);
    f(&mut spec);
    spec
}

#[test]
fn more_than_any_node_has_stays_pending_and_explain_names_the_rule() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(
        1,
        TxBody::Deploy(change(|s| {
            s.workload.resources.memory_bytes = 8 << 30;
            s.deposit = Amount(10_000_000_000);
        })),
    );
    assert!(matches!(chain.replica("a", 0).phase, ReplicaPhase::Pending { reason: PendingReason::New, .. }));
    let view = chain.view();
    let why = schedule::explain(&view, &name("a"), chain.time_ms).unwrap().unwrap();
    assert_eq!(why[0].nodes.len(), 2);
    for node in &why[0].nodes {
        let refused: Vec<_> = node.rules.iter().filter(|r| !r.ok).map(|r| r.rule).collect();
        assert_eq!((refused, node.rank), (vec!["capacity-memory"], None));
        assert!(node.rules.iter().any(|r| r.detail == "no: 8Gi asked, 4Gi free"), "{:?}", node.rules);
    }
    drop(view);
    let mut big = node_spec(13);
    big.capacity.memory_bytes = 16 << 30;
    let done = chain.ok(13, TxBody::RegisterNode(big));
    assert_eq!(kinds(&done), ["economic", "node-registered", "assigned"], "placed as soon as a node fits");
    assert_eq!(chain.holder("a", 0), 13);
}

#[test]
fn capacity_is_never_exceeded_and_bin_packing_fills_one_node_first() {
    let mut chain = Chain::with_nodes(3);
    let spec = ClusterSpec {
        name: name("dense"),
        security: SecurityLevel::Standard,
        placement: PlacementPolicy::BinPack,
        nodes: ClusterNodes::default(),
        max_replica: node_spec(1).capacity,
    };
    chain.ok(1, TxBody::CreateCluster(spec));
    chain.ok(
        1,
        TxBody::Deploy(DeploySpec { cluster: name("dense"), deposit: Amount(RICH / 2), ..service("d", 5) }),
    );
    let holders: Vec<u8> = (0..5).map(|i| chain.holder("d", i)).collect();
    assert_eq!(holders[..4], [holders[0]; 4], "four cores hold four replicas");
    assert_ne!(holders[4], holders[0]);
    chain.ok(1, TxBody::Deploy(DeploySpec { deposit: Amount(RICH / 4), ..service("s", 9) }));
    let held = (0..9).filter(|i| chain.replica("s", *i).assignment().is_some()).count();
    assert_eq!(held, 12 - 5, "twelve cores in all");
}

#[test]
fn scaling_up_and_down_moves_nothing_that_stays() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(service("web", 2)));
    let held = (chain.held("web", 0), chain.held("web", 1));
    chain.ok(1, scale("web", 4, 1_000_000));
    assert_eq!((chain.held("web", 0), chain.held("web", 1)), held);
    assert_eq!(chain.deployment("web").escrow, Amount(51_000_000));
    chain.ok(1, scale("web", 1, 0));
    assert_eq!(chain.held("web", 0), held.0);
    for i in 1..4 {
        assert_eq!(chain.held("web", i).stop, Some(UnassignReason::ScaledDown));
        let who = chain.holder("web", i);
        let work = query::assignments_of(&chain.view(), &address(who)).unwrap();
        assert!(work.iter().any(|a| a.replica == id("web", i) && a.desired == query::Desired::Stop));
    }
    // Taken back before it is gone: it waits for a node again once it is.
    chain.ok(1, scale("web", 2, 0));
    let who = chain.holder("web", 1);
    let gone = chain.exited("web", 1, ExitStatus::Signal(15), Usage::default());
    chain.ok(who, gone);
    assert_eq!(chain.held("web", 1).stop, None);
    let who = chain.holder("web", 3);
    let gone = chain.exited("web", 3, ExitStatus::Signal(15), Usage::default());
    chain.ok(who, gone);
    assert_eq!(chain.view().replica(&id("web", 3)).unwrap(), None);

    assert_eq!(chain.code(1, scale("web", 2, 0)), Code::NothingToScale as u32);
    assert_eq!(chain.code(1, scale("web", 0, 0)), Code::BadReplicas as u32);
    assert_eq!(chain.code(2, scale("web", 3, 0)), Code::NotOwner as u32);
    assert_eq!(chain.code(1, scale("nope", 3, 0)), Code::UnknownDeployment as u32);
    chain.ok(1, TxBody::Deploy(job("j", 1)));
    assert_eq!(chain.code(1, scale("j", 3, 0)), Code::JobNotScalable as u32);
    chain.ok(1, stop("web"));
    assert_eq!(chain.code(1, scale("web", 3, 0)), Code::NotActive as u32);
}

#[test]
fn a_stopped_service_ends_when_its_nodes_say_so_and_its_escrow_returns() {
    let mut chain = Chain::with_nodes(2);
    let before = chain.balance(1);
    chain.ok(1, TxBody::Deploy(service("web", 2)));
    assert_eq!(chain.code(2, stop("web")), Code::NotOwner as u32);
    assert_eq!(chain.code(1, stop("nope")), Code::UnknownDeployment as u32);
    let done = chain.ok(1, stop("web"));
    assert_eq!(kinds(&done), ["economic", "stop-ordered"]);
    assert_eq!(chain.code(1, stop("web")), Code::NotActive as u32);
    for i in 0..2 {
        assert_eq!(chain.deployment("web").status, DeploymentStatus::Stopping(UnassignReason::Stopped));
        let who = chain.holder("web", i);
        let body = chain.exited("web", i, ExitStatus::Code(0), Usage::default());
        let done = chain.ok(who, body);
        assert_eq!(kinds(&done)[0], "exited");
    }
    assert!(matches!(chain.deployment("web").status, DeploymentStatus::Finished { .. }));
    assert_eq!(chain.deployment("web").escrow, Amount::ZERO);
    assert!(before - chain.balance(1) < 10_000, "only fees were paid");
    let view = chain.view();
    let all = view.receipts_of(&name("web"), None, 100).unwrap().items;
    assert!(is_refund(&all.last().unwrap().receipt));
}

#[test]
fn a_node_lost_while_stopping_counts_as_stopped_and_pending_replicas_go_at_once() {
    let mut chain = Chain::with_nodes(1);
    chain.ok(1, TxBody::Deploy(service("web", 6)));
    assert_eq!(chain.deployment("web").live, 6);
    chain.ok(1, stop("web"));
    assert_eq!(chain.deployment("web").live, 4, "two were still pending");
    let mut last = Vec::new();
    for _ in 0..5 {
        last = kinds(&chain.block_after(5000, vec![]));
        if !last.is_empty() {
            break;
        }
    }
    assert_eq!(
        last,
        ["node-lost", "unassigned", "unassigned", "unassigned", "unassigned", "finished", "economic"]
    );
}

#[test]
fn a_finished_name_is_its_owners_until_its_records_expire() {
    let mut chain = Chain::with_nodes(1);
    chain.ok(1, TxBody::Deploy(service("web", 1)));
    let old = chain.held("web", 0);
    chain.ok(1, stop("web"));
    let body = chain.exited("web", 0, ExitStatus::Code(0), Usage::default());
    chain.ok(11, body);
    assert_eq!(chain.code(2, TxBody::Deploy(service("web", 1))), Code::NameTaken as u32);
    chain.ok(1, TxBody::Deploy(service("web", 1)));
    assert_eq!(chain.deployment("web").generation, 2);
    assert!(chain.held("web", 0).epoch > old.epoch, "epochs grow over generations");
    chain.ok(1, stop("web"));
    let body = chain.exited("web", 0, ExitStatus::Code(0), Usage::default());
    chain.ok(11, body);
    chain.block_after(86_400_000, vec![]);
    assert_eq!(chain.view().workload(&name("web")).unwrap(), None, "expired records are removed");
    chain.ok(11, TxBody::Heartbeat { boot_id: 1, free: Default::default() });
    chain.ok(2, TxBody::Deploy(service("web", 1)));
    assert_eq!((chain.deployment("web").generation, chain.deployment("web").owner), (3, address(2)));
}
