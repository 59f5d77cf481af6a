//! Replay: executes a chain again from its genesis, to see whether a receipt's block gives the receipts it claims.
//!
//! Owns the witness of a full bundle: the bodies of all blocks below the receipt's, from height 1. Nothing in it is
//! believed: every block is executed by this machine from the genesis file on, and every header it gives must be
//! the one in the bundle's chain, whose tip a quorum certified. Refuses to read any state that it did not make.

use metanode_state::store::MemStore;
use metanode_state::{GenesisState, Ledger, Signatures, validate_block};
use metanode_types::block::Block;
use metanode_types::bundle::Bundle;
use metanode_types::codec::encode;
use metanode_types::ids::Digest;
use metanode_types::limits::MAX_BUNDLE_BYTES;
use metanode_types::receipt::Receipt;
use metanode_types::tx::TxBody;
use metanode_types::verify::{Replay, TrustRoot};
use metanode_types::workload::Workload;
use std::sync::Arc;

/// The witness that lets anyone with the genesis file execute a block: all blocks below it.
pub fn witness(blocks: &[Block]) -> Vec<u8> {
    encode(blocks)
}

/// A state machine that starts from a genesis.
pub struct GenesisReplay {
    /// What the chain started from.
    pub genesis: GenesisState,
}

/// The workload with this digest, from a deploy transaction of the receipt's block or of one below it.
pub fn workload(bundle: &Bundle, digest: &Digest) -> Result<Workload, String> {
    let full = bundle.full.as_ref().ok_or("only a full bundle holds the workload; export it with --full")?;
    let mut bytes = full.witness.as_slice();
    let count: u32 = read(&mut bytes)?;
    let in_block = |block: Block| {
        block.txs.into_iter().find_map(|tx| match tx.body {
            TxBody::Deploy(spec) if spec.workload.digest() == *digest => Some(spec.workload),
            _ => None,
        })
    };
    for _ in 0..count {
        if let Some(found) = in_block(read(&mut bytes)?) {
            return Ok(found);
        }
    }
    in_block(full.block.clone()).ok_or_else(|| format!("no block of the bundle deploys workload {digest}"))
}

impl Replay for GenesisReplay {
    fn replay(&self, bundle: &Bundle, trust: &TrustRoot) -> Result<Vec<Receipt>, String> {
        let full = bundle.full.as_ref().ok_or("the bundle has no full part")?;
        if self.genesis.chain_id != trust.chain_id {
            return Err("the genesis to start from is of another chain".into());
        }
        let what = "witness of a full bundle";
        let mut bytes = full.witness.as_slice();
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(format!("{what}: {} bytes are too many", bytes.len()));
        }
        let count: u32 = read(&mut bytes)?;
        let height = full.block.header.height;
        if u64::from(count) + 1 != height {
            return Err(format!("{what}: {count} blocks, the receipt's block is number {height}"));
        }
        let store = Arc::new(MemStore::new());
        let ledger = Ledger::open(store, self.genesis.clone()).map_err(|e| e.to_string())?;
        let mut current: Block = if count == 0 { full.block.clone() } else { read(&mut bytes)? };
        for h in 1..=height {
            let view = ledger.view().map_err(|e| e.to_string())?;
            let executed = validate_block(&view, &current, Signatures::Verify);
            let executed = executed.map_err(|e| format!("height {h}: {e}"))?;
            if h == height {
                if !bytes.is_empty() {
                    return Err(format!("{what}: {} bytes too many", bytes.len()));
                }
                return Ok(executed.receipts);
            }
            if full.headers.get(h as usize - 1) != Some(&current.header) {
                return Err(format!("height {h}: the witness's block is not the one in the header chain"));
            }
            let next: Block = if h + 1 == height { full.block.clone() } else { read(&mut bytes)? };
            let certificate = next
                .last_certificate
                .as_ref()
                .ok_or_else(|| format!("height {}: no certificate of its parent", h + 1))?;
            let quorum = certificate.verify(&trust.chain_id, &trust.validators);
            quorum.map_err(|e| format!("height {h}: its certificate: {e}"))?;
            drop(view);
            ledger.commit(executed, &current, certificate, &[]).map_err(|e| format!("height {h}: {e}"))?;
            current = next;
        }
        Err("a receipt's block has a height above zero".into())
    }
}

fn read<T: borsh::BorshDeserialize>(bytes: &mut &[u8]) -> Result<T, String> {
    T::deserialize(bytes).map_err(|e| format!("witness of a full bundle: {e}"))
}
