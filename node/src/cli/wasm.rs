//! `metanode __wasm --spec FILE` and `--replay FILE`: one WASM module in a cage, in a process of its own.
//!
//! Called by the node and by `cage run`, never by a person; dispatched before anything else, because a cage is
//! made by a
//! process with one thread. Exit status: 0 when there is a report and a verdict, 125 when the cage failed.

use metanode_runtime::wasm::{replay_shim, run_shim};
use std::ffi::OsString;
use std::path::Path;

/// First word of the command line.
pub const COMMAND: &str = "__wasm";
/// Exit status when the cage, not the module, failed.
const CAGE_FAILED: u8 = 125;

/// Carries the command out.
pub fn run(arguments: &[OsString]) -> u8 {
    match contained(arguments) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("metanode {COMMAND}: {why}");
            CAGE_FAILED
        }
    }
}

fn contained(arguments: &[OsString]) -> Result<(), String> {
    match arguments {
        [flag, file] if flag == "--spec" => run_shim(Path::new(file)).map_err(|e| e.to_string()),
        [flag, file] if flag == "--replay" => replay_shim(Path::new(file)).map_err(|e| e.to_string()),
        _ => Err("usage: --spec FILE | --replay FILE".into()),
    }
}
