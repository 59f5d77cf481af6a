//! `proofs verify --replay`: the run that a receipt proves is made again here, and its digests are compared.
//!
//! The workload is taken from the full bundle (the deploy transaction that its assignment names by digest), the files
//! from this machine's image store. Refuses to guess: what cannot be made again is unavailable, with the reason.

use crate::cli::cage::{Scratch, launch, launch_module};
use crate::cli::failure::Done;
use crate::cli::image::{self, StoreArgs};
use metanode_runtime::driver::{Assignment, Execution, execution, report_of};
use metanode_runtime::image::{Image, Reference};
use metanode_types::bundle::Bundle;
use metanode_types::cage_report::{CageReport, ExitStatus};
use metanode_types::level::CageLevel;
use metanode_types::receipt::{Action, ReceiptBody};
use metanode_types::workload::{ImageKind, ReplicaId};
use serde::Serialize;
use std::path::Path;

/// Bytes kept of each output stream; the digests cover all of it.
const OUTPUT_BYTES: u64 = 64 << 10;

/// What came of running again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Replayed {
    /// Every digest is the receipt's.
    Same(Vec<&'static str>),
    /// These are not.
    Differs(Vec<&'static str>),
    /// It could not be made again here.
    Unavailable(String),
}

impl Replayed {
    pub(super) fn text(&self) -> String {
        match self {
            Replayed::Same(fields) => {
                format!("VALID           re-executed here, equal: {}", fields.join(", "))
            }
            Replayed::Differs(fields) => {
                format!("INVALID         re-executed here, different: {}", fields.join(", "))
            }
            Replayed::Unavailable(why) => format!("unavailable     re-execution: {why}"),
        }
    }
}

/// Makes the run again that a verified bundle proves.
pub(super) fn again(bundle: &Bundle, reference: Option<&Reference>, store: &StoreArgs) -> Done<Replayed> {
    let (assignment, report) = match asked(bundle) {
        Ok(found) => found,
        Err(why) => return Ok(Replayed::Unavailable(why)),
    };
    let image = match image_of(&assignment, reference, store) {
        Ok(image) => image,
        Err(why) => return Ok(Replayed::Unavailable(why)),
    };
    let scratch = Scratch::create()?;
    let run = scratch.state_dir();
    match execution(&assignment, &image, run.clone(), OUTPUT_BYTES) {
        Execution::Native(spec) => drop(launch(&spec, &scratch, &[])?),
        Execution::Wasm(job) => launch_module(&job, &scratch)?,
    }
    judged(&assignment, &report, &run)
}

/// Compares what the run left with the receipt.
fn judged(assignment: &Assignment, report: &CageReport, run: &Path) -> Done<Replayed> {
    let found = match report_of(assignment, run) {
        Ok(found) => found,
        Err(why) => return Ok(Replayed::Unavailable(format!("the run here failed: {why}"))),
    };
    let lost = |exit: &ExitStatus| {
        matches!(exit, ExitStatus::Timeout | ExitStatus::OutOfMemory | ExitStatus::CageFailed(_))
    };
    if lost(&found.exit) || lost(&report.exit) {
        let why = format!("no verdict: the receipt says {}, here it was {}", report.exit, found.exit);
        return Ok(Replayed::Unavailable(why));
    }
    if assignment.workload.image.kind == ImageKind::Oci && found.machine != report.machine {
        let why = format!("the run was on machines of class {}, here is {}", report.machine, found.machine);
        return Ok(Replayed::Unavailable(why));
    }
    let witness = |r: &CageReport| r.witness.as_ref().map(|w| (w.root, w.entries));
    let fields = [
        ("inputs", report.inputs == found.inputs),
        ("exit", report.exit == found.exit),
        ("stdout", report.stdout == found.stdout),
        ("stderr", report.stderr == found.stderr),
        ("output", report.output == found.output),
        ("witness", witness(report) == witness(&found)),
        ("trace", report.trace == found.trace),
        ("fuel", report.fuel == found.fuel),
    ];
    let (same, other): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(_, same)| *same);
    let names = |list: Vec<(&'static str, bool)>| list.into_iter().map(|(name, _)| name).collect();
    Ok(if other.is_empty() { Replayed::Same(names(same)) } else { Replayed::Differs(names(other)) })
}

/// What was assigned, in full, and what was reported of it.
fn asked(bundle: &Bundle) -> Result<(Assignment, CageReport), String> {
    let subject = &bundle.receipts[0].receipt;
    let ReceiptBody::Action(action @ Action::Exited { report, .. }) = &subject.body else {
        return Err("the receipt is not of the end of a run".to_owned());
    };
    if report.level < CageLevel::Pinned {
        return Err(format!("a run at level {} is not determined", report.level));
    }
    let id = action.assignment();
    let assigned = bundle.receipts.iter().map(|one| &one.receipt).find(|one| Some(one.id()) == id);
    let Some(ReceiptBody::Action(Action::Assigned { workload, seed, clock_ms, epoch, .. })) =
        assigned.map(|receipt| &receipt.body)
    else {
        return Err("the bundle lacks the assignment".to_owned());
    };
    let body = crate::replay::workload(bundle, workload)?;
    let epoch_ns = clock_ms.checked_mul(1_000_000).ok_or("the assignment's clock is out of range")?;
    let deployment = "replay".parse().map_err(|_| "a name that is none")?;
    let replica = ReplicaId { deployment, index: 0 };
    Ok((Assignment { replica, epoch: *epoch, workload: body, seed: seed.0, epoch_ns }, report.clone()))
}

/// The image of the run, hashed again.
fn image_of(
    assignment: &Assignment,
    reference: Option<&Reference>,
    store: &StoreArgs,
) -> Result<Image, String> {
    let wanted = &assignment.workload.image.digest;
    let store = image::open(store).map_err(|failure| failure.why)?;
    if let Some(reference) = reference {
        image::import(&store, reference).map_err(|failure| failure.why)?;
    }
    let image = store.get(wanted).map_err(|error| error.to_string())?;
    store.verify(&image).map_err(|error| error.to_string())?;
    Ok(image)
}
