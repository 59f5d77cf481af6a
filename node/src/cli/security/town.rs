//! A chain of one validator in memory, with keys of its own that end with it: what a demonstration needs in order to
//! have a receipt, a bundle and a block that were really made.
//!
//! Blocks are proposed, executed, certified and committed by the code that every node runs. Refuses to send anything
//! anywhere.

use crate::keys;
use crate::ledger_reader::LedgerReader;
use metanode_genesis::{Genesis, GenesisSpec, GenesisValidator};
use metanode_rpc::backend::IdPrefix;
use metanode_runtime::driver::{Assignment, machine_class};
use metanode_runtime::image::Image;
use metanode_state::store::MemStore;
use metanode_state::{BlockContext, Ledger, Signatures, propose};
use metanode_types::account::AccountSecret;
use metanode_types::block::LastCommit;
use metanode_types::bls::{BlsSecret, BlsSignature};
use metanode_types::cage_report::CageReport;
use metanode_types::certificate::{Bitmap, Certificate};
use metanode_types::ids::{BlockId, Name};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, ReceiptBody};
use metanode_types::tx::{DeploySpec, NodeSpec, PeerIdBytes, ReplicaEvent, Report, SignedTx, TxBody};
use metanode_types::workload::{Resources, Workload, WorkloadKind};
use std::sync::Arc;

const START_MS: u64 = 1_767_225_600_000;
const RICHES: Amount = Amount(1_000_000_000_000);
const FEE_LIMIT: Amount = Amount(10_000_000);
const DEPOSIT: Amount = Amount(50_000_000);

/// See the module.
pub(super) struct Town {
    pub genesis: Genesis,
    reader: LedgerReader,
    mayor: BlsSecret,
    /// Validator, node and payer in one.
    account: AccountSecret,
    last: Option<Certificate>,
    time_ms: u64,
    nonce: u64,
}

type Told<T> = Result<T, String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn name(text: &str) -> Told<Name> {
    text.parse().map_err(told)
}

impl Town {
    pub(super) fn found() -> Told<Town> {
        let mayor = BlsSecret::from_seed(&*keys::entropy().map_err(told)?);
        let account = AccountSecret::from_seed(*keys::entropy().map_err(told)?);
        let mut spec = GenesisSpec::new(name("tamper-test")?, START_MS, ChainParams::default());
        let validator = GenesisValidator::new(name("only")?, &mayor, account.public(), 1);
        spec.add_validator(validator).map_err(told)?;
        spec.add_account(account.address(), RICHES).map_err(told)?;
        let genesis = spec.validate().map_err(told)?;
        let ledger = Ledger::open(Arc::new(MemStore::new()), crate::start::genesis_state(&genesis));
        let reader = LedgerReader::new(Arc::new(ledger.map_err(told)?));
        Ok(Town { genesis, reader, mayor, account, last: None, time_ms: START_MS, nonce: 0 })
    }

    /// A final block of one transaction.
    fn block(&mut self, body: TxBody) -> Told<()> {
        self.nonce += 1;
        let until = self.time_ms + 120_000;
        let tx = SignedTx::sign(&self.account, self.genesis.chain_id(), self.nonce, until, FEE_LIMIT, body);
        let view = self.reader.view().map_err(told)?;
        let head = view.head().clone();
        let last = self.last.as_ref().map(|c| LastCommit { signers: c.signers.clone(), round: c.round });
        let context = BlockContext {
            height: head.height + 1,
            time_ms: self.time_ms + 1000,
            proposer: self.account.address(),
            parent: head.block,
            last_commit: last.unwrap_or_default(),
        };
        let proposal = propose(&view, &context, vec![tx], Signatures::Verify).map_err(told)?;
        if proposal.txs.is_empty() {
            return Err(format!("the transaction was not taken: {:?}", proposal.rejected));
        }
        let block = proposal.executed.block(&view, proposal.txs, self.last.clone());
        let certificate = self.certify(block.header.height, block.id())?;
        drop(view);
        self.reader.ledger().commit(proposal.executed, &block, &certificate, &[]).map_err(told)?;
        (self.last, self.time_ms) = (Some(certificate), context.time_ms);
        Ok(())
    }

    fn certify(&self, height: u64, block: BlockId) -> Told<Certificate> {
        let mut signers = Bitmap::new();
        signers.set(0);
        let mut certificate =
            Certificate { height, round: 0, block, signers, signature: BlsSignature([0; 96]) };
        let signature = self.mayor.sign(&certificate.vote().signed_bytes(&self.genesis.chain_id()));
        certificate.signature = BlsSignature::aggregate(&[signature]).map_err(told)?;
        Ok(certificate)
    }

    /// Registers the node, deploys a job of this image at `pinned`, and gives what the node must run.
    pub(super) fn deploy(&mut self, image: &Image) -> Told<Assignment> {
        let resources = Resources { cpu_milli: 1000, memory_bytes: 64 << 20, disk_bytes: 1 << 20, pids: 16 };
        self.block(TxBody::RegisterNode(NodeSpec {
            name: name("node")?,
            peer_id: PeerIdBytes(vec![1; 32]),
            capacity: Resources { disk_bytes: 1 << 30, ..resources },
            cage_level: CageLevel::Pinned,
            wasm_level: CageLevel::Pinned,
            runs_oci: true,
            machine: machine_class(&metanode_cage::cpu_class(), &metanode_cage::kernel()),
            boot_id: 1,
        }))?;
        let workload = Workload {
            image: image.descriptor.image_ref(),
            args: vec![],
            env: vec![],
            resources,
            kind: WorkloadKind::Job { timeout_ms: 60_000 },
            cage_level: CageLevel::Pinned,
            security: SecurityLevel::Standard,
            verify: 0,
        };
        let (job, cluster) = (name("job")?, name("default")?);
        self.block(TxBody::Deploy(DeploySpec {
            name: job,
            cluster,
            replicas: 1,
            workload,
            deposit: DEPOSIT,
        }))?;
        let mut held = self.reader.assignments_of(&self.account.address())?;
        held.pop().ok_or_else(|| "the job was not placed".to_owned())
    }

    /// Reports the end of the run and gives the full bundle of its receipt.
    pub(super) fn prove(&mut self, assignment: &Assignment, report: CageReport) -> Told<Vec<u8>> {
        let of = |event| Report { replica: assignment.replica.clone(), epoch: assignment.epoch, event };
        self.block(TxBody::Report(of(ReplicaEvent::Started)))?;
        self.block(TxBody::Report(of(ReplicaEvent::Exited { report, restarts: 0 })))?;
        let view = self.reader.view().map_err(told)?;
        let all = view.receipts_from(0, 1000).map_err(told)?.items;
        let ended = |body: &ReceiptBody| matches!(body, ReceiptBody::Action(Action::Exited { .. }));
        let receipt = all.into_iter().find(|logged| ended(&logged.receipt.body));
        let id = receipt.ok_or("the end of the run has no receipt")?.receipt.id();
        let prefix = IdPrefix::parse("rx_", &id.to_string()).map_err(|e| e.reason)?;
        let exported = crate::backend::bundle::export(&view, &self.genesis.trust_root(), &prefix, true);
        exported.map(|(_, bytes)| bytes).map_err(|e| e.reason)
    }
}
