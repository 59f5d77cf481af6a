//! `metanode status`: what a node knows of itself and of its chain.

use super::failure::Done;
use super::output::{known, pairs};
use super::session::Session;
use metanode_rpc::views::{Role, StatusView};

/// Carries the command out.
pub fn run(session: &Session) -> Done {
    let node = session.node()?;
    let status = node.ask("read the node's status", node.client().status())?;
    session.form.emit(&status, text);
    Ok(())
}

fn text(s: &StatusView) -> String {
    let role = match s.role {
        Role::Validator => "validator",
        Role::Follower => "follower",
    };
    let age = s.last_block_age_ms.map(|ms| format!("{}.{:03} s ago", ms / 1000, ms % 1000));
    pairs(&[
        ("chain", format!("{} {}", s.chain_name, s.chain_id)),
        ("node", format!("{} ({role}) {}", s.node, s.address)),
        ("height", s.height.to_string()),
        ("block", known(s.block)),
        ("final", known(age)),
        ("app root", s.app_root.to_string()),
        ("in sync", if s.catching_up { "no, catching up" } else { "yes" }.to_owned()),
        ("peers", s.peers.to_string()),
        ("mempool", format!("{} transactions, {} bytes", s.mempool.txs, s.mempool.bytes)),
        ("disk", known(s.disk_bytes.map(metanode_types::quantity::format_bytes))),
        ("version", s.version.clone()),
    ])
}
