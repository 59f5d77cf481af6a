//! How the comparison of a replica's runs is told, line by line.

use super::output::value;
use metanode_rpc::views::{DeploymentView, ExecutionView, VerificationState, VerificationView};
use std::fmt::Write as _;

/// Every verification of a deployment; empty when there is none.
pub fn text(view: &DeploymentView) -> String {
    let mut out = String::new();
    for replica in &view.replicas {
        if let Some(v) = &replica.verification {
            let _ = writeln!(out, "replica {}: {}", replica.index, of_one(v));
        }
    }
    out
}

/// One verification: where it stands, then a line for each run.
pub fn of_one(v: &VerificationView) -> String {
    let lines = v.executions.iter().chain(&v.challenge).map(line);
    std::iter::once(headline(v)).chain(lines).collect::<Vec<_>>().join("\n  ")
}

fn word<T: serde::Serialize>(word: &T) -> String {
    value(word).as_str().unwrap_or("unknown").to_owned()
}

fn headline(v: &VerificationView) -> String {
    let agree = v.executions.iter().filter(|e| v.outcome.is_some() && e.outcome == v.outcome).count();
    let outcome = v.outcome.map(|d| d.short());
    let settled = outcome.map(|d| format!("{agree} of {} agree on {d}", v.asked));
    let mut out = match (v.state, settled) {
        (VerificationState::Unsettled, _) => format!("unsettled, no majority of {} agrees", v.asked),
        (state, Some(settled)) => format!("{settled}, {}", word(&state)),
        (state, None) => format!("{} nodes, {}", v.asked, word(&state)),
    };
    if let Some(height) = v.open_until {
        let _ = write!(out, " to challenge up to height {height}");
    }
    if let Some(who) = v.challenger {
        let _ = write!(out, ", challenged by {}", who.short());
    }
    let _ = write!(out, " (CPU class {}, kernel {})", v.cpu_class.short(), v.kernel);
    out
}

fn line(e: &ExecutionView) -> String {
    let node = e.node.as_ref().map_or_else(|| e.address.short(), ToString::to_string);
    let mut out = format!("{node} {}", word(&e.state));
    if let Some(outcome) = e.outcome {
        let _ = write!(out, ", outcome {}", outcome.short());
    }
    if let Some(reason) = &e.reason {
        let _ = write!(out, ": {reason}");
    }
    if e.bond.0 > 0 {
        let _ = write!(out, ", bond {}", e.bond);
    }
    out
}
