//! `metanode describe`: one thing with everything that the node knows about it.

use super::failure::{Done, Failure};
use super::get::{deployment_receipts, pages, replica_rows};
use super::output::{pairs, table, value};
use super::session::{Node, Session};
use metanode_rpc::methods::params::BlockParams;
use metanode_rpc::views::{DeploymentView, NodeView, ReceiptView};
use metanode_types::ids::{Address, Name};
use metanode_types::quantity::format_bytes;
use metanode_types::workload::Resources;
use serde::Serialize;
use std::str::FromStr;

/// Show one thing.
#[derive(clap::Args, Debug)]
pub struct DescribeArgs {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its name, address, height or id
    name: String,
}

/// What can be described.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Kind {
    /// A deployment with its replicas and receipts
    Deployment,
    /// A registered node, by name or address
    Node,
    /// A cluster
    Cluster,
    /// An account, by address
    Account,
    /// A block, by height or id
    Block,
}

/// A deployment with what belongs to it.
#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    deployment: DeploymentView,
    receipts: Vec<ReceiptView>,
}

/// Carries the command out.
pub fn run(session: &Session, args: DescribeArgs) -> Done {
    let node = session.node()?;
    let form = session.form;
    match args.kind {
        Kind::Deployment => {
            let name: Name = read(&args.name)?;
            let deployment = node.ask("read the deployment", node.client().deployment(name.clone()))?;
            let receipts = deployment_receipts(&node, &name)?;
            form.emit(&Described { deployment, receipts }, deployment_text);
        }
        Kind::Node => form.emit(&find_node(&node, &args.name)?, node_text),
        Kind::Cluster => {
            let cluster = node.ask("read the cluster", node.client().cluster(read(&args.name)?))?;
            form.emit(&cluster, |c| {
                let nodes: Vec<String> = c.nodes.iter().map(ToString::to_string).collect();
                pairs(&[
                    ("cluster", c.name.to_string()),
                    ("owner", c.owner.map_or_else(|| "the genesis".into(), |a| a.to_string())),
                    ("security", c.security.to_string()),
                    (
                        "nodes",
                        if nodes.is_empty() { "every registered node".into() } else { nodes.join(", ") },
                    ),
                    ("replica limits", resources(&c.max_replica)),
                    ("deployments", c.deployments.to_string()),
                ])
            });
        }
        Kind::Account => super::account::tell(session, &node, read(&args.name)?)?,
        Kind::Block => {
            let height = args.name.parse().ok();
            let id = height.is_none().then(|| args.name.clone());
            let block = node.ask("read the block", node.client().block(BlockParams { height, id }))?;
            form.emit(&block, |b| {
                let rows: Vec<Vec<String>> = b
                    .txs
                    .iter()
                    .enumerate()
                    .map(|(i, t)| vec![i.to_string(), t.id.to_string(), t.kind.clone(), t.sender.short()])
                    .collect();
                let head = pairs(&[
                    ("height", b.header.height.to_string()),
                    ("id", b.id.to_string()),
                    ("parent", b.header.parent.to_string()),
                    ("proposer", b.header.proposer.to_string()),
                    ("app root", value(&b.header)["app_root"].as_str().unwrap_or("unavailable").to_owned()),
                    ("signers", b.certificate.signers.count().to_string()),
                    ("bytes", b.bytes.to_string()),
                ]);
                format!("{head}\n{}", table(&["INDEX", "TX", "KIND", "SENDER"], &rows))
            });
        }
    }
    Ok(())
}

fn read<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Done<T> {
    text.parse().map_err(|e| Failure::usage("read the name", e))
}

/// A node by its name or its address.
fn find_node(node: &Node, name: &str) -> Done<NodeView> {
    let address = name.parse::<Address>().ok();
    let all: Vec<NodeView> = pages(|page| node.ask("list the nodes", node.client().nodes(page)))?;
    let found = all.into_iter().find(|n| n.name.as_str() == name || Some(n.address) == address);
    found.ok_or_else(|| {
        Failure::failed("read the node", format!("no node {name:?} is registered")).next("metanode get nodes")
    })
}

fn resources(r: &Resources) -> String {
    crate::config::describe(r)
}

fn node_text(n: &NodeView) -> String {
    pairs(&[
        ("node", n.name.to_string()),
        ("address", n.address.to_string()),
        ("state", value(&n.state).as_str().unwrap_or("unknown").to_owned()),
        ("validator", if n.validator { "yes" } else { "no" }.to_owned()),
        ("capacity", resources(&n.capacity)),
        ("free", resources(&n.free)),
        ("replicas", n.replicas.to_string()),
        ("cage level", n.cage_level.to_string()),
        ("runs oci", if n.runs_oci { "yes" } else { "no" }.to_owned()),
        ("wasm level", n.wasm_level.to_string()),
        ("cpu class", n.cpu_class.to_string()),
        ("kernel", n.kernel.clone()),
        ("peer id", n.peer_id.clone()),
        ("last seen", format!("height {}", n.last_seen_height)),
    ])
}

fn deployment_text(d: &Described) -> String {
    let v = &d.deployment;
    let head = pairs(&[
        ("deployment", format!("{} (generation {})", v.name, v.generation)),
        ("kind", if v.workload.is_job() { "job" } else { "service" }.to_owned()),
        ("status", value(&v.status).as_str().unwrap_or("unknown").to_owned()),
        ("owner", v.owner.to_string()),
        ("cluster", v.cluster.to_string()),
        ("image", v.workload.image.digest.to_string()),
        ("args", v.workload.args.join(" ")),
        ("limits", resources(&v.workload.resources)),
        ("cage level", v.workload.cage_level.to_string()),
        ("verify", v.workload.verify.to_string()),
        ("security", v.workload.security.to_string()),
        ("escrow", v.escrow.to_string()),
        ("memory", format_bytes(v.workload.resources.memory_bytes)),
        ("deployed", format!("height {}, tx {}", v.height, v.tx)),
    ]);
    let compared = super::verification::text(v);
    let compared = if compared.is_empty() { compared } else { format!("\n\n{}", compared.trim_end()) };
    format!("{head}\n\n{}{compared}\n\n{}", replica_rows(v), super::receipts::text(&d.receipts))
}
