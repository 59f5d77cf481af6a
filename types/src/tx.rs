//! Transactions: the one entrance to the state machine.
//!
//! Owns the bodies, the signed envelope and the stateless checks. The id is the hash of the unsigned part
//! (with the body by its own hash, so that a proof can show the envelope without a large body); `txs_root`
//! covers the signed bytes. Nonces are unordered: any `u64` not used before `valid_until`. Refuses to know
//! balances or nonces used: that is `state`.

use crate::account::{AccountKey, AccountSecret, AccountSignature, SignatureError};
use crate::cage_report::{CageReport, MachineClass};
use crate::codec::{self, DecodeError, bounded_vec, invalid};
use crate::hash::{Domain, Hash, hash, hash_value};
use crate::ids::{Address, ChainId, Digest, Name, TxId};
use crate::level::{CageLevel, SecurityLevel};
use crate::limits::{MAX_REPLICAS, MAX_TX_BYTES};
use crate::params::Usage;
use crate::quantity::Amount;
use crate::workload::{ImageKind, ReplicaId, Resources, Workload};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What a node declares of itself when it registers.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Name for people; unique on the chain.
    pub name: Name,
    /// libp2p peer id bytes, so that peers are authenticated against the ledger.
    pub peer_id: PeerIdBytes,
    /// What the node offers.
    pub capacity: Resources,
    /// Highest cage level that a native program can reach here.
    pub cage_level: CageLevel,
    /// Highest cage level that a WASM module can reach here.
    pub wasm_level: CageLevel,
    /// True when the node can run OCI images (root or user namespaces); WASM runs everywhere.
    pub runs_oci: bool,
    /// Machine; runs compare only within one class.
    pub machine: MachineClass,
    /// Random id of this boot of the node's process.
    pub boot_id: u64,
}

impl NodeSpec {
    /// Highest cage level that an image of this kind can reach here.
    pub fn level_for(&self, kind: ImageKind) -> CageLevel {
        match kind {
            ImageKind::Oci => self.cage_level,
            ImageKind::Wasm => self.wasm_level,
        }
    }
}

/// Bytes of a libp2p peer id, at most 64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct PeerIdBytes(#[serde(with = "hex_bytes")] pub Vec<u8>);

impl PeerIdBytes {
    /// Bytes allowed.
    pub const MAX: usize = 64;
}

impl BorshDeserialize for PeerIdBytes {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(PeerIdBytes(bounded_vec(r, Self::MAX)?))
    }
}

mod hex_bytes {
    use serde::{Deserializer, Serializer};
    pub fn serialize<S: Serializer>(v: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(v))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(d)?;
        if text.len() > 2 * super::PeerIdBytes::MAX {
            return Err(serde::de::Error::custom("a peer id has at most 64 bytes"));
        }
        hex::decode(text).map_err(serde::de::Error::custom)
    }
}

/// How a cluster ranks fitting nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementPolicy {
    /// Fewest replicas first.
    Spread,
    /// Least free capacity first.
    BinPack,
}

/// What a cluster is created with.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    /// Unique name.
    pub name: Name,
    /// Security level that every deployment here must at least ask for.
    pub security: SecurityLevel,
    /// Ranking of nodes.
    pub placement: PlacementPolicy,
    /// Member nodes; empty = every registered node.
    pub nodes: ClusterNodes,
    /// Limits of one replica here.
    pub max_replica: Resources,
}

/// A bounded list of member nodes.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct ClusterNodes(#[serde(deserialize_with = "bounded_nodes")] pub Vec<Address>);

/// The bound of the binary form holds for JSON, too: else a block could be made that no peer can decode.
fn bounded_nodes<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<Address>, D::Error> {
    let nodes = <Vec<Address> as serde::Deserialize>::deserialize(d)?;
    if nodes.len() > crate::limits::MAX_CLUSTER_NODES {
        return Err(serde::de::Error::custom("a cluster lists at most 4096 nodes"));
    }
    Ok(nodes)
}

impl BorshDeserialize for ClusterNodes {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(ClusterNodes(bounded_vec(r, crate::limits::MAX_CLUSTER_NODES)?))
    }
}

/// What a deploy transaction asks for.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploySpec {
    /// Name, unique among deployments that are not finished.
    pub name: Name,
    /// Cluster to run in.
    pub cluster: Name,
    /// Number of replicas.
    pub replicas: u32,
    /// What to run.
    pub workload: Workload,
    /// Put in escrow from the sender's balance; usage is paid from it.
    pub deposit: Amount,
}

/// What a node reports of one replica that it runs.
#[expect(
    clippy::large_enum_variant,
    reason = "decoded once and kept by value; a box would cost an allocation each"
)]
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReplicaEvent {
    /// The cage runs.
    Started,
    /// A service's health changed.
    Health {
        /// Whether the check passes.
        healthy: bool,
    },
    /// Metered use since the last report (services; a job's use is in its cage report).
    Metered {
        /// Use since the last report.
        usage: Usage,
    },
    /// The cage ended: a job's result, or a service that was stopped or crashed.
    Exited {
        /// What the cage measured.
        report: CageReport,
        /// Restarts so far by the node itself (services).
        restarts: u32,
    },
    /// The cage could not be started.
    Refused {
        /// Why, for people, at most 512 bytes.
        reason: ShortText,
    },
}

/// UTF-8 text of at most 512 bytes.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct ShortText(#[serde(deserialize_with = "bounded_text")] pub String);

fn bounded_text<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(d)?;
    if text.len() > ShortText::MAX {
        return Err(serde::de::Error::custom("a short text has at most 512 bytes"));
    }
    Ok(text)
}

impl ShortText {
    /// Bytes allowed.
    pub const MAX: usize = 512;
    /// Cuts `text` to the bound at a character boundary.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        let mut end = text.len().min(Self::MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        ShortText(text)
    }
}
impl std::fmt::Display for ShortText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl BorshDeserialize for ShortText {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        let text = String::from_utf8(bounded_vec(r, Self::MAX)?).map_err(|_| invalid("text is UTF-8"))?;
        Ok(ShortText(text))
    }
}

/// One report about one replica.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Replica reported on.
    pub replica: ReplicaId,
    /// Assignment epoch (fencing token) under which the node acted.
    pub epoch: u64,
    /// What happened.
    pub event: ReplicaEvent,
}

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TxBody {
    /// Moves money.
    Transfer {
        /// Receiving account.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Registers the sender as a node, or updates its registration.
    RegisterNode(NodeSpec),
    /// The sender, a node, is alive. Free within its quota.
    Heartbeat {
        /// Random id of this boot of the node's process.
        boot_id: u64,
        /// Capacity the node still offers, by its own view.
        free: Resources,
    },
    /// Creates a cluster owned by the sender.
    CreateCluster(ClusterSpec),
    /// Deploys a service or job.
    Deploy(DeploySpec),
    /// Changes the number of replicas of the sender's service.
    Scale {
        /// Deployment.
        deployment: Name,
        /// New number of replicas.
        replicas: u32,
        /// Added to the escrow.
        deposit: Amount,
    },
    /// Stops the sender's deployment.
    Stop {
        /// Deployment.
        deployment: Name,
    },
    /// A node's report about a replica assigned to it. Free when it changes the state.
    Report(Report),
    /// A node that runs a verified job commits to its report. Free when it changes the state.
    CommitReport {
        /// Replica that it ran.
        replica: ReplicaId,
        /// Assignment epoch under which it ran.
        epoch: u64,
        /// [`crate::cage_report::commitment`] of the report.
        commitment: Digest,
    },
    /// A node opens its commitment, after every other node committed or was too late. Free when it changes the state.
    RevealReport {
        /// Replica that it ran.
        replica: ReplicaId,
        /// Assignment epoch under which it ran.
        epoch: u64,
        /// What the cage measured.
        report: CageReport,
        /// Salt of the commitment.
        salt: Digest,
    },
    /// Has a finished job's replica run once more, on a node that has not run it; the loser pays.
    Challenge {
        /// Replica in doubt.
        replica: ReplicaId,
        /// Put up by the sender.
        bond: Amount,
    },
}

impl TxBody {
    /// Stable name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            TxBody::Transfer { .. } => "transfer",
            TxBody::RegisterNode(_) => "register-node",
            TxBody::Heartbeat { .. } => "heartbeat",
            TxBody::CreateCluster(_) => "create-cluster",
            TxBody::Deploy(_) => "deploy",
            TxBody::Scale { .. } => "scale",
            TxBody::Stop { .. } => "stop",
            TxBody::Report(_) => "report",
            TxBody::CommitReport { .. } => "commit-report",
            TxBody::RevealReport { .. } => "reveal-report",
            TxBody::Challenge { .. } => "challenge",
        }
    }

    /// Digest that the envelope carries.
    pub fn digest(&self) -> Hash {
        hash_value(Domain::TxBody, self)
    }
}

/// The unsigned part but for the body: what the id hashes.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxEnvelope {
    /// Chain that the transaction is for.
    pub chain_id: ChainId,
    /// Account that signs and pays.
    pub sender: Address,
    /// Any number not used by the sender before `valid_until`.
    pub nonce: u64,
    /// Unix milliseconds of block time after which the transaction is void; at most ten minutes ahead.
    pub valid_until: u64,
    /// The most that the sender will pay in fees.
    pub fee_limit: Amount,
    /// Hash of the body.
    #[serde(with = "crate::ids::hex32")]
    pub body_hash: Hash,
}

impl TxEnvelope {
    /// The transaction's id.
    pub fn id(&self) -> TxId {
        TxId(hash_value(Domain::Tx, self))
    }
}

/// A signed transaction.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTx {
    /// Unsigned part but for the body.
    pub envelope: TxEnvelope,
    /// What it does.
    pub body: TxBody,
    /// Key of the sender.
    pub key: AccountKey,
    /// Signature of the id.
    pub signature: AccountSignature,
}

/// Why a transaction is malformed whatever the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Not an encoding of a transaction.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// For another chain.
    #[error("the transaction is for chain {got}, this is chain {want}")]
    WrongChain {
        /// Chain named in the transaction.
        got: ChainId,
        /// This chain.
        want: ChainId,
    },
    /// The key is not the sender's.
    #[error("the key's address is {key}, but the sender is {sender}")]
    WrongKey {
        /// Address of the key.
        key: Address,
        /// Sender named.
        sender: Address,
    },
    /// The body is not the one that was signed.
    #[error("the body does not match the signed body hash")]
    WrongBody,
    /// Bad signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A bound of the body is exceeded.
    #[error("{0}")]
    Bound(String),
}

impl SignedTx {
    /// Builds and signs a transaction.
    pub fn sign(
        secret: &AccountSecret,
        chain_id: ChainId,
        nonce: u64,
        valid_until: u64,
        fee_limit: Amount,
        body: TxBody,
    ) -> SignedTx {
        let key = secret.public();
        let envelope = TxEnvelope {
            chain_id,
            sender: key.address(),
            nonce,
            valid_until,
            fee_limit,
            body_hash: body.digest(),
        };
        let signature = secret.sign(&envelope.id().0);
        SignedTx { envelope, body, key, signature }
    }

    /// The transaction's id.
    pub fn id(&self) -> TxId {
        self.envelope.id()
    }

    /// Leaf of `txs_root`: digest of the signed bytes.
    pub fn leaf(&self) -> Hash {
        crate::merkle::leaf_hash(&hash(Domain::SignedTx, &[&codec::encode(self)]))
    }

    /// Decodes bytes from outside.
    pub fn decode(bytes: &[u8]) -> Result<SignedTx, TxError> {
        Ok(codec::decode("transaction", bytes, MAX_TX_BYTES)?)
    }

    /// Checks chain, key, body hash, bounds and, last because it costs most, the signature.
    pub fn check(&self, chain: &ChainId) -> Result<(), TxError> {
        if self.envelope.chain_id != *chain {
            return Err(TxError::WrongChain { got: self.envelope.chain_id, want: *chain });
        }
        let key = self.key.address();
        if key != self.envelope.sender {
            return Err(TxError::WrongKey { key, sender: self.envelope.sender });
        }
        if self.body.digest() != self.envelope.body_hash {
            return Err(TxError::WrongBody);
        }
        self.check_bounds()?;
        Ok(self.key.verify(&self.id().0, &self.signature)?)
    }

    fn check_bounds(&self) -> Result<(), TxError> {
        let replicas = match &self.body {
            TxBody::Deploy(d) => {
                d.workload.validate().map_err(TxError::Bound)?;
                d.replicas
            }
            TxBody::Scale { replicas, .. } => *replicas,
            _ => return Ok(()),
        };
        if replicas > MAX_REPLICAS {
            return Err(TxError::Bound(format!("{replicas} replicas, at most {MAX_REPLICAS} are allowed")));
        }
        Ok(())
    }
}
