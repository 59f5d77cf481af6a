//! `metanode genesis`: writes the genesis of a chain step by step, checks it and prints its hash.
//!
//! Every step checks what it adds, so that its author still looks at it. Refuses to replace a file with `new`.

use super::failure::{Doing, Done, Failure};
use super::init::now_ms;
use super::output::pairs;
use super::session::Session;
use crate::keys::{self, SecretKey};
use metanode_genesis::{Genesis, GenesisSpec, GenesisValidator};
use metanode_types::account::AccountKey;
use metanode_types::bls::{BlsPublic, BlsSignature};
use metanode_types::ids::{Address, ChainId, Name};
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Write and check a genesis.
#[derive(clap::Args, Debug)]
pub struct GenesisArgs {
    #[command(subcommand)]
    command: GenesisCommand,
}

#[derive(clap::Subcommand, Debug)]
enum GenesisCommand {
    /// Write a genesis without validators and accounts
    New(NewArgs),
    /// Add a validator
    AddValidator(Box<ValidatorArgs>),
    /// Add an account with money
    AddAccount(AccountArgs),
    /// Check every rule
    Validate(FileArgs),
    /// Print the chain id: the hash of the canonical form
    Hash(FileArgs),
}

#[derive(clap::Args, Debug)]
struct NewArgs {
    /// Name of the chain
    #[arg(long, value_name = "NAME")]
    chain_name: Name,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
    /// Time of the chain's beginning, Unix milliseconds [default: now]
    #[arg(long, value_name = "MS")]
    time: Option<u64>,
}

#[derive(clap::Args, Debug)]
struct FileArgs {
    /// The genesis
    #[arg(default_value = "genesis.json")]
    file: PathBuf,
}

#[derive(clap::Args, Debug)]
struct ValidatorArgs {
    /// The genesis
    #[arg(default_value = "genesis.json")]
    file: PathBuf,
    /// Name of the validator
    #[arg(long, value_name = "NAME")]
    name: Name,
    /// Voting power
    #[arg(long, default_value_t = 1, value_name = "N")]
    power: u64,
    /// Home directory of the validator, on this machine
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bls_key", "proof_of_possession", "account_key"],
          required_unless_present_all = ["bls_key", "proof_of_possession", "account_key"])]
    from_home: Option<PathBuf>,
    /// Public validator key, as `metanode keys show validator` prints it
    #[arg(long, value_name = "HEX", requires_all = ["proof_of_possession", "account_key"])]
    bls_key: Option<String>,
    /// Its proof of possession
    #[arg(long, value_name = "HEX")]
    proof_of_possession: Option<String>,
    /// Public account key, as `metanode keys show account` prints it
    #[arg(long, value_name = "01:HEX")]
    account_key: Option<String>,
}

#[derive(clap::Args, Debug)]
struct AccountArgs {
    /// Address of the account, or its key file
    account: String,
    /// Tokens
    balance: Amount,
    /// The genesis
    #[arg(default_value = "genesis.json")]
    file: PathBuf,
}

/// What a genesis says, in short.
#[derive(Serialize)]
struct Summary {
    file: PathBuf,
    chain_name: Name,
    /// Absent while the genesis is incomplete.
    chain_id: Option<ChainId>,
    /// What is missing or wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
    validators: usize,
    accounts: usize,
    supply: Option<Amount>,
}

/// Carries the command out.
pub fn run(session: &Session, args: GenesisArgs) -> Done {
    match args.command {
        GenesisCommand::New(args) => new(session, args),
        GenesisCommand::AddValidator(args) => add_validator(session, *args),
        GenesisCommand::AddAccount(args) => add_account(session, args),
        GenesisCommand::Validate(args) => validate(session, &args.file),
        GenesisCommand::Hash(args) => hash(session, &args.file),
    }
}

fn new(session: &Session, args: NewArgs) -> Done {
    if args.out.exists() {
        let why = format!("{} exists", args.out.display());
        return Err(
            Failure::usage("write a new genesis", why).next("remove it, or give another file as --out")
        );
    }
    let spec = GenesisSpec::new(args.chain_name, args.time.unwrap_or_else(now_ms), ChainParams::default());
    store(session, &spec, &args.out)
}

fn load(file: &Path) -> Done<GenesisSpec> {
    GenesisSpec::load(file).usage("read the genesis")
}

/// Writes the file and says where it stands.
fn store(session: &Session, spec: &GenesisSpec, file: &Path) -> Done {
    spec.save(file).unavailable("write the genesis")?;
    let checked = spec.validate();
    let summary = Summary {
        file: file.to_owned(),
        chain_name: spec.chain_name.clone(),
        chain_id: checked.as_ref().ok().map(Genesis::chain_id),
        incomplete: checked.as_ref().err().map(ToString::to_string),
        validators: spec.validators.len(),
        accounts: spec.accounts.len(),
        supply: checked.as_ref().ok().map(Genesis::supply),
    };
    session.form.emit(&summary, text);
    Ok(())
}

fn text(s: &Summary) -> String {
    let chain = match (&s.chain_id, &s.incomplete) {
        (Some(id), _) => id.to_string(),
        (None, why) => format!("none yet: {}", why.clone().unwrap_or_default()),
    };
    pairs(&[
        ("file", s.file.display().to_string()),
        ("chain", s.chain_name.to_string()),
        ("chain id", chain),
        ("validators", s.validators.to_string()),
        ("accounts", s.accounts.to_string()),
        ("supply", super::output::known(s.supply)),
    ])
}

fn quoted<T: DeserializeOwned>(what: &str, text: &str) -> Done<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).usage(what)
}

fn add_validator(session: &Session, args: ValidatorArgs) -> Done {
    let what = "add the validator";
    let mut spec = load(&args.file)?;
    let validator = match (&args.from_home, &args.bls_key, &args.proof_of_possession, &args.account_key) {
        (Some(dir), ..) => {
            let home = crate::home::Home::at(dir);
            let bls = keys::load_validator(&home.validator_key_file()).usage(what)?;
            let account = keys::load_account(&home.account_key_file()).usage(what)?;
            GenesisValidator::new(args.name, &bls, account.public(), args.power)
        }
        (None, Some(bls), Some(proof), Some(account)) => GenesisValidator {
            name: args.name,
            bls_key: quoted::<BlsPublic>("read --bls-key", bls)?,
            proof_of_possession: quoted::<BlsSignature>("read --proof-of-possession", proof)?,
            account_key: quoted::<AccountKey>("read --account-key", account)?,
            power: args.power,
        },
        _ => return Err(Failure::usage(what, "neither --from-home nor all three public values are given")),
    };
    spec.add_validator(validator).usage(what)?;
    store(session, &spec, &args.file)
}

fn add_account(session: &Session, args: AccountArgs) -> Done {
    let what = "add the account";
    let address = match args.account.parse::<Address>() {
        Ok(address) => address,
        Err(_) if Path::new(&args.account).is_file() => {
            match SecretKey::load(Path::new(&args.account)).usage(what)? {
                SecretKey::Account(key) => key.address(),
                other => return Err(Failure::usage(what, format!("the file holds a {} key", other.kind()))),
            }
        }
        Err(e) => return Err(Failure::usage(what, format!("{e}, and no key file has that name"))),
    };
    let mut spec = load(&args.file)?;
    spec.add_account(address, args.balance).usage(what)?;
    store(session, &spec, &args.file)
}

fn checked(file: &Path) -> Done<Genesis> {
    let spec = load(file)?;
    spec.validate().map_err(|e| Failure::failed("check the genesis", e))
}

fn validate(session: &Session, file: &Path) -> Done {
    let genesis = checked(file)?;
    let summary = Summary {
        file: file.to_owned(),
        chain_name: genesis.chain_name().clone(),
        chain_id: Some(genesis.chain_id()),
        incomplete: None,
        validators: genesis.validator_set().len(),
        accounts: genesis.accounts().len(),
        supply: Some(genesis.supply()),
    };
    session.form.emit(&summary, text);
    Ok(())
}

fn hash(session: &Session, file: &Path) -> Done {
    let genesis = checked(file)?;
    session
        .form
        .emit(&serde_json::json!({ "chain_id": genesis.chain_id() }), |_| genesis.chain_id().to_string());
    Ok(())
}
