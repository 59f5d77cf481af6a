//! The reconcile planner: from what should run and what does run to what to do next. Pure: no I/O, no clock of its
//! own.
//!
//! Owns the rules by which a replica is started, restarted, stopped and forgotten, and the back-off. Refuses to
//! stop anything unless a final state says so: silence of the network or the chain is [`Desired::Unknown`], and
//! stops nothing.
//!
//! Invariants (each has a property test): planning is total; what is applied is not planned again; a replica never
//! has two live cages; a job is started at most once per (replica, epoch); with an unknown desired state nothing is
//! stopped.
//!
//! ```text
//!            Start                 exit                reported and no longer wanted
//! (absent) ────────▶ Live ───────────────▶ Ended ─────────────────────────────────▶ CleanUp
//!                     ▲ │ Stop: gone from the final state,   │
//!                     │ └──  or placed under a newer epoch   │ Restart: a service, after back-off
//!                     └──────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;

use metanode_types::workload::ReplicaId;

/// First pause before a service is started again.
pub const BACKOFF_BASE_MS: u64 = 1_000;
/// Longest pause.
pub const BACKOFF_CAP_MS: u64 = 60_000;
/// A run this long wipes out the failures before it.
pub const STABLE_MS: u64 = 60_000;

/// One execution that the ledger ordered. The epoch is the fencing token: it never repeats for a replica and only
/// grows, also over deployments of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CageKey {
    /// Which replica.
    pub replica: ReplicaId,
    /// Under which assignment.
    pub epoch: u64,
}

impl std::fmt::Display for CageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.replica.deployment, self.replica.index, self.epoch)
    }
}

/// An assignment to this node, as far as the planner cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The execution.
    pub key: CageKey,
    /// Runs once; a service is started again when it ends.
    pub is_job: bool,
}

/// What should run here.
#[derive(Clone, Copy, Debug)]
pub enum Desired<'a> {
    /// No final state was read yet, or none can be: keep what is.
    Unknown,
    /// Exactly this, according to a final state.
    Final(&'a [Wanted]),
}

/// How a cage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It runs, or is starting or stopping.
    Live {
        /// A stop was asked for.
        stopping: bool,
        /// This process knows it (false right after the node's restart).
        adopted: bool,
    },
    /// Nothing of it runs any more.
    Ended {
        /// When.
        at_ms: u64,
        /// The ledger has its report.
        reported: bool,
    },
}

/// A cage that exists here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The execution.
    pub key: CageKey,
    /// Runs once.
    pub is_job: bool,
    /// How it stands.
    pub phase: Phase,
    /// Ends in a row without a stable run between them; see [`count_failures`].
    pub failures: u32,
}

/// Why a cage is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The final state has no such replica for this node.
    NotDesired,
    /// The replica was assigned anew.
    StaleEpoch,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a cage for this assignment.
    Start(Wanted),
    /// Start a service's cage again.
    Restart(CageKey),
    /// Ask a cage to end.
    Stop {
        /// Which.
        key: CageKey,
        /// Why.
        reason: StopReason,
    },
    /// Take charge of a cage that ran on while the node was away.
    Adopt(CageKey),
    /// Tell how a cage ended, until the ledger has it.
    Report(CageKey),
    /// Remove what is left of a cage.
    CleanUp(CageKey),
}

/// The pause after so many failures in a row.
#[must_use]
pub fn backoff_ms(failures: u32) -> u64 {
    match failures {
        0 => 0,
        n => BACKOFF_BASE_MS
            .checked_shl(n - 1)
            .filter(|ms| *ms >> (n - 1) == BACKOFF_BASE_MS)
            .unwrap_or(u64::MAX),
    }
    .min(BACKOFF_CAP_MS)
}

/// Failures in a row after a run of `ran_ms` that ended.
#[must_use]
pub fn count_failures(before: u32, ran_ms: u64) -> u32 {
    if ran_ms >= STABLE_MS { 1 } else { before.saturating_add(1) }
}

/// Plans the next steps. The order of actions is their order of execution: ends before beginnings.
#[must_use]
pub fn plan(desired: Desired<'_>, observed: &[Observed], now_ms: u64) -> Vec<Action> {
    let wanted = newest(desired);
    let mut actions = Vec::new();
    let mut restarts = Vec::new();
    for cage in observed {
        let current = wanted.as_ref().map(|wanted| wanted.get(&cage.key.replica));
        let stale = match current {
            None => None,
            Some(None) => Some(StopReason::NotDesired),
            // A final state never runs backwards, so an older epoch in it is one that was read before: not a reason
            // to stop.
            Some(Some(current)) => (current.key.epoch > cage.key.epoch).then_some(StopReason::StaleEpoch),
        };
        match cage.phase {
            Phase::Live { stopping, adopted } => {
                if !adopted {
                    actions.push(Action::Adopt(cage.key.clone()));
                }
                if let Some(reason) = stale.filter(|_| !stopping) {
                    actions.push(Action::Stop { key: cage.key.clone(), reason });
                }
            }
            Phase::Ended { reported, .. } if stale.is_some() => {
                actions.push(if reported {
                    Action::CleanUp(cage.key.clone())
                } else {
                    Action::Report(cage.key.clone())
                });
            }
            Phase::Ended { at_ms, reported } => {
                if !reported {
                    actions.push(Action::Report(cage.key.clone()));
                }
                if !cage.is_job
                    && is_due(at_ms, backoff_ms(cage.failures), now_ms)
                    && !blocked(&cage.key, observed)
                {
                    restarts.push(Action::Restart(cage.key.clone()));
                }
            }
        }
    }
    actions.extend(restarts);
    for wanted in wanted.iter().flat_map(BTreeMap::values) {
        let known = observed.iter().any(|cage| cage.key == wanted.key);
        if !known && !blocked(&wanted.key, observed) {
            actions.push(Action::Start((*wanted).clone()));
        }
    }
    actions
}

/// The newest assignment of each replica.
fn newest(desired: Desired<'_>) -> Option<BTreeMap<&ReplicaId, &Wanted>> {
    let Desired::Final(list) = desired else { return None };
    let mut newest: BTreeMap<&ReplicaId, &Wanted> = BTreeMap::new();
    for wanted in list {
        let slot = newest.entry(&wanted.key.replica).or_insert(wanted);
        if wanted.key.epoch > slot.key.epoch {
            *slot = wanted;
        }
    }
    Some(newest)
}

/// Whether another cage of the same replica forbids this one to start: one that lives, or a newer one.
fn blocked(key: &CageKey, observed: &[Observed]) -> bool {
    observed.iter().any(|other| {
        other.key.replica == key.replica
            && other.key.epoch != key.epoch
            && (matches!(other.phase, Phase::Live { .. }) || other.key.epoch > key.epoch)
    })
}

/// Whether a pause that began at `from_ms` is over. A clock that was set back must not make it longer than it is.
fn is_due(from_ms: u64, pause_ms: u64, now_ms: u64) -> bool {
    now_ms < from_ms || now_ms - from_ms >= pause_ms
}

#[cfg(test)]
mod tests;
