//! The generated file, the environment, and what a wrong setting is told.

use super::*;
use std::ffi::OsString;

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, OsString)> {
    let owned: Vec<_> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    owned.into_iter()
}

fn error_of(text: &str) -> String {
    Config::parse(Path::new("config.toml"), text.as_bytes()).expect_err(text).to_string()
}

#[test]
fn the_generated_file_holds_every_key_with_its_default() {
    let text = commented(&[]);
    let path = Path::new("config.toml");
    assert_eq!(Config::parse(path, text.as_bytes()).expect("valid"), Config::default());
    // The same with every commented default switched on.
    let on: Vec<(&str, String)> =
        template::KEYS.iter().map(|(key, default, _)| (*key, (*default).to_owned())).collect();
    assert_eq!(Config::parse(path, commented(&on).as_bytes()).expect("valid"), Config::default());
    let table = toml::Table::try_from(Config::default()).expect("plain");
    let keys: Vec<String> = table
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_table().expect("a section").keys().map(move |k| format!("{section}.{k}"))
        })
        .collect();
    for key in &keys {
        let (_, _, comment) = template::KEYS.iter().find(|(known, ..)| known == key).expect(key);
        assert!(comment.len() > 10, "{key} has a comment");
    }
    assert_eq!(keys.len(), template::KEYS.len(), "no key is invented");
}

#[test]
fn set_values_are_written_and_read() {
    let text = commented(&[("rpc.listen", "\"127.0.0.1:9\"".into()), ("node.name", "\"n0\"".into())]);
    let config = Config::parse(Path::new("c"), text.as_bytes()).expect("valid");
    assert_eq!((config.rpc.listen.port(), config.node.name.as_str()), (9, "n0"));
}

#[test]
fn every_key_has_an_override() {
    let set = [
        ("METANODE_RPC_LISTEN", "127.0.0.1:1"),
        ("METANODE_NODE_RUNS_WORKLOADS", "false"),
        ("METANODE_NODE_PIDS", "12"),
        ("METANODE_NODE_SHARE_PERCENT", "50"),
        ("METANODE_P2P_LISTEN", "/ip4/127.0.0.1/tcp/1, /ip4/127.0.0.1/tcp/2"),
        ("METANODE_LOG_FORMAT", "json"),
        ("METANODE_RPC", "http://not.a.setting"),
        ("METANODE_HOME", "/x"),
        ("PATH", "/bin"),
    ];
    let config = Config::default().overridden(variables(&set)).expect("valid");
    assert_eq!((config.rpc.listen.port(), config.node.runs_workloads, config.node.pids), (1, false, 12));
    assert_eq!(config.p2p.listen, ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn wrong_variables_are_refused_by_name() {
    for (name, value, says) in [
        ("METANODE_RPC_LISTN", "x", "has no key listn"),
        ("METANODE_NODE_PIDS", "many", "not a whole number"),
        ("METANODE_NODE_RUNS_WORKLOADS", "yes", "not true or false"),
        ("METANODE_LOG_FORMAT", "xml", "xml"),
        ("METANODE_RPC_LISTEN", "8080", "METANODE_RPC_LISTEN"),
    ] {
        let error = Config::default().overridden(variables(&[(name, value)])).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(says), "{error}");
    }
}

#[test]
fn errors_name_file_line_and_key() {
    let error = error_of("[rpc]\n\nlisten = \"nowhere\"\n");
    assert!(error.starts_with("config.toml line 3: rpc.listen: "), "{error}");
    let error = error_of("[rpc]\nlisten = \"127.0.0.1:1\"\nlitsen = 1\n");
    assert!(error.contains("line 3") && error.contains("litsen"), "{error}");
    let error = error_of("[nodes]\n");
    assert!(error.contains("line 1") && error.contains("nodes"), "{error}");
    let error = error_of("[rpc\n");
    assert!(error.contains("line 1"), "{error}");
    assert!(error_of("[node]\nmemory = \"4gb\"\n").contains("node.memory"));
    assert!(error_of("[node]\nname = \"Bad Name\"\n").contains("node.name"));
    assert!(error_of("[p2p]\npeers = [\"/ip4/1.2.3.4/tcp/1\"]\n").contains("p2p.peers"));
    assert!(error_of("[limits]\nmempool_txs = 0\n").contains("limits.mempool_txs"));
}

#[test]
fn stated_capacity_wins_over_the_share() {
    let mut config = Config::default();
    config.node.cpu = "1500m".into();
    config.node.memory = "1Gi".into();
    let home = Home::at(".");
    let capacity = config.capacity(&home);
    assert_eq!((capacity.cpu_milli, capacity.memory_bytes), (1500, 1 << 30));
    assert_eq!(capacity.pids, u32::try_from(Share(75).of(detect(home.root()).pids.into())).expect("small"));
}
