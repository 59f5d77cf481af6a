//! Deploys a service or job: decision, payment, desired state, receipts, top to bottom.
//!
//! Owns the admission rules. Each rule is asked in order and goes on record, red or green, in the Pipeline receipt; a
//! rule whose data is missing is red. There is no yellow yet: a level that needs approvals is refused.

use crate::draft::{Draft, Step};
use crate::error::Result;
use crate::failure::{Code, Failure};
use crate::keys;
use crate::limits::{MAX_EXPIRED_PER_BLOCK, MIN_SERVICE_MS};
use crate::machine::Call;
use crate::money;
use crate::records::*;
use crate::replica;
use crate::schedule::demanded_level;
use crate::tx::report::at_limits;
use crate::view::{StateRead, decode};
use metanode_types::ids::{Digest, Name};
use metanode_types::level::CageLevel;
use metanode_types::limits::MAX_REPLICAS;
use metanode_types::params::SecurityProfile;
use metanode_types::quantity::{Amount, format_bytes};
use metanode_types::receipt::{
    Action, Agreement, Light, Pipeline, ReceiptBody, RuleOutcome, Subject, UnassignReason,
};
use metanode_types::tx::{ClusterSpec, DeploySpec, ShortText};
use metanode_types::workload::{Resources, Workload, WorkloadKind};

pub(crate) fn run(draft: &mut Draft<'_>, call: &Call, spec: &DeploySpec) -> Step {
    let fee = call.fee.expect("only heartbeats and reports are ever free");
    let old = draft.deployment(&spec.name)?;

    // The decision.
    let mut rules = Rules::default();
    let profile = judge(draft, call, spec, old.as_ref(), fee, &mut rules)?;
    let workload = spec.workload.digest();
    let free_name = old.as_ref().is_none_or(|d| !d.is_live());
    let subject =
        if free_name { Subject::Deployment(spec.name.clone()) } else { Subject::Account(call.sender) };
    let pipeline = Pipeline { light: rules.light(), rules: rules.outcomes, workload };
    if let Some((code, reason)) = rules.red {
        let decision = Some(Box::new((subject, pipeline)));
        return Err(Failure { code, reason, decision }.into());
    }
    let profile = profile.expect("a green decision has a profile");
    let before = old.as_ref().map_or(Digest::default(), |d| d.digest());
    draft.emit(subject.clone(), before, before, ReceiptBody::Pipeline(pipeline))?;

    // The agreement and the payment.
    let agreement = Agreement {
        cluster: spec.cluster.clone(),
        profile,
        limits: spec.workload.resources,
        replicas: spec.replicas,
        workload,
        payer: call.sender,
        deposit: spec.deposit,
    };
    let agreed = agreement.digest();
    draft.emit(subject.clone(), before, before, ReceiptBody::Agreement(agreement))?;
    money::escrow(draft, call.sender, spec.name.clone(), spec.deposit, fee)?;

    // The desired state.
    remove_rows(draft, &spec.name)?;
    let mut d = DeploymentRecord {
        name: spec.name.clone(),
        generation: old.map_or(0, |d| d.generation) + 1,
        owner: call.sender,
        cluster: spec.cluster.clone(),
        workload,
        job: spec.workload.is_job(),
        replicas: spec.replicas,
        status: DeploymentStatus::Active,
        escrow: spec.deposit,
        charged: Amount::ZERO,
        tx: call.id,
        agreement: agreed,
        created_ms: draft.block.time_ms,
        created_height: draft.block.height,
        live: 0,
        succeeded: 0,
        failed: 0,
        avoided: Vec::new(),
        bonds: Amount::ZERO,
        open: 0,
    };
    draft.put(keys::workload(&spec.name), &spec.workload);
    for index in 0..spec.replicas {
        replica::create(draft, &mut d, index);
    }
    draft.put_deployment(&d);
    assert_eq!(d.live, spec.replicas, "every replica waits for a node");
    let image = spec.workload.image.digest;
    let action = Action::Deployed { workload, image, replicas: spec.replicas, generation: d.generation };
    draft.emit(subject, before, d.digest(), ReceiptBody::Action(action))?;
    Ok(())
}

/// Rules asked so far; the first red one names the failure.
#[derive(Default)]
struct Rules {
    outcomes: Vec<RuleOutcome>,
    red: Option<(Code, ShortText)>,
}

impl Rules {
    fn ask(&mut self, rule: &str, ok: bool, code: Code, reason: impl Into<String>) {
        let reason = ShortText::new(reason);
        if !ok {
            self.red.get_or_insert_with(|| (code, reason.clone()));
        }
        let light = if ok { Light::Green } else { Light::Red };
        self.outcomes.push(RuleOutcome { rule: ShortText::new(rule), light, reason });
    }
    fn light(&self) -> Light {
        self.outcomes.iter().map(|o| o.light).max().unwrap_or(Light::Red)
    }
}

/// Asks every rule for which there is data.
fn judge(
    draft: &Draft<'_>,
    call: &Call,
    spec: &DeploySpec,
    old: Option<&DeploymentRecord>,
    fee: Amount,
    rules: &mut Rules,
) -> Step<Option<SecurityProfile>> {
    let now = draft.block.time_ms;
    let w = &spec.workload;
    let (ok, why) = name_is_free(old, call, now, draft.params().retention_ms);
    rules.ask("name", ok, Code::NameTaken, why);
    let open = old.map_or(0, |d| d.open);
    let why = format!("{open} results of the name's last deployment may still be challenged");
    rules.ask("challenges", open == 0 || !ok, Code::StillOpen, why);
    let count = spec.replicas;
    let ok = (1..=MAX_REPLICAS).contains(&count);
    rules.ask(
        "replicas",
        ok,
        Code::BadReplicas,
        format!("{count} replicas, from 1 to {MAX_REPLICAS} are possible"),
    );
    let profile = draft.params().profile(w.security).cloned();
    match draft.cluster(&spec.cluster)? {
        None => {
            rules.ask("cluster", false, Code::UnknownCluster, format!("there is no cluster {}", spec.cluster))
        }
        Some(c) => {
            rules.ask("cluster", true, Code::UnknownCluster, format!("cluster {} exists", spec.cluster));
            let least = c.spec.security;
            let why = format!("{} asked, cluster {} demands at least {least}", w.security, spec.cluster);
            rules.ask("security-level", w.security >= least, Code::SecurityTooLow, why);
            judge_level(draft, w, &c.spec, rules)?;
            let (ok, why) = within(&w.resources, &c.spec.max_replica, "the cluster");
            rules.ask("cluster-limits", ok, Code::ResourcesTooLarge, why);
        }
    }
    match &profile {
        None => {
            rules.ask("profile", false, Code::SecurityTooLow, format!("no profile for level {}", w.security))
        }
        Some(p) => judge_profile(w, p, rules),
    }
    judge_money(draft, call, spec, fee, rules)?;
    Ok(profile)
}

fn name_is_free(old: Option<&DeploymentRecord>, call: &Call, now: u64, retention: u64) -> (bool, String) {
    let Some(old) = old else { return (true, "the name is new".into()) };
    let DeploymentStatus::Finished { at_ms, .. } = old.status else {
        return (false, "a deployment of this name is not finished".into());
    };
    if old.owner == call.sender || now >= at_ms.saturating_add(retention) {
        return (true, "the name's last deployment is finished".into());
    }
    (false, format!("the name is kept for its owner until {}", at_ms.saturating_add(retention)))
}

/// The highest cage level among the cluster's nodes must reach what is demanded.
fn judge_level(draft: &Draft<'_>, w: &Workload, cluster: &ClusterSpec, rules: &mut Rules) -> Step {
    let demanded = demanded_level(w, draft.params());
    let member = |a| cluster.nodes.0.is_empty() || cluster.nodes.0.contains(a);
    let nodes = draft.nodes()?;
    let offered = nodes.iter().filter(|(a, _)| member(a)).map(|(_, n)| n.spec.level_for(w.image.kind));
    let offered = offered.max();
    // Every node offers the lowest level, so a deployment may come before the first node.
    let offered = offered.unwrap_or(CageLevel::Contained);
    let by = if w.cage_level >= demanded {
        "the workload".into()
    } else {
        format!("security level {}", w.security)
    };
    let why = format!("{by} demands cage level {demanded}; nodes of this cluster offer {offered} at most");
    rules.ask("cage-level", offered >= demanded, Code::CageLevelNotOffered, why);
    if !w.is_job() {
        let why = format!("services run contained; {demanded} is demanded");
        rules.ask("service-level", demanded == CageLevel::Contained, Code::ServiceNotContained, why);
    }
    if w.verify > 0 {
        let why = format!("runs are compared from level pinned on; {demanded} is demanded");
        rules.ask("verify", demanded >= CageLevel::Pinned, Code::VerifyNeedsPinned, why);
    }
    Ok(())
}

fn judge_profile(w: &Workload, p: &SecurityProfile, rules: &mut Rules) {
    let why =
        if p.witness { "this level demands a witness; witnesses are not built" } else { "none demanded" };
    rules.ask("witness", !p.witness, Code::WitnessNotBuilt, why);
    let why = if p.approvals > 0 { "approvals are not built" } else { "none demanded" };
    rules.ask("approvals", p.approvals == 0, Code::ApprovalsNotBuilt, why);
    let most = Resources {
        cpu_milli: p.max_cpu_milli,
        memory_bytes: p.max_memory_bytes,
        disk_bytes: u64::MAX,
        pids: p.max_pids,
    };
    let (ok, why) = within(&w.resources, &most, "the security level");
    rules.ask("profile-limits", ok, Code::ResourcesTooLarge, why);
}

fn within(asked: &Resources, most: &Resources, whose: &str) -> (bool, String) {
    if most.checked_sub(*asked).is_some() {
        return (true, format!("one replica is within the limits of {whose}"));
    }
    let why = format!(
        "one replica asks for {}m cpu, {} memory, {} disk, {} pids; {whose} allows {}m, {}, {}, {}",
        asked.cpu_milli,
        format_bytes(asked.memory_bytes),
        format_bytes(asked.disk_bytes),
        asked.pids,
        most.cpu_milli,
        format_bytes(most.memory_bytes),
        format_bytes(most.disk_bytes),
        most.pids
    );
    (false, why)
}

fn judge_money(draft: &Draft<'_>, call: &Call, spec: &DeploySpec, fee: Amount, rules: &mut Rules) -> Step {
    let least = minimum_deposit(draft, &spec.workload, spec.replicas);
    let known = least.map_or("more than fits".into(), |l| l.to_string());
    let why = format!("deposit {}, at least {known} for these limits", spec.deposit);
    rules.ask("deposit", least.is_some_and(|l| spec.deposit >= l), Code::DepositTooSmall, why);
    let balance = draft.account(&call.sender)?.balance();
    let needed = spec.deposit.checked_add(fee);
    let why = format!("the account holds {balance}, deposit and fee are {} and {fee}", spec.deposit);
    rules.ask("balance", needed.is_some_and(|n| n <= balance), Code::InsufficientFunds, why);
    Ok(())
}

/// Least deposit of a deployment: the limits of every cage for a minute, or for a job's whole timeout. `None` on
/// overflow.
pub fn minimum_deposit(state: &(impl StateRead + ?Sized), w: &Workload, replicas: u32) -> Option<Amount> {
    let time = match w.kind {
        WorkloadKind::Service { .. } => MIN_SERVICE_MS,
        WorkloadKind::Job { timeout_ms } => timeout_ms,
    };
    let cages = u128::from(replicas) * u128::from(w.executions());
    state.params().tariff.price(&at_limits(w, time))?.checked_mul(cages)
}

/// Removes workload and replicas of an ended deployment; its record stays as the memory of the name.
fn remove_rows(draft: &mut Draft<'_>, name: &Name) -> Result<()> {
    for r in draft.replicas(name)? {
        assert!(r.assignment().is_none(), "an ended deployment holds nothing");
        assert!(r.open_verification().is_none(), "what may be challenged stays");
        draft.remove(keys::replica(&r.id));
    }
    draft.remove(keys::workload(name));
    Ok(())
}

/// Removes the rows of deployments that finished a retention time ago, a bounded number per block.
pub(crate) fn remove_expired(draft: &mut Draft<'_>) -> Result<()> {
    for (key, value) in draft.first_rows(&keys::all_expiry(), MAX_EXPIRED_PER_BLOCK)? {
        let at = keys::leading_number(&key).unwrap_or(u64::MAX);
        if at > draft.block.time_ms {
            break;
        }
        let (name, generation): (Name, u64) = decode(&value, "expiry")?;
        draft.remove(keys::expiry(at, &name));
        let current = draft.deployment(&name)?;
        if current.is_some_and(|d| d.generation == generation && !d.is_live()) {
            remove_rows(draft, &name)?;
        }
    }
    Ok(())
}

/// Reason of an order to stop, in words.
pub fn stop_reason(reason: UnassignReason) -> &'static str {
    match reason {
        UnassignReason::NodeLost => "its node is lost",
        UnassignReason::ScaledDown => "scaled down",
        UnassignReason::Stopped => "stopped by its owner",
        UnassignReason::EscrowUsedUp => "the escrow is used up",
        UnassignReason::Refused => "refused by its node",
        UnassignReason::NodeChanged => "its node offers less",
    }
}
