//! Blocks, validators, the genesis, and counts over the chain.
//!
//! Owns the answers that come from committed blocks. Validators are those of the genesis at every height, as
//! the chain has it today; asking beyond the next height is refused, since who votes there is not decided.

use super::fault::{broken, gone};
use super::history::{block, certificate, final_height, find_block, front, recent_intervals, summary};
use super::ledger::in_existence;
use metanode_genesis::Genesis;
use metanode_rpc::backend::{Answer, BlockKey};
use metanode_rpc::error::BackendError;
use metanode_rpc::views::*;
use metanode_state::store::Column;
use metanode_state::{StateRead, View, keys};

/// Rows of accounts read at once while they are counted.
const COUNT_PAGE: usize = 4096;

/// One final block.
pub fn one(view: &View<'_>, key: &BlockKey) -> Answer<BlockView> {
    let height = match key {
        BlockKey::Latest => final_height(view, view.head().height.max(1))?,
        BlockKey::Height(height) => final_height(view, *height)?,
        BlockKey::Id(prefix) => find_block(view, prefix)?,
    };
    let bytes = view.block_bytes(height).map_err(broken)?.ok_or_else(|| gone(format!("block {height}")))?;
    let block = block(view, height)?;
    let txs = block.txs.iter().map(|tx| BlockTxView {
        id: tx.id(),
        kind: tx.body.kind().to_owned(),
        sender: tx.envelope.sender,
    });
    Ok(BlockView {
        id: block.id(),
        certificate: certificate(view, height)?,
        txs: txs.collect(),
        bytes: bytes.len() as u64,
        header: block.header,
    })
}

/// Blocks below `before`, the newest first.
pub fn list(view: &View<'_>, before: Option<u64>, limit: usize) -> Answer<Page<BlockSummary, u64>> {
    let head = view.head().height;
    let top = before.map_or(head, |before| before.saturating_sub(1).min(head));
    let bottom = top.saturating_sub(limit as u64);
    let mut items = Vec::new();
    for height in (bottom + 1..=top).rev() {
        items.push(summary(&front(view, height)?.ok_or_else(|| gone(format!("block {height}")))?));
    }
    Ok(Page { items, next: (bottom > 0).then_some(bottom + 1) })
}

/// Who votes at a height.
pub fn validators(view: &View<'_>, genesis: &Genesis, height: Option<u64>) -> Answer<ValidatorsView> {
    let next = view.head().height + 1;
    let height = height.unwrap_or(next);
    if height == 0 || height > next {
        let why = format!("validators vote at heights from 1; they are known up to {next}, not for {height}");
        return Err(BackendError::not_found(why).next("leave the height out for the next one"));
    }
    let set = view.validators();
    let validators = set.members().iter().map(|v| ValidatorView {
        address: v.address(),
        name: genesis.validator_name(&v.address()).map(ToString::to_string),
        bls: v.bls,
        power: v.power,
    });
    Ok(ValidatorsView { height, total_power: set.total_power(), validators: validators.collect() })
}

/// The genesis.
pub fn genesis(genesis: &Genesis) -> Answer<GenesisView> {
    let json = serde_json::to_value(genesis.spec());
    let json = json.map_err(|e| BackendError::internal(format!("write the genesis as JSON: {e}")))?;
    Ok(GenesisView { chain_id: genesis.chain_id(), genesis: json })
}

/// Turns of the proposers over the whole history of this node.
pub fn production(view: &View<'_>, genesis: &Genesis, role: Role, waiting: u64) -> Answer<ProductionView> {
    let mut validators = Vec::new();
    for v in view.validators().members() {
        let address = v.address();
        let turns = view.production(&address).map_err(broken)?;
        validators.push(ProducerView {
            address,
            name: genesis.validator_name(&address).map(ToString::to_string),
            power: v.power,
            turns_taken: turns.taken,
            turns_missed: turns.missed,
            blocks: turns.taken,
        });
    }
    let to_height = view.head().height;
    Ok(ProductionView {
        from_height: to_height.min(1),
        to_height,
        role,
        validators,
        pending_txs: waiting,
        receipts_awaiting: waiting,
    })
}

/// Counts over the whole ledger; reads every account.
pub fn stats(view: &View<'_>) -> Answer<LedgerStats> {
    let head = view.head();
    Ok(LedgerStats {
        height: head.height,
        txs: head.txs,
        // Leaf 0 of the log is the genesis.
        receipts: head.log.size() - 1,
        accounts: count_accounts(view)?,
        supply: in_existence(view)?,
        burned: view.supply().map_err(broken)?.burned,
        block_interval: recent_intervals(view)?,
    })
}

fn count_accounts(view: &View<'_>) -> Answer<u64> {
    let prefix = keys::accounts().bytes;
    let (mut count, mut after) = (0, None::<Vec<u8>>);
    loop {
        let rows =
            view.store().scan(Column::Entries, &prefix, after.as_deref(), COUNT_PAGE).map_err(broken)?;
        count += rows.len() as u64;
        match rows.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(count),
        }
    }
}
