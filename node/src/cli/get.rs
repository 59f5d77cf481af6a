//! `metanode get`: lists of what is on the ledger.
//!
//! Owns following the cursor of a list to its end, within a bound: a list that is longer is refused rather than cut
//! short in silence.

use super::deploy::word;
use super::failure::{Done, Failure};
use super::output::Form;
use super::output::{table, value};
use super::session::{Node, Session};
use metanode_rpc::ClientError;
use metanode_rpc::methods::params::PageParams;
use metanode_rpc::views::{ClusterView, DeploymentView, NodeView, PageView, ReceiptView, ReplicaState};
use metanode_types::ids::Name;
use metanode_types::limits::MAX_PAGE;
use metanode_types::quantity::format_bytes;
use std::future::Future;

/// Pages of one list at most.
const MAX_PAGES: usize = 100;

/// List what is on the ledger.
#[derive(clap::Args, Debug)]
pub struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    kind: Kind,
}

/// What to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Kind {
    /// Services and jobs
    Deployments,
    /// Services alone
    Services,
    /// Registered nodes
    Nodes,
    /// Clusters
    Clusters,
}

/// Carries the command out.
pub fn run(session: &Session, args: GetArgs) -> Done {
    let node = session.node()?;
    let form: Form = session.form;
    match args.kind {
        Kind::Deployments => form.emit(&all_deployments(&node)?, |all| deployments_text(all)),
        Kind::Services => {
            let mut all = all_deployments(&node)?;
            all.retain(|d| !d.workload.is_job());
            form.emit(&all, |all| deployments_text(all));
        }
        Kind::Nodes => {
            let all: Vec<NodeView> = pages(|page| node.ask("list the nodes", node.client().nodes(page)))?;
            form.emit(&all, |all| nodes_text(all));
        }
        Kind::Clusters => {
            let all: Vec<ClusterView> =
                pages(|page| node.ask("list the clusters", node.client().clusters(page)))?;
            form.emit(&all, |all| clusters_text(all));
        }
    }
    Ok(())
}

/// Follows a list to its end.
pub fn pages<T>(mut fetch: impl FnMut(PageParams) -> Done<PageView<T>>) -> Done<Vec<T>> {
    let (mut all, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let page = fetch(PageParams { cursor, limit: Some(MAX_PAGE as u32) })?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
    let why = format!("it has more than {MAX_PAGES} pages of {MAX_PAGE} entries");
    Err(Failure::unavailable("read the whole list", why)
        .next("use the JSON-RPC interface, which pages through it"))
}

/// Every deployment.
pub fn all_deployments(node: &Node) -> Done<Vec<DeploymentView>> {
    pages(|page| node.ask("list the deployments", node.client().deployments(page)))
}

/// Every receipt of a deployment and its replicas, in the order of the log.
pub fn deployment_receipts(node: &Node, name: &Name) -> Done<Vec<ReceiptView>> {
    pages(|page| node.ask("list the receipts", node.client().deployment_receipts(name.clone(), page)))
}

/// One page of nodes after another, without a session.
pub async fn every_node<F>(mut fetch: impl FnMut(PageParams) -> F) -> Result<Vec<NodeView>, ClientError>
where
    F: Future<Output = Result<PageView<NodeView>, ClientError>>,
{
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = fetch(PageParams { cursor, limit: Some(MAX_PAGE as u32) }).await?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || all.len() > MAX_PAGES * MAX_PAGE {
            return Ok(all);
        }
    }
}

fn deployments_text(all: &[DeploymentView]) -> String {
    let row = |d: &DeploymentView| {
        let running = d.replicas.iter().filter(|r| r.state == ReplicaState::Running).count();
        let kind = if d.workload.is_job() { "job" } else { "service" };
        let mut nodes: Vec<&str> =
            d.replicas.iter().filter_map(|r| Some(r.node.as_ref()?.as_str())).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let status = value(&d.status).as_str().unwrap_or("unknown").to_owned();
        let ready = format!("{running}/{}", d.replicas.len());
        vec![d.name.to_string(), kind.into(), status, ready, d.cluster.to_string(), nodes.join(",")]
    };
    table(
        &["NAME", "KIND", "STATUS", "RUNNING", "CLUSTER", "NODES"],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

fn nodes_text(all: &[NodeView]) -> String {
    let row = |n: &NodeView| {
        let of = |free: String, all: String| format!("{free} of {all}");
        vec![
            n.name.to_string(),
            value(&n.state).as_str().unwrap_or("unknown").to_owned(),
            if n.validator { "yes" } else { "no" }.to_owned(),
            of(format!("{}m", n.free.cpu_milli), format!("{}m", n.capacity.cpu_milli)),
            of(format_bytes(n.free.memory_bytes), format_bytes(n.capacity.memory_bytes)),
            n.replicas.to_string(),
            n.cage_level.to_string(),
            n.last_seen_height.to_string(),
        ]
    };
    let headings = ["NAME", "STATE", "VALIDATOR", "CPU FREE", "MEMORY FREE", "REPLICAS", "LEVEL", "SEEN AT"];
    table(&headings, &all.iter().map(row).collect::<Vec<_>>())
}

fn clusters_text(all: &[ClusterView]) -> String {
    let row = |c: &ClusterView| {
        let nodes = if c.nodes.is_empty() { "every node".to_owned() } else { c.nodes.len().to_string() };
        let placement = value(&c.placement).as_str().unwrap_or("unknown").to_owned();
        vec![c.name.to_string(), c.security.to_string(), placement, nodes, c.deployments.to_string()]
    };
    table(
        &["NAME", "SECURITY", "PLACEMENT", "NODES", "DEPLOYMENTS"],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Replicas as rows.
pub fn replica_rows(view: &DeploymentView) -> String {
    let dash = || "-".to_owned();
    let row = |r: &metanode_rpc::views::ReplicaView| {
        vec![
            r.index.to_string(),
            r.node.as_ref().map_or_else(dash, ToString::to_string),
            word(r.state),
            r.epoch.to_string(),
            r.restarts.to_string(),
            r.healthy.map_or_else(dash, |h| if h { "yes" } else { "no" }.to_owned()),
            r.exit.as_ref().map_or_else(dash, ToString::to_string),
        ]
    };
    let rows: Vec<Vec<String>> = view.replicas.iter().map(row).collect();
    table(&["REPLICA", "NODE", "STATE", "EPOCH", "RESTARTS", "HEALTHY", "EXIT"], &rows)
}
