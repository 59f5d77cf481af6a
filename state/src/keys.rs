//! Where every record stands: the bytes of each key.
//!
//! Owns all key layouts. Numbers are big-endian so that byte order is numeric order. Names end with a zero byte,
//! which no name contains, so that no name's keys are a prefix of another's. Keys of state entries start with
//! the number of their module.

use crate::store::Column;
use metanode_types::block::Module;
use metanode_types::hash::{Domain, Hash, hash};
use metanode_types::ids::{Address, Name};
use metanode_types::receipt::Subject;
use metanode_types::tx::PeerIdBytes;
use metanode_types::workload::ReplicaId;

/// A column and a key in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Column.
    pub column: Column,
    /// Key.
    pub bytes: Vec<u8>,
}

impl Key {
    fn new(column: Column, parts: &[&[u8]]) -> Key {
        Key { column, bytes: parts.concat() }
    }

    fn entry(module: Module, kind: u8, parts: &[&[u8]]) -> Key {
        let mut bytes = vec![module as u8, kind];
        parts.iter().for_each(|p| bytes.extend_from_slice(p));
        Key { column: Column::Entries, bytes }
    }

    /// Module of a state entry's key.
    pub fn module(&self) -> Option<Module> {
        if self.column != Column::Entries {
            return None;
        }
        Module::ALL.into_iter().find(|m| self.bytes.first() == Some(&(*m as u8)))
    }
}

/// Position of a state entry in its module's tree.
pub fn tree_key(key: &[u8]) -> Hash {
    hash(Domain::StateKey, &[key])
}

const ACCOUNT: u8 = b'a';
const SUPPLY: u8 = b's';
const NODE: u8 = b'n';
const NODE_NAME: u8 = b'm';
const PEER: u8 = b'p';
const CLUSTER: u8 = b'c';
const DEPLOYMENT: u8 = b'd';
const WORKLOAD: u8 = b'w';
const REPLICA: u8 = b'r';
const SUBJECT: u8 = b'h';

/// Head of the chain.
pub fn head() -> Key {
    Key::new(Column::Meta, &[b"head"])
}
/// The genesis values this home was started with.
pub fn genesis() -> Key {
    Key::new(Column::Meta, &[b"genesis"])
}
/// An account.
pub fn account(a: &Address) -> Key {
    Key::entry(Module::Accounts, ACCOUNT, &[&a.0])
}
/// Prefix of all accounts.
pub fn accounts() -> Key {
    Key::entry(Module::Accounts, ACCOUNT, &[])
}
/// The supply.
pub fn supply() -> Key {
    Key::entry(Module::Accounts, SUPPLY, &[])
}
/// A node.
pub fn node(a: &Address) -> Key {
    Key::entry(Module::Nodes, NODE, &[&a.0])
}
/// Prefix of all nodes.
pub fn nodes() -> Key {
    Key::entry(Module::Nodes, NODE, &[])
}
/// Address of the node with a name.
pub fn node_name(n: &Name) -> Key {
    Key::entry(Module::Nodes, NODE_NAME, &[n.as_str().as_bytes()])
}
/// Address of the node with a peer id.
pub fn peer(p: &PeerIdBytes) -> Key {
    Key::entry(Module::Nodes, PEER, &[&p.0])
}
/// A cluster.
pub fn cluster(n: &Name) -> Key {
    Key::entry(Module::Clusters, CLUSTER, &[n.as_str().as_bytes()])
}
/// Prefix of all clusters.
pub fn clusters() -> Key {
    Key::entry(Module::Clusters, CLUSTER, &[])
}
/// A deployment.
pub fn deployment(n: &Name) -> Key {
    Key::entry(Module::Deployments, DEPLOYMENT, &[n.as_str().as_bytes()])
}
/// Prefix of all deployments.
pub fn deployments() -> Key {
    Key::entry(Module::Deployments, DEPLOYMENT, &[])
}
/// Workload of a deployment.
pub fn workload(n: &Name) -> Key {
    Key::entry(Module::Deployments, WORKLOAD, &[n.as_str().as_bytes()])
}
/// A replica.
pub fn replica(r: &ReplicaId) -> Key {
    Key::entry(Module::Deployments, REPLICA, &[&replica_bytes(r)])
}
/// Prefix of a deployment's replicas.
pub fn replicas(n: &Name) -> Key {
    Key::entry(Module::Deployments, REPLICA, &[n.as_str().as_bytes(), &[0]])
}
/// Head of a subject's chain of receipts.
pub fn subject(s: &Subject) -> Key {
    Key::entry(Module::Subjects, SUBJECT, &[&metanode_types::codec::encode(s)])
}

fn replica_bytes(r: &ReplicaId) -> Vec<u8> {
    [r.deployment.as_str().as_bytes(), &[0], &r.index.to_be_bytes()].concat()
}

/// A replica that waits for a node since `height`.
pub fn pending(since_height: u64, r: &ReplicaId) -> Key {
    Key::new(Column::Pending, &[&since_height.to_be_bytes(), &replica_bytes(r)])
}
/// Prefix of everything pending.
pub fn all_pending() -> Key {
    Key::new(Column::Pending, &[])
}
/// A node, by the chain-alive time of its last heartbeat.
pub fn heartbeat_due(last_alive_ms: u64, a: &Address) -> Key {
    Key::new(Column::HeartbeatDue, &[&last_alive_ms.to_be_bytes(), &a.0])
}
/// A replica held by a node.
pub fn node_replica(a: &Address, r: &ReplicaId) -> Key {
    Key::new(Column::NodeReplicas, &[&a.0, &replica_bytes(r)])
}
/// Prefix of the replicas held by a node.
pub fn node_replicas(a: &Address) -> Key {
    Key::new(Column::NodeReplicas, &[&a.0])
}
/// A finished deployment, by the block time at which its records go.
pub fn expiry(at_ms: u64, n: &Name) -> Key {
    Key::new(Column::Expiry, &[&at_ms.to_be_bytes(), n.as_str().as_bytes()])
}
/// A verification whose stage ends at a chain-alive time.
pub fn due_alive(at_ms: u64, r: &ReplicaId) -> Key {
    Key::new(Column::VerifyDue, &[b"a", &at_ms.to_be_bytes(), &replica_bytes(r)])
}
/// Prefix of all of these.
pub fn all_due_alive() -> Key {
    Key::new(Column::VerifyDue, &[b"a"])
}
/// A verification that may be challenged up to a height.
pub fn due_height(height: u64, r: &ReplicaId) -> Key {
    Key::new(Column::VerifyDue, &[b"h", &height.to_be_bytes(), &replica_bytes(r)])
}
/// Prefix of all of these.
pub fn all_due_height() -> Key {
    Key::new(Column::VerifyDue, &[b"h"])
}
/// Prefix of all expiries.
pub fn all_expiry() -> Key {
    Key::new(Column::Expiry, &[])
}
/// A used nonce.
pub fn nonce(bucket: u64, sender: &Address, nonce: u64) -> Key {
    Key::new(Column::Nonces, &[&bucket.to_be_bytes(), &sender.0, &nonce.to_be_bytes()])
}
/// Hash chain of a bucket of nonces.
pub fn nonce_bucket(bucket: u64) -> Key {
    Key::new(Column::NonceBuckets, &[&bucket.to_be_bytes()])
}
/// First eight bytes of a key as a number, for keys that start with one.
pub fn leading_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(..8)?.try_into().ok()?))
}

/// Proposer turns of a validator.
pub fn production(a: &Address) -> Key {
    Key::new(Column::Production, &[&a.0])
}
/// A height as a key.
pub fn height(h: u64) -> [u8; 8] {
    h.to_be_bytes()
}
/// A node of the receipts log.
pub fn log_node(level: u8, index: u64) -> [u8; 9] {
    let mut out = [0; 9];
    out[0] = level;
    out[1..].copy_from_slice(&index.to_be_bytes());
    out
}
/// Log index of a subject's receipt.
pub fn subject_receipt(s: &Subject, seq: u64) -> Vec<u8> {
    let mut out = metanode_types::codec::encode(s);
    out.extend_from_slice(&seq.to_be_bytes());
    out
}
/// Log index of a receipt that concerns a deployment.
pub fn deployment_receipt(n: &Name, log_index: u64) -> Vec<u8> {
    [n.as_str().as_bytes(), &[0], &log_index.to_be_bytes()].concat()
}
/// Prefix of the receipts that concern a deployment.
pub fn deployment_receipts(n: &Name) -> Vec<u8> {
    [n.as_str().as_bytes(), &[0]].concat()
}
