//! One run of the command line: which node is asked, which key signs, which home is meant.
//!
//! Owns the order in which each is looked for, and the translation of what a node refuses into an exit code. A key is
//! read only when something is to be signed.

use super::failure::{Code, Doing, Done, Failure};
use super::output::Form;
use super::testnet::registry;
use super::tree::Global;
use crate::home::Home;
use crate::keys;
use metanode_rpc::error::ErrorKind;
use metanode_rpc::{Client, ClientError};
use metanode_types::account::AccountSecret;
use std::future::Future;
use std::path::PathBuf;

/// Where a node is asked when nothing says otherwise.
pub const DEFAULT_RPC: &str = "http://127.0.0.1:8080";

/// What the global options say.
pub struct Session {
    /// Form of the answer.
    pub form: Form,
    global: Global,
}

impl Session {
    /// A session under these options.
    pub fn new(global: Global) -> Session {
        let form = if global.json { Form::Json } else { global.output };
        Session { form, global }
    }

    /// The home directory that is meant.
    pub fn home(&self) -> Done<Home> {
        Home::resolve(self.global.home.as_deref()).usage("find the home directory")
    }

    /// The address that is asked.
    pub fn url(&self) -> &str {
        self.global.rpc.as_deref().unwrap_or(DEFAULT_RPC)
    }

    /// The node that is asked; nothing is sent yet.
    pub fn node(&self) -> Done<Node> {
        Node::at(self.url())
    }

    /// The file of the key that signs: the one given, the faucet of the testnet that is asked, the home's own.
    pub fn key_file(&self) -> Done<PathBuf> {
        if let Some(file) = &self.global.key {
            return Ok(file.clone());
        }
        if let Some(found) = registry::find(self.url()) {
            return Ok(found.faucet_key);
        }
        let file = self.home()?.account_key_file();
        if file.exists() {
            return Ok(file);
        }
        let why = format!(
            "no --key is given, {} belongs to no testnet of this machine, and {} does not exist",
            self.url(),
            file.display()
        );
        Err(Failure::usage("find the key that signs", why)
            .next("pass --key FILE; `metanode keys new NAME` makes one"))
    }

    /// The account that signs.
    pub fn account(&self) -> Done<AccountSecret> {
        keys::load_account(&self.key_file()?).usage("use the account key")
    }
}

/// A node that is asked, one question at a time.
pub struct Node {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Node {
    /// The node at `url`.
    pub fn at(url: &str) -> Done<Node> {
        let client = Client::new(url).map_err(|e| refusal("use the address of the node", e))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Node { client, runtime: runtime.unavailable("prepare to ask the node")? })
    }

    /// The typed client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for the answer; `what` says what is being done, should it fail.
    pub fn ask<T>(&self, what: &str, question: impl Future<Output = Result<T, ClientError>>) -> Done<T> {
        self.runtime.block_on(question).map_err(|e| refusal(what, e))
    }
}

/// What a node's refusal means for the command.
pub fn refusal(what: &str, error: ClientError) -> Failure {
    match error {
        ClientError::Unavailable { url, reason, next_step } => {
            Failure::unavailable(what, format!("{url}: {reason}")).next(next_step)
        }
        ClientError::Foreign { url, reason } => Failure::unavailable(what, format!("{url}: {reason}"))
            .next("check that --rpc names the RPC port of a metanode of this version"),
        ClientError::Refused { code, data } => {
            let mut failure = Failure::new(exit_code(ErrorKind::from_code(code)), what, &data.reason);
            failure.next = data.next_step;
            match data.tx {
                Some(tx) => failure.details(serde_json::json!({ "tx": tx })),
                None => failure,
            }
        }
    }
}

fn exit_code(kind: Option<ErrorKind>) -> Code {
    match kind {
        Some(ErrorKind::NotFound | ErrorKind::Rejected) => Code::Failed,
        Some(
            ErrorKind::InvalidInput | ErrorKind::InvalidParams | ErrorKind::InvalidRequest | ErrorKind::Parse,
        ) => Code::Usage,
        _ => Code::Unavailable,
    }
}
