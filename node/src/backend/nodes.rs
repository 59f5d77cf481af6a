//! Clusters, registered nodes and connected peers.
//!
//! Owns what the ledger knows of machines, joined with what this node's network sees. Refuses to believe a
//! peer about itself: name and account of a peer are those that registered its authenticated id.

use super::fault::broken;
use super::history::header;
use metanode_p2p::PeerInfo;
use metanode_rpc::backend::Answer;
use metanode_rpc::error::BackendError;
use metanode_rpc::views::{ClusterView, NodeState, NodeView, Page, PeerView};
use metanode_state::records::{ClusterRecord, NodeRecord, NodeStatus};
use metanode_state::{StateRead, View, keys};
use metanode_types::codec;
use metanode_types::ids::{Address, Name};
use metanode_types::tx::PeerIdBytes;
use metanode_types::workload::Resources;
use std::collections::BTreeMap;

/// Deployments read at once while they are counted.
const COUNT_PAGE: usize = 1000;

/// One cluster.
pub fn cluster(view: &View<'_>, name: &Name) -> Answer<ClusterView> {
    let record = view.cluster(name).map_err(broken)?.ok_or_else(|| {
        BackendError::not_found(format!("there is no cluster {name}")).next("list them with state_clusters")
    })?;
    let live = live_deployments(view)?;
    Ok(cluster_view(record, &live))
}

/// Clusters by name.
pub fn clusters(view: &View<'_>, after: Option<&Name>, limit: usize) -> Answer<Page<ClusterView, Name>> {
    let page = view.clusters(after, limit).map_err(broken)?;
    let live = live_deployments(view)?;
    Ok(Page { items: page.items.into_iter().map(|c| cluster_view(c, &live)).collect(), next: page.next })
}

/// How many deployments of each cluster are not finished.
fn live_deployments(view: &View<'_>) -> Answer<BTreeMap<Name, u32>> {
    let (mut count, mut after) = (BTreeMap::new(), None);
    loop {
        let page = view.deployments(after.as_ref(), COUNT_PAGE).map_err(broken)?;
        for deployment in page.items.into_iter().filter(|d| d.is_live()) {
            *count.entry(deployment.cluster).or_insert(0) += 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

fn cluster_view(record: ClusterRecord, live: &BTreeMap<Name, u32>) -> ClusterView {
    let spec = record.spec;
    ClusterView {
        deployments: live.get(&spec.name).copied().unwrap_or(0),
        name: spec.name,
        owner: record.owner,
        security: spec.security,
        placement: spec.placement,
        nodes: spec.nodes.0,
        max_replica: spec.max_replica,
    }
}

/// Registered nodes by address.
pub fn nodes(view: &View<'_>, after: Option<&Address>, limit: usize) -> Answer<Page<NodeView, Address>> {
    let page = view.nodes_page(after, limit).map_err(broken)?;
    let mut times = Times { view, known: BTreeMap::new() };
    let items: Answer<Vec<NodeView>> =
        page.items.into_iter().map(|(address, record)| node_view(&mut times, address, record)).collect();
    Ok(Page { items: items?, next: page.next })
}

fn node_view(times: &mut Times<'_, '_>, address: Address, record: NodeRecord) -> Answer<NodeView> {
    let free = free(&record.spec.capacity, &record.reserved);
    let last_seen_height = times.height_at(record.heard_ms)?;
    let spec = record.spec;
    Ok(NodeView {
        name: spec.name,
        address,
        state: match record.status {
            NodeStatus::Ready => NodeState::Ready,
            NodeStatus::Lost => NodeState::Lost,
        },
        validator: times.view.validators().get(&address).is_some(),
        capacity: spec.capacity,
        free,
        replicas: record.replicas,
        cage_level: spec.cage_level,
        runs_oci: spec.runs_oci,
        wasm_level: spec.wasm_level,
        cpu_class: spec.machine.cpu,
        kernel: spec.machine.kernel.to_string(),
        peer_id: hex::encode(spec.peer_id.0),
        boot_id: record.boot_id,
        last_seen_height,
        last_seen_ms: record.heard_ms,
    })
}

/// What is not reserved. A node that registered again with less can hold more than it offers until it has
/// shed.
fn free(capacity: &Resources, reserved: &Resources) -> Resources {
    Resources {
        cpu_milli: capacity.cpu_milli.saturating_sub(reserved.cpu_milli),
        memory_bytes: capacity.memory_bytes.saturating_sub(reserved.memory_bytes),
        disk_bytes: capacity.disk_bytes.saturating_sub(reserved.disk_bytes),
        pids: capacity.pids.saturating_sub(reserved.pids),
    }
}

/// Block times by height, each read once.
struct Times<'a, 'b> {
    view: &'a View<'b>,
    known: BTreeMap<u64, u64>,
}

impl Times<'_, '_> {
    fn at(&mut self, height: u64) -> Answer<u64> {
        if let Some(time) = self.known.get(&height) {
            return Ok(*time);
        }
        let time = header(self.view, height)?.time_ms;
        self.known.insert(height, time);
        Ok(time)
    }

    /// The lowest height whose block time reaches `time_ms`: block times only grow, and a node was heard of
    /// recently, so the search goes back from the head in doubling steps and then halves.
    fn height_at(&mut self, time_ms: u64) -> Answer<u64> {
        let head = self.view.head().height;
        let (mut high, mut step) = (head, 1);
        let mut low = loop {
            if high <= 1 || self.at(high)? < time_ms {
                break high.max(1);
            }
            let below = high.saturating_sub(step).max(1);
            if self.at(below)? < time_ms || below == 1 {
                break below;
            }
            (high, step) = (below, step * 2);
        };
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle)? < time_ms { low = middle + 1 } else { high = middle }
        }
        Ok(high)
    }
}

/// Connected peers, with what the ledger knows of them.
pub fn peers(view: &View<'_>, connected: Vec<PeerInfo>) -> Answer<Vec<PeerView>> {
    let mut out = Vec::new();
    for info in connected {
        let key = keys::peer(&PeerIdBytes(info.peer.as_key().to_vec()));
        let address = view.raw(&key).map_err(broken)?;
        let address = address
            .map(|bytes| codec::decode::<Address>("address of a peer", &bytes, 32))
            .transpose()
            .map_err(|e| BackendError::internal(e.to_string()))?;
        let record = address.map(|a| view.node(&a).map_err(broken)).transpose()?.flatten();
        out.push(PeerView {
            peer: info.peer.to_string(),
            name: record.map(|r| r.spec.name),
            address,
            remote: info.address,
            outbound: !info.inbound,
            // The network does not tell which height a single peer claims.
            height: None,
        });
    }
    Ok(out)
}
