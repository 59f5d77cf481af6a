//! What this node answers over its interface.
//!
//! Owns [`NodeBackend`], the one implementation of `metanode_rpc::Backend`: it joins the committed ledger,
//! the chain loop, the network, the image store and the cages. Every answer about the ledger comes from one
//! snapshot of what is final here. Refuses to compute anything that the chain decides, and to answer with a
//! constant where a measurement is missing. Reading order: `pulse` (what is known without waiting), `history`
//! and `ledger` (what is final), `bundle` (proofs), `deployments`, `nodes` and `logs` (what runs where),
//! `images` (what is handed in).

pub(crate) mod bundle;
mod chain;
mod deployments;
mod events;
mod fault;
mod history;
mod images;
mod ledger;
mod logs;
mod metrics;
mod nodes;
mod pulse;
#[cfg(test)]
mod tests;
mod verification;

use crate::chain::thread::{ChainHandle, Snapshot};
use crate::config::Config;
use crate::home::Home;
use crate::ledger_reader::LedgerReader;
use fault::{broken, lock};
use images::Uploads;
use metanode_genesis::Genesis;
use metanode_p2p::Network;
use metanode_rpc::backend::{Answer, Backend, BlockKey, IdPrefix, ImageChunk, Readiness, ReceiptFilter};
use metanode_rpc::error::BackendError;
use metanode_rpc::metrics::Sample;
use metanode_rpc::views::*;
use metanode_runtime::driver::Driver;
use metanode_runtime::image::ImageStore;
use metanode_state::View;
use metanode_types::ids::{Address, Digest, Name, ReceiptId, TxId};
use metanode_types::tx::{NodeSpec, SignedTx};
use metanode_types::verify::TrustRoot;
use metanode_types::workload::ImageRef;
use pulse::Pulse;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Blocks that peers may hold beyond ours in the normal course: the quorum commits a moment before the last
/// to hear.
const NORMAL_LAG: u64 = 1;
/// A node is not ready when no block came for this many idle intervals.
const QUIET_INTERVALS: u32 = 3;

/// What the backend is made of.
pub struct BackendParts {
    /// The committed ledger.
    pub ledger: LedgerReader,
    /// The chain loop.
    pub chain: ChainHandle,
    /// The chain's genesis.
    pub genesis: Arc<Genesis>,
    /// Images held here.
    pub images: ImageStore,
    /// The cages; none when this node runs no workloads.
    pub driver: Option<Arc<Mutex<Driver>>>,
    /// The network.
    pub network: Arc<dyn Network>,
    /// Its settings.
    pub config: Config,
    /// Where this node's files are; uploads are staged below its data directory.
    pub home: Home,
    /// What this node declares of itself.
    pub spec: NodeSpec,
    /// Account of this node.
    pub account: Address,
    /// Addresses on which it listens for peers.
    pub listen: Vec<String>,
    /// What this machine lacks for cages, in words, as found at the start.
    pub missing: Vec<String>,
    /// When the process started, Unix milliseconds.
    pub started_ms: u64,
}

/// Why the backend could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BackendSetupError {
    /// The ledger could not be read.
    #[error("read the ledger: {0}")]
    ReadLedger(BackendError),
    /// The directory for uploads could not be prepared.
    #[error("prepare the uploads in {dir}: {source}")]
    PrepareUploads {
        /// The directory.
        dir: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A background thread could not be started.
    #[error("start a background thread: {0}")]
    StartThread(std::io::Error),
    /// The ledger is of another chain than the genesis.
    #[error("the ledger is of chain {ledger}, the genesis of {genesis}")]
    OtherChain {
        /// Chain of the ledger.
        ledger: String,
        /// Chain of the genesis.
        genesis: String,
    },
}

/// See the module.
pub struct NodeBackend {
    parts: BackendParts,
    trust: TrustRoot,
    uploads: Uploads,
    pulse: Pulse,
    started: Instant,
    stats: Mutex<Option<Counted>>,
    /// Held while a past height is executed again: one at a time.
    replay: Mutex<()>,
    /// The meter ends when this is dropped.
    _meter: SyncSender<()>,
}

/// Counts over the ledger and what counting cost.
struct Counted {
    stats: LedgerStats,
    at: Instant,
    took: Duration,
}

impl NodeBackend {
    /// Sets up the backend and its background threads, which end with it.
    pub fn new(parts: BackendParts) -> Result<Arc<NodeBackend>, BackendSetupError> {
        let (ledger, genesis) = (parts.ledger.chain_id(), parts.genesis.chain_id());
        if ledger != genesis {
            let (ledger, genesis) = (ledger.to_string(), genesis.to_string());
            return Err(BackendSetupError::OtherChain { ledger, genesis });
        }
        let (data, dir) = (parts.home.data_dir(), parts.home.data_dir().join("uploads"));
        let uploads = Uploads::open(parts.images.clone(), &dir)
            .map_err(|source| BackendSetupError::PrepareUploads { dir: dir.display().to_string(), source })?;
        let pulse = Pulse::new(&parts.ledger).map_err(BackendSetupError::ReadLedger)?;
        let heights = parts.chain.heights();
        let (meter, alive) = std::sync::mpsc::sync_channel(0);
        let backend = Arc::new(NodeBackend {
            trust: parts.genesis.trust_root(),
            uploads,
            pulse,
            started: Instant::now(),
            stats: Mutex::default(),
            replay: Mutex::default(),
            _meter: meter,
            parts,
        });
        pulse::follow(&backend, heights).map_err(BackendSetupError::StartThread)?;
        pulse::measure(&backend, &data, alive).map_err(BackendSetupError::StartThread)?;
        Ok(backend)
    }

    /// What is final now. Status never tells of less than some answer has shown.
    fn view(&self) -> Answer<View<'_>> {
        let view = self.parts.ledger.view().map_err(broken)?;
        self.pulse.note(view.head());
        Ok(view)
    }

    /// One beat of the pulse.
    fn look(&self) -> Answer<()> {
        if let Some(driver) = &self.parts.driver {
            // A driver at work keeps its lock: the count of the last look stands until it is done.
            let driver = match driver.try_lock() {
                Ok(driver) => Some(driver),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(driver) = driver {
                self.pulse.note_cages(live_cages(&driver));
            }
        }
        self.pulse.look(&self.parts.ledger)
    }

    fn role(&self) -> Role {
        let votes = self.parts.genesis.validator_set().get(&self.parts.account).is_some();
        if votes { Role::Validator } else { Role::Follower }
    }

    fn is_catching_up(&self, snapshot: &Snapshot, height: u64) -> bool {
        snapshot.claimed_tip > height + NORMAL_LAG
    }

    fn ready(&self) -> Readiness {
        let (snapshot, head) = (self.parts.chain.snapshot(), self.pulse.head());
        let lag = (snapshot.claimed_tip > 0).then(|| snapshot.claimed_tip.saturating_sub(head.height));
        let not = |reason: String| Readiness { ready: false, reason, lag };
        if self.is_catching_up(&snapshot, head.height) {
            return not(format!(
                "catching up: at height {}, peers hold {}",
                head.height, snapshot.claimed_tip
            ));
        }
        if head.height == 0 {
            return not("no block is final here yet".to_owned());
        }
        let idle = Duration::from_millis(self.parts.genesis.params().idle_interval_ms);
        let quiet = head.since.unwrap_or(self.started).elapsed();
        if quiet > idle * QUIET_INTERVALS {
            let (quiet, idle) = (quiet.as_secs_f64(), idle.as_secs_f64());
            return not(format!("no block for {quiet:.1} s, one is due every {idle:.1} s at the latest"));
        }
        Readiness { ready: true, reason: format!("serving at height {}", head.height), lag }
    }

    /// Counting reads every account: the counts of a height are made once, and a slow count is not repeated
    /// at once.
    fn counts(&self) -> Answer<LedgerStats> {
        let mut counted = lock(&self.stats);
        let view = self.view()?;
        if let Some(known) = &*counted
            && (known.stats.height == view.head().height || known.at.elapsed() < 10 * known.took)
        {
            return Ok(known.stats.clone());
        }
        let begun = Instant::now();
        let stats = chain::stats(&view)?;
        *counted = Some(Counted { stats: stats.clone(), at: Instant::now(), took: begun.elapsed() });
        Ok(stats)
    }

    fn explain_past(&self, name: &Name, height: u64) -> Answer<ExplainView> {
        let view = self.view()?;
        if height == view.head().height {
            return deployments::explain(&view, name);
        }
        let height = history::final_height(&view, height)?;
        let _one = match self.replay.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let why = "another past height is being explained";
                return Err(BackendError::unavailable(why).next("try again in a moment"));
            }
        };
        let past = deployments::replayed(&view, height)?;
        deployments::explain(&past.view().map_err(broken)?, name)
    }
}

fn live_cages(driver: &Driver) -> u64 {
    driver.cages().iter().filter(|(_, is_live)| *is_live).count() as u64
}

impl Backend for NodeBackend {
    fn heights(&self) -> watch::Receiver<u64> {
        self.pulse.heights()
    }

    fn status(&self) -> Answer<StatusView> {
        let (snapshot, head) = (self.parts.chain.snapshot(), self.pulse.head());
        Ok(StatusView {
            chain_id: self.parts.genesis.chain_id(),
            chain_name: self.parts.genesis.chain_name().to_string(),
            node: self.parts.spec.name.to_string(),
            address: self.parts.account,
            role: self.role(),
            height: head.height,
            block: (head.height > 0).then_some(head.block),
            block_time_ms: head.time_ms,
            app_root: head.app_root,
            catching_up: self.is_catching_up(&snapshot, head.height),
            peers: snapshot.peers as u64,
            mempool: MempoolView { txs: snapshot.waiting_txs as u64, bytes: snapshot.waiting_bytes as u64 },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            disk_bytes: self.pulse.disk_bytes(),
            started_ms: self.parts.started_ms,
            last_block_age_ms: head.since.map(|since| since.elapsed().as_millis() as u64),
        })
    }
    fn readiness(&self) -> Readiness {
        self.ready()
    }
    fn metrics(&self) -> Vec<Sample> {
        metrics::samples(self)
    }

    fn block(&self, key: &BlockKey) -> Answer<BlockView> {
        chain::one(&self.view()?, key)
    }
    fn blocks(&self, before: Option<u64>, limit: usize) -> Answer<Page<BlockSummary, u64>> {
        chain::list(&self.view()?, before, limit)
    }
    fn validators(&self, height: Option<u64>) -> Answer<ValidatorsView> {
        chain::validators(&self.view()?, &self.parts.genesis, height)
    }
    fn genesis(&self) -> Answer<GenesisView> {
        chain::genesis(&self.parts.genesis)
    }
    fn production(&self) -> Answer<ProductionView> {
        let waiting = self.parts.chain.snapshot().waiting_txs as u64;
        chain::production(&self.view()?, &self.parts.genesis, self.role(), waiting)
    }
    fn stats(&self) -> Answer<LedgerStats> {
        self.counts()
    }

    fn submit(&self, tx: SignedTx) -> Answer<TxId> {
        ledger::submit(&self.parts.chain, tx)
    }
    fn tx(&self, id: &IdPrefix) -> Answer<TxView> {
        if let Some(found) = ledger::final_tx(&self.view()?, id)? {
            return Ok(found);
        }
        if let Some(waiting) = id.exact().and_then(|exact| self.parts.chain.pending(TxId(exact))) {
            return Ok(ledger::pending_tx(&waiting));
        }
        // It may have become final between the two looks.
        ledger::final_tx(&self.view()?, id)?.ok_or_else(|| ledger::no_tx(id))
    }

    fn account(&self, address: &Address) -> Answer<AccountView> {
        ledger::account(&self.view()?, address)
    }
    fn supply(&self) -> Answer<SupplyView> {
        ledger::supply(&self.view()?)
    }
    fn cluster(&self, name: &Name) -> Answer<ClusterView> {
        nodes::cluster(&self.view()?, name)
    }
    fn clusters(&self, after: Option<Name>, limit: usize) -> Answer<Page<ClusterView, Name>> {
        nodes::clusters(&self.view()?, after.as_ref(), limit)
    }
    fn nodes(&self, after: Option<Address>, limit: usize) -> Answer<Page<NodeView, Address>> {
        nodes::nodes(&self.view()?, after.as_ref(), limit)
    }

    fn deployments(&self, after: Option<Name>, limit: usize) -> Answer<Page<DeploymentView, Name>> {
        deployments::list(&self.view()?, after.as_ref(), limit)
    }
    fn deployment(&self, name: &Name) -> Answer<DeploymentView> {
        deployments::one(&self.view()?, name)
    }
    fn explain(&self, name: &Name, height: Option<u64>) -> Answer<ExplainView> {
        match height {
            None => deployments::explain(&self.view()?, name),
            Some(height) => self.explain_past(name, height),
        }
    }
    fn logs(&self, name: &Name, replica: u32, stream: LogStream, tail: usize) -> Answer<LogsView> {
        let kept = self.parts.config.log_bytes();
        let wanted = logs::Wanted { deployment: name, index: replica, stream, tail, kept };
        let me = (&self.parts.account, &self.parts.spec);
        logs::tail(&self.view()?, self.parts.driver.as_deref(), me, &wanted)
    }

    fn receipt(&self, id: &IdPrefix) -> Answer<ReceiptView> {
        ledger::receipt(&self.view()?, id)
    }
    fn receipts(
        &self,
        filter: &ReceiptFilter,
        from: Option<u64>,
        limit: usize,
    ) -> Answer<Page<ReceiptView, u64>> {
        ledger::receipts(&self.view()?, filter, from, limit)
    }
    fn bundle(&self, receipt: &IdPrefix, full: bool) -> Answer<(ReceiptId, Vec<u8>)> {
        bundle::export(&self.view()?, &self.trust, receipt, full)
    }

    fn node_status(&self) -> Answer<NodeStatusView> {
        let spec = &self.parts.spec;
        let cages = self.parts.driver.as_ref().map_or(0, |driver| live_cages(&lock(driver)));
        Ok(NodeStatusView {
            name: spec.name.to_string(),
            address: self.parts.account,
            peer_id: self.parts.network.local_peer_id().to_string(),
            listen: self.parts.listen.clone(),
            cage_level: spec.cage_level,
            runs_oci: spec.runs_oci,
            cages: u32::try_from(cages).unwrap_or(u32::MAX),
            image_bytes: self.uploads.bytes_held()?,
            missing: self.parts.missing.clone(),
        })
    }
    fn peers(&self) -> Answer<Vec<PeerView>> {
        nodes::peers(&self.view()?, self.parts.network.peers())
    }
    fn images(&self) -> Answer<Vec<ImageView>> {
        self.uploads.images()
    }
    fn image_have(&self, descriptor: &[u8]) -> Answer<ImageHaveView> {
        self.uploads.have(descriptor)
    }
    fn image_put(&self, chunk: ImageChunk) -> Answer<ImagePutView> {
        self.uploads.put(&chunk)
    }
    fn image_commit(&self, descriptor: &Digest) -> Answer<ImageRef> {
        self.uploads.commit(descriptor)
    }

    fn events(&self, after: EventCursor, limit: usize) -> Answer<Vec<EventView>> {
        events::behind(&self.view()?, after, limit)
    }
}
