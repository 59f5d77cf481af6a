//! Where replicas run: a deterministic pass at the end of each block, and the explanation of it.
//!
//! Owns the rules in their order and the ranking. `place` goes once over everything pending, oldest first, then by id;
//! among the nodes that pass every rule the best by the cluster's policy wins, ties go to the lowest address. What a
//! node holds is never moved. `explain` asks the same rules. Costs one read when nothing is pending.

use crate::draft::Draft;
use crate::error::Result;
use crate::keys;
use crate::limits::{FAULT_LIMIT, MAX_PLACED_PER_BLOCK};
use crate::records::*;
use crate::replica;
use crate::verified;
use crate::view::{StateRead, View, decode, existing, required};
use metanode_types::cage_report::MachineClass;
use metanode_types::hash::{Domain, hash};
use metanode_types::ids::{Address, BlockId, Name};
use metanode_types::level::CageLevel;
use metanode_types::params::ChainParams;
use metanode_types::quantity::{Amount, format_bytes};
use metanode_types::tx::{ClusterSpec, NodeSpec, PlacementPolicy};
use metanode_types::workload::{ImageKind, ReplicaId, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// What a deployment asks of a node.
#[derive(Clone)]
struct Request {
    deployment: DeploymentRecord,
    workload: Workload,
    cluster: ClusterSpec,
    members: BTreeSet<Address>,
    level: CageLevel,
    now_ms: u64,
    /// Replicas of this deployment by node.
    spread: BTreeMap<Address, u32>,
    /// Parent of the block that places; what makes the draw of verifying nodes unknown to who deploys.
    parent: BlockId,
    height: u64,
    /// Money that a node must be able to put up.
    bond: Amount,
    /// Nodes that pass every other rule, by class of machine.
    classes: BTreeMap<MachineClass, u32>,
}

/// A node as placement sees it.
struct Candidate<'a> {
    address: Address,
    node: &'a NodeRecord,
    /// What its account holds; asked for only where a bond is.
    balance: Amount,
}

/// One rule: `Ok` with the numbers, or why not. Both texts are for people.
type Rule = fn(&Request, &Candidate<'_>) -> std::result::Result<String, String>;

/// The rules in order, by stable name. The last one counts the nodes that pass all others.
const RULES: [(&str, Rule); 12] = [
    ("cluster", |r, c| {
        let all = r.members.is_empty();
        verdict(all || r.members.contains(&c.address), || format!("member of cluster {}", r.cluster.name))
    }),
    ("ready", |_, c| verdict(c.node.status == NodeStatus::Ready, || "heartbeats arrive".into())),
    ("cage-level", |r, c| {
        let has = c.node.spec.level_for(r.workload.image.kind);
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
    ("verify-history", |r, c| {
        let weight = c.node.faults_at(r.height);
        let ok = r.workload.verify == 0 || weight < FAULT_LIMIT;
        verdict(ok, || format!("faults in verified jobs weigh {weight}, below {FAULT_LIMIT} is needed"))
    }),
    ("verify-bond", |r, c| match r.bond {
        Amount::ZERO => Ok("no bond asked".into()),
        bond => verdict(c.balance >= bond, || format!("a bond of {bond}, the account holds {}", c.balance)),
    }),
    ("verify-class", |r, c| {
        let asked = r.workload.verify;
        if asked == 0 {
            return Ok("one node is enough".into());
        }
        let fit = r.classes.get(&c.node.spec.machine).copied().unwrap_or(0);
        verdict(fit >= asked, || {
            format!("{fit} fitting nodes of {}, {asked} are needed", c.node.spec.machine)
        })
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
    kind && spec.level_for(w.image.kind) >= demanded_level(w, params)
}

/// Rank among fitting nodes: the lowest wins. Faults in verified jobs come first, whatever is placed.
type Rank = (u32, u64, u64, Address);

fn rank(r: &Request, c: &Candidate<'_>, index: u32) -> Rank {
    let faults = c.node.faults_at(r.height);
    if r.workload.verify > 0 {
        return (faults, draw(r, index, &c.address), 0, c.address);
    }
    let here = u64::from(r.spread.get(&c.address).copied().unwrap_or(0));
    match r.cluster.placement {
        PlacementPolicy::Spread => (faults, here, u64::from(c.node.replicas), c.address),
        PlacementPolicy::BinPack => (faults, free_permille(c.node), here, c.address),
    }
}

/// Who verifies is drawn, so that nobody deploys onto nodes of their choice. Public and, for a proposer, grindable.
fn draw(r: &Request, index: u32, node: &Address) -> u64 {
    let parts: [&[u8]; 4] = [&r.parent.0, &r.deployment.tx.0, &index.to_be_bytes(), &node.0];
    let digest = hash(Domain::Draw, &parts);
    keys::leading_number(&digest).expect("a digest has eight bytes")
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

/// As [`fits`], but for the rule that counts the others.
fn fits_alone(r: &Request, c: &Candidate<'_>) -> bool {
    RULES[..RULES.len() - 1].iter().all(|(_, rule)| rule(r, c).is_ok())
}

/// Counts the nodes that fit, by class.
fn classes(r: &Request, all: &[Candidate<'_>]) -> BTreeMap<MachineClass, u32> {
    let mut out = BTreeMap::new();
    for c in all.iter().filter(|c| fits_alone(r, c)) {
        *out.entry(c.node.spec.machine.clone()).or_insert(0) += 1;
    }
    out
}

/// The moment for which a placement is asked.
#[derive(Clone, Copy)]
struct Moment {
    now_ms: u64,
    height: u64,
    parent: BlockId,
}

fn request(state: &impl StateRead, name: &Name, at: Moment) -> Result<Request> {
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
    let bond = if workload.verify > 0 { state.params().verify.bond } else { Amount::ZERO };
    let Moment { now_ms, height, parent } = at;
    let classes = BTreeMap::new();
    Ok(Request {
        deployment,
        workload,
        cluster,
        members,
        level,
        now_ms,
        spread,
        parent,
        height,
        bond,
        classes,
    })
}

/// The nodes of the state as candidates; their accounts are read only if a bond is asked.
struct Pool {
    nodes: BTreeMap<Address, NodeRecord>,
    balances: BTreeMap<Address, Amount>,
}

impl Pool {
    fn new(state: &impl StateRead) -> Result<Pool> {
        Ok(Pool { nodes: state.nodes()?.into_iter().collect(), balances: BTreeMap::new() })
    }
    fn candidates(&mut self, state: &impl StateRead, r: &Request) -> Result<Vec<Candidate<'_>>> {
        if r.bond > Amount::ZERO && self.balances.is_empty() {
            for address in self.nodes.keys() {
                self.balances.insert(*address, state.account(address)?.balance());
            }
        }
        let balance = |a: &Address| self.balances.get(a).copied().unwrap_or(Amount::ZERO);
        let all = self.nodes.iter();
        Ok(all.map(|(a, node)| Candidate { address: *a, node, balance: balance(a) }).collect())
    }
    /// Reads a node again that was just given something.
    fn refresh(&mut self, state: &impl StateRead, address: Address) -> Result<()> {
        self.nodes.insert(address, required(state.node(&address)?, "node")?);
        if let Some(balance) = self.balances.get_mut(&address) {
            *balance = state.account(&address)?.balance();
        }
        Ok(())
    }
}

/// Places everything pending for which a node fits.
pub(crate) fn place(draft: &mut Draft<'_>) -> Result<()> {
    if draft.first_rows(&keys::all_pending(), 1)?.is_empty() {
        return Ok(());
    }
    let mut pool = Pool::new(draft)?;
    let at = Moment { now_ms: draft.block.time_ms, height: draft.block.height, parent: draft.block.parent };
    let mut requests: BTreeMap<Name, Option<Request>> = BTreeMap::new();
    let mut placed = 0;
    for (_, value) in draft.rows(&keys::all_pending())? {
        let id: ReplicaId = decode(&value, "replica id")?;
        if placed == MAX_PLACED_PER_BLOCK {
            break;
        }
        if !requests.contains_key(&id.deployment) {
            requests.insert(id.deployment.clone(), Some(request(draft, &id.deployment, at)?));
        }
        let slot = requests.get_mut(&id.deployment).expect("it was just put there");
        // Replicas of one deployment ask the same, and a pass only takes capacity: once none fits, none will.
        let Some(r) = slot else { continue };
        let chosen = choose(r, id.index, &pool.candidates(draft, r)?);
        let Some((machine, chosen)) = chosen else {
            *slot = None;
            continue;
        };
        let record = existing(draft, &id)?;
        match (r.workload.verify, chosen.as_slice()) {
            (0, [address]) => replica::assign(draft, record, &r.deployment, &r.workload, *address)?,
            (_, all) => verified::assign(draft, record, &r.deployment, &r.workload, machine, all)?,
        }
        for address in chosen {
            *r.spread.entry(address).or_insert(0) += 1;
            pool.refresh(draft, address)?;
            placed += 1;
        }
    }
    Ok(())
}

/// The nodes for one replica: the best one, or as many of one class as verify it. Of several classes that have
/// enough, the one with the most fitting nodes.
fn choose(r: &mut Request, index: u32, all: &[Candidate<'_>]) -> Option<(MachineClass, Vec<Address>)> {
    let wanted = r.workload.executions();
    if r.workload.verify > 0 {
        r.classes = classes(r, all);
    }
    let enough = r.classes.iter().filter(|(_, n)| **n >= wanted);
    let class = enough.max_by_key(|(class, n)| (**n, std::cmp::Reverse(*class))).map(|(c, _)| c);
    if r.workload.verify > 0 && class.is_none() {
        return None;
    }
    let of_class = |c: &&Candidate<'_>| class.is_none_or(|class| c.node.spec.machine == *class);
    let fitting = all.iter().filter(of_class).filter(|c| fits(r, c));
    let mut ranks: Vec<Rank> = fitting.map(|c| rank(r, c, index)).collect();
    ranks.sort_unstable();
    let chosen: Vec<Address> = ranks.iter().take(wanted as usize).map(|k| k.3).collect();
    (chosen.len() == wanted as usize).then(|| (class.cloned().unwrap_or_default(), chosen))
}

/// A node of a class that could run a replica once more, drawn among those that fit and are not barred; if there is
/// none, why.
pub(crate) fn another(
    draft: &Draft<'_>,
    id: &ReplicaId,
    machine: &MachineClass,
    barred: &[Address],
) -> Result<std::result::Result<Address, String>> {
    let at = Moment { now_ms: draft.block.time_ms, height: draft.block.height, parent: draft.block.parent };
    let mut r = request(draft, &id.deployment, at)?;
    r.bond = draft.params().verify.bond;
    r.workload.verify = 1;
    let mut pool = Pool::new(draft)?;
    let all = pool.candidates(draft, &r)?;
    let of_class: Vec<_> = all.iter().filter(|c| c.node.spec.machine == *machine).collect();
    let left: Vec<_> = of_class.iter().filter(|c| !barred.contains(&c.address)).collect();
    let fitting = left.iter().filter(|c| fits_alone(&r, c));
    let best = fitting.map(|c| rank(&r, c, id.index)).min();
    let why = || {
        let broken = left.iter().filter_map(|c| {
            let (rule, _) = RULES.iter().find(|(_, rule)| rule(&r, c).is_err())?;
            Some(format!("{} breaks {rule}", c.node.spec.name))
        });
        let broken: Vec<String> = broken.take(8).collect();
        let broken = if broken.is_empty() { String::new() } else { format!(": {}", broken.join(", ")) };
        format!(
            "{} nodes of {machine}, {} have not run it, none of them fits{broken}",
            of_class.len(),
            left.len()
        )
    };
    Ok(best.map(|k| k.3).ok_or_else(why))
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

/// Explains where a deployment's replicas are, as the next block would place; `None` if there is no such deployment or
/// its records are gone.
pub fn explain(view: &View<'_>, name: &Name, now_ms: u64) -> Result<Option<Vec<Explanation>>> {
    if view.deployment(name)?.is_none() || view.workload(name)?.is_none() {
        return Ok(None);
    }
    let head = view.head();
    let mut r = request(view, name, Moment { now_ms, height: head.height + 1, parent: head.block })?;
    let mut pool = Pool::new(view)?;
    let all = pool.candidates(view, &r)?;
    r.classes = classes(&r, &all);
    // Only the draw of verifying nodes differs from replica to replica.
    let of_any = judged(&r, 0, &all);
    let explained = |replica: ReplicaRecord| {
        let drawn = r.workload.verify > 0 && replica.id.index > 0;
        let nodes = if drawn { judged(&r, replica.id.index, &all) } else { of_any.clone() };
        Explanation { replica, nodes }
    };
    Ok(Some(view.replicas(name)?.into_iter().map(explained).collect()))
}

/// What every rule says of every node, with the ranks of those that fit.
fn judged(r: &Request, index: u32, all: &[Candidate<'_>]) -> Vec<NodeVerdict> {
    let mut ranks: Vec<_> = all.iter().filter(|c| fits(r, c)).map(|c| rank(r, c, index)).collect();
    ranks.sort_unstable();
    let judge = |c: &Candidate<'_>| NodeVerdict {
        node: c.address,
        name: c.node.spec.name.clone(),
        rules: RULES
            .iter()
            .map(|(name, rule)| {
                let said = rule(r, c);
                RuleVerdict { rule: name, ok: said.is_ok(), detail: said.unwrap_or_else(|e| e) }
            })
            .collect(),
        rank: ranks.iter().position(|k| k.3 == c.address).map(|p| p as u32 + 1),
    };
    all.iter().map(judge).collect()
}
