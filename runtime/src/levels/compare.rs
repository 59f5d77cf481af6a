//! Owns which fields of two runs must be equal, and which machines may be compared at all. Use and host times are not
//! among the fields. Refuses to compare what has no verdict.

use metanode_cage::witness::Witness;
use metanode_cage::{Exit, Report, Verdict};
use serde::Serialize;
use serde_json::{Value, json};

/// A field in which two runs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its name in the report.
    pub field: &'static str,
    /// What the first run, or its report, says.
    pub reported: Value,
    /// What the second run gave.
    pub found: Value,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: reported {}, found {}", self.field, self.reported, self.found)
    }
}

/// The names of what differs, for a sentence.
#[must_use]
pub fn names(differences: &[Difference]) -> String {
    differences.iter().map(|one| one.field).collect::<Vec<_>>().join(", ")
}

/// Every field in which two runs of the same thing differ.
#[must_use]
pub fn differences(reported: &Report, found: &Report) -> Vec<Difference> {
    let fields = |r: &Report| {
        [
            ("exit", json!(r.exit)),
            ("verdict", json!(r.verdict)),
            ("seed", json!(r.seed)),
            ("stdout_digest", json!(r.stdout_digest)),
            ("stdout_bytes", json!(r.stdout_bytes)),
            ("stderr_digest", json!(r.stderr_digest)),
            ("stderr_bytes", json!(r.stderr_bytes)),
            ("output_digest", json!(r.output_digest)),
            ("opened_digest", json!(r.opened_digest)),
            ("trace_hash", json!(r.trace_hash)),
            ("trace_events", json!(r.trace_events)),
            ("witness_root", json!(r.witness_root)),
            ("witness_entries", json!(r.witness_entries)),
            ("logical_ns", json!(r.logical_ns)),
            ("fuel", json!(r.fuel)),
        ]
    };
    unequal(fields(reported), fields(found))
}

/// Every field in which a run differs from what a witness recorded.
#[must_use]
pub fn from_recording(witness: &Witness, found: &Report) -> Vec<Difference> {
    let outcome = witness.outcome();
    let recorded = [
        ("exit", json!(outcome.exit)),
        ("stdout_digest", json!(outcome.stdout_digest)),
        ("stderr_digest", json!(outcome.stderr_digest)),
        ("output_digest", json!(outcome.output_digest)),
        ("logical_ns", json!(outcome.logical_ns)),
        ("trace_hash", json!(witness.trace_hash())),
        ("trace_events", json!(witness.event_count())),
        ("witness_root", json!(witness.witness_root())),
    ];
    let again = [
        ("exit", json!(found.exit)),
        ("stdout_digest", json!(found.stdout_digest)),
        ("stderr_digest", json!(found.stderr_digest)),
        ("output_digest", json!(found.output_digest)),
        ("logical_ns", json!(found.logical_ns.unwrap_or_default())),
        ("trace_hash", json!(found.trace_hash)),
        ("trace_events", json!(found.trace_events)),
        ("witness_root", json!(found.witness_root)),
    ];
    unequal(recorded, again)
}

fn unequal<const N: usize>(
    reported: [(&'static str, Value); N],
    found: [(&'static str, Value); N],
) -> Vec<Difference> {
    let pairs = reported.into_iter().zip(found);
    pairs
        .filter(|((_, one), (_, two))| one != two)
        .map(|((field, reported), (_, found))| Difference { field, reported, found })
        .collect()
}

/// Whether a run of this report can be held against one made here; else why not.
pub fn comparable(report: &Report, cpu_class: &str, kernel: &str) -> Result<(), String> {
    if let Verdict::NoVerdict(why) = &report.verdict {
        return Err(format!("the run has no verdict: {why}"));
    }
    if !matches!(report.exit, Exit::Code(_) | Exit::Signal(_)) {
        return Err("the program did not end by itself".to_owned());
    }
    if report.trace_hash.is_none() {
        return Err(format!("a run at level {} is not determined", report.level));
    }
    if report.cpu_class != cpu_class {
        return Err(format!("it ran on processors of class {}, here is {cpu_class}", report.cpu_class));
    }
    if report.kernel != kernel {
        return Err(format!("it ran on kernel {:?}, here is {kernel:?}", report.kernel));
    }
    Ok(())
}
