//! Owns one execution of a module or a component: compile, link, instantiate, run, and sum up.
//! Refuses to blame the module for the host: memory the host could not give is `NoVerdict`,
//! it says nothing about the module. Refuses to stop a guest half-way: when its time is up, the process goes.
//! Invariant: the outcome is a function of spec, module and standard input; the writers only receive copies.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use wasmtime::component::{self, Component};
use wasmtime::error::OutOfMemory;
use wasmtime::{Linker, Module, ResourceLimiter, Store, Trap};

use super::module::{self, Kind};
use super::settings;
use super::spec::{End, TrapKind, WasmLimits, WasmOutcome, WasmSpec};
use super::wasi::{CALL_BYTES_MAX, Exit, Host, Misuse, link, link_p2};
use crate::digest::digest_of;
use crate::error::{Error, Result};

/// Most linear memories, tables and instances of one module.
const MODULE_PARTS: Parts = Parts { memories: 4, tables: 16, instances: 1 };
/// The same of a component, which is put together from modules.
const COMPONENT_PARTS: Parts = Parts { memories: 16, tables: 64, instances: 64 };

#[derive(Clone, Copy)]
struct Parts {
    memories: usize,
    tables: usize,
    instances: usize,
}

/// What a command component exports, up to the last part of the version.
const RUN_INTERFACE: &str = "wasi:cli/run@0.2.";

/// Where copies of the output streams go while the module runs. A writer that fails changes nothing in the outcome.
pub struct Output {
    /// Receives standard output.
    pub stdout: Box<dyn Write>,
    /// Receives standard error.
    pub stderr: Box<dyn Write>,
    /// Receives the witness (empty, positioned at its start), and how many bytes of it at most. Unlike the other two
    /// it must not fail: a run without the witness that was asked for has no verdict.
    pub witness: Option<(File, u64)>,
    /// Called from another thread when the spec's wall-clock bound passes while the guest runs. Nothing looks at a
    /// clock inside compiled code, which is why this must end the process; without it the bound is not watched.
    pub give_up: Option<fn()>,
}

/// Everything the guest's resources are decided by.
pub(super) struct Caps {
    parts: Parts,
    memory_bytes: u64,
    table_elements: u32,
    memory_total: u64,
    memory_peak: u64,
    /// Set when the host could not give what the caps allow.
    host_failure: Option<String>,
}

impl ResourceLimiter for Caps {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_total + (desired as u64 - current as u64);
        if maximum.is_some_and(|maximum| desired > maximum) || total > self.memory_bytes {
            return Ok(false);
        }
        self.memory_total = total;
        self.memory_peak = self.memory_peak.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Growth past what a memory's type can say is the module's own failure and returns -1. Everything else was
        // allowed above: the host failed, and a guest that saw -1 here would see success elsewhere.
        if error.to_string().contains("exceeds memory type's limits") {
            return Ok(());
        }
        self.host_failure = Some(format!("the host could not give memory that the limits allow: {error:#}"));
        Err(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements as usize && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // As for memory: only what a table's type cannot say is the module's own failure.
        if ["Table maximum size exceeded", "overflow calculating new table size"]
            .contains(&error.to_string().as_str())
        {
            return Ok(());
        }
        self.host_failure = Some(format!("the host could not give a table that the limits allow: {error:#}"));
        Err(error)
    }

    fn instances(&self) -> usize {
        self.parts.instances
    }

    fn memories(&self) -> usize {
        self.parts.memories
    }

    fn tables(&self) -> usize {
        self.parts.tables
    }
}

impl Caps {
    fn new(limits: &WasmLimits, kind: Kind) -> Self {
        Self {
            parts: match kind {
                Kind::Module => MODULE_PARTS,
                Kind::Component => COMPONENT_PARTS,
            },
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            memory_total: 0,
            memory_peak: 0,
            host_failure: None,
        }
    }

    /// Notes that the host failed the run; the first reason stays.
    pub(super) fn host_failed(&mut self, reason: impl FnOnce() -> String) {
        self.host_failure.get_or_insert_with(reason);
    }

    pub(super) fn memory_peak(&self) -> u64 {
        self.memory_peak
    }
}

/// Runs `module` in this process. For tests and for the inside of a cage; a node uses `run_contained`.
pub fn execute(spec: &WasmSpec, module: &[u8], stdin: Vec<u8>, output: Output) -> Result<WasmOutcome> {
    let found = digest_of(module);
    if found != spec.module {
        return Err(refuse(format!("the module has digest {found}, asked for was {}", spec.module)));
    }
    let kind = module::kind(module);
    let compiler = settings::compiler().map_err(|error| refuse_for(&error))?;
    let program = Program::compile(&compiler, module, kind).map_err(|error| refuse_for(&error))?;
    let give_up = output.give_up.filter(|_| spec.limits.wall_ms > 0);
    let host = Host::new(spec, stdin, output, Caps::new(&spec.limits, kind)).map_err(refuse)?;
    let mut store = Store::new(&compiler, host);
    store.limiter(|host| &mut host.caps);
    store.set_hostcall_fuel(CALL_BYTES_MAX);
    store.set_fuel(spec.limits.fuel).map_err(|error| refuse_for(&error))?;
    let _watchdog = give_up.map(|give_up| Watchdog::start(spec.limits.wall_ms, give_up));
    let mut end = match &program {
        Program::Module(module) => run_module(&mut store, module)?,
        Program::Component(component) => run_component(&mut store, component)?,
    };
    if let Some(reason) = store.data_mut().caps.host_failure.take() {
        end = End::NoVerdict { reason };
    }
    let fuel_left = store.get_fuel().map_err(|error| refuse_for(&error))?;
    let summed = store.into_data().sum_up(end, spec.limits.fuel - fuel_left);
    summed.map_err(|error| refuse(format!("its witness cannot be written: {error}")))
}

fn refuse(reason: String) -> Error {
    Error::StartModule { reason }
}

fn refuse_for(error: &wasmtime::Error) -> Error {
    refuse(format!("{error:#}"))
}

enum Program {
    Module(Module),
    Component(Component),
}

impl Program {
    fn compile(compiler: &wasmtime::Engine, binary: &[u8], kind: Kind) -> wasmtime::Result<Self> {
        Ok(match kind {
            Kind::Module => Self::Module(Module::from_binary(compiler, binary)?),
            Kind::Component => Self::Component(Component::from_binary(compiler, binary)?),
        })
    }
}

fn run_module(store: &mut Store<Host>, module: &Module) -> Result<End> {
    let mut linker = Linker::new(module.engine());
    link(&mut linker).map_err(|error| refuse_for(&error))?;
    if module.get_export("_start").is_none() {
        return Err(refuse("it exports no _start function: it is not a command module".to_owned()));
    }
    let instance = match linker.instantiate(&mut *store, module) {
        Ok(instance) => instance,
        // A start function or a data segment can trap, exit or run out of fuel just as `_start` can.
        Err(error) => return end_of(store, &error).ok_or_else(|| refuse_for(&error)),
    };
    let start =
        instance.get_typed_func::<(), ()>(&mut *store, "_start").map_err(|error| refuse_for(&error))?;
    Ok(match start.call(&mut *store, ()) {
        Ok(()) => End::Exited { code: 0 },
        Err(error) => end_of(store, &error).unwrap_or_else(|| runtime_failed(&error)),
    })
}

/// Runs `wasi:cli/run`, of whatever 0.2 the component exports.
fn run_component(store: &mut Store<Host>, component: &Component) -> Result<End> {
    let compiler = component.engine();
    let mut linker = component::Linker::new(compiler);
    link_p2(&mut linker, component).map_err(|error| refuse_for(&error))?;
    let ty = component.component_type();
    let interface = ty.exports(compiler).map(|(name, _)| name).find(|name| name.starts_with(RUN_INTERFACE));
    let Some(interface) = interface else {
        return Err(refuse(format!("it exports no {RUN_INTERFACE}x: it is not a command component")));
    };
    // Types and missing imports are found here, before anything of the guest's runs.
    let linked = linker.instantiate_pre(component).map_err(|error| refuse_for(&error))?;
    let instance = match linked.instantiate(&mut *store) {
        Ok(instance) => instance,
        Err(error) => return Ok(end_of(store, &error).unwrap_or_else(|| runtime_failed(&error))),
    };
    let run = instance
        .get_export_index(&mut *store, None, interface)
        .and_then(|outer| instance.get_export_index(&mut *store, Some(&outer), "run"))
        .ok_or_else(|| refuse(format!("its {interface} has no run function")))?;
    let run = instance
        .get_typed_func::<(), (std::result::Result<(), ()>,)>(&mut *store, run)
        .map_err(|error| refuse_for(&error))?;
    Ok(match run.call(&mut *store, ()) {
        Ok((status,)) => End::Exited { code: u32::from(status.is_err()) },
        Err(error) => match end_of(store, &error) {
            Some(end) => end,
            None if error.is::<OutOfMemory>() => runtime_failed(&error),
            // What is left is the component breaking a rule of its interfaces: an unknown handle, a string that is
            // none, a pointer outside. The runtime says so in words only, the same on every host.
            None => End::Trapped { trap: TrapKind::BadCall },
        },
    })
}

fn runtime_failed(error: &wasmtime::Error) -> End {
    End::NoVerdict { reason: format!("the runtime failed: {error:#}") }
}

/// What an error from the guest means; none when it is not one.
fn end_of(store: &mut Store<Host>, error: &wasmtime::Error) -> Option<End> {
    if let Some(reason) = store.data_mut().caps.host_failure.take() {
        return Some(End::NoVerdict { reason });
    }
    if let Some(Exit(code)) = error.downcast_ref::<Exit>() {
        return Some(End::Exited { code: *code });
    }
    if error.is::<Misuse>() {
        return Some(End::Trapped { trap: TrapKind::BadCall });
    }
    let trap = match error.downcast_ref::<Trap>()? {
        Trap::OutOfFuel => TrapKind::OutOfFuel,
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapKind::MemoryFault,
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => TrapKind::TableFault,
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapKind::Arithmetic
        }
        _ => TrapKind::Other,
    };
    Some(End::Trapped { trap })
}

/// Waits for the wall clock to run out; ends with the run.
struct Watchdog {
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchdog {
    fn start(wall_ms: u64, give_up: fn()) -> Self {
        // Nothing is ever sent: dropping the sender is the message.
        let (stop, stopped) = mpsc::sync_channel(0);
        let thread = std::thread::spawn(move || {
            if stopped.recv_timeout(Duration::from_millis(wall_ms)) == Err(mpsc::RecvTimeoutError::Timeout) {
                give_up();
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
