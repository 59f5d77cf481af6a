//! Owns turning what a cage left (`report.json`, and `verdict.json` of a module) into the report that goes to the
//! ledger. Refuses to fill a gap: a digest that was not measured makes the run one that failed in its cage.

use metanode_cage::{Exit, Report, Verdict};
use metanode_types::cage_report::{CageReport, ExitStatus, KernelRelease, MachineClass, WitnessRoot};
use metanode_types::hash::sha256;
use metanode_types::ids;
use metanode_types::level::CageLevel;
use metanode_types::params::Usage;
use metanode_types::tx::ShortText;
use metanode_types::workload::ImageKind;
use std::path::Path;

use super::dir::{Assignment, CageDir};
use crate::digest::Digest;
use crate::wasm::WasmVerdict;

/// Digest of what a run was given, as the ledger computes it: workload, seed, and where a logical clock starts.
#[must_use]
pub fn inputs_digest(assignment: &Assignment) -> ids::Digest {
    let clock_ms = assignment.epoch_ns / 1_000_000;
    metanode_types::cage_report::inputs_digest(
        &assignment.workload.digest(),
        &ids::Digest(assignment.seed),
        clock_ms,
    )
}

/// The class of a machine, from what the cage says of its processor and its kernel.
#[must_use]
pub fn machine_class(cpu: &str, kernel: &str) -> MachineClass {
    let digest = digest_of_hex(cpu).map_or_else(|_| sha256(cpu.as_bytes()), |digest| digest.0);
    MachineClass { cpu: ids::Digest(digest), kernel: KernelRelease::new(kernel) }
}

/// The report for the ledger. An error is the reason why there is none: the cage failed.
pub(super) fn cage_report(assignment: &Assignment, dir: &CageDir) -> Result<CageReport, String> {
    // A report that is not there, or not whole, is a lost run.
    Report::read(&dir.run()).map_err(|_| dir.complaint())?;
    report_of(assignment, &dir.run())
}

/// The report for the ledger of a run whose state is in `run`.
pub fn report_of(assignment: &Assignment, run: &Path) -> Result<CageReport, String> {
    let report = Report::read(run).map_err(|error| error.to_string())?;
    if let Exit::LaunchError(reason) = &report.exit {
        return Err(reason.clone());
    }
    let native = CageReport {
        level: level(&report)?,
        image: assignment.workload.image.digest,
        inputs: inputs_digest(assignment),
        exit: exit_status(&report.exit),
        stdout: digest_of_hex(&report.stdout_digest)?,
        stderr: digest_of_hex(&report.stderr_digest)?,
        output: report
            .output_digest
            .as_deref()
            .map(digest_of_hex)
            .transpose()?
            .map(|digest| ids::Digest(digest.0)),
        witness: witness(&report)?,
        usage: usage(&report, assignment),
        fuel: None,
        trace: report.trace_hash.as_deref().map(digest_of_hex).transpose()?.map(|d| ids::Digest(d.0)),
        machine: machine_class(&report.cpu_class, &report.kernel),
    };
    match assignment.workload.image.kind {
        ImageKind::Oci => Ok(native),
        ImageKind::Wasm => wasm_report(native, &report, run),
    }
}

/// The commitment to what the cage recorded, if it recorded anything.
fn witness(report: &Report) -> Result<Option<WitnessRoot>, String> {
    let Some(root) = report.witness_root.as_deref() else { return Ok(None) };
    let root = ids::Digest(digest_of_hex(root)?.0);
    Ok(Some(WitnessRoot { root, entries: report.witness_entries, bytes: report.witness_bytes }))
}

/// The level of a native run. One that its limits ended was pinned until then, and the exit says that it has
/// no verdict; one that the supervisor gave up says nothing about the program, whatever it was to be.
fn level(report: &Report) -> Result<CageLevel, String> {
    match (&report.verdict, &report.exit) {
        (Verdict::NoVerdict(_), Exit::Timeout | Exit::Oom) if report.trace_hash.is_some() => {
            Ok(CageLevel::Pinned)
        }
        (Verdict::NoVerdict(_), _) => Ok(CageLevel::Contained),
        (Verdict::Completed, _) => {
            report.level.parse().map_err(|error| format!("the cage report's level: {error}"))
        }
    }
}

fn wasm_report(native: CageReport, report: &Report, run: &Path) -> Result<CageReport, String> {
    let verdict = WasmVerdict::read(run).map_err(|error| error.to_string())?;
    let level = verdict.level(report);
    match verdict {
        WasmVerdict::Ran(outcome) => Ok(CageReport {
            level: level.unwrap_or(CageLevel::Contained),
            exit: outcome.end.exit_status(),
            stdout: outcome.stdout.digest,
            stderr: outcome.stderr.digest,
            output: Some(ids::Digest(outcome.tree.0)),
            witness: Some(WitnessRoot {
                root: ids::Digest(outcome.witness_root.0),
                entries: outcome.witness_entries,
                bytes: outcome.witness_bytes,
            }),
            fuel: Some(outcome.fuel_used),
            trace: Some(ids::Digest(outcome.trace_hash.0)),
            ..native
        }),
        WasmVerdict::Refused(reason) => Err(reason),
        // Timeouts and kills keep the cage's own account of the end.
        WasmVerdict::Lost(_) if matches!(native.exit, ExitStatus::Timeout | ExitStatus::OutOfMemory) => {
            Ok(native)
        }
        WasmVerdict::Lost(reason) => {
            Ok(CageReport { exit: ExitStatus::CageFailed(ShortText::new(reason)), ..native })
        }
    }
}

fn exit_status(exit: &Exit) -> ExitStatus {
    match exit {
        Exit::Code(code) => ExitStatus::Code(*code),
        Exit::Signal(signal) => ExitStatus::Signal(*signal),
        Exit::Timeout => ExitStatus::Timeout,
        Exit::Oom => ExitStatus::OutOfMemory,
        Exit::LaunchError(reason) | Exit::NoVerdict(reason) => {
            ExitStatus::CageFailed(ShortText::new(reason.as_str()))
        }
    }
}

/// Measured use, rounded up. Without a memory cgroup nothing integrates memory over time: the peak is charged
/// throughout, and never more than the limit.
fn usage(report: &Report, assignment: &Assignment) -> Usage {
    let mib_ms = report.usage.memory_mib_ms.unwrap_or_else(|| {
        let peak = report.usage.max_memory_bytes.min(assignment.workload.resources.memory_bytes);
        peak.div_ceil(1 << 20).saturating_mul(report.usage.wall_ms)
    });
    Usage { cpu_ms: report.usage.cpu_ms, memory_mib_s: mib_ms.div_ceil(1000) }
}

fn digest_of_hex(text: &str) -> Result<Digest, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| format!("{text:?} in the cage report is not a digest"))?;
    Ok(Digest(bytes))
}
