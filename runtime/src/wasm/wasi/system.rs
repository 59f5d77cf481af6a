//! Owns the calls about the process itself: arguments, environment, clocks, randomness, waiting. Refuses every host
//! source: the clock is logical (one microsecond per host call, and it jumps over sleeps), randomness is ChaCha20
//! keyed by the seed, and every descriptor is always ready.

use rand_chacha::rand_core::Rng as _;

use super::Host;
use super::abi::{EVENT_BYTES, Errno, Guest, Outcome, SUBSCRIPTION_BYTES};

/// What every host call adds to the clock.
pub(crate) const TICK_NS: u64 = 1000;
/// Subscriptions in one `poll_oneoff`.
const SUBSCRIPTIONS_MAX: u32 = 4096;

/// Time as the guest sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch_ns: u64,
    elapsed_ns: u64,
}

impl Clock {
    pub(crate) fn new(epoch_ns: u64) -> Self {
        Self { epoch_ns, elapsed_ns: 0 }
    }

    pub(crate) fn tick(&mut self) {
        self.elapsed_ns = self.elapsed_ns.saturating_add(TICK_NS);
    }

    /// Waiting costs no time but the clock's.
    pub(crate) fn wait_until(&mut self, deadline_ns: u64) {
        self.elapsed_ns = self.elapsed_ns.max(deadline_ns);
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }

    pub(crate) fn realtime_ns(&self) -> u64 {
        self.epoch_ns.saturating_add(self.elapsed_ns)
    }

    /// Clock 0 is the wall clock; 1, 2 and 3 (monotonic, process and thread CPU time) are all the logical clock.
    fn read(&self, id: u32) -> Outcome<u64> {
        match id {
            0 => Ok(self.realtime_ns()),
            1..=3 => Ok(self.elapsed_ns),
            _ => Err(Errno::Inval),
        }
    }
}

impl Host {
    pub(crate) fn strings_sizes(
        guest: &mut Guest<'_>,
        strings: &[Vec<u8>],
        count: u32,
        bytes: u32,
    ) -> Outcome {
        let total: usize = strings.iter().map(|text| text.len() + 1).sum();
        guest.write_u32(count, u32::try_from(strings.len()).map_err(|_| Errno::Inval)?)?;
        guest.write_u32(bytes, u32::try_from(total).map_err(|_| Errno::Inval)?)
    }

    pub(crate) fn strings_get(
        guest: &mut Guest<'_>,
        strings: &[Vec<u8>],
        pointers: u32,
        buffer: u32,
    ) -> Outcome {
        let (mut pointer, mut at) = (pointers, buffer);
        for text in strings {
            guest.write_u32(pointer, at)?;
            guest.write(at, text)?;
            let end = u32::try_from(text.len())
                .ok()
                .and_then(|length| at.checked_add(length))
                .ok_or(Errno::Fault)?;
            guest.write(end, &[0])?;
            at = end.checked_add(1).ok_or(Errno::Fault)?;
            pointer = pointer.checked_add(4).ok_or(Errno::Fault)?;
        }
        Ok(())
    }

    pub(crate) fn clock_res_get(&mut self, guest: &mut Guest<'_>, id: u32, out: u32) -> Outcome {
        self.clock.read(id)?;
        guest.write_u64(out, TICK_NS)
    }

    pub(crate) fn clock_time_get(&mut self, guest: &mut Guest<'_>, id: u32, out: u32) -> Outcome {
        let now = self.clock.read(id)?;
        guest.write_u64(out, now)
    }

    pub(crate) fn random_get(&mut self, guest: &mut Guest<'_>, buffer: u32, length: u32) -> Outcome {
        self.random.fill_bytes(guest.slice_mut(buffer, length)?);
        Ok(())
    }

    /// Waits: descriptors are ready at once, clocks are due when the logical clock says so. When only clocks are
    /// asked about, the logical clock jumps to the earliest deadline.
    pub(crate) fn poll_oneoff(
        &mut self,
        guest: &mut Guest<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
        out: u32,
    ) -> Outcome {
        if count == 0 || count > SUBSCRIPTIONS_MAX {
            return Err(Errno::Inval);
        }
        let mut waits = Vec::with_capacity(count as usize);
        for index in 0..count {
            let at = subscriptions.checked_add(index * SUBSCRIPTION_BYTES).ok_or(Errno::Fault)?;
            let bytes = guest.read(at, SUBSCRIPTION_BYTES)?;
            let bytes: [u8; 48] = bytes.try_into().expect("as many bytes were read");
            waits.push(self.parse_subscription(&bytes));
        }
        let earliest = waits.iter().filter_map(|wait| wait.deadline_ns).min();
        if let Some(earliest) = earliest.filter(|_| waits.iter().all(|wait| wait.deadline_ns.is_some())) {
            self.clock.wait_until(earliest);
        }
        let mut ready = 0_u32;
        for wait in waits {
            if wait.deadline_ns.is_none_or(|deadline| deadline <= self.clock.elapsed_ns) {
                let at = events.checked_add(ready * EVENT_BYTES).ok_or(Errno::Fault)?;
                guest.write(at, &wait.event)?;
                ready += 1;
            }
        }
        guest.write_u32(out, ready)
    }

    fn parse_subscription(&mut self, bytes: &[u8; 48]) -> Wait {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let small = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let kind = bytes[8];
        let mut event = [0; 32];
        event[..8].copy_from_slice(&bytes[..8]);
        event[10] = kind;
        let mut fail = |errno: Errno| {
            event[8..10].copy_from_slice(&(errno as u16).to_le_bytes());
            Wait { deadline_ns: None, event }
        };
        match kind {
            0 => {
                let (id, timeout, absolute) = (small(16), number(24), bytes[40] & 1 == 1);
                let Ok(now) = self.clock.read(id) else { return fail(Errno::Inval) };
                let wait_ns = if absolute { timeout.saturating_sub(now) } else { timeout };
                Wait { deadline_ns: Some(self.clock.elapsed_ns.saturating_add(wait_ns)), event }
            }
            1 | 2 => {
                if self.descriptor(small(16)).is_err() {
                    return fail(Errno::Badf);
                }
                // At least one byte can be moved without waiting; how many is not promised.
                event[16..24].copy_from_slice(&1_u64.to_le_bytes());
                Wait { deadline_ns: None, event }
            }
            _ => fail(Errno::Inval),
        }
    }
}

struct Wait {
    /// When a clock is due; none for what is ready at once.
    deadline_ns: Option<u64>,
    event: [u8; 32],
}
