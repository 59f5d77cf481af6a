//! What the interface asks of a node.
//!
//! Owns the trait [`Backend`] and the keys of its questions. Methods are synchronous and may touch the disk:
//! this crate calls them outside the async workers, a bounded number at once. Waiting is built here, on
//! [`Backend::heights`]: a backend never waits.

use crate::error::BackendError;
use crate::metrics::Sample;
use crate::views::*;
use metanode_types::hash::Hash;
use metanode_types::ids::{Address, ContentDigest, Digest, Name, TxId};
use metanode_types::receipt::{Subject, Tier};
use metanode_types::tx::SignedTx;
use metanode_types::workload::ImageRef;
use tokio::sync::watch;

/// What every question returns.
pub type Answer<T> = Result<T, BackendError>;

/// A unique beginning of an id, at least four hex digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdPrefix(String);

impl IdPrefix {
    /// Least number of digits.
    pub const MIN: usize = 4;

    /// Reads `text`, with or without the textual prefix (`0x`, `rx_`).
    pub fn parse(textual: &str, text: &str) -> Answer<IdPrefix> {
        let bare = text.strip_prefix(textual).unwrap_or(text);
        let hex = bare.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hex || !(Self::MIN..=64).contains(&bare.len()) {
            let shown: String = text.chars().take(80).collect();
            let reason = format!(
                "{shown:?} is not an id or prefix: expected {textual} and 4 to 64 lower-case hex digits"
            );
            return Err(BackendError::invalid(reason));
        }
        Ok(IdPrefix(bare.to_owned()))
    }

    /// The digits without textual prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole id, when all digits are given.
    pub fn exact(&self) -> Option<Hash> {
        (self.0.len() == 64).then(|| self.low())
    }

    /// True when `id` begins like this.
    pub fn matches(&self, id: &Hash) -> bool {
        *id >= self.low() && *id <= self.high()
    }

    /// The lowest id that begins like this: where a range scan starts.
    pub fn low(&self) -> Hash {
        self.padded('0')
    }

    /// The highest id that begins like this: where a range scan ends.
    pub fn high(&self) -> Hash {
        self.padded('f')
    }

    fn padded(&self, digit: char) -> Hash {
        let mut text = self.0.clone();
        text.extend(std::iter::repeat_n(digit, 64 - self.0.len()));
        let mut out = [0; 32];
        hex::decode_to_slice(&text, &mut out).expect("64 hex digits, checked when parsed");
        out
    }
}

/// Which block is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockKey {
    /// The newest final block.
    Latest,
    /// The block of this height.
    Height(u64),
    /// The block whose id begins like this.
    Id(IdPrefix),
}

/// Which receipts a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiptFilter {
    /// Only this tier.
    pub tier: Option<Tier>,
    /// Only this subject.
    pub subject: Option<Subject>,
    /// Only subjects of this deployment: itself and its replicas.
    pub deployment: Option<Name>,
}

/// Whether the node can serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// True when answers are current.
    pub ready: bool,
    /// Why not, or in which sense.
    pub reason: String,
    /// Blocks that peers have and this node does not; `None` when unknown.
    pub lag: Option<u64>,
}

/// One chunk of an uploaded blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageChunk {
    /// Image that the blob belongs to.
    pub descriptor: Digest,
    /// Blob.
    pub blob: ContentDigest,
    /// Position of the first byte.
    pub offset: u64,
    /// The bytes, at most [`crate::limits::IMAGE_CHUNK_BYTES`].
    pub bytes: Vec<u8>,
}

/// What the interface asks of a node.
///
/// A list method reads at most `limit` entries, and does not scan further than that for entries that its
/// filter excludes without setting `next`: a page may be short or empty and still have a successor.
pub trait Backend: Send + Sync + 'static {
    /// Height of the newest final block, with a wake-up for each new one.
    fn heights(&self) -> watch::Receiver<u64>;
    /// Status; must not touch the disk.
    fn status(&self) -> Answer<StatusView>;
    /// Readiness; must not touch the disk.
    fn readiness(&self) -> Readiness;
    /// Numbers for `/metrics`; must not touch the disk.
    fn metrics(&self) -> Vec<Sample>;

    /// One final block.
    fn block(&self, key: &BlockKey) -> Answer<BlockView>;
    /// Blocks from the newest down, below `before`.
    fn blocks(&self, before: Option<u64>, limit: usize) -> Answer<Page<BlockSummary, u64>>;
    /// Validators of a height, or of the next one.
    fn validators(&self, height: Option<u64>) -> Answer<ValidatorsView>;
    /// The genesis.
    fn genesis(&self) -> Answer<GenesisView>;
    /// Block production.
    fn production(&self) -> Answer<ProductionView>;
    /// Counts over the ledger.
    fn stats(&self) -> Answer<LedgerStats>;

    /// Checks a transaction and puts it into the mempool; a transaction already known is accepted again.
    fn submit(&self, tx: SignedTx) -> Answer<TxId>;
    /// A transaction by id or unique prefix, pending ones included.
    fn tx(&self, id: &IdPrefix) -> Answer<TxView>;

    /// An account; one never seen has no money and is found.
    fn account(&self, address: &Address) -> Answer<AccountView>;
    /// The supply.
    fn supply(&self) -> Answer<SupplyView>;
    /// One cluster.
    fn cluster(&self, name: &Name) -> Answer<ClusterView>;
    /// Clusters by name, behind `after`.
    fn clusters(&self, after: Option<Name>, limit: usize) -> Answer<Page<ClusterView, Name>>;
    /// Registered nodes by address, behind `after`.
    fn nodes(&self, after: Option<Address>, limit: usize) -> Answer<Page<NodeView, Address>>;

    /// Deployments by name, behind `after`.
    fn deployments(&self, after: Option<Name>, limit: usize) -> Answer<Page<DeploymentView, Name>>;
    /// One deployment.
    fn deployment(&self, name: &Name) -> Answer<DeploymentView>;
    /// Why its replicas are where they are, at a height or now.
    fn explain(&self, name: &Name, height: Option<u64>) -> Answer<ExplainView>;
    /// The last `tail` bytes of a replica's stream, if this node holds it.
    fn logs(&self, name: &Name, replica: u32, stream: LogStream, tail: usize) -> Answer<LogsView>;

    /// A receipt by id or unique prefix.
    fn receipt(&self, id: &IdPrefix) -> Answer<ReceiptView>;
    /// Receipts in the order of the log, from leaf `from` on.
    fn receipts(
        &self,
        filter: &ReceiptFilter,
        from: Option<u64>,
        limit: usize,
    ) -> Answer<Page<ReceiptView, u64>>;
    /// A proof bundle's bytes.
    fn bundle(&self, receipt: &IdPrefix, full: bool) -> Answer<(metanode_types::ids::ReceiptId, Vec<u8>)>;

    /// This node's machine.
    fn node_status(&self) -> Answer<NodeStatusView>;
    /// Connected peers.
    fn peers(&self) -> Answer<Vec<PeerView>>;
    /// Images held here.
    fn images(&self) -> Answer<Vec<ImageView>>;
    /// Takes note of an image to be uploaded, and says which of its blobs are missing.
    fn image_have(&self, descriptor: &[u8]) -> Answer<ImageHaveView>;
    /// Stores one chunk.
    fn image_put(&self, chunk: ImageChunk) -> Answer<ImagePutView>;
    /// Verifies an uploaded image as a whole and offers it.
    fn image_commit(&self, descriptor: &Digest) -> Answer<ImageRef>;

    /// Events behind `after` in order, at most `limit`; fewer only at the head. When events behind `after`
    /// are no longer kept, the first entry is a [`EventView::Gap`].
    fn events(&self, after: EventCursor, limit: usize) -> Answer<Vec<EventView>>;
}
