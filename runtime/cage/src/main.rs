//! `metanode-cage`: the small, separate binary in which every native workload is launched and watched.
//!
//! Owns the command line and nothing else. Exit status of `run` is the program's own, 125 when the cage itself failed.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use metanode_cage::spec::MAX_SPEC_BYTES;
use metanode_cage::{CageSpec, Entry, Error, Exit, supervise};

/// Exit status when the cage, not the program, failed.
const CAGE_FAILED: u8 = 125;

const USAGE: &str = "usage: metanode-cage COMMAND
  run --spec FILE|-                run a cage in the foreground; exit status is the program's, 125 if the cage failed
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("metanode-cage: {message}");
            ExitCode::from(CAGE_FAILED)
        }
    }
}

fn command(arguments: &[String]) -> Result<u8, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", "--spec", file] => run(file),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(0)
        }
        _ => Err(format!("cannot understand these arguments\n{USAGE}")),
    }
}

fn read_spec(file: &str) -> Result<CageSpec, Error> {
    let mut text = Vec::new();
    let read = if file == "-" {
        std::io::stdin().take(MAX_SPEC_BYTES + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(MAX_SPEC_BYTES + 1).read_to_end(&mut text))
    };
    read.map_err(|source| Error::ReadSpec { path: Path::new(file).into(), source })?;
    if text.len() as u64 > MAX_SPEC_BYTES {
        return Err(Error::BadSpec { field: "(whole file)", why: format!("is larger than {MAX_SPEC_BYTES} bytes") });
    }
    CageSpec::from_json(&text)
}

fn run(file: &str) -> Result<u8, String> {
    let spec = read_spec(file).map_err(|e| e.to_string())?;
    let report = supervise(&spec, Entry::Exec, |_| ()).map_err(|e| e.to_string())?;
    exit_status(&report.exit)
}

/// The shell's convention: 128 + signal for a program that was killed.
fn exit_status(exit: &Exit) -> Result<u8, String> {
    match exit {
        Exit::Code(code) => Ok(*code as u8),
        Exit::Signal(signal) => Ok((128 + *signal) as u8),
        Exit::Timeout => Err("the wall-clock limit passed".into()),
        Exit::Oom => Ok(128 + 9),
        Exit::LaunchError(why) => Err(why.clone()),
    }
}
