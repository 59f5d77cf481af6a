//! Transactions of every kind, workloads and cage reports.

use super::{Sample, TX_CAP, account, both, chain, h};
use metanode_types::cage_report::{CageReport, ExitStatus, KernelRelease, MachineClass, WitnessRoot};
use metanode_types::ids::{Address, ContentDigest, Digest};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::tx::{
    ClusterNodes, ClusterSpec, DeploySpec, NodeSpec, PeerIdBytes, PlacementPolicy, ReplicaEvent, Report,
    ShortText, SignedTx, TxBody,
};
use metanode_types::workload::{
    EnvVar, HealthCheck, ImageKind, ImageRef, ReplicaId, Resources, Workload, WorkloadKind,
};

pub fn resources() -> Resources {
    Resources { cpu_milli: 500, memory_bytes: 256 << 20, disk_bytes: 1 << 30, pids: 64 }
}

pub fn replica() -> ReplicaId {
    ReplicaId { deployment: "web".parse().unwrap(), index: 1 }
}

pub fn usage() -> Usage {
    Usage { cpu_ms: 1234, memory_mib_s: 5678 }
}

fn workload(kind: WorkloadKind, image: ImageKind) -> Workload {
    Workload {
        image: ImageRef { kind: image, digest: ContentDigest(h(41)), descriptor: Digest(h(42)) },
        args: vec!["serve".into(), String::new(), "--größe".into()],
        env: vec![EnvVar { name: "PORT".into(), value: "80".into() }],
        resources: resources(),
        kind,
        cage_level: CageLevel::Pinned,
        security: SecurityLevel::High,
        verify: 0,
    }
}

fn workloads() -> Vec<(&'static str, Workload)> {
    let health = |path: Option<&str>| HealthCheck { port: 8080, path: path.map(str::to_owned) };
    let service = |health| workload(WorkloadKind::Service { health }, ImageKind::Oci);
    vec![
        ("job", workload(WorkloadKind::Job { timeout_ms: 60_000 }, ImageKind::Wasm)),
        (
            "job verified",
            Workload { verify: 5, ..workload(WorkloadKind::Job { timeout_ms: 60_000 }, ImageKind::Wasm) },
        ),
        ("service", service(None)),
        ("service tcp", service(Some(health(None)))),
        ("service http", service(Some(health(Some("/healthz"))))),
    ]
}

pub fn report(exit: ExitStatus) -> CageReport {
    CageReport {
        level: CageLevel::Reproduced,
        image: ContentDigest(h(51)),
        inputs: Digest(h(52)),
        exit,
        stdout: ContentDigest(h(53)),
        stderr: ContentDigest(h(54)),
        output: Some(Digest(h(55))),
        witness: Some(WitnessRoot { root: Digest(h(56)), entries: 57, bytes: 58 }),
        usage: usage(),
        fuel: Some(59),
        trace: Some(Digest(h(70))),
        machine: machine(60),
    }
}

pub fn machine(n: u8) -> MachineClass {
    MachineClass { cpu: Digest(h(n)), kernel: KernelRelease::new("6.1.0-28-amd64") }
}

fn exits() -> Vec<(&'static str, ExitStatus)> {
    vec![
        ("code", ExitStatus::Code(-3)),
        ("signal", ExitStatus::Signal(9)),
        ("timeout", ExitStatus::Timeout),
        ("oom", ExitStatus::OutOfMemory),
        ("fuel", ExitStatus::OutOfFuel),
        ("trap", ExitStatus::Trap(ShortText::new("unreachable"))),
        ("cage-failed", ExitStatus::CageFailed(ShortText::new("no cgroup"))),
    ]
}

/// One body per kind, and per event of a report.
pub fn bodies() -> Vec<(String, TxBody)> {
    let name = |s: &str| s.parse().unwrap();
    let node = NodeSpec {
        name: name("node-1"),
        peer_id: PeerIdBytes(vec![0, 36, 8, 1]),
        capacity: resources(),
        cage_level: CageLevel::Replayed,
        wasm_level: CageLevel::Pinned,
        runs_oci: true,
        machine: machine(61),
        boot_id: 62,
    };
    let cluster = |placement| ClusterSpec {
        name: name("blue"),
        security: SecurityLevel::Enterprise,
        placement,
        nodes: ClusterNodes(vec![Address(h(63)), Address(h(64))]),
        max_replica: resources(),
    };
    let deploy = DeploySpec {
        name: name("web"),
        cluster: name("default"),
        replicas: 3,
        workload: workloads().remove(4).1,
        deposit: Amount(5_000_000),
    };
    let events = [
        ("started", ReplicaEvent::Started),
        ("health", ReplicaEvent::Health { healthy: true }),
        ("metered", ReplicaEvent::Metered { usage: usage() }),
        ("exited", ReplicaEvent::Exited { report: report(ExitStatus::Code(0)), restarts: 2 }),
        ("refused", ReplicaEvent::Refused { reason: ShortText::new("no such image") }),
    ];
    let mut out = vec![
        ("transfer".into(), TxBody::Transfer { to: Address(h(65)), amount: Amount(66) }),
        ("register-node".into(), TxBody::RegisterNode(node)),
        ("heartbeat".into(), TxBody::Heartbeat { boot_id: 67, free: resources() }),
        ("create-cluster".into(), TxBody::CreateCluster(cluster(PlacementPolicy::Spread))),
        ("create-cluster binpack".into(), TxBody::CreateCluster(cluster(PlacementPolicy::BinPack))),
        ("deploy".into(), TxBody::Deploy(deploy)),
        ("scale".into(), TxBody::Scale { deployment: name("web"), replicas: 4, deposit: Amount(68) }),
        ("stop".into(), TxBody::Stop { deployment: name("web") }),
    ];
    let (commitment, salt) = (Digest(h(71)), Digest(h(72)));
    let (committed, revealed) = (report(ExitStatus::Code(0)), replica());
    out.push(("commit-report".into(), TxBody::CommitReport { replica: replica(), epoch: 73, commitment }));
    let reveal = TxBody::RevealReport { replica: revealed, epoch: 74, report: committed, salt };
    out.push(("reveal-report".into(), reveal));
    out.push(("challenge".into(), TxBody::Challenge { replica: replica(), bond: Amount(75) }));
    for (event_name, event) in events {
        let body = TxBody::Report(Report { replica: replica(), epoch: 69, event });
        out.push((format!("report {event_name}"), body));
    }
    out
}

/// Every body, signed.
pub fn signed() -> Vec<SignedTx> {
    let sign = |(i, (_, body)): (usize, (String, TxBody))| {
        let tx = SignedTx::sign(&account(9), chain(), i as u64, 1_767_225_660_000, Amount(70), body);
        tx.check(&chain()).unwrap();
        tx
    };
    bodies().into_iter().enumerate().map(sign).collect()
}

pub fn samples() -> Vec<Sample> {
    let txs = signed();
    let mut out = vec![both("TxEnvelope", &txs[0].envelope, TX_CAP), both("SignedTx", &txs[0], TX_CAP)];
    out.extend(bodies().iter().map(|(name, body)| both(format!("TxBody {name}"), body, TX_CAP)));
    out.extend(workloads().iter().map(|(name, w)| both(format!("Workload {name}"), w, TX_CAP)));
    out.extend(
        exits().into_iter().map(|(name, exit)| both(format!("CageReport {name}"), &report(exit), TX_CAP)),
    );
    out
}
