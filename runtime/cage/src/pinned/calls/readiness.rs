//! PLACEHOLDER: first slice, the kernel answers.

use super::{Outcome, Stop, Supervisor};
use crate::pinned::task::{Call, TaskId};

pub(super) fn handle(_cage: &mut Supervisor, _id: TaskId, _call: &Call) -> Result<Outcome, Stop> {
    Ok(Outcome::Native)
}
