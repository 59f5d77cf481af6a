//! Frozen encodings: a change here is a fork of every chain that exists.

use super::*;
use metanode_types::cage_report::{KernelRelease, MachineClass};
use metanode_types::codec::encode;
use metanode_types::hash::sha256;
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::receipt::Said;
use metanode_types::tx::{ClusterNodes, PeerIdBytes, PlacementPolicy};

fn name(n: &str) -> Name {
    n.parse().unwrap()
}

fn node() -> NodeRecord {
    let some = Resources { cpu_milli: 1, memory_bytes: 2, disk_bytes: 3, pids: 4 };
    NodeRecord {
        spec: NodeSpec {
            name: name("n"),
            peer_id: PeerIdBytes(vec![1, 2]),
            capacity: some,
            cage_level: CageLevel::Pinned,
            wasm_level: CageLevel::Reproduced,
            runs_oci: true,
            machine: MachineClass { cpu: Digest([1; 32]), kernel: KernelRelease::new("6.1") },
            boot_id: 5,
        },
        status: NodeStatus::Lost,
        registered_height: 6,
        boot_id: 7,
        heard_ms: 8,
        heard_alive_ms: 9,
        free: some,
        reserved: some,
        replicas: 10,
        faults: 11,
        faulted_height: 12,
    }
}

fn deployment() -> DeploymentRecord {
    DeploymentRecord {
        name: name("d"),
        generation: 1,
        owner: Address([2; 32]),
        cluster: name("c"),
        workload: Digest([3; 32]),
        job: true,
        replicas: 4,
        status: DeploymentStatus::Finished { succeeded: 5, failed: 6, at_ms: 7 },
        escrow: Amount(8),
        charged: Amount(9),
        tx: TxId([10; 32]),
        agreement: Digest([11; 32]),
        created_ms: 12,
        created_height: 13,
        live: 14,
        succeeded: 15,
        failed: 16,
        avoided: vec![Avoided { node: Address([17; 32]), until_ms: 18 }],
        bonds: Amount(19),
        open: 20,
    }
}

fn replica(phase: ReplicaPhase) -> ReplicaRecord {
    ReplicaRecord {
        id: ReplicaId { deployment: name("d"), index: 1 },
        generation: 2,
        phase,
        attempts: 3,
        used: Usage { cpu_ms: 4, memory_mib_s: 5 },
        restarts: 6,
        verification: None,
    }
}

/// A run at every step, and a challenge.
fn verification() -> Verification {
    let run = |n: u8, step| Execution {
        node: Address([n; 32]),
        epoch: 2,
        receipt: ReceiptId([n; 32]),
        assigned_ms: 3,
        bond: Amount(u128::from(n)),
        step,
    };
    let over = |said| Step::Over { said, usage: Usage { cpu_ms: 4, memory_mib_s: 5 }, report: None };
    let committed = Step::Committed { commitment: Digest([6; 32]), at_ms: 7 };
    Verification {
        machine: MachineClass { cpu: Digest([1; 32]), kernel: KernelRelease::new("6.1") },
        asked: 3,
        executions: vec![
            run(21, Step::Running(RunPhase::Assigned)),
            run(22, committed),
            run(23, over(Said::Outcome(Digest([8; 32])))),
        ],
        stage: Stage::Challenged { until_height: 9 },
        outcome: Some(Digest([10; 32])),
        challenge: Some(Challenge {
            challenger: Address([11; 32]),
            bond: Amount(12),
            execution: run(24, over(Said::NoReveal)),
            until_alive_ms: 13,
        }),
        void: vec![Address([14; 32])],
    }
}

fn verified() -> ReplicaRecord {
    ReplicaRecord { verification: Some(verification()), ..replica(ReplicaPhase::Verifying) }
}

fn held() -> Assignment {
    Assignment {
        node: Address([1; 32]),
        epoch: 2,
        phase: RunPhase::Running(Some(true)),
        stop: Some(UnassignReason::ScaledDown),
        receipt: ReceiptId([3; 32]),
        assigned_ms: 4,
        metered_ms: 5,
    }
}

fn cluster() -> ClusterRecord {
    let spec = ClusterSpec {
        name: name("c"),
        security: SecurityLevel::High,
        placement: PlacementPolicy::BinPack,
        nodes: ClusterNodes(vec![Address([1; 32])]),
        max_replica: Resources::default(),
    };
    ClusterRecord { spec, owner: Some(Address([2; 32])), created_height: 3 }
}

fn digest<T: BorshSerialize>(value: &T) -> String {
    Digest(sha256(&encode(value))).short()
}

#[test]
fn encodings_are_frozen() {
    let account = AccountRecord { credited: Amount(3), debited: Amount(2), sent_count: 1 };
    let head = SubjectHead { count: 1, last: ReceiptId([2; 32]), digest: Digest([3; 32]) };
    let failed = TxOutcome::Failed { fee: Amount(1), code: 2, reason: ShortText::new("x") };
    let tx = TxRecord { height: 1, index: 2, outcome: failed, first_receipt: 3, receipts: 4 };
    let ended = ReplicaPhase::Ended { exit: ExitStatus::Timeout, node: Address([9; 32]) };
    let pending = ReplicaPhase::Pending { since_height: 1, reason: PendingReason::NodeChanged };
    let got = [
        digest(&account),
        digest(&SupplyRecord {
            genesis: Amount(1),
            burned: Amount(2),
            escrowed: Amount(3),
            bonded: Amount(4),
        }),
        digest(&node()),
        digest(&cluster()),
        digest(&deployment()),
        digest(&replica(ReplicaPhase::Held(held()))),
        digest(&replica(ended)),
        digest(&replica(pending)),
        digest(&replica(ReplicaPhase::Failed { reason: ShortText::new("x") })),
        digest(&verified()),
        digest(&head),
        digest(&tx),
        digest(&ProductionRecord { taken: 1, missed: 2, last_height: 3 }),
    ];
    assert_eq!(got, FROZEN);
}

#[test]
fn digests_of_subjects_are_frozen_and_leave_out_what_has_no_receipt() {
    let a = Address([1; 32]);
    let account = AccountRecord { credited: Amount(3), debited: Amount(2), sent_count: 1 };
    let digests = [
        account.digest(&a).short(),
        node().digest(&a).short(),
        cluster().digest().short(),
        deployment().digest().short(),
        replica(ReplicaPhase::Held(held())).digest().short(),
        verified().digest().short(),
    ];
    assert_eq!(digests, FROZEN_DIGESTS);

    assert_eq!(AccountRecord { credited: Amount(99), ..account.clone() }.digest(&a), account.digest(&a));
    let heard = NodeRecord { boot_id: 1, heard_ms: 0, heard_alive_ms: 0, replicas: 0, ..node() };
    assert_eq!(heard.digest(&a), node().digest(&a));
    assert_ne!(NodeRecord { status: NodeStatus::Ready, ..node() }.digest(&a), node().digest(&a));
    let counted = DeploymentRecord { live: 0, succeeded: 0, failed: 0, avoided: vec![], ..deployment() };
    assert_eq!(counted.digest(), deployment().digest());
    assert_ne!(DeploymentRecord { escrow: Amount(0), ..deployment() }.digest(), deployment().digest());
    let waits = replica(ReplicaPhase::Pending { since_height: 1, reason: PendingReason::New });
    assert_eq!(waits.digest(), Digest::default(), "no assignment, no record");
    let mut told = verified();
    told.verification.as_mut().unwrap().executions[0].receipt = ReceiptId::default();
    assert_eq!(told.digest(), verified().digest(), "a receipt's id cannot be in what it covers");
    told.verification.as_mut().unwrap().executions[0].bond = Amount(0);
    assert_ne!(told.digest(), verified().digest());
    told.verification.as_mut().unwrap().stage = Stage::Closed;
    assert_eq!(told.digest(), Digest::default(), "what is closed has no record");
    let bonded = DeploymentRecord { bonds: Amount(0), open: 0, ..deployment() };
    assert_eq!(bonded.digest(), deployment().digest(), "the replicas' digests cover these");
}

const FROZEN: [&str; 13] = [
    "0x2ae387c0",
    "0xb4e7e9e0",
    "0x23edf480",
    "0x702731a1",
    "0xa9a51199",
    "0xfd8b34a6",
    "0xaa0099a2",
    "0xaa9e9d5f",
    "0x1613808d",
    "0xd8d396a4",
    "0x04546781",
    "0x209626bc",
    "0xe2e2033a",
];
const FROZEN_DIGESTS: [&str; 6] =
    ["0xc0129092", "0x3cbc15be", "0x3a1ccef1", "0x06086f80", "0x6dcdb4e0", "0x7af58ab1"];
