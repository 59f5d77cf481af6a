//! Owns one execution: compile, link, instantiate, run `_start`, and sum up.
//! Refuses to blame the module for the host: memory the host could not give is `NoVerdict`,
//! a wall clock that ran out is `TimedOut`, and neither says anything about the module.
//! Invariant: the outcome is a function of spec, module and standard input; the writers only receive copies.

use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use wasmtime::{Linker, Module, ResourceLimiter, Store, Trap};

use super::settings;
use super::spec::{End, TrapKind, WasmLimits, WasmOutcome, WasmSpec};
use super::wasi::{Exit, Host, link};
use crate::digest::digest_of;
use crate::error::{Error, Result};

/// Most linear memories, tables and instances of one run.
const MEMORIES_MAX: usize = 4;
const TABLES_MAX: usize = 16;

/// Where copies of the output streams go while the module runs. A writer that fails changes nothing in the outcome.
pub struct Output {
    /// Receives standard output.
    pub stdout: Box<dyn Write>,
    /// Receives standard error.
    pub stderr: Box<dyn Write>,
}

/// Everything the guest's resources are decided by.
pub(super) struct Caps {
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

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

impl Caps {
    fn new(limits: &WasmLimits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            memory_total: 0,
            memory_peak: 0,
            host_failure: None,
        }
    }

    pub(super) fn memory_peak(&self) -> u64 {
        self.memory_peak
    }
}

/// Runs `module` in this process. For tests and for the inside of a cage; a node uses `run_contained`.
pub fn execute(spec: &WasmSpec, module: &[u8], stdin: Vec<u8>, output: Output) -> Result<WasmOutcome> {
    let refuse = |reason: String| Error::StartModule { reason };
    let found = digest_of(module);
    if found != spec.module {
        return Err(refuse(format!("the module has digest {found}, asked for was {}", spec.module)));
    }
    let compiler = settings::compiler().map_err(|error| refuse(format!("{error:#}")))?;
    let module = Module::new(&compiler, module).map_err(|error| refuse(format!("{error:#}")))?;
    let host = Host::new(spec, stdin, output, Caps::new(&spec.limits)).map_err(refuse)?;
    let mut store = Store::new(&compiler, host);
    store.limiter(|host| &mut host.caps);
    store.set_fuel(spec.limits.fuel).map_err(|error| refuse(format!("{error:#}")))?;
    store.set_epoch_deadline(1);
    let _watchdog = (spec.limits.wall_ms > 0).then(|| Watchdog::start(&compiler, spec.limits.wall_ms));
    let end = run(&mut store, &module)?;
    let fuel_left = store.get_fuel().map_err(|error| refuse(format!("{error:#}")))?;
    Ok(store.into_data().sum_up(end, spec.limits.fuel - fuel_left))
}

fn run(store: &mut Store<Host>, module: &Module) -> Result<End> {
    let refuse = |reason: String| Error::StartModule { reason };
    let mut linker = Linker::new(module.engine());
    link(&mut linker).map_err(|error| refuse(format!("{error:#}")))?;
    if module.get_export("_start").is_none() {
        return Err(refuse("it exports no _start function: it is not a command module".to_owned()));
    }
    let instance = match linker.instantiate(&mut *store, module) {
        Ok(instance) => instance,
        // A start function or a data segment can trap, exit or run out of fuel just as `_start` can.
        Err(error) => return end_of(store, &error).ok_or_else(|| refuse(format!("{error:#}"))),
    };
    let start = instance
        .get_typed_func::<(), ()>(&mut *store, "_start")
        .map_err(|error| refuse(format!("{error:#}")))?;
    Ok(match start.call(&mut *store, ()) {
        Ok(()) => End::Exited { code: 0 },
        Err(error) => end_of(store, &error)
            .unwrap_or_else(|| End::NoVerdict { reason: format!("the runtime failed: {error:#}") }),
    })
}

/// What an error from the guest means; none when it is not one.
fn end_of(store: &mut Store<Host>, error: &wasmtime::Error) -> Option<End> {
    if let Some(reason) = store.data_mut().caps.host_failure.take() {
        return Some(End::NoVerdict { reason });
    }
    if let Some(Exit(code)) = error.downcast_ref::<Exit>() {
        return Some(End::Exited { code: *code });
    }
    let trap = match error.downcast_ref::<Trap>()? {
        Trap::Interrupt => return Some(End::TimedOut),
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

/// Interrupts the guest when the wall clock runs out; ends with the run.
struct Watchdog {
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchdog {
    fn start(compiler: &wasmtime::Engine, wall_ms: u64) -> Self {
        // Nothing is ever sent: dropping the sender is the message.
        let (stop, stopped) = mpsc::sync_channel(0);
        let compiler = compiler.weak();
        let thread = std::thread::spawn(move || {
            if stopped.recv_timeout(Duration::from_millis(wall_ms)) == Err(mpsc::RecvTimeoutError::Timeout)
                && let Some(compiler) = compiler.upgrade()
            {
                compiler.increment_epoch();
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
