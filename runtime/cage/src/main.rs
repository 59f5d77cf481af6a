//! `metanode-cage`: the small, separate binary in which every native workload is launched and watched.
//!
//! Owns the command line and the detaching of `start`. Exit status of `run` is the program's own and 125 when
//! the cage itself failed; of the other commands 0 done, 1 a check failed, 2 usage, 125 failed.

mod commands;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use metanode_cage::health::{Health, probe};
use metanode_cage::spec::MAX_SPEC_BYTES;
use metanode_cage::supervise::{DEFAULT_GRACE_MS, start_detached};
use metanode_cage::witness::WitnessError;
use metanode_cage::{
    CageSpec, Entry, Error, Exit, detect, find_instructions, stop, supervise, sweep, syscalls, syscalls_page,
};

/// Exit status when the cage, not the program, failed.
const CAGE_FAILED: u8 = 125;
/// Exit status for arguments that make no sense.
const USAGE_ERROR: u8 = 2;

const USAGE: &str = "usage: metanode-cage COMMAND
  run --spec FILE|-                      run a cage in the foreground; exit status is the program's,
                                         124 out of time, 125 if the cage failed
  start --spec FILE|-                    start a cage in the background; returns when its program runs
  stop --state-dir D [--grace-ms N]      ask it to stop, insist after the grace period, print its report
  health --state-dir D --port P [--path /X] [--timeout-ms N]
                                         connect (or HTTP GET) from inside the cage's network; exit status 1 if unwell
  sweep DIR                              clean up below DIR after supervisors that died
  detect                                 what this machine offers a cage
  inspect FILE [--events] [--json]       check a witness and sum it up, or list its trapped calls
  diff A B [--json]                      the first difference of two witnesses; exit status 1 if there is one
  instructions FILE                      where FILE holds instructions that read the CPU's randomness or number
  syscalls [--json]                      what each level does with every system call, and why
";

/// Why a command did not succeed.
enum Failure {
    Usage(String),
    Cage(Error),
    Witness(PathBuf, WitnessError),
    Output(std::io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Cage(error)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Usage(why)) => {
            eprint!("metanode-cage: {why}\n{USAGE}");
            ExitCode::from(USAGE_ERROR)
        }
        Err(Failure::Cage(error)) => {
            eprintln!("metanode-cage: {error}");
            ExitCode::from(CAGE_FAILED)
        }
        Err(Failure::Output(error)) => {
            eprintln!("metanode-cage: cannot write the result: {error}");
            ExitCode::from(CAGE_FAILED)
        }
        Err(Failure::Witness(file, error)) => {
            eprintln!("metanode-cage: {}: {error}", file.display());
            ExitCode::from(CAGE_FAILED)
        }
    }
}

fn command(arguments: &[String]) -> Result<u8, Failure> {
    let Some((name, rest)) = arguments.split_first() else { return Err(Failure::Usage("no command".into())) };
    match name.as_str() {
        "run" => run(&read_spec(&Options::parse(rest, &["--spec"])?.required("--spec")?)?),
        "start" => start(&read_spec(&Options::parse(rest, &["--spec"])?.required("--spec")?)?),
        "stop" => stop_cage(&Options::parse(rest, &["--state-dir", "--grace-ms"])?),
        "health" => health(&Options::parse(rest, &["--state-dir", "--port", "--path", "--timeout-ms"])?),
        "sweep" => match rest {
            [dir] => print(&sweep(Path::new(dir))?).map(|()| 0),
            _ => Err(Failure::Usage("sweep takes one directory".into())),
        },
        "detect" => {
            let found = detect()?;
            print(&found)?;
            Ok(u8::from(!found.usable))
        }
        "syscalls" => match rest {
            [] => {
                print!("{}", syscalls_page());
                Ok(0)
            }
            [json] if json == "--json" => print(&syscalls()).map(|()| 0),
            _ => Err(Failure::Usage("syscalls takes --json or nothing".into())),
        },
        "instructions" => match rest {
            [file] => {
                let fail = |source| Error::SearchFile { path: file.into(), source };
                let found = find_instructions(Path::new(file)).map_err(fail)?;
                print(&found).map(|()| 0)
            }
            _ => Err(Failure::Usage("instructions takes one file".into())),
        },
        "inspect" => commands::inspect(rest),
        "diff" => commands::compare(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(0)
        }
        other => Err(Failure::Usage(format!("no command {other:?}"))),
    }
}

/// `--name value` pairs of one command.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse(words: &[String], known: &[&str]) -> Result<Self, Failure> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in words.chunks(2) {
            let name = pair[0].clone();
            if !known.contains(&name.as_str()) {
                return Err(Failure::Usage(format!("no option {name:?}")));
            }
            if pairs.iter().any(|(n, _)| *n == name) {
                return Err(Failure::Usage(format!("{name} is given twice")));
            }
            let value = pair.get(1).ok_or_else(|| Failure::Usage(format!("{name} needs a value")))?;
            pairs.push((name, value.clone()));
        }
        Ok(Self(pairs))
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn required(&self, name: &str) -> Result<String, Failure> {
        self.optional(name).map(String::from).ok_or_else(|| Failure::Usage(format!("{name} is missing")))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Failure::Usage(format!("{name}: {text:?} is not a fitting number")))
        };
        self.optional(name).map(parse).transpose()
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
        return Err(Error::BadSpec {
            field: "(whole file)",
            why: format!("is larger than {MAX_SPEC_BYTES} bytes"),
        });
    }
    CageSpec::from_json(&text)
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|source| Error::ParseState { path: PathBuf::from("(standard output)"), source })?;
    println!("{text}");
    Ok(())
}

fn run(spec: &CageSpec) -> Result<u8, Failure> {
    let report = supervise(spec, Entry::Exec, |_| ())?;
    Ok(match report.exit {
        Exit::Code(code) => code as u8,
        Exit::Signal(signal) => (128 + signal) as u8, // the shell's convention
        Exit::Timeout => explain(124, "the wall-clock limit passed"), // as timeout(1)
        Exit::Oom => explain(137, "killed for exceeding its memory limit"),
        Exit::LaunchError(why) | Exit::NoVerdict(why) => explain(CAGE_FAILED, &why),
    })
}

fn explain(code: u8, why: &str) -> u8 {
    eprintln!("metanode-cage: {why}");
    code
}

fn start(spec: &CageSpec) -> Result<u8, Failure> {
    print(&start_detached(spec)?)?;
    Ok(0)
}

fn stop_cage(options: &Options) -> Result<u8, Failure> {
    let grace = options.number("--grace-ms")?.unwrap_or(DEFAULT_GRACE_MS);
    print(&stop(Path::new(&options.required("--state-dir")?), grace)?)?;
    Ok(0)
}

fn health(options: &Options) -> Result<u8, Failure> {
    let dir = options.required("--state-dir")?;
    let port = options.number("--port")?.ok_or_else(|| Failure::Usage("--port is missing".into()))?;
    let timeout = Duration::from_millis(options.number("--timeout-ms")?.unwrap_or(1000));
    Ok(match probe(Path::new(&dir), port, options.optional("--path"), timeout)? {
        Health::Healthy => {
            println!("healthy");
            0
        }
        Health::Unhealthy(why) => {
            println!("unhealthy: {why}");
            1
        }
    })
}
