//! The committed ledger as the chain loop uses it.
//!
//! Owns the tip in memory, the outcomes of blocks that were executed but are not decided yet, and the knowledge of
//! which signed bytes were verified already, so that a signature is verified once per node. Refuses to write except in
//! [`Ledger::commit`].

use metanode_consensus::proposer::proposer;
use metanode_consensus::sync::SyncedBlock;
use metanode_consensus::{Scheme, verify_certificate};
use metanode_state::store::Store;
use metanode_state::{
    BlockContext, BlockRejected, Executed, GenesisState, Ledger as State, Rejected, Signatures, check_tx,
    propose, validate_block,
};
use metanode_types::block::{Block, LastCommit};
use metanode_types::certificate::Certificate;
use metanode_types::hash::Hash;
use metanode_types::ids::{Address, BlockId, ChainId, TxId};
use metanode_types::limits::MAX_MEMPOOL_TXS;
use metanode_types::params::ChainParams;
use metanode_types::tx::SignedTx;
use metanode_types::validator::ValidatorSet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Executed, undecided blocks kept at most.
const MAX_EXECUTED: usize = 16;

/// Why the ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store or what it holds.
    #[error(transparent)]
    State(#[from] metanode_state::Error),
    /// A decided block does not execute to its header.
    #[error("{0}")]
    Diverged(String),
}

/// The newest final block, and who votes next.
#[derive(Clone, Debug)]
pub struct Tip {
    /// Height; 0 after genesis.
    pub height: u64,
    /// Block id; zero at height 0.
    pub block: BlockId,
    /// Block time.
    pub time_ms: u64,
    /// Validators of the next height.
    pub validators: ValidatorSet,
    /// Certificate of the block; none at height 0.
    pub certificate: Option<Certificate>,
}

/// See the module.
pub struct Ledger {
    state: Arc<State>,
    tip: Tip,
    executed: BTreeMap<BlockId, Executed>,
    verified: BTreeSet<Hash>,
}

impl Ledger {
    /// Takes over an opened state.
    pub fn new(state: Arc<State>) -> Result<Ledger, LedgerError> {
        let tip = read_tip(&state)?;
        Ok(Ledger { state, tip, executed: BTreeMap::new(), verified: BTreeSet::new() })
    }

    /// Opens the state in `store`, or writes the genesis into an empty one.
    pub fn open(store: Arc<dyn Store>, genesis: &GenesisState) -> Result<Ledger, LedgerError> {
        Ledger::new(Arc::new(State::open(store, genesis.clone())?))
    }

    /// The state, for readers on other threads.
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }
    /// The newest final block.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }
    /// Chain.
    pub fn chain_id(&self) -> ChainId {
        self.state.genesis().chain_id
    }
    /// Rules.
    pub fn params(&self) -> &ChainParams {
        &self.state.genesis().params
    }

    /// Checks a transaction for a block at `time_ms`, signature included; remembers that it was verified.
    pub fn check_tx(&mut self, tx: &SignedTx, time_ms: u64) -> Result<(), String> {
        let view = self.state.view().map_err(|e| e.to_string())?;
        let leaf = tx.leaf();
        let sigs =
            if self.verified.contains(&leaf) { Signatures::AlreadyVerified } else { Signatures::Verify };
        match check_tx(&view, time_ms, tx, sigs) {
            Ok(_) => {
                if self.verified.len() < 2 * MAX_MEMPOOL_TXS {
                    self.verified.insert(leaf);
                }
                Ok(())
            }
            Err(Rejected::Invalid(why)) => Err(why.to_string()),
            Err(Rejected::Broken(e)) => Err(e.to_string()),
        }
    }

    /// Height of the block that holds this transaction.
    pub fn height_of_tx(&self, id: &TxId) -> Option<u64> {
        self.state.view().ok()?.tx(id).ok().flatten().map(|r| r.height)
    }

    fn context(&self, proposer: Address, time_ms: u64) -> BlockContext {
        let last_commit = self.tip.certificate.as_ref();
        let last_commit = last_commit.map(|c| LastCommit { signers: c.signers.clone(), round: c.round });
        BlockContext {
            height: self.tip.height + 1,
            time_ms,
            proposer,
            parent: self.tip.block,
            last_commit: last_commit.unwrap_or_default(),
        }
    }

    /// Builds a block of `candidates`; the ids of those that will never be valid come with it.
    pub fn build(
        &mut self,
        me: Address,
        time_ms: u64,
        candidates: Vec<SignedTx>,
    ) -> Result<(Block, Vec<TxId>), LedgerError> {
        let context = self.context(me, time_ms);
        let state = self.state.clone();
        let view = state.view()?;
        // Candidates come from the mempool, whose transactions were all verified.
        let proposal = propose(&view, &context, candidates, Signatures::AlreadyVerified);
        let proposal = proposal.map_err(rejected)?;
        let block = proposal.executed.block(&view, proposal.txs, self.tip.certificate.clone());
        self.remember(block.id(), proposal.executed);
        Ok((block, proposal.rejected.into_iter().map(|(id, _)| id).collect()))
    }

    fn remember(&mut self, id: BlockId, executed: Executed) {
        if self.executed.len() >= MAX_EXECUTED {
            self.executed.pop_first();
        }
        self.executed.insert(id, executed);
    }

    /// Judges a block against the tip by executing it: `Err` says why it is invalid.
    pub fn judge(&mut self, block: &Block, scheme: &dyn Scheme) -> Result<(), String> {
        let id = block.id();
        if self.executed.contains_key(&id) {
            return Ok(());
        }
        if let Some(c) = &block.last_certificate {
            let set = &self.tip.validators;
            let ours = self.tip.certificate.as_ref() == Some(c);
            if !ours {
                verify_certificate(scheme, &self.chain_id(), set, c)
                    .map_err(|e| format!("the parent's certificate: {e}"))?;
            }
        }
        let state = self.state.clone();
        let view = state.view().map_err(|e| e.to_string())?;
        let known = block.txs.iter().all(|tx| self.verified.contains(&tx.leaf()));
        let sigs = if known { Signatures::AlreadyVerified } else { Signatures::Verify };
        let executed = validate_block(&view, block, sigs).map_err(|e| e.to_string())?;
        self.remember(id, executed);
        Ok(())
    }

    /// Commits a final block with one sync.
    pub fn commit(
        &mut self,
        block: &Block,
        certificate: &Certificate,
        scheme: &dyn Scheme,
    ) -> Result<(), LedgerError> {
        assert_eq!(certificate.height, self.tip.height + 1, "heights are committed one by one");
        let id = block.id();
        if !self.executed.contains_key(&id) {
            self.judge(block, scheme).map_err(LedgerError::Diverged)?;
        }
        let executed = self.executed.remove(&id).expect("judged above");
        let set = &self.tip.validators;
        let missed: Vec<Address> =
            (0..certificate.round).map(|round| proposer(set, certificate.height, round)).collect();
        self.state.commit(executed, block, certificate, &missed)?;
        self.executed.clear();
        for tx in &block.txs {
            self.verified.remove(&tx.leaf());
        }
        self.tip = Tip {
            height: block.header.height,
            block: id,
            time_ms: block.header.time_ms,
            validators: self.tip.validators.clone(),
            certificate: Some(certificate.clone()),
        };
        Ok(())
    }

    /// Forgets that these bytes were verified: their transaction left the mempool without a block.
    pub fn forget(&mut self, tx: &SignedTx) {
        self.verified.remove(&tx.leaf());
    }

    /// A final block with its certificate, to serve it to a peer.
    pub fn synced_block(&self, height: u64) -> Option<SyncedBlock> {
        let view = self.state.view().ok()?;
        let block = view.block(height).ok()??;
        let certificate = view.certificate(height).ok()??;
        Some(SyncedBlock { block, certificate })
    }

    /// Id of the final block at `height`.
    pub fn block_id(&self, height: u64) -> Option<BlockId> {
        self.state.view().ok()?.block(height).ok()?.map(|b| b.id())
    }

    /// Recounts all money; `Err` names the difference.
    pub fn audit_supply(&self) -> Result<(), String> {
        let view = self.state.view().map_err(|e| e.to_string())?;
        metanode_state::audit::audit_supply(&view).map(drop).map_err(|e| e.to_string())
    }
}

fn rejected(why: BlockRejected) -> LedgerError {
    match why {
        BlockRejected::Broken(e) => LedgerError::State(e),
        other => LedgerError::Diverged(other.to_string()),
    }
}

fn read_tip(state: &State) -> Result<Tip, LedgerError> {
    let view = state.view()?;
    let head = view.head();
    let certificate = if head.height == 0 { None } else { view.certificate(head.height)? };
    Ok(Tip {
        height: head.height,
        block: head.block,
        time_ms: head.time_ms,
        validators: view.validators().clone(),
        certificate,
    })
}
