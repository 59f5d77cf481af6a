//! Owns the door for modules: text form to binary, and validation. Refuses components and every proposal that
//! `settings` leaves out. Nothing is compiled here: a node validates a stranger's module, only a cage compiles it.

use wasmtime::Module;

use super::settings;

/// Gives the binary form of a module in either form. The bytes of a binary module are returned as they are.
pub(crate) fn to_binary(source: &[u8]) -> Result<Vec<u8>, String> {
    if source.starts_with(b"\0asm") {
        return Ok(source.to_vec());
    }
    if std::str::from_utf8(source).is_err() {
        return Err("it is neither a binary module nor text".to_owned());
    }
    wat::parse_bytes(source).map(std::borrow::Cow::into_owned).map_err(|error| error.to_string())
}

/// Checks that `module` is a valid core module under the cage's rules.
pub(crate) fn validate(module: &[u8]) -> Result<(), String> {
    if module.get(4..8) == Some(&[0x0d, 0, 1, 0]) {
        return Err("it is a component: only command modules (WASI preview 1) run here yet".to_owned());
    }
    let compiler = settings::compiler().map_err(|error| format!("{error:#}"))?;
    Module::validate(&compiler, module).map_err(|error| format!("{error:#}"))
}
