//! Laws under random histories: money is conserved, receipts compose, nothing that runs is moved, execution is the
//! same on every store, and cutting a history into other blocks pays the same.

use super::chain::*;
use crate::records::*;
use crate::store::{MemStore, RocksStore, Store};
use crate::*;
use metanode_types::cage_report::ExitStatus;
use metanode_types::ids::{Address, Digest, ReceiptId};
use metanode_types::merkle;
use metanode_types::params::{ChainParams, Usage};
use metanode_types::quantity::Amount;
use metanode_types::receipt::*;
use metanode_types::tx::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;
use std::sync::Arc;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    Pay(u8, u8, u128),
    Register(u8, u32),
    Heartbeat(u8),
    Deploy {
        who: u8,
        name: usize,
        replicas: u32,
        job: bool,
        cpu: u32,
        deposit: u128,
        verify: u32,
    },
    /// The next step of a node that was asked to run a replica which is compared; `lie` changes its report.
    Compare {
        name: usize,
        index: u32,
        who: usize,
        lie: u8,
    },
    /// Every node that was asked commits, then every one reveals.
    Round(usize, u32, u8),
    Challenge(u8, usize, u32, u128),
    /// Time for whoever is late.
    Late(u8),
    Scale {
        who: u8,
        name: usize,
        replicas: u32,
        deposit: u128,
    },
    Stop(u8, usize),
    /// A report on a replica: by its holder, or by a stranger or under a wrong epoch.
    Report {
        name: usize,
        index: u32,
        event: u8,
        cpu: u64,
        lie: u8,
    },
}

fn ops() -> impl Strategy<Value = Vec<(u64, Vec<Op>)>> {
    let money = prop_oneof![Just(0u128), 1..1_000_000u128, Just(RICH), Just(50_000_000u128)];
    let op = prop_oneof![
        2 => (1..5u8, 1..5u8, money.clone()).prop_map(|(a, b, m)| Op::Pay(a, b, m)),
        2 => (11..17u8, 500..5000u32).prop_map(|(n, cpu)| Op::Register(n, cpu)),
        3 => (11..17u8).prop_map(Op::Heartbeat),
        3 => (1..3u8, 0..3usize, 0..5u32, any::<bool>(), 100..2000u32, money.clone()).prop_map(
            |(who, name, replicas, job, cpu, deposit)| Op::Deploy {
                who, name, replicas, job, cpu, deposit, verify: 0
            }
        ),
        4 => (1..3u8, 0..3usize, 1..3u32, 100..900u32, 0..3u32).prop_map(|(who, name, replicas, cpu, k)| {
            let verify = if k == 0 { 0 } else { 2 * k + 1 };
            Op::Deploy { who, name, replicas, job: true, cpu, deposit: 60_000_000, verify: verify | PINNED }
        }),
        14 => (0..3usize, 0..2u32, 0..8usize, 0..6u8)
            .prop_map(|(name, index, who, lie)| Op::Compare { name, index, who, lie }),
        2 => (1..5u8, 0..3usize, 0..2u32, prop_oneof![Just(0u128), Just(40_000_000)])
            .prop_map(|(who, name, index, bond)| Op::Challenge(who, name, index, bond)),
        1 => (1..6u8).prop_map(Op::Late),
        14 => (0..3usize, 0..2u32, 0..8u8).prop_map(|(name, index, lie)| Op::Round(name, index, lie)),
        1 => (1..3u8, 0..3usize, 0..6u32, money)
            .prop_map(|(who, name, replicas, deposit)| Op::Scale { who, name, replicas, deposit }),
        1 => (1..3u8, 0..3usize).prop_map(|(who, name)| Op::Stop(who, name)),
        8 => (0..3usize, 0..5u32, 0..6u8, any::<u64>(), 0..8u8)
            .prop_map(|(name, index, event, cpu, lie)| Op::Report { name, index, event, cpu, lie }),
    ];
    prop::collection::vec((1..12_000u64, prop::collection::vec(op, 0..6)), 1..30)
}

fn report(chain: &Chain, name: &str, index: u32, event: u8, cpu: u64, lie: u8) -> Option<(u8, TxBody)> {
    let replica = chain.view().replica(&id(name, index)).unwrap()?;
    let held = replica.assignment()?.clone();
    let who = if lie == 0 { 1 } else { chain.holder(name, index) };
    let usage = Usage { cpu_ms: cpu, memory_mib_s: cpu / 3 };
    let exit = |e| ReplicaEvent::Exited { report: chain.cage_report(name, index, e, usage), restarts: 1 };
    let event = match event {
        0 | 1 => ReplicaEvent::Started,
        2 => ReplicaEvent::Metered { usage },
        3 => exit(ExitStatus::Code((cpu % 2) as i32)),
        4 => exit(ExitStatus::CageFailed(ShortText::new("x"))),
        _ => ReplicaEvent::Refused { reason: ShortText::new("y") },
    };
    let epoch = held.epoch - u64::from(lie == 1);
    Some((who, TxBody::Report(Report { replica: id(name, index), epoch, event })))
}

/// Marks a deployment that demands level pinned.
const PINNED: u32 = 1 << 16;

/// What the ledger waits for from the `who`th node asked; now and then one that lies or has no verdict.
fn compare(chain: &Chain, n: &str, index: u32, who: usize, lie: u8) -> Option<(u8, TxBody)> {
    let v = chain.view().replica(&id(n, index)).unwrap()?.verification?;
    let challenge = v.challenge.iter().map(|c| &c.execution);
    let all: Vec<&Execution> = v.executions.iter().chain(challenge).collect();
    let node = account_of(&all.get(who % all.len().max(1))?.node);
    let mut report = chain.pinned_report(n, index, ExitStatus::Code(0), Usage { cpu_ms: 9, memory_mib_s: 3 });
    // A node's lie is its own for good, so that it commits to what it reveals.
    match node % 4 {
        0 => report.stdout.0[0] ^= lie % 2,
        1 => report.stderr.0[0] = node,
        2 if index == 1 => report.exit = ExitStatus::Timeout,
        _ => {}
    }
    let opens = matches!(v.execution_of(&address(node))?.step, Step::Committed { .. });
    let body =
        if opens { chain.reveal(node, n, index, &report) } else { chain.commit(node, n, index, &report) };
    Some((node, body))
}

fn tx(chain: &mut Chain, op: &Op) -> Option<SignedTx> {
    let (who, body) = match op {
        Op::Pay(a, b, m) => (*a, TxBody::Transfer { to: address(*b), amount: Amount(*m) }),
        Op::Register(n, cpu) => {
            let mut spec = node_spec(*n);
            spec.capacity.cpu_milli = *cpu;
            (*n, TxBody::RegisterNode(spec))
        }
        Op::Heartbeat(n) => (*n, TxBody::Heartbeat { boot_id: 1, free: Default::default() }),
        Op::Compare { name, index, who, lie } => compare(chain, NAMES[*name], *index, *who, *lie)?,
        Op::Challenge(who, name, index, bond) => {
            (*who, TxBody::Challenge { replica: id(NAMES[*name], *index), bond: Amount(*bond) })
        }
        // These take blocks of their own.
        Op::Late(_) | Op::Round(..) => return None,
        Op::Deploy { who, name, replicas, job: is_job, cpu, deposit, verify } => {
            let make = if *is_job { job } else { service };
            let mut spec = make(NAMES[*name], *replicas);
            if verify & PINNED != 0 {
                spec = verified(NAMES[*name], *replicas, verify & !PINNED);
            }
            spec.workload.resources.cpu_milli = *cpu;
            spec.deposit = Amount(*deposit);
            (*who, TxBody::Deploy(spec))
        }
        Op::Scale { who, name: n, replicas, deposit } => (
            *who,
            TxBody::Scale { deployment: name(NAMES[*n]), replicas: *replicas, deposit: Amount(*deposit) },
        ),
        Op::Stop(who, n) => (*who, TxBody::Stop { deployment: name(NAMES[*n]) }),
        Op::Report { name, index, event, cpu, lie } => {
            report(chain, NAMES[*name], *index, *event, *cpu, *lie)?
        }
    };
    Some(chain.tx(who, body))
}

type Holds = BTreeMap<String, (Address, u64)>;

fn holds(chain: &Chain) -> Holds {
    let view = chain.view();
    let replicas = NAMES.iter().flat_map(|n| view.replicas(&name(n)).unwrap());
    replicas.filter_map(|r| r.assignment().map(|a| (r.id.to_string(), (a.node, a.epoch)))).collect()
}

/// What left its node has a receipt that says so; everything else stays where it was.
fn nothing_moves_without_a_receipt(before: &Holds, after: &Holds, receipts: &[Receipt]) {
    let left = |id: &str| {
        receipts.iter().any(|r| match (&r.subject, &r.body) {
            (Subject::Replica(s), ReceiptBody::Action(a)) => {
                s.to_string() == id && matches!(a.name(), "exited" | "refused" | "unassigned")
            }
            _ => false,
        })
    };
    for (id, hold) in before {
        assert!(after.get(id) == Some(hold) || left(id), "{id} left {hold:?} without a receipt");
    }
}

/// Every subject's receipts count from 0, name their predecessor and start where it ended.
fn receipts_compose(chain: &Chain) {
    let view = chain.view();
    let all = view.receipts_from(1, usize::MAX).unwrap().items;
    let mut heads: BTreeMap<Subject, (u64, ReceiptId, Digest)> = BTreeMap::new();
    let mut leaves = vec![genesis_leaf(&view.chain_id())];
    let mut order = (0, 0);
    for logged in all {
        let r = logged.receipt;
        let (count, previous, stood_at) = match heads.get(&r.subject) {
            Some((seq, id, digest)) => (seq + 1, Some(*id), *digest),
            None => (0, None, Digest::default()),
        };
        assert_eq!((r.seq, r.previous, r.before), (count, previous, stood_at), "{}", r.subject);
        let at = (r.height, r.tx_index.unwrap_or(u32::MAX));
        assert!(at >= order, "the log is in the order of execution");
        order = at;
        if let ReceiptBody::Economic(e) = &r.body {
            assert!(e.is_balanced());
        }
        leaves.push(r.leaf());
        heads.insert(r.subject.clone(), (r.seq, r.id(), r.after));
    }
    assert_eq!(view.head().log.root(), merkle::root(&leaves));
    for (subject, (seq, last, digest)) in heads {
        assert_eq!(view.subject_head(&subject).unwrap(), Some(SubjectHead { count: seq + 1, last, digest }));
        assert_eq!(
            tx::subject_digest(&view, &subject).unwrap(),
            digest,
            "{subject}'s record is what its receipts say"
        );
    }
}

/// Two blocks in which every node that was asked to run a replica does what the ledger waits for.
fn round(chain: &mut Chain, n: &str, index: u32, lie: u8) {
    for _ in 0..2 {
        let runs = chain.view().replica(&id(n, index)).unwrap().and_then(|r| r.verification);
        let runs = runs.map_or(0, |v| v.executions.len() + usize::from(v.challenge.is_some()));
        let said: Vec<_> = (0..runs).filter_map(|who| compare(chain, n, index, who, lie)).collect();
        let txs = said.into_iter().map(|(node, body)| chain.tx(node, body)).collect();
        chain.block_of_valid(1000, txs);
    }
}

/// As [`round`], often with a challenge after it, which is answered or not.
fn rounds(chain: &mut Chain, n: &str, index: u32, lie: u8) {
    round(chain, n, index, lie);
    if lie < 2 {
        return;
    }
    let bond = Amount(40_000_000);
    let tx = chain.tx(4, TxBody::Challenge { replica: id(n, index), bond });
    chain.block_of_valid(1000, vec![tx]);
    // A node that lies differently now overturns; one that is silent until it is late makes the challenge void.
    if lie < 5 { round(chain, n, index, lie + 1) } else { idle(chain, 30) }
}

fn idle(chain: &mut Chain, blocks: u64) {
    for _ in 0..blocks {
        let beats = chain.heartbeats(11..17);
        chain.block_of_valid(5_000, beats);
    }
}

/// The usual rules with a shorter time for challenges.
fn rules() -> ChainParams {
    let mut params = ChainParams::default();
    params.verify.challenge_window = 20;
    params
}

fn six_nodes() -> Chain {
    let mut chain = Chain::on(Arc::new(MemStore::new()), rules());
    for i in 11..17 {
        chain.ok(i, register(i));
    }
    chain
}

/// Plays a history; the actions that its blocks put on record.
fn play(chain: &mut Chain, history: &[(u64, Vec<Op>)]) -> BTreeMap<&'static str, u32> {
    for (after_ms, ops) in history {
        for op in ops {
            match op {
                Op::Late(n) => idle(chain, u64::from(*n) * 12),
                Op::Round(n, index, lie) => rounds(chain, NAMES[*n], *index, *lie),
                _ => {}
            }
        }
        let txs: Vec<SignedTx> = ops.iter().filter_map(|op| tx(chain, op)).collect();
        let before = holds(chain);
        let done = chain.block_of_valid(*after_ms, txs);
        nothing_moves_without_a_receipt(&before, &holds(chain), &done.receipts);
    }
    receipts_compose(chain);
    let mut seen = BTreeMap::new();
    for logged in chain.view().receipts_from(1, usize::MAX).unwrap().items {
        if let ReceiptBody::Action(a) = &logged.receipt.body {
            *seen.entry(a.name()).or_insert(0) += 1;
        }
    }
    seen
}

/// The laws above would hold of nothing, too: the histories reach every step of a verified job.
#[test]
fn random_histories_reach_every_step_slow() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..96 {
        let history = ops().new_tree(&mut runner).unwrap().current();
        for (name, count) in play(&mut six_nodes(), &history) {
            *seen.entry(name).or_insert(0) += count;
        }
    }
    let steps = ["committed", "revealed", "settled", "unsettled", "challenged", "closed"];
    for name in steps.iter().chain(&["challenge-decided", "challenge-void"]) {
        assert!(seen.contains_key(name), "{name} is never reached: {seen:?}");
    }
}

/// Executes every block of `chain` again on `store`.
fn replay(chain: &Chain, store: Arc<dyn Store>) -> Head {
    let ledger = Ledger::open(store, genesis(rules())).unwrap();
    let view = chain.view();
    for height in 1..=view.head().height {
        let block = view.block(height).unwrap().unwrap();
        let executed = validate_block(&ledger.view().unwrap(), &block, Signatures::Verify).unwrap();
        ledger.commit(executed, &block, &view.certificate(height).unwrap().unwrap(), &[]).unwrap();
    }
    ledger.view().unwrap().head().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_law_holds_over_random_histories_slow(history in ops()) {
        let mut chain = six_nodes();
        play(&mut chain, &history);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_replays_to_the_same_head_on_disk_and_in_memory(history in ops()) {
        let mut chain = six_nodes();
        play(&mut chain, &history);
        let head = chain.view().head().clone();
        prop_assert_eq!(&replay(&chain, Arc::new(MemStore::new())), &head);
        let dir = tempfile::tempdir().unwrap();
        prop_assert_eq!(&replay(&chain, Arc::new(RocksStore::open(dir.path()).unwrap())), &head);
    }

    #[test]
    fn transfers_pay_the_same_in_one_block_or_in_many(
        transfers in prop::collection::vec((1..5u8, 1..5u8, 1..5000u128), 1..12),
        cut in 1..6usize,
    ) {
        let (mut one, mut many) = (Chain::new(), Chain::new());
        let txs: Vec<SignedTx> = transfers
            .iter()
            .map(|(a, b, m)| one.tx(*a, TxBody::Transfer { to: address(*b), amount: Amount(*m) }))
            .collect();
        one.block(txs.clone());
        txs.chunks(cut).for_each(|part| { many.block(part.to_vec()); });
        let accounts = |c: &Chain| c.view().head().module_roots.0[0];
        prop_assert_eq!(accounts(&one), accounts(&many), "the same accounts, to the byte");
        let subjects = |c: &Chain| (1..5).map(|i| c.view().account(&address(i)).unwrap()).collect::<Vec<_>>();
        prop_assert_eq!(subjects(&one), subjects(&many));
    }
}
