//! `metanode keys`: makes keys and looks after them.
//!
//! A key is named by its file, or by its name: `account`, `validator` and `node` are those of the home directory, any
//! other name is `HOME/keys/NAME.json`. Secrets are printed by `export` alone. Refuses to replace a key.

use super::failure::{Doing, Done, Failure};
use super::output::{known, line, pairs, table};
use super::session::Session;
use crate::home::Home;
use crate::keys::{KeyType, MAX_KEY_FILE_BYTES, PublicKey, SecretKey};
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Look after keys.
#[derive(clap::Args, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(clap::Subcommand, Debug)]
enum KeysCommand {
    /// Make a key from the system's randomness
    New(NewArgs),
    /// List the keys of the home directory
    List,
    /// Show the public part of a key
    Show {
        /// Name or file
        #[arg(value_name = "KEY")]
        which: String,
    },
    /// Take a key over from a key file, or from 64 hex digits on standard input
    Import(ImportArgs),
    /// Give a key out, secret included
    Export(ExportArgs),
}

#[derive(clap::Args, Debug)]
struct NewArgs {
    /// Name of the key
    name: Option<String>,
    /// What it is for
    #[arg(long = "type", value_enum, default_value = "account", value_name = "TYPE")]
    kind: KeyType,
    /// Write it to this file
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    out: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct ImportArgs {
    /// Key file, or - for 64 hex digits on standard input
    source: PathBuf,
    /// Name under which it is kept
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What a key from standard input is for
    #[arg(long = "type", value_enum, default_value = "account", value_name = "TYPE")]
    kind: KeyType,
}

#[derive(clap::Args, Debug)]
struct ExportArgs {
    /// Name or file
    #[arg(value_name = "KEY")]
    which: String,
    /// Write it to this file, of mode 0600, rather than to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A key and where it is.
#[derive(Serialize)]
struct Listed {
    name: String,
    file: PathBuf,
    #[serde(flatten)]
    key: Option<PublicKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Carries the command out.
pub fn run(session: &Session, args: KeysArgs) -> Done {
    match args.command {
        KeysCommand::New(args) => new(session, args),
        KeysCommand::List => list(session),
        KeysCommand::Show { which } => show(session, &which),
        KeysCommand::Import(args) => import(session, args),
        KeysCommand::Export(args) => export(session, args),
    }
}

/// The file that a name stands for.
fn file_of(home: &Home, name: &str) -> Done<PathBuf> {
    Ok(match name {
        "account" => home.account_key_file(),
        "validator" => home.validator_key_file(),
        "node" => home.node_key_file(),
        name => {
            let name: metanode_types::ids::Name = name.parse().usage("name the key")?;
            home.keys_dir().join(format!("{name}.json"))
        }
    })
}

/// A key by its file, if there is one, else by its name.
fn find(session: &Session, key: &str) -> Done<PathBuf> {
    let path = Path::new(key);
    if key.contains('/') || key.ends_with(".json") || path.is_file() {
        return Ok(path.to_owned());
    }
    file_of(&session.home()?, key)
}

fn keep(session: &Session, key: &SecretKey, name: &str, file: &Path) -> Done {
    if file.starts_with(session.home()?.root()) {
        session.home()?.create().unavailable("write the key")?;
    }
    if file.exists() {
        let why = format!("{} exists, and a key is never replaced", file.display());
        return Err(Failure::usage("write the key", why).next("choose another name or file"));
    }
    key.save(file).usage("write the key")?;
    let listed =
        Listed { name: name.to_owned(), file: file.to_owned(), key: Some(key.public()), problem: None };
    session.form.emit(&listed, |l| {
        format!("file                 {}\n{}", l.file.display(), public_text(&key.public()))
    });
    Ok(())
}

fn new(session: &Session, args: NewArgs) -> Done {
    let name = args.name.unwrap_or_else(|| args.kind.to_string());
    let file = args.out.map_or_else(|| file_of(&session.home()?, &name), Ok)?;
    check_place(&name, args.kind)?;
    let key = SecretKey::generate(args.kind).unavailable("make a key")?;
    keep(session, &key, &name, &file)
}

/// The three names of the node's own keys hold keys of that type and no other.
fn check_place(name: &str, kind: KeyType) -> Done {
    let reserved = ["account", "validator", "node"].contains(&name);
    if reserved && name != kind.to_string() {
        let why = format!("{name:?} names the node's own {name} key, this is a key of type {kind}");
        return Err(Failure::usage("name the key", why).next("choose another name"));
    }
    Ok(())
}

fn list(session: &Session) -> Done {
    let home = session.home()?;
    let mut found = Vec::new();
    for name in ["account", "validator", "node"] {
        found.push((name.to_owned(), file_of(&home, name)?));
    }
    let mut named = Vec::new();
    if let Ok(entries) = std::fs::read_dir(home.keys_dir()) {
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            if path.extension().is_some_and(|e| e == "json") {
                named.push((stem, path));
            }
        }
    }
    named.sort();
    found.extend(named);
    let listed: Vec<Listed> = found
        .into_iter()
        .filter(|(_, file)| file.exists())
        .map(|(name, file)| match SecretKey::load(&file) {
            Ok(key) => Listed { name, file, key: Some(key.public()), problem: None },
            Err(e) => Listed { name, file, key: None, problem: Some(e.to_string()) },
        })
        .collect();
    session.form.emit(&listed, |all| {
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|l| {
                let kind = known(l.key.as_ref().map(|k| k.r#type));
                let address = l.key.as_ref().and_then(|k| k.address.clone()).unwrap_or_else(|| "-".into());
                vec![l.name.clone(), kind, l.problem.clone().unwrap_or(address)]
            })
            .collect();
        table(&["NAME", "TYPE", "ADDRESS"], &rows)
    });
    Ok(())
}

fn public_text(key: &PublicKey) -> String {
    let mut rows = vec![("type", key.r#type.to_string()), ("public", key.public.clone())];
    rows.extend(key.address.iter().map(|a| ("address", a.clone())));
    rows.extend(key.proof_of_possession.iter().map(|p| ("proof of possession", p.clone())));
    pairs(&rows)
}

fn show(session: &Session, key: &str) -> Done {
    let key = SecretKey::load(&find(session, key)?).usage("show the key")?;
    session.form.emit(&key.public(), public_text);
    Ok(())
}

fn import(session: &Session, args: ImportArgs) -> Done {
    let what = "import the key";
    let key = if args.source == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).usage(what)?;
        let mut secret = Zeroizing::new([0; 32]);
        let digits = hex::decode_to_slice(text.trim(), &mut *secret);
        digits.map_err(|_| Failure::usage(what, "standard input is not 64 hex digits"))?;
        SecretKey::from_secret(args.kind, &secret).usage(what)?
    } else {
        SecretKey::load(&args.source).usage(what)?
    };
    check_place(&args.name, key.kind())?;
    let file = file_of(&session.home()?, &args.name)?;
    keep(session, &key, &args.name, &file)
}

fn export(session: &Session, args: ExportArgs) -> Done {
    let key = SecretKey::load(&find(session, &args.which)?).usage("export the key")?;
    match args.out {
        Some(file) => {
            key.save(&file).usage("export the key")?;
            session.form.emit(&key.public(), |k| format!("wrote {}\n{}", file.display(), public_text(k)));
        }
        None => line(key.text().trim_end()),
    }
    Ok(())
}
