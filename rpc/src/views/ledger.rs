//! Views of transactions, receipts and accounts.

use crate::schema::{view, words};
use metanode_types::ids::{Address, ReceiptId, TxId};
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Receipt, Subject, Tier};

words! {
    /// Where a transaction stands.
    TxStatus {
        /// Waiting on this node, or in a block that is not final.
        Pending = "pending",
        /// Executed in a final block.
        Final = "final",
        /// In a final block, but its execution failed: the fee was charged, nothing else changed.
        Failed = "failed",
    }
}

view! {
    /// Answer to a submission.
    SubmitView {
        /// Id of the transaction.
        tx: TxId,
    }
}

view! {
    /// A transaction.
    TxView {
        /// Id.
        id: TxId,
        /// Where it stands.
        status: TxStatus,
        /// Its kind.
        kind: String,
        /// Its sender.
        sender: Address,
        /// Height of its block; null while pending.
        height: Option<u64>,
        /// Index in that block; null while pending.
        index: Option<u32>,
        /// Error code of a failed execution; null otherwise.
        code: Option<u32>,
        /// Why it failed; null otherwise.
        reason: Option<String>,
        /// Receipts that it caused, in order.
        receipts: Vec<ReceiptId>,
        /// Fee charged; null while pending.
        fee: Option<Amount>,
    }
}

view! {
    /// A receipt and where it stands.
    ReceiptView {
        /// Id.
        id: ReceiptId,
        /// Tier.
        tier: Tier,
        /// Height of the block that made it.
        height: u64,
        /// Leaf index in the chain's receipts log.
        log_index: u64,
        /// What it is about.
        subject: Subject,
        /// Position in the subject's chain.
        seq: u64,
        /// The receipt.
        receipt: Receipt,
    }
}

view! {
    /// A proof bundle.
    BundleView {
        /// Receipt that it proves.
        receipt: ReceiptId,
        /// True when it holds everything replay needs.
        full: bool,
        /// Bytes of the bundle.
        bytes: u64,
        /// The bundle in hex.
        bundle: String,
    }
}

view! {
    /// An account.
    AccountView {
        /// Address.
        address: Address,
        /// Balance.
        balance: Amount,
        /// Spent in fees and deposits so far; null when not tracked.
        spent: Option<Amount>,
        /// Height of this answer.
        height: u64,
    }
}

view! {
    /// The supply.
    SupplyView {
        /// Units in existence.
        supply: Amount,
        /// Units burned so far.
        burned: Amount,
        /// Units in escrow of deployments.
        escrow: Amount,
        /// Units in bonds of executions and challenges.
        bonded: Amount,
        /// Height of this answer.
        height: u64,
    }
}
