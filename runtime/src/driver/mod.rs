//! The driver: makes the planner's plans so, with real cages, and says what it saw.
//!
//! Owns `HOME/data/cages`: a directory per cage, its shim process, its end. Synchronous; called from one thread,
//! again and again: `step` looks, plans, acts and returns observations. Nothing in it waits for a cage: stops and
//! health checks run on threads of their own.
//!
//! Refuses to depend on its own memory: all that matters is on disk or in the kernel, so a driver that starts over
//! adopts every cage that still runs, reports every end that was not reported, and leaks none. Refuses to share its
//! directory with another driver.

mod account;
mod dir;
mod health;
mod launch;
mod logs;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::JoinHandle;

use metanode_cage::{Exit, Record, Report};
use metanode_types::cage_report::CageReport;
use metanode_types::workload::ImageRef;

use crate::error::{AtPath, Error, Result};
use crate::image::ImageStore;
use crate::reconcile::{Action, CageKey, Desired, Observed, Phase, Wanted, count_failures, plan};
pub use account::{inputs_digest, machine_class, report_of};
pub use dir::Assignment;
use dir::{CageDir, Progress};
use health::HealthWatch;
pub use launch::{Execution, execution};
pub use logs::LogStream;

/// How often an end that the ledger does not have yet is told again.
const REPORT_AGAIN_MS: u64 = 10_000;

/// What a driver needs to know.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Directory of the cages; made if missing.
    pub cages: PathBuf,
    /// Where images are.
    pub images: ImageStore,
    /// The `metanode-cage` executable.
    pub cage_binary: PathBuf,
    /// Program and first arguments of the WASM shim; `--spec FILE` is added.
    pub wasm_command: Vec<OsString>,
    /// Bytes kept of each output stream of a cage.
    pub output_bytes: u64,
    /// How long a service may take to end by itself when stopped.
    pub stop_grace_ms: u64,
    /// Pause between health checks.
    pub health_every_ms: u64,
}

impl DriverConfig {
    /// The usual configuration: executables beside this one, or where `METANODE_CAGE` says.
    pub fn new(cages: &Path, images: ImageStore) -> Result<Self> {
        let own = std::env::current_exe().at("find", Path::new("this executable"))?;
        Ok(Self {
            cages: cages.to_path_buf(),
            images,
            cage_binary: cage_binary()?,
            wasm_command: vec![own.into(), "__wasm".into()],
            output_bytes: 4 << 20,
            stop_grace_ms: 10_000,
            health_every_ms: 2_000,
        })
    }
}

/// The `metanode-cage` executable: what `METANODE_CAGE` names, else beside this one.
pub fn cage_binary() -> Result<PathBuf> {
    match std::env::var_os("METANODE_CAGE") {
        Some(path) => Ok(path.into()),
        None => {
            let own = std::env::current_exe().at("find", Path::new("this executable"))?;
            Ok(own.with_file_name("metanode-cage"))
        }
    }
}

/// What the driver saw, to be told to the ledger or the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The cage's program runs.
    Started {
        /// The execution.
        key: CageKey,
        /// Starts before this one.
        restarts: u32,
    },
    /// A cage that ran on while the node was away is watched again.
    Adopted {
        /// The execution.
        key: CageKey,
    },
    /// The cage ended. Told again until [`Driver::acknowledge`].
    Ended {
        /// The execution.
        key: CageKey,
        /// What it measured.
        report: Box<CageReport>,
        /// Starts after the first.
        restarts: u32,
    },
    /// The cage could not be started, or failed as a cage. Told again until [`Driver::acknowledge`].
    Refused {
        /// The execution.
        key: CageKey,
        /// Starts after the first.
        restarts: u32,
        /// Why.
        reason: String,
    },
    /// A service's health is known for the first time, or changed.
    Health {
        /// The execution.
        key: CageKey,
        /// Whether the check passes.
        is_healthy: bool,
    },
    /// The image is not here: fetch it, then the next step starts the cage.
    NeedsImage {
        /// The execution.
        key: CageKey,
        /// The image.
        image: ImageRef,
    },
    /// An action failed for a reason of this machine; it is tried again.
    Failed {
        /// The execution.
        key: CageKey,
        /// Why.
        reason: String,
    },
}

struct Cage {
    assignment: Assignment,
    dir: CageDir,
    progress: Progress,
    is_live: bool,
    is_adopted: bool,
    is_started_told: bool,
    told_ms: Option<u64>,
    child: Option<Child>,
    stopper: Option<JoinHandle<()>>,
    health: HealthWatch,
}

/// Runs cages for one node.
pub struct Driver {
    config: DriverConfig,
    cages: BTreeMap<CageKey, Cage>,
    // Dropped with the driver; the kernel releases it when the node dies.
    _lock: File,
}

impl Driver {
    /// Takes charge of the cages below `config.cages`, whatever state they are in.
    pub fn new(config: DriverConfig) -> Result<Self> {
        std::fs::create_dir_all(&config.cages).at("create", &config.cages)?;
        let path = config.cages.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        if lock.try_lock().is_err() {
            let reason = "another process drives the cages there".to_owned();
            let cage = config.cages.display().to_string();
            return Err(Error::DriveCage { intent: "take charge of", cage, reason });
        }
        let mut cages = BTreeMap::new();
        for (assignment, dir) in dir::scan(&config.cages)? {
            let progress = dir.progress()?;
            let is_live = dir.has_shim()?;
            let cage = Cage::new(assignment, dir, progress, is_live);
            cages.insert(cage.assignment.key(), cage);
        }
        Ok(Self { config, cages, _lock: lock })
    }

    /// Looks at every cage, plans, acts. `desired`: the assignments of the newest final state, or none while unknown.
    pub fn step(&mut self, now_ms: u64, desired: Option<&[Assignment]>) -> Result<Vec<Observation>> {
        let mut seen = Vec::new();
        for cage in self.cages.values_mut() {
            cage.look(now_ms, self.config.health_every_ms, &mut seen)?;
        }
        let observed: Vec<Observed> = self.cages.values().map(Cage::observed).collect();
        let wanted: Option<Vec<Wanted>> = desired.map(|assignments| {
            assignments.iter().map(|one| Wanted { key: one.key(), is_job: one.workload.is_job() }).collect()
        });
        let wanted = wanted.as_deref().map_or(Desired::Unknown, Desired::Final);
        for action in plan(wanted, &observed, now_ms) {
            let key = action_key(&action).clone();
            // One cage's trouble is not another's: it is told, and tried again at the next step.
            if let Err(error) = self.act(action, now_ms, desired.unwrap_or_default(), &mut seen) {
                seen.push(Observation::Failed { key, reason: error.to_string() });
            }
        }
        Ok(seen)
    }

    fn act(
        &mut self,
        action: Action,
        now_ms: u64,
        desired: &[Assignment],
        seen: &mut Vec<Observation>,
    ) -> Result<()> {
        match action {
            Action::Start(wanted) => {
                let Some(assignment) = desired.iter().find(|one| one.key() == wanted.key) else {
                    return Ok(());
                };
                if self.config.images.get(&assignment.workload.image.digest).is_err() {
                    let image = assignment.workload.image.clone();
                    seen.push(Observation::NeedsImage { key: wanted.key, image });
                    return Ok(());
                }
                let dir = CageDir::create(&self.config.cages, assignment)?;
                let cage = Cage::new(assignment.clone(), dir, Progress::default(), false);
                let cage = self.cages.entry(wanted.key).or_insert(cage);
                cage.start(&self.config, now_ms, seen)
            }
            Action::Restart(key) => {
                let Some(cage) = self.cages.get_mut(&key) else { return Ok(()) };
                cage.progress.restarts = cage.progress.restarts.saturating_add(1);
                cage.start(&self.config, now_ms, seen)
            }
            Action::Stop { key, .. } => {
                let Some(cage) = self.cages.get_mut(&key) else { return Ok(()) };
                cage.stop(self.config.stop_grace_ms)
            }
            Action::Adopt(key) => {
                let Some(cage) = self.cages.get_mut(&key) else { return Ok(()) };
                cage.is_adopted = true;
                seen.push(Observation::Adopted { key });
                Ok(())
            }
            Action::Report(key) => {
                let Some(cage) = self.cages.get_mut(&key) else { return Ok(()) };
                cage.tell_end(now_ms, seen);
                Ok(())
            }
            Action::CleanUp(key) => {
                let Some(cage) = self.cages.remove(&key) else { return Ok(()) };
                cage.dir.remove()
            }
        }
    }

    /// The ledger has the end of this cage's run number `restarts`: it need not be told again, and may be cleaned up.
    pub fn acknowledge(&mut self, key: &CageKey, restarts: u32) -> Result<()> {
        if let Some(cage) = self.cages.get_mut(key)
            && !cage.is_live
            && cage.progress.restarts == restarts
            && !cage.progress.reported
        {
            cage.progress.reported = true;
            cage.dir.save(&cage.progress)?;
        }
        Ok(())
    }

    /// The cages that exist here, and whether each lives.
    #[must_use]
    pub fn cages(&self) -> Vec<(CageKey, bool)> {
        self.cages.iter().map(|(key, cage)| (key.clone(), cage.is_live)).collect()
    }

    /// What a running cage has used since its launch; none when it does not run or cannot be measured now.
    #[must_use]
    pub fn live_usage(&self, key: &CageKey) -> Option<metanode_cage::LiveUsage> {
        let cage = self.cages.get(key).filter(|cage| cage.is_live)?;
        metanode_cage::usage::live(&cage.dir.run()).ok()
    }

    /// The end of a cage's output.
    pub fn logs(&self, key: &CageKey, stream: LogStream, bytes_max: usize) -> Result<Vec<u8>> {
        let dir = CageDir::of(&self.config.cages, key);
        logs::tail(&dir.run(), stream, bytes_max)
    }
}

fn action_key(action: &Action) -> &CageKey {
    match action {
        Action::Start(wanted) => &wanted.key,
        Action::Restart(key) | Action::Adopt(key) | Action::Report(key) | Action::CleanUp(key) => key,
        Action::Stop { key, .. } => key,
    }
}

impl Cage {
    fn new(assignment: Assignment, dir: CageDir, progress: Progress, is_live: bool) -> Self {
        Self {
            assignment,
            dir,
            progress,
            is_live,
            is_adopted: false,
            is_started_told: false,
            told_ms: None,
            child: None,
            stopper: None,
            health: HealthWatch::default(),
        }
    }

    fn observed(&self) -> Observed {
        let phase = match self.is_live {
            // A stop that an earlier node asked for has no thread now: it is asked for again.
            true => Phase::Live { stopping: self.stopper.is_some(), adopted: self.is_adopted },
            false => {
                Phase::Ended { at_ms: self.progress.ended_ms.unwrap_or(0), reported: self.progress.reported }
            }
        };
        let (key, is_job) = (self.assignment.key(), self.assignment.workload.is_job());
        Observed { key, is_job, phase, failures: self.progress.failures }
    }

    /// Brings what is known of this cage up to date.
    fn look(&mut self, now_ms: u64, health_every_ms: u64, seen: &mut Vec<Observation>) -> Result<()> {
        if let Some(child) = &mut self.child
            && !matches!(child.try_wait(), Ok(None))
        {
            self.child = None;
        }
        if self.stopper.as_ref().is_some_and(JoinHandle::is_finished) {
            self.stopper.take().map(JoinHandle::join);
        }
        // A child of ours that was not reaped yet holds the lock or is about to end; one of an earlier node only
        // holds it.
        let is_live = self.child.is_some() || self.dir.has_shim()?;
        if is_live {
            self.look_alive(now_ms, health_every_ms, seen);
        } else if self.progress.ended_ms.is_none() {
            self.tell_short_life(seen);
            self.bury(now_ms)?;
        }
        self.is_live = is_live;
        Ok(())
    }

    fn look_alive(&mut self, now_ms: u64, health_every_ms: u64, seen: &mut Vec<Observation>) {
        let key = self.assignment.key();
        if !self.is_started_told && Record::read(&self.dir.run()).is_ok_and(|record| record.running()) {
            self.is_started_told = true;
            seen.push(Observation::Started { key: key.clone(), restarts: self.progress.restarts });
        }
        if self.is_started_told
            && let Some(is_healthy) =
                self.health.look(&self.assignment, &self.dir.run(), now_ms, health_every_ms)
        {
            seen.push(Observation::Health { key, is_healthy });
        }
    }

    /// A program that ended between two looks did start: nobody hears of an end without its beginning.
    fn tell_short_life(&mut self, seen: &mut Vec<Observation>) {
        let ran =
            Report::read(&self.dir.run()).is_ok_and(|report| !matches!(report.exit, Exit::LaunchError(_)));
        if ran && !self.is_started_told {
            self.is_started_told = true;
            seen.push(Observation::Started { key: self.assignment.key(), restarts: self.progress.restarts });
        }
    }

    /// Notes an end, once.
    fn bury(&mut self, now_ms: u64) -> Result<()> {
        // A shim that was killed may leave processes of its cage behind; they die with it, but not always at once.
        if Record::read(&self.dir.run()).is_ok_and(|record| record.running()) {
            let swept = metanode_cage::sweep(&self.dir.path);
            if let Err(error) = swept {
                let cage = self.assignment.key().to_string();
                return Err(Error::DriveCage { intent: "clean up after", cage, reason: error.to_string() });
            }
        }
        let ran_ms = now_ms.saturating_sub(self.progress.spawned_ms);
        if !self.progress.stopping {
            self.progress.failures = count_failures(self.progress.failures, ran_ms);
        }
        self.progress.ended_ms = Some(now_ms);
        self.told_ms = None;
        self.health = HealthWatch::default();
        self.dir.save(&self.progress)
    }

    fn start(&mut self, config: &DriverConfig, now_ms: u64, seen: &mut Vec<Observation>) -> Result<()> {
        // Somebody's shim is still there: the next look finds it.
        let Some(claim) = self.dir.claim()? else { return Ok(()) };
        self.progress = Progress {
            spawned_ms: now_ms,
            restarts: self.progress.restarts,
            failures: self.progress.failures,
            ..Progress::default()
        };
        self.dir.save(&self.progress)?;
        self.is_adopted = true;
        self.is_started_told = false;
        let image = config.images.get(&self.assignment.workload.image.digest)?;
        let spawned = config
            .images
            .verify(&image)
            .and_then(|()| launch::spawn(config, &self.assignment, &image, &self.dir, claim));
        match spawned {
            Ok(child) => {
                self.child = Some(child);
                self.is_live = true;
                Ok(())
            }
            Err(error) => {
                self.progress.refusal = Some(error.to_string());
                self.bury(now_ms)?;
                self.tell_end(now_ms, seen);
                Ok(())
            }
        }
    }

    fn stop(&mut self, grace_ms: u64) -> Result<()> {
        self.progress.stopping = true;
        self.dir.save(&self.progress)?;
        let run = self.dir.run();
        // It waits for the grace period. Its result is what the next look finds: the shim's end and its report.
        self.stopper = Some(std::thread::spawn(move || drop(metanode_cage::stop(&run, grace_ms))));
        Ok(())
    }

    fn tell_end(&mut self, now_ms: u64, seen: &mut Vec<Observation>) {
        if self.told_ms.is_some_and(|told| now_ms.saturating_sub(told) < REPORT_AGAIN_MS && now_ms >= told) {
            return;
        }
        self.told_ms = Some(now_ms);
        let (key, restarts) = (self.assignment.key(), self.progress.restarts);
        let report = match &self.progress.refusal {
            Some(reason) => Err(reason.clone()),
            None => account::cage_report(&self.assignment, &self.dir),
        };
        seen.push(match report {
            Ok(report) => Observation::Ended { key, report: Box::new(report), restarts },
            Err(reason) => Observation::Refused { key, reason, restarts },
        });
    }
}
