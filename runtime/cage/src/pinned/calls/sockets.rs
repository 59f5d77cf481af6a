//! PLACEHOLDER: first slice, the kernel answers.

use super::{Outcome, Stop, Supervisor};
use crate::pinned::task::{Call, TaskId};

pub(super) fn handle(_cage: &mut Supervisor, _id: TaskId, _call: &Call) -> Result<Outcome, Stop> {
    Ok(Outcome::Native)
}

impl Supervisor {
    /// Every task waits and no timer is armed: waits for something from outside the cage. False when nothing can
    /// come.
    pub(in crate::pinned) fn await_outside(&mut self) -> Result<bool, Stop> {
        Ok(false)
    }
}
