//! The command line: what is asked, who answers it, and how the process ends.
//!
//! ```text
//! argv -> __wasm? -> alias (docklock, enc-cluster, bpci-server) -> clap -> refused flags -> one file per command
//! ```
//!
//! Owns the tree of commands and the exit codes: 0 done or verified, 1 a check failed, 2 usage, 3 unavailable. A
//! failure
//! is told on standard error as `error: what: why` and `next: step`, and with `-o json` as one object on standard
//! output
//! too. A flag that is parsed but not enforced is refused by name; none is silently accepted.

mod account;
mod alias;
mod cage;
mod challenge;
mod cluster;
mod completions;
mod deploy;
mod describe;
mod explain;
mod failure;
mod genesis;
mod get;
mod image;
mod init;
mod keys;
mod ledger;
mod lifecycle;
mod logs;
mod output;
mod proofs;
mod receipts;
mod refused;
mod security;
mod session;
mod start;
mod status;
mod submit;
mod testnet;
mod tree;
mod upload;
mod verification;
mod wasm;

pub use start::StartOptions;

use clap::{CommandFactory, FromArgMatches};
use failure::{Done, Failure};
use output::{Form, line};
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;
use tree::{Cli, Command};

/// Does what the arguments ask for and says how it went.
pub fn run(argv: Vec<OsString>) -> ExitCode {
    if argv.get(1).is_some_and(|word| word == wasm::COMMAND) {
        return ExitCode::from(wasm::run(&argv[2..]));
    }
    let form = wanted_form(&argv);
    let argv = match alias::translate(argv) {
        Ok(argv) => argv,
        Err(failure) => return tell(form, &failure),
    };
    let matches = match command().try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) => return usage(form, &error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(form, &error),
    };
    match refused::check(&matches).and_then(|()| dispatch(cli)) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => tell(form, &failure),
    }
}

/// The tree of commands, with the flags that are only known in order to be refused.
pub fn command() -> clap::Command {
    refused::declare(Cli::command())
}

fn dispatch(cli: Cli) -> Done<u8> {
    let session = Session::new(cli.global);
    let s = &session;
    let done = match cli.command {
        Command::Cage(args) => return cage::run(s, args),
        Command::Proofs(args) => proofs::run(s, args),
        Command::Init(args) => init::run(s, args),
        Command::Start(args) => start::run(s, args),
        Command::Status => status::run(s),
        Command::Keys(args) => keys::run(s, args),
        Command::Genesis(args) => genesis::run(s, args),
        Command::Testnet(args) => testnet::run(s, args),
        Command::Image(args) => image::run(s, args),
        Command::Deploy(args) => deploy::run(s, *args),
        Command::Scale(args) => lifecycle::scale(s, args),
        Command::Stop(args) => lifecycle::stop(s, args),
        Command::Challenge(args) => challenge::run(s, args),
        Command::Get(args) => get::run(s, args),
        Command::Describe(args) => describe::run(s, args),
        Command::Logs(args) => logs::run(s, args),
        Command::Explain(args) => explain::run(s, args),
        Command::Receipts(args) => receipts::run(s, args),
        Command::Ledger(args) => ledger::run(s, args),
        Command::Mining(args) => ledger::mining(s, args),
        Command::Cluster(args) => cluster::run(s, args),
        Command::Transfer(args) => account::transfer(s, args),
        Command::Account(args) => account::show(s, args),
        Command::Security(args) => security::run(s, args),
        Command::Completions(args) => completions::run(args),
    };
    done.map(|()| 0)
}

/// The form that is wanted, before the arguments are known to be any good.
fn wanted_form(argv: &[OsString]) -> Form {
    let words: Vec<&str> = argv.iter().map_while(|w| w.to_str().filter(|w| *w != "--")).collect();
    let json = words.iter().any(|w| matches!(*w, "--json" | "-ojson" | "-o=json" | "--output=json"))
        || words.windows(2).any(|w| matches!(w[0], "-o" | "--output") && w[1] == "json");
    if json { Form::Json } else { Form::Text }
}

fn tell(form: Form, failure: &Failure) -> ExitCode {
    output::note(failure.text());
    if form == Form::Json {
        line(failure.json().to_string());
    }
    ExitCode::from(failure.exit_status())
}

/// What clap refused, or help and version, which it reports in the same way.
fn usage(form: Form, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        line(error.render().to_string().trim_end());
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    output::note(text.trim_end());
    if form == Form::Json {
        let why = text.trim_start_matches("error: ").lines().take_while(|l| !l.trim().is_empty());
        let why: Vec<&str> = why.map(str::trim).collect();
        let failure = Failure::usage("read the command line", why.join(" ")).next("metanode --help");
        line(failure.json().to_string());
    }
    ExitCode::from(failure::Code::Usage as u8)
}

#[cfg(test)]
mod tests;
