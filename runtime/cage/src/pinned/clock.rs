//! The logical clock: the only time a pinned program sees.
//!
//! Owns one number, nanoseconds since the run began. It moves by [`TICK`] for every trapped call and jumps to the
//! next deadline when every task waits; the host's clocks never enter. Invariant: it never goes back.

/// Nanoseconds that pass with every trapped call.
pub(crate) const TICK: u64 = 1_000;
/// What the monotonic clocks show when the run begins: programs treat zero as "never".
const UPTIME: u64 = 100_000_000_000;

/// Time as the program sees it.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Wall clock at the beginning, nanoseconds since 1970.
    epoch: u64,
    /// Nanoseconds since the beginning.
    now: u64,
}

impl Clock {
    /// A clock that starts at `epoch_ms` milliseconds since 1970.
    pub(crate) fn new(epoch_ms: u64) -> Self {
        Self { epoch: epoch_ms.saturating_mul(1_000_000), now: 0 }
    }

    /// Nanoseconds since the run began: the unit of every deadline.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// One trapped call has passed.
    pub(crate) fn tick(&mut self) {
        self.now += TICK;
    }

    /// Everybody waits: on to `deadline`, if that is in the future.
    pub(crate) fn advance_to(&mut self, deadline: u64) {
        self.now = self.now.max(deadline);
    }

    /// The wall clock, nanoseconds since 1970.
    pub(crate) fn real(&self) -> u64 {
        self.epoch + self.now
    }

    /// The wall clock at the beginning, nanoseconds since 1970.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The monotonic clocks, nanoseconds.
    pub(crate) fn monotonic(&self) -> u64 {
        UPTIME + self.now
    }

    /// What the clock `id` shows; `None` for a clock that does not exist. Processor time is logical time too: one
    /// processor that is never idle.
    pub(crate) fn read(&self, id: i32) -> Option<u64> {
        match id {
            libc::CLOCK_REALTIME
            | libc::CLOCK_REALTIME_COARSE
            | libc::CLOCK_REALTIME_ALARM
            | libc::CLOCK_TAI => Some(self.real()),
            libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME
            | libc::CLOCK_BOOTTIME_ALARM => Some(self.monotonic()),
            libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID => Some(self.now),
            id if id < 0 => Some(self.now), // processor time of some process or thread
            _ => None,
        }
    }

    /// The deadline (nanoseconds since the beginning) at which clock `id` shows `value`.
    pub(crate) fn deadline(&self, id: i32, value: u64) -> Option<u64> {
        let shown = self.read(id)?;
        Some(self.now.saturating_add(value.saturating_sub(shown)))
    }
}
