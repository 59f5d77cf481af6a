//! `metanode deploy`: asks the chain to run a workload, and with `--wait` sees it run.
//!
//! ```text
//! options -> workload -> image to the node -> signed transaction -> final? -> (--wait) replicas run, or the job
//! has run
//! ```
//!
//! Owns the defaults of a workload and the words in which a refused admission is told. What is on the ledger is public
//! for ever: a variable whose name looks like a secret is refused without `--public-env`.

pub mod secrets;

use super::failure::{Doing, Done, Failure};
use super::image::StoreArgs;
use super::output::{note, pairs, table, value};
use super::session::{Node, Session};
use super::submit::{self, Chain};
use super::{get, image, upload};
use metanode_rpc::views::{
    DeploymentState, DeploymentView, ReceiptView, ReplicaState, TxView, VerificationView,
};
use metanode_runtime::image::Reference;
use metanode_types::ids::{Name, TxId};
use metanode_types::level::{CageLevel, SecurityLevel};
use metanode_types::params::{Tariff, Usage};
use metanode_types::quantity::{Amount, parse_bytes, parse_cpu_milli, parse_duration_ms};
use metanode_types::tx::{DeploySpec, TxBody};
use metanode_types::workload::{EnvVar, HealthCheck, ImageRef, Resources, Workload, WorkloadKind};
use serde::Serialize;
use std::time::{Duration, Instant};

/// A service's default deposit covers this much time at its limits.
const SERVICE_DEPOSIT_MS: u64 = 3_600_000;
/// How often a replica's state is looked at while waiting.
const POLL: Duration = Duration::from_millis(50);

/// Deploy a workload.
#[derive(clap::Args, Debug)]
pub struct DeployArgs {
    /// Name of the deployment
    pub name: Name,
    /// oci:PATH, wasm:PATH, or sha256:… of an image that the store, the node or the ledger knows
    #[arg(long, value_name = "REF")]
    pub image: Reference,
    /// Run once to the end rather than for ever
    #[arg(long)]
    pub job: bool,
    /// Number of replicas
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub replicas: u32,
    /// Environment variable, public for ever; may be repeated
    #[arg(long, value_name = "K=V", value_parser = secrets::parse)]
    pub env: Vec<EnvVar>,
    /// Accept that a variable whose name looks like a secret becomes public
    #[arg(long)]
    pub public_env: bool,
    /// CPU of one replica
    #[arg(long, visible_alias = "cpu-limit", default_value = "100m", value_name = "CPU")]
    #[arg(value_parser = parse_cpu_milli)]
    pub cpu: u32,
    /// Memory of one replica
    #[arg(long, visible_alias = "memory-limit", default_value = "128Mi", value_name = "SIZE")]
    #[arg(value_parser = parse_bytes)]
    pub memory: u64,
    /// Writable space of one replica
    #[arg(long, default_value = "64Mi", value_name = "SIZE", value_parser = parse_bytes)]
    pub storage: u64,
    /// Processes of one replica
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub pids: u32,
    /// Bound on a job's run
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms, requires = "job")]
    pub timeout: Option<u64>,
    /// Cluster to run in
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub cluster: Name,
    /// standard, enterprise, high or maximum
    #[arg(long, default_value = "standard", value_name = "LEVEL")]
    pub security_level: SecurityLevel,
    /// Lowest cage level of a run: contained, pinned, reproduced or replayed
    #[arg(long, visible_alias = "level", default_value = "contained", value_name = "LEVEL")]
    pub cage_level: CageLevel,
    /// Nodes that run each replica of the job and must agree on what it did: 0 (one node, whose word is taken), 3, 5,
    /// 7 or 9
    #[arg(long, default_value_t = 0, value_name = "K", requires = "job")]
    pub verify: u32,
    /// Port of a service's health check, asked from inside its cage
    #[arg(long, value_name = "PORT", conflicts_with = "job")]
    pub health_port: Option<u16>,
    /// HTTP path of the health check; without it a TCP connection is enough
    #[arg(long, value_name = "PATH", requires = "health_port")]
    pub health_path: Option<String>,
    /// Tokens put in escrow for the use [default: limits at the tariff, for a job's timeout or an hour]
    #[arg(long, value_name = "TOKENS")]
    pub deposit: Option<Amount>,
    /// Return when a job has run, or when all replicas of a service run
    #[arg(long)]
    pub wait: bool,
    /// Bound on the wait
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = parse_duration_ms)]
    pub wait_timeout: u64,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Arguments in place of the image's own
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// What came of it.
#[derive(Serialize)]
struct Deployed {
    deployment: Name,
    tx: TxId,
    height: Option<u64>,
    status: DeploymentState,
    replicas: Vec<ReplicaLine>,
    receipts: Vec<ReceiptView>,
    deposit: Amount,
}

#[derive(Serialize)]
struct ReplicaLine {
    index: u32,
    node: Option<Name>,
    state: ReplicaState,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationView>,
}

/// Carries the command out.
pub fn run(session: &Session, args: DeployArgs) -> Done {
    secrets::check(&args.env, args.public_env)?;
    let deadline = Instant::now() + Duration::from_millis(args.wait_timeout);
    let key = session.account()?;
    let node = session.node()?;
    let chain = Chain::of(&node)?;
    let image = upload::provide(&node, &image::open(&args.store)?, &args.image)?;
    let workload = workload(&args, image);
    workload.validate().usage("describe the workload")?;
    let deposit = match args.deposit {
        Some(deposit) => deposit,
        None => default_deposit(&chain.params.tariff, &workload, args.replicas)
            .ok_or_else(|| Failure::usage("work out the deposit", "the limits cost more than any balance"))?,
    };
    if !args.env.is_empty() && session.form == super::output::Form::Text {
        note("note: environment variables are on the ledger, public for ever");
    }
    let spec = DeploySpec {
        name: args.name.clone(),
        cluster: args.cluster,
        replicas: args.replicas,
        workload,
        deposit,
    };
    let tx = chain.sign(&key, TxBody::Deploy(spec))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let final_tx = submit::send(&node, &tx, if args.wait { left } else { submit::DEFAULT_WAIT })?;
    refuse_red(&node, &final_tx, &args.name)?;
    let (view, in_time) = if args.wait {
        wait(&node, &args.name, deadline)?
    } else {
        (node.ask("read the deployment", node.client().deployment(args.name.clone()))?, true)
    };
    let deployed = summary(&node, view, &final_tx, deposit)?;
    conclude(session, deployed, args.wait, in_time)
}

fn workload(args: &DeployArgs, image: ImageRef) -> Workload {
    let kind = if args.job {
        WorkloadKind::Job { timeout_ms: args.timeout.unwrap_or(60_000) }
    } else {
        let health = args.health_port.map(|port| HealthCheck { port, path: args.health_path.clone() });
        WorkloadKind::Service { health }
    };
    Workload {
        image,
        args: args.args.clone(),
        env: args.env.clone(),
        resources: Resources {
            cpu_milli: args.cpu,
            memory_bytes: args.memory,
            disk_bytes: args.storage,
            pids: args.pids,
        },
        kind,
        cage_level: args.cage_level,
        security: args.security_level,
        verify: args.verify,
    }
}

/// What the limits cost at the tariff, for as long as a job may run or for an hour.
pub fn default_deposit(tariff: &Tariff, workload: &Workload, replicas: u32) -> Option<Amount> {
    let ms = match workload.kind {
        WorkloadKind::Job { timeout_ms } => timeout_ms,
        WorkloadKind::Service { .. } => SERVICE_DEPOSIT_MS,
    };
    let mib = workload.resources.memory_bytes.div_ceil(1 << 20);
    let usage = Usage {
        cpu_ms: u64::from(workload.resources.cpu_milli).checked_mul(ms)?.div_ceil(1000),
        memory_mib_s: mib.checked_mul(ms)?.div_ceil(1000),
    };
    tariff.price(&usage)?.checked_mul(u128::from(replicas) * u128::from(workload.executions()))
}

/// A deployment that admission held or refused is a failed check, with every rule that said so.
fn refuse_red(node: &Node, tx: &TxView, name: &Name) -> Done {
    let receipts = submit::receipts_of(node, tx)?;
    let reasons = submit::red_reasons(&receipts);
    if reasons.is_empty() {
        return Ok(());
    }
    let details = serde_json::json!({
        "deployment": name, "tx": tx.id, "height": tx.height, "replicas": [], "receipts": receipts, "reasons": reasons,
    });
    let failure = Failure::failed(format!("deploy {name}"), format!("not admitted: {}", reasons.join("; ")));
    Err(failure.next("change what the rules named, and deploy again").details(details))
}

/// True when there is nothing left to wait for.
fn settled(view: &DeploymentView) -> bool {
    let ended = |s: ReplicaState| matches!(s, ReplicaState::Finished | ReplicaState::Failed);
    if view.workload.is_job() || view.status != DeploymentState::Active {
        return view.status == DeploymentState::Finished || view.replicas.iter().all(|r| ended(r.state));
    }
    let checked = matches!(&view.workload.kind, WorkloadKind::Service { health: Some(_) });
    view.replicas.iter().all(|r| r.state == ReplicaState::Running && (!checked || r.healthy == Some(true)))
}

/// Looks at the deployment until it has settled; false when the time ran out first.
fn wait(node: &Node, name: &Name, deadline: Instant) -> Done<(DeploymentView, bool)> {
    loop {
        let view = node.ask("read the deployment", node.client().deployment(name.clone()))?;
        if settled(&view) {
            return Ok((view, true));
        }
        if Instant::now() >= deadline {
            return Ok((view, false));
        }
        std::thread::sleep(POLL);
    }
}

fn summary(node: &Node, view: DeploymentView, tx: &TxView, deposit: Amount) -> Done<Deployed> {
    let receipts = get::deployment_receipts(node, &view.name)?;
    // A name may have been used before: only what this deployment caused is told.
    let receipts = receipts.into_iter().filter(|r| Some(r.height) >= tx.height).collect();
    let line = |r: metanode_rpc::views::ReplicaView| ReplicaLine {
        index: r.index,
        node: r.node,
        state: r.state,
        exit: r.exit.map(|e| e.to_string()),
        verification: r.verification,
    };
    let replicas = view.replicas.into_iter().map(line).collect();
    Ok(Deployed {
        deployment: view.name,
        tx: tx.id,
        height: tx.height,
        status: view.status,
        replicas,
        receipts,
        deposit,
    })
}

fn conclude(session: &Session, deployed: Deployed, waited: bool, in_time: bool) -> Done {
    let what = format!("deploy {}", deployed.deployment);
    let name = deployed.deployment.clone();
    let failed: Vec<String> = deployed
        .replicas
        .iter()
        .filter(|r| r.state == ReplicaState::Failed)
        .map(|r| format!("replica {}: {}", r.index, why_failed(r)))
        .collect();
    let failure = if waited && !failed.is_empty() {
        Failure::failed(what, failed.join("; ")).next(format!("metanode logs {name} --stderr"))
    } else if !in_time {
        let states: Vec<String> =
            deployed.replicas.iter().map(|r| format!("replica {} {}", r.index, word(r.state))).collect();
        let why = format!("admitted, but not yet there when the wait ended: {}", states.join(", "));
        Failure::unavailable(what, why).next(format!("metanode explain {name}"))
    } else {
        session.form.emit(&deployed, text);
        return Ok(());
    };
    if session.form == super::output::Form::Text {
        session.form.emit(&deployed, text);
    }
    Err(failure.details(value(&deployed)))
}

fn why_failed(r: &ReplicaLine) -> String {
    match (&r.exit, &r.verification) {
        (Some(exit), _) => exit.clone(),
        (None, Some(v)) => super::verification::of_one(v),
        (None, None) => "could not be started".to_owned(),
    }
}

/// A replica's state in one word.
pub fn word(state: ReplicaState) -> String {
    value(&state).as_str().unwrap_or("unknown").to_owned()
}

fn text(d: &Deployed) -> String {
    let head = pairs(&[
        ("deployment", d.deployment.to_string()),
        ("tx", d.tx.to_string()),
        ("height", super::output::known(d.height)),
        ("deposit", d.deposit.to_string()),
        ("receipts", d.receipts.len().to_string()),
    ]);
    let row = |r: &ReplicaLine| {
        let node = r.node.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        vec![r.index.to_string(), node, word(r.state), r.exit.clone().unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = d.replicas.iter().map(row).collect();
    let compared = d.replicas.iter().filter_map(|r| Some((r.index, r.verification.as_ref()?)));
    let compared: String =
        compared.map(|(index, v)| format!("\nreplica {index}: {}", super::verification::of_one(v))).collect();
    format!("{head}\n{}{compared}", table(&["REPLICA", "NODE", "STATE", "EXIT"], &rows))
}
