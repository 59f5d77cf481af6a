//! Views of the chain and of the node that answers: status, blocks, validators, production.

use crate::schema::{view, words};
use metanode_types::block::Header;
use metanode_types::bls::BlsPublic;
use metanode_types::certificate::Certificate;
use metanode_types::ids::{Address, BlockId, ChainId, Digest, Name, TxId};
use metanode_types::quantity::Amount;

words! {
    /// What a node does on its chain.
    Role {
        /// It votes.
        Validator = "validator",
        /// It follows and executes, without a vote.
        Follower = "follower",
    }
}

view! {
    /// Transactions waiting on one node.
    MempoolView {
        /// How many.
        txs: u64,
        /// Their bytes.
        bytes: u64,
    }
}

view! {
    /// What the answering node knows of itself and of the head of its chain.
    StatusView {
        /// Chain.
        chain_id: ChainId,
        /// The chain's name for people.
        chain_name: String,
        /// Name of this node.
        node: String,
        /// Account address of this node.
        address: Address,
        /// Whether this node votes.
        role: Role,
        /// Height of the newest final block; 0 = only the genesis.
        height: u64,
        /// Id of that block; null at height 0.
        block: Option<BlockId>,
        /// Time of that block in Unix milliseconds; at height 0 the genesis time.
        block_time_ms: u64,
        /// Root of the state after that block.
        app_root: Digest,
        /// True while the node fetches blocks that others already have.
        catching_up: bool,
        /// Peers connected.
        peers: u64,
        /// Transactions waiting.
        mempool: MempoolView,
        /// Version of the program.
        version: String,
        /// Bytes of the data directory; null when not measured.
        disk_bytes: Option<u64>,
        /// When the process started, Unix milliseconds.
        started_ms: u64,
        /// Milliseconds since the newest block became final on this node; null before the first.
        last_block_age_ms: Option<u64>,
    }
}

view! {
    /// A block in a list.
    BlockSummary {
        /// Height.
        height: u64,
        /// Id.
        id: BlockId,
        /// Proposer's clock, Unix milliseconds.
        time_ms: u64,
        /// Validator that made it.
        proposer: Address,
        /// Transactions in it.
        txs: u64,
        /// Leaves in the receipts log after it.
        receipts_size: u64,
    }
}

view! {
    /// One transaction of a block.
    BlockTxView {
        /// Its id.
        id: TxId,
        /// Its kind.
        kind: String,
        /// Its sender.
        sender: Address,
    }
}

view! {
    /// A final block.
    BlockView {
        /// Id.
        id: BlockId,
        /// The header, whose hash is the id.
        header: Header,
        /// Certificate of this block.
        certificate: Certificate,
        /// Transactions in order.
        txs: Vec<BlockTxView>,
        /// Bytes of the encoded block.
        bytes: u64,
    }
}

view! {
    /// One validator.
    ValidatorView {
        /// Account address.
        address: Address,
        /// Name for people, if known.
        name: Option<String>,
        /// Voting key.
        bls: BlsPublic,
        /// Voting power.
        power: u64,
    }
}

view! {
    /// The validators of a height.
    ValidatorsView {
        /// Height at which they vote.
        height: u64,
        /// Sum of the powers.
        total_power: u64,
        /// In the order of the bitmap.
        validators: Vec<ValidatorView>,
    }
}

view! {
    /// The genesis file, as JSON and by its hash.
    GenesisView {
        /// Hash of the canonical genesis.
        chain_id: ChainId,
        /// The genesis as its file has it.
        genesis: serde_json::Value,
    }
}

view! {
    /// One validator's share of block production.
    ProducerView {
        /// Account address.
        address: Address,
        /// Name for people, if known.
        name: Option<String>,
        /// Voting power.
        power: u64,
        /// Turns as proposer whose block was committed in its round.
        turns_taken: u64,
        /// Turns as proposer that ended without its block.
        turns_missed: u64,
        /// Blocks committed that it made.
        blocks: u64,
    }
}

view! {
    /// Block production: there is no mining on this chain.
    ProductionView {
        /// Heights counted, from.
        from_height: u64,
        /// Heights counted, to.
        to_height: u64,
        /// Role of the answering node.
        role: Role,
        /// Validators in the order of the set.
        validators: Vec<ProducerView>,
        /// Transactions waiting on this node.
        pending_txs: u64,
        /// Transactions whose receipts are not final yet on this node.
        receipts_awaiting: u64,
    }
}

view! {
    /// Time between blocks, measured over recent final blocks.
    IntervalView {
        /// Intervals measured.
        count: u64,
        /// Mean in milliseconds.
        mean_ms: u64,
        /// Shortest in milliseconds.
        min_ms: u64,
        /// Longest in milliseconds.
        max_ms: u64,
    }
}

view! {
    /// Counts over the whole ledger.
    LedgerStats {
        /// Height.
        height: u64,
        /// Transactions committed.
        txs: u64,
        /// Receipts in the log (without the genesis leaf).
        receipts: u64,
        /// Accounts.
        accounts: u64,
        /// Units in existence.
        supply: Amount,
        /// Units burned so far.
        burned: Amount,
        /// Block intervals; null below two blocks.
        block_interval: Option<IntervalView>,
    }
}

view! {
    /// A connected peer.
    PeerView {
        /// libp2p peer id.
        peer: String,
        /// Name on the ledger, if it is registered.
        name: Option<Name>,
        /// Account on the ledger, if it is registered or a validator.
        address: Option<Address>,
        /// Address of the connection.
        remote: String,
        /// True when this node dialled.
        outbound: bool,
        /// Height it last told, if any.
        height: Option<u64>,
    }
}
