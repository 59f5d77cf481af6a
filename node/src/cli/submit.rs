//! Sending a transaction: sign it for the chain that answers, submit it, wait until it is final.
//!
//! Owns the nonce (random), the time for which a transaction stays valid (a minute) and the bound on its fee (twice the
//! tariff's price for its size). Resending is not done here: a transaction that timed out may still become final, so
//! the failure names it.

use super::failure::{Doing, Done, Failure};
use super::session::Node;
use crate::keys::random_u64;
use metanode_genesis::Genesis;
use metanode_rpc::views::{ReceiptView, TxStatus, TxView};
use metanode_types::account::AccountSecret;
use metanode_types::codec;
use metanode_types::ids::ChainId;
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Light, ReceiptBody};
use metanode_types::tx::{SignedTx, TxBody};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A transaction that is not in a block after this long is void.
const LIFETIME_MS: u64 = 60_000;
/// How much more than the tariff's price may be charged.
const FEE_MARGIN: u128 = 2;
/// Wait for finality when the command states none.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The chain that answers.
pub struct Chain {
    id: ChainId,
    /// Its rules.
    pub params: ChainParams,
    block_time_ms: u64,
}

impl Chain {
    /// Asks a node for its chain; the genesis that it shows must be the one that its id names.
    pub fn of(node: &Node) -> Done<Chain> {
        let status = node.ask("read the chain's status", node.client().status())?;
        let genesis = genesis_of(node)?;
        if genesis.chain_id() != status.chain_id {
            return Err(Failure::failed(
                "read the chain's rules",
                "the node's genesis is not that of its chain id",
            ));
        }
        Ok(Chain {
            id: status.chain_id,
            params: genesis.params().clone(),
            block_time_ms: status.block_time_ms,
        })
    }

    /// Signs `body`, with the least fee bound that covers it.
    pub fn sign(&self, key: &AccountSecret, body: TxBody) -> Done<SignedTx> {
        let what = format!("sign the {} transaction", body.kind());
        let nonce = random_u64().unavailable(&*what)?;
        let valid_until = unix_ms().max(self.block_time_ms) + LIFETIME_MS;
        // The length does not depend on the fee bound, which is an integer of fixed size.
        let draft = SignedTx::sign(key, self.id, nonce, valid_until, Amount::ZERO, body.clone());
        let bytes = codec::encode(&draft).len();
        if bytes > self.params.max_tx_bytes as usize {
            let why = format!("it has {bytes} bytes, the chain allows {}", self.params.max_tx_bytes);
            return Err(
                Failure::usage(what, why).next("use fewer or shorter arguments and environment variables")
            );
        }
        let fee = self.params.tariff.tx_fee(bytes).and_then(|fee| fee.checked_mul(FEE_MARGIN));
        let fee_limit = fee.ok_or_else(|| Failure::failed(&*what, "its fee does not fit any balance"))?;
        let tx = SignedTx::sign(key, self.id, nonce, valid_until, fee_limit, body);
        tx.check(&self.id).usage(what)?;
        Ok(tx)
    }
}

/// The genesis of the node that answers, checked.
pub fn genesis_of(node: &Node) -> Done<Genesis> {
    let view = node.ask("read the chain's genesis", node.client().genesis())?;
    let text = serde_json::to_vec(&view.genesis).expect("a JSON value has only string keys");
    Genesis::parse(&text).map_err(|e| Failure::unavailable("read the chain's genesis", e))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// Submits `tx` and waits until it is final. A transaction that failed in execution is a failure of the command.
pub fn send(node: &Node, tx: &SignedTx, wait: Duration) -> Done<TxView> {
    let what = format!("{} ({})", tx.body.kind(), tx.id().short());
    let deadline = Instant::now() + wait;
    let id = node.ask(&what, node.client().submit(tx))?;
    let left = deadline.saturating_duration_since(Instant::now()).min(metanode_rpc::limits::MAX_WAIT);
    let view = node.ask(&format!("{what}: wait until it is final"), node.client().wait(id, left))?;
    if view.status != TxStatus::Failed {
        return Ok(view);
    }
    let reasons = red_reasons(&receipts_of(node, &view)?);
    let mut why = view.reason.clone().unwrap_or_else(|| "its execution failed".into());
    if !reasons.is_empty() {
        why = format!("{why}: {}", reasons.join("; "));
    }
    let details =
        json!({ "tx": view.id, "height": view.height, "receipts": view.receipts, "reasons": reasons });
    let known = view.code.map(|code| format!(" (code {code})")).unwrap_or_default();
    let next = "the fee was charged and nothing else changed; `metanode ledger query TX` shows it";
    Err(Failure::failed(what, format!("{why}{known}")).next(next).details(details))
}

/// The receipts that a transaction caused.
pub fn receipts_of(node: &Node, tx: &TxView) -> Done<Vec<ReceiptView>> {
    let fetch = |id: &metanode_types::ids::ReceiptId| {
        node.ask("read a receipt of the transaction", node.client().receipt(&id.to_string()))
    };
    tx.receipts.iter().map(fetch).collect()
}

/// Why admission did not say green, rule by rule.
pub fn red_reasons(receipts: &[ReceiptView]) -> Vec<String> {
    let rules = receipts.iter().filter_map(|r| match &r.receipt.body {
        ReceiptBody::Pipeline(p) if p.light != Light::Green => Some(&p.rules),
        _ => None,
    });
    rules.flatten().filter(|r| r.light != Light::Green).map(|r| format!("{}: {}", r.rule, r.reason)).collect()
}
