//! Verified jobs: several nodes run one replica, and what most of them came to is what happened.
//!
//! ```text
//! Pending --place--> Committing --all committed, or time--> Revealing --all over, or time--> settle
//!                        |                                                                     |
//!                        +--- stopped before anyone committed: cancelled      majority: Open   | no majority:
//!                                                                                 |   ^        v Unsettled,
//!                                                        challenge: Challenged <--+   |      Closed at once
//!                                                               |     |               |
//!                                       another run has a verdict     +-- no verdict -+      Open --window--> Closed
//!                                                               v
//!                                                             Closed
//! ```
//! Owns the runs of a replica, their bonds and every change of stage. **Invariants.** A reveal is taken only when no
//! node can commit any more. A majority is of the nodes asked. Whoever misses a commitment or a reveal loses the bond;
//! a run without a verdict costs nothing and counts nothing. When a verification is closed it holds no money.

mod challenge;
mod due;
mod settle;

pub(crate) use challenge::begin as challenge;
pub(crate) use due::pass_deadlines;
use settle::fault;

use crate::draft::{Draft, Step};
use crate::error::Result;
use crate::failure::Abort;
use crate::keys::{self, Key};
use crate::limits::FAULT_MISSED;
use crate::machine::Call;
use crate::money;
use crate::records::{self, *};
use crate::replica;
use crate::schedule;
use crate::tx::report::cap;
use crate::view::{StateRead, existing, required};
use metanode_types::cage_report::{CageReport, MachineClass};
use metanode_types::ids::{Address, Digest, Name, ReceiptId};
use metanode_types::params::Usage;
use metanode_types::quantity::Amount;
use metanode_types::receipt::{Action, EconomicKind, ReceiptBody, Said, Subject, UnassignReason};
use metanode_types::tx::ShortText;
use metanode_types::workload::{ReplicaId, Workload, WorkloadKind};

/// A replica being changed, and where its chain of receipts stands.
pub(crate) struct Case {
    r: ReplicaRecord,
    stood: Digest,
}

impl Case {
    fn of(r: ReplicaRecord) -> Case {
        let stood = r.digest();
        Case { r, stood }
    }
    fn load(draft: &Draft<'_>, id: &ReplicaId) -> Result<Case> {
        Ok(Case::of(existing(draft, id)?))
    }
    fn v(&mut self) -> &mut Verification {
        self.r.verification.as_mut().expect("a case is of a replica that is verified")
    }
    fn all_over(&self) -> bool {
        self.r.verification.iter().flat_map(|v| &v.executions).all(Execution::is_over)
    }
    fn emit(&mut self, draft: &mut Draft<'_>, body: ReceiptBody) -> Result<ReceiptId> {
        draft.put_replica(&self.r);
        let after = self.r.digest();
        let id = draft.emit(Subject::Replica(self.r.id.clone()), self.stood, after, body)?;
        self.stood = after;
        Ok(id)
    }
    fn act(&mut self, draft: &mut Draft<'_>, action: Action) -> Result<ReceiptId> {
        self.emit(draft, ReceiptBody::Action(action))
    }
    /// Changes what the stage ends by; the next receipt covers it.
    fn restage(&mut self, draft: &mut Draft<'_>, change: impl FnOnce(&mut Verification)) {
        let id = self.r.id.clone();
        if let Some(old) = due_key(self.v(), &id) {
            draft.remove(old);
        }
        change(self.v());
        if let Some(new) = due_key(self.v(), &id) {
            draft.put(new, &id);
        }
    }
    /// Moves a part of a bond that its record does not hold any more.
    fn unbond(&mut self, draft: &mut Draft<'_>, kind: EconomicKind) -> Result<()> {
        let entry = money::unbond(draft, kind)?;
        self.emit(draft, ReceiptBody::Economic(entry)).map(drop)
    }
    /// Takes all of an execution's bond from its record.
    fn take_bond(&mut self, node: &Address) -> Amount {
        let execution = self.v().execution_mut(node).expect("a bond is of an execution");
        std::mem::replace(&mut execution.bond, Amount::ZERO)
    }
    fn return_bond(&mut self, draft: &mut Draft<'_>, node: Address) -> Result<()> {
        let amount = self.take_bond(&node);
        if amount == Amount::ZERO {
            return Ok(());
        }
        let replica = self.r.id.clone();
        self.unbond(draft, EconomicKind::BondReturned { replica, to: node, amount })
    }
    /// Nothing more is expected of a node that is late.
    fn mark_late(&mut self, node: &Address, said: &Said) {
        let execution = self.v().execution_mut(node).expect("who is late was asked");
        execution.step = records::Step::Over { said: said.clone(), usage: Usage::default(), report: None };
    }
    /// The node did not do what its bond stands for.
    fn forfeit(&mut self, draft: &mut Draft<'_>, node: Address) -> Result<()> {
        fault(draft, &node, FAULT_MISSED)?;
        let amount = self.take_bond(&node);
        let replica = self.r.id.clone();
        self.unbond(draft, EconomicKind::BondBurned { replica, from: node, amount })
    }
}

/// Where a verification's stage stands among those that end.
pub(crate) fn due_key(v: &Verification, id: &ReplicaId) -> Option<Key> {
    match v.stage {
        Stage::Committing { until_alive_ms } | Stage::Revealing { until_alive_ms } => {
            Some(keys::due_alive(until_alive_ms, id))
        }
        Stage::Challenged { .. } => v.challenge.as_ref().map(|c| keys::due_alive(c.until_alive_ms, id)),
        Stage::Open { until_height } => Some(keys::due_height(until_height, id)),
        Stage::Closed => None,
    }
}

/// Gives a pending replica to several nodes of one class at once.
pub(crate) fn assign(
    draft: &mut Draft<'_>,
    mut r: ReplicaRecord,
    d: &DeploymentRecord,
    w: &Workload,
    machine: MachineClass,
    nodes: &[Address],
) -> Result<()> {
    assert_eq!(nodes.len(), w.verify as usize, "as many nodes as were asked for, or none");
    let ReplicaPhase::Pending { since_height, .. } = r.phase else {
        unreachable!("only what waits is placed")
    };
    let mut case = Case::of(r.clone());
    draft.remove(keys::pending(since_height, &r.id));
    r.phase = ReplicaPhase::Verifying;
    let until_alive_ms = commit_until(draft, w);
    r.verification = Some(Verification {
        machine,
        asked: w.verify,
        executions: Vec::new(),
        stage: Stage::Closed,
        outcome: None,
        challenge: None,
        void: Vec::new(),
    });
    case.r = r;
    case.restage(draft, |v| v.stage = Stage::Committing { until_alive_ms });
    count_open(draft, &d.name)?;
    for node in nodes {
        let execution = start(draft, &case.r.id, w, *node)?;
        case.v().executions.push(execution);
        tell_assigned(draft, &mut case, d, w, *node)?;
    }
    assert_eq!(case.r.holders(), nodes, "every node asked holds it");
    Ok(())
}

fn commit_until(draft: &Draft<'_>, w: &Workload) -> u64 {
    let WorkloadKind::Job { timeout_ms } = w.kind else { unreachable!("only jobs are verified") };
    draft.alive_ms.saturating_add(timeout_ms).saturating_add(draft.params().verify.commit_ms)
}

/// Reserves room on a node and takes its bond.
fn start(draft: &mut Draft<'_>, id: &ReplicaId, w: &Workload, node: Address) -> Result<Execution> {
    replica::reserve(draft, id, w, node)?;
    let bond = draft.params().verify.bond;
    stake(draft, node, id, bond)?;
    Ok(Execution {
        node,
        epoch: draft.block.height,
        receipt: ReceiptId::default(),
        assigned_ms: draft.block.time_ms,
        bond,
        step: records::Step::Running(RunPhase::Assigned),
    })
}

/// Takes a bond that placement has seen in the account.
fn stake(draft: &mut Draft<'_>, node: Address, id: &ReplicaId, bond: Amount) -> Result<()> {
    match money::bond(draft, node, id, bond, Amount::ZERO) {
        Ok(()) => Ok(()),
        Err(Abort::Broken(e)) => Err(e),
        Err(Abort::Failed(f)) => unreachable!("the balance was looked at before: {f:?}"),
    }
}

fn tell_assigned(
    draft: &mut Draft<'_>,
    case: &mut Case,
    d: &DeploymentRecord,
    w: &Workload,
    node: Address,
) -> Result<()> {
    let action = Action::Assigned {
        node,
        epoch: draft.block.height,
        workload: d.workload,
        image: w.image.digest,
        seed: replica::seed(d, case.r.id.index),
        clock_ms: d.created_ms,
    };
    let receipt = case.act(draft, action)?;
    case.v().execution_mut(&node).expect("it was just put there").receipt = receipt;
    draft.put_replica(&case.r);
    Ok(())
}

fn count_open(draft: &mut Draft<'_>, name: &Name) -> Result<()> {
    let mut d = required(draft.deployment(name)?, "deployment")?;
    d.open += 1;
    draft.put_deployment(&d);
    Ok(())
}

/// A verification is closed; the last one of a finished deployment lets its records expire.
fn count_closed(draft: &mut Draft<'_>, name: &Name) -> Result<()> {
    let mut d = required(draft.deployment(name)?, "deployment")?;
    d.open = d.open.checked_sub(1).expect("an open verification is counted");
    draft.put_deployment(&d);
    replica::expire_if_over(draft, &d);
    Ok(())
}

/// Keeps the result of one node open to challenge. The caller makes the receipt that covers it.
pub(crate) fn open_single(
    draft: &mut Draft<'_>,
    r: &mut ReplicaRecord,
    held: &Assignment,
    report: &CageReport,
    usage: Usage,
) -> Result<()> {
    let until_height = draft.block.height.saturating_add(draft.params().verify.challenge_window);
    let execution = Execution {
        node: held.node,
        epoch: held.epoch,
        receipt: held.receipt,
        assigned_ms: held.assigned_ms,
        bond: Amount::ZERO,
        step: records::Step::Over { said: Said::Outcome(report.outcome()), usage, report: None },
    };
    r.verification = Some(Verification {
        machine: report.machine.clone(),
        asked: 1,
        executions: vec![execution],
        stage: Stage::Open { until_height },
        outcome: Some(report.outcome()),
        challenge: None,
        void: Vec::new(),
    });
    draft.put(keys::due_height(until_height, &r.id), &r.id);
    count_open(draft, &r.id.deployment)
}

/// A node reported that its cage runs.
pub(crate) fn started(draft: &mut Draft<'_>, id: &ReplicaId, node: &Address, action: Action) -> Result<()> {
    let mut case = Case::load(draft, id)?;
    let execution = case.v().execution_mut(node).expect("who reports was asked");
    assert!(execution.is_running(), "what runs is not over");
    execution.step = records::Step::Running(RunPhase::Running(None));
    case.act(draft, action).map(drop)
}

/// A node commits.
pub(crate) fn commit(draft: &mut Draft<'_>, id: &ReplicaId, node: Address, commitment: Digest) -> Result<()> {
    let mut case = Case::load(draft, id)?;
    replica::free(draft, id, node)?;
    let at_ms = draft.block.time_ms;
    let execution = case.v().execution_mut(&node).expect("who commits was asked");
    assert!(execution.is_running(), "a node commits once");
    execution.step = records::Step::Committed { commitment, at_ms };
    let (epoch, assignment) = (execution.epoch, execution.receipt);
    let until = draft.alive_ms.saturating_add(draft.params().verify.reveal_ms);
    let stage = case.v().stage;
    match stage {
        Stage::Challenged { .. } => {
            case.restage(draft, |v| v.challenge.iter_mut().for_each(|c| c.until_alive_ms = until));
        }
        Stage::Committing { .. } if case.r.holders().is_empty() => {
            case.restage(draft, |v| v.stage = Stage::Revealing { until_alive_ms: until });
        }
        _ => {}
    }
    case.act(draft, Action::Committed { node, epoch, assignment, commitment }).map(drop)
}

/// What a revealed report counts as.
fn said(state: &impl StateRead, w: &Workload, machine: &MachineClass, report: &CageReport) -> Said {
    let demanded = schedule::demanded_level(w, state.params());
    let none = |why: String| Said::NoVerdict(ShortText::new(why));
    if !report.has_verdict() {
        return none(report.exit.to_string());
    }
    if report.level < demanded {
        return none(format!("level {} reached, demanded is {demanded}", report.level));
    }
    if report.machine != *machine {
        return none(format!("ran on {}, assigned was {machine}", report.machine));
    }
    Said::Outcome(report.outcome())
}

/// A node opens its commitment.
pub(crate) fn reveal(
    draft: &mut Draft<'_>,
    id: &ReplicaId,
    node: Address,
    report: &CageReport,
    salt: Digest,
) -> Result<()> {
    let mut case = Case::load(draft, id)?;
    let w = required(draft.workload(&id.deployment)?, "workload")?;
    let machine = case.v().machine.clone();
    let said = said(draft, &w, &machine, report);
    let WorkloadKind::Job { timeout_ms } = w.kind else { unreachable!("only jobs are verified") };
    let execution = case.v().execution_mut(&node).expect("who reveals was asked");
    let records::Step::Committed { commitment, at_ms } = execution.step else {
        unreachable!("only what was committed to is revealed")
    };
    let usage = cap(&w, &report.usage, at_ms.saturating_sub(execution.assigned_ms).min(timeout_ms));
    execution.step = records::Step::Over { said, usage, report: Some(Box::new(report.clone())) };
    let (epoch, assignment) = (execution.epoch, execution.receipt);
    let action = Action::Revealed { node, epoch, assignment, commitment, report: report.clone(), salt };
    case.act(draft, action)?;
    let stage = case.v().stage;
    match stage {
        Stage::Challenged { .. } => challenge::decide(draft, case),
        _ if case.all_over() => settle::settle(draft, case),
        _ => Ok(()),
    }
}

/// A node can no longer run what it was asked to: as if it were too late.
pub(crate) fn withdraw(draft: &mut Draft<'_>, r: ReplicaRecord, node: Address) -> Result<()> {
    let mut case = Case::of(r);
    let id = case.r.id.clone();
    replica::free(draft, &id, node)?;
    if let Stage::Challenged { .. } = case.v().stage {
        return challenge::void(draft, case, Said::NoCommit);
    }
    due::late(draft, case, vec![node], Said::NoCommit)
}

/// Ends what nobody has committed to; what somebody has is settled first. True when nothing is left of it.
pub(crate) fn cancel(draft: &mut Draft<'_>, r: &mut ReplicaRecord, reason: UnassignReason) -> Result<bool> {
    let mut case = Case::of(r.clone());
    if !case.v().executions.iter().all(Execution::is_running) {
        return Ok(false);
    }
    let running: Vec<(Address, u64)> = case.v().executions.iter().map(|e| (e.node, e.epoch)).collect();
    let id = case.r.id.clone();
    for (node, _) in &running {
        replica::free(draft, &id, *node)?;
        case.return_bond(draft, *node)?;
    }
    for (i, (node, epoch)) in running.iter().enumerate() {
        case.v().executions.retain(|e| e.node != *node);
        if i + 1 == running.len() {
            case.restage(draft, |v| v.stage = Stage::Closed);
        }
        case.act(draft, Action::Unassigned { node: *node, epoch: *epoch, reason })?;
    }
    count_closed(draft, &id.deployment)?;
    *r = case.r;
    r.verification = None;
    r.phase = ReplicaPhase::Failed { reason: ShortText::default() };
    draft.put_replica(r);
    Ok(true)
}
