//! `cargo xtask ci`: every check of the repository in one run, with a summary.
//!
//! Owns the list of steps. A step that can not run on this machine says why and counts as skipped, never as
//! passed. A failed step does not stop the later ones, so that one run tells everything. Starts only cargo
//! and waits for it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cargo;
use crate::tree;

/// Tests that run for hours; they are started by hand.
const NEVER: &str = "_soak";
/// Tests that start whole clusters, or need the machine for themselves.
const SLOW: &str = "_slow";
/// Tests that mount, unshare or change ids.
const ROOT: &str = "_needs_root";

const NO_DENY: &str =
    "cargo-deny is not installed; `licences` covered its lists, nothing looked for duplicates";

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

/// A step: what it is called, the cargo commands it runs, or why it is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: &'static str,
    commands: Result<Vec<Vec<String>>, String>,
}

/// Runs all steps and says whether none failed.
pub fn run() -> Result<bool> {
    let root = tree::workspace_root();
    let facts = Facts {
        nextest: has_subcommand(&root, "nextest"),
        deny: has_subcommand(&root, "deny"),
        is_root: is_root()?,
    };
    let mut results = Vec::new();
    for step in steps(&facts) {
        let started = Instant::now();
        println!("== {}", step.name);
        let outcome = match step.commands {
            Ok(commands) if run_all(&root, &commands)? => Outcome::Passed,
            Ok(_) => Outcome::Failed,
            Err(reason) => Outcome::Skipped(reason),
        };
        results.push((step.name, outcome, started.elapsed().as_secs()));
    }
    println!("== summary");
    for (name, outcome, seconds) in &results {
        match outcome {
            Outcome::Passed => println!("{name:<14} passed   {seconds} s"),
            Outcome::Failed => println!("{name:<14} FAILED   {seconds} s"),
            Outcome::Skipped(reason) => println!("{name:<14} skipped  {reason}"),
        }
    }
    Ok(!results.iter().any(|(_, outcome, _)| *outcome == Outcome::Failed))
}

/// What the machine offers.
#[derive(Debug, Clone, Copy)]
struct Facts {
    nextest: bool,
    deny: bool,
    is_root: bool,
}

fn steps(facts: &Facts) -> Vec<Step> {
    let step =
        |name, commands: &[&str]| Step { name, commands: Ok(commands.iter().map(|c| split(c)).collect()) };
    let skip = |name, reason: &str| Step { name, commands: Err(reason.to_owned()) };
    let mut steps = vec![
        step("fmt", &["fmt --all --check"]),
        step("clippy", &["clippy --locked --workspace --all-targets --quiet -- -D warnings"]),
        step("tidy", &["xtask tidy"]),
        step("layers", &["xtask layers"]),
        step("licences", &["xtask licences"]),
        match facts.deny {
            true => step("deny", &["deny --offline check bans licenses sources"]),
            false => skip("deny", NO_DENY),
        },
        step("doc", &["doc --locked --workspace --no-deps --quiet"]),
        step("build", &["build --locked --workspace --bins"]),
    ];
    steps.push(Step { name: "test", commands: Ok(test_commands(facts)) });
    steps.push(step("doctest", &["test --locked --doc --package metanode-types"]));
    if !facts.is_root {
        steps.push(skip("test (root)", "tests named *_needs_root were left out: this process is not root"));
    }
    steps
}

/// The commands that run all tests but the soak tests, with the same choice of tests in both runners.
fn test_commands(facts: &Facts) -> Vec<Vec<String>> {
    if facts.nextest {
        let mut chosen = format!("not test(/{NEVER}$/)");
        if !facts.is_root {
            chosen.push_str(&format!(" and not test(/{ROOT}$/)"));
        }
        let mut command = split("nextest run --locked --workspace --profile ci --no-tests fail -E");
        command.push(chosen);
        return vec![command];
    }
    let quick = format!(
        "test --locked --workspace --lib --bins --tests -- --skip {NEVER} --skip {SLOW} --skip {ROOT}"
    );
    let alone = if facts.is_root { format!("{SLOW} {ROOT}") } else { format!("{SLOW} --skip {ROOT}") };
    let serial =
        format!("test --locked --workspace --lib --bins --tests -- {alone} --skip {NEVER} --test-threads 1");
    vec![split(&quick), split(&serial)]
}

fn split(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

fn run_all(root: &Path, commands: &[Vec<String>]) -> Result<bool> {
    for command in commands {
        println!("cargo {}", command.join(" "));
        let status = cargo::command(root)
            .args(command)
            .env("RUSTDOCFLAGS", "-D warnings")
            .status()
            .with_context(|| format!("start cargo {}", command.join(" ")))?;
        if !status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_subcommand(root: &Path, name: &str) -> bool {
    let status =
        cargo::command(root).args([name, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self").context("find out the user id")?.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(facts: Facts) -> Vec<String> {
        test_commands(&facts).iter().map(|command| command.join(" ")).collect()
    }

    #[test]
    fn soak_tests_never_run_and_root_tests_only_as_root() {
        for nextest in [true, false] {
            for is_root in [true, false] {
                let commands = text(Facts { nextest, deny: false, is_root });
                for command in &commands {
                    assert!(command.contains(NEVER), "{command} leaves the soak tests out");
                }
                let skips = commands
                    .iter()
                    .all(|c| c.contains(&format!("not test(/{ROOT}$/)")) || c.contains("--skip _needs_root"));
                assert_eq!(skips, !is_root, "{commands:?}");
            }
        }
    }

    #[test]
    fn what_can_not_run_is_skipped_with_a_reason() {
        let found = steps(&Facts { nextest: true, deny: false, is_root: false });
        let skipped: Vec<_> =
            found.iter().filter(|step| step.commands.is_err()).map(|step| step.name).collect();
        assert_eq!(skipped, ["deny", "test (root)"]);
        let all = steps(&Facts { nextest: true, deny: true, is_root: true });
        assert!(all.iter().all(|step| step.commands.is_ok()));
    }
}
