//! PLACEHOLDER: first slice, the kernel answers.

use super::{Outcome, Stop, Supervisor};
use crate::pinned::task::{Call, TaskId};

pub(super) fn handle(_cage: &mut Supervisor, _id: TaskId, _call: &Call) -> Result<Outcome, Stop> {
    Ok(Outcome::Native)
}

impl Supervisor {
    /// The next moment at which a timer fires.
    pub(in crate::pinned) fn next_timer(&self) -> Option<u64> {
        None
    }

    /// Fires the timers that are due.
    pub(in crate::pinned) fn fire_timers(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}
