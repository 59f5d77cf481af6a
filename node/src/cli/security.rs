//! `metanode security`: what this machine can put around a workload, found by trying it, and what becomes of forgeries.
//!
//! `audit` owns no judgement: `metanode-cage detect` tries each barrier in a process that is thrown away, and
//! this prints what it
//! found. What could not be looked at is `unavailable`; there is no score.

mod tamper;
mod town;

use super::cage::program;
use super::failure::{Doing, Done, Failure};
use super::output::{Form, line, table, value};
use super::session::Session;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// Look at this machine.
#[derive(clap::Args, Debug)]
pub struct SecurityArgs {
    #[command(subcommand)]
    command: SecurityCommand,
}

#[derive(clap::Subcommand, Debug)]
enum SecurityCommand {
    /// Try every barrier and say which stand
    Audit,
    /// Make a run with its proof here, alter one part after another, and show that each is detected
    TamperTest,
    /// Not built: refused by name
    #[command(hide = true)]
    MilitaryTest,
}

/// What `metanode-cage detect` says.
#[derive(Serialize, Deserialize)]
struct Capabilities {
    root: bool,
    usable: bool,
    features: Vec<Feature>,
}

#[derive(Serialize, Deserialize)]
struct Feature {
    name: String,
    available: bool,
    required: bool,
    detail: String,
}

/// Carries the command out.
pub fn run(session: &Session, args: SecurityArgs) -> Done {
    let refuse = |name: &str| {
        Err(Failure::usage(format!("run security {name}"), "it is not built").next("metanode security audit"))
    };
    match args.command {
        SecurityCommand::Audit => audit(session),
        SecurityCommand::TamperTest => tamper::run(session),
        SecurityCommand::MilitaryTest => refuse("military-test"),
    }
}

fn audit(session: &Session) -> Done {
    let what = "look at this machine's barriers";
    let out = Command::new(program()?).arg("detect").output().unavailable(what)?;
    let found: Capabilities = serde_json::from_slice(&out.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&out.stderr);
        Failure::unavailable(what, format!("metanode-cage detect gave no report: {}", said.trim()))
    })?;
    let tpm = Path::new("/sys/class/tpm/tpm0").exists(); // tidy: allow(paths): the kernel's own interface
    let mut answer = value(&found);
    answer["tpm"] = json!(if tpm { "present, not used" } else { "unavailable" });
    let text = text(&found, tpm);
    if found.usable {
        session.form.emit(&answer, |_| text);
        return Ok(());
    }
    if session.form == Form::Text {
        line(text);
    }
    let missing: Vec<&str> =
        found.features.iter().filter(|f| f.required && !f.available).map(|f| f.name.as_str()).collect();
    let why = format!("no native cage can be started here: {} missing", missing.join(", "));
    Err(Failure::failed(what, why)
        .next("enable them in the kernel, or run this node without workloads")
        .details(answer))
}

fn text(found: &Capabilities, tpm: bool) -> String {
    let row = |f: &Feature| {
        let state = match (f.available, f.required) {
            (true, _) => "stands",
            (false, true) => "MISSING, required",
            (false, false) => "unavailable",
        };
        vec![f.name.clone(), state.to_owned(), f.detail.clone()]
    };
    let mut rows: Vec<Vec<String>> = found.features.iter().map(row).collect();
    let state = if tpm {
        ("present, not used", "nothing here asks it yet")
    } else {
        ("unavailable", "this machine has none")
    };
    rows.push(vec!["tpm".into(), state.0.into(), state.1.into()]);
    let standing = found.features.iter().filter(|f| f.available).count();
    let who = if found.root { "as root" } else { "without root" };
    let barriers = table(&["BARRIER", "STATE", "HOW"], &rows);
    format!("{barriers}\n{standing} of {} barriers stand for a cage started {who}", found.features.len())
}
