//! Components put together for the tests: a core module, written call by call, is wrapped by `wit-component` with the
//! types that the real WIT files state. A call's import is derived from the WIT too, so a test cannot share a
//! misreading of the interface with the code under test.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldId, WorldItem};

/// Where results go.
pub(super) const RET: i64 = 0x1000;
/// Where a test may put what it likes.
pub(super) const BUFFER: i64 = 0x8000;
const DATA: i64 = 0x10_000;
/// Holds the handle of standard output.
const STDOUT: i64 = 8;

/// The interfaces, and the world with everything in it.
pub(super) static WIT: LazyLock<(Resolve, WorldId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wit");
    let (package, _) = resolve.push_dir(dir).expect("the WIT files of the tests");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world");
    (resolve, world)
});

/// An argument of a call.
#[derive(Clone, Copy)]
pub(super) enum Arg {
    /// A constant.
    I(i64),
    /// The 32-bit number at this address.
    At(i64),
}

pub(super) use Arg::{At, I};

/// A component as a sequence of calls.
pub(super) struct Guest {
    imports: Vec<(String, String)>,
    data: String,
    next: i64,
    body: String,
}

impl Guest {
    pub(super) fn new() -> Self {
        let mut guest = Self { imports: Vec::new(), data: String::new(), next: DATA, body: String::new() };
        guest.call("wasi:cli/stdout#get-stdout", &[], STDOUT);
        guest
    }

    /// Puts bytes into memory; gives address and length as arguments.
    pub(super) fn text(&mut self, bytes: &[u8]) -> [Arg; 2] {
        let hex: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(self.data, "(data (i32.const {}) \"{hex}\")", self.next);
        let at = self.next;
        self.next += (bytes.len() as i64 + 15) & !7;
        [I(at), I(bytes.len() as i64)]
    }

    /// Calls `interface#function`. A result goes to `out`, whether the call returns it or writes it there.
    pub(super) fn call(&mut self, name: &str, arguments: &[Arg], out: i64) -> &mut Self {
        let (interface, function) = name.split_once('#').expect("interface#function");
        let (resolve, world) = &*WIT;
        let (module, types) = resolve.worlds[*world]
            .imports
            .iter()
            .find_map(|(key, item)| match item {
                WorldItem::Interface { id, .. } => {
                    let module = resolve.name_world_key(key);
                    (module.split('@').next() == Some(interface)).then(|| (module, &resolve.interfaces[*id]))
                }
                _ => None,
            })
            .unwrap_or_else(|| panic!("no interface {interface}"));
        let (parameters, results, returns) = match function.strip_prefix("[resource-drop]") {
            Some(resource) => {
                assert!(types.types.contains_key(resource), "no resource {resource}");
                (vec![WasmType::I32], Vec::new(), false)
            }
            None => {
                let function = types.functions.get(function).unwrap_or_else(|| panic!("no {name}"));
                let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
                (signature.params, signature.results, signature.retptr)
            }
        };
        let mut arguments = arguments.to_vec();
        if returns {
            arguments.push(I(out));
        }
        assert_eq!(arguments.len(), parameters.len(), "arguments of {name}");
        let pushed: String = parameters.iter().zip(&arguments).map(|(ty, arg)| push(*ty, *arg)).collect();
        let index = self.import(&module, function, &parameters, &results);
        let call = format!("(call $f{index} {pushed})");
        let _ = match results.first() {
            None => writeln!(self.body, "{call}"),
            Some(ty) => writeln!(self.body, "({}.store (i32.const {out}) {call})", word(*ty)),
        };
        self
    }

    fn import(&mut self, module: &str, name: &str, parameters: &[WasmType], results: &[WasmType]) -> usize {
        let words = |types: &[WasmType]| types.iter().map(|ty| format!(" {}", word(*ty))).collect::<String>();
        let ty = format!("(param{}) (result{})", words(parameters), words(results));
        let key = format!("\"{module}\" \"{name}\"");
        if let Some(index) = self.imports.iter().position(|(known, _)| *known == key) {
            return index;
        }
        self.imports.push((key, ty));
        self.imports.len() - 1
    }

    /// Any core instructions.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "{text}");
        self
    }

    pub(super) fn store(&mut self, at: i64, value: Arg) -> &mut Self {
        let value = push(WasmType::I32, value);
        self.raw(&format!("(i32.store (i32.const {at}) {value})"))
    }

    /// Writes memory to standard output.
    pub(super) fn dump(&mut self, at: i64, length: i64) -> &mut Self {
        self.dump_at(I(at), I(length))
    }

    /// The same of memory that a result points to.
    pub(super) fn dump_at(&mut self, at: Arg, length: Arg) -> &mut Self {
        let name = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";
        self.call(name, &[At(STDOUT), at, length], 16)
    }

    /// The core module's text; `end` is the last instruction of `run`: what it returns.
    fn wat(&self, end: &str) -> String {
        let mut imports = String::new();
        for (index, (key, ty)) in self.imports.iter().enumerate() {
            let _ = writeln!(imports, "(import {key} (func $f{index} {ty}))");
        }
        format!(
            "(module {imports}
               (memory (export \"memory\") 64)
               (global $heap (mut i32) (i32.const 0x100000))
               (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (local $at i32)
                 (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                 (global.set $heap (i32.add (local.get $at) (local.get 3)))
                 (local.get $at))
               {} (func (export \"wasi:cli/run@0.2.12#run\") (result i32) {} {end}))",
            self.data, self.body
        )
    }

    /// The component; `end` as for `wat`.
    pub(super) fn component(&self, end: &str) -> Vec<u8> {
        wrap(wat::parse_str(self.wat(end)).expect("a module"))
    }
}

/// A core module with the imports of the test world, as a component.
pub(super) fn wrap(mut module: Vec<u8>) -> Vec<u8> {
    let (resolve, world) = &*WIT;
    embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component")
}

fn word(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I64 => "i64",
        _ => "i32",
    }
}

fn push(ty: WasmType, argument: Arg) -> String {
    let word = word(ty);
    match argument {
        I(value) => format!("({word}.const {value})"),
        At(at) => format!("({word}.load (i32.const {at}))"),
    }
}
