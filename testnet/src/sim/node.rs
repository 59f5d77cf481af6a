//! One simulated validator: its disk, which outlives its process, and its chain loop.

use metanode_consensus::scheme::{InsecureTwin, InsecureTwinKey};
use metanode_consensus::{Bls, Local, Scheme, SignHistory, Signer, WalRecord};
use metanode_node::chain::{Chain, Journal, JournalError, Ledger, Parts, Recovered};
use metanode_p2p::PeerId;
use metanode_p2p::mem::Hub;
use metanode_state::GenesisState;
use metanode_state::store::MemStore;
use metanode_types::account::AccountSecret;
use metanode_types::block::Block;
use metanode_types::bls::{BlsPublic, BlsSecret};
use metanode_types::ids::{BlockId, ChainId};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use metanode_types::validator::{Validator, ValidatorSet};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Accounts that pay each other.
const USERS: usize = 8;

/// What all nodes of a run share.
pub(crate) struct World {
    pub(crate) chain_id: ChainId,
    pub(crate) genesis_ms: u64,
    pub(crate) genesis: GenesisState,
    pub(crate) users: Vec<AccountSecret>,
    pub(crate) accounts: Vec<AccountSecret>,
    keys: Vec<VotingKey>,
    scheme: Arc<dyn Scheme>,
}

#[derive(Clone)]
enum VotingKey {
    Real(BlsSecret),
    Twin(InsecureTwinKey),
}

impl VotingKey {
    fn public(&self) -> BlsPublic {
        match self {
            VotingKey::Real(k) => k.public(),
            VotingKey::Twin(k) => k.0,
        }
    }
    fn signer(&self) -> Box<dyn Signer> {
        match self {
            VotingKey::Real(k) => Box::new(k.clone()),
            VotingKey::Twin(k) => Box::new(*k),
        }
    }
}

impl World {
    pub(crate) fn new(validators: usize, real_bls: bool) -> World {
        let key = |i: usize| match real_bls {
            true => VotingKey::Real(BlsSecret::from_seed(&[i as u8 + 1; 32])),
            false => VotingKey::Twin(InsecureTwinKey::numbered(i as u32)),
        };
        let keys: Vec<VotingKey> = (0..validators).map(key).collect();
        let accounts: Vec<AccountSecret> =
            (0..validators).map(|i| AccountSecret::from_seed([i as u8 + 1; 32])).collect();
        let users: Vec<AccountSecret> =
            (0..USERS).map(|i| AccountSecret::from_seed([i as u8 + 101; 32])).collect();
        let members = keys.iter().zip(&accounts);
        let members =
            members.map(|(k, a)| Validator { bls: k.public(), account: a.public(), power: 1 }).collect();
        let chain_id = ChainId([42; 32]);
        let genesis_ms = 1_700_000_000_000;
        let genesis = GenesisState {
            chain_id,
            time_ms: genesis_ms,
            validators: ValidatorSet::new(members).expect("distinct keys"),
            accounts: users.iter().map(|u| (u.address(), Amount(1_000_000_000_000))).collect(),
            params: ChainParams::default(),
        };
        let scheme: Arc<dyn Scheme> = if real_bls { Arc::new(Bls) } else { Arc::new(InsecureTwin) };
        World { chain_id, genesis_ms, genesis, users, accounts, keys, scheme }
    }

    pub(crate) fn peer(&self, i: usize) -> PeerId {
        Hub::peer_id(&format!("node-{i}"))
    }
}

/// What survives a crash.
pub(crate) struct Disk {
    pub(crate) store: Arc<MemStore>,
    journal: Arc<Mutex<JournalDisk>>,
}

#[derive(Default)]
struct JournalDisk {
    synced: Vec<WalRecord>,
    unsynced: Vec<WalRecord>,
    emptied: bool,
    blocks: BTreeMap<BlockId, Block>,
    guard: Option<SignHistory>,
}

impl JournalDisk {
    fn sync(&mut self) {
        if std::mem::take(&mut self.emptied) {
            self.synced.clear();
        }
        self.synced.append(&mut self.unsynced);
    }
    fn crash(&mut self) {
        self.emptied = false;
        self.unsynced.clear();
    }
}

/// The journal in memory: appended records are lost in a crash until they were synced.
struct MemJournal(Arc<Mutex<JournalDisk>>);

impl MemJournal {
    fn with<T>(&self, f: impl FnOnce(&mut JournalDisk) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal for MemJournal {
    fn reset(&mut self) -> Result<(), JournalError> {
        self.with(|d| {
            d.emptied = true;
            d.unsynced.clear();
            d.blocks.clear();
        });
        Ok(())
    }
    fn append(&mut self, record: &WalRecord) -> Result<(), JournalError> {
        self.with(|d| d.unsynced.push(record.clone()));
        Ok(())
    }
    fn sync(&mut self) -> Result<(), JournalError> {
        self.with(JournalDisk::sync);
        Ok(())
    }
    fn persist_guard(&mut self, history: &SignHistory) -> Result<(), JournalError> {
        self.with(|d| d.guard = Some(history.clone()));
        Ok(())
    }
    fn persist_block(&mut self, id: BlockId, block: &Block) -> Result<(), JournalError> {
        self.with(|d| d.blocks.insert(id, block.clone()));
        Ok(())
    }
}

/// One validator.
pub(crate) struct SimNode {
    index: usize,
    pub(crate) disk: Disk,
    pub(crate) chain: Option<Chain>,
}

impl SimNode {
    pub(crate) fn new(_world: &World, index: usize) -> SimNode {
        let disk = Disk { store: Arc::new(MemStore::new()), journal: Arc::default() };
        SimNode { index, disk, chain: None }
    }

    /// Starts the process from its disk; nothing happens when it runs already. `forget` loses the journal, as a
    /// broken node would.
    pub(crate) fn start(&mut self, world: &World, hub: &Hub, now_ms: u64, forget: bool) {
        if self.chain.is_some() {
            return;
        }
        let journal = MemJournal(self.disk.journal.clone());
        let mut recovered = Recovered::default();
        let mut history = None;
        if !forget {
            journal.with(|d| {
                recovered.records = d.synced.clone();
                recovered.blocks = d.blocks.values().cloned().collect();
                history = d.guard.clone();
            });
        }
        let key = &world.keys[self.index];
        let history = history.unwrap_or_else(|| SignHistory::empty(world.chain_id, key.public()));
        let local = Local { address: world.accounts[self.index].address(), signer: key.signer(), history };
        let ledger =
            Ledger::open(self.disk.store.clone(), &world.genesis).expect("the disk holds what was synced");
        let parts = Parts {
            ledger,
            journal: Box::new(journal),
            recovered,
            network: Arc::new(hub.join(&format!("node-{}", self.index))),
            scheme: world.scheme.clone(),
            local: Some(local),
            blobs: None,
            max_waiting: metanode_types::limits::MAX_MEMPOOL_TXS,
        };
        self.chain = Some(Chain::new(parts, now_ms).expect("a chain starts from its own disk"));
    }

    /// Kills the process and loses what was not synced; false when it was down already.
    pub(crate) fn crash(&mut self, hub: &Hub, world: &World) -> bool {
        if self.chain.take().is_none() {
            return false;
        }
        hub.crash(&world.peer(self.index));
        self.disk.store.crash();
        self.disk.journal.lock().unwrap_or_else(PoisonError::into_inner).crash();
        true
    }
}
