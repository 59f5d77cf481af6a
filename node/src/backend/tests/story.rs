//! A chain of one validator in memory, and the transactions of a small town.

use crate::ledger_reader::LedgerReader;
use metanode_genesis::{Genesis, GenesisSpec, GenesisValidator};
use metanode_rpc::backend::IdPrefix;
use metanode_state::records::TxOutcome;
use metanode_state::store::MemStore;
use metanode_state::{BlockContext, Ledger, Signatures, StateRead, View, propose};
use metanode_types::account::AccountSecret;
use metanode_types::block::LastCommit;
use metanode_types::bls::{BlsSecret, BlsSignature};
use metanode_types::cage_report::{CageReport, ExitStatus, inputs_digest};
use metanode_types::certificate::{Bitmap, Certificate};
use metanode_types::ids::{Address, ContentDigest, Digest, Name};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::params::{ChainParams, Usage};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, ReceiptBody};
use metanode_types::tx::*;
use metanode_types::workload::*;
use std::sync::Arc;

pub const START_MS: u64 = 1_700_000_000_000;
pub const FEE_LIMIT: Amount = Amount(10_000_000);
const VALIDATOR: u8 = 200;

pub fn secret(who: u8) -> AccountSecret {
    AccountSecret::from_seed([who; 32])
}
pub fn address(who: u8) -> Address {
    secret(who).address()
}
pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}
pub fn validator_keys() -> (BlsSecret, AccountSecret) {
    (BlsSecret::from_seed(&[77; 32]), secret(VALIDATOR))
}

/// One validator; accounts 1 to 20 are rich.
pub fn genesis(time_ms: u64, params: ChainParams) -> Genesis {
    let (bls, account) = validator_keys();
    let mut spec = GenesisSpec::new(name("town"), time_ms, params);
    spec.add_validator(GenesisValidator::new(name("mayor"), &bls, account.public(), 1)).unwrap();
    (1..=20).for_each(|who| spec.add_account(address(who), Amount(1_000_000_000_000)).unwrap());
    spec.validate().unwrap()
}

/// See the module.
pub struct Story {
    pub reader: LedgerReader,
    pub genesis: Genesis,
    last: Option<Certificate>,
    time_ms: u64,
    nonce: u64,
}

impl Story {
    pub fn new() -> Story {
        let genesis = genesis(START_MS, ChainParams::default());
        let state = crate::start::genesis_state(&genesis);
        let ledger = Ledger::open(Arc::new(MemStore::new()), state).unwrap();
        let reader = LedgerReader::new(Arc::new(ledger));
        Story { reader, genesis, last: None, time_ms: START_MS, nonce: 0 }
    }
    pub fn view(&self) -> View<'_> {
        self.reader.view().unwrap()
    }
    pub fn height(&self) -> u64 {
        self.view().head().height
    }
    pub fn tx(&mut self, who: u8, body: TxBody) -> SignedTx {
        self.nonce += 1;
        let until = self.time_ms + 120_000;
        SignedTx::sign(&secret(who), self.genesis.chain_id(), self.nonce, until, FEE_LIMIT, body)
    }
    /// A final block of these transactions, a second after the one before.
    pub fn block(&mut self, txs: Vec<SignedTx>) -> Vec<TxOutcome> {
        let all = txs.len();
        let view = self.view();
        let head = view.head().clone();
        let last = self.last.as_ref().map(|c| LastCommit { signers: c.signers.clone(), round: c.round });
        let context = BlockContext {
            height: head.height + 1,
            time_ms: self.time_ms + 1000,
            proposer: address(VALIDATOR),
            parent: head.block,
            last_commit: last.unwrap_or_default(),
        };
        let proposal = propose(&view, &context, txs, Signatures::Verify).unwrap();
        assert_eq!(proposal.txs.len(), all, "{:?}", proposal.rejected);
        let outcomes = proposal.executed.outcomes.iter().map(|(_, r)| r.outcome.clone()).collect();
        let block = proposal.executed.block(&view, proposal.txs, self.last.clone());
        let certificate = certify(&self.genesis, block.header.height, block.id());
        drop(view);
        self.reader.ledger().commit(proposal.executed, &block, &certificate, &[]).unwrap();
        (self.last, self.time_ms) = (Some(certificate), context.time_ms);
        outcomes
    }
    pub fn send(&mut self, who: u8, body: TxBody) -> TxOutcome {
        let tx = self.tx(who, body);
        self.block(vec![tx]).remove(0)
    }
    pub fn ok(&mut self, who: u8, body: TxBody) {
        let outcome = self.send(who, body);
        assert!(matches!(outcome, TxOutcome::Done { .. }), "{outcome:?}");
    }
    /// The node that holds a replica, and a report of it.
    pub fn report(&mut self, deployment: &str, index: u32, event: ReplicaEvent) {
        let replica = ReplicaId { deployment: name(deployment), index };
        let held = self.view().replica(&replica).unwrap().unwrap().assignment().unwrap().clone();
        let who = (1..=20).find(|who| address(*who) == held.node).unwrap();
        self.ok(who, TxBody::Report(Report { replica, epoch: held.epoch, event }));
    }
    /// The end of a job's replica, with the inputs that its assignment demands.
    pub fn exited(&self, deployment: &str, index: u32, exit: ExitStatus) -> ReplicaEvent {
        let view = self.view();
        let replica = ReplicaId { deployment: name(deployment), index };
        let held = view.replica(&replica).unwrap().unwrap().assignment().unwrap().clone();
        let receipt = view.receipt(&held.receipt).unwrap().unwrap().receipt;
        let ReceiptBody::Action(Action::Assigned { workload, image, seed, clock_ms, .. }) = receipt.body
        else {
            panic!("not an assignment: {receipt:?}");
        };
        let report = CageReport {
            level: CageLevel::Contained,
            image,
            inputs: inputs_digest(&workload, &seed, clock_ms),
            exit,
            stdout: ContentDigest([1; 32]),
            stderr: ContentDigest([2; 32]),
            output: None,
            witness: None,
            usage: Usage { cpu_ms: 500, memory_mib_s: 100 },
            fuel: None,
            trace: None,
            machine: Default::default(),
        };
        ReplicaEvent::Exited { report, restarts: 0 }
    }
    /// Two nodes, a transfer, a failed one, a service that runs, and a job that ended: receipts of every
    /// tier.
    pub fn busy() -> Story {
        let mut story = Story::new();
        story.ok(11, register(11));
        story.ok(12, register(12));
        story.ok(1, TxBody::Transfer { to: address(2), amount: Amount(5) });
        let failed = story.send(1, TxBody::Stop { deployment: name("nowhere") });
        assert!(matches!(failed, TxOutcome::Failed { .. }));
        story.ok(1, TxBody::Deploy(service("web", 2)));
        story.report("web", 0, ReplicaEvent::Started);
        story.report("web", 0, ReplicaEvent::Health { healthy: true });
        story.ok(2, TxBody::Deploy(job("sum", 1)));
        story.report("sum", 0, ReplicaEvent::Started);
        let end = story.exited("sum", 0, ExitStatus::Code(0));
        story.report("sum", 0, end);
        story
    }
}

fn certify(genesis: &Genesis, height: u64, block: metanode_types::ids::BlockId) -> Certificate {
    let mut signers = Bitmap::new();
    signers.set(0);
    let mut certificate = Certificate { height, round: 0, block, signers, signature: BlsSignature([0; 96]) };
    let signature = validator_keys().0.sign(&certificate.vote().signed_bytes(&genesis.chain_id()));
    certificate.signature = BlsSignature::aggregate(&[signature]).unwrap();
    certificate
}

/// A prefix of an id as text.
pub fn prefix(text: &str) -> IdPrefix {
    let textual = if text.starts_with("rx_") { "rx_" } else { "0x" };
    IdPrefix::parse(textual, text).unwrap()
}

pub fn node_spec(who: u8) -> NodeSpec {
    NodeSpec {
        name: name(&format!("node-{who}")),
        peer_id: PeerIdBytes(vec![who; 32]),
        capacity: Resources { cpu_milli: 4000, memory_bytes: 4 << 30, disk_bytes: 10 << 30, pids: 1000 },
        cage_level: CageLevel::Contained,
        wasm_level: CageLevel::Pinned,
        runs_oci: true,
        machine: Default::default(),
        boot_id: 1,
    }
}
pub fn register(who: u8) -> TxBody {
    TxBody::RegisterNode(node_spec(who))
}
pub fn service(n: &str, replicas: u32) -> DeploySpec {
    deploy(n, replicas, WorkloadKind::Service { health: Some(HealthCheck { port: 80, path: None }) })
}
pub fn job(n: &str, replicas: u32) -> DeploySpec {
    deploy(n, replicas, WorkloadKind::Job { timeout_ms: 60_000 })
}
fn deploy(n: &str, replicas: u32, kind: WorkloadKind) -> DeploySpec {
    let workload = Workload {
        image: ImageRef { kind: ImageKind::Oci, digest: ContentDigest([3; 32]), descriptor: Digest([4; 32]) },
        args: vec![],
        env: vec![],
        resources: Resources { cpu_milli: 1000, memory_bytes: 1 << 30, disk_bytes: 1 << 20, pids: 10 },
        kind,
        cage_level: CageLevel::Contained,
        security: SecurityLevel::Standard,
        verify: 0,
    };
    DeploySpec { name: name(n), cluster: name("default"), replicas, workload, deposit: Amount(50_000_000) }
}
