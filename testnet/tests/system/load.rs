//! A steady load of signed transfers, and the record of those that were reported final.

use crate::rpc::{Rpc, transfer};
use anyhow::{Result, anyhow};
use metanode_rpc::Client;
use metanode_rpc::views::TxStatus;
use metanode_types::account::AccountSecret;
use metanode_types::ids::{Address, ChainId, TxId};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Senders per node.
const LANES: usize = 2;
/// How long one transfer is waited for before the next is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failure, so that a dead node is not asked in a circle.
const PAUSE: Duration = Duration::from_millis(20);

/// A transaction that a node reported final.
#[derive(Clone, Copy, Debug)]
pub struct Final {
    /// Its id.
    pub id: TxId,
    /// Height of its block.
    pub height: u64,
}

struct Lane {
    client: Client,
    key: AccountSecret,
    chain: ChainId,
    to: Address,
    nonce: u64,
}

impl Lane {
    /// Sends one transfer and waits for it; `None` when this node does not say that it is final.
    async fn pay(&mut self) -> Option<Final> {
        let tx = transfer(&self.key, self.chain, self.nonce, self.to);
        self.nonce += 1;
        let id = self.client.submit(&tx).await.ok()?;
        let view = self.client.wait(id, PATIENCE).await.ok()?;
        if view.status != TxStatus::Final {
            return None;
        }
        Some(Final { id, height: view.height? })
    }
}

/// A running load; [`Load::stop`] ends it.
pub struct Load {
    ended: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    finals: Arc<Mutex<Vec<Final>>>,
    lanes: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts sending to every node of `rpc`. `round` keeps the nonces of one run apart from those of another.
    pub fn start(rpc: &Rpc, round: u64) -> Result<Load> {
        let (ended, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let finals = Arc::new(Mutex::new(Vec::new()));
        let mut load = Load { ended, count, finals, lanes: Vec::new() };
        for (i, client) in rpc.nodes.iter().flat_map(|c| [c; LANES]).enumerate() {
            let nonce = ((round << 8) + i as u64 + 1) << 32;
            let to = Address([i as u8 + 1; 32]);
            let lane = Lane {
                client: Client::new(client.url())?,
                key: rpc.faucet.clone(),
                chain: rpc.chain,
                to,
                nonce,
            };
            load.spawn(lane)?;
        }
        Ok(load)
    }

    fn spawn(&mut self, mut lane: Lane) -> Result<()> {
        let (ended, count, finals) = (self.ended.clone(), self.count.clone(), self.finals.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        self.lanes.push(std::thread::spawn(move || {
            runtime.block_on(async {
                while !ended.load(Ordering::Relaxed) {
                    match lane.pay().await {
                        Some(tx) => {
                            finals.lock().expect("no lane panics while it adds").push(tx);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        None => tokio::time::sleep(PAUSE).await,
                    }
                }
            });
        }));
        Ok(())
    }

    /// Transfers reported final so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends the load; every transfer that was reported final.
    pub fn stop(mut self) -> Result<Vec<Final>> {
        self.ended.store(true, Ordering::Relaxed);
        for lane in self.lanes.drain(..) {
            lane.join().map_err(|_| anyhow!("a lane of the load panicked"))?;
        }
        Ok(std::mem::take(&mut *self.finals.lock().expect("every lane has ended")))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
