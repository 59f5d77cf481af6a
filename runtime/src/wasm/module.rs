//! Owns the door for modules: which kind the bytes are, text form to binary, and validation. Refuses every proposal
//! that `settings` leaves out. Nothing is compiled here: a node validates a stranger's module, only a cage compiles
//! it.

use wasmparser::{Validator, WasmFeatures};
use wasmtime::Module;

use super::settings;

/// What a binary is, as its first eight bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A core module: a command of WASI preview 1.
    Module,
    /// A component: a command of WASI 0.2.
    Component,
}

/// Version and layer of a component, behind the magic number.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
/// What components may be made of: what the compiler of `settings` takes.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::COMPONENT_MODEL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL);

/// The kind of a binary. Anything that is no component is left to be judged as a module.
pub(crate) fn kind(binary: &[u8]) -> Kind {
    if binary.get(4..8) == Some(&COMPONENT) { Kind::Component } else { Kind::Module }
}

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

/// Checks that `module` is a valid core module or component under the cage's rules.
pub(crate) fn validate(module: &[u8]) -> Result<(), String> {
    match kind(module) {
        Kind::Component => Validator::new_with_features(FEATURES)
            .validate_all(module)
            .map(drop)
            .map_err(|error| error.to_string()),
        Kind::Module => {
            let compiler = settings::compiler().map_err(|error| format!("{error:#}"))?;
            Module::validate(&compiler, module).map_err(|error| format!("{error:#}"))
        }
    }
}
