//! `metanode`: the client and the node. Owns nothing: it hands its arguments over and returns the exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a cage is made by a process with one thread.
    metanode_node::cli::run(std::env::args_os().collect())
}
