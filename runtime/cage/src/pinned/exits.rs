//! Executions and ends: of threads, of processes, of the run.
//!
//! Owns the order in which a dying process is reaped: its leader's end is told only after every other thread was
//! reaped, and until then the kernel holds up an execution or an exit. What a thread's end wakes (its clear-tid word,
//! its robust futexes) is worked out while its memory still exists and done when it has gone.

use super::random::{Purpose, Stream};
use super::task::{FutexKey, ProcessId, State, TaskId};
use super::{Stop, Supervisor, calls, memory};
use crate::sys::ptrace;

/// Robust futexes of one thread that are looked at, as the kernel does.
const ROBUST_LIMIT: usize = 2048;

impl Supervisor {
    /// The process has executed another program: a new address space, with what the kernel put there made repeatable.
    pub(super) fn executed(&mut self, id: TaskId) -> Result<(), Stop> {
        let space = self.new_space();
        let task = self.task_mut(id);
        task.space = space;
        task.clear_tid = 0;
        let process = task.process;
        self.executions += 1;
        self.rewrite_auxiliary(id)?;
        self.release_lender(process);
        calls::executed(self, id)
    }

    /// Takes the vDSO away (its clocks could not be trapped) and replaces the kernel's random bytes.
    fn rewrite_auxiliary(&mut self, id: TaskId) -> Result<(), Stop> {
        let tid = self.tid(id);
        let gone = |_| Stop::Broken("the new program's stack cannot be read".into());
        let registers = ptrace::registers(tid).map_err(|e| Stop::broken("read registers", &e))?;
        let mut at = registers.rsp;
        let [count] = memory::words::<1>(tid, at).map_err(gone)?;
        at += 8 * (count + 2);
        while memory::words::<1>(tid, at).map_err(gone)? != [0] {
            at += 8;
        }
        at += 8;
        loop {
            let [kind, value] = memory::words::<2>(tid, at).map_err(gone)?;
            match kind {
                libc::AT_NULL => return Ok(()),
                libc::AT_SYSINFO_EHDR => memory::write_words(tid, at, &[libc::AT_IGNORE]).map_err(gone)?,
                libc::AT_RANDOM => {
                    let mut bytes = [0; 16];
                    Stream::new(&self.settings.seed, Purpose::Execution, self.executions).fill(&mut bytes);
                    memory::write(tid, value, &bytes).map_err(gone)?;
                }
                _ => {}
            }
            at += 16;
        }
    }

    /// Makes an execution in a process with several threads: the kernel waits until the others were reaped.
    pub(crate) fn execute_program(&mut self, id: TaskId) -> Result<Option<i64>, Stop> {
        let call = self.task(id).call.expect("executions are calls");
        let others = self.siblings(id);
        if others.is_empty() {
            return self.execute(id, &call);
        }
        let fail = |e| Stop::broken("execute among threads", &e);
        let (tid, process) = (self.tid(id), self.task(id).process);
        let pid = self.process(id).pid;
        self.task_mut(id).inside = true;
        ptrace::resume_to_call(tid, 0).map_err(fail)?;
        loop {
            let Some((from, status)) = ptrace::wait_trace(-1, 0).map_err(fail)? else { continue };
            let executed = libc::WIFSTOPPED(status) && status >> 16 == libc::PTRACE_EVENT_EXEC;
            if executed && from == pid {
                self.forget_threads(process, id, pid);
                self.event(id, status)?;
                return self.execute_rest(id);
            }
            if from == tid {
                self.stash.entry(tid).or_default().push_back(status);
                return self.execute_rest(id); // it failed, or was killed
            }
            match self.by_tid.get(&from).copied().filter(|other| others.contains(other)) {
                Some(_) if libc::WIFSTOPPED(status) => ptrace::resume(from, 0).map_err(fail)?,
                Some(_) => {}
                None => self.stash.entry(from).or_default().push_back(status),
            }
        }
    }

    fn execute_rest(&mut self, id: TaskId) -> Result<Option<i64>, Stop> {
        let tid = self.tid(id);
        if self.stash.get(&tid).is_some_and(|s| !s.is_empty()) {
            let status = self.await_stop(tid)?;
            if libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 {
                return self.leave_call(id).map(Some);
            }
            self.event(id, status)?;
            return Ok(None);
        }
        self.finish_call(id)
    }

    /// After an execution among threads only the executing one is left, under the leader's id.
    fn forget_threads(&mut self, process: ProcessId, survivor: TaskId, pid: i32) {
        let gone: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(id, t)| t.process == process && **id != survivor)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(task) = self.tasks.remove(&id) {
                self.by_tid.remove(&task.tid);
            }
        }
        let task = self.task_mut(survivor);
        let old = std::mem::replace(&mut task.tid, pid);
        self.by_tid.remove(&old);
        self.by_tid.insert(pid, survivor);
        if let Some(process) = self.processes.get_mut(&process) {
            process.leader = survivor;
        }
    }

    /// Other tasks of the same process.
    fn siblings(&self, id: TaskId) -> Vec<TaskId> {
        let process = self.task(id).process;
        self.tasks
            .iter()
            .filter(|(other, t)| t.process == process && **other != id)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The task is about to end; its memory can still be read.
    pub(super) fn leaving(&mut self, id: TaskId) -> Result<(), Stop> {
        let alone = self.task(id).exits_alone;
        let siblings = self.siblings(id);
        let wakes = self.wakes_of(id);
        let tid = self.tid(id);
        self.resume_dying(tid)?;
        let leads = self.process(id).leader == id;
        let living = siblings.iter().any(|s| self.task(*s).state != State::Ended);
        if alone && living {
            if leads {
                self.await_zombie(tid);
                self.task_mut(id).state = State::Ended;
            } else {
                self.reap(id)?;
            }
            self.wake_all(&wakes);
            return Ok(());
        }
        let leader = self.process(id).leader;
        for other in siblings.into_iter().chain([id]).filter(|t| *t != leader) {
            self.reap(other)?;
        }
        let status = self.reap(leader)?;
        self.wake_all(&wakes);
        self.process_ended(leader, status)
    }

    fn resume_dying(&self, tid: i32) -> Result<(), Stop> {
        match ptrace::resume(tid, 0) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(Stop::broken("let a task end", &e)),
            _ => Ok(()), // ESRCH: it was killed and has gone on by itself
        }
    }

    /// Waits for the end of a task that is dying; its status.
    fn reap(&mut self, id: TaskId) -> Result<i32, Stop> {
        let tid = self.tid(id);
        loop {
            let status = self.await_stop(tid)?;
            if !libc::WIFSTOPPED(status) {
                self.by_tid.remove(&tid);
                if self.process(id).leader != id {
                    self.tasks.remove(&id);
                }
                return Ok(status);
            }
            self.resume_dying(tid)?;
        }
    }

    /// A leader that ended before its threads is not told about; it is a zombie as soon as it has gone.
    fn await_zombie(&self, tid: i32) {
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
            if matches!(state, None | Some('Z' | 'X')) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// A task ended without being seen leaving: something killed it.
    pub(super) fn ended(&mut self, id: TaskId, status: i32) -> Result<(), Stop> {
        let tid = self.tid(id);
        self.by_tid.remove(&tid);
        let leader = self.process(id).leader;
        if id != leader {
            self.tasks.remove(&id);
            return Ok(());
        }
        for other in self.siblings(id) {
            self.reap(other)?;
        }
        self.process_ended(id, status)
    }

    fn process_ended(&mut self, leader: TaskId, status: i32) -> Result<(), Stop> {
        let Some(task) = self.tasks.remove(&leader) else { return Ok(()) };
        self.release_lender(task.process);
        self.processes.remove(&task.process);
        for process in self.processes.values_mut().filter(|p| p.parent == Some(task.process)) {
            process.parent = None;
        }
        if task.process == ProcessId(1) {
            self.ending = Some(status);
        }
        self.tell_parents();
        self.stir(true);
        calls::process_ended(self, task.process)
    }

    /// The futexes that the end of a task wakes.
    fn wakes_of(&mut self, id: TaskId) -> Vec<FutexKey> {
        let task = self.task(id);
        let (tid, clear) = (task.tid, task.clear_tid);
        let mut addresses = Vec::new();
        if clear != 0 {
            addresses.push(clear);
        }
        if let Ok(head) = ptrace::robust_list(tid)
            && head != 0
            && let Ok([first, offset, pending]) = memory::words::<3>(tid, head)
        {
            let mut entry = first;
            for _ in 0..ROBUST_LIMIT {
                if entry & !1 == head {
                    break;
                }
                addresses.push((entry & !1).wrapping_add(offset));
                match memory::words::<1>(tid, entry & !1) {
                    Ok([next]) => entry = next,
                    Err(_) => break,
                }
            }
            if pending & !1 != 0 {
                addresses.push((pending & !1).wrapping_add(offset));
            }
        }
        addresses.into_iter().map(|address| calls::futex::key(self, id, address, false)).collect()
    }

    fn wake_all(&mut self, keys: &[FutexKey]) {
        for key in keys {
            self.wake_futex(*key, u32::MAX, 1);
        }
    }
}
