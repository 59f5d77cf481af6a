//! Owns the way of a native run to its level. What launches a cage is handed in: it is told whether it runs the
//! program for the first time (the one that people see) or again (the check).

use std::path::{Path, PathBuf};

use metanode_cage::witness::{Divergence, Witness, diff};
use metanode_cage::{CageSpec, Level, Report, Root, Verdict, call_name};
use metanode_types::level::CageLevel;

use super::compare::{Difference, differences, from_recording, names};
use super::inputs::NativeInputs;

/// Which run of a pair is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The run itself.
    First,
    /// The one that checks it.
    Again,
}

/// Runs what `spec` says until `asked` is reached, or it is known why not: then the report's level is lower and
/// `downgraded` names the reason. `scratch` is a private directory. An error is one of `launch`.
pub fn reach<E>(
    spec: &CageSpec,
    asked: CageLevel,
    scratch: &Path,
    launch: &mut dyn FnMut(&CageSpec, Run) -> Result<Report, E>,
) -> Result<Report, E> {
    let mut spec = spec.clone();
    spec.level = if asked == CageLevel::Contained { Level::Contained } else { Level::Pinned };
    if asked > CageLevel::Pinned && spec.witness.is_none() {
        spec.witness = Some(scratch.join("witness"));
    }
    let mut report = launch(&spec, Run::First)?;
    if asked <= CageLevel::Pinned || report.verdict != Verdict::Completed {
        return Ok(report);
    }
    let again = scratch.join("witness.again");
    let second = match second_spec(&spec, asked, scratch, &again) {
        Ok(second) => second,
        Err(why) => {
            report.downgraded.push(format!("not {asked}: {why}"));
            return Ok(report);
        }
    };
    let found = launch(&second, Run::Again)?;
    let differ = if asked == CageLevel::Replayed {
        recorded_differences(spec.witness.as_deref(), &report, &found)
    } else {
        differences(&report, &found)
    };
    if let Verdict::NoVerdict(why) = &found.verdict {
        report.downgraded.push(format!("not {asked}: the second run has no verdict: {why}"));
    } else if differ.is_empty() {
        report.level = asked.to_string();
    } else {
        let first = spec.witness.as_deref().map(|one| first_difference(one, &again)).unwrap_or_default();
        report.downgraded.push(format!("not {asked}: {} differ; {first}", names(&differ)));
    }
    let _ = std::fs::remove_file(&again); // the scratch directory goes as a whole anyway
    Ok(report)
}

/// What the check runs: the same again, or what the witness alone says.
fn second_spec(spec: &CageSpec, asked: CageLevel, scratch: &Path, again: &Path) -> Result<CageSpec, String> {
    let state_dir = scratch.join("again");
    if asked == CageLevel::Reproduced {
        return Ok(CageSpec { state_dir, witness: Some(again.to_owned()), ..spec.clone() });
    }
    let file = spec.witness.as_deref().expect("every run that is checked is recorded");
    let witness = Witness::open(file).map_err(|error| error.to_string())?;
    if witness.truncated() {
        return Err("the witness reached its limit and lacks inputs".to_owned());
    }
    let inputs = NativeInputs::from_witness(&witness).map_err(|error| error.to_string())?;
    let root = match &spec.root {
        Root::Dir { path } => path.clone(),
        Root::Empty => PathBuf::from("/"),
    };
    Ok(CageSpec {
        root: spec.root.clone(),
        limits: metanode_cage::Limits { wall_ms: spec.limits.wall_ms, ..inputs.limits.clone() },
        witness: Some(again.to_owned()),
        witness_bytes: spec.witness_bytes,
        replay: Some(file.to_owned()),
        ..inputs.spec(root, state_dir)
    })
}

fn recorded_differences(witness: Option<&Path>, report: &Report, found: &Report) -> Vec<Difference> {
    let mut all = differences(report, found);
    // The file must say the same as the report: it is what others will replay.
    if let Some(witness) = witness.and_then(|file| Witness::open(file).ok()) {
        let known = |one: &Difference| all.iter().all(|other| other.field != one.field);
        let more: Vec<Difference> = from_recording(&witness, found).into_iter().filter(known).collect();
        all.extend(more);
    }
    all
}

/// The first difference of two witnesses, in words.
#[must_use]
pub fn first_difference(one: &Path, two: &Path) -> String {
    let found = Witness::open(one)
        .and_then(|one| Witness::open(two).map(|two| (one, two)))
        .and_then(|(one, two)| diff(&one, &two, call_name));
    match found {
        Ok(Some(divergence)) => one_line(&divergence),
        Ok(None) => "the witnesses are equal".to_owned(),
        Err(error) => format!("the first difference is unavailable: {error}"),
    }
}

fn one_line(divergence: &Divergence) -> String {
    divergence.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
