//! A chain of one validator for tests.

use crate::store::{MemStore, Store};
use crate::*;
use metanode_types::account::AccountSecret;
use metanode_types::block::LastCommit;
use metanode_types::bls::BlsSecret;
use metanode_types::cage_report::{CageReport, ExitStatus, commitment, inputs_digest};
use metanode_types::certificate::{Bitmap, Certificate};
use metanode_types::ids::{Address, ChainId, ContentDigest, Digest, Name};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::params::{ChainParams, Usage};
use metanode_types::quantity::Amount;
use metanode_types::receipt::Receipt;
use metanode_types::tx::*;
use metanode_types::validator::{Validator, ValidatorSet};
use metanode_types::workload::*;
use std::sync::Arc;

pub const START_MS: u64 = 1_700_000_000_000;
pub const RICH: u128 = 1_000_000_000_000;
pub const FEE_LIMIT: Amount = Amount(10_000_000);

pub fn secret(who: u8) -> AccountSecret {
    AccountSecret::from_seed([who; 32])
}
pub fn address(who: u8) -> Address {
    secret(who).address()
}
pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn bls() -> BlsSecret {
    BlsSecret::from_seed(&[77; 32])
}

pub fn genesis(params: ChainParams) -> GenesisState {
    let validator = Validator { bls: bls().public(), account: secret(200).public(), power: 1 };
    GenesisState {
        chain_id: ChainId([5; 32]),
        time_ms: START_MS,
        validators: ValidatorSet::new(vec![validator]).unwrap(),
        accounts: (1..=60).map(|i| (address(i), Amount(RICH))).collect(),
        params,
    }
}

/// See the module.
pub struct Chain {
    pub ledger: Ledger,
    last: Option<Certificate>,
    pub time_ms: u64,
    nonce: u64,
}

/// What a block did.
pub struct Done {
    pub outcomes: Vec<records::TxOutcome>,
    pub receipts: Vec<Receipt>,
}

impl Chain {
    pub fn new() -> Chain {
        Chain::on(Arc::new(MemStore::new()), ChainParams::default())
    }
    pub fn on(store: Arc<dyn Store>, params: ChainParams) -> Chain {
        Chain {
            ledger: Ledger::open(store, genesis(params)).unwrap(),
            last: None,
            time_ms: START_MS,
            nonce: 0,
        }
    }
    pub fn view(&self) -> View<'_> {
        self.ledger.view().unwrap()
    }
    pub fn tx(&mut self, who: u8, body: TxBody) -> SignedTx {
        self.nonce += 1;
        let until = self.time_ms + 120_000;
        SignedTx::sign(&secret(who), ChainId([5; 32]), self.nonce, until, FEE_LIMIT, body)
    }
    pub fn context(&self, after_ms: u64) -> BlockContext {
        let head = self.view().head().clone();
        let last = self.last.as_ref();
        BlockContext {
            height: head.height + 1,
            time_ms: self.time_ms + after_ms,
            proposer: address(200),
            parent: head.block,
            last_commit: last
                .map(|c| LastCommit { signers: c.signers.clone(), round: c.round })
                .unwrap_or_default(),
        }
    }
    /// Makes a block `after_ms` later; every transaction must be valid.
    pub fn block_after(&mut self, after_ms: u64, txs: Vec<SignedTx>) -> Done {
        let all = txs.len();
        let done = self.block_of_valid(after_ms, txs);
        assert_eq!(done.outcomes.len(), all, "every transaction of a test's block is valid");
        done
    }
    /// Makes a block of those transactions that are valid.
    pub fn block_of_valid(&mut self, after_ms: u64, txs: Vec<SignedTx>) -> Done {
        let context = self.context(after_ms);
        let view = self.view();
        let proposal = propose(&view, &context, txs, Signatures::AlreadyVerified).unwrap();
        let block = proposal.executed.block(&view, proposal.txs, self.last.clone());
        let executed = validate_block(&view, &block, Signatures::Verify).unwrap();
        assert_eq!(executed, proposal.executed, "re-execution gives the same");
        drop(view);
        let done = Done {
            outcomes: executed.outcomes.iter().map(|(_, r)| r.outcome.clone()).collect(),
            receipts: executed.receipts.clone(),
        };
        let mut signers = Bitmap::new();
        signers.set(0);
        let mut certificate = Certificate {
            height: context.height,
            round: 0,
            block: block.id(),
            signers,
            signature: bls().sign(b"-"),
        };
        certificate.signature = bls().sign(&certificate.vote().signed_bytes(&ChainId([5; 32])));
        self.ledger.commit(executed, &block, &certificate, &[]).unwrap();
        self.last = Some(certificate);
        self.time_ms = context.time_ms;
        self.ledger.verify().unwrap();
        audit::audit_supply(&self.view()).unwrap();
        audit::audit_replicas(&self.view()).unwrap();
        done
    }
    pub fn block(&mut self, txs: Vec<SignedTx>) -> Done {
        self.block_after(1000, txs)
    }
    /// One transaction in a block of its own.
    pub fn send(&mut self, who: u8, body: TxBody) -> Done {
        let tx = self.tx(who, body);
        self.block(vec![tx])
    }
    /// As `send`, which must succeed.
    pub fn ok(&mut self, who: u8, body: TxBody) -> Done {
        let done = self.send(who, body);
        assert!(matches!(done.outcomes[0], records::TxOutcome::Done { .. }), "{:?}", done.outcomes[0]);
        done
    }
    /// Code with which it fails.
    pub fn code(&mut self, who: u8, body: TxBody) -> u32 {
        match &self.send(who, body).outcomes[0] {
            records::TxOutcome::Failed { code, .. } => *code,
            other => panic!("expected a failure, got {other:?}"),
        }
    }
    /// Why it may not stand in the next block.
    pub fn invalid(&mut self, tx: &SignedTx) -> Invalid {
        let view = self.view();
        let time = self.time_ms + 1000;
        let by_check = match check_tx(&view, time, tx, Signatures::Verify) {
            Err(Rejected::Invalid(why)) => why,
            other => panic!("expected an invalid transaction, got {other:?}"),
        };
        match execute(&view, &self.context(1000), std::slice::from_ref(tx), Signatures::Verify) {
            Err(BlockRejected::Tx { index: 0, why }) => assert_eq!(why, by_check),
            other => panic!("expected a rejected block, got {other:?}"),
        }
        by_check
    }
    pub fn balance(&self, who: u8) -> u128 {
        self.view().account(&address(who)).unwrap().balance().0
    }
    pub fn deployment(&self, n: &str) -> records::DeploymentRecord {
        self.view().deployment(&name(n)).unwrap().unwrap()
    }
    pub fn replica(&self, n: &str, index: u32) -> records::ReplicaRecord {
        self.view().replica(&id(n, index)).unwrap().unwrap()
    }
    pub fn held(&self, n: &str, index: u32) -> records::Assignment {
        self.replica(n, index).assignment().expect("a node holds it").clone()
    }
    /// Which test account is the node that holds it.
    pub fn holder(&self, n: &str, index: u32) -> u8 {
        let node = self.held(n, index).node;
        (1..=60).find(|i| address(*i) == node).unwrap()
    }
    /// A report by the holder under the current epoch.
    pub fn report(&self, n: &str, index: u32, event: ReplicaEvent) -> TxBody {
        let epoch = self.held(n, index).epoch;
        TxBody::Report(Report { replica: id(n, index), epoch, event })
    }
    pub fn cage_report(&self, n: &str, index: u32, exit: ExitStatus, usage: Usage) -> CageReport {
        let d = self.deployment(n);
        CageReport {
            level: CageLevel::Contained,
            image: ContentDigest([3; 32]),
            inputs: inputs_digest(&d.workload, &replica::seed(&d, index), d.created_ms),
            exit,
            stdout: ContentDigest([1; 32]),
            stderr: ContentDigest([2; 32]),
            output: None,
            witness: None,
            usage,
            fuel: None,
            trace: None,
            machine: Default::default(),
        }
    }
    /// As `cage_report`, pinned.
    pub fn pinned_report(&self, n: &str, index: u32, exit: ExitStatus, usage: Usage) -> CageReport {
        CageReport { level: CageLevel::Pinned, ..self.cage_report(n, index, exit, usage) }
    }
    pub fn verification(&self, n: &str, index: u32) -> records::Verification {
        self.replica(n, index).verification.expect("its runs are compared")
    }
    /// Which test accounts are the nodes that were asked, in order of assignment.
    pub fn asked(&self, n: &str, index: u32) -> Vec<u8> {
        self.verification(n, index).executions.iter().map(|e| account_of(&e.node)).collect()
    }
    /// The epoch under which a node runs a replica that is compared.
    fn epoch_of(&self, who: u8, n: &str, index: u32) -> u64 {
        self.verification(n, index).execution_of(&address(who)).expect("it was asked").epoch
    }
    pub fn commit(&self, who: u8, n: &str, index: u32, report: &CageReport) -> TxBody {
        let (replica, epoch) = (id(n, index), self.epoch_of(who, n, index));
        let commitment = commitment(report, &salt(who), &address(who), &replica, epoch);
        TxBody::CommitReport { replica, epoch, commitment }
    }
    pub fn reveal(&self, who: u8, n: &str, index: u32, report: &CageReport) -> TxBody {
        let (replica, epoch) = (id(n, index), self.epoch_of(who, n, index));
        TxBody::RevealReport { replica, epoch, report: report.clone(), salt: salt(who) }
    }
    /// Commits for every node asked, then reveals; what the last block did. `said` gives each one's report.
    pub fn round(&mut self, n: &str, index: u32, said: &[(u8, CageReport)]) -> Done {
        for (who, report) in said {
            let body = self.commit(*who, n, index, report);
            self.ok(*who, body);
        }
        let mut last = None;
        for (who, report) in said {
            let body = self.reveal(*who, n, index, report);
            last = Some(self.ok(*who, body));
        }
        last.expect("at least one node was asked")
    }
    pub fn exited(&self, n: &str, index: u32, exit: ExitStatus, usage: Usage) -> TxBody {
        let report = self.cage_report(n, index, exit, usage);
        self.report(n, index, ReplicaEvent::Exited { report, restarts: 0 })
    }
    /// A chain with ready nodes 11, 12, … of 4 cores and 4 GiB.
    pub fn with_nodes(count: u8) -> Chain {
        let mut chain = Chain::new();
        for i in 11..11 + count {
            chain.ok(i, register(i));
        }
        chain
    }
    pub fn heartbeats(&mut self, nodes: std::ops::Range<u8>) -> Vec<SignedTx> {
        nodes.map(|i| self.tx(i, TxBody::Heartbeat { boot_id: 1, free: Resources::default() })).collect()
    }
}

pub fn account_of(node: &Address) -> u8 {
    (1..=60).find(|i| address(*i) == *node).unwrap()
}
pub fn salt(who: u8) -> Digest {
    Digest([who; 32])
}
/// A WASM job that `verify` nodes must agree on.
pub fn verified(n: &str, replicas: u32, verify: u32) -> DeploySpec {
    let mut spec = job(n, replicas);
    spec.workload.image.kind = ImageKind::Wasm;
    spec.workload.cage_level = CageLevel::Pinned;
    spec.workload.verify = verify;
    spec
}

pub fn id(n: &str, index: u32) -> ReplicaId {
    ReplicaId { deployment: name(n), index }
}

pub fn node_spec(who: u8) -> NodeSpec {
    NodeSpec {
        name: name(&format!("node-{who}")),
        peer_id: PeerIdBytes(vec![who; 38]),
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

pub fn workload(kind: WorkloadKind) -> Workload {
    Workload {
        image: ImageRef { kind: ImageKind::Oci, digest: ContentDigest([3; 32]), descriptor: Digest([4; 32]) },
        args: vec![],
        env: vec![],
        resources: Resources { cpu_milli: 1000, memory_bytes: 1 << 30, disk_bytes: 1 << 20, pids: 10 },
        kind,
        cage_level: CageLevel::Contained,
        security: SecurityLevel::Standard,
        verify: 0,
    }
}
pub fn service(n: &str, replicas: u32) -> DeploySpec {
    let kind = WorkloadKind::Service { health: Some(HealthCheck { port: 80, path: None }) };
    spec(n, replicas, kind)
}
pub fn job(n: &str, replicas: u32) -> DeploySpec {
    spec(n, replicas, WorkloadKind::Job { timeout_ms: 60_000 })
}
fn spec(n: &str, replicas: u32, kind: WorkloadKind) -> DeploySpec {
    let deposit = Amount(50_000_000);
    DeploySpec { name: name(n), cluster: name("default"), replicas, workload: workload(kind), deposit }
}
