//! `metanode receipts`: the receipts of a deployment and its replicas, in the order of the log.

use super::failure::{Done, Failure};
use super::get::deployment_receipts;
use super::output::table;
use super::session::Session;
use metanode_rpc::views::ReceiptView;
use metanode_types::ids::{Digest, Name};
use metanode_types::receipt::{Action, EconomicKind, ReceiptBody, Said, Tier};

/// List receipts.
#[derive(clap::Args, Debug)]
pub struct ReceiptsArgs {
    /// Deployment
    deployment: Name,
    /// Only this tier: action, agreement, pipeline or economic
    #[arg(long, value_name = "TIER", value_parser = tier)]
    tier: Option<Tier>,
}

fn tier(text: &str) -> Result<Tier, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| "expected action, agreement, pipeline or economic".into())
}

/// Carries the command out.
pub fn run(session: &Session, args: ReceiptsArgs) -> Done {
    let node = session.node()?;
    let mut receipts = deployment_receipts(&node, &args.deployment)?;
    if receipts.is_empty() {
        let why = format!("nothing is known of a deployment {:?}", args.deployment.as_str());
        return Err(Failure::failed("list the receipts", why).next("metanode get deployments"));
    }
    if let Some(tier) = args.tier {
        receipts.retain(|r| r.tier == tier);
    }
    session.form.emit(&receipts, |all| text(all));
    Ok(())
}

/// One receipt in a few words.
pub fn summary(body: &ReceiptBody) -> String {
    match body {
        ReceiptBody::Action(action) => action_summary(action),
        ReceiptBody::Agreement(a) => format!("{} at security level {}", a.cluster, a.profile.level),
        ReceiptBody::Pipeline(p) => format!("{:?}", p.light).to_lowercase(),
        ReceiptBody::Economic(e) => match &e.kind {
            EconomicKind::Transfer { amount, .. } => format!("transfer {amount}"),
            EconomicKind::Fee { fee } => format!("fee {fee}"),
            EconomicKind::Escrowed { amount, .. } => format!("escrowed {amount}"),
            EconomicKind::Charged { charged, .. } => format!("charged {charged}"),
            EconomicKind::Refunded { amount, .. } => format!("refunded {amount}"),
            EconomicKind::Bonded { amount, .. } => format!("bond {amount}"),
            EconomicKind::BondReturned { amount, .. } => format!("bond {amount} returned"),
            EconomicKind::BondPaid { amount, .. } => format!("bond {amount} lost to another account"),
            EconomicKind::BondBurned { amount, .. } => format!("bond {amount} lost and burned"),
        },
    }
}

fn action_summary(action: &Action) -> String {
    let name = action.name();
    let short = |d: &Digest| d.short();
    match action {
        Action::Committed { node, .. } => format!("{name} by {}", node.short()),
        Action::Revealed { node, report, .. } => {
            format!("{name} by {}: {}, outcome {}", node.short(), report.exit, short(&report.outcome()))
        }
        Action::Settled { asked, outcome, votes, .. } => {
            let agree = votes.count(outcome);
            let mut text = format!("{name}: {agree} of {asked} agree on {}", short(outcome));
            for vote in votes.0.iter().filter(|v| v.said != Said::Outcome(*outcome)) {
                text.push_str(&format!("; {}: {}", vote.name, vote.said));
            }
            text
        }
        Action::Unsettled { asked, votes, .. } => {
            let said: Vec<String> = votes.0.iter().map(|v| format!("{}: {}", v.name, v.said)).collect();
            format!("{name}: no majority of {asked}; {}", said.join("; "))
        }
        Action::Challenged { node, challenger, .. } => {
            format!("{name} by {}, run again by {}", challenger.short(), node.short())
        }
        Action::ChallengeDecided { report, upheld, .. } => {
            let word = if *upheld { "upheld" } else { "overturned" };
            format!("{name}: {word}, outcome {}", short(&report.outcome()))
        }
        Action::ChallengeVoid { said, .. } => format!("{name}: {said}"),
        _ => name.to_owned(),
    }
}

/// Receipts as rows.
pub fn text(all: &[ReceiptView]) -> String {
    let row = |r: &ReceiptView| {
        vec![
            r.id.to_string(),
            r.tier.to_string(),
            r.height.to_string(),
            r.subject.to_string(),
            r.seq.to_string(),
            summary(&r.receipt.body),
        ]
    };
    table(&["RECEIPT", "TIER", "HEIGHT", "SUBJECT", "SEQ", "WHAT"], &all.iter().map(row).collect::<Vec<_>>())
}
