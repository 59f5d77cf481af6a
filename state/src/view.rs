//! The state as of one committed block.
//!
//! Owns [`View`]: a snapshot of the store with its head, from which everything reads (execution, agents, RPC), and
//! the trait [`StateRead`] that lets the same code read a committed state or one being changed.

use crate::error::{Error, Result};
use crate::keys::{self, Key};
use crate::records::*;
use crate::store::{Column, Read, Row};
use borsh::BorshDeserialize;
use metanode_types::ids::{Address, ChainId, Name};
use metanode_types::params::ChainParams;
use metanode_types::validator::ValidatorSet;
use metanode_types::workload::{ReplicaId, Workload};

/// Reading records of a state, committed or being changed.
pub trait StateRead {
    /// Bytes at `key`.
    fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>>;
    /// The first `limit` rows whose keys start with `prefix`, ascending.
    fn first_rows(&self, prefix: &Key, limit: usize) -> Result<Vec<Row>>;
    /// Every row whose key starts with `prefix`, ascending.
    fn rows(&self, prefix: &Key) -> Result<Vec<Row>> {
        self.first_rows(prefix, usize::MAX)
    }
    /// What the chain started from.
    fn chain(&self) -> &GenesisState;

    /// Rules of the chain.
    fn params(&self) -> &ChainParams {
        &self.chain().params
    }
    /// An account; one never seen is empty.
    fn account(&self, a: &Address) -> Result<AccountRecord> {
        Ok(load(self, &keys::account(a), "account")?.unwrap_or_default())
    }
    /// The supply.
    fn supply(&self) -> Result<SupplyRecord> {
        required(load(self, &keys::supply(), "supply")?, "supply")
    }
    /// A node.
    fn node(&self, a: &Address) -> Result<Option<NodeRecord>> {
        load(self, &keys::node(a), "node")
    }
    /// Every node, by address.
    fn nodes(&self) -> Result<Vec<(Address, NodeRecord)>> {
        let rows = self.rows(&keys::nodes())?;
        rows.iter().map(|(k, v)| Ok((address_at(k, 2)?, decode(v, "node")?))).collect()
    }
    /// A cluster.
    fn cluster(&self, n: &Name) -> Result<Option<ClusterRecord>> {
        load(self, &keys::cluster(n), "cluster")
    }
    /// A deployment.
    fn deployment(&self, n: &Name) -> Result<Option<DeploymentRecord>> {
        load(self, &keys::deployment(n), "deployment")
    }
    /// A deployment's workload; gone some time after it finished.
    fn workload(&self, n: &Name) -> Result<Option<Workload>> {
        load(self, &keys::workload(n), "workload")
    }
    /// A replica.
    fn replica(&self, r: &ReplicaId) -> Result<Option<ReplicaRecord>> {
        load(self, &keys::replica(r), "replica")
    }
    /// A deployment's replicas, by index.
    fn replicas(&self, n: &Name) -> Result<Vec<ReplicaRecord>> {
        self.rows(&keys::replicas(n))?.iter().map(|(_, v)| decode(v, "replica")).collect()
    }
    /// Replicas that a node holds, by id.
    fn held_by(&self, node: &Address) -> Result<Vec<ReplicaRecord>> {
        let rows = self.rows(&keys::node_replicas(node))?;
        rows.iter()
            .map(|(_, v)| decode::<ReplicaId>(v, "replica id"))
            .map(|id| existing(self, &id?))
            .collect()
    }
}

/// A record at `key`.
pub(crate) fn load<T: BorshDeserialize>(
    state: &(impl StateRead + ?Sized),
    key: &Key,
    what: &'static str,
) -> Result<Option<T>> {
    state.raw(key)?.map(|b| decode(&b, what)).transpose()
}

/// A replica that some index names.
pub(crate) fn existing(state: &(impl StateRead + ?Sized), id: &ReplicaId) -> Result<ReplicaRecord> {
    required(state.replica(id)?, "replica")
}

/// Decodes stored bytes.
pub(crate) fn decode<T: BorshDeserialize>(bytes: &[u8], what: &'static str) -> Result<T> {
    T::try_from_slice(bytes).map_err(|e| Error::Corrupt { what, why: e.to_string() })
}

/// A record that must be there.
pub(crate) fn required<T>(record: Option<T>, what: &'static str) -> Result<T> {
    record.ok_or_else(|| Error::Corrupt { what, why: "it is missing".into() })
}

/// The address that stands in a key behind `at` bytes.
pub(crate) fn address_at(key: &[u8], at: usize) -> Result<Address> {
    let bytes = key.get(at..).and_then(|b| b.try_into().ok());
    bytes.map(Address).ok_or_else(|| Error::Corrupt { what: "key", why: "no address in it".into() })
}

/// The state as of one committed block.
pub struct View<'a> {
    read: Box<dyn Read + 'a>,
    chain: &'a GenesisState,
    head: Head,
}

impl<'a> View<'a> {
    /// Reads the head of a snapshot.
    pub(crate) fn new(read: Box<dyn Read + 'a>, chain: &'a GenesisState) -> Result<View<'a>> {
        let bytes = read.get(Column::Meta, &keys::head().bytes)?;
        let head = decode(&required(bytes, "head")?, "head")?;
        Ok(View { read, chain, head })
    }
    /// The last committed block.
    pub fn head(&self) -> &Head {
        &self.head
    }
    /// The chain.
    pub fn chain_id(&self) -> ChainId {
        self.chain.chain_id
    }
    /// Validators (today those of the genesis at every height).
    pub fn validators(&self) -> &ValidatorSet {
        &self.chain.validators
    }
    /// The store below.
    pub fn store(&self) -> &dyn Read {
        &*self.read
    }
}

impl StateRead for View<'_> {
    fn raw(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.read.get(key.column, &key.bytes)
    }
    fn first_rows(&self, prefix: &Key, limit: usize) -> Result<Vec<Row>> {
        self.read.scan(prefix.column, &prefix.bytes, None, limit)
    }
    fn chain(&self) -> &GenesisState {
        self.chain
    }
}
