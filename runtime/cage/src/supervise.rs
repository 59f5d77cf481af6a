//! One cage from specification to report, in one process.
//!
//! Owns the state directory and the ledger that becomes the report; the loop in between is in `watch`. The
//! cage cannot outlive this process (parent-death signal), and this process ends only when everything in the
//! cage has ended. SIGTERM, SIGINT or SIGHUP here asks the program to stop and kills it after a grace period.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use crate::cgroup::{self, Slot};
use crate::launch;
use crate::logs::Stream;
use crate::pinned::given::Given;
use crate::pinned::session::Session;
use crate::record::{self, Process, Record};
use crate::report::{Barriers, Disk, Exit, Report, Usage, Verdict};
use crate::spec::{CageSpec, Level};
use crate::usage::USAGE_FILE;
use crate::watch::{Output, Watch};
use crate::{Entry, Error, cpu, sys};

/// Grace between SIGTERM and SIGKILL when the stop request names none.
pub const DEFAULT_GRACE_MS: u64 = 10_000;
/// Signals that ask for a stop.
const STOP_SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Runs one cage to its end and leaves the report in its state directory. `running` is called when the
/// program runs.
///
/// A cage that could not be launched has a report too; an error means that not even that could be written.
/// The caller has the report when this returns, so the file does not wait for the disk; that of a detached
/// cage, which nobody else has, does.
pub fn supervise(spec: &CageSpec, entry: Entry<'_>, running: impl FnOnce(&Record)) -> Result<Report, Error> {
    supervise_to(spec, entry, Disk::Whenever, running)
}

fn supervise_to(
    spec: &CageSpec,
    entry: Entry<'_>,
    disk: Disk,
    running: impl FnOnce(&Record),
) -> Result<Report, Error> {
    spec.validate(matches!(entry, Entry::Exec))?;
    prepare_state(&spec.state_dir)?;
    let stops = sys::signal_set(&STOP_SIGNALS);
    let before = sys::set_signal_mask(&stops).map_err(|e| Error::launch("block signals", e))?;
    let result = run(spec, entry, &stops, running);
    let _ = sys::set_signal_mask(&before);
    let report = result?;
    report.write(&spec.state_dir, disk)?;
    Ok(report)
}

/// An empty state directory: what an earlier cage of this name left is removed, or its report could be taken
/// for ours.
fn prepare_state(dir: &Path) -> Result<(), Error> {
    let fail = |source| Error::WriteState { path: dir.into(), source };
    // A supervisor has one thread and one cage at a time: this process itself is running none.
    if let Ok(record) = Record::read(dir)
        && record.supervisor.pid != std::process::id() as i32
        && record.supervised()
    {
        return Err(fail(io::Error::new(io::ErrorKind::AlreadyExists, "a cage is running there")));
    }
    std::fs::create_dir_all(dir).map_err(fail)?;
    for name in ["report.json", "cage.json", USAGE_FILE, "stdout.log.1", "stderr.log.1"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
            _ => {}
        }
    }
    Ok(())
}

fn run(
    spec: &CageSpec,
    entry: Entry<'_>,
    stops: &libc::sigset_t,
    running: impl FnOnce(&Record),
) -> Result<Report, Error> {
    let mut ledger = Ledger::new();
    let input = match spec.stdin.as_ref().map(File::open).transpose() {
        Ok(input) => input,
        Err(source) => {
            return Ok(ledger.failed(spec, &Error::launch("open the file for standard input", source)));
        }
    };
    let mut slot = if sys::euid() == 0 { acquire(spec, &mut ledger.barriers)? } else { None };
    let mut record = None;
    let mut streams = None;
    let pinned = spec.level == Level::Pinned;
    let given = match Given::of(spec) {
        Ok(given) => given,
        Err(error) => return Ok(ledger.failed(spec, &error)),
    };
    let stdin = if pinned { Some(given.descriptor()?) } else { None };
    if pinned {
        // Supervisor and program take turns: on two processors every stop would cost several times as much.
        sys::ptrace::stay_on_one_processor().map_err(|e| Error::launch("choose a processor", e))?;
    }
    let launched = launch::launch(spec, entry, slot.as_ref(), stdin, |pid| {
        record = Some(write_record(spec, pid, ledger.started_ms, slot.as_ref())?);
        let open = |name: &str| Stream::create(&spec.state_dir, name, spec.limits.output_bytes);
        streams = Some([open("stdout.log")?, open("stderr.log")?]);
        ledger.describe_machine();
        Ok(())
    });
    match (launched, record, streams) {
        (Ok(mut cage), Some(record), Some(streams)) => {
            let tasks: Vec<i32> = cage.traced.iter().map(|(pid, _)| *pid).chain([cage.pid]).collect();
            if let Some(slot) = slot.as_mut().filter(|_| pinned)
                && let Err(e) = slot.join(&tasks)
            {
                ledger
                    .barriers
                    .weaker(format!("what the supervisor allocates for the cage is not bounded: {e}"));
            }
            let output = match read_output(spec, &mut cage, given, streams)? {
                Ok(output) => output,
                Err(error) => return Ok(ledger.failed(spec, &error)),
            };
            running(&record);
            let signals =
                sys::signal_descriptor(stops).map_err(|e| supervise_error("listen for signals", e))?;
            let input = input.filter(|_| !pinned);
            Watch::new(spec, cage, slot, output, input, signals, ledger)?.into_report()
        }
        (Err(error), ..) => Ok(ledger.failed(spec, &error)),
        (Ok(_), ..) => unreachable!("a successful launch has written its record"),
    }
}

/// Attaches whoever reads the output: for a pinned run the tracer, which the program waits for. The inner error is
/// that of a program that could not be executed; nothing is left running then.
fn read_output(
    spec: &CageSpec,
    cage: &mut launch::Running,
    given: Given,
    mut streams: [Stream; 2],
) -> Result<Result<Output, Error>, Error> {
    let copy = |fd: &OwnedFd| fd.try_clone().map_err(|e| supervise_error("read the output", e));
    let pipes = [copy(&cage.stdout)?, copy(&cage.stderr)?];
    if spec.level == Level::Pinned {
        let session = Session::start(spec, cage, given, streams, pipes)?;
        let Some((_, status)) = cage.traced.take() else { return Ok(Ok(Output::Tracer(session))) };
        return Ok(match launch::await_program(&status) {
            Ok(()) => Ok(Output::Tracer(session)),
            Err(error) => {
                session.join();
                sys::wait_for(cage.pid).map_err(|e| supervise_error("reap the cage", e))?;
                Err(error)
            }
        });
    }
    for (stream, source) in streams.iter_mut().zip(pipes) {
        stream.attach(source).map_err(|e| supervise_error("read the output", e))?;
    }
    Ok(Ok(Output::Streams(Box::new(streams))))
}

pub(crate) fn supervise_error(step: &'static str, source: io::Error) -> Error {
    Error::Supervise { step, source }
}

/// A slot of the pool, or none where this machine offers no usable control groups.
fn acquire(spec: &CageSpec, barriers: &mut Barriers) -> Result<Option<Slot>, Error> {
    match cgroup::acquire(&spec.limits, &mut barriers.weaker) {
        Ok(slot) => Ok(Some(slot)),
        Err(error) => {
            barriers.weaker(format!("no control groups: {error}"));
            Ok(None)
        }
    }
}

fn write_record(spec: &CageSpec, pid: i32, started_ms: u64, slot: Option<&Slot>) -> Result<Record, Error> {
    let gone = || Error::launch("find the cage's processes", io::Error::from_raw_os_error(libc::ESRCH));
    let record = Record {
        id: spec.id.clone(),
        supervisor: Process::find(std::process::id() as i32).ok_or_else(gone)?,
        init: Process::find(pid).ok_or_else(gone)?,
        boot_id: record::boot_id(),
        started_ms,
        cgroups: slot.map(Slot::paths).unwrap_or_default(),
        cpu_before_us: slot.map_or(0, |s| s.cpu_before_us),
    };
    record.write(&spec.state_dir)?;
    Ok(record)
}

/// What an end says about the program: nothing, when the host's clock, its memory or an operator brought it about.
fn verdict(exit: &Exit) -> Verdict {
    match exit {
        Exit::Code(_) | Exit::Signal(_) => Verdict::Completed,
        Exit::Timeout => Verdict::NoVerdict("E_KILLED: the wall-clock limit passed".into()),
        Exit::Oom => Verdict::NoVerdict("E_KILLED: out of memory".into()),
        Exit::LaunchError(why) => Verdict::NoVerdict(format!("E_LAUNCH: {why}")),
        Exit::NoVerdict(why) => Verdict::NoVerdict(why.clone()),
    }
}

/// What accumulates into the report.
pub(crate) struct Ledger {
    started_ms: u64,
    /// When the launch began.
    pub started: Instant,
    /// Walls and weaknesses so far.
    pub barriers: Barriers,
    peak: u64,
    byte_ms: Option<u128>,
    last_sample: Instant,
    kernel: String,
    cpu_class: String,
}

impl Ledger {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            started_ms: sys::now_ms(),
            started: now,
            barriers: Barriers::default(),
            peak: 0,
            byte_ms: None,
            last_sample: now,
            kernel: String::new(),
            cpu_class: String::new(),
        }
    }

    /// Notes what the cage runs on. Slow in a virtual machine, so done while the cage builds its walls.
    fn describe_machine(&mut self) {
        self.kernel = sys::kernel();
        self.cpu_class = cpu::class();
    }

    /// Adds one interval: its peak times its length.
    pub(crate) fn sample(&mut self, slot: Option<&Slot>) {
        let now = Instant::now();
        if let Some(bytes) = slot.and_then(Slot::memory_sample) {
            let length = now.duration_since(self.last_sample).as_micros();
            self.peak = self.peak.max(bytes);
            *self.byte_ms.get_or_insert(0) += u128::from(bytes) * length / 1000;
        }
        self.last_sample = now;
    }

    /// The memory integral so far; none without a memory cgroup.
    pub(crate) fn memory_mib_ms(&self) -> Option<u64> {
        self.byte_ms.map(|sum| u64::try_from(sum.div_ceil(1 << 20)).unwrap_or(u64::MAX))
    }

    pub(crate) fn report(self, spec: &CageSpec, exit: Exit) -> Report {
        let empty = sys::hex(&<sha2::Sha256 as sha2::Digest>::digest(b""));
        Report {
            id: spec.id.clone(),
            level: Level::Contained.name().into(),
            verdict: verdict(&exit),
            exit,
            seed: None,
            trace_hash: None,
            trace_events: 0,
            witness_root: None,
            witness_entries: 0,
            witness_bytes: 0,
            logical_ns: None,
            fuel: None,
            downgraded: Vec::new(),
            started_ms: self.started_ms,
            ended_ms: sys::now_ms(),
            usage: Usage {
                cpu_ms: 0,
                max_memory_bytes: self.peak,
                memory_mib_ms: self.memory_mib_ms(),
                wall_ms: self.started.elapsed().as_millis() as u64,
            },
            stdout_digest: empty.clone(),
            stderr_digest: empty,
            stdout_bytes: 0,
            stderr_bytes: 0,
            output_dropped_bytes: 0,
            output_digest: None,
            opened_digest: None,
            barriers: self.barriers.list,
            weaker: self.barriers.weaker,
            kernel: self.kernel,
            cpu_class: self.cpu_class,
        }
    }

    fn failed(mut self, spec: &CageSpec, error: &Error) -> Report {
        self.describe_machine();
        self.report(spec, Exit::LaunchError(error.to_string()))
    }
}

/// Starts a cage under a supervisor of its own, detached from this process, and returns once its program
/// runs.
///
/// The supervisor is a grandchild in a new session with all standard streams on the null device, so it
/// outlives the caller. Must be called by a single-threaded process: programs with threads run the binary's
/// `start` instead.
pub fn start_detached(spec: &CageSpec) -> Result<Record, Error> {
    spec.validate(true)?;
    launch::require_one_thread()?;
    let failed = |source| Error::launch("detach the supervisor", source);
    let (reader, writer) = sys::pipe().map_err(failed)?;
    let Some(pid) = sys::fork().map_err(failed)? else {
        drop(reader);
        sys::setsid();
        match sys::fork() {
            Ok(None) => supervise_alone(spec, writer),
            Ok(Some(_)) => sys::exit_now(0),
            Err(_) => sys::exit_now(1),
        }
    };
    drop(writer);
    sys::wait_for(pid).map_err(failed)?;
    let mut answer = String::new();
    io::Read::read_to_string(&mut File::from(reader), &mut answer).map_err(failed)?;
    match answer.strip_prefix('+') {
        Some(record) => {
            serde_json::from_str(record).map_err(|source| Error::ParseState { path: "(pipe)".into(), source })
        }
        None => Err(Error::launch(
            answer.trim_start_matches('-').to_owned(),
            io::Error::other("nothing was left running"),
        )),
    }
}

/// The detached supervisor: tells the caller how the launch went, then watches to the end.
fn supervise_alone(spec: &CageSpec, writer: std::os::fd::OwnedFd) -> ! {
    use std::cell::Cell;
    use std::io::Write;
    let teller = Cell::new(Some(File::from(writer)));
    let tell = |text: String| {
        if let Some(mut pipe) = teller.take() {
            let _ = pipe.write_all(text.as_bytes()); // a caller that is gone needs no answer
        }
    };
    if let Err(e) = sys::silence_standard_streams() {
        tell(format!("-{e}"));
        sys::exit_now(125)
    }
    let outcome = supervise_to(spec, Entry::Exec, Disk::Now, |record| {
        tell(serde_json::to_string(record).map_or_else(|e| format!("-{e}"), |text| format!("+{text}")));
    });
    match outcome {
        Ok(Report { exit: Exit::LaunchError(why), .. }) => tell(format!("-{why}")),
        Err(e) => tell(format!("-{e}")),
        Ok(_) => {}
    }
    sys::exit_now(0)
}
