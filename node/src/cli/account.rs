//! `metanode account` and `metanode transfer`: balances, and money from one to another.

use super::failure::Done;
use super::output::{known, pairs};
use super::session::{Node, Session};
use super::submit::{self, Chain};
use metanode_types::ids::Address;
use metanode_types::quantity::Amount;
use metanode_types::tx::TxBody;
use serde_json::json;

/// Show an account.
#[derive(clap::Args, Debug)]
pub struct AccountArgs {
    /// Its address [default: that of the key that would sign]
    address: Option<Address>,
}

/// Move tokens.
#[derive(clap::Args, Debug)]
pub struct TransferArgs {
    /// Receiving account
    to: Address,
    /// Tokens, with six decimals at most
    amount: Amount,
    /// Return when the transaction is final
    #[arg(long)]
    wait: bool,
}

/// Carries `account` out.
pub fn show(session: &Session, args: AccountArgs) -> Done {
    let address = args.address.map_or_else(|| Ok(session.account()?.address()), Ok)?;
    tell(session, &session.node()?, address)
}

/// Shows one account.
pub fn tell(session: &Session, node: &Node, address: Address) -> Done {
    let view = node.ask("read the account", node.client().account(address))?;
    session.form.emit(&view, |a| {
        pairs(&[
            ("account", a.address.to_string()),
            ("balance", a.balance.to_string()),
            ("spent", known(a.spent)),
            ("at height", a.height.to_string()),
        ])
    });
    Ok(())
}

/// Carries `transfer` out.
pub fn transfer(session: &Session, args: TransferArgs) -> Done {
    let key = session.account()?;
    let node = session.node()?;
    let tx = Chain::of(&node)?.sign(&key, TxBody::Transfer { to: args.to, amount: args.amount })?;
    let from = key.address();
    let mut answer = json!({ "tx": tx.id(), "from": from, "to": args.to, "amount": args.amount });
    let mut rows = vec![("tx", tx.id().to_string()), ("from", from.to_string()), ("to", args.to.to_string())];
    rows.push(("amount", args.amount.to_string()));
    if args.wait {
        let done = submit::send(&node, &tx, submit::DEFAULT_WAIT)?;
        answer["height"] = json!(done.height);
        answer["fee"] = json!(done.fee);
        answer["status"] = json!(done.status);
        answer["receipts"] = json!(done.receipts);
        rows.push(("height", known(done.height)));
        rows.push(("fee", known(done.fee)));
    } else {
        node.ask("submit the transfer", node.client().submit(&tx)).map_err(|e| e.details(answer.clone()))?;
        answer["status"] = json!("pending");
        rows.push(("status", "pending; `metanode ledger query TX` tells when it is final".into()));
    }
    session.form.emit(&answer, |_| pairs(&rows));
    Ok(())
}
