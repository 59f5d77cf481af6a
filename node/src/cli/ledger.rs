//! `metanode ledger` and `metanode mining`: counts, single entries, and who made the blocks.
//!
//! There is no mining on this chain: `mining status` shows block production and has neither difficulty nor hash rate.

use super::failure::{Code, Done, Failure};
use super::output::{known, pairs, table, value};
use super::session::{Node, Session};
use metanode_rpc::views::{LedgerStats, ProductionView, ReceiptView, TxView};
use metanode_types::ids::Name;

/// Ask the ledger.
#[derive(clap::Args, Debug)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(clap::Subcommand, Debug)]
enum LedgerCommand {
    /// Count what is on the ledger
    Stats,
    /// Show a receipt or a transaction
    Query {
        /// Receipt (rx_…) or transaction (0x…), or a unique beginning
        id: String,
    },
}

/// Show block production.
#[derive(clap::Args, Debug)]
pub struct MiningArgs {
    #[command(subcommand)]
    command: MiningCommand,
}

#[derive(clap::Subcommand, Debug)]
enum MiningCommand {
    /// Turns taken and missed, blocks made
    Status,
}

/// Carries `ledger` out.
pub fn run(session: &Session, args: LedgerArgs) -> Done {
    let node = session.node()?;
    match args.command {
        LedgerCommand::Stats => {
            let stats = node.ask("read the ledger's counts", node.client().stats())?;
            session.form.emit(&stats, stats_text);
            Ok(())
        }
        LedgerCommand::Query { id } => query(session, &node, &id),
    }
}

fn stats_text(s: &LedgerStats) -> String {
    let interval = s.block_interval.as_ref().map(|i| {
        format!("mean {} ms, from {} to {} ms, over {} intervals", i.mean_ms, i.min_ms, i.max_ms, i.count)
    });
    pairs(&[
        ("height", s.height.to_string()),
        ("transactions", s.txs.to_string()),
        ("receipts", s.receipts.to_string()),
        ("accounts", s.accounts.to_string()),
        ("supply", s.supply.to_string()),
        ("burned", s.burned.to_string()),
        ("block interval", known(interval)),
    ])
}

fn query(session: &Session, node: &Node, id: &str) -> Done {
    let receipt = || node.ask("read the receipt", node.client().receipt(id));
    let tx = || node.ask("read the transaction", node.client().tx(id));
    if id.starts_with("rx_") {
        session.form.emit(&receipt()?, receipt_text);
    } else if id.starts_with("0x") {
        session.form.emit(&tx()?, tx_text);
    } else {
        match receipt() {
            Ok(receipt) => session.form.emit(&receipt, receipt_text),
            Err(failure) if failure.code == Code::Failed => match tx() {
                Ok(tx) => session.form.emit(&tx, tx_text),
                Err(_) => {
                    let why = format!("no receipt and no transaction begins with {id:?}");
                    return Err(Failure::failed("ask the ledger", why)
                        .next("metanode receipts DEPLOYMENT lists receipts"));
                }
            },
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// A receipt with its body.
fn receipt_text(r: &ReceiptView) -> String {
    let body = serde_json::to_string_pretty(&value(&r.receipt.body)).unwrap_or_default();
    let head = pairs(&[
        ("receipt", r.id.to_string()),
        ("tier", r.tier.to_string()),
        ("subject", format!("{} (number {})", r.subject, r.seq)),
        ("height", r.height.to_string()),
        ("log index", r.log_index.to_string()),
        ("caused by", r.receipt.tx.map_or_else(|| "the state machine".into(), |tx| tx.to_string())),
        ("previous", r.receipt.previous.map_or_else(|| "none, it is the first".into(), |p| p.to_string())),
        ("before", r.receipt.before.to_string()),
        ("after", r.receipt.after.to_string()),
    ]);
    format!("{head}\n{body}")
}

fn tx_text(t: &TxView) -> String {
    let receipts: Vec<String> = t.receipts.iter().map(ToString::to_string).collect();
    pairs(&[
        ("transaction", t.id.to_string()),
        ("status", value(&t.status).as_str().unwrap_or("unknown").to_owned()),
        ("kind", t.kind.clone()),
        ("sender", t.sender.to_string()),
        ("height", known(t.height)),
        ("index", known(t.index)),
        ("fee", known(t.fee)),
        ("reason", t.reason.clone().unwrap_or_else(|| "-".into())),
        ("receipts", receipts.join(" ")),
    ])
}

/// Carries `mining` out.
pub fn mining(session: &Session, args: MiningArgs) -> Done {
    let MiningCommand::Status = args.command;
    let node = session.node()?;
    let production = node.ask("read the block production", node.client().production())?;
    session.form.emit(&production, production_text);
    Ok(())
}

fn production_text(p: &ProductionView) -> String {
    let head = pairs(&[
        ("role", value(&p.role).as_str().unwrap_or("unknown").to_owned()),
        ("heights", format!("{} to {}", p.from_height, p.to_height)),
        ("pending", format!("{} transactions", p.pending_txs)),
        ("receipts awaiting", p.receipts_awaiting.to_string()),
        ("difficulty", "n/a (BFT)".into()),
    ]);
    let row = |v: &metanode_rpc::views::ProducerView| {
        let name = v
            .name
            .as_deref()
            .and_then(|n| n.parse::<Name>().ok())
            .map_or_else(|| v.address.short(), |n| n.to_string());
        let turns = [v.power, v.turns_taken, v.turns_missed, v.blocks];
        std::iter::once(name).chain(turns.iter().map(ToString::to_string)).collect()
    };
    let rows: Vec<Vec<String>> = p.validators.iter().map(row).collect();
    format!("{head}\n{}", table(&["VALIDATOR", "POWER", "TURNS TAKEN", "TURNS MISSED", "BLOCKS"], &rows))
}
