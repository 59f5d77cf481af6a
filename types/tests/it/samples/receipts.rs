//! Receipts with every body and every subject.

use super::txs::{replica, report, resources, usage};
use super::{RECEIPT_CAP, Sample, both, h, profile};
use metanode_types::cage_report::ExitStatus;
use metanode_types::ids::{Address, ContentDigest, Digest, ReceiptId, TxId};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{
    Action, Agreement, Economic, EconomicKind, Holder, Light, Pipeline, Posting, Receipt, ReceiptBody,
    RuleOutcome, Said, Subject, UnassignReason, Vote, Votes,
};
use metanode_types::tx::ShortText;

fn actions() -> Vec<Action> {
    let (node, epoch) = (Address(h(71)), 72);
    let (assignment, image, workload) = (ReceiptId(h(73)), ContentDigest(h(74)), Digest(h(75)));
    let short = ShortText::new;
    let left = |reason| Action::Unassigned { node, epoch, reason };
    vec![
        Action::NodeRegistered { name: "node-1".parse().unwrap(), boot_id: 76, capacity: resources() },
        Action::NodeLost,
        Action::NodeReturned { boot_id: 77 },
        Action::ClusterCreated,
        Action::Deployed { workload, image, replicas: 3, generation: 2 },
        Action::Scaled { from: 1, to: 2 },
        Action::StopOrdered { reason: UnassignReason::EscrowUsedUp },
        Action::Finished { succeeded: 4, failed: 5 },
        Action::Assigned { node, epoch, workload, image, seed: Digest(h(78)), clock_ms: 79 },
        left(UnassignReason::NodeLost),
        left(UnassignReason::ScaledDown),
        left(UnassignReason::Stopped),
        left(UnassignReason::EscrowUsedUp),
        left(UnassignReason::Refused),
        left(UnassignReason::NodeChanged),
        Action::Started { node, epoch, assignment, image },
        Action::Health { node, epoch, assignment, healthy: false },
        Action::Exited { node, epoch, assignment, report: report(ExitStatus::Code(0)), restarts: 6 },
        Action::Refused { node, epoch, assignment, reason: short("image unknown") },
        Action::Failed { kind: short("deploy"), code: 7, reason: short("no money") },
    ]
}

fn votes() -> Votes {
    let said = [
        Said::Outcome(Digest(h(111))),
        Said::NoVerdict(ShortText::new("timeout")),
        Said::NoCommit,
        Said::NoReveal,
    ];
    let vote = |(i, said)| Vote { node: Address(h(112 + i as u8)), name: "node-1".parse().unwrap(), said };
    Votes(said.into_iter().enumerate().map(vote).collect())
}

/// Actions of verified jobs.
fn verified() -> Vec<Action> {
    let (node, epoch, challenger) = (Address(h(121)), 122, Address(h(123)));
    let (assignment, commitment, salt) = (ReceiptId(h(124)), Digest(h(125)), Digest(h(126)));
    let (outcome, challenged) = (Digest(h(127)), Digest(h(128)));
    let report = || report(ExitStatus::Code(0));
    vec![
        Action::Committed { node, epoch, assignment, commitment },
        Action::Revealed { node, epoch, assignment, commitment, report: report(), salt },
        Action::Settled { epoch, asked: 5, assignment, outcome, report: report(), votes: votes() },
        Action::Unsettled { epoch, asked: 5, votes: votes() },
        Action::Challenged { node, epoch, challenger, outcome },
        Action::ChallengeDecided {
            node,
            epoch,
            assignment,
            challenger,
            challenged,
            report: report(),
            upheld: false,
        },
        Action::ChallengeVoid { node, epoch, challenger, said: Said::NoReveal },
        Action::Closed { epoch, outcome: Some(outcome) },
    ]
}

fn agreement() -> Agreement {
    Agreement {
        cluster: "default".parse().unwrap(),
        profile: profile(SecurityLevel::High, CageLevel::Pinned, 5),
        limits: resources(),
        replicas: 3,
        workload: Digest(h(81)),
        payer: Address(h(82)),
        deposit: Amount(83),
    }
}

fn pipeline() -> Pipeline {
    let rule =
        |rule: &str, light| RuleOutcome { rule: ShortText::new(rule), light, reason: ShortText::new("") };
    let rules =
        vec![rule("limits", Light::Green), rule("approvals", Light::Yellow), rule("funds", Light::Red)];
    Pipeline { light: Light::Red, rules, workload: Digest(h(84)) }
}

fn economics() -> Vec<(&'static str, EconomicKind)> {
    let deployment = || "web".parse().unwrap();
    let (amount, fee) = (Amount(90), Amount(91));
    let charged = EconomicKind::Charged {
        replica: replica(),
        node: Address(h(92)),
        usage: usage(),
        price: Amount(93),
        charged: Amount(94),
        burned: Amount(95),
    };
    vec![
        ("transfer", EconomicKind::Transfer { to: Address(h(96)), amount, fee }),
        ("fee", EconomicKind::Fee { fee }),
        ("escrowed", EconomicKind::Escrowed { deployment: deployment(), amount, fee }),
        ("charged", charged),
        ("refunded", EconomicKind::Refunded { deployment: deployment(), amount }),
        ("bonded", EconomicKind::Bonded { replica: replica(), amount, fee }),
        ("bond-returned", EconomicKind::BondReturned { replica: replica(), to: Address(h(98)), amount }),
        (
            "bond-paid",
            EconomicKind::BondPaid { replica: replica(), from: Address(h(99)), to: Address(h(98)), amount },
        ),
        ("bond-burned", EconomicKind::BondBurned { replica: replica(), from: Address(h(99)), amount }),
    ]
}

fn economic(kind: EconomicKind) -> Economic {
    let posting = |holder, delta| Posting { holder, delta };
    let mut postings = vec![
        posting(Holder::Account(Address(h(97))), -(1i128 << 90)),
        posting(Holder::Escrow("web".parse().unwrap()), (1 << 90) - 5),
        posting(Holder::Burned, 5),
    ];
    if let Some(replica) = kind.bond_of() {
        postings[2] = posting(Holder::Bond(replica.clone()), 5);
    }
    Economic { kind, postings }
}

/// Every receipt with its name.
pub fn receipts() -> Vec<(String, Receipt)> {
    let mut bodies: Vec<(String, ReceiptBody)> = Vec::new();
    for (i, action) in actions().into_iter().enumerate() {
        bodies.push((format!("action {i:02} {}", action.name()), ReceiptBody::Action(action)));
    }
    bodies.push(("agreement".into(), ReceiptBody::Agreement(agreement())));
    bodies.push(("pipeline".into(), ReceiptBody::Pipeline(pipeline())));
    for (name, kind) in economics() {
        bodies.push((format!("economic {name}"), ReceiptBody::Economic(economic(kind))));
    }
    for (i, action) in verified().into_iter().enumerate() {
        bodies.push((format!("verified {i} {}", action.name()), ReceiptBody::Action(action)));
    }
    let subjects = [
        Subject::Account(Address(h(101))),
        Subject::Node(Address(h(102))),
        Subject::Cluster("blue".parse().unwrap()),
        Subject::Deployment("web".parse().unwrap()),
        Subject::Replica(replica()),
    ];
    let receipt = |(i, (name, body)): (usize, (String, ReceiptBody))| {
        let chained = i % 2 == 1;
        let receipt = Receipt {
            subject: subjects[i % subjects.len()].clone(),
            seq: i as u64,
            previous: chained.then_some(ReceiptId(h(103))),
            height: 104,
            tx_index: chained.then_some(105),
            tx: chained.then_some(TxId(h(106))),
            before: Digest(h(107)),
            after: Digest(h(108)),
            body,
        };
        (name, receipt)
    };
    bodies.into_iter().enumerate().map(receipt).collect()
}

pub fn samples() -> Vec<Sample> {
    receipts().iter().map(|(name, r)| both(format!("Receipt {name}"), r, RECEIPT_CAP)).collect()
}
