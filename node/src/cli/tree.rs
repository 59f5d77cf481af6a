//! The tree of commands, as clap reads it. The arguments of each stand in the file that carries it out.

use super::output::Form;
use super::*;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const AFTER: &str = "Exit codes: 0 done or verified, 1 a check failed, 2 usage, 3 unavailable.
A network on this machine: `metanode testnet up`, then pass one of its addresses as --rpc.";

/// Deploys workloads on a ledger that no single operator owns, and proves what happened there.
#[derive(Parser, Debug)]
#[command(name = "metanode", version, after_help = AFTER, propagate_version = true, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Form of the answer
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value = "text",
        global = true,
        value_name = "FORM"
    )]
    pub output: Form,
    /// The same as `-o json`
    #[arg(long, global = true, hide = true)]
    pub json: bool,
    /// Address of a node's interface [default: http://127.0.0.1:8080]
    #[arg(long, global = true, env = "METANODE_RPC", value_name = "URL", hide_env_values = true)]
    pub rpc: Option<String>,
    /// File of the account key that signs; for a testnet on this machine its faucet key
    #[arg(long, global = true, env = "METANODE_KEY", value_name = "FILE", hide_env_values = true)]
    pub key: Option<PathBuf>,
    /// Home directory of a node on this machine [default: ~/.metanode, or METANODE_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a home directory: keys, settings and a genesis
    Init(init::InitArgs),
    /// Run the node of a home directory
    Start(start::StartArgs),
    /// Show what a node knows of itself and of its chain
    Status,
    /// Make and look after keys
    Keys(keys::KeysArgs),
    /// Write and check the genesis of a chain
    Genesis(genesis::GenesisArgs),
    /// Run a network of local validators
    Testnet(testnet::TestnetArgs),
    /// Import, make and list images
    Image(image::ImageArgs),
    /// Deploy a service or a job
    Deploy(Box<deploy::DeployArgs>),
    /// Change the number of replicas of a service
    Scale(lifecycle::ScaleArgs),
    /// Stop a deployment
    Stop(lifecycle::StopArgs),
    /// Doubt the result of a finished job: one more node runs it, and the loser pays
    Challenge(challenge::ChallengeArgs),
    /// List what is on the ledger
    Get(get::GetArgs),
    /// Show one thing with everything known about it
    Describe(describe::DescribeArgs),
    /// Show the output of a replica
    Logs(logs::LogsArgs),
    /// Show why the replicas of a deployment are where they are
    Explain(explain::ExplainArgs),
    /// List the receipts of a deployment
    Receipts(receipts::ReceiptsArgs),
    /// Ask the ledger
    Ledger(ledger::LedgerArgs),
    /// Show block production: turns taken and missed
    Mining(ledger::MiningArgs),
    /// Export and verify proofs of receipts
    Proofs(proofs::ProofsArgs),
    /// Create clusters
    Cluster(cluster::ClusterArgs),
    /// Move tokens to another account
    Transfer(account::TransferArgs),
    /// Show an account
    Account(account::AccountArgs),
    /// Run one cage on this machine, without a chain
    Cage(cage::CageArgs),
    /// Show which barriers this machine offers
    Security(security::SecurityArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}
