//! `cargo xtask`: the checks of this repository that no ordinary tool makes.
//!
//! Owns the command line of the checks and nothing else; each check has its own module and returns findings
//! as plain values. No crate may depend on this one. It changes no file, except that `tidy --update` lowers
//! `xtask/ratchet.toml`.
#![forbid(unsafe_code)]

mod cargo;
mod ci;
mod layers;
mod licences;
mod source;
mod tidy;
mod tree;

use std::process::ExitCode;

use crate::tree::{Finding, Tree};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  layers          fail on an import that is not from a lower layer
  licences        fail on a licence or crate that deny.toml does not allow
  tidy            fail on a broken rule about sources, scripts or documents
  tidy --update   lower the recorded exceptions in xtask/ratchet.toml (never raises one)
  ci              fmt, clippy, tidy, layers, licences, deny, doc, build, tests; a summary at the end

exit code: 0 all checks passed, 1 a check failed, 2 wrong usage or a check could not run";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["layers"] => run_layers(),
        ["licences"] => run_licences(),
        ["tidy"] => run_tidy(false),
        ["tidy", "--update"] => run_tidy(true),
        ["ci"] => ci::run(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_layers() -> anyhow::Result<bool> {
    let tree = Tree::load(&tree::workspace_root())?;
    let report = layers::check(&tree)?;
    println!("layers: {}", report.summary);
    Ok(print_findings("layers", &report.findings))
}

fn run_licences() -> anyhow::Result<bool> {
    let report = licences::check(&Tree::load(&tree::workspace_root())?)?;
    println!("licences: {}", report.summary);
    Ok(print_findings("licences", &report.findings))
}

fn run_tidy(update: bool) -> anyhow::Result<bool> {
    let tree = Tree::load(&tree::workspace_root())?;
    let report = if update { tidy::update(&tree)? } else { tidy::check(&tree)? };
    println!("tidy: {}", report.summary);
    Ok(print_findings("tidy", &report.findings))
}

/// Prints every finding and says whether there was none.
fn print_findings(check: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("{check}: ok"),
        count => println!("{check}: {count} finding(s)"),
    }
    findings.is_empty()
}
