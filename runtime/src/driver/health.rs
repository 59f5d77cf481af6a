//! Owns the health of one service as the driver knows it: when to ask, and what was answered last.
//! Refuses to wait: a check runs on a thread of its own, at most one per cage at a time.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use metanode_cage::health::{Health, probe};
use metanode_types::workload::WorkloadKind;

use super::dir::Assignment;

/// How long one check may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Failed checks in a row before a service that was well counts as unwell.
const PATIENCE: u32 = 3;

#[derive(Default)]
pub(super) struct HealthWatch {
    last: Option<bool>,
    failed_in_a_row: u32,
    asked_ms: Option<u64>,
    running: Option<JoinHandle<bool>>,
}

impl HealthWatch {
    /// Collects an answer, asks again when it is time; returns the health when it became known or changed.
    pub(super) fn look(
        &mut self,
        assignment: &Assignment,
        run: &Path,
        now_ms: u64,
        every_ms: u64,
    ) -> Option<bool> {
        let WorkloadKind::Service { health: Some(check) } = &assignment.workload.kind else { return None };
        let mut changed = None;
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
            let answer = self.running.take().and_then(|thread| thread.join().ok()).unwrap_or(false);
            changed = self.judge(answer);
        }
        let due = self.asked_ms.is_none_or(|asked| now_ms < asked || now_ms - asked >= every_ms);
        if due && self.running.is_none() {
            self.asked_ms = Some(now_ms);
            let (run, port, path) = (run.to_path_buf(), check.port, check.path.clone());
            self.running = Some(std::thread::spawn(move || {
                matches!(probe(&run, port, path.as_deref(), TIMEOUT), Ok(Health::Healthy))
            }));
        }
        changed
    }

    fn judge(&mut self, answer: bool) -> Option<bool> {
        self.failed_in_a_row = if answer { 0 } else { self.failed_in_a_row + 1 };
        let now = answer || (self.last == Some(true) && self.failed_in_a_row < PATIENCE);
        (self.last.replace(now) != Some(now)).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_is_not_yet_bad_health() {
        let mut watch = HealthWatch::default();
        let told: Vec<_> = [false, true, false, false, true, false, false, false, false, true]
            .into_iter()
            .map(|answer| watch.judge(answer))
            .collect();
        let expected = [Some(false), Some(true), None, None, None, None, None, Some(false), None, Some(true)];
        assert_eq!(told, expected);
    }
}
