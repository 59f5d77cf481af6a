//! The loop around a running cage: output to the logs, input to the program, clocks, samples and signals.
//!
//! Owns the decision how a cage ended. It refuses to end before the cage's first process has: by then the
//! kernel has killed everything else in the pid namespace, so nothing is left and no more output can come.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::cgroup::Slot;
use crate::launch::Running;
use crate::logs::Stream;
use crate::pinned::session::{self, Session};
use crate::report::{Exit, Report};
use crate::spec::CageSpec;
use crate::supervise::{DEFAULT_GRACE_MS, Ledger, supervise_error};
use crate::usage::{Integral, WRITE_EVERY};
use crate::{Error, output, sys};

/// How often memory is sampled.
const SAMPLE: Duration = Duration::from_millis(250);
/// How often a tracer is asked whether it gets on.
const NUDGE_MS: u64 = 100;
/// Buffer for both directions of the streams.
const BUFFER: usize = 64 << 10;
/// Buffers taken from one stream before the others get their turn.
const ROUNDS: usize = 16;

/// Who brought the end about, if not the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    No,
    ByClock,
    ByRequest,
}

/// Standard input on its way to the program.
struct Input {
    file: File,
    pipe: OwnedFd,
    buffer: Vec<u8>,
    from: usize,
}

/// Who reads the program's output.
pub(crate) enum Output {
    /// This loop.
    Streams(Box<[Stream; 2]>),
    /// The tracer, for whom it is a part of the run.
    Tracer(Session),
}

/// A running cage and everything that is watched about it.
pub(crate) struct Watch<'a> {
    spec: &'a CageSpec,
    slot: Option<Slot>,
    pid: i32,
    pidfd: OwnedFd,
    control: OwnedFd,
    upper: OwnedFd,
    user_namespace: OwnedFd,
    output: Option<Output>,
    input: Option<Input>,
    signals: OwnedFd,
    ledger: Ledger,
    deadline: Option<Instant>,
    kill_at: Option<Instant>,
    next_sample: Option<Instant>,
    next_write: Instant,
    killed: Killed,
    status: Option<i32>,
}

impl<'a> Watch<'a> {
    /// Takes over a cage that has just started.
    pub(crate) fn new(
        spec: &'a CageSpec,
        cage: Running,
        slot: Option<Slot>,
        output: Output,
        input: Option<File>,
        signals: OwnedFd,
        mut ledger: Ledger,
    ) -> Result<Self, Error> {
        let Running { pid, pidfd, control, stdin, upper, user_namespace, barriers, .. } = cage;
        ledger.barriers.list.extend(barriers.list);
        ledger.barriers.weaker.extend(barriers.weaker);
        let input = match input {
            None => None, // dropping the pipe is the end of file
            Some(file) => {
                sys::set_nonblocking(stdin.as_fd()).map_err(|e| supervise_error("write the input", e))?;
                Some(Input { file, pipe: stdin, buffer: Vec::new(), from: 0 })
            }
        };
        let deadline =
            (spec.limits.wall_ms > 0).then(|| ledger.started + Duration::from_millis(spec.limits.wall_ms));
        let next_sample = slot.is_some().then(|| Instant::now() + SAMPLE);
        Ok(Self {
            spec,
            slot,
            pid,
            pidfd,
            control,
            upper,
            user_namespace,
            output: Some(output),
            input,
            signals,
            ledger,
            deadline,
            kill_at: None,
            next_sample,
            next_write: Instant::now(),
            killed: Killed::No,
            status: None,
        })
    }

    /// Watches until everything in the cage has ended, and gives the account.
    pub(crate) fn into_report(mut self) -> Result<Report, Error> {
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let ready = self.wait()?;
            self.pump(&mut buffer, ROUNDS);
            if ready.signal {
                self.obey();
            }
            self.feed();
            self.keep_time();
            if ready.ended {
                break;
            }
        }
        self.hear();
        self.pump(&mut buffer, usize::MAX);
        self.account()
    }

    /// Waits for whatever comes first.
    fn wait(&self) -> Result<Ready, Error> {
        let entry = |fd: Option<BorrowedFd<'_>>, events| libc::pollfd {
            fd: fd.map_or(-1, |fd| fd.as_raw_fd()), // the kernel skips negative descriptors
            events,
            revents: 0,
        };
        let input = self.input.as_ref().map(|i| i.pipe.as_fd());
        let source = |index: usize| match &self.output {
            Some(Output::Streams(streams)) => streams[index].source(),
            _ => None,
        };
        let mut fds = [
            entry(Some(self.pidfd.as_fd()), libc::POLLIN),
            entry(Some(self.signals.as_fd()), libc::POLLIN),
            entry(source(0), libc::POLLIN),
            entry(source(1), libc::POLLIN),
            entry(input, libc::POLLOUT),
        ];
        let next = [self.deadline, self.kill_at, self.next_sample].into_iter().flatten().min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()).as_millis() as u64 + 1);
        let timeout = match self.output {
            Some(Output::Tracer(_)) => Some(timeout.map_or(NUDGE_MS, |ms| ms.min(NUDGE_MS))),
            _ => timeout,
        };
        sys::poll(&mut fds, timeout).map_err(|e| supervise_error("wait for the cage", e))?;
        let is_ready = |index: usize| fds[index].revents != 0;
        Ok(Ready { ended: is_ready(0), signal: is_ready(1) })
    }

    fn pump(&mut self, buffer: &mut [u8], rounds: usize) {
        if let Some(Output::Streams(streams)) = &mut self.output {
            streams.iter_mut().for_each(|stream| stream.pump(buffer, rounds));
        }
    }

    /// How the program ended, if its init lived to tell. Asked once the init has ended: waking up earlier would
    /// change nothing.
    fn hear(&mut self) {
        let mut packet = [0u8; 4];
        if let Ok((4, _)) = sys::receive(self.control.as_fd(), &mut packet) {
            self.status = Some(i32::from_le_bytes(packet));
        }
    }

    /// A stop request: ask, and remember when to insist.
    fn obey(&mut self) {
        let Ok((_, grace)) = sys::read_signal(self.signals.as_fd()) else { return };
        let grace = grace.map_or(DEFAULT_GRACE_MS, |ms| ms.max(0) as u64);
        self.killed = Killed::ByRequest;
        let kill_at = Instant::now() + Duration::from_millis(grace);
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        if let Some(Output::Tracer(_)) = self.output {
            // A signal from outside would come at no point of logical time: there is no asking, only an end.
            self.kill();
            return;
        }
        let _ = sys::pidfd_signal(self.pidfd.as_fd(), libc::SIGTERM, None); // it may just have ended
    }

    /// Gives the program as much input as it takes without waiting.
    fn feed(&mut self) {
        while let Some(input) = &mut self.input {
            if input.from == input.buffer.len() {
                input.buffer.resize(BUFFER, 0);
                let length = input.file.read(&mut input.buffer).unwrap_or(0);
                input.buffer.truncate(length);
                input.from = 0;
                if length == 0 {
                    self.input = None;
                    return;
                }
            }
            match sys::write(input.pipe.as_fd(), &input.buffer[input.from..]) {
                Ok(n) => input.from += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.input = None, // the program does not read any more
            }
        }
    }

    fn kill(&mut self) {
        let _ = sys::pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL, None); // it may just have ended
        if let Some(Output::Tracer(session)) = &self.output {
            session.abandon();
        }
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if let Some(Output::Tracer(session)) = &mut self.output {
            session.nudge();
        }
        if self.deadline.is_some_and(|at| now >= at) {
            self.deadline = None;
            self.killed = Killed::ByClock;
            self.kill();
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = None;
            self.kill();
        }
        if self.next_sample.is_some_and(|at| now >= at) {
            self.ledger.sample(self.slot.as_ref());
            self.next_sample = Some(now + SAMPLE);
            if now >= self.next_write {
                // A disk that refuses costs a meter its reading, never the workload.
                let integral = Integral { memory_mib_ms: self.ledger.memory_mib_ms() };
                let _ = integral.write(&self.spec.state_dir);
                self.next_write = now + WRITE_EVERY;
            }
        }
    }

    fn account(mut self) -> Result<Report, Error> {
        let (init, used) = sys::wait_for(self.pid).map_err(|e| supervise_error("reap the cage", e))?;
        self.ledger.sample(self.slot.as_ref());
        let mut exit = self.exit(init);
        let (out, err, traced) = match self.output.take().expect("the account is given once") {
            Output::Streams(streams) => {
                let [out, err] = *streams;
                (out, err, None)
            }
            Output::Tracer(session) => {
                let (finished, [out, err]) = session.join();
                match (&finished.status, self.killed) {
                    (_, Killed::ByRequest) => exit = Exit::NoVerdict("E_KILLED: stopped on request".into()),
                    (Err(stop), Killed::No) if exit != Exit::Oom => exit = Exit::NoVerdict(stop.to_string()),
                    _ => {}
                }
                (out, err, Some(finished))
            }
        };
        let tree = self.output_digest();
        if let Err(why) = &tree {
            self.ledger.barriers.weaker(format!("the output tree could not be read: {why}"));
        }
        let mut report = self.ledger.report(self.spec, exit);
        let of = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
        let cpu_us = self
            .slot
            .as_ref()
            .and_then(Slot::cpu_us)
            .unwrap_or_else(|| of(used.ru_utime) + of(used.ru_stime));
        report.usage.cpu_ms = cpu_us.div_ceil(1000);
        if report.usage.memory_mib_ms.is_none() {
            report.usage.max_memory_bytes = used.ru_maxrss as u64 * 1024;
        }
        report.output_digest = tree.ok();
        (report.stdout_bytes, report.stderr_bytes) = (out.total, err.total);
        report.output_dropped_bytes = out.dropped + err.dropped;
        (report.stdout_digest, report.stderr_digest) = (out.digest(), err.digest());
        if let Some(finished) = traced {
            session::conclude(self.spec, finished, &mut report)?;
        }
        Ok(report)
    }

    fn exit(&self, init: i32) -> Exit {
        let program = self.status.map(ExitStatus::from_raw);
        let killed_hard = program.is_none_or(|s| s.signal() == Some(libc::SIGKILL));
        match (self.killed, program) {
            (Killed::ByClock, None) => Exit::Timeout,
            (Killed::No, _) if killed_hard && self.slot.as_ref().is_some_and(Slot::oom_killed) => Exit::Oom,
            (_, Some(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
            },
            (_, None) => Exit::Signal(ExitStatus::from_raw(init).signal().unwrap_or(libc::SIGKILL)),
        }
    }

    /// Without root, only a process inside the user namespace may read every file that the cage made.
    fn output_digest(&self) -> Result<String, String> {
        if sys::euid() == 0 {
            return output::digest(self.upper.as_fd()).map_err(|e| e.to_string());
        }
        sys::in_child(|| {
            let digest = sys::setns(self.user_namespace.as_fd(), libc::CLONE_NEWUSER)
                .and_then(|()| output::digest(self.upper.as_fd()));
            match digest {
                Ok(digest) => format!("+{digest}"),
                Err(e) => format!("-{e}"),
            }
        })
        .map_err(|e| e.to_string())
        .and_then(|answer| match answer.strip_prefix('+') {
            Some(digest) => Ok(digest.to_owned()),
            None => Err(answer),
        })
    }
}

/// What has something to say.
struct Ready {
    ended: bool,
    signal: bool,
}
