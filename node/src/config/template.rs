//! The configuration file as `init` writes it: every key, its meaning, its default.
//!
//! A test reads it back and compares it with the defaults, and checks that no key is missing. Keys that are left to
//! their default are commented out, so that a later version may choose a better one.

use super::Config;

/// The text of a file in which `set` lists the lines to give a value: (`section.key`, TOML value).
pub fn commented(set: &[(&str, String)]) -> String {
    let mut section = "";
    let mut out = String::from(HEAD);
    for (key, default, comment) in KEYS {
        let (of, name) = key.split_once('.').expect("every key is section.key");
        if of != section {
            out.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        for line in comment.lines() {
            out.push_str(&format!("# {}\n", line.trim()));
        }
        let variable = format!("METANODE_{}_{}", of.to_ascii_uppercase(), name.to_ascii_uppercase());
        match set.iter().find(|(wanted, _)| wanted == key) {
            Some((_, value)) => out.push_str(&format!("# (environment: {variable})\n{name} = {value}\n")),
            None => out.push_str(&format!("# (environment: {variable})\n# {name} = {default}\n")),
        }
    }
    debug_assert!(set.iter().all(|(key, _)| KEYS.iter().any(|(known, ..)| known == key)), "no key is lost");
    debug_assert!(toml::from_str::<Config>(&out).is_ok(), "what is written can be read");
    out
}

const HEAD: &str = "# Settings of this node. A line that is commented out shows the default.
# Each key can be overridden by the environment variable named beside it.
";

/// Key, default as TOML, meaning.
pub(super) const KEYS: &[(&str, &str, &str)] = &[
    (
        "node.name",
        "\"\"",
        "Name under which this node registers: a-z, 0-9 and '-'. Empty: derived from its address.",
    ),
    ("node.runs_workloads", "true", "Whether replicas may be placed here."),
    ("node.cpu", "\"\"", "CPU offered, such as \"2\" or \"1500m\". Empty: share_percent of the machine."),
    ("node.memory", "\"\"", "Memory offered, such as \"4Gi\". Empty: share_percent of the machine."),
    (
        "node.disk",
        "\"\"",
        "Writable space offered. Empty: share_percent of what is free under the home directory.",
    ),
    ("node.pids", "0", "Processes offered. 0: share_percent of the machine's bound."),
    ("node.share_percent", "75", "The share of the machine that is offered where nothing is stated above."),
    (
        "rpc.listen",
        "\"127.0.0.1:8080\"",
        "Address of JSON-RPC, /status, /livez, /readyz and /metrics.
        Whoever reaches it can read the ledger and submit signed transactions; it has no other powers.",
    ),
    (
        "rpc.image_upload",
        "\"loopback\"",
        "Who may hand images to this node and so spend its disk: \"refused\", \"loopback\" or \"anyone\".",
    ),
    (
        "p2p.listen",
        "[\"/ip4/0.0.0.0/udp/30303/quic-v1\", \"/ip4/0.0.0.0/tcp/30303\"]",
        "Addresses to listen on for peers: QUIC, and TCP with TLS.",
    ),
    (
        "p2p.peers",
        "[]",
        "Peers to keep a connection to: \"/ip4/A/udp/P/quic-v1/p2p/ID\" or \"/ip4/A/tcp/P/p2p/ID\".",
    ),
    (
        "log.level",
        "\"info\"",
        "What is logged: error, warn, info, debug, trace; per crate as in \"info,metanode_p2p=debug\".",
    ),
    ("log.format", "\"plain\"", "\"plain\" for people, \"json\" for one object a line."),
    ("images.dir", "\"\"", "Directory of the image store. Empty: data/images in the home directory."),
    (
        "limits.log_bytes",
        "\"4Mi\"",
        "Bytes kept of each output stream of a replica; older output is dropped.",
    ),
    ("limits.rpc_connections", "900", "Connections that the interface accepts at once."),
    ("limits.mempool_txs", "20000", "Transactions that wait here at most."),
];
