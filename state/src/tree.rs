//! One authenticated tree per module: roots, updates, proofs, pruning.
//!
//! Owns the use of `jmt`. A tree holds the hash of each entry's key and of its value; the values themselves stand
//! once, in the flat column. A tree gets one version per block that changes its module, none otherwise, so an
//! idle block writes nothing. Replaced nodes go into a stale index and are removed
//! [`TREE_VERSIONS_KEPT`] versions later, a bounded number per commit.

use crate::error::{Error, Result};
use crate::keys::tree_key;
use crate::limits::{TREE_PRUNE_EXTRA, TREE_VERSIONS_KEPT};
use crate::store::{Batch, Column, Read};
use borsh::BorshDeserialize;
use jmt::proof::SparseMerkleProof;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleIterator, JellyfishMerkleTree, KeyHash, OwnedValue, RootHash, Version};
use metanode_types::block::Module;
use metanode_types::codec::encode;
use metanode_types::hash::Hash;
use sha2::Sha256;

/// Changes of one module's tree by one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeUpdate {
    /// Module.
    pub module: Module,
    /// Version after the block.
    pub version: u64,
    /// Root after the block.
    pub root: Hash,
    nodes: TreeUpdateBatch,
}

/// Proof that a module's tree holds an entry, or that it does not.
#[derive(Clone, Debug)]
pub struct EntryProof {
    /// Module.
    pub module: Module,
    /// Key of the entry, with the module's number.
    pub key: Vec<u8>,
    /// The entry, if there is one.
    pub value: Option<Vec<u8>>,
    proof: SparseMerkleProof<Sha256>,
}

impl EntryProof {
    /// Checks the proof against the module's root.
    pub fn verify(&self, root: &Hash) -> Result<()> {
        let root = RootHash(*root);
        let checked = match &self.value {
            Some(value) => self.proof.verify_existence(root, KeyHash(tree_key(&self.key)), value),
            None => self.proof.verify_nonexistence(root, KeyHash(tree_key(&self.key))),
        };
        checked.map_err(|e| tree_error(self.module, format!("{e:#}")))
    }
    /// The tree's part of the proof in its own encoding.
    pub fn encoded(&self) -> Vec<u8> {
        encode(&self.proof)
    }
}

fn tree_error(module: Module, why: String) -> Error {
    Error::Tree { module: module.name(), why }
}

/// Names the error type of the tree's interface without depending on the crate that defines it.
trait ErrorOf {
    type Error;
}
impl<T, E> ErrorOf for std::result::Result<T, E> {
    type Error = E;
}
type TreeResult<T> =
    std::result::Result<T, <<JellyfishMerkleIterator<Nodes<'static>> as Iterator>::Item as ErrorOf>::Error>;

/// The nodes of one module's tree. `value` is that of the one key being proven, since the tree asks for it.
struct Nodes<'a> {
    read: &'a dyn Read,
    module: Module,
    value: Option<Vec<u8>>,
}

fn node_key(module: Module, key: &NodeKey) -> Vec<u8> {
    let mut out = vec![module as u8];
    out.extend_from_slice(&encode(key));
    out
}

impl TreeReader for Nodes<'_> {
    fn get_node_option(&self, key: &NodeKey) -> TreeResult<Option<Node>> {
        let bytes = self.read.get(Column::TreeNodes, &node_key(self.module, key))?;
        Ok(bytes.map(|b| Node::try_from_slice(&b)).transpose()?)
    }
    fn get_value_option(&self, _: Version, _: KeyHash) -> TreeResult<Option<OwnedValue>> {
        Ok(self.value.clone())
    }
    fn get_rightmost_leaf(&self) -> TreeResult<Option<(NodeKey, LeafNode)>> {
        Ok(None)
    }
}

/// The tree of `module` after `changes` (full keys; `None` removes) on top of `before`, its latest version.
pub fn update(
    read: &dyn Read,
    module: Module,
    before: Option<u64>,
    changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Result<TreeUpdate> {
    let version = before.map_or(0, |v| v + 1);
    let nodes = Nodes { read, module, value: None };
    let set = changes.into_iter().map(|(key, value)| (KeyHash(tree_key(&key)), value));
    let tree = JellyfishMerkleTree::<_, Sha256>::new(&nodes);
    let (root, nodes) = tree.put_value_set(set, version).map_err(|e| tree_error(module, format!("{e:#}")))?;
    Ok(TreeUpdate { module, version, root: root.0, nodes })
}

/// Root of the tree of `module` at `version`.
pub fn root(read: &dyn Read, module: Module, version: u64) -> Result<Hash> {
    let nodes = Nodes { read, module, value: None };
    let root = JellyfishMerkleTree::<_, Sha256>::new(&nodes).get_root_hash(version);
    root.map(|r| r.0).map_err(|e| tree_error(module, format!("{e:#}")))
}

/// Proves what `key` holds at `version`, which must be the latest.
pub fn prove(read: &dyn Read, module: Module, version: u64, key: Vec<u8>) -> Result<EntryProof> {
    let value = read.get(Column::Entries, &key)?;
    let nodes = Nodes { read, module, value: value.clone() };
    let tree = JellyfishMerkleTree::<_, Sha256>::new(&nodes);
    let proven = tree.get_with_proof(KeyHash(tree_key(&key)), version);
    let (found, proof) = proven.map_err(|e| tree_error(module, format!("{e:#}")))?;
    if found != value {
        return Err(tree_error(module, "the flat entry and the tree disagree".into()));
    }
    Ok(EntryProof { module, key, value, proof })
}

fn stale_key(module: Module, since: u64, key: &[u8]) -> Vec<u8> {
    let mut out = vec![module as u8];
    out.extend_from_slice(&since.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// Writes an update, and removes nodes that have been stale for long.
pub fn write(read: &dyn Read, update: &TreeUpdate, batch: &mut Batch) -> Result<()> {
    for (key, node) in update.nodes.node_batch.nodes() {
        batch.put(Column::TreeNodes, node_key(update.module, key), encode(node));
    }
    let stale = &update.nodes.stale_node_index_batch;
    for index in stale {
        debug_assert_eq!(index.stale_since_version, update.version);
        batch.put(Column::TreeStale, stale_key(update.module, update.version, &encode(&index.node_key)), []);
    }
    let Some(horizon) = update.version.checked_sub(TREE_VERSIONS_KEPT) else { return Ok(()) };
    let limit = stale.len() + TREE_PRUNE_EXTRA;
    for (key, _) in read.scan(Column::TreeStale, &[update.module as u8], None, limit)? {
        let since = crate::keys::leading_number(&key[1..]).unwrap_or(u64::MAX);
        if since > horizon {
            break;
        }
        let node = [&[update.module as u8], &key[9..]].concat();
        batch.delete(Column::TreeNodes, node);
        batch.delete(Column::TreeStale, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
