//! Starts cargo the way a shell would.
//!
//! Owns the environment of that process. `cargo run` leaves variables that describe xtask itself
//! (`CARGO_PKG_NAME`, `CARGO_MANIFEST_DIR`, ...); some build scripts watch those, so an inner cargo that
//! inherited them would rebuild such crates, and the next cargo from a shell would rebuild them again.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Variables that cargo sets for the program it runs, by prefix.
const SET_BY_CARGO: [&str; 6] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];

/// Cargo in a folder, without the variables that describe xtask.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_set_by_cargo) {
            command.env_remove(name);
        }
    }
    // It points into the target folder of the outer run, and the inner cargo sets its own.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// What cargo prints for these arguments; an error holds what it complained about.
pub fn output(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = command(folder).args(arguments).output().context("start cargo")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {} failed: {}", arguments.join(" "), complaint.trim());
    String::from_utf8(output.stdout).context("read the output of cargo")
}

fn is_set_by_cargo(name: &str) -> bool {
    SET_BY_CARGO.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_xtask_is_removed_and_what_the_user_set_stays() {
        for removed in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_CRATE_NAME"]
        {
            assert!(is_set_by_cargo(removed), "{removed}");
        }
        for kept in
            ["CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "RUSTFLAGS", "PATH"]
        {
            assert!(!is_set_by_cargo(kept), "{kept}");
        }
    }

    #[test]
    fn a_complaint_of_cargo_is_an_error_with_its_words() {
        let error = output(Path::new("."), &["no-such-command"]).unwrap_err().to_string();
        assert!(error.contains("no-such-command"), "{error}");
    }
}
