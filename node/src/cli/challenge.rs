//! `metanode challenge`: doubt the result of a finished job; one more node runs it, and the loser pays.

use super::deploy::default_deposit;
use super::failure::{Done, Failure};
use super::output::{known, pairs};
use super::session::Session;
use super::submit::{self, Chain};
use metanode_rpc::views::{DeploymentView, VerificationView};
use metanode_types::ids::{Name, TxId};
use metanode_types::quantity::{Amount, parse_duration_ms};
use metanode_types::tx::TxBody;
use metanode_types::workload::{ReplicaId, Workload};
use serde::Serialize;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(100);

/// Challenge a finished job.
#[derive(clap::Args, Debug)]
pub struct ChallengeArgs {
    /// Deployment
    pub name: Name,
    /// Replica whose result is in doubt
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub replica: u32,
    /// Tokens put up [default: the least that the chain takes]
    #[arg(long, value_name = "TOKENS")]
    pub bond: Option<Amount>,
    /// Return when the challenge is decided
    #[arg(long)]
    pub wait: bool,
    /// Bound on the wait
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = parse_duration_ms)]
    pub wait_timeout: u64,
}

/// What came of it.
#[derive(Serialize)]
struct Challenged {
    deployment: Name,
    replica: u32,
    tx: TxId,
    height: Option<u64>,
    bond: Amount,
    verification: Option<VerificationView>,
}

/// Carries the command out.
pub fn run(session: &Session, args: ChallengeArgs) -> Done {
    let deadline = Instant::now() + Duration::from_millis(args.wait_timeout);
    let key = session.account()?;
    let node = session.node()?;
    let chain = Chain::of(&node)?;
    let read = || node.ask("read the deployment", node.client().deployment(args.name.clone()));
    let view: DeploymentView = read()?;
    let one = Workload { verify: 0, ..view.workload.clone() };
    let least = default_deposit(&chain.params.tariff, &one, 1)
        .and_then(|run| run.checked_add(chain.params.verify.bond))
        .ok_or_else(|| Failure::usage("work out the bond", "one more run costs more than any balance"))?;
    let bond = args.bond.unwrap_or(least);
    let replica = ReplicaId { deployment: args.name.clone(), index: args.replica };
    let tx = chain.sign(&key, TxBody::Challenge { replica, bond })?;
    let sent = submit::send(&node, &tx, submit::DEFAULT_WAIT)?;
    let mut verification = verification_of(read()?, args.replica);
    let under_way = |v: &Option<VerificationView>| {
        v.as_ref().is_some_and(|v| v.state == metanode_rpc::views::VerificationState::Challenged)
    };
    while args.wait && under_way(&verification) && Instant::now() < deadline {
        std::thread::sleep(POLL);
        verification = verification_of(read()?, args.replica);
    }
    let undecided = args.wait && under_way(&verification);
    let done = Challenged {
        deployment: args.name.clone(),
        replica: args.replica,
        tx: sent.id,
        height: sent.height,
        bond,
        verification,
    };
    if undecided {
        let failure = Failure::unavailable(format!("challenge {}", args.name), "it was not decided in time");
        return Err(failure.next(format!("metanode describe deployment {}", args.name)));
    }
    session.form.emit(&done, |d| text(d, &args.name));
    Ok(())
}

fn verification_of(view: DeploymentView, index: u32) -> Option<VerificationView> {
    view.replicas.into_iter().find(|r| r.index == index)?.verification
}

fn text(done: &Challenged, name: &Name) -> String {
    let head = pairs(&[
        ("challenged", format!("{name}/{}", done.replica)),
        ("tx", done.tx.to_string()),
        ("height", known(done.height)),
        ("bond", done.bond.to_string()),
    ]);
    let told = done.verification.as_ref().map(super::verification::of_one).unwrap_or_default();
    format!("{head}\n{told}")
}
