//! Who runs next.
//!
//! Owns parking, waking and the order of both: tasks that wait are looked at in the order in which they parked, ready
//! ones run first come, first served, and the clock moves on its own only when nobody can run. Nothing here looks at
//! the host's time or at which event the host saw first. When nobody will ever run again, the run ends.

use std::os::fd::AsRawFd;

use super::stopped::Stopped;
use super::task::{FutexKey, State, TaskId, Wait, Woken};
use super::{Stop, Supervisor};
use crate::sys;

impl Supervisor {
    /// Parks a task at the call it is in.
    pub(super) fn park(&mut self, id: TaskId, wait: Wait) -> Result<(), Stop> {
        self.next_parking += 1;
        let parked = self.next_parking;
        let task = self.task_mut(id);
        task.deadline = wait.deadline;
        task.state = State::Parked;
        task.parked = parked;
        task.wait = Some(wait);
        Ok(())
    }

    /// Makes a parked task ready.
    pub(super) fn wake(&mut self, id: TaskId, woken: Woken) {
        let task = self.task_mut(id);
        debug_assert_eq!(task.state, State::Parked, "only a parked task is woken");
        task.state = State::Ready;
        task.wait = None;
        task.woken = woken;
        self.ready.push_back(id);
    }

    /// The next task to run.
    pub(super) fn next(&mut self) -> Result<TaskId, Stop> {
        loop {
            self.wake_ready()?;
            while let Some(id) = self.ready.pop_front() {
                if self.tasks.get(&id).is_some_and(|t| t.state == State::Ready) && !self.held(id) {
                    return Ok(id);
                }
            }
            let deadlines = self.parked().into_iter().filter_map(|id| self.task(id).wait.as_ref()?.deadline);
            let timers = self.next_timer();
            match deadlines.chain(timers).min() {
                Some(deadline) if self.listens_outside() && self.await_outside(Some(deadline))? => {}
                Some(deadline) => self.clock.advance_to(deadline),
                None => self.nothing_left()?,
            }
        }
    }

    /// Its process was stopped by a signal.
    fn held(&mut self, id: TaskId) -> bool {
        if !self.process(id).stopped {
            return false;
        }
        self.task_mut(id).state = State::Stopped;
        true
    }

    fn nothing_left(&mut self) -> Result<(), Stop> {
        if self.await_outside(None)? {
            return Ok(());
        }
        let waiting: Vec<String> = self
            .tasks
            .iter()
            .map(|(id, t)| {
                let call = t.call.map(|c| crate::seccomp::name(c.number)).unwrap_or_default();
                format!("task {} in {call}", id.0)
            })
            .collect();
        Err(Stop::Unmodelled(format!(
            "E_DEADLOCK: every task waits and no timer is armed ({})",
            waiting.join(", ")
        )))
    }

    /// Parked tasks in the order of parking.
    pub(super) fn parked(&self) -> Vec<TaskId> {
        let mut list: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, t)| t.state == State::Parked)
            .map(|(id, t)| (t.parked, *id))
            .collect();
        list.sort_unstable();
        list.into_iter().map(|(_, id)| id).collect()
    }

    /// Wakes whatever has something to wake for: timers first, then signals, then descriptors and the rest.
    fn wake_ready(&mut self) -> Result<(), Stop> {
        self.fire_timers()?;
        if std::mem::take(&mut self.signals_dirty) {
            self.deliver_signals()?;
        }
        let parked = self.parked();
        if parked.is_empty() {
            return Ok(());
        }
        if self.any_dirty {
            self.connect_again()?;
        }
        self.settle_network()?;
        let ready = self.ready_descriptors(&parked)?;
        let any = std::mem::take(&mut self.any_dirty);
        let now = self.clock.now();
        for id in parked {
            let Some(wait) = self.tasks.get(&id).and_then(|t| t.wait.as_ref()) else { continue };
            let tid = self.task(id).tid;
            let released = wait.spin.as_ref().is_some_and(|spin| !spin.holds(&Stopped { tid }));
            if released || ready.contains(&id) || (any && wait.any) {
                self.wake(id, Woken::Ready);
            } else if wait.deadline.is_some_and(|at| at <= now) {
                self.wake(id, Woken::TimedOut);
            }
        }
        Ok(())
    }

    /// Which of the parked tasks have a ready descriptor, asked of the kernel at once.
    fn ready_descriptors(&self, parked: &[TaskId]) -> Result<Vec<TaskId>, Stop> {
        let mut owners = Vec::new();
        let mut fds = Vec::new();
        for id in parked {
            let Some(wait) = &self.task(*id).wait else { continue };
            for watched in &wait.descriptors {
                owners.push(*id);
                fds.push(libc::pollfd { fd: watched.fd.as_raw_fd(), events: watched.events, revents: 0 });
            }
        }
        if fds.is_empty() {
            return Ok(Vec::new());
        }
        sys::poll(&mut fds, Some(0)).map_err(|e| Stop::broken("poll", &e))?;
        let mut ready: Vec<TaskId> =
            fds.iter().zip(owners).filter(|(fd, _)| fd.revents != 0).map(|(_, id)| id).collect();
        ready.dedup();
        Ok(ready)
    }

    /// Wakes up to `count` tasks that wait for `key` under one of `bits`, in the order in which they came.
    pub(crate) fn wake_futex(&mut self, key: FutexKey, bits: u32, count: u64) -> u64 {
        let mut woken = 0;
        for id in self.parked() {
            if woken == count {
                break;
            }
            let waits = self.task(id).wait.as_ref().and_then(|w| w.futex);
            if waits.is_some_and(|(k, b)| k == key && b & bits != 0) {
                self.wake(id, Woken::Ready);
                woken += 1;
            }
        }
        woken
    }

    /// Moves up to `count` waiters of one futex to another.
    pub(crate) fn requeue_futex(&mut self, from: FutexKey, to: FutexKey, count: u64) -> u64 {
        let mut moved = 0;
        for id in self.parked() {
            if moved == count {
                break;
            }
            if let Some(wait) = &mut self.task_mut(id).wait
                && let Some((key, _)) = &mut wait.futex
                && *key == from
            {
                *key = to;
                moved += 1;
            }
        }
        moved
    }

    /// Some process has changed state: whoever waits for a child looks again.
    pub(super) fn tell_parents(&mut self) {
        for id in self.parked() {
            if self.task(id).wait.as_ref().is_some_and(|w| w.child) {
                self.wake(id, Woken::Ready);
            }
        }
    }
}
