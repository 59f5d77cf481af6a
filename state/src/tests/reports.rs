//! What nodes report: start, health, metering, end, refusal.

use super::chain::*;
use crate::records::*;
use crate::*;
use metanode_types::cage_report::ExitStatus;
use metanode_types::ids::ContentDigest;
use metanode_types::level::CageLevel;
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::receipt::*;
use metanode_types::tx::*;
use metanode_types::workload::ImageKind;

fn charged(done: &Done) -> Option<(Usage, Amount, Amount)> {
    done.receipts.iter().find_map(|r| match &r.body {
        ReceiptBody::Economic(Economic {
            kind: EconomicKind::Charged { usage, charged, burned, .. },
            ..
        }) => Some((*usage, *charged, *burned)),
        _ => None,
    })
}

fn used(cpu_ms: u64, memory_mib_s: u64) -> Usage {
    Usage { cpu_ms, memory_mib_s }
}

#[test]
fn a_job_runs_to_its_end_is_paid_for_and_the_rest_returns() {
    let mut chain = Chain::with_nodes(1);
    chain.ok(1, TxBody::Deploy(job("j", 2)));
    let node_before = chain.balance(11);
    let started = chain.report("j", 0, ReplicaEvent::Started);
    chain.ok(11, started);
    assert_eq!(chain.held("j", 0).phase, RunPhase::Running(None));
    let body = chain.exited("j", 0, ExitStatus::Code(0), used(500, 100));
    let done = chain.ok(11, body);
    // 500 CPU-ms at 2 and 100 MiB-s at 1, of which a tenth is burned; the report is free.
    assert_eq!(charged(&done), Some((used(500, 100), Amount(1100), Amount(110))));
    assert_eq!(chain.balance(11), node_before + 990);
    assert_eq!(chain.view().supply().unwrap().burned, Amount(110));
    assert!(matches!(&chain.replica("j", 0).phase, ReplicaPhase::Ended { exit: ExitStatus::Code(0), .. }));
    let body = chain.exited("j", 1, ExitStatus::Code(3), used(0, 0));
    let done = chain.ok(11, body);
    assert_eq!(charged(&done), None);
    let d = chain.deployment("j");
    assert!(matches!(d.status, DeploymentStatus::Finished { succeeded: 1, failed: 1, .. }));
    assert_eq!((d.escrow, d.charged), (Amount::ZERO, Amount(1100)));
    let node = chain.view().node(&address(11)).unwrap().unwrap();
    assert_eq!((node.replicas, node.reserved.cpu_milli), (0, 0));
}

#[test]
fn no_more_is_paid_than_limits_times_block_time() {
    let mut chain = Chain::with_nodes(1);
    chain.ok(1, TxBody::Deploy(job("j", 1)));
    let body = chain.exited("j", 0, ExitStatus::Code(0), used(u64::MAX, u64::MAX));
    // One core and 1 GiB for the one second since the assignment.
    assert_eq!(charged(&chain.ok(11, body)).unwrap().0, used(1000, 1024));

    chain.ok(1, TxBody::Deploy(service("web", 1)));
    let body = chain.report("web", 0, ReplicaEvent::Started);
    chain.ok(11, body);
    let metered = |chain: &Chain| chain.report("web", 0, ReplicaEvent::Metered { usage: used(u64::MAX, 0) });
    let body = metered(&chain);
    let tx = chain.tx(11, body);
    assert_eq!(charged(&chain.block_after(4000, vec![tx])).unwrap().0, used(5000, 0));
    let body = metered(&chain);
    assert_eq!(chain.code(11, body), Code::TooSoon as u32, "and what is paid is not paid again");
}

#[test]
fn a_used_up_escrow_stops_the_service() {
    let mut chain = Chain::with_nodes(1);
    let least = minimum_deposit(&chain.view(), &service("web", 1).workload, 1).unwrap();
    chain.ok(1, TxBody::Deploy(DeploySpec { deposit: least, ..service("web", 1) }));
    let body = chain.report("web", 0, ReplicaEvent::Started);
    chain.ok(11, body);
    let body = chain.report("web", 0, ReplicaEvent::Metered { usage: used(u64::MAX, u64::MAX) });
    let tx = chain.tx(11, body);
    let done = chain.block_after(70_000, vec![tx]);
    assert_eq!(charged(&done).unwrap().1, least);
    assert_eq!(chain.deployment("web").status, DeploymentStatus::Stopping(UnassignReason::EscrowUsedUp));
    assert_eq!(chain.held("web", 0).stop, Some(UnassignReason::EscrowUsedUp));
    let body = chain.exited("web", 0, ExitStatus::Signal(15), Usage::default());
    chain.ok(11, body);
    assert!(!chain.deployment("web").is_live());
}

#[test]
fn reports_that_change_nothing_fail_with_their_codes_and_are_never_free() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(service("web", 1)));
    chain.ok(1, TxBody::Deploy(job("j", 1)));
    let (holder, job_holder) = (chain.holder("web", 0), chain.holder("j", 0));
    let other = 11 + 12 - holder;
    let event = |c: &Chain, e| c.report("web", 0, e);
    let raw = |n: &str, index, epoch| {
        TxBody::Report(Report { replica: id(n, index), epoch, event: ReplicaEvent::Started })
    };
    let epoch = chain.held("web", 0).epoch;
    assert_eq!(chain.code(holder, raw("web", 7, epoch)), Code::UnknownReplica as u32);
    assert_eq!(chain.code(holder, raw("web", 0, epoch + 1)), Code::StaleEpoch as u32);
    let body = event(&chain, ReplicaEvent::Started);
    assert_eq!(chain.code(other, body.clone()), Code::OtherNode as u32);
    let early = event(&chain, ReplicaEvent::Health { healthy: true });
    assert_eq!(chain.code(holder, early), Code::WrongEvent as u32);
    chain.ok(holder, body.clone());
    assert_eq!(chain.code(holder, body), Code::NoChange as u32);
    let health = event(&chain, ReplicaEvent::Health { healthy: true });
    chain.ok(holder, health.clone());
    assert_eq!(chain.code(holder, health), Code::NoChange as u32);
    let metered = chain.report("j", 0, ReplicaEvent::Metered { usage: used(1, 1) });
    assert_eq!(chain.code(job_holder, metered), Code::WrongEvent as u32);
    let metered = event(&chain, ReplicaEvent::Metered { usage: used(0, 0) });
    assert_eq!(chain.code(holder, metered), Code::NoChange as u32);
    let mut report = chain.cage_report("j", 0, ExitStatus::Code(0), used(1, 1));
    report.image = ContentDigest([8; 32]);
    let body = chain.report("j", 0, ReplicaEvent::Exited { report: report.clone(), restarts: 0 });
    assert_eq!(chain.code(job_holder, body), Code::OtherImage as u32);
    report.image = ContentDigest([3; 32]);
    report.inputs.0[0] ^= 1;
    let body = chain.report("j", 0, ReplicaEvent::Exited { report, restarts: 0 });
    assert_eq!(chain.code(job_holder, body), Code::OtherImage as u32);
    let body = chain.exited("j", 0, ExitStatus::Code(0), used(1, 1));
    chain.ok(job_holder, body.clone());
    assert_eq!(chain.code(job_holder, body.clone()), Code::NotAssigned as u32);
    let tx = chain.tx(job_holder, body);
    let mut poor = tx.clone();
    poor.envelope.fee_limit = Amount::ZERO;
    poor = SignedTx::sign(
        &secret(job_holder),
        poor.envelope.chain_id,
        4242,
        poor.envelope.valid_until,
        Amount::ZERO,
        poor.body,
    );
    assert!(matches!(chain.invalid(&poor), Invalid::NotFree { code: 51, .. }));
}

#[test]
fn a_refusal_sends_the_replica_elsewhere_and_too_many_give_it_up() {
    let mut chain = Chain::with_nodes(2);
    chain.ok(1, TxBody::Deploy(job("j", 1)));
    let mut holders = Vec::new();
    for attempt in 1..=limits::MAX_ATTEMPTS {
        let who = chain.holder("j", 0);
        holders.push(who);
        let body = chain.report("j", 0, ReplicaEvent::Refused { reason: ShortText::new("no such image") });
        chain.ok(who, body);
        if attempt == limits::MAX_ATTEMPTS {
            break;
        }
        // Both nodes may be avoided now: time brings the first one back.
        for _ in 0..40 {
            if chain.replica("j", 0).assignment().is_some() {
                break;
            }
            let beats = chain.heartbeats(11..13);
            chain.block_after(5000, beats);
        }
    }
    assert_ne!(holders[0], holders[1], "the node that refused is avoided");
    assert!(
        matches!(&chain.replica("j", 0).phase, ReplicaPhase::Failed { reason } if reason.0 == "no such image")
    );
    let d = chain.deployment("j");
    assert!(matches!(d.status, DeploymentStatus::Finished { succeeded: 0, failed: 1, .. }));
    assert_eq!(d.charged, Amount::ZERO);
}

#[test]
fn a_failed_cage_or_a_level_not_reached_is_no_verdict_and_costs_nothing() {
    let mut chain = Chain::with_nodes(2);
    let mut pinned = node_spec(13);
    pinned.cage_level = CageLevel::Pinned;
    chain.ok(13, TxBody::RegisterNode(pinned));
    let mut spec = job("p", 1);
    spec.workload.cage_level = CageLevel::Pinned;
    chain.ok(1, TxBody::Deploy(spec));
    assert_eq!(chain.holder("p", 0), 13, "only this node reaches the level");
    let body = chain.exited("p", 0, ExitStatus::Code(0), used(100, 100));
    let done = chain.ok(13, body);
    assert_eq!(charged(&done), None);
    assert!(matches!(
        chain.replica("p", 0).phase,
        ReplicaPhase::Pending { reason: PendingReason::Ended, .. }
    ));

    chain.ok(1, TxBody::Deploy(job("j", 1)));
    let who = chain.holder("j", 0);
    let body = chain.exited("j", 0, ExitStatus::CageFailed(ShortText::new("no cgroup")), used(100, 100));
    let done = chain.ok(who, body);
    assert_eq!(charged(&done), None);
    assert_ne!(chain.holder("j", 0), who, "elsewhere at once");
}

#[test]
fn a_node_without_oci_gets_only_wasm() {
    let mut chain = Chain::new();
    chain.ok(11, TxBody::RegisterNode(NodeSpec { runs_oci: false, ..node_spec(11) }));
    chain.ok(1, TxBody::Deploy(job("oci", 1)));
    assert!(chain.replica("oci", 0).assignment().is_none());
    let mut wasm = job("wasm", 1);
    wasm.workload.image.kind = ImageKind::Wasm;
    chain.ok(1, TxBody::Deploy(wasm));
    assert_eq!(chain.holder("wasm", 0), 11);
}
