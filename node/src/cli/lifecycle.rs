//! `metanode scale` and `metanode stop`: changes to a deployment that its owner may make.

use super::failure::Done;
use super::output::pairs;
use super::session::Session;
use super::submit::{self, Chain};
use metanode_rpc::views::TxView;
use metanode_types::ids::{Name, TxId};
use metanode_types::quantity::Amount;
use metanode_types::tx::TxBody;
use serde::Serialize;

/// Change the number of replicas.
#[derive(clap::Args, Debug)]
pub struct ScaleArgs {
    /// Deployment
    pub name: Name,
    /// New number of replicas
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub replicas: u32,
    /// Tokens added to the escrow
    #[arg(long, value_name = "TOKENS", default_value = "0")]
    pub deposit: Amount,
}

/// Stop a deployment.
#[derive(clap::Args, Debug)]
pub struct StopArgs {
    /// Deployment
    pub name: Name,
}

/// What came of it.
#[derive(Serialize)]
struct Changed {
    deployment: Name,
    tx: TxId,
    height: Option<u64>,
    receipts: Vec<metanode_types::ids::ReceiptId>,
}

impl Changed {
    fn text(&self) -> String {
        pairs(&[
            ("deployment", self.deployment.to_string()),
            ("tx", self.tx.to_string()),
            ("height", super::output::known(self.height)),
        ])
    }
}

fn change(session: &Session, deployment: Name, body: TxBody) -> Done {
    let key = session.account()?;
    let node = session.node()?;
    let tx = Chain::of(&node)?.sign(&key, body)?;
    let TxView { id, height, receipts, .. } = submit::send(&node, &tx, submit::DEFAULT_WAIT)?;
    session.form.emit(&Changed { deployment, tx: id, height, receipts }, Changed::text);
    Ok(())
}

/// Carries `scale` out.
pub fn scale(session: &Session, args: ScaleArgs) -> Done {
    let deployment = args.name.clone();
    change(session, args.name, TxBody::Scale { deployment, replicas: args.replicas, deposit: args.deposit })
}

/// Carries `stop` out.
pub fn stop(session: &Session, args: StopArgs) -> Done {
    let deployment = args.name.clone();
    change(session, args.name, TxBody::Stop { deployment })
}
