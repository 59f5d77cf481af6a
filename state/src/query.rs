//! What is asked of a committed state: agents, RPC and proofs.
//!
//! Owns lookups by id prefix, pages by cursor, an agent's assignments, and proofs. Everything answers from one
//! [`View`], so several answers agree with each other.

use crate::error::{Error, Result};
use crate::keys;
use crate::log;
use crate::records::*;
use crate::replica;
use crate::store::Column;
use crate::tree::{self, EntryProof};
use crate::view::{StateRead, View, address_at, decode, load, required};
use metanode_types::block::{Block, Module};
use metanode_types::certificate::Certificate;
use metanode_types::hash::Hash;
use metanode_types::ids::{Address, BlockId, Digest, Name, ReceiptId, TxId};
use metanode_types::level::CageLevel;
use metanode_types::params::SecurityProfile;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Receipt, Subject};
use metanode_types::workload::{ReplicaId, Workload};

/// What a lookup by a beginning of an id found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found<T> {
    /// Nothing begins like this.
    None,
    /// Exactly one.
    One(T),
    /// More than one.
    Many,
}

/// What a node must do about one replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Desired {
    /// Run it, and keep it running if it is a service.
    Run,
    /// Stop it and report its end.
    Stop,
}

/// One assignment as the agent of its node needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentAssignment {
    /// Replica.
    pub replica: ReplicaId,
    /// Fencing token to report under.
    pub epoch: u64,
    /// Generation of the deployment.
    pub generation: u64,
    /// What to run.
    pub workload: Workload,
    /// Cage level that the run must reach.
    pub level: CageLevel,
    /// What the security level demands.
    pub profile: SecurityProfile,
    /// Run or stop.
    pub desired: Desired,
    /// What was reported last.
    pub phase: RunPhase,
    /// Seed of the cage.
    pub seed: Digest,
    /// Unix milliseconds at which a logical clock starts.
    pub clock_ms: u64,
    /// Receipt of the assignment.
    pub receipt: ReceiptId,
    /// True when its end is committed to and revealed, not reported.
    pub sealed: bool,
}

/// Everything that `node` holds, by replica.
pub fn assignments_of(view: &View<'_>, node: &Address) -> Result<Vec<AgentAssignment>> {
    let mut out = Vec::new();
    for r in view.held_by(node)? {
        let (held, sealed) = hold(&r, node)?;
        assert_eq!(held.node, *node, "the index names the holder");
        let d = required(view.deployment(&r.id.deployment)?, "deployment")?;
        let workload = required(view.workload(&r.id.deployment)?, "workload")?;
        let profile = required(view.params().profile(workload.security).cloned(), "security profile")?;
        out.push(AgentAssignment {
            epoch: held.epoch,
            generation: r.generation,
            level: crate::schedule::demanded_level(&workload, view.params()),
            profile,
            desired: if held.stop.is_some() { Desired::Stop } else { Desired::Run },
            phase: held.phase,
            seed: replica::seed(&d, r.id.index),
            clock_ms: d.created_ms,
            receipt: held.receipt,
            replica: r.id,
            workload,
            sealed,
        });
    }
    Ok(out)
}

/// What a node holds of a replica, and whether its report is committed to first.
fn hold(r: &ReplicaRecord, node: &Address) -> Result<(Assignment, bool)> {
    if let Some(held) = r.assignment() {
        return Ok((held.clone(), false));
    }
    let running = crate::tx::report::running(r, node);
    Ok((required(running, "run of a replica that a node holds")?, true))
}

/// What the ledger waits for from a node that runs a replica which is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Awaited {
    /// Its commitment.
    Commitment,
    /// That the other nodes commit.
    Others,
    /// Its report.
    Reveal,
    /// Nothing: its run is over, or it was never asked under this epoch.
    Nothing,
}

/// What the ledger waits for from `node` about its run of a replica under an epoch.
pub fn awaited(view: &View<'_>, node: &Address, id: &ReplicaId, epoch: u64) -> Result<Awaited> {
    let Some(replica) = view.replica(id)? else { return Ok(Awaited::Nothing) };
    let Some(v) = replica.open_verification() else { return Ok(Awaited::Nothing) };
    let own = v.execution_of(node).filter(|e| e.epoch == epoch);
    Ok(match own.map(|e| &e.step) {
        Some(Step::Running(_)) => Awaited::Commitment,
        Some(Step::Committed { .. }) if matches!(v.stage, Stage::Committing { .. }) => Awaited::Others,
        Some(Step::Committed { .. }) => Awaited::Reveal,
        Some(Step::Over { .. }) | None => Awaited::Nothing,
    })
}

/// A receipt with its place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedReceipt {
    /// Leaf index.
    pub index: u64,
    /// The receipt.
    pub receipt: Receipt,
}

/// A page of a list, and the cursor behind which the next page begins (`None` = this is the end).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T, C> {
    /// Entries.
    pub items: Vec<T>,
    /// Cursor of the last entry when there may be more.
    pub next: Option<C>,
}

fn page<T, C>(items: Vec<(C, T)>, limit: usize) -> Page<T, C>
where
    C: Clone,
{
    let next = if items.len() == limit { items.last().map(|(c, _)| c.clone()) } else { None };
    Page { items: items.into_iter().map(|(_, t)| t).collect(), next }
}

fn corrupt(what: &'static str, why: impl ToString) -> Error {
    Error::Corrupt { what, why: why.to_string() }
}

fn number(bytes: &[u8], what: &'static str) -> Result<u64> {
    keys::leading_number(bytes).ok_or_else(|| corrupt(what, "not a number"))
}

impl View<'_> {
    fn row(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.store().get(column, key)
    }

    /// The block at a height.
    pub fn block(&self, height: u64) -> Result<Option<Block>> {
        let bytes = self.row(Column::Blocks, &keys::height(height))?;
        bytes.map(|b| Block::decode(&b).map_err(|e| corrupt("block", e))).transpose()
    }
    /// The encoded block at a height, as it was committed.
    pub fn block_bytes(&self, height: u64) -> Result<Option<Vec<u8>>> {
        self.row(Column::Blocks, &keys::height(height))
    }
    /// The certificate of the block at a height.
    pub fn certificate(&self, height: u64) -> Result<Option<Certificate>> {
        let bytes = self.row(Column::Certificates, &keys::height(height))?;
        bytes.map(|b| decode(&b, "certificate")).transpose()
    }
    /// Height of a block.
    pub fn height_of(&self, id: &BlockId) -> Result<Option<u64>> {
        self.row(Column::BlockIds, &id.0)?.map(|b| number(&b, "block index")).transpose()
    }
    /// A transaction's place and outcome.
    pub fn tx(&self, id: &TxId) -> Result<Option<TxRecord>> {
        self.row(Column::Txs, &id.0)?.map(|b| decode(&b, "transaction index")).transpose()
    }

    /// Ids in `column` that begin with these hex digits.
    fn by_prefix(&self, column: Column, hex: &str) -> Result<Found<(Hash, Vec<u8>)>> {
        let Some((whole, odd)) = parse_prefix(hex) else { return Ok(Found::None) };
        let mut after = None;
        let mut found = Vec::new();
        loop {
            let rows = self.store().scan(column, &whole, after.as_deref(), 64)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            let same = |k: &[u8]| odd.is_none_or(|digit| k.get(whole.len()).is_some_and(|b| b >> 4 == digit));
            found.extend(rows.into_iter().filter(|(k, _)| same(k)).take(2));
            if found.len() > 1 {
                return Ok(Found::Many);
            }
        }
        let Some((key, value)) = found.pop() else { return Ok(Found::None) };
        let id = key.try_into().map_err(|_| corrupt("index", "a key is not 32 bytes"))?;
        Ok(Found::One((id, value)))
    }
    /// The block whose id begins with these hex digits.
    pub fn block_by_prefix(&self, hex: &str) -> Result<Found<(BlockId, u64)>> {
        map(self.by_prefix(Column::BlockIds, hex)?, |(id, v)| Ok((BlockId(id), number(&v, "block index")?)))
    }
    /// The transaction whose id begins with these hex digits.
    pub fn tx_by_prefix(&self, hex: &str) -> Result<Found<(TxId, TxRecord)>> {
        map(self.by_prefix(Column::Txs, hex)?, |(id, v)| Ok((TxId(id), decode(&v, "transaction index")?)))
    }
    /// The receipt whose id begins with these hex digits.
    pub fn receipt_by_prefix(&self, hex: &str) -> Result<Found<LoggedReceipt>> {
        map(self.by_prefix(Column::ReceiptIds, hex)?, |(_, v)| self.logged(number(&v, "receipt index")?))
    }
    /// The receipt with this id.
    pub fn receipt(&self, id: &ReceiptId) -> Result<Option<LoggedReceipt>> {
        let at = self.row(Column::ReceiptIds, &id.0)?;
        at.map(|b| self.logged(number(&b, "receipt index")?)).transpose()
    }
    /// The receipt at a leaf of the log; leaf 0 is the genesis and has none.
    pub fn receipt_at(&self, index: u64) -> Result<Option<LoggedReceipt>> {
        let bytes = self.row(Column::Receipts, &keys::height(index))?;
        bytes.map(|b| Ok(LoggedReceipt { index, receipt: decode(&b, "receipt")? })).transpose()
    }
    fn logged(&self, index: u64) -> Result<LoggedReceipt> {
        required(self.receipt_at(index)?, "receipt")
    }
    /// Receipts from leaf `from` on.
    pub fn receipts_from(&self, from: u64, limit: usize) -> Result<Page<LoggedReceipt, u64>> {
        let after = from.checked_sub(1).map(keys::height);
        let rows = self.store().scan(Column::Receipts, &[], after.as_ref().map(|k| &k[..]), limit)?;
        let items = rows.iter().map(|(k, v)| {
            let index = number(k, "receipt index")?;
            Ok((index, LoggedReceipt { index, receipt: decode(v, "receipt")? }))
        });
        Ok(page(items.collect::<Result<Vec<_>>>()?, limit))
    }
    /// Receipts that concern a deployment, in log order, behind leaf `after`.
    pub fn receipts_of(
        &self,
        n: &Name,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<LoggedReceipt, u64>> {
        let prefix = keys::deployment_receipts(n);
        let after = after.map(|a| keys::deployment_receipt(n, a));
        let rows = self.store().scan(Column::DeploymentReceipts, &prefix, after.as_deref(), limit)?;
        let items = rows.iter().map(|(k, _)| {
            let index = number(&k[prefix.len()..], "receipt index")?;
            Ok((index, self.logged(index)?))
        });
        Ok(page(items.collect::<Result<Vec<_>>>()?, limit))
    }
    /// Receipts of a subject by sequence number, from `from` on.
    pub fn receipts_of_subject(&self, s: &Subject, from: u64, limit: usize) -> Result<Vec<LoggedReceipt>> {
        let prefix = metanode_types::codec::encode(s);
        let after = from.checked_sub(1).map(|seq| keys::subject_receipt(s, seq));
        let rows = self.store().scan(Column::SubjectReceipts, &prefix, after.as_deref(), limit)?;
        rows.iter().map(|(_, v)| self.logged(number(v, "receipt index")?)).collect()
    }
    /// Head of a subject's chain of receipts.
    pub fn subject_head(&self, s: &Subject) -> Result<Option<SubjectHead>> {
        load(self, &keys::subject(s), "subject head")
    }
    /// Proposer turns of a validator.
    pub fn production(&self, validator: &Address) -> Result<ProductionRecord> {
        Ok(load(self, &keys::production(validator), "production")?.unwrap_or_default())
    }

    fn entries<T: borsh::BorshDeserialize>(
        &self,
        prefix: &keys::Key,
        after: Option<keys::Key>,
        limit: usize,
        what: &'static str,
    ) -> Result<Vec<(Vec<u8>, T)>> {
        let after = after.map(|k| k.bytes);
        let rows = self.store().scan(prefix.column, &prefix.bytes, after.as_deref(), limit)?;
        rows.into_iter().map(|(k, v)| Ok((k, decode(&v, what)?))).collect()
    }
    /// Deployments by name, behind `after`.
    pub fn deployments(&self, after: Option<&Name>, limit: usize) -> Result<Page<DeploymentRecord, Name>> {
        let rows = self.entries(&keys::deployments(), after.map(keys::deployment), limit, "deployment")?;
        Ok(page(rows.into_iter().map(|(_, d): (_, DeploymentRecord)| (d.name.clone(), d)).collect(), limit))
    }
    /// Clusters by name, behind `after`.
    pub fn clusters(&self, after: Option<&Name>, limit: usize) -> Result<Page<ClusterRecord, Name>> {
        let rows = self.entries(&keys::clusters(), after.map(keys::cluster), limit, "cluster")?;
        Ok(page(rows.into_iter().map(|(_, c): (_, ClusterRecord)| (c.spec.name.clone(), c)).collect(), limit))
    }
    /// Nodes by address, behind `after`.
    pub fn nodes_page(
        &self,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Page<(Address, NodeRecord), Address>> {
        let rows = self.entries(&keys::nodes(), after.map(keys::node), limit, "node")?;
        let items = rows.into_iter().map(|(k, n)| {
            let address = address_at(&k, 2)?;
            Ok((address, (address, n)))
        });
        Ok(page(items.collect::<Result<Vec<_>>>()?, limit))
    }
    /// Address of the node with this name.
    pub fn node_by_name(&self, n: &Name) -> Result<Option<Address>> {
        load(self, &keys::node_name(n), "node name")
    }
    /// Units in existence: the opening balances less what was burned.
    pub fn supply_in_existence(&self) -> Result<Amount> {
        let s = self.supply()?;
        s.genesis.checked_sub(s.burned).ok_or_else(|| corrupt("supply", "more burned than there was"))
    }

    /// Inclusion path of a leaf in the log of `size` leaves (at most as many as there are).
    pub fn inclusion_path(&self, index: u64, size: u64) -> Result<Option<Vec<Hash>>> {
        if size > self.head().log.size() {
            return Ok(None);
        }
        log::inclusion_path(self.store(), index, size)
    }
    /// Consistency path between two sizes of the log.
    pub fn consistency_path(&self, old: u64, new: u64) -> Result<Option<Vec<Hash>>> {
        if new > self.head().log.size() {
            return Ok(None);
        }
        log::consistency_path(self.store(), old, new)
    }
    /// Proves what a state entry holds under the head's module root, or that it is absent.
    pub fn prove(&self, key: &keys::Key) -> Result<EntryProof> {
        let module: Module = required(key.module(), "module of a state entry")?;
        tree::prove(self.store(), module, self.head().versions[module as usize], key.bytes.clone())
    }
}

fn map<T, U>(found: Found<T>, f: impl FnOnce(T) -> Result<U>) -> Result<Found<U>> {
    Ok(match found {
        Found::None => Found::None,
        Found::Many => Found::Many,
        Found::One(t) => Found::One(f(t)?),
    })
}

/// Whole bytes and the odd last digit of a hex prefix of at most 64 digits.
fn parse_prefix(hex: &str) -> Option<(Vec<u8>, Option<u8>)> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| (1..=64).contains(&d.len()))?;
    let whole = digits.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect();
    Some((whole, if digits.len() % 2 == 1 { digits.last().copied() } else { None }))
}
