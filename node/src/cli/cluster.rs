//! `metanode cluster create`: a named set of nodes with a security level and a placement policy.

use super::failure::Done;
use super::output::pairs;
use super::session::Session;
use super::submit::{self, Chain};
use metanode_types::ids::{Address, Name};
use metanode_types::level::SecurityLevel;
use metanode_types::quantity::{parse_bytes, parse_cpu_milli};
use metanode_types::tx::{ClusterNodes, ClusterSpec, PlacementPolicy, TxBody};
use metanode_types::workload::Resources;
use serde_json::json;

/// Create clusters.
#[derive(clap::Args, Debug)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(clap::Subcommand, Debug)]
enum ClusterCommand {
    /// Create a cluster
    Create(Box<CreateArgs>),
}

#[derive(clap::Args, Debug)]
struct CreateArgs {
    /// Name of the cluster
    name: Name,
    /// Least security level of its deployments: standard, enterprise, high or maximum
    #[arg(long, default_value = "standard", value_name = "LEVEL")]
    security_level: SecurityLevel,
    /// How fitting nodes are ranked
    #[arg(long, value_enum, default_value = "spread")]
    placement: Placement,
    /// Address of a member; may be repeated [default: every registered node]
    #[arg(long, value_name = "ADDRESS")]
    node: Vec<Address>,
    /// Most CPU of one replica
    #[arg(long, default_value = "64", value_name = "CPU", value_parser = parse_cpu_milli)]
    max_cpu: u32,
    /// Most memory of one replica
    #[arg(long, default_value = "64Gi", value_name = "SIZE", value_parser = parse_bytes)]
    max_memory: u64,
    /// Most writable space of one replica
    #[arg(long, default_value = "64Gi", value_name = "SIZE", value_parser = parse_bytes)]
    max_storage: u64,
    /// Most processes of one replica
    #[arg(long, default_value_t = 4096, value_name = "N")]
    max_pids: u32,
}

/// How fitting nodes are ranked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Placement {
    /// Fewest replicas first
    Spread,
    /// Least free capacity first
    BinPack,
}

/// Carries the command out.
pub fn run(session: &Session, args: ClusterArgs) -> Done {
    let ClusterCommand::Create(args) = args.command;
    let placement = match args.placement {
        Placement::Spread => PlacementPolicy::Spread,
        Placement::BinPack => PlacementPolicy::BinPack,
    };
    let spec = ClusterSpec {
        name: args.name.clone(),
        security: args.security_level,
        placement,
        nodes: ClusterNodes(args.node),
        max_replica: Resources {
            cpu_milli: args.max_cpu,
            memory_bytes: args.max_memory,
            disk_bytes: args.max_storage,
            pids: args.max_pids,
        },
    };
    let key = session.account()?;
    let node = session.node()?;
    let tx = Chain::of(&node)?.sign(&key, TxBody::CreateCluster(spec))?;
    let done = submit::send(&node, &tx, submit::DEFAULT_WAIT)?;
    let answer =
        json!({ "cluster": args.name, "tx": done.id, "height": done.height, "receipts": done.receipts });
    session.form.emit(&answer, |_| {
        pairs(&[
            ("cluster", args.name.to_string()),
            ("tx", done.id.to_string()),
            ("height", super::output::known(done.height)),
        ])
    });
    Ok(())
}
