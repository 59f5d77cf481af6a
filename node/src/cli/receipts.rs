//! `metanode receipts`: the receipts of a deployment and its replicas, in the order of the log.

use super::failure::{Done, Failure};
use super::get::deployment_receipts;
use super::output::table;
use super::session::Session;
use metanode_rpc::views::ReceiptView;
use metanode_types::ids::Name;
use metanode_types::receipt::{EconomicKind, ReceiptBody, Tier};

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
        ReceiptBody::Action(action) => action.name().to_owned(),
        ReceiptBody::Agreement(a) => format!("{} at security level {}", a.cluster, a.profile.level),
        ReceiptBody::Pipeline(p) => format!("{:?}", p.light).to_lowercase(),
        ReceiptBody::Economic(e) => match &e.kind {
            EconomicKind::Transfer { amount, .. } => format!("transfer {amount}"),
            EconomicKind::Fee { fee } => format!("fee {fee}"),
            EconomicKind::Escrowed { amount, .. } => format!("escrowed {amount}"),
            EconomicKind::Charged { charged, .. } => format!("charged {charged}"),
            EconomicKind::Refunded { amount, .. } => format!("refunded {amount}"),
        },
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
