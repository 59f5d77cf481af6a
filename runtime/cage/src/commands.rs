//! The commands that read witness files: `inspect` and `diff`.
//!
//! Owns their words and what they print. Results go to standard output, as text or as one JSON value. A witness
//! that is refused is a failure of its own, told apart from two witnesses that differ.

use std::path::{Path, PathBuf};

use metanode_cage::call_name;
use metanode_cage::witness::{Witness, WitnessError, diff};
use serde::Serialize;

use crate::{Failure, print};

/// Exit status of `diff` when the two differ.
const DIFFERENT: u8 = 1;

/// `inspect FILE [--json]`.
pub(crate) fn inspect(words: &[String]) -> Result<u8, Failure> {
    let ([file], json) = files(words, "inspect takes one witness")?;
    let summary = open(file)?.summary(call_name).map_err(|error| refused(file, error))?;
    show(&summary, json)?;
    Ok(0)
}

/// `diff A B [--json]`.
pub(crate) fn compare(words: &[String]) -> Result<u8, Failure> {
    let ([a, b], json) = files(words, "diff takes two witnesses")?;
    let found = diff(&open(a)?, &open(b)?, call_name).map_err(|error| refused(a, error))?;
    match &found {
        Some(divergence) => show(divergence, json)?,
        None if json => print(&None::<()>)?,
        None => println!("no difference"),
    }
    Ok(if found.is_some() { DIFFERENT } else { 0 })
}

/// Exactly `N` file names, and whether `--json` is among the words.
fn files<'a, const N: usize>(words: &'a [String], usage: &str) -> Result<([&'a Path; N], bool), Failure> {
    let (options, names): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.starts_with("--"));
    if let Some(unknown) = options.iter().find(|option| **option != "--json") {
        return Err(Failure::Usage(format!("no option {unknown:?}")));
    }
    let names: Vec<&Path> = names.into_iter().map(Path::new).collect();
    let names = names.try_into().map_err(|_| Failure::Usage(usage.into()))?;
    Ok((names, !options.is_empty()))
}

fn open(file: &Path) -> Result<Witness, Failure> {
    Witness::open(file).map_err(|error| refused(file, error))
}

fn refused(file: &Path, error: WitnessError) -> Failure {
    Failure::Witness(PathBuf::from(file), error)
}

fn show(value: &(impl Serialize + std::fmt::Display), json: bool) -> Result<(), Failure> {
    if json {
        return print(value);
    }
    print!("{value}");
    Ok(())
}
