//! The ledger on a store: opening, committing, checking.
//!
//! Owns what one commit writes: state, trees, block, certificate, receipts, log nodes and every index, in one batch
//! with one sync, so that a committed transaction is never "not found". Opening checks that the stored head, log, trees
//! and last block agree, and names the first that does not.

use crate::error::{Error, Result};
use crate::keys;
use crate::limits::MAX_SUPPLY;
use crate::log::{self, Appender};
use crate::machine::{Executed, first_difference};
use crate::records::*;
use crate::store::{Batch, Column, Store};
use crate::tree;
use crate::view::{View, decode, load, required};
use metanode_types::block::{Block, Module, ModuleRoots};
use metanode_types::certificate::Certificate;
use metanode_types::codec::encode;
use metanode_types::hash::{Domain, Hash, hash};
use metanode_types::ids::{Address, BlockId, Digest, Name};
use metanode_types::merkle::Frontier;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Receipt, Subject, genesis_leaf};
use metanode_types::tx::{ClusterNodes, ClusterSpec, PlacementPolicy};
use metanode_types::workload::Resources;
use std::sync::Arc;

/// Name of the cluster that every chain starts with.
pub const DEFAULT_CLUSTER: &str = "default";

/// A chain's ledger.
pub struct Ledger {
    store: Arc<dyn Store>,
    chain: GenesisState,
}

impl Ledger {
    /// Opens the ledger in `store`, starting it from `genesis` if the store is empty. Checks what is there.
    pub fn open(store: Arc<dyn Store>, genesis: GenesisState) -> Result<Ledger> {
        let key = keys::genesis();
        match store.get(key.column, &key.bytes)? {
            None => write_genesis(&*store, &genesis)?,
            Some(bytes) => {
                let stored: GenesisState = decode(&bytes, "genesis")?;
                if stored.chain_id != genesis.chain_id {
                    let (stored, given) = (stored.chain_id.to_string(), genesis.chain_id.to_string());
                    return Err(Error::OtherChain { stored, given });
                }
                let text = |g: &GenesisState| hex_of(&hash(Domain::Genesis, &[&encode(g)]));
                same("genesis values", text(&stored), text(&genesis))?;
            }
        }
        let ledger = Ledger { store, chain: genesis };
        ledger.verify()?;
        Ok(ledger)
    }

    /// The state as of the last commit.
    pub fn view(&self) -> Result<View<'_>> {
        View::new(self.store.snapshot()?, &self.chain)
    }

    /// What the chain started from.
    pub fn genesis(&self) -> &GenesisState {
        &self.chain
    }

    /// Makes a block final on this node: one atomic batch, one sync. `missed` are the proposers of the rounds before
    /// the one that decided. Returns the new head.
    pub fn commit(
        &self,
        executed: Executed,
        block: &Block,
        certificate: &Certificate,
        missed: &[Address],
    ) -> Result<Head> {
        let view = self.view()?;
        let (height, head) = (block.header.height, view.head().height);
        if height != head + 1 || executed.context.height != height || certificate.height != height {
            return Err(Error::NotNext { height, head });
        }
        let want = executed.header(&view, &block.txs);
        if let Some((field, _, _)) = first_difference(&block.header, &want) {
            return Err(Error::OtherExecution { height, field });
        }
        let id = block.id();
        if certificate.block != id {
            return Err(Error::OtherExecution { height, field: "id" });
        }
        let mut batch = Batch::new();
        write_block(&mut batch, &id, block, certificate);
        write_receipts(&mut batch, view.head().log.size(), &executed.receipts);
        for (tx, record) in &executed.outcomes {
            batch.put(Column::Txs, tx.0, encode(record));
        }
        write_production(&view, &mut batch, &block.header.proposer, missed, height)?;
        let head = self.write_state(&view, &mut batch, executed, id)?;
        drop(view);
        self.store.commit(&batch)?;
        Ok(head)
    }

    fn write_state(
        &self,
        view: &View<'_>,
        batch: &mut Batch,
        executed: Executed,
        id: BlockId,
    ) -> Result<Head> {
        for (key, value) in executed.changes {
            match value {
                Some(v) => batch.put(key.column, key.bytes, v),
                None => batch.delete(key.column, key.bytes),
            }
        }
        for bucket in executed.expired_buckets {
            batch.delete_prefix(Column::Nonces, keys::height(bucket));
            batch.delete(Column::NonceBuckets, keys::height(bucket));
        }
        for (key, hash) in executed.log_nodes {
            batch.put(Column::LogNodes, key, hash);
        }
        for update in &executed.trees {
            tree::write(view.store(), update, batch)?;
        }
        let head = Head { block: id, ..executed.head };
        batch.put(Column::Meta, keys::head().bytes, encode(&head));
        Ok(head)
    }

    /// Checks that what is stored agrees with itself: head, log, trees, last block.
    pub fn verify(&self) -> Result<()> {
        let view = self.view()?;
        let (head, store) = (view.head(), view.store());
        same("log frontier", head.log.size().count_ones() as usize, peaks(&head.log))?;
        let size = head.log.size();
        same("log root", hex_of(&head.log.root()), hex_of(&log::root(store, size)?))?;
        for m in Module::ALL {
            let stored = head.module_roots.0[m as usize];
            let computed = tree::root(store, m, head.versions[m as usize])?;
            same(m.name(), hex_of(&stored), hex_of(&computed))?;
        }
        if head.height == 0 {
            return Ok(());
        }
        let bytes = required(store.get(Column::Blocks, &keys::height(head.height))?, "last block")?;
        let block =
            Block::decode(&bytes).map_err(|e| Error::Corrupt { what: "last block", why: e.to_string() })?;
        let h = &block.header;
        same("last block", head.block.to_string(), block.id().to_string())?;
        same("height", head.height, h.height)?;
        same("receipts size", size, h.receipts_size)?;
        same("receipts root", hex_of(&head.log.root()), hex_of(&h.receipts_root))?;
        same("module roots", format!("{:?}", head.module_roots), format!("{:?}", h.module_roots))?;
        same("nonces digest", hex_of(&head.nonces_digest), hex_of(&h.nonces_digest))?;
        let above = store.get(Column::Blocks, &keys::height(head.height + 1))?;
        same("no block above the head", "none", if above.is_some() { "one" } else { "none" })
    }
}

fn hex_of(h: &Hash) -> String {
    Digest(*h).to_string()
}

fn peaks(log: &Frontier) -> usize {
    if log.is_well_formed() { log.size().count_ones() as usize } else { 0 }
}

fn same<T: PartialEq + ToString>(check: &'static str, stored: T, computed: T) -> Result<()> {
    if stored == computed {
        return Ok(());
    }
    Err(Error::Inconsistent { check, stored: stored.to_string(), computed: computed.to_string() })
}

fn write_block(batch: &mut Batch, id: &BlockId, block: &Block, certificate: &Certificate) {
    let height = keys::height(block.header.height);
    batch.put(Column::Blocks, height, encode(block));
    batch.put(Column::BlockIds, id.0, height);
    batch.put(Column::Certificates, height, encode(certificate));
}

fn write_receipts(batch: &mut Batch, first: u64, receipts: &[Receipt]) {
    for (offset, receipt) in receipts.iter().enumerate() {
        let index = first + offset as u64;
        let at = keys::height(index);
        batch.put(Column::Receipts, at, encode(receipt));
        batch.put(Column::ReceiptIds, receipt.id().0, at);
        batch.put(Column::SubjectReceipts, keys::subject_receipt(&receipt.subject, receipt.seq), at);
        if let Some(name) = deployment_of(receipt) {
            batch.put(Column::DeploymentReceipts, keys::deployment_receipt(name, index), []);
        }
    }
}

/// The deployment that a receipt concerns: its subject, its subject's, or the one it pays into.
fn deployment_of(receipt: &Receipt) -> Option<&Name> {
    use metanode_types::receipt::{Economic, EconomicKind, ReceiptBody};
    match (&receipt.subject, &receipt.body) {
        (Subject::Deployment(n), _) => Some(n),
        (Subject::Replica(r), _) => Some(&r.deployment),
        (_, ReceiptBody::Economic(Economic { kind: EconomicKind::Escrowed { deployment, .. }, .. })) => {
            Some(deployment)
        }
        _ => None,
    }
}

fn write_production(
    view: &View<'_>,
    batch: &mut Batch,
    proposer: &Address,
    missed: &[Address],
    height: u64,
) -> Result<()> {
    let mut turns: std::collections::BTreeMap<Address, ProductionRecord> = Default::default();
    for address in missed.iter().chain([proposer]) {
        let key = keys::production(address);
        let old: Option<ProductionRecord> = load(view, &key, "production")?;
        turns.entry(*address).or_insert(old.unwrap_or_default());
    }
    missed.iter().for_each(|a| turns.entry(*a).or_default().missed += 1);
    let own = turns.entry(*proposer).or_default();
    own.taken += 1;
    own.last_height = height;
    turns.iter().for_each(|(a, r)| batch.put(Column::Production, keys::production(a).bytes, encode(r)));
    Ok(())
}

/// State entries of height 0.
fn genesis_entries(genesis: &GenesisState) -> Result<Vec<(keys::Key, Vec<u8>)>> {
    let fail = |why: &str| Err(Error::Genesis(why.into()));
    genesis.params.validate().map_err(|e| Error::Genesis(e.to_string()))?;
    let mut supply = Amount::ZERO;
    let mut entries = std::collections::BTreeMap::new();
    for (address, balance) in &genesis.accounts {
        let record = AccountRecord { credited: *balance, ..AccountRecord::default() };
        if entries.insert(keys::account(address), encode(&record)).is_some() {
            return fail("an account is listed twice");
        }
        match supply.checked_add(*balance) {
            Some(sum) if sum.0 <= MAX_SUPPLY => supply = sum,
            _ => return fail("the balances sum to more than 2^80 micro-units"),
        }
    }
    entries.insert(keys::supply(), encode(&SupplyRecord { genesis: supply, ..SupplyRecord::default() }));
    let cluster = default_cluster();
    entries.insert(keys::cluster(&cluster.spec.name), encode(&cluster));
    Ok(entries.into_iter().collect())
}

fn default_cluster() -> ClusterRecord {
    let all = Resources { cpu_milli: u32::MAX, memory_bytes: u64::MAX, disk_bytes: u64::MAX, pids: u32::MAX };
    let spec = ClusterSpec {
        name: DEFAULT_CLUSTER.parse().expect("a valid name"),
        security: metanode_types::level::SecurityLevel::Standard,
        placement: PlacementPolicy::Spread,
        nodes: ClusterNodes::default(),
        max_replica: all,
    };
    ClusterRecord { spec, owner: None, created_height: 0 }
}

fn write_genesis(store: &dyn Store, genesis: &GenesisState) -> Result<()> {
    let entries = genesis_entries(genesis)?;
    let mut batch = Batch::new();
    let mut roots = [[0; 32]; 5];
    for m in Module::ALL {
        let own = entries.iter().filter(|(k, _)| k.module() == Some(m));
        let set: Vec<_> = own.map(|(k, v)| (k.bytes.clone(), Some(v.clone()))).collect();
        let update = tree::update(store, m, None, set)?;
        tree::write(store, &update, &mut batch)?;
        roots[m as usize] = update.root;
    }
    entries.into_iter().for_each(|(k, v)| batch.put(k.column, k.bytes, v));
    let mut log = Appender::new(store, Frontier::default());
    log.append(genesis_leaf(&genesis.chain_id))?;
    let (log, nodes) = log.finish();
    nodes.into_iter().for_each(|(k, v)| batch.put(Column::LogNodes, k, v));
    let head = Head {
        height: 0,
        block: BlockId::default(),
        time_ms: genesis.time_ms,
        alive_ms: 0,
        log,
        versions: [0; 5],
        module_roots: ModuleRoots(roots),
        nonces_digest: hash(Domain::Nonces, &[]),
        txs: 0,
    };
    batch.put(Column::Meta, keys::head().bytes, encode(&head));
    batch.put(Column::Meta, keys::genesis().bytes, encode(genesis));
    store.commit(&batch)
}
