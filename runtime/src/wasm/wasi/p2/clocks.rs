//! Owns `wasi:clocks`, `wasi:random` and `wasi:io/poll`: time is the logical clock, randomness is ChaCha20 keyed by
//! the seed (the insecure kinds on streams of their own), and waiting moves the clock. Refuses to wait for anything
//! but the clock: streams are always ready.

use rand_chacha::rand_core::Rng as _;
use wasmtime::component::{Linker, Resource};

use super::super::Host;
use super::super::system::TICK_NS;
use super::types::{Datetime, Pollable};
use super::{CALL_BYTES_MAX, Interface, misuse};

/// Pollables in one call of `poll`, as in preview 1.
const POLL_MAX: usize = 4096;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut poll = Interface::open(linker, "wasi:io/poll")?;
    poll.resource("pollable", Host::forget::<Pollable>)?;
    poll.call("[method]pollable.ready", |host, (this,): (Resource<Pollable>,)| host.is_ready(&this))?;
    poll.act("[method]pollable.block", |host, (this,): (Resource<Pollable>,)| host.block(&this))?;
    poll.call("poll", |host, (list,): (Vec<Resource<Pollable>>,)| host.poll(&list))?;

    let mut monotonic = Interface::open(linker, "wasi:clocks/monotonic-clock")?;
    monotonic.call("now", |host, (): ()| Ok(host.clock.elapsed_ns()))?;
    monotonic.call("resolution", |_, (): ()| Ok(TICK_NS))?;
    monotonic.call("subscribe-instant", |host, (when,): (u64,)| host.pollable(Some(when)))?;
    monotonic.call("subscribe-duration", |host, (length,): (u64,)| {
        host.pollable(Some(host.clock.elapsed_ns().saturating_add(length)))
    })?;

    let mut wall = Interface::open(linker, "wasi:clocks/wall-clock")?;
    wall.call("now", |host, (): ()| Ok(Datetime::from_ns(host.clock.realtime_ns())))?;
    wall.call("resolution", |_, (): ()| Ok(Datetime::from_ns(TICK_NS)))?;

    let mut random = Interface::open(linker, "wasi:random/random")?;
    random.call("get-random-bytes", |host, (length,): (u64,)| {
        let mut bytes = buffer(length)?;
        host.random.fill_bytes(&mut bytes);
        Ok(bytes)
    })?;
    random.call("get-random-u64", |host, (): ()| Ok(host.random.next_u64()))?;

    let mut insecure = Interface::open(linker, "wasi:random/insecure")?;
    insecure.call("get-insecure-random-bytes", |host, (length,): (u64,)| {
        let mut bytes = buffer(length)?;
        host.insecure.fill_bytes(&mut bytes);
        Ok(bytes)
    })?;
    insecure.call("get-insecure-random-u64", |host, (): ()| Ok(host.insecure.next_u64()))?;

    let mut seed = Interface::open(linker, "wasi:random/insecure-seed")?;
    seed.call("insecure-seed", |host, (): ()| Ok(host.insecure_seed))
}

fn buffer(length: u64) -> wasmtime::Result<Vec<u8>> {
    match usize::try_from(length).ok().filter(|length| *length <= CALL_BYTES_MAX) {
        Some(length) => Ok(vec![0; length]),
        None => misuse("more random bytes were asked for than one call can give"),
    }
}

impl Host {
    pub(super) fn pollable(&mut self, deadline_ns: Option<u64>) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.resources.push(Pollable { deadline_ns })?)
    }

    fn is_ready(&mut self, this: &Resource<Pollable>) -> wasmtime::Result<bool> {
        let deadline = self.resources.get(this)?.deadline_ns;
        Ok(deadline.is_none_or(|deadline| deadline <= self.clock.elapsed_ns()))
    }

    fn block(&mut self, this: &Resource<Pollable>) -> wasmtime::Result<()> {
        if let Some(deadline) = self.resources.get(this)?.deadline_ns {
            self.clock.wait_until(deadline);
        }
        Ok(())
    }

    /// Which of these are ready; when none is, the clock jumps to the earliest deadline first.
    fn poll(&mut self, list: &[Resource<Pollable>]) -> wasmtime::Result<Vec<u32>> {
        if list.is_empty() || list.len() > POLL_MAX {
            return misuse("poll takes between one and 4096 pollables");
        }
        let deadlines = list
            .iter()
            .map(|pollable| Ok(self.resources.get(pollable)?.deadline_ns.unwrap_or(0)))
            .collect::<wasmtime::Result<Vec<u64>>>()?;
        self.clock.wait_until(deadlines.iter().copied().min().unwrap_or(0));
        let now = self.clock.elapsed_ns();
        let ready = deadlines.iter().enumerate().filter(|(_, deadline)| **deadline <= now);
        Ok(ready.map(|(index, _)| index as u32).collect())
    }
}
