//! Numbers for Prometheus, with the names that CometBFT's dashboards know behind our prefix.
//!
//! Owns the list of samples. Everything comes from memory; what has not been measured is left out, not zero.

use super::NodeBackend;
use metanode_p2p::Stats;
use metanode_rpc::metrics::Sample;

/// Everything that is known now.
pub fn samples(backend: &NodeBackend) -> Vec<Sample> {
    let snapshot = backend.parts.chain.snapshot();
    let head = backend.pulse.head();
    let genesis = &backend.parts.genesis;
    let set = genesis.validator_set();
    let readiness = backend.ready();
    let mut all = vec![
        Sample::gauge("metanode_consensus_height", "Height of the newest final block.", head.height as f64),
        Sample::gauge(
            "metanode_consensus_rounds",
            "Round of the height under way; 0 also while none is.",
            f64::from(snapshot.round.unwrap_or(0)),
        ),
        Sample::gauge("metanode_consensus_validators", "Validators of the next height.", set.len() as f64),
        Sample::gauge(
            "metanode_consensus_validators_power",
            "Voting power of the next height.",
            set.total_power() as f64,
        ),
        Sample::counter("metanode_consensus_total_txs", "Transactions in final blocks.", head.txs),
        Sample::gauge(
            "metanode_consensus_latest_block_time_seconds",
            "Time of the newest final block, Unix seconds.",
            head.time_ms as f64 / 1000.0,
        ),
        Sample::gauge(
            "metanode_consensus_catching_up",
            "1 while peers hold blocks that this node lacks.",
            f64::from(u8::from(backend.is_catching_up(&snapshot, head.height))),
        ),
        Sample {
            name: "metanode_consensus_block_interval_seconds",
            help: "Time between final blocks since this process began, by their own clocks.",
            labels: Vec::new(),
            value: backend.pulse.intervals(),
        },
        Sample::gauge("metanode_mempool_size", "Transactions waiting.", snapshot.waiting_txs as f64),
        Sample::gauge(
            "metanode_mempool_size_bytes",
            "Bytes of transactions waiting.",
            snapshot.waiting_bytes as f64,
        ),
        Sample::gauge(
            "metanode_node_ready",
            "1 when this node serves.",
            f64::from(u8::from(readiness.ready)),
        ),
        Sample::gauge(
            "metanode_node_alarms",
            "Things of which this node says that an operator must look.",
            snapshot.alarms.len() as f64,
        ),
        Sample::gauge("metanode_p2p_peers", "Connected peers.", snapshot.peers as f64),
    ];
    all.extend(network(&backend.parts.network.stats()));
    if let Some(cages) = backend.pulse.cages() {
        all.push(Sample::gauge("metanode_cages", "Cages running.", cages as f64));
    }
    if let Some(bytes) = backend.pulse.disk_bytes() {
        all.push(Sample::gauge("metanode_disk_bytes", "Bytes of the data directory.", bytes as f64));
    }
    all
}

fn network(stats: &Stats) -> [Sample; 9] {
    [
        Sample::counter(
            "metanode_p2p_published_total",
            "Gossip messages of ours that went out.",
            stats.published,
        ),
        Sample::counter(
            "metanode_p2p_unheard_total",
            "Gossip messages of ours that nobody received.",
            stats.unheard,
        ),
        Sample::counter(
            "metanode_p2p_delivered_total",
            "Gossip messages handed to the node.",
            stats.delivered,
        ),
        Sample::counter(
            "metanode_p2p_repeated_total",
            "Gossip messages dropped as repetitions.",
            stats.repeated,
        ),
        Sample::counter(
            "metanode_p2p_dropped_total",
            "Messages dropped over a budget or a full queue.",
            stats.dropped,
        ),
        Sample::counter("metanode_p2p_requests_total", "Requests sent.", stats.requests),
        Sample::counter("metanode_p2p_served_total", "Requests of peers handed to the node.", stats.served),
        Sample::counter("metanode_p2p_offences_total", "Offences counted against peers.", stats.offences),
        Sample::counter("metanode_p2p_bans_total", "Bans spoken.", stats.bans),
    ]
}
