//! Our own WASI 0.2: what a command component can ask of the world, answered from the spec alone.
//!
//! Owns the registration of the interfaces that `wasi:cli/command` imports, over the same clock, randomness,
//! filesystem and streams that preview 1 has (`Host`). Refuses host resources of any kind and every socket.
//! A handle that the guest does not hold, a write beyond what was permitted, or one resource too many ends the
//! guest with a trap, which is the same on every node.
//!
//! ```text
//! component ── wasi:io, cli, clocks, random, filesystem ──▶ Interface::call ─▶ gate ─▶ Host
//!           └─ wasi:sockets ─────────────────────────────▶ sockets: refused by type ─▶ gate
//! ```
//! Every call passes the gate: the clock ticks, the call runs, arguments and result go into the trace, fuel is paid.

mod cli;
mod clocks;
mod files;
mod paths;
mod sockets;
mod streams;
mod traced;
mod types;

use wasmtime::component::{
    Component, ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};
use wasmtime::{AsContextMut as _, StoreContextMut};

use super::calls::number_of;
use super::link::pay;
use super::{Exit, Host};
use traced::Traced;

/// The version that is implemented; components that ask for any other 0.2 are linked to it.
const VERSION: &str = "0.2.12";
/// Handles that exist at one time.
pub(crate) const RESOURCES_MAX: usize = 4096;
/// Bytes that one call can bring into the host.
pub(crate) const CALL_BYTES_MAX: usize = 16 << 20;

/// The guest broke an interface's rule that has no error of its own: it ends with a trap.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) &'static str);

/// Shorthand for a trap that is the guest's fault.
fn misuse<T>(why: &'static str) -> wasmtime::Result<T> {
    Err(wasmtime::Error::new(Misuse(why)))
}

/// Defines every interface that a command component can import.
pub(crate) fn link(linker: &mut Linker<Host>, component: &Component) -> wasmtime::Result<()> {
    streams::link(linker)?;
    clocks::link(linker)?;
    cli::link(linker)?;
    files::link(linker)?;
    paths::link(linker)?;
    sockets::link(linker, component)
}

/// One interface while its functions are registered.
struct Interface<'a> {
    name: &'static str,
    instance: LinkerInstance<'a, Host>,
}

impl<'a> Interface<'a> {
    fn open(linker: &'a mut Linker<Host>, name: &'static str) -> wasmtime::Result<Self> {
        Ok(Self { name, instance: linker.instance(&format!("{name}@{VERSION}"))? })
    }

    /// A function with a result.
    fn call<A, R>(
        &mut self,
        function: &'static str,
        body: impl Fn(&mut Host, A) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        A: ComponentNamedList + Lift + Traced + 'static,
        R: ComponentType + Lower + Traced + Send + Sync + 'static,
    {
        let number = number_of(self.name, function)?;
        self.instance.func_wrap(function, move |store: StoreContextMut<'_, Host>, arguments: A| {
            gate(store, number, arguments, &body).map(|result| (result,))
        })
    }

    /// A function without a result.
    fn act<A>(
        &mut self,
        function: &'static str,
        body: impl Fn(&mut Host, A) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>
    where
        A: ComponentNamedList + Lift + Traced + 'static,
    {
        let number = number_of(self.name, function)?;
        self.instance.func_wrap(function, move |store: StoreContextMut<'_, Host>, arguments: A| {
            gate(store, number, arguments, &body)
        })
    }

    /// A resource; `drop` runs when the guest gives up its handle.
    fn resource<T: 'static>(
        &mut self,
        name: &'static str,
        drop: impl Fn(&mut Host, Resource<T>) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        let number = number_of(self.name, name)?;
        self.instance.resource(name, ResourceType::host::<T>(), move |store, rep| {
            gate(store, number, (rep,), |host, (rep,)| drop(host, Resource::new_own(rep)))
        })
    }
}

/// What every call passes.
fn gate<A: Traced, R: Traced>(
    mut store: StoreContextMut<'_, Host>,
    number: u32,
    arguments: A,
    body: impl FnOnce(&mut Host, A) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let host = store.data_mut();
    host.enter();
    let mut sent = Vec::new();
    arguments.trace(&mut sent);
    let result = body(host, arguments);
    let mut answer = Vec::new();
    match &result {
        Ok(value) => value.trace(&mut answer),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(code)) => code.trace(&mut answer),
            None => answer.extend_from_slice(b"trap"),
        },
    }
    let moved = (sent.len() + answer.len()) as u64;
    host.record(number, &[], i64::from(result.is_err()), &[&sent, &answer]);
    pay(&mut store.as_context_mut(), moved)?;
    result
}

impl Host {
    /// Gives up a resource that owns nothing but its place in the table.
    fn forget<T: Send + 'static>(&mut self, resource: Resource<T>) -> wasmtime::Result<()> {
        self.resources.delete(resource)?;
        Ok(())
    }
}
