//! Executing a block: a pure function from the parent's state and a list of transactions to everything that follows.
//!
//! Owns the order: per transaction validity, nonce, effect or failure; then, once, what the state machine does by
//! itself (lost nodes, passed deadlines, expired records, placement); then conservation, roots and log.
//! Refuses to write anything: [`crate::Ledger::commit`] does, with what is returned here.

use crate::draft::{Changes, Draft};
use crate::error::{Error, Result};
use crate::failure::{Abort, Failure};
use crate::log::Appender;
use crate::records::{Head, TxOutcome, TxRecord};
use crate::tree::{self, TreeUpdate};
use crate::validity::{Invalid, Rejected, Signatures, admit};
use crate::view::{StateRead, View};
use crate::{money, node_life, nonces, schedule, tx, verified};
use metanode_types::block::{
    Block, HEADER_VERSION, Header, LastCommit, Module, ModuleRoots, app_root, no_evidence_root, txs_root,
};
use metanode_types::certificate::Certificate;
use metanode_types::codec::encode;
use metanode_types::hash::Hash;
use metanode_types::ids::{Address, BlockId, TxId};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, EconomicKind, Receipt, ReceiptBody, Subject};
use metanode_types::tx::{ShortText, SignedTx};
use std::collections::BTreeMap;

/// What a block says before its transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockContext {
    /// Height.
    pub height: u64,
    /// Block time.
    pub time_ms: u64,
    /// Validator that made it; earns the fees.
    pub proposer: Address,
    /// Parent block.
    pub parent: BlockId,
    /// Who committed the parent.
    pub last_commit: LastCommit,
}

/// The transaction being executed.
pub(crate) struct Call {
    pub(crate) id: TxId,
    pub(crate) sender: Address,
    /// `None` = free.
    pub(crate) fee: Option<Amount>,
}

/// Everything that follows from executing a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Executed {
    /// The block executed.
    pub context: BlockContext,
    /// Receipts in log order.
    pub receipts: Vec<Receipt>,
    /// How each transaction ended, in block order.
    pub outcomes: Vec<(TxId, TxRecord)>,
    /// The head after the block; its block id is set when the block is known.
    pub(crate) head: Head,
    pub(crate) changes: Changes,
    pub(crate) expired_buckets: Vec<u64>,
    pub(crate) trees: Vec<TreeUpdate>,
    pub(crate) log_nodes: BTreeMap<[u8; 9], Hash>,
}

/// Why a block was not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockRejected {
    /// A transaction may not stand in a block.
    #[error("transaction {index} is invalid: {why}")]
    Tx {
        /// Position in the block.
        index: usize,
        /// Why.
        why: Invalid,
    },
    /// A header field is not what the state says.
    #[error("header field {field} is {got}, expected {want}")]
    Header {
        /// Field.
        field: &'static str,
        /// In the block.
        got: String,
        /// By the state.
        want: String,
    },
    /// Header and body disagree.
    #[error(transparent)]
    Shape(#[from] metanode_types::block::BlockError),
    /// The store broke.
    #[error(transparent)]
    Broken(#[from] Error),
}

/// Executes `txs`; the first invalid one rejects the block.
pub fn execute(
    view: &View<'_>,
    context: &BlockContext,
    txs: &[SignedTx],
    sigs: Signatures,
) -> Result<Executed, BlockRejected> {
    check_context(view, context)?;
    let mut draft = Draft::new(view, context.clone());
    let mut outcomes = Vec::with_capacity(txs.len());
    for (index, tx) in txs.iter().enumerate() {
        match run(&mut draft, index as u32, tx, sigs) {
            Ok(outcome) => outcomes.push(outcome),
            Err(Rejected::Invalid(why)) => return Err(BlockRejected::Tx { index, why }),
            Err(Rejected::Broken(e)) => return Err(e.into()),
        }
    }
    Ok(finish(draft, outcomes)?)
}

/// Bytes of a block besides its transactions at most: header, certificate, lengths.
const BLOCK_OVERHEAD_BYTES: usize = 4096;

/// A block's content as its proposer chose it.
#[derive(Debug)]
pub struct Proposal {
    /// Transactions taken, in order.
    pub txs: Vec<SignedTx>,
    /// What follows from them.
    pub executed: Executed,
    /// Transactions that are invalid on this state, with the reason; the rest did not fit.
    pub rejected: Vec<(TxId, Invalid)>,
}

/// Fills a block from `candidates` in order: invalid ones are left out, and what does not fit stays for later.
pub fn propose(
    view: &View<'_>,
    context: &BlockContext,
    candidates: impl IntoIterator<Item = SignedTx>,
    sigs: Signatures,
) -> Result<Proposal, BlockRejected> {
    check_context(view, context)?;
    let mut draft = Draft::new(view, context.clone());
    let (mut txs, mut outcomes, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    let mut room = (view.params().max_block_bytes as usize).saturating_sub(BLOCK_OVERHEAD_BYTES);
    for tx in candidates {
        if txs.len() >= view.params().max_block_txs as usize {
            break;
        }
        let bytes = encode(&tx).len();
        if bytes > room {
            continue;
        }
        match run(&mut draft, txs.len() as u32, &tx, sigs) {
            Ok(outcome) => {
                room -= bytes;
                outcomes.push(outcome);
                txs.push(tx);
            }
            Err(Rejected::Invalid(why)) => rejected.push((tx.id(), why)),
            Err(Rejected::Broken(e)) => return Err(e.into()),
        }
    }
    let executed = finish(draft, outcomes)?;
    assert_eq!(txs.len(), executed.outcomes.len(), "every transaction taken has an outcome");
    Ok(Proposal { txs, executed, rejected })
}

/// Checks a whole block against the state of its parent, re-executing it. (Certificate and clock are not judged here.)
pub fn validate_block(view: &View<'_>, block: &Block, sigs: Signatures) -> Result<Executed, BlockRejected> {
    let h = &block.header;
    let p = view.params();
    block.check_shape()?;
    expect("chain_id", h.chain_id, view.chain_id())?;
    if block.txs.len() > p.max_block_txs as usize || encode(block).len() > p.max_block_bytes as usize {
        return Err(BlockRejected::Header {
            field: "txs_root",
            got: format!("{} transactions, {} bytes", block.txs.len(), encode(block).len()),
            want: format!("at most {} transactions and {} bytes", p.max_block_txs, p.max_block_bytes),
        });
    }
    let context = BlockContext {
        height: h.height,
        time_ms: h.time_ms,
        proposer: h.proposer,
        parent: h.parent,
        last_commit: h.last_commit.clone(),
    };
    let executed = execute(view, &context, &block.txs, sigs)?;
    let want = executed.header(view, &block.txs);
    if let Some((field, got, want)) = first_difference(h, &want) {
        return Err(BlockRejected::Header { field, got, want });
    }
    assert_eq!(*h, want, "a difference between headers has a name");
    Ok(executed)
}

fn expect<T: PartialEq + std::fmt::Debug>(field: &'static str, got: T, want: T) -> Result<(), BlockRejected> {
    if got == want {
        return Ok(());
    }
    Err(BlockRejected::Header { field, got: format!("{got:?}"), want: format!("{want:?}") })
}

fn check_context(view: &View<'_>, c: &BlockContext) -> Result<(), BlockRejected> {
    let head = view.head();
    expect("height", c.height, head.height + 1)?;
    expect("parent", c.parent, head.block)?;
    if c.time_ms <= head.time_ms {
        let want = format!("more than the parent's {}", head.time_ms);
        return Err(BlockRejected::Header { field: "time_ms", got: c.time_ms.to_string(), want });
    }
    if view.validators().get(&c.proposer).is_none() {
        let want = "a validator of this height".into();
        return Err(BlockRejected::Header { field: "proposer", got: c.proposer.to_string(), want });
    }
    Ok(())
}

/// First field in which two headers differ, with both values.
pub(crate) fn first_difference(got: &Header, want: &Header) -> Option<(&'static str, String, String)> {
    macro_rules! fields {
        ($($field:ident),*) => {
            [$((
                stringify!($field),
                got.$field != want.$field,
                format!("{:?}", got.$field),
                format!("{:?}", want.$field),
            )),*]
        };
    }
    let all = fields!(
        version,
        chain_id,
        height,
        time_ms,
        parent,
        last_commit,
        txs_root,
        nonces_digest,
        receipts_size,
        receipts_root,
        module_roots,
        app_root,
        evidence_root,
        validators_hash,
        next_validators_hash,
        params_hash,
        proposer
    );
    all.into_iter().find(|f| f.1).map(|(field, _, got, want)| (field, got, want))
}

/// Executes one transaction: valid or nothing happens.
fn run(
    draft: &mut Draft<'_>,
    index: u32,
    tx: &SignedTx,
    sigs: Signatures,
) -> std::result::Result<(TxId, TxRecord), Rejected> {
    let fee = admit(draft, draft.block.time_ms, tx, sigs)?;
    let e = &tx.envelope;
    let call = Call { id: tx.id(), sender: e.sender, fee };
    draft.set_cause(Some((index, call.id)));
    nonces::mark(draft, &e.sender, e.nonce, e.valid_until)?;
    draft.keep();
    let first = draft.receipts_len();
    let paid = fee.unwrap_or(Amount::ZERO);
    let outcome = match tx::run(draft, &call, &tx.body) {
        Ok(()) => TxOutcome::Done { fee: paid },
        Err(Abort::Broken(e)) => return Err(e.into()),
        Err(Abort::Failed(f)) => {
            draft.discard();
            let outcome = TxOutcome::Failed { fee: paid, code: f.code as u32, reason: f.reason.clone() };
            record_failure(draft, &call, tx.body.kind(), f)?;
            outcome
        }
    };
    draft.keep();
    let receipts = (draft.receipts_len() - first) as u32;
    let first_receipt = draft.view.head().log.size() + first as u64;
    Ok((call.id, TxRecord { height: draft.block.height, index, outcome, first_receipt, receipts }))
}

fn record_failure(draft: &mut Draft<'_>, call: &Call, kind: &str, failure: Failure) -> Result<()> {
    let fee = call.fee.expect("a free transaction is one that was checked not to fail");
    if let Some(decision) = failure.decision {
        let (subject, pipeline) = *decision;
        let digest = tx::subject_digest(draft, &subject)?;
        draft.emit(subject, digest, digest, ReceiptBody::Pipeline(pipeline))?;
    }
    match money::pay(draft, call.sender, EconomicKind::Fee { fee }) {
        Ok(()) => {}
        Err(Abort::Broken(e)) => return Err(e),
        Err(Abort::Failed(f)) => unreachable!("the fee was checked before: {f:?}"),
    }
    let digest = draft.account(&call.sender)?.digest(&call.sender);
    let action =
        Action::Failed { kind: ShortText::new(kind), code: failure.code as u32, reason: failure.reason };
    draft.emit(Subject::Account(call.sender), digest, digest, ReceiptBody::Action(action))?;
    Ok(())
}

/// The end of a block: what happens without a transaction, then laws, roots and log.
fn finish(mut draft: Draft<'_>, outcomes: Vec<(TxId, TxRecord)>) -> Result<Executed> {
    draft.set_cause(None);
    node_life::lose_silent_nodes(&mut draft)?;
    draft.keep();
    verified::pass_deadlines(&mut draft)?;
    draft.keep();
    tx::deploy::remove_expired(&mut draft)?;
    draft.keep();
    schedule::place(&mut draft)?;
    draft.keep();
    money::assert_conserved(&draft)?;
    let (nonces_digest, expired_buckets) = nonces::digest(&draft)?;
    let (view, context, alive_ms) = (draft.view, draft.block.clone(), draft.alive_ms);
    let (changes, receipts) = draft.finish();

    let old = view.head();
    let mut log = Appender::new(view.store(), old.log.clone());
    for receipt in &receipts {
        log.append(receipt.leaf())?;
    }
    let (log, log_nodes) = log.finish();
    let trees = update_trees(view, &changes)?;
    let mut head = Head {
        height: context.height,
        block: BlockId::default(),
        time_ms: context.time_ms,
        alive_ms,
        log,
        versions: old.versions,
        module_roots: old.module_roots,
        nonces_digest,
        txs: old.txs + outcomes.len() as u64,
    };
    for t in &trees {
        head.versions[t.module as usize] = t.version;
        head.module_roots.0[t.module as usize] = t.root;
    }
    assert_eq!(head.log.size(), old.log.size() + receipts.len() as u64, "one leaf per receipt");
    Ok(Executed { context, receipts, outcomes, head, changes, expired_buckets, trees, log_nodes })
}

fn update_trees(view: &View<'_>, changes: &Changes) -> Result<Vec<TreeUpdate>> {
    let mut out = Vec::new();
    for module in Module::ALL {
        let mut set = Vec::new();
        for (key, value) in changes.iter().filter(|(k, _)| k.module() == Some(module)) {
            // What is written back unchanged is no change: the root is of the content.
            if view.raw(key)? != *value {
                set.push((key.bytes.clone(), value.clone()));
            }
        }
        if !set.is_empty() {
            let before = view.head().versions[module as usize];
            out.push(tree::update(view.store(), module, Some(before), set)?);
        }
    }
    Ok(out)
}

impl Executed {
    /// Roots of the modules after the block.
    pub fn module_roots(&self) -> ModuleRoots {
        self.head.module_roots
    }

    /// The header of the block with these transactions.
    pub fn header(&self, view: &View<'_>, txs: &[SignedTx]) -> Header {
        assert_eq!(txs.len(), self.outcomes.len(), "the header is of the transactions that were executed");
        let validators_hash = view.validators().hash();
        Header {
            version: HEADER_VERSION,
            chain_id: view.chain_id(),
            height: self.context.height,
            time_ms: self.context.time_ms,
            parent: self.context.parent,
            last_commit: self.context.last_commit.clone(),
            txs_root: txs_root(txs),
            nonces_digest: self.head.nonces_digest,
            receipts_size: self.head.log.size(),
            receipts_root: self.head.log.root(),
            module_roots: self.head.module_roots,
            app_root: app_root(&self.head.module_roots.0),
            evidence_root: no_evidence_root(),
            validators_hash,
            next_validators_hash: validators_hash,
            params_hash: view.params().hash(),
            proposer: self.context.proposer,
        }
    }

    /// The block with these transactions.
    pub fn block(&self, view: &View<'_>, txs: Vec<SignedTx>, last_certificate: Option<Certificate>) -> Block {
        Block { header: self.header(view, &txs), last_certificate, txs }
    }
}
