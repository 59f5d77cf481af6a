//! What must hold in every run.
//!
//! Owns the checkers: agreement (one block per height, on every node, for ever, also across crashes), root equality,
//! conservation of value, no honest double signature, liveness after the storm.

use super::node::{SimNode, World};
use metanode_consensus::SignRecord;
use metanode_node::chain::Chain;
use metanode_types::hash::Hash;
use metanode_types::ids::BlockId;
use std::collections::BTreeMap;

/// Something that must never happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two nodes have different blocks at a height.
    #[error("FORK at height {height}: node {node} has {theirs}, another has {ours}")]
    Fork {
        /// The height.
        height: u64,
        /// The node that differs.
        node: usize,
        /// What was seen first.
        ours: BlockId,
        /// What the node has.
        theirs: BlockId,
    },
    /// A final block is gone after a crash.
    #[error("LOST: node {node} was at height {was}, now at {is}")]
    Lost {
        /// The node.
        node: usize,
        /// Height before.
        was: u64,
        /// Height now.
        is: u64,
    },
    /// A validator signed two different messages at one place.
    #[error("DOUBLE SIGNATURE of node {node} at {place:?}")]
    DoubleSigned {
        /// The node.
        node: usize,
        /// Height, round and step.
        place: (u64, u32, String),
    },
    /// A node ended by itself.
    #[error("node {node} stopped: {error}")]
    Stopped {
        /// The node.
        node: usize,
        /// Why.
        error: String,
    },
    /// The network did not come together after the storm.
    #[error("not live after the storm: heights {heights:?}")]
    Behind {
        /// Height of each node.
        heights: Vec<u64>,
    },
    /// Money appeared or vanished.
    #[error("supply of node {node}: {why}")]
    Supply {
        /// The node.
        node: usize,
        /// What differs.
        why: String,
    },
    /// Too little happened for the run to prove anything.
    #[error("nothing happened: {blocks} blocks, {transfers} transfers")]
    NothingHappened {
        /// Blocks final everywhere.
        blocks: u64,
        /// Transfers final.
        transfers: u64,
    },
}

/// What one validator said, by height, round and step.
type Said = BTreeMap<(u64, u32, String), Hash>;

/// The checkers' memory.
pub(crate) struct Checker {
    blocks: BTreeMap<u64, BlockId>,
    tips: Vec<u64>,
    said: Vec<Said>,
}

impl Checker {
    pub(crate) fn new(nodes: usize) -> Checker {
        Checker { blocks: BTreeMap::new(), tips: vec![0; nodes], said: vec![Said::new(); nodes] }
    }

    /// Looks at a node after it was polled.
    pub(crate) fn observe(&mut self, node: usize, chain: &Chain) -> Result<(), Violation> {
        let tip = chain.ledger().tip();
        if tip.height < self.tips[node] {
            return Err(Violation::Lost { node, was: self.tips[node], is: tip.height });
        }
        self.tips[node] = tip.height;
        if tip.height > 0 {
            let ours = *self.blocks.entry(tip.height).or_insert(tip.block);
            if ours != tip.block {
                return Err(Violation::Fork { height: tip.height, node, ours, theirs: tip.block });
            }
        }
        if let Some(SignRecord { height, round, step, digest }) = chain.sign_history().and_then(|h| h.last) {
            let place = (height, round, format!("{step:?}"));
            let before = *self.said[node].entry(place.clone()).or_insert(digest.0);
            if before != digest.0 {
                return Err(Violation::DoubleSigned { node, place });
            }
        }
        Ok(())
    }

    /// Compares every height of every node, and every node's books, at the end.
    pub(crate) fn finish(&self, nodes: &[SimNode], _world: &World) -> Result<(), Violation> {
        for (i, node) in nodes.iter().enumerate() {
            assert!(node.is_up(), "everyone is up after the calm");
            let ledger = node.chain.as_ref().expect("is up").ledger();
            for (height, ours) in self.blocks.range(..=ledger.tip().height) {
                match ledger.block_id(*height) {
                    Some(theirs) if theirs == *ours => {}
                    Some(theirs) => {
                        return Err(Violation::Fork { height: *height, node: i, ours: *ours, theirs });
                    }
                    None => return Err(Violation::Lost { node: i, was: *height, is: 0 }),
                }
            }
            ledger.audit_supply().map_err(|why| Violation::Supply { node: i, why })?;
            let _disk = node.disk();
        }
        Ok(())
    }
}
