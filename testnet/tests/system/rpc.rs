//! Asking the nodes of a network, and what all of them must agree on.

use crate::load::Final;
use anyhow::{Context, Result, bail, ensure};
use metanode_genesis::Genesis;
use metanode_rpc::methods::params::BlockParams;
use metanode_rpc::views::{BlockView, StatusView, TxStatus};
use metanode_rpc::{Client, ClientError};
use metanode_testnet::cluster::{Cluster, wait_for};
use metanode_types::account::AccountSecret;
use metanode_types::ids::{Address, ChainId};
use metanode_types::quantity::Amount;
use metanode_types::tx::{SignedTx, TxBody};
use std::future::Future;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a transaction of a test may cost at most.
pub const FEE_LIMIT: Amount = Amount(1_000_000);
/// How long a test's transactions are valid.
const LIFETIME_MS: u64 = 300_000;

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// The account key in a key file.
pub fn account(file: &Path) -> Result<AccountSecret> {
    let key: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let mut seed = [0; 32];
    hex::decode_to_slice(key["secret"].as_str().context("a key file has a secret")?, &mut seed)?;
    Ok(AccountSecret::from_seed(seed))
}

/// A signed transfer of one unit.
pub fn transfer(key: &AccountSecret, chain: ChainId, nonce: u64, to: Address) -> SignedTx {
    let body = TxBody::Transfer { to, amount: Amount(1) };
    SignedTx::sign(key, chain, nonce, now_ms() + LIFETIME_MS, FEE_LIMIT, body)
}

/// Clients of all nodes of a network, usable without async code.
pub struct Rpc {
    runtime: tokio::runtime::Runtime,
    /// One client per node.
    pub nodes: Vec<Client>,
    /// The chain.
    pub chain: ChainId,
    /// Key of the account that holds the money.
    pub faucet: AccountSecret,
}

impl Rpc {
    /// Clients of `cluster`; its nodes need not run.
    pub fn of(cluster: &Cluster) -> Result<Rpc> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let inside = runtime.enter();
        let nodes = cluster.nodes.iter().map(|n| Client::new(&n.rpc)).collect::<Result<Vec<_>, _>>()?;
        drop(inside);
        let chain = Genesis::load(&cluster.genesis)?.chain_id();
        let faucet = account(&cluster.net().join("faucet_key.json"))?;
        Ok(Rpc { runtime, nodes, chain, faucet })
    }

    /// Waits for an answer.
    pub fn ask<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        self.runtime.block_on(call)
    }

    /// Status of node `i`.
    pub fn status(&self, i: usize) -> Result<StatusView, ClientError> {
        self.ask(self.nodes[i].status())
    }

    /// Block of node `i` at `height`.
    pub fn block(&self, i: usize, height: u64) -> Result<BlockView, ClientError> {
        self.ask(self.nodes[i].block(BlockParams { height: Some(height), id: None }))
    }

    /// Sends a transfer to node `i` and waits until it is final there; its height.
    pub fn pay(&self, i: usize, nonce: u64, patience: Duration) -> Result<u64> {
        let tx = transfer(&self.faucet, self.chain, nonce, Address([7; 32]));
        let id = self.ask(self.nodes[i].submit(&tx))?;
        let view = self.ask(self.nodes[i].wait(id, patience))?;
        ensure!(view.status == TxStatus::Final, "transfer {id} ended as {view:?}");
        view.height.context("a final transaction has a height")
    }

    /// Waits until every node in `which` has a block at `height` or above.
    pub fn reach(&self, which: &[usize], height: u64, bound: Duration) -> Result<()> {
        for i in which {
            wait_for(&format!("node {i} reaches height {height}"), bound, || {
                Ok(self.status(*i)?.height >= height)
            })?;
        }
        Ok(())
    }

    /// Every node has each of `finals` in the same final block, and all nodes have the same block, with the same roots,
    /// at every height that all have. Answers the highest of these.
    pub fn agree(&self, finals: &[Final]) -> Result<u64> {
        for (i, node) in self.nodes.iter().enumerate() {
            for tx in finals {
                let found = self.ask(node.tx(&tx.id.to_string()));
                let view = found
                    .with_context(|| format!("node {i} lost {}, final at height {}", tx.id, tx.height))?;
                let same = view.status == TxStatus::Final && view.height == Some(tx.height);
                ensure!(same, "node {i}: {view:?}, but it was final at height {}", tx.height);
            }
        }
        let heights =
            (0..self.nodes.len()).map(|i| Ok(self.status(i)?.height)).collect::<Result<Vec<_>>>()?;
        let common = heights.into_iter().min().context("a network has nodes")?;
        for height in 1..=common {
            let first = self.block(0, height)?;
            for i in 1..self.nodes.len() {
                let other = self.block(i, height)?;
                if (other.id, other.header.app_root) != (first.id, first.header.app_root) {
                    bail!("height {height}: node 0 has {}, node {i} has {}", first.id, other.id);
                }
            }
        }
        Ok(common)
    }
}

/// One plain HTTP request; the body.
pub fn http_get(url: &str, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let host = url.strip_prefix("http://").context("an http URL")?;
    let mut stream = std::net::TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    Ok(body.to_owned())
}
