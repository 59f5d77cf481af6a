//! `metanode testnet`: a network of validators on this machine, as real processes.
//!
//! ```text
//! up: keys, genesis, homes -> processes -> every node final and every node registered -> testnet.json, registry
//! down: SIGTERM, SIGKILL, then the cages that are left
//! ```
//!
//! Owns the processes that it started and no others: each is known by pid *and* start time. Refuses a directory
//! that was
//! used before. When `up` fails, or is interrupted, nothing that it started is left running.

mod nodes;
mod plan;
mod record;
pub mod registry;
mod up;

use super::failure::Done;
use super::session::Session;
use std::path::PathBuf;

/// Run a local network.
#[derive(clap::Args, Debug)]
pub struct TestnetArgs {
    #[command(subcommand)]
    command: TestnetCommand,
}

/// Where the network is.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct DirArgs {
    /// Directory of the network
    #[arg(long, value_name = "DIR", default_value = "./.testnet")]
    dir: PathBuf,
}

#[derive(clap::Subcommand, Debug)]
enum TestnetCommand {
    /// Start a new network; return when a block is final and every node is registered
    Up(up::UpArgs),
    /// Show the nodes
    Status(DirArgs),
    /// End the processes that `up` and `start` started, and their cages
    Down(nodes::DownArgs),
    /// Kill a node at once (SIGKILL)
    Kill(nodes::OneArgs),
    /// Start a node again
    Start(nodes::OneArgs),
    /// Show the log of a node
    Logs(nodes::LogsArgs),
}

/// Carries the command out.
pub fn run(session: &Session, args: TestnetArgs) -> Done {
    match args.command {
        TestnetCommand::Up(args) => up::run(session, args),
        TestnetCommand::Status(args) => nodes::status(session, &args),
        TestnetCommand::Down(args) => nodes::down(session, &args),
        TestnetCommand::Kill(args) => nodes::kill(session, &args),
        TestnetCommand::Start(args) => nodes::start(session, &args),
        TestnetCommand::Logs(args) => nodes::logs(session, &args),
    }
}
