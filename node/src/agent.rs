//! The agent: runs what the ledger assigned to this node, and reports what became of it.
//!
//! ```text
//!   new height ──▶ assignments from this node's own state ──▶ driver.step ──▶ observations
//!                                                                                │
//!   ledger ◀── report transactions, sent again until they are final ◀────────────┘
//! ```
//!
//! The end of a run that is compared with others is sealed, committed to and revealed ([`crate::sealed`]) instead.
//!
//! Owns registration, heartbeats and reports of this node. Reads assignments only from its own final state, never from
//! a message, so silence of the network stops nothing. Refuses to forget an end: the driver tells it again until the
//! ledger has it.

use crate::blobs::{Blobs, ImageState};
use crate::chain::SubmitError;
use crate::chain::thread::{ChainHandle, unix_ms};
use crate::ledger_reader::LedgerReader;
use crate::sealed::SealedReports;
use metanode_runtime::driver::{Assignment, Driver, Observation, inputs_digest};
use metanode_runtime::reconcile::CageKey;
use metanode_state::query::Awaited;
use metanode_types::account::AccountSecret;
use metanode_types::cage_report::{CageReport, ExitStatus, MachineClass};
use metanode_types::hash::sha256;
use metanode_types::ids::{Address, ContentDigest, TxId};
use metanode_types::level::CageLevel;
use metanode_types::params::{ChainParams, Usage};
use metanode_types::quantity::Amount;
use metanode_types::tx::{NodeSpec, ReplicaEvent, Report, ShortText, SignedTx, TxBody};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The agent looks around at least this often; a new block wakes it at once.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A transaction of the agent's is valid this long; then it is made anew.
const TX_LIFETIME_MS: u64 = 30_000;
/// What a node pays for its own registration at most, in micro-units.
const FEE_LIMIT: Amount = Amount(1_000_000);

/// A service that ended this often in a row is reported, so that it is placed on another node.
const RESTARTS_BEFORE_REPORT: u32 = 5;

/// Running services are metered this often.
const METER_EVERY_MS: u64 = 30_000;

/// What the agent needs.
pub struct AgentParts {
    /// The chain loop.
    pub chain: ChainHandle,
    /// The committed ledger.
    pub ledger: LedgerReader,
    /// Images from peers.
    pub blobs: Blobs,
    /// The cages; none when this node runs no workloads.
    pub driver: Option<Arc<Mutex<Driver>>>,
    /// Account of this node.
    pub account: AccountSecret,
    /// What this node declares of itself.
    pub spec: NodeSpec,
    /// Rules of the chain.
    pub params: ChainParams,
    /// Reports that this node committed to, or is about to.
    pub sealed: SealedReports,
    /// Where the agent waits for blocks.
    pub runtime: tokio::runtime::Handle,
}

/// What is on its way to the ledger about one execution.
struct Sent {
    tx: TxId,
    until_ms: u64,
}

/// Calls what it holds when it goes.
struct Ended<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Ended<F> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// The agent.
pub struct Agent {
    parts: AgentParts,
    address: Address,
    /// Height of the newest final block when this process began.
    begun_at: u64,
    next_nonce: u64,
    registration: Option<Sent>,
    heartbeat_due_ms: u64,
    /// Reports under way, by execution and kind of event.
    reports: BTreeMap<(CageKey, &'static str), Told>,
    /// Services that should run here.
    services: BTreeSet<CageKey>,
    /// Cages that ran before this process did: what they used until now is not counted again.
    adopted: BTreeSet<CageKey>,
    /// Use told to the ledger so far, by service: CPU milliseconds and MiB-milliseconds since the cage's launch.
    metered: BTreeMap<CageKey, (u64, u64)>,
    meter_due_ms: u64,
    /// What the ledger did not take yet.
    unsent: BTreeMap<(CageKey, &'static str), ReplicaEvent>,
    /// Ends of services that are started again here, with the number of starts before.
    ended: Vec<(CageKey, u32)>,
    /// What this node must run now, by execution.
    assigned: BTreeMap<CageKey, Assignment>,
    /// Commitments and reveals under way.
    told: BTreeMap<(CageKey, Awaited), Sent>,
}

/// A report under way.
struct Told {
    sent: Sent,
    event: ReplicaEvent,
    restarts: u32,
}

impl Agent {
    /// Starts the agent on a thread of its own; it ends soon after `stop` is set. Cages run on. `ended` is called when
    /// it is over, also by a panic: a node without its agent would hold replicas that it does not look after.
    pub fn spawn(
        parts: AgentParts,
        nonce: u64,
        stop: Arc<AtomicBool>,
        ended: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let address = parts.account.address();
        let begun_at = *parts.chain.heights().borrow();
        let agent = Agent {
            parts,
            address,
            begun_at,
            next_nonce: nonce,
            registration: None,
            heartbeat_due_ms: 0,
            reports: BTreeMap::new(),
            services: BTreeSet::new(),
            adopted: BTreeSet::new(),
            metered: BTreeMap::new(),
            meter_due_ms: 0,
            unsent: BTreeMap::new(),
            ended: Vec::new(),
            assigned: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        std::thread::Builder::new().name("agent".into()).spawn(move || {
            let _ended = Ended(Some(ended));
            agent.run(&stop);
        })
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut heights = self.parts.chain.heights();
        while !stop.load(Ordering::Relaxed) {
            heights.borrow_and_update();
            if let Err(error) = self.look() {
                tracing::warn!("agent: {error}");
            }
            // Either outcome, a new block or the time, means to look again.
            let woken = async { tokio::time::timeout(LOOK_EVERY, heights.changed()).await };
            let _either = self.parts.runtime.block_on(woken);
        }
    }

    fn look(&mut self) -> Result<(), String> {
        if self.parts.chain.snapshot().height == 0 {
            return Ok(());
        }
        if self.registered()? {
            self.heartbeat();
        }
        if self.parts.driver.is_some() {
            self.drive()?;
        }
        self.follow_sealed()
    }

    /// Whether the ledger knows this node as it is now; sends the registration otherwise.
    fn registered(&mut self) -> Result<bool, String> {
        let known = self.parts.ledger.node_spec(&self.address)?;
        if known.as_ref() == Some(&self.parts.spec) {
            self.registration = None;
            return Ok(true);
        }
        let now = unix_ms();
        if self.registration.as_ref().is_none_or(|s| s.until_ms < now) {
            let body = TxBody::RegisterNode(self.parts.spec.clone());
            match self.send(body, FEE_LIMIT) {
                Ok(sent) => self.registration = Some(sent),
                Err(error) => return Err(format!("register this node: {error}")),
            }
        }
        Ok(known.is_some())
    }

    fn heartbeat(&mut self) {
        let now = unix_ms();
        if now < self.heartbeat_due_ms {
            return;
        }
        self.heartbeat_due_ms = now + self.parts.params.heartbeat_interval_ms;
        let body = TxBody::Heartbeat { boot_id: self.parts.spec.boot_id, free: self.parts.spec.capacity };
        if let Err(error) = self.send(body, Amount::ZERO) {
            tracing::debug!("heartbeat: {error}");
        }
    }

    fn send(&mut self, body: TxBody, fee_limit: Amount) -> Result<Sent, SubmitError> {
        self.next_nonce = self.next_nonce.wrapping_add(1);
        let time = self.parts.chain.snapshot().block_time_ms.max(unix_ms());
        let until_ms = time + TX_LIFETIME_MS;
        let chain_id = self.parts.ledger.chain_id();
        let tx = SignedTx::sign(&self.parts.account, chain_id, self.next_nonce, until_ms, fee_limit, body);
        let tx = self.parts.chain.submit(tx)?;
        Ok(Sent { tx, until_ms })
    }

    fn drive(&mut self) -> Result<(), String> {
        // A state that was final when this process began may be long out of date: nothing is started or stopped by it
        // until a block became final here since. Cages that run go on running.
        let current = self.parts.chain.snapshot().height > self.begun_at;
        let assignments: Vec<Assignment> = self.parts.ledger.assignments_of(&self.address)?;
        let Some(driver) = self.parts.driver.clone() else { return Ok(()) };
        self.assigned = assignments.iter().map(|a| (a.key(), a.clone())).collect();
        self.services = assignments.iter().filter(|a| !a.workload.is_job()).map(Assignment::key).collect();
        let seen = {
            let mut driver = driver.lock().unwrap_or_else(PoisonError::into_inner);
            driver.step(unix_ms(), current.then_some(assignments.as_slice())).map_err(|e| e.to_string())?
        };
        self.offer_again()?;
        for observation in seen {
            self.observe(observation);
        }
        self.meter(&driver);
        self.follow_reports(&driver)
    }

    /// Reports what running services used since the last time, so that their escrow pays for it.
    fn meter(&mut self, driver: &Mutex<Driver>) {
        let now = unix_ms();
        if now < self.meter_due_ms {
            return;
        }
        self.meter_due_ms = now + METER_EVERY_MS;
        self.metered.retain(|key, _| self.services.contains(key));
        self.adopted.retain(|key| self.services.contains(key));
        for key in self.services.clone() {
            let live = driver.lock().unwrap_or_else(PoisonError::into_inner).live_usage(&key);
            let Some(live) = live else { continue };
            let total = (live.cpu_ms, live.memory_mib_ms.unwrap_or(0));
            let known = self.metered.get(&key).copied();
            // A cage that was started again counts from zero; one that this process found running, from here.
            let from = match known {
                Some(known) if known.0 <= total.0 && known.1 <= total.1 => known,
                None if self.adopted.contains(&key) => total,
                _ => (0, 0),
            };
            let usage = Usage { cpu_ms: total.0 - from.0, memory_mib_s: (total.1 - from.1) / 1000 };
            if usage == Usage::default() {
                self.metered.entry(key).or_insert(from);
                continue;
            }
            let event = ReplicaEvent::Metered { usage };
            let body = TxBody::Report(Report { replica: key.replica.clone(), epoch: key.epoch, event });
            match self.send(body, Amount::ZERO) {
                // What was rounded off is counted next time.
                Ok(_) => drop(self.metered.insert(key, (total.0, from.1 + usage.memory_mib_s * 1000))),
                Err(error) => tracing::debug!("{key}: meter: {error}"),
            }
        }
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Started { key, .. } => self.report(key, "started", ReplicaEvent::Started, 0),
            Observation::Health { key, is_healthy } => {
                self.report(key, "health", ReplicaEvent::Health { healthy: is_healthy }, 0);
            }
            Observation::Ended { key, report, restarts } if self.is_compared(&key) => {
                self.seal(&key, *report, restarts);
            }
            Observation::Refused { key, reason, restarts } if self.is_compared(&key) => {
                if let Some(assignment) = self.assigned.get(&key) {
                    let report = failed_report(assignment, self.parts.spec.machine.clone(), reason);
                    self.seal(&key, report, restarts);
                }
            }
            Observation::Ended { key, report, restarts } => {
                if self.services.contains(&key) && restarts < RESTARTS_BEFORE_REPORT {
                    tracing::warn!(
                        "{key}: ended with {} ({restarts} restarts); starting it again",
                        report.exit
                    );
                    self.ended.push((key, restarts));
                } else {
                    self.report(key, "end", ReplicaEvent::Exited { report: *report, restarts }, restarts);
                }
            }
            Observation::Refused { key, reason, restarts } => {
                let reason = ShortText::new(reason);
                self.report(key, "end", ReplicaEvent::Refused { reason }, restarts);
            }
            Observation::NeedsImage { key, image } => match self.parts.blobs.ensure(&image) {
                ImageState::Failed(why) => {
                    tracing::warn!("{key}: fetch image {}: {why}", image.digest);
                    self.parts.blobs.retry(&image);
                }
                ImageState::Fetching(left) => {
                    tracing::debug!("{key}: fetching its image, {left:?} chunks left")
                }
                ImageState::Here(_) => {}
            },
            Observation::Adopted { key } => {
                tracing::info!("{key}: adopted, it ran on while this node was away");
                self.adopted.insert(key);
            }
            Observation::Failed { key, reason } => tracing::warn!("{key}: {reason}"),
        }
    }

    /// Whether the end of this run is committed to and revealed.
    fn is_compared(&self, key: &CageKey) -> bool {
        let awaited = self.parts.ledger.awaited(&self.address, &key.replica, key.epoch);
        self.parts.sealed.get(key).is_some() || awaited.is_ok_and(|a| a != Awaited::Nothing)
    }

    fn seal(&mut self, key: &CageKey, report: CageReport, restarts: u32) {
        // The driver tells the end again until it is acknowledged, so a disk that refuses now is asked again.
        if let Err(error) = self.parts.sealed.seal(key, report, restarts) {
            tracing::error!("{key}: {error}");
        }
    }

    /// Commits to sealed reports and opens the commitments, each when the ledger waits for it.
    fn follow_sealed(&mut self) -> Result<(), String> {
        for key in self.parts.sealed.keys() {
            let awaited = self.parts.ledger.awaited(&self.address, &key.replica, key.epoch)?;
            let Some(sealed) = self.parts.sealed.get(&key) else { continue };
            let restarts = sealed.restarts;
            let body = match awaited {
                Awaited::Commitment => Some(sealed.commit(&self.address)),
                Awaited::Reveal => Some(sealed.reveal()),
                Awaited::Others | Awaited::Nothing => None,
            };
            if let Some(body) = body {
                self.tell(&key, awaited, body);
            }
            if awaited != Awaited::Commitment {
                // The run is over for the ledger: the cage has nothing more to tell.
                self.ended.push((key.clone(), restarts));
            }
            if awaited == Awaited::Nothing {
                self.told.retain(|(told, _), _| *told != key);
                self.parts.sealed.forget(&key).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// Sends a commitment or a reveal, unless one is on its way.
    fn tell(&mut self, key: &CageKey, awaited: Awaited, body: TxBody) {
        let under_way = self.told.get(&(key.clone(), awaited)).is_some_and(|s| s.until_ms >= unix_ms());
        if under_way {
            return;
        }
        let kind = body.kind();
        match self.send(body, Amount::ZERO) {
            Ok(sent) => {
                tracing::info!("{key}: {kind}");
                self.told.insert((key.clone(), awaited), sent);
            }
            Err(error) => tracing::debug!("{key}: {kind}: {error}"),
        }
    }

    /// Sends a report, unless the same one is on its way.
    fn report(&mut self, key: CageKey, kind: &'static str, event: ReplicaEvent, restarts: u32) {
        let now = unix_ms();
        if let Some(told) = self.reports.get(&(key.clone(), kind))
            && told.sent.until_ms >= now
            && told.event == event
        {
            return;
        }
        let body =
            TxBody::Report(Report { replica: key.replica.clone(), epoch: key.epoch, event: event.clone() });
        // A report that changes something is free; one that would fail is refused here rather than paid for.
        match self.send(body, Amount::ZERO) {
            Ok(sent) => {
                tracing::info!("{key}: reporting {kind}");
                self.reports.insert((key, kind), Told { sent, event, restarts });
            }
            Err(error) => {
                // An end that nobody waits for any more (another epoch, a stopped deployment) is done with. Any other
                // refusal is told again by the driver.
                let held = self.parts.ledger.holds(&self.address, &key.replica, key.epoch);
                if kind == "end" && held == Ok(false) {
                    self.ended.push((key, restarts));
                } else if kind == "end" {
                    tracing::warn!("{key}: report {kind}: {error}");
                } else {
                    // The driver tells a start or a change of health once: what the ledger does not take yet (a
                    // change of health before the start is final) is offered again.
                    tracing::debug!("{key}: report {kind}: {error}");
                    self.unsent.insert((key, kind), event);
                }
            }
        }
    }

    /// Offers again what the ledger did not take, as long as this node holds the replica.
    fn offer_again(&mut self) -> Result<(), String> {
        for ((key, kind), event) in std::mem::take(&mut self.unsent) {
            if self.parts.ledger.holds(&self.address, &key.replica, key.epoch)? {
                self.report(key, kind, event, 0);
            }
        }
        Ok(())
    }

    /// Acknowledges ends that are final, and sends again what expired.
    fn follow_reports(&mut self, driver: &Mutex<Driver>) -> Result<(), String> {
        let now = unix_ms();
        let mut done = std::mem::take(&mut self.ended);
        for ((key, kind), told) in std::mem::take(&mut self.reports) {
            if self.parts.ledger.is_final(&told.sent.tx)? {
                if kind == "end" {
                    done.push((key, told.restarts));
                }
            } else if told.sent.until_ms < now {
                self.report(key, kind, told.event, told.restarts);
            } else {
                self.reports.insert((key, kind), told);
            }
        }
        let mut driver = driver.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, restarts) in done {
            driver.acknowledge(&key, restarts).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// The report of a run that could not be: no verdict on the program.
fn failed_report(assignment: &Assignment, machine: MachineClass, reason: String) -> CageReport {
    let nothing = ContentDigest(sha256(&[]));
    CageReport {
        level: CageLevel::Contained,
        image: assignment.workload.image.digest,
        inputs: inputs_digest(assignment),
        exit: ExitStatus::CageFailed(ShortText::new(reason)),
        stdout: nothing,
        stderr: nothing,
        output: None,
        witness: None,
        usage: Usage::default(),
        fuel: None,
        trace: None,
        machine,
    }
}
