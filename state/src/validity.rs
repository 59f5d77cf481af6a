//! Whether a transaction may stand in a block at all.
//!
//! Owns the rules that make a *block* invalid when broken: chain, signature, size, expiry against the candidate block's
//! time, used nonce, fee. Also decides who pays no fee: a node's heartbeats within their quota, and its reports that
//! change something. The mempool asks against the committed state, execution against the state so far.

use crate::draft::Step;
use crate::error::{Error, Result};
use crate::failure::{Abort, Failure};
use crate::limits::FREE_INTERVAL_DIVISOR;
use crate::nonces;
use crate::records::NodeStatus;
use crate::tx::{commit_report, report, reveal_report};
use crate::view::{StateRead, View};
use metanode_types::codec::encode;
use metanode_types::ids::Address;
use metanode_types::limits::MAX_TX_LIFETIME_MS;
use metanode_types::quantity::Amount;
use metanode_types::tx::{SignedTx, TxBody, TxError};

/// Whether execution still has to check signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signatures {
    /// Check everything, the signature last.
    Verify,
    /// [`SignedTx::check`] passed before, on exactly these bytes.
    AlreadyVerified,
}

/// Why a transaction may not stand in a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Malformed, for another chain, or with a bad signature.
    #[error(transparent)]
    Malformed(#[from] TxError),
    /// Larger than the chain allows.
    #[error("the transaction has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Signed bytes.
        bytes: usize,
        /// Bytes allowed.
        max: u32,
    },
    /// Its time is over.
    #[error("the transaction expired at {valid_until}, the block's time is {time_ms}")]
    Expired {
        /// Its last moment.
        valid_until: u64,
        /// Block time.
        time_ms: u64,
    },
    /// Its expiry is too far ahead.
    #[error("valid_until {valid_until} is more than ten minutes after the block's time {time_ms}")]
    TooFarAhead {
        /// Its last moment.
        valid_until: u64,
        /// Block time.
        time_ms: u64,
    },
    /// The sender used the nonce already.
    #[error("nonce {nonce} of {sender} was used already")]
    UsedNonce {
        /// Sender.
        sender: Address,
        /// Nonce.
        nonce: u64,
    },
    /// The fee exceeds what the sender will pay.
    #[error("the fee is {fee}, the sender pays at most {limit}")]
    FeeLimit {
        /// Fee by the tariff.
        fee: Amount,
        /// Limit signed.
        limit: Amount,
    },
    /// The sender cannot pay the fee.
    #[error("the fee is {fee}, the account holds {balance}")]
    CannotPayFee {
        /// Fee by the tariff.
        fee: Amount,
        /// Balance.
        balance: Amount,
    },
    /// It would be free if it changed something, but does not, and its fee is not covered either.
    #[error("not free: {reason} (code {code}); the fee of {fee} is not covered")]
    NotFree {
        /// Stable code of the failure.
        code: u32,
        /// Why it would fail.
        reason: String,
        /// Fee by the tariff.
        fee: Amount,
    },
}

/// A verdict on a transaction, or a broken store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It may not stand in a block.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store broke.
    #[error(transparent)]
    Broken(#[from] Error),
}

/// Checks a transaction for a block at `time_ms` on the state of `view`. Returns its fee (zero when free).
pub fn check_tx(view: &View<'_>, time_ms: u64, tx: &SignedTx, sigs: Signatures) -> Result<Amount, Rejected> {
    Ok(admit(view, time_ms, tx, sigs)?.unwrap_or(Amount::ZERO))
}

/// As [`check_tx`], on any state; `None` = free.
pub(crate) fn admit(
    state: &impl StateRead,
    time_ms: u64,
    tx: &SignedTx,
    sigs: Signatures,
) -> Result<Option<Amount>, Rejected> {
    let e = &tx.envelope;
    let bytes = encode(tx).len();
    let max = state.params().max_tx_bytes;
    if bytes > max as usize {
        return Err(Invalid::TooLarge { bytes, max }.into());
    }
    if e.valid_until < time_ms {
        return Err(Invalid::Expired { valid_until: e.valid_until, time_ms }.into());
    }
    if e.valid_until - time_ms > MAX_TX_LIFETIME_MS {
        return Err(Invalid::TooFarAhead { valid_until: e.valid_until, time_ms }.into());
    }
    if nonces::is_used(state, &e.sender, e.nonce, e.valid_until)? {
        return Err(Invalid::UsedNonce { sender: e.sender, nonce: e.nonce }.into());
    }
    let fee = fee(state, time_ms, tx, bytes)?;
    if sigs == Signatures::Verify {
        tx.check(&state.chain().chain_id).map_err(Invalid::Malformed)?;
    }
    Ok(fee)
}

/// The fee that the sender covers; `None` = free.
fn fee(
    state: &impl StateRead,
    time_ms: u64,
    tx: &SignedTx,
    bytes: usize,
) -> Result<Option<Amount>, Rejected> {
    let e = &tx.envelope;
    let why_not = match free(state, time_ms, e.sender, &tx.body)? {
        Ok(()) => return Ok(None),
        Err(why_not) => why_not,
    };
    let limit = e.fee_limit;
    let fee = state.params().tariff.tx_fee(bytes).unwrap_or(Amount(u128::MAX));
    let balance = state.account(&e.sender)?.balance();
    if fee <= limit && fee <= balance {
        return Ok(Some(fee));
    }
    Err(match why_not {
        Some(f) => Invalid::NotFree { code: f.code as u32, reason: f.reason.0, fee },
        None if fee > limit => Invalid::FeeLimit { fee, limit },
        None => Invalid::CannotPayFee { fee, balance },
    }
    .into())
}

/// A node's word is free when it changes the state.
fn changes(checked: Step) -> Result<std::result::Result<(), Option<Failure>>> {
    match checked {
        Ok(()) => Ok(Ok(())),
        Err(Abort::Failed(f)) => Ok(Err(Some(f))),
        Err(Abort::Broken(e)) => Err(e),
    }
}

/// Whether a transaction is free; if not, why it would fail (`None` when it simply costs a fee).
fn free(
    state: &impl StateRead,
    time_ms: u64,
    sender: Address,
    body: &TxBody,
) -> Result<std::result::Result<(), Option<Failure>>> {
    match body {
        TxBody::Heartbeat { .. } => {
            let Some(node) = state.node(&sender)? else { return Ok(Err(None)) };
            let quota = state.params().heartbeat_interval_ms / FREE_INTERVAL_DIVISOR;
            let due = time_ms >= node.heard_ms.saturating_add(quota);
            Ok(if due || node.status == NodeStatus::Lost { Ok(()) } else { Err(None) })
        }
        TxBody::Report(report) => changes(report::check(state, time_ms, sender, report).map(drop)),
        TxBody::CommitReport { replica, epoch, .. } => {
            changes(commit_report::check(state, sender, replica, *epoch))
        }
        TxBody::RevealReport { replica, epoch, report, salt } => {
            changes(reveal_report::check(state, sender, replica, *epoch, report, salt))
        }
        _ => Ok(Err(None)),
    }
}
