//! `metanode start`: runs the node of a home directory until it is told to end.
//!
//! Owns what comes before the core loop: the session of the process, the home, the log. With `--dev` a home without a
//! genesis becomes a chain of its own first. Refuses to run when the settings are wrong.

use super::failure::{Doing, Done, Failure};
use super::init::{InitArgs, initialise};
use super::output::note;
use super::session::Session;
use crate::config::{Config, LogFormat, LogSection};
use tracing_subscriber::EnvFilter;

/// Libraries that tell every vote and connection at `info`; a setting that names them wins.
const QUIET_CRATES: &str = "arc_malachitebft_core_consensus=warn,libp2p_swarm=warn";

/// What the command line says beyond the settings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StartOptions {
    /// Port of the interface, in place of that of `rpc.listen`.
    pub rpc_port: Option<u16>,
    /// Addresses to listen on for peers, in place of `p2p.listen`.
    pub p2p_listen: Option<Vec<String>>,
    /// A chain of one validator on this machine.
    pub dev: bool,
}

/// Run a node.
#[derive(clap::Args, Debug)]
pub struct StartArgs {
    /// Port of the interface, in place of that of rpc.listen
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Address to listen on for peers, in place of p2p.listen; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub p2p_listen: Vec<String>,
    /// A chain of one validator: creates the home first when it has no genesis
    #[arg(long)]
    pub dev: bool,
    /// Leave the session of the caller, so that its end does not end the node
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Carries the command out.
pub fn run(session: &Session, args: StartArgs) -> Done {
    if args.detached {
        // Fails only for a process that leads a group, and then it has what it needs.
        let _ = nix::unistd::setsid();
    }
    let home = session.home()?;
    if !home.is_initialised() {
        if !args.dev {
            let why = format!("{} has no genesis", home.root().display());
            return Err(Failure::usage("start the node", why).next("metanode init, or metanode start --dev"));
        }
        let made = initialise(&home, InitArgs { genesis: None, name: None, chain_name: None })?;
        note(format!("created {} for the new chain {}", made.home.display(), made.chain_name));
    }
    let config = Config::load(&home).usage("read the settings")?;
    log_to_stderr(&config.log)?;
    let p2p_listen = (!args.p2p_listen.is_empty()).then_some(args.p2p_listen);
    let options = StartOptions { rpc_port: args.port, p2p_listen, dev: args.dev };
    crate::start::start(home, options).map_err(|e| Failure::unavailable("run the node", format!("{e:#}")))
}

fn log_to_stderr(log: &LogSection) -> Done {
    let filter = EnvFilter::try_new(format!("{QUIET_CRATES},{}", log.level));
    let filter = filter.map_err(|e| Failure::usage("read the settings", format!("log.level: {e}")))?;
    let plain = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match log.format {
        LogFormat::Plain => plain.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => plain.json().try_init(),
    };
    set.unavailable("start the log")
}
