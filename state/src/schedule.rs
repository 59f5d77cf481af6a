//! Where replicas run: a deterministic pass at the end of each block, and the explanation of it.
//!
//! Owns the rules in their order and the ranking. `place` goes once over everything pending, oldest first, then by id;
//! among the nodes that pass every rule the best by the cluster's policy wins, ties go to the lowest address. What a
//! node holds is never moved. `explain` asks the same rules. Costs one read when nothing is pending.

use crate::draft::Draft;
use crate::error::Result;
use crate::keys;
use crate::limits::MAX_PLACED_PER_BLOCK;
use crate::records::*;
use crate::replica;
use crate::view::{StateRead, decode, existing, required};
use metanode_types::ids::{Address, Name};
use metanode_types::level::CageLevel;
use metanode_types::params::ChainParams;
use metanode_types::quantity::format_bytes;
use metanode_types::tx::{ClusterSpec, NodeSpec, PlacementPolicy};
use metanode_types::workload::{ImageKind, ReplicaId, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// What a deployment asks of a node.
struct Request {
    deployment: DeploymentRecord,
    workload: Workload,
    cluster: ClusterSpec,
    members: BTreeSet<Address>,
    level: CageLevel,
    now_ms: u64,
    /// Replicas of this deployment by node.
    spread: BTreeMap<Address, u32>,
}

/// A node as placement sees it.
struct Candidate<'a> {
    address: Address,
    node: &'a NodeRecord,
}

/// One rule: `Ok` with the numbers, or why not. Both texts are for people.
type Rule = fn(&Request, &Candidate<'_>) -> std::result::Result<String, String>;

/// The rules in order, by stable name.
const RULES: [(&str, Rule); 9] = [
    ("cluster", |r, c| {
        let all = r.members.is_empty();
        verdict(all || r.members.contains(&c.address), || format!("member of cluster {}", r.cluster.name))
    }),
    ("ready", |_, c| verdict(c.node.status == NodeStatus::Ready, || "heartbeats arrive".into())),
    ("cage-level", |r, c| {
        let has = c.node.spec.cage_level;
        verdict(has >= r.level, || format!("reaches {has}, demanded is {}", r.level))
    }),
    ("runs-oci", |r, c| {
        let needed = r.workload.image.kind == ImageKind::Oci;
        verdict(!needed || c.node.spec.runs_oci, || "runs this kind of image".into())
    }),
    ("capacity-cpu", |r, c| {
        let free = c.node.spec.capacity.cpu_milli.saturating_sub(c.node.reserved.cpu_milli);
        let asked = r.workload.resources.cpu_milli;
        verdict(asked <= free, || format!("{asked}m asked, {free}m free"))
    }),
    ("capacity-memory", |r, c| {
        let free = c.node.spec.capacity.memory_bytes.saturating_sub(c.node.reserved.memory_bytes);
        bytes(r.workload.resources.memory_bytes, free)
    }),
    ("capacity-disk", |r, c| {
        let free = c.node.spec.capacity.disk_bytes.saturating_sub(c.node.reserved.disk_bytes);
        bytes(r.workload.resources.disk_bytes, free)
    }),
    ("capacity-pids", |r, c| {
        let free = c.node.spec.capacity.pids.saturating_sub(c.node.reserved.pids);
        let asked = r.workload.resources.pids;
        verdict(asked <= free, || format!("{asked} asked, {free} free"))
    }),
    ("failure-history", |r, c| {
        let until = r.deployment.avoided.iter().find(|a| a.node == c.address && a.until_ms > r.now_ms);
        match until {
            None => Ok("no recent failure of this deployment here".into()),
            Some(a) => Err(format!("a replica failed here; avoided until block time {}", a.until_ms)),
        }
    }),
];

fn verdict(ok: bool, detail: impl FnOnce() -> String) -> std::result::Result<String, String> {
    if ok { Ok(detail()) } else { Err(format!("no: {}", detail())) }
}

fn bytes(asked: u64, free: u64) -> std::result::Result<String, String> {
    verdict(asked <= free, || format!("{} asked, {} free", format_bytes(asked), format_bytes(free)))
}

/// Cage level that a workload's run must reach: its own demand or its security level's, the higher.
pub fn demanded_level(w: &Workload, params: &ChainParams) -> CageLevel {
    let by_security = params.profile(w.security).map_or(CageLevel::Replayed, |p| p.cage_level);
    by_security.max(w.cage_level)
}

/// Whether a node can run a workload at all, whatever it holds.
pub(crate) fn node_can_run(spec: &NodeSpec, w: &Workload, params: &ChainParams) -> bool {
    let kind = w.image.kind == ImageKind::Wasm || spec.runs_oci;
    kind && spec.cage_level >= demanded_level(w, params)
}

/// Rank among fitting nodes: the lowest wins.
fn rank(r: &Request, c: &Candidate<'_>) -> (u64, u64, Address) {
    let here = u64::from(r.spread.get(&c.address).copied().unwrap_or(0));
    match r.cluster.placement {
        PlacementPolicy::Spread => (here, u64::from(c.node.replicas), c.address),
        PlacementPolicy::BinPack => (free_permille(c.node), here, c.address),
    }
}

/// Free share of the scarcer of CPU and memory, in thousandths.
fn free_permille(n: &NodeRecord) -> u64 {
    let share = |capacity: u64, reserved: u64| {
        let free = u128::from(capacity.saturating_sub(reserved));
        (free * 1000 / u128::from(capacity.max(1))) as u64
    };
    let (c, r) = (&n.spec.capacity, &n.reserved);
    share(c.cpu_milli.into(), r.cpu_milli.into()).min(share(c.memory_bytes, r.memory_bytes))
}

fn fits(r: &Request, c: &Candidate<'_>) -> bool {
    RULES.iter().all(|(_, rule)| rule(r, c).is_ok())
}

fn request(state: &impl StateRead, name: &Name, now_ms: u64) -> Result<Request> {
    let deployment = required(state.deployment(name)?, "deployment")?;
    let workload = required(state.workload(name)?, "workload")?;
    let cluster = required(state.cluster(&deployment.cluster)?, "cluster")?.spec;
    let mut spread = BTreeMap::new();
    for r in state.replicas(name)? {
        if let Some(a) = r.assignment() {
            *spread.entry(a.node).or_insert(0) += 1;
        }
    }
    let members = cluster.nodes.0.iter().copied().collect();
    let level = demanded_level(&workload, state.params());
    Ok(Request { deployment, workload, cluster, members, level, now_ms, spread })
}

/// Places everything pending for which a node fits.
pub(crate) fn place(draft: &mut Draft<'_>) -> Result<()> {
    if draft.first_rows(&keys::all_pending(), 1)?.is_empty() {
        return Ok(());
    }
    let mut nodes: BTreeMap<Address, NodeRecord> = draft.nodes()?.into_iter().collect();
    let mut requests: BTreeMap<Name, Option<Request>> = BTreeMap::new();
    let mut placed = 0;
    for (_, value) in draft.rows(&keys::all_pending())? {
        let id: ReplicaId = decode(&value, "replica id")?;
        if placed == MAX_PLACED_PER_BLOCK {
            break;
        }
        if !requests.contains_key(&id.deployment) {
            let now = draft.block.time_ms;
            requests.insert(id.deployment.clone(), Some(request(draft, &id.deployment, now)?));
        }
        let slot = requests.get_mut(&id.deployment).expect("it was just put there");
        // Replicas of one deployment ask the same, and a pass only takes capacity: once none fits, none will.
        let Some(r) = slot else { continue };
        let all = nodes.iter().map(|(address, node)| Candidate { address: *address, node });
        let best = all.filter(|c| fits(r, c)).map(|c| rank(r, &c)).min();
        let Some((_, _, address)) = best else {
            *slot = None;
            continue;
        };
        let record = existing(draft, &id)?;
        replica::assign(draft, record, &r.deployment, &r.workload, address)?;
        *r.spread.entry(address).or_insert(0) += 1;
        nodes.insert(address, required(draft.node(&address)?, "node")?);
        placed += 1;
    }
    Ok(())
}

/// What one rule says of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleVerdict {
    /// Stable name.
    pub rule: &'static str,
    /// Whether the node passes.
    pub ok: bool,
    /// With which numbers.
    pub detail: String,
}

/// What placement says of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeVerdict {
    /// Node.
    pub node: Address,
    /// Its name.
    pub name: Name,
    /// Every rule, in order.
    pub rules: Vec<RuleVerdict>,
    /// Place among the fitting nodes, from 1; `None` when it does not fit.
    pub rank: Option<u32>,
}

impl NodeVerdict {
    /// True when every rule passes.
    pub fn fits(&self) -> bool {
        self.rules.iter().all(|r| r.ok)
    }
}

/// Why one replica is where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The replica.
    pub replica: ReplicaRecord,
    /// Every registered node, by address. For a held replica: as for one more replica beside it.
    pub nodes: Vec<NodeVerdict>,
}

/// Explains where a deployment's replicas are; `None` if there is no such deployment or its records are gone.
pub fn explain(state: &impl StateRead, name: &Name, now_ms: u64) -> Result<Option<Vec<Explanation>>> {
    if state.deployment(name)?.is_none() || state.workload(name)?.is_none() {
        return Ok(None);
    }
    let r = request(state, name, now_ms)?;
    let nodes = state.nodes()?;
    let all: Vec<Candidate<'_>> = nodes.iter().map(|(a, node)| Candidate { address: *a, node }).collect();
    let mut ranks: Vec<_> = all.iter().filter(|c| fits(&r, c)).map(|c| rank(&r, c)).collect();
    ranks.sort_unstable();
    let judge = |c: &Candidate<'_>| NodeVerdict {
        node: c.address,
        name: c.node.spec.name.clone(),
        rules: RULES
            .iter()
            .map(|(name, rule)| {
                let said = rule(&r, c);
                RuleVerdict { rule: name, ok: said.is_ok(), detail: said.unwrap_or_else(|e| e) }
            })
            .collect(),
        rank: ranks.iter().position(|k| k.2 == c.address).map(|p| p as u32 + 1),
    };
    let verdicts: Vec<NodeVerdict> = all.iter().map(judge).collect();
    let replicas = state.replicas(name)?;
    Ok(Some(replicas.into_iter().map(|replica| Explanation { replica, nodes: verdicts.clone() }).collect()))
}
