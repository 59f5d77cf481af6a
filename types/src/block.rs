//! Headers and blocks.
//!
//! Owns their encoding and the stateless checks between a header and its body. Roots in a header are those
//! *after* the block: execution comes before the vote. Nothing in a block may depend on the block's own id.

use crate::certificate::{Bitmap, Certificate};
use crate::codec::{self, DecodeError, bounded_vec};
use crate::hash::{Domain, Hash, hash, hash_value};
use crate::ids::{Address, BlockId, ChainId};
use crate::limits::{MAX_BLOCK_BYTES, MAX_BLOCK_TXS};
use crate::merkle;
use crate::tx::SignedTx;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Version of the header's encoding; any change to it bumps this.
pub const HEADER_VERSION: u16 = 1;

/// State modules, each with a tree of its own, in the order of their roots.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Module {
    /// Balances and supply.
    Accounts,
    /// Registered nodes.
    Nodes,
    /// Clusters.
    Clusters,
    /// Deployments and replicas.
    Deployments,
    /// Heads of the subjects' receipt chains.
    Subjects,
}

impl Module {
    /// All modules in the order of `module_roots`.
    pub const ALL: [Module; 5] =
        [Module::Accounts, Module::Nodes, Module::Clusters, Module::Deployments, Module::Subjects];

    /// Stable name, part of the leaf of `app_root`.
    pub fn name(self) -> &'static str {
        match self {
            Module::Accounts => "accounts",
            Module::Nodes => "nodes",
            Module::Clusters => "clusters",
            Module::Deployments => "deployments",
            Module::Subjects => "subjects",
        }
    }
}

/// `app_root`: RFC 9162 root over the named module roots, in order.
pub fn app_root(module_roots: &[Hash; 5]) -> Hash {
    let leaves: Vec<Hash> = Module::ALL
        .iter()
        .zip(module_roots)
        .map(|(m, r)| merkle::leaf_hash(&hash(Domain::ModuleRoot, &[m.name().as_bytes(), r])))
        .collect();
    merkle::root(&leaves)
}

/// Who signed the parent's certificate, and in which round it was decided.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct LastCommit {
    /// Signers of the parent's certificate.
    pub signers: Bitmap,
    /// Round in which the parent was decided.
    pub round: u32,
}

/// A block's header; its hash is the block id.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`HEADER_VERSION`].
    pub version: u16,
    /// Chain.
    pub chain_id: ChainId,
    /// Height, from 1; the genesis state is height 0.
    pub height: u64,
    /// Proposer's clock, Unix milliseconds, greater than the parent's.
    pub time_ms: u64,
    /// Parent block id; zero at height 1.
    pub parent: BlockId,
    /// Who committed the parent.
    pub last_commit: LastCommit,
    /// RFC 9162 root over the signed transactions.
    #[serde(with = "crate::ids::hex32")]
    pub txs_root: Hash,
    /// Digest over the buckets of used nonces, after this block.
    #[serde(with = "crate::ids::hex32")]
    pub nonces_digest: Hash,
    /// Leaves in the chain-global receipts log, after this block.
    pub receipts_size: u64,
    /// Root of the receipts log, after this block.
    #[serde(with = "crate::ids::hex32")]
    pub receipts_root: Hash,
    /// Roots of the state modules, after this block, in the order of [`Module::ALL`].
    pub module_roots: ModuleRoots,
    /// RFC 9162 root over the named module roots.
    #[serde(with = "crate::ids::hex32")]
    pub app_root: Hash,
    /// Digest over the evidence in the body.
    #[serde(with = "crate::ids::hex32")]
    pub evidence_root: Hash,
    /// Validators of this height.
    #[serde(with = "crate::ids::hex32")]
    pub validators_hash: Hash,
    /// Validators of the next height.
    #[serde(with = "crate::ids::hex32")]
    pub next_validators_hash: Hash,
    /// Chain parameters of this height.
    #[serde(with = "crate::ids::hex32")]
    pub params_hash: Hash,
    /// Address of the validator that made this block.
    pub proposer: Address,
}

/// Five module roots with a readable JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct ModuleRoots(pub [Hash; 5]);

impl Serialize for ModuleRoots {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(Module::ALL.iter().zip(&self.0).map(|(m, r)| (m.name(), crate::ids::Digest(*r))))
    }
}
impl<'de> Deserialize<'de> for ModuleRoots {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut map =
            <std::collections::BTreeMap<String, crate::ids::Digest> as serde::Deserialize>::deserialize(d)?;
        let mut out = [[0; 32]; 5];
        for (m, slot) in Module::ALL.iter().zip(&mut out) {
            *slot = map.remove(m.name()).ok_or_else(|| serde::de::Error::missing_field(m.name()))?.0;
        }
        if let Some(extra) = map.keys().next() {
            return Err(serde::de::Error::custom(format!("unknown module {extra:?}")));
        }
        Ok(ModuleRoots(out))
    }
}

impl Header {
    /// The block id.
    pub fn id(&self) -> BlockId {
        BlockId(hash_value(Domain::Header, self))
    }
}

/// A block.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Header.
    pub header: Header,
    /// Certificate of the parent; absent at height 1.
    pub last_certificate: Option<Certificate>,
    /// Transactions in order.
    pub txs: Vec<SignedTx>,
}

impl BorshDeserialize for Block {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(Block {
            header: Header::deserialize_reader(r)?,
            last_certificate: Option::deserialize_reader(r)?,
            txs: bounded_vec(r, MAX_BLOCK_TXS)?,
        })
    }
}

/// A block whose header does not describe its body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not an encoding of a block.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A header field disagrees with the body or with itself.
    #[error("header field {0} does not match the block's body")]
    Mismatch(&'static str),
}

/// `txs_root` of a list of transactions.
pub fn txs_root(txs: &[SignedTx]) -> Hash {
    let leaves: Vec<Hash> = txs.iter().map(SignedTx::leaf).collect();
    merkle::root(&leaves)
}

/// `evidence_root` of a block without evidence.
pub fn no_evidence_root() -> Hash {
    hash(Domain::Evidence, &[])
}

impl Block {
    /// The block id: the hash of its header.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// Decodes bytes from outside.
    pub fn decode(bytes: &[u8]) -> Result<Block, BlockError> {
        Ok(codec::decode("block", bytes, MAX_BLOCK_BYTES)?)
    }

    /// Checks everything about header and body that needs no state.
    pub fn check_shape(&self) -> Result<(), BlockError> {
        let h = &self.header;
        let expect = |ok: bool, field| if ok { Ok(()) } else { Err(BlockError::Mismatch(field)) };
        expect(h.version == HEADER_VERSION, "version")?;
        expect(h.txs_root == txs_root(&self.txs), "txs_root")?;
        expect(h.app_root == app_root(&h.module_roots.0), "app_root")?;
        expect(h.evidence_root == no_evidence_root(), "evidence_root")?;
        match &self.last_certificate {
            None => expect(h.height == 1 && h.parent == BlockId::default(), "parent")?,
            Some(c) => {
                expect(h.height > 1 && c.height + 1 == h.height, "height")?;
                expect(c.block == h.parent, "parent")?;
                expect(
                    h.last_commit == LastCommit { signers: c.signers.clone(), round: c.round },
                    "last_commit",
                )?;
            }
        }
        expect(self.last_certificate.is_some() || h.last_commit == LastCommit::default(), "last_commit")
    }
}
