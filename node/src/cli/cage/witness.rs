//! `metanode cage diff` and `inspect`: what was recorded, read back as the hostile file that it may be.

use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::output::{Form, line, value};
use crate::cli::session::Session;
use metanode_cage::witness::{CallNames, Witness, WitnessError};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The two to compare.
#[derive(clap::Args, Debug)]
pub(super) struct DiffArgs {
    /// A witness
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another
    #[arg(value_name = "B")]
    b: PathBuf,
}

/// The one to read.
#[derive(clap::Args, Debug)]
pub(super) struct InspectArgs {
    /// The witness
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Opens a witness, all of which is checked. A damaged one is a check that failed; it names the place.
pub(super) fn open(file: &Path) -> Done<Witness> {
    let what = format!("read the witness {}", file.display());
    Witness::open(file).map_err(|error| match &error {
        WitnessError::Open { source, .. } => Failure::usage(what, source),
        _ => Failure::failed(what, &error).details(json!({ "verified": false, "failed": ["witness"] })),
    })
}

/// Whether it is of a module, and not of a native program.
pub(super) fn is_module(witness: &Witness) -> bool {
    witness.header().image.starts_with("wasm:")
}

fn call_names(witness: &Witness) -> CallNames {
    if is_module(witness) { metanode_runtime::wasm::call_name } else { metanode_cage::call_name }
}

/// Names the first difference.
pub(super) fn diff(session: &Session, args: &DiffArgs) -> Done {
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let what = "compare the witnesses";
    let found = metanode_cage::witness::diff(&a, &b, call_names(&a)).unavailable(what)?;
    let Some(divergence) = found else {
        session.form.emit(&json!({ "equal": true, "trace_hash": a.trace_hash() }), |_| {
            format!("equal: {} trapped calls, {} inputs", a.event_count(), a.input_count())
        });
        return Ok(());
    };
    if session.form == Form::Text {
        line(divergence.to_string().trim_end());
    }
    let mut answer = value(&divergence);
    answer["equal"] = json!(false);
    Err(Failure::failed(what, "they are of two different runs").details(answer))
}

/// Checks and sums up.
pub(super) fn inspect(session: &Session, args: &InspectArgs) -> Done {
    let witness = open(&args.file)?;
    let what = format!("read the witness {}", args.file.display());
    let summary = witness.summary(call_names(&witness)).map_err(|e| Failure::failed(what, e))?;
    session.form.emit(&summary, ToString::to_string);
    Ok(())
}
