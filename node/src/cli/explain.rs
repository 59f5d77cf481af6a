//! `metanode explain`: why each replica is where it is, node by node and rule by rule.

use super::deploy::word;
use super::failure::Done;
use super::session::Session;
use metanode_rpc::views::ExplainView;
use metanode_types::ids::Name;
use std::fmt::Write;

/// Show why replicas are where they are.
#[derive(clap::Args, Debug)]
pub struct ExplainArgs {
    /// Deployment
    name: Name,
    /// Height whose state is judged [default: now]
    #[arg(long, value_name = "H")]
    height: Option<u64>,
}

/// Carries the command out.
pub fn run(session: &Session, args: ExplainArgs) -> Done {
    let node = session.node()?;
    let view = node.ask("explain the placement", node.client().explain(args.name, args.height))?;
    session.form.emit(&view, text);
    Ok(())
}

fn text(view: &ExplainView) -> String {
    let mut out = format!("{} at height {}", view.deployment, view.height);
    for replica in &view.replicas {
        let _ = write!(out, "\nreplica {} {}: {}", replica.index, word(replica.state), replica.reason);
        for node in &replica.nodes {
            let verdict = match (node.fits, node.score) {
                (true, Some(score)) => format!("fits, score {score}"),
                (true, None) => "fits".to_owned(),
                (false, _) => "does not fit".to_owned(),
            };
            let _ = write!(out, "\n  {}: {verdict}", node.node);
            for rule in &node.rules {
                let mark = if rule.ok { "ok  " } else { "FAIL" };
                let _ = write!(out, "\n    {mark} {}: {}", rule.rule, rule.detail);
            }
        }
    }
    out
}
