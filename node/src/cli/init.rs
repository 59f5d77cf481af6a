//! `metanode init`: a home directory with keys, settings and a genesis.
//!
//! Owns the order of writing: keys first, then settings, the genesis last, so that a home that has one is complete.
//! Existing keys are kept: an interrupted `init` is finished by the next. Refuses a home that has a genesis already.

use super::failure::{Doing, Done, Failure};
use super::output::pairs;
use super::session::Session;
use crate::config;
use crate::home::Home;
use crate::keys::{self, KeyType, SecretKey};
use metanode_genesis::{Genesis, GenesisSpec, GenesisValidator};
use metanode_types::ids::{Address, ChainId, Name};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tokens that a development chain gives to its one account.
const DEV_BALANCE: u128 = 1_000_000_000;

/// Create a home directory.
#[derive(clap::Args, Debug)]
pub struct InitArgs {
    /// Genesis of the chain to join; without it, a new chain with this node as its one validator
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Name of the node
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// Name of the new chain [default: dev- and random digits]
    #[arg(long, value_name = "NAME", conflicts_with = "genesis")]
    pub chain_name: Option<Name>,
}

/// What a home was given.
#[derive(Serialize, Debug)]
pub struct Initialised {
    /// The directory.
    pub home: PathBuf,
    /// The chain.
    pub chain_id: ChainId,
    /// Its name.
    pub chain_name: Name,
    /// Whether the home's keys are those of a validator of the genesis.
    pub validator: bool,
    /// Address of the node's account.
    pub address: Address,
    /// Peer id of the node.
    pub peer_id: String,
}

/// Carries the command out.
pub fn run(session: &Session, args: InitArgs) -> Done {
    let home = session.home()?;
    let done = initialise(&home, args)?;
    session.form.emit(&done, |d| {
        let role = if d.validator { "validator" } else { "follower" };
        let rows = [
            ("home", d.home.display().to_string()),
            ("chain", format!("{} {}", d.chain_name, d.chain_id)),
            ("role", role.to_owned()),
            ("account", d.address.to_string()),
            ("peer id", d.peer_id.clone()),
        ];
        format!("{}\nnext: metanode start --home {}", pairs(&rows), d.home.display())
    });
    Ok(())
}

/// Makes the home.
pub fn initialise(home: &Home, args: InitArgs) -> Done<Initialised> {
    let what = format!("create the home directory {}", home.root().display());
    if home.is_initialised() {
        let why = format!("{} exists", home.genesis_file().display());
        return Err(Failure::usage(what, why).next("start it, or give another directory as --home"));
    }
    // Read first: a bad genesis leaves nothing behind.
    let joined =
        args.genesis.as_deref().map(|file| Genesis::load(file).usage("read the genesis")).transpose()?;
    home.create().unavailable(&*what)?;
    let _lock = home.lock().unavailable(&*what)?;
    for (kind, file) in [
        (KeyType::Account, home.account_key_file()),
        (KeyType::Validator, home.validator_key_file()),
        (KeyType::Node, home.node_key_file()),
    ] {
        if !file.exists() {
            SecretKey::generate(kind).and_then(|key| key.save(&file)).unavailable(&*what)?;
        }
    }
    let account = keys::load_account(&home.account_key_file()).usage(&*what)?;
    let bls = keys::load_validator(&home.validator_key_file()).usage(&*what)?;
    let peer = keys::load_node(&home.node_key_file()).usage(&*what)?.peer_id();
    let name = args.name.map_or_else(|| default_name(&account.address()), Ok)?;
    let genesis = match joined {
        Some(genesis) => genesis,
        None => {
            let chain_name = args.chain_name.map_or_else(|| random_name("dev"), Ok)?;
            let mut spec = GenesisSpec::new(chain_name, now_ms(), ChainParams::default());
            let validator = GenesisValidator::new(name.clone(), &bls, account.public(), 1);
            let balance = Amount(DEV_BALANCE * Amount::MICROS);
            let built =
                spec.add_validator(validator).and_then(|()| spec.add_account(account.address(), balance));
            built.and_then(|()| spec.validate()).usage(&*what)?
        }
    };
    if !home.config_file().exists() {
        let set = [("node.name", toml_text(name.as_str()))];
        write_file(&home.config_file(), &config::commented(&set)).unavailable(&*what)?;
    }
    genesis.save(&home.genesis_file()).unavailable(&*what)?;
    Ok(Initialised {
        home: home.root().to_owned(),
        chain_id: genesis.chain_id(),
        chain_name: genesis.chain_name().clone(),
        validator: genesis.validator_set().get(&account.address()).is_some_and(|v| v.bls == bls.public()),
        address: account.address(),
        peer_id: peer.to_string(),
    })
}

/// The name of a node that was given none.
pub fn default_name(address: &Address) -> Done<Name> {
    let name = format!("node-{}", &address.to_string()[2..10]);
    name.parse().usage("name the node")
}

/// `prefix-` and random digits.
pub fn random_name(prefix: &str) -> Done<Name> {
    let number = keys::random_u64().unavailable("name the chain")?;
    format!("{prefix}-{:08x}", number as u32).parse().usage("name the chain")
}

/// The machine's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

/// A text as a TOML value.
pub fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes a file whole and syncs it.
pub fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> InitArgs {
        InitArgs { genesis: None, name: None, chain_name: None }
    }

    #[test]
    fn a_new_home_is_its_own_chain_and_is_not_made_twice() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::at(dir.path().join("a"));
        let done = initialise(&home, args()).expect("made");
        assert!(done.validator && home.is_initialised());
        let config = config::Config::load(&home).expect("the file it wrote is valid");
        assert_eq!(config.node.name, default_name(&done.address).expect("a name").as_str());
        assert!(initialise(&home, args()).expect_err("there already").text().contains("exists"));
        // Another node joins with the same genesis.
        let other = Home::at(dir.path().join("b"));
        let joined =
            initialise(&other, InitArgs { genesis: Some(home.genesis_file()), ..args() }).expect("made");
        assert_eq!((joined.chain_id, joined.validator), (done.chain_id, false));
    }

    #[test]
    fn a_bad_genesis_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("genesis.json");
        std::fs::write(&file, "{}").expect("written");
        let home = Home::at(dir.path().join("h"));
        assert!(initialise(&home, InitArgs { genesis: Some(file), ..args() }).is_err());
        assert!(!home.root().exists());
    }
}
