//! A pinned run beside the loop that watches its cage: the tracer's thread, its inputs, and what it leaves.
//!
//! Owns the thread (the kernel ties tracees to one) and the recording around it: the header before, inputs first,
//! the outcome after. It refuses to start when a witness cannot be written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::calls::outside::Outside;
use super::given::{Given, HOSTS};
use super::{Finished, Progress, Settings, Supervisor};
use crate::launch::Running;
use crate::logs::Stream;
use crate::report::{Report, Verdict};
use crate::spec::{CageSpec, Root};
use crate::witness::{Input, InputKind, Outcome, Recorder, RunHeader};
use crate::{Error, cpu, sys};

/// Version of what the supervisor shows to programs: raised whenever a program could tell the difference.
pub const CAGE_ABI: u32 = 1;

/// A tracer at work.
pub(crate) struct Session {
    thread: JoinHandle<(Finished, [Stream; 2])>,
    progress: Arc<Progress>,
    seen: u64,
}

fn fail(step: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |e| Error::launch(step, e)
}

/// Standard input of a pinned run: all of it, in memory, so that it is the same file whatever it came from.
pub(crate) fn input(bytes: &[u8]) -> Result<OwnedFd, Error> {
    sys::sealed_file(c"stdin", bytes).map_err(fail("prepare standard input"))
}

/// Everything needed to run again.
pub(super) fn header(spec: &CageSpec) -> Result<RunHeader, Error> {
    let limits = &spec.limits;
    let visible = [
        ("memory_bytes", limits.memory_bytes),
        ("nofile", limits.nofile),
        ("pids", limits.pids),
        ("tmpfs_bytes", limits.tmpfs_bytes),
        ("tmpfs_inodes", limits.tmpfs_inodes),
    ];
    Ok(RunHeader {
        image: spec.image.clone(),
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        hostname: spec.hostname.clone(),
        limits: visible.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<BTreeMap<_, _>>(),
        seed: spec.seed_bytes()?,
        epoch_ms: spec.epoch_ms,
        cage_abi: CAGE_ABI,
        cpu_class: cpu::class(),
        level: spec.level.name().to_owned(),
        kernel: sys::kernel(),
    })
}

/// Records what a run is given before it begins: the hosts that it may reach, and standard input.
fn begin(spec: &CageSpec, given: &Given, recorder: &mut Recorder) -> io::Result<()> {
    let hosts = spec.net.join("\n");
    let inputs =
        [(InputKind::Host, HOSTS, hosts.as_bytes()), (InputKind::Stdin, "stdin", given.stdin.as_slice())];
    for (kind, label, bytes) in inputs {
        if !bytes.is_empty() {
            recorder.input(&Input { kind, label, bytes, at_event: 0 })?;
        }
    }
    Ok(())
}

impl Session {
    /// Starts the tracer for a cage whose program waits for it.
    pub(crate) fn start(
        spec: &CageSpec,
        cage: &mut Running,
        given: Given,
        mut streams: [Stream; 2],
        output: [OwnedFd; 2],
    ) -> Result<Self, Error> {
        let Some((program, _)) = cage.traced else {
            return Err(Error::launch("trace the program", io::Error::other("nothing waits to be traced")));
        };
        let sockets = std::mem::take(&mut cage.sockets);
        let file = spec.witness.as_ref().map(File::create).transpose().map_err(fail("create the witness"))?;
        let mut recorder =
            Recorder::new(&header(spec)?, file, spec.witness_bytes).map_err(fail("begin the witness"))?;
        begin(spec, &given, &mut recorder).map_err(fail("record what the run is given"))?;
        let outside = Outside::new(&spec.net, given.recorded)
            .map_err(|why| Error::launch("prepare the connections outside", io::Error::other(why)))?;
        for (stream, source) in streams.iter_mut().zip(output) {
            stream.attach(source).map_err(fail("read the output"))?;
        }
        let settings = Settings {
            seed: spec.seed_bytes()?,
            epoch_ms: spec.epoch_ms,
            hostname: spec.hostname.clone(),
            disk: [spec.limits.tmpfs_bytes, spec.limits.tmpfs_inodes],
            local_root: local_root(spec).is_some(),
        };
        let progress = Arc::new(Progress::default());
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(fail("copy a descriptor of the cage"));
        let (control, init) = (copy(&cage.control)?, copy(&cage.pidfd)?);
        let shared = Arc::clone(&progress);
        let init_pid = cage.pid;
        sys::raise_descriptor_limit(); // one copy for every descriptor that a parked task waits for
        sys::interruptible_by(libc::SIGUSR1).map_err(fail("prepare to interrupt the tracer"))?;
        let trace = move || {
            shared.tracer.store(sys::thread_id(), Ordering::Release);
            let mut supervisor = Supervisor::new(settings, streams, recorder, shared, init_pid);
            supervisor.connect(sockets, outside);
            let finished = supervisor.run(program, || sys::send(control.as_fd(), b"go", None));
            if finished.0.status.is_err() {
                let _ = sys::pidfd_signal(init.as_fd(), libc::SIGKILL, None); // it may have ended already
            }
            finished
        };
        let thread = std::thread::Builder::new()
            .name("tracer".into())
            .spawn(trace)
            .map_err(fail("start the tracer"))?;
        Ok(Self { thread, progress, seen: 0 })
    }

    /// When the run has not got on since the last time: has the tracer look why.
    pub(crate) fn nudge(&mut self) {
        let now = self.progress.stops.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.seen, now) == now {
            self.interrupt();
        }
    }

    /// The cage has been killed: the tracer shall let go of it.
    pub(crate) fn abandon(&self) {
        self.progress.abandoned.store(true, Ordering::Release);
        self.interrupt();
    }

    fn interrupt(&self) {
        let tid = self.progress.tracer.load(Ordering::Acquire);
        if tid != 0 && !self.thread.is_finished() {
            sys::signal_thread(tid, libc::SIGUSR1);
        }
    }

    /// Waits for the tracer, which ends with the cage.
    pub(crate) fn join(self) -> (Finished, [Stream; 2]) {
        match self.thread.join() {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The root directory, when it is not an image that others can have too.
fn local_root(spec: &CageSpec) -> Option<&Path> {
    match &spec.root {
        Root::Dir { path } if spec.image.is_empty() => Some(path),
        _ => None,
    }
}

/// Completes the report with what was recorded.
pub(crate) fn conclude(spec: &CageSpec, finished: Finished, report: &mut Report) -> Result<(), Error> {
    let outcome = Outcome {
        exit: report.exit.clone(),
        stdout_digest: report.stdout_digest.clone(),
        stderr_digest: report.stderr_digest.clone(),
        output_digest: report.output_digest.clone(),
        logical_ns: finished.logical_ns,
    };
    let recorded = finished.recorder.finish(&outcome).map_err(fail("end the witness"))?;
    match &report.verdict {
        Verdict::Completed => report.level = spec.level.name().to_owned(),
        Verdict::NoVerdict(why) => report.downgraded.push(format!("not {}: {why}", spec.level.name())),
    }
    if let Some(root) = local_root(spec) {
        let digest = super::opened::digest(root, &finished.opened)
            .map_err(fail("digest the files that were opened"))?;
        report.opened_digest = Some(digest);
        report
            .weaker
            .push("root: a local directory, not an image: this run cannot be verified elsewhere".into());
    }
    report.seed = Some(spec.seed.clone());
    report.trace_hash = Some(recorded.trace_hash);
    report.trace_events = recorded.events;
    report.witness_root = Some(recorded.witness_root);
    report.witness_entries = recorded.entries;
    report.witness_bytes = recorded.bytes;
    report.logical_ns = Some(finished.logical_ns);
    report.downgraded.extend(finished.weaker);
    if spec.witness.is_some() && recorded.truncated {
        report
            .downgraded
            .push(format!("the witness reached its limit of {} bytes: not replayable", spec.witness_bytes));
    }
    Ok(())
}
