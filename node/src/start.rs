//! What one node process is made of, and the order in which it begins and ends.
//!
//! ```text
//!   lock home ─ genesis ─ store ─ journal ─ network ─ chain thread ─ agent ─ RPC
//!   SIGINT/SIGTERM, or the end of the chain thread: RPC ─ agent ─ chain ─ network, in that order
//! ```
//!
//! Owns composition; knows no protocol rule. Cages run on when the process ends: only a final transaction stops them.

use crate::agent::{Agent, AgentParts};
use crate::backend::{BackendParts, NodeBackend};
use crate::blobs::{BlobMessage, Blobs};
use crate::chain::thread::{ChainThread, Waker, unix_ms};
use crate::chain::{Chain, FileJournal, Ledger, Notice, Parts};
use crate::cli::StartOptions;
use crate::config::Config;
use crate::home::Home;
use crate::keys;
use crate::ledger_reader::LedgerReader;
use crate::sealed::SealedReports;
use anyhow::{Context, Result, bail};
use metanode_consensus::{Bls, Local, SignHistory};
use metanode_genesis::Genesis;
use metanode_p2p::{LiveNetwork, Network, PeerAddress};
use metanode_runtime::driver::{Driver, DriverConfig, machine_class};
use metanode_runtime::image::ImageStore;
use metanode_state::store::RocksStore;
use metanode_state::{GenesisState, Ledger as State};
use metanode_types::account::AccountSecret;
use metanode_types::ids::Name;
use metanode_types::level::CageLevel;
use metanode_types::tx::{NodeSpec, PeerIdBytes};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Runs the node of `home` until it is told to end, or its chain cannot go on.
pub fn start(home: Home, options: StartOptions) -> Result<()> {
    let _lock = home.lock().context("take the home")?;
    let config = Config::load(&home).context("read the settings")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let node = Node::begin(&home, &config, &options, &runtime)?;
    runtime.block_on(node.wait());
    node.end(&runtime)
}

/// What the state starts from, of a genesis.
pub fn genesis_state(genesis: &Genesis) -> GenesisState {
    GenesisState {
        chain_id: genesis.chain_id(),
        time_ms: genesis.time_ms(),
        validators: genesis.validator_set().clone(),
        accounts: genesis.accounts().iter().map(|a| (a.address, a.balance)).collect(),
        params: genesis.params().clone(),
    }
}

/// The genesis that this home began with is kept beside its data: another one is refused with the first difference.
fn same_genesis(kept: &Path, genesis: &Genesis) -> Result<()> {
    if !kept.exists() {
        return genesis.save(kept).context("keep the genesis");
    }
    let began_with = Genesis::load(kept).context("read the genesis that this home began with")?;
    genesis.expect_same(&began_with).context("compare the genesis with the one that this home began with")
}

/// Wakes whoever waits for the end of a part.
fn notifier(ended: &Arc<tokio::sync::Notify>) -> impl FnOnce() + Send + 'static {
    let ended = ended.clone();
    move || ended.notify_one()
}

fn open_ledger(dir: &Path, genesis: &Genesis) -> Result<Arc<State>> {
    let store = Arc::new(RocksStore::open(dir)?);
    Ok(Arc::new(State::open(store, genesis_state(genesis))?))
}

/// Makes the names of the home's directories durable: a file that was synced is lost with its name.
fn sync_names(home: &Home) -> std::io::Result<()> {
    let data = home.data_dir();
    let inner =
        [data.join("ledger"), data.join("consensus"), data, home.config_dir(), home.root().to_owned()];
    let parent = std::fs::canonicalize(home.root())?.parent().map(Path::to_owned);
    for dir in inner.into_iter().chain(parent) {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// The running parts.
struct Node {
    chain: ChainThread,
    agent: std::thread::JoinHandle<()>,
    blobs: (Blobs, std::thread::JoinHandle<()>),
    rpc: metanode_rpc::ServerHandle,
    network: Arc<LiveNetwork>,
    stop: Arc<AtomicBool>,
    ended: Arc<tokio::sync::Notify>,
}

impl Node {
    fn begin(
        home: &Home,
        config: &Config,
        options: &StartOptions,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Node> {
        let genesis = Genesis::load(&home.genesis_file()).context("read the genesis")?;
        let account = keys::load_account(&home.account_key_file()).context("read the account key")?;
        let data = home.data_dir();
        same_genesis(&data.join("genesis.json"), &genesis)?;
        let state = open_ledger(&data.join("ledger"), &genesis).context("open the ledger")?;
        let journal = FileJournal::open(&data.join("consensus"));
        let (journal, recovered) = journal.context("open the consensus journal")?;
        sync_names(home).context("make the names of the home durable")?;
        let local = voting_key(home, &genesis, &account, &journal)?;
        let waker = Waker::default();
        let network = connect(home, config, options, &genesis, &waker, runtime)?;
        let images = ImageStore::open(&config.images_dir(home)).context("open the image store")?;
        let (blobs, service) = Blobs::new(images.clone(), network.clone());
        let blob_thread = std::thread::Builder::new().name("blobs".into()).spawn(move || service.run())?;
        let parts = Parts {
            ledger: Ledger::new(state.clone())?,
            journal: Box::new(journal),
            recovered,
            network: network.clone(),
            scheme: Arc::new(Bls),
            local,
            blobs: Some(blobs.sink()),
            max_waiting: config.limits.mempool_txs,
        };
        let chain = Chain::new(parts, unix_ms()).context("start the chain")?;
        let ended = Arc::new(tokio::sync::Notify::new());
        let chain = ChainThread::spawn(chain, &waker, log_notice, notifier(&ended))?;
        let driver = start_driver(home, config, &images)?;
        let machine = if driver.is_some() { Machine::ask()? } else { Machine::default() };
        let reader = LedgerReader::new(state);
        let stop = Arc::new(AtomicBool::new(false));
        let spec = node_spec(home, config, &account, &*network, driver.is_some(), &machine)?;
        let agent = AgentParts {
            chain: chain.handle(),
            ledger: reader.clone(),
            blobs: blobs.clone(),
            driver: driver.clone(),
            account: account.clone(),
            spec: spec.clone(),
            params: genesis.params().clone(),
            sealed: SealedReports::open(&home.data_dir().join("sealed"))?,
            runtime: runtime.handle().clone(),
        };
        let agent = Agent::spawn(agent, keys::random_u64()?, stop.clone(), notifier(&ended))?;
        let backend = NodeBackend::new(BackendParts {
            ledger: reader,
            chain: chain.handle(),
            genesis: Arc::new(genesis),
            images,
            driver,
            network: network.clone(),
            config: config.clone(),
            home: home.clone(),
            spec,
            account: account.address(),
            listen: p2p_listen(config, options),
            missing: machine.missing,
            started_ms: unix_ms(),
        })?;
        let rpc = metanode_rpc::serve(rpc_config(config, options), backend);
        let rpc = runtime.block_on(rpc).context("serve RPC")?;
        tracing::info!("RPC on http://{}", rpc.local_addr());
        Ok(Node { chain, agent, blobs: (blobs, blob_thread), rpc, network, stop, ended })
    }

    /// Returns when the process should end.
    async fn wait(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut term), Ok(mut int)) = signals else { return self.ended.notified().await };
        tokio::select! {
            _ = term.recv() => tracing::info!("told to end (SIGTERM)"),
            _ = int.recv() => tracing::info!("told to end (SIGINT)"),
            () = self.ended.notified() => tracing::error!("the chain or the agent ended by itself"),
        }
    }

    fn end(self, runtime: &tokio::runtime::Runtime) -> Result<()> {
        end_by(END_PATIENCE)?;
        runtime.block_on(self.rpc.stop());
        self.stop.store(true, Ordering::Relaxed);
        if self.agent.join().is_err() {
            tracing::error!("the agent had panicked");
        }
        let ended = self.chain.stop();
        let (blobs, thread) = self.blobs;
        if blobs.sender().send(BlobMessage::Stop).is_ok() && thread.join().is_err() {
            tracing::error!("the blob service had panicked");
        }
        if let Ok(network) = Arc::try_unwrap(self.network) {
            runtime.block_on(network.shutdown());
        }
        ended.context("the chain cannot go on")
    }
}

/// How long the parts have to end; what is durable is durable already, so nothing is lost by not waiting.
const END_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Ends the process when it still lives after `patience`: a node whose chain ended must not look alive.
fn end_by(patience: std::time::Duration) -> Result<()> {
    let body = move || {
        std::thread::sleep(patience);
        tracing::error!("a part of the node did not end within {patience:?}; the process ends without it");
        std::process::exit(3);
    };
    std::thread::Builder::new().name("deadline".into()).spawn(body).context("start the deadline")?;
    Ok(())
}

/// The voting key of this home, if genesis lists it. A key that is not a validator's follows.
fn voting_key(
    home: &Home,
    genesis: &Genesis,
    account: &AccountSecret,
    journal: &FileJournal,
) -> Result<Option<Local>> {
    let address = account.address();
    let Some(validator) = genesis.validator_set().get(&address) else {
        tracing::info!("account {} is no validator of this chain: this node follows", address.short());
        return Ok(None);
    };
    let secret = keys::load_validator(&home.validator_key_file()).context("read the validator key")?;
    if secret.public() != validator.bls {
        bail!("the validator key of this home is not the one that genesis lists for {address}");
    }
    let history = journal.guard().context("read the sign history")?;
    let history = history.unwrap_or_else(|| SignHistory::empty(genesis.chain_id(), secret.public()));
    Ok(Some(Local { address, signer: Box::new(secret), history }))
}

fn connect(
    home: &Home,
    config: &Config,
    options: &StartOptions,
    genesis: &Genesis,
    waker: &Waker,
    runtime: &tokio::runtime::Runtime,
) -> Result<Arc<LiveNetwork>> {
    let key = keys::load_node(&home.node_key_file()).context("read the node key")?;
    let peers = config.p2p.peers.iter().map(|p| p.parse::<PeerAddress>());
    let waker = waker.clone();
    let config = metanode_p2p::Config {
        key,
        chain: genesis.chain_id().0,
        listen: p2p_listen(config, options),
        peers: peers.collect::<Result<_, _>>().context("read p2p.peers")?,
        agent: format!("metanode/{}", env!("CARGO_PKG_VERSION")),
        wake: Some(Arc::new(move || waker.wake())),
    };
    let _guard = runtime.enter();
    Ok(Arc::new(LiveNetwork::spawn(config).context("start the network")?))
}

fn start_driver(home: &Home, config: &Config, images: &ImageStore) -> Result<Option<Arc<Mutex<Driver>>>> {
    if !config.node.runs_workloads {
        return Ok(None);
    }
    let mut driver_config = DriverConfig::new(&home.data_dir().join("cages"), images.clone())?;
    driver_config.output_bytes = config.log_bytes();
    if !driver_config.cage_binary.is_file() {
        bail!(
            "run workloads: {} is not there; build it (cargo build -p metanode-cage), name it in METANODE_CAGE, \
             or set node.runs_workloads = false",
            driver_config.cage_binary.display()
        );
    }
    let driver = Driver::new(driver_config).context("take charge of the cages")?;
    Ok(Some(Arc::new(Mutex::new(driver))))
}

/// What this node declares of itself on the ledger.
fn node_spec(
    home: &Home,
    config: &Config,
    account: &AccountSecret,
    network: &dyn Network,
    runs: bool,
    machine: &Machine,
) -> Result<NodeSpec> {
    let fallback = format!("node-{}", hex::encode(&account.address().0[..4]));
    let name = if config.node.name.is_empty() { &fallback } else { &config.node.name };
    Ok(NodeSpec {
        name: name.parse::<Name>().context("read node.name")?,
        peer_id: PeerIdBytes(network.local_peer_id().as_key().to_vec()),
        capacity: if runs { config.capacity(home) } else { Default::default() },
        cage_level: machine.level(),
        wasm_level: CageLevel::Pinned,
        runs_oci: runs && machine.usable,
        machine: machine_class(&metanode_cage::cpu_class(), &metanode_cage::kernel()),
        boot_id: keys::random_u64()?,
    })
}

/// What this machine can do for cages.
#[derive(Default)]
struct Machine {
    usable: bool,
    /// Native programs can be pinned: tried, not inferred.
    pins: bool,
    missing: Vec<String>,
}

impl Machine {
    /// Asks the binary that makes cages, since the answer needs a process with one thread.
    fn ask() -> Result<Machine> {
        let binary = metanode_runtime::driver::cage_binary()?;
        let output = std::process::Command::new(&binary).arg("detect").output();
        let output = output.with_context(|| format!("run {} detect", binary.display()))?;
        let found: metanode_cage::detect::Capabilities =
            serde_json::from_slice(&output.stdout).context("read what metanode-cage detect printed")?;
        let lacking = found.features.iter().filter(|f| !f.available);
        let missing: Vec<String> = lacking.map(|f| format!("{}: {}", f.name, f.detail)).collect();
        missing.iter().for_each(|m| tracing::warn!("not available on this machine: {m}"));
        let pins = found.features.iter().any(|f| f.name == "pinned" && f.available);
        Ok(Machine { usable: found.usable, pins: pins && found.usable, missing })
    }

    /// The highest level of a native program here.
    fn level(&self) -> CageLevel {
        if self.pins { CageLevel::Pinned } else { CageLevel::Contained }
    }
}

fn image_upload(policy: crate::config::ImageUpload) -> metanode_rpc::methods::ImageUpload {
    use crate::config::ImageUpload as Ours;
    use metanode_rpc::methods::ImageUpload as Theirs;
    match policy {
        Ours::Refused => Theirs::Refused,
        Ours::Loopback => Theirs::Loopback,
        Ours::Anyone => Theirs::Anyone,
    }
}

fn p2p_listen(config: &Config, options: &StartOptions) -> Vec<String> {
    options.p2p_listen.clone().unwrap_or_else(|| config.p2p.listen.clone())
}

fn rpc_config(config: &Config, options: &StartOptions) -> metanode_rpc::Config {
    let mut address = config.rpc.listen;
    if let Some(port) = options.rpc_port {
        address.set_port(port);
    }
    let mut rpc = metanode_rpc::Config::new(address);
    rpc.image_upload = image_upload(config.rpc.image_upload);
    rpc.limits.connections = config.limits.rpc_connections;
    rpc
}

fn log_notice(notice: Notice) {
    match notice {
        Notice::Committed { height, block, txs, round } => {
            tracing::info!(
                "height {height}: block {} final, {txs} transactions, round {round}",
                block.short()
            );
        }
        Notice::TornLog(what) => tracing::warn!("cut off the torn end of the consensus log: {what}"),
        Notice::Offence(what) => tracing::warn!("a peer misbehaved: {what}"),
        Notice::Degraded(what) => tracing::info!("{what}"),
        Notice::Alarm(what) => tracing::error!("{what}"),
    }
}
