//! The whole backend over a running chain loop of one validator: submissions become final, and status tells
//! of it.

use super::story::{address, genesis, node_spec, prefix, secret, validator_keys};
use crate::backend::{BackendParts, NodeBackend};
use crate::chain::thread::{ChainThread, Waker, unix_ms};
use crate::chain::{Chain, FileJournal, Ledger, Parts};
use crate::config::Config;
use crate::home::Home;
use crate::ledger_reader::LedgerReader;
use metanode_consensus::{Bls, Local, SignHistory};
use metanode_p2p::Network;
use metanode_p2p::mem::{Conditions, Hub};
use metanode_rpc::backend::Backend;
use metanode_rpc::error::ErrorKind;
use metanode_rpc::metrics::render;
use metanode_rpc::views::*;
use metanode_runtime::image::ImageStore;
use metanode_state::store::MemStore;
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use metanode_types::tx::{SignedTx, TxBody};
use std::sync::Arc;
use std::time::Duration;

struct Town {
    backend: Arc<NodeBackend>,
    chain: ChainThread,
    clock: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

fn town() -> Town {
    let dir = tempfile::TempDir::new().unwrap();
    let home = Home::at(dir.path());
    let genesis = genesis(unix_ms() - 1000, ChainParams::default());
    let store = Arc::new(MemStore::new());
    let ledger = Ledger::open(store, &crate::start::genesis_state(&genesis)).unwrap();
    let reader = LedgerReader::new(ledger.state());
    let (journal, recovered) = FileJournal::open(&home.data_dir().join("consensus")).unwrap();
    let (bls, account) = validator_keys();
    let history = SignHistory::empty(genesis.chain_id(), bls.public());
    let network: Arc<dyn Network> = Arc::new(Hub::new(1, Conditions::default()).join("mayor"));
    let parts = Parts {
        ledger,
        journal: Box::new(journal),
        recovered,
        network: network.clone(),
        scheme: Arc::new(Bls),
        local: Some(Local { address: account.address(), signer: Box::new(bls), history }),
        blobs: None,
        max_waiting: metanode_types::limits::MAX_MEMPOOL_TXS,
    };
    let chain = Chain::new(parts, unix_ms()).unwrap();
    let chain = ChainThread::spawn(chain, &Waker::default(), |_| (), || ()).unwrap();
    let images = ImageStore::open(&dir.path().join("images")).unwrap();
    let backend = NodeBackend::new(BackendParts {
        ledger: reader,
        chain: chain.handle(),
        genesis: Arc::new(genesis),
        images,
        driver: None,
        network,
        config: Config::default(),
        home,
        spec: node_spec(200),
        account: account.address(),
        listen: vec!["/ip4/127.0.0.1/tcp/1".into()],
        missing: vec![],
        started_ms: unix_ms(),
    });
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Town { backend: backend.unwrap(), chain, clock, _dir: dir }
}

impl Town {
    fn sign(&self, nonce: u64, until_ms: u64) -> SignedTx {
        let chain_id = self.backend.status().unwrap().chain_id;
        let body = TxBody::Transfer { to: address(2), amount: Amount(7) };
        SignedTx::sign(&secret(1), chain_id, nonce, until_ms, Amount(1_000_000), body)
    }

    /// Waits, woken by heights alone, until `ready` says so.
    fn until<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let mut heights = self.backend.heights();
        self.clock.block_on(async {
            loop {
                heights.borrow_and_update();
                if let Some(found) = ready() {
                    return found;
                }
                let woken = tokio::time::timeout(Duration::from_secs(60), heights.changed()).await;
                woken.unwrap_or_else(|_| panic!("no new height while waiting for {what}")).unwrap();
            }
        })
    }
}

#[test]
fn a_submission_becomes_final_and_everything_tells_the_same() {
    let town = town();
    let b = &town.backend;
    town.until("the first block", || (b.status().unwrap().height > 0).then_some(()));
    let tx = town.sign(1, unix_ms() + 60_000);
    assert_eq!(b.submit(tx.clone()).unwrap(), tx.id());
    let id = prefix(&tx.id().to_string());
    assert!(matches!(b.tx(&id).unwrap().status, TxStatus::Pending | TxStatus::Final));
    let height = town.until("the transfer", || b.tx(&id).unwrap().height);
    // Whoever was told of a height, by an answer or by a wake-up, finds at least that height in the status.
    let told = *b.heights().borrow();
    let status = b.status().unwrap();
    assert!(status.height >= height && status.height >= told, "{} < {height} or {told}", status.height);
    assert_eq!(
        (status.role, status.catching_up, status.chain_name.as_str()),
        (Role::Validator, false, "town")
    );
    assert!(status.last_block_age_ms.is_some() && status.block.is_some());
    assert_eq!(b.submit(tx.clone()).unwrap(), tx.id(), "a resend is accepted again");
    let (receipt, bytes) = b.bundle(&prefix(&b.tx(&id).unwrap().receipts[0].to_string()), true).unwrap();
    assert!(bytes.len() > 500 && receipt == b.tx(&id).unwrap().receipts[0]);
    let ready = b.readiness();
    assert!(ready.ready, "{}", ready.reason);
    let text = render(&b.metrics());
    for name in [
        "consensus_height",
        "consensus_rounds",
        "consensus_validators",
        "consensus_total_txs",
        "p2p_peers",
        "consensus_block_interval_seconds_bucket",
        "mempool_size",
        "mempool_size_bytes",
        "p2p_dropped_total",
    ] {
        assert!(text.contains(&format!("\nmetanode_{name}")), "{name} in\n{text}");
    }
    assert!(!text.contains("metanode_cages"), "no cages are counted where none can run");
    town.chain.stop().unwrap();
}

#[test]
fn what_can_never_be_taken_is_rejected_with_its_id() {
    let town = town();
    let b = &town.backend;
    let late = town.sign(1, unix_ms() - 60_000);
    let refused = b.submit(late.clone()).unwrap_err();
    assert_eq!((refused.kind, refused.tx), (ErrorKind::Rejected, Some(late.id())));
    assert!(refused.reason.contains("expired") && refused.next_step.is_some(), "{}", refused.reason);
    let unknown = b.tx(&prefix(&late.id().to_string())).unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::NotFound);
    let status = b.node_status().unwrap();
    assert_eq!((status.name.as_str(), status.cages, status.image_bytes), ("node-200", 0, 0));
    assert_eq!(b.peers().unwrap(), []);
    assert_eq!(b.genesis().unwrap().chain_id, b.status().unwrap().chain_id);
    town.chain.stop().unwrap();
}

#[test]
fn the_background_ends_with_the_backend() {
    let town = town();
    let weak = Arc::downgrade(&town.backend);
    let heights = town.backend.heights();
    drop(town.backend);
    // Only a beat under way may still hold it; the channel closes when the last holder lets go.
    let closed = town.clock.block_on(async {
        let mut heights = heights;
        let gone = async { while heights.changed().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), gone).await
    });
    assert!(closed.is_ok() && weak.upgrade().is_none());
    town.chain.stop().unwrap();
}
