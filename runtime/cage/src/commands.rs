//! The commands that read witness files: `inspect` and `diff`.
//!
//! Owns their words and what they print. Results go to standard output, as text or as one JSON value. A witness
//! that is refused is a failure of its own, told apart from two witnesses that differ.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use metanode_cage::call_name;
use metanode_cage::witness::{CallView, Witness, WitnessError, diff};
use serde::Serialize;

use crate::{Failure, print};

/// Exit status of `diff` when the two differ.
const DIFFERENT: u8 = 1;

/// `inspect FILE [--events] [--json]`.
pub(crate) fn inspect(words: &[String]) -> Result<u8, Failure> {
    let ([file], [json, events]) = files(words, ["--json", "--events"], "inspect takes one witness")?;
    let witness = open(file)?;
    if events {
        return list(file, &witness, json);
    }
    let summary = witness.summary(call_name).map_err(|error| refused(file, error))?;
    show(&summary, json)?;
    Ok(0)
}

/// Every trapped call, one a line. A line on standard error says where the limit cut them off.
fn list(file: &Path, witness: &Witness, json: bool) -> Result<u8, Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for event in witness.events() {
        let event = match event {
            Ok(event) => event,
            Err(error @ WitnessError::Dropped { .. }) => {
                eprintln!("metanode-cage: {error}");
                break;
            }
            Err(error) => return Err(refused(file, error)),
        };
        let (seq, call) = (event.seq, CallView::of(&event, call_name));
        let line = if json { as_json(&Numbered { seq, call })? } else { format!("{seq} {call}") };
        if !still_read(writeln!(out, "{line}"))? {
            return Ok(0);
        }
    }
    still_read(out.flush())?;
    Ok(0)
}

/// A trapped call with its position.
#[derive(Serialize)]
struct Numbered {
    seq: u64,
    #[serde(flatten)]
    call: CallView,
}

/// `diff A B [--json]`.
pub(crate) fn compare(words: &[String]) -> Result<u8, Failure> {
    let ([a, b], [json]) = files(words, ["--json"], "diff takes two witnesses")?;
    let found = diff(&open(a)?, &open(b)?, call_name).map_err(|error| refused(a, error))?;
    match &found {
        Some(divergence) => show(divergence, json)?,
        None if json => print(&None::<()>)?,
        None => println!("no difference"),
    }
    Ok(if found.is_some() { DIFFERENT } else { 0 })
}

/// Exactly `N` file names, and which of the known options are among the words.
fn files<'a, const N: usize, const M: usize>(
    words: &'a [String],
    known: [&str; M],
    usage: &str,
) -> Result<([&'a Path; N], [bool; M]), Failure> {
    let (options, names): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.starts_with("--"));
    if let Some(unknown) = options.iter().find(|option| !known.contains(&option.as_str())) {
        return Err(Failure::Usage(format!("no option {unknown:?}")));
    }
    let names: Vec<&Path> = names.into_iter().map(Path::new).collect();
    let names = names.try_into().map_err(|_| Failure::Usage(usage.into()))?;
    Ok((names, known.map(|option| options.iter().any(|given| *given == option))))
}

fn open(file: &Path) -> Result<Witness, Failure> {
    Witness::open(file).map_err(|error| refused(file, error))
}

fn refused(file: &Path, error: WitnessError) -> Failure {
    Failure::Witness(PathBuf::from(file), error)
}

fn show(value: &(impl Serialize + std::fmt::Display), json: bool) -> Result<(), Failure> {
    let text = if json { as_json(value)? + "\n" } else { value.to_string() };
    still_read(std::io::stdout().lock().write_all(text.as_bytes()))?;
    Ok(())
}

fn as_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Output(error.into()))
}

/// Whether what was written had a reader: that it has seen enough (`| head`) is no failure.
fn still_read(written: std::io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Output(error)),
    }
}
