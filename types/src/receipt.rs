//! Receipts: what the state machine certifies happened.
//!
//! Owns the one envelope and the bodies of the four tiers. All receipts of a chain stand in one append-only
//! RFC 9162 log whose size and root every header commits. A receipt has no signature of its own: its author's
//! is that of the transaction that caused it, its authority is the certificate. Receipts of one subject form
//! a chain: `seq` counts from 0, `previous` names the predecessor, `before` equals the predecessor's `after`.
//! Only `state` makes receipts.

mod action;
mod economic;
mod verified;

pub use action::{Action, UnassignReason};
pub use economic::{Economic, EconomicKind, Holder, Posting};
pub use verified::{Said, Vote, Votes, majority};

use crate::codec::{self, DecodeError, bounded_vec};
use crate::hash::{Domain, Hash, hash_value};
use crate::ids::{Address, Digest, Name, ReceiptId, TxId};
use crate::limits::{MAX_REASONS, MAX_RECEIPT_BYTES};
use crate::merkle;
use crate::params::SecurityProfile;
use crate::quantity::Amount;
use crate::tx::ShortText;
use crate::workload::{ReplicaId, Resources};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The four tiers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// What was done.
    Action,
    /// The rules under which a deployment was admitted.
    Agreement,
    /// The admission decision.
    Pipeline,
    /// Who paid whom.
    Economic,
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Tier::Action => "action",
            Tier::Agreement => "agreement",
            Tier::Pipeline => "pipeline",
            Tier::Economic => "economic",
        })
    }
}

/// What a receipt is about. Each subject has one chain of receipts.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// What an account has spent.
    Account(Address),
    /// A node's registration and life.
    Node(Address),
    /// A cluster.
    Cluster(Name),
    /// A deployment, with its escrow.
    Deployment(Name),
    /// One replica's assignment and cage.
    Replica(ReplicaId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Account(a) => write!(f, "account {}", a.short()),
            Subject::Node(a) => write!(f, "node {}", a.short()),
            Subject::Cluster(n) => write!(f, "cluster {n}"),
            Subject::Deployment(n) => write!(f, "deployment {n}"),
            Subject::Replica(r) => write!(f, "replica {r}"),
        }
    }
}

/// Body of an Agreement receipt: the rules under which a deployment was admitted.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Agreement {
    /// Cluster whose rules apply.
    pub cluster: Name,
    /// Row of the chain's security table that applies.
    pub profile: SecurityProfile,
    /// Limits of one replica.
    pub limits: Resources,
    /// Replicas admitted.
    pub replicas: u32,
    /// Digest of the workload.
    pub workload: Digest,
    /// Who pays.
    pub payer: Address,
    /// Escrow that covers the use.
    pub deposit: Amount,
}

impl Agreement {
    /// Digest that seeds and later receipts refer to.
    pub fn digest(&self) -> Digest {
        Digest(hash_value(Domain::Agreement, self))
    }
}

/// Verdict of admission; the most severe rule wins.
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
pub enum Light {
    /// Admitted.
    Green,
    /// Held for approval.
    Yellow,
    /// Refused.
    Red,
}

/// What one admission rule said.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RuleOutcome {
    /// Stable name of the rule.
    pub rule: ShortText,
    /// Its verdict.
    pub light: Light,
    /// Why.
    pub reason: ShortText,
}

/// Body of a Pipeline receipt: the admission decision.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, Serialize, Deserialize)]
pub struct Pipeline {
    /// The verdict.
    pub light: Light,
    /// Every rule that was asked, in order.
    pub rules: Vec<RuleOutcome>,
    /// Digest of the workload that was judged.
    pub workload: Digest,
}

impl BorshDeserialize for Pipeline {
    fn deserialize_reader<R: borsh::io::Read>(r: &mut R) -> borsh::io::Result<Self> {
        Ok(Pipeline {
            light: Light::deserialize_reader(r)?,
            rules: bounded_vec(r, MAX_REASONS)?,
            workload: Digest::deserialize_reader(r)?,
        })
    }
}

/// Body of a receipt, by tier.
#[expect(
    clippy::large_enum_variant,
    reason = "decoded once and kept by value; a box would cost an allocation each"
)]
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptBody {
    /// What was done.
    Action(Action),
    /// The rules of an admission.
    Agreement(Agreement),
    /// The decision of an admission.
    Pipeline(Pipeline),
    /// Who paid whom.
    Economic(Economic),
}

/// A receipt. Its id is its hash; its leaf in the log is `leaf_hash(borsh(receipt))`.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Receipt {
    /// What it is about.
    pub subject: Subject,
    /// Position in the subject's chain, from 0.
    pub seq: u64,
    /// Predecessor in the subject's chain.
    pub previous: Option<ReceiptId>,
    /// Height of the block that made it.
    pub height: u64,
    /// Index in the block of the transaction that caused it; `None` for placement at the block's end.
    pub tx_index: Option<u32>,
    /// Id of that transaction.
    pub tx: Option<TxId>,
    /// Digest of the subject's record before. Zero = the subject had no receipt and no record yet; the first
    /// receipt of every chain (`seq` 0) has zero here, an account's too (its record covers what it *spent*).
    pub before: Digest,
    /// Digest of the subject's record after.
    pub after: Digest,
    /// What happened.
    pub body: ReceiptBody,
}

impl Receipt {
    /// The receipt's id.
    pub fn id(&self) -> ReceiptId {
        ReceiptId(hash_value(Domain::Receipt, self))
    }
    /// Its leaf in the receipts log.
    pub fn leaf(&self) -> Hash {
        merkle::leaf_hash(&codec::encode(self))
    }
    /// Its tier.
    pub fn tier(&self) -> Tier {
        match self.body {
            ReceiptBody::Action(_) => Tier::Action,
            ReceiptBody::Agreement(_) => Tier::Agreement,
            ReceiptBody::Pipeline(_) => Tier::Pipeline,
            ReceiptBody::Economic(_) => Tier::Economic,
        }
    }
    /// Decodes bytes from outside.
    pub fn decode(bytes: &[u8]) -> Result<Receipt, DecodeError> {
        codec::decode("receipt", bytes, MAX_RECEIPT_BYTES)
    }
}

/// Leaf 0 of every receipts log: the genesis hash.
pub fn genesis_leaf(chain: &crate::ids::ChainId) -> Hash {
    merkle::leaf_hash(&chain.0)
}
