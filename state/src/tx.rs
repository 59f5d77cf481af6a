//! One file per kind of transaction; each reads top to bottom.
//!
//! Owns the dispatch. A kind checks, changes the draft, pays and makes receipts; on failure everything it did is
//! taken back by the caller.

use crate::draft::{Draft, Step};
use crate::error::Result;
use crate::machine::Call;
use crate::view::StateRead;
use metanode_types::ids::Digest;
use metanode_types::receipt::{EconomicKind, Subject};
use metanode_types::tx::TxBody;

pub(crate) mod challenge;
pub(crate) mod commit_report;
pub(crate) mod create_cluster;
pub(crate) mod deploy;
pub(crate) mod heartbeat;
pub(crate) mod register_node;
pub(crate) mod report;
pub(crate) mod reveal_report;
pub(crate) mod scale;
pub(crate) mod stop;
pub(crate) mod transfer;

/// Executes a transaction's body.
pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, body: &TxBody) -> Step {
    match body {
        TxBody::Transfer { to, amount } => transfer::run(draft, call, *to, *amount),
        TxBody::RegisterNode(spec) => register_node::run(draft, call, spec),
        TxBody::Heartbeat { boot_id, free } => heartbeat::run(draft, call, *boot_id, *free),
        TxBody::CreateCluster(spec) => create_cluster::run(draft, call, spec),
        TxBody::Deploy(spec) => deploy::run(draft, call, spec),
        TxBody::Scale { deployment, replicas, deposit } => {
            scale::run(draft, call, deployment, *replicas, *deposit)
        }
        TxBody::Stop { deployment } => stop::run(draft, call, deployment),
        TxBody::Report(report) => report::run(draft, call, report),
        TxBody::CommitReport { replica, epoch, commitment } => {
            commit_report::run(draft, call, replica, *epoch, *commitment)
        }
        TxBody::RevealReport { replica, epoch, report, salt } => {
            reveal_report::run(draft, call, replica, *epoch, report, *salt)
        }
        TxBody::Challenge { replica, bond } => challenge::run(draft, call, replica, *bond),
    }
}

/// Pays the fee of a transaction that moves nothing else; free ones pay nothing.
pub(crate) fn pay_fee(draft: &mut Draft<'_>, call: &Call) -> Step {
    match call.fee {
        Some(fee) => crate::money::pay(draft, call.sender, EconomicKind::Fee { fee }),
        None => Ok(()),
    }
}

/// Digest of a subject's record as it stands.
pub(crate) fn subject_digest(state: &impl StateRead, subject: &Subject) -> Result<Digest> {
    Ok(match subject {
        Subject::Account(a) => state.account(a)?.digest(a),
        Subject::Node(a) => state.node(a)?.map(|r| r.digest(a)).unwrap_or_default(),
        Subject::Cluster(n) => state.cluster(n)?.map(|r| r.digest()).unwrap_or_default(),
        Subject::Deployment(n) => state.deployment(n)?.map(|r| r.digest()).unwrap_or_default(),
        Subject::Replica(r) => state.replica(r)?.map(|r| r.digest()).unwrap_or_default(),
    })
}
