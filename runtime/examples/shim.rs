//! Both shims in one program, for tests of the driver: `run --spec FILE` as `metanode-cage` does it, and
//! `__wasm --spec FILE` as `metanode` does it.

use std::path::Path;
use std::process::ExitCode;

use metanode_cage::{CageSpec, Entry, supervise};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["run", "--spec", file] => run(Path::new(file)),
        ["__wasm", "--spec", file] => {
            metanode_runtime::wasm::run_shim(Path::new(file)).map_err(|e| e.to_string())
        }
        ["__wasm", "--replay", file] => {
            metanode_runtime::wasm::replay_shim(Path::new(file)).map_err(|e| e.to_string())
        }
        _ => Err("usage: shim run|__wasm --spec FILE".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("shim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &Path) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|e| e.to_string())?;
    let spec = CageSpec::from_json(&text).map_err(|e| e.to_string())?;
    supervise(&spec, Entry::Exec, |_| ()).map(drop).map_err(|e| e.to_string())
}
