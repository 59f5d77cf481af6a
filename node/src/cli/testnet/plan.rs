//! Everything of a new network but its processes: ports, keys, genesis, homes.
//!
//! Ports are taken below the range that the system gives to outgoing connections, so that none of those can take one
//! between the choice and the start; each is tried for TCP and UDP while all others are held.

use super::record::{Testnet, TestnetNode};
use crate::cli::failure::{Doing, Done, Failure};
use crate::cli::init::{now_ms, random_name, toml_text, write_file};
use crate::config;
use crate::home::Home;
use crate::keys::{KeyType, SecretKey, random_u64};
use metanode_genesis::{GenesisSpec, GenesisValidator};
use metanode_types::ids::Name;
use metanode_types::params::ChainParams;
use metanode_types::quantity::Amount;
use std::fs::DirBuilder;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Ports that are tried.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried before giving up.
const TRIES: usize = 2_000;
/// Tokens of the faucet.
const FAUCET_TOKENS: u128 = 1_000_000_000;
/// Tokens of each validator, for the fees of its own transactions.
const VALIDATOR_TOKENS: u128 = 10_000;

/// Keys and ports of a node that is to be.
struct Draft {
    name: Name,
    home: Home,
    account: SecretKey,
    validator: SecretKey,
    node: SecretKey,
    rpc: u16,
    p2p: u16,
}

impl Draft {
    fn multiaddr(&self) -> String {
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", self.p2p)
    }
    fn peer(&self) -> String {
        format!("{}/p2p/{}", self.multiaddr(), self.node.public().address.unwrap_or_default())
    }
}

/// Ports that are free for TCP and UDP on this machine, all different.
fn free_ports(count: usize) -> Done<Vec<u16>> {
    let what = "find free ports";
    let mut at = random_u64().unavailable(what)?;
    let mut held: Vec<(u16, TcpListener, UdpSocket)> = Vec::new();
    for _ in 0..TRIES {
        if held.len() == count {
            return Ok(held.iter().map(|(port, ..)| *port).collect());
        }
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let port = PORTS.start + ((at >> 33) % u64::from(PORTS.end - PORTS.start)) as u16;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if let (Ok(tcp), Ok(udp)) = (tcp, udp) {
            held.push((port, tcp, udp));
        }
    }
    let why = format!("fewer than {count} of the ports {} to {} are free", PORTS.start, PORTS.end);
    Err(Failure::unavailable(what, why).next("end what holds them"))
}

/// Writes a new network into `dir`, which is empty or does not exist.
pub fn lay_out(dir: &Path, validators: usize) -> Done<Testnet> {
    let what = format!("create the testnet in {}", dir.display());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).usage(&*what)?;
    let dir = dir.canonicalize().unavailable(&*what)?;
    let ports = free_ports(2 * validators)?;
    let mut drafts = Vec::new();
    for (i, port) in ports.chunks_exact(2).enumerate() {
        let key = |kind| SecretKey::generate(kind).unavailable(&*what);
        drafts.push(Draft {
            name: format!("node-{i}").parse().usage(&*what)?,
            home: Home::at(dir.join(format!("node-{i}"))),
            account: key(KeyType::Account)?,
            validator: key(KeyType::Validator)?,
            node: key(KeyType::Node)?,
            rpc: port[0],
            p2p: port[1],
        });
    }
    let faucet = SecretKey::generate(KeyType::Account).unavailable(&*what)?;
    let faucet_key = dir.join("faucet_key.json");
    faucet.save(&faucet_key).unavailable(&*what)?;
    let spec = genesis(&drafts, &faucet)?;
    let checked = spec.validate().usage(&*what)?;
    let genesis_file = dir.join("genesis.json");
    checked.save(&genesis_file).unavailable(&*what)?;
    for draft in &drafts {
        write_home(draft, &drafts, &checked).unavailable(&*what)?;
    }
    let nodes = drafts.iter().map(|d| TestnetNode {
        name: d.name.clone(),
        home: d.home.root().to_owned(),
        rpc: format!("http://127.0.0.1:{}", d.rpc),
        p2p: d.peer(),
        process: None,
    });
    let chain = (checked.chain_name().clone(), checked.chain_id());
    let testnet = Testnet::new(dir.clone(), chain, genesis_file, faucet_key, nodes.collect());
    testnet.save()?;
    Ok(testnet)
}

fn genesis(drafts: &[Draft], faucet: &SecretKey) -> Done<GenesisSpec> {
    let what = "write the genesis";
    let mut spec = GenesisSpec::new(random_name("testnet")?, now_ms(), ChainParams::default());
    let fund = |spec: &mut GenesisSpec, key: &SecretKey, tokens: u128| match key {
        SecretKey::Account(account) => {
            spec.add_account(account.address(), Amount(tokens * Amount::MICROS)).usage(what)
        }
        _ => unreachable!("drafts hold account keys"),
    };
    fund(&mut spec, faucet, FAUCET_TOKENS)?;
    for draft in drafts {
        let (SecretKey::Account(account), SecretKey::Validator(bls)) = (&draft.account, &draft.validator)
        else {
            unreachable!("drafts hold one key of each type");
        };
        spec.add_validator(GenesisValidator::new(draft.name.clone(), bls, account.public(), 1))
            .usage(what)?;
        fund(&mut spec, &draft.account, VALIDATOR_TOKENS)?;
    }
    Ok(spec)
}

fn write_home(draft: &Draft, all: &[Draft], genesis: &metanode_genesis::Genesis) -> anyhow::Result<()> {
    let home = &draft.home;
    home.create()?;
    draft.account.save(&home.account_key_file())?;
    draft.validator.save(&home.validator_key_file())?;
    draft.node.save(&home.node_key_file())?;
    let list = |items: Vec<String>| {
        format!("[{}]", items.iter().map(|i| toml_text(i)).collect::<Vec<_>>().join(", "))
    };
    let peers = all.iter().filter(|other| other.name != draft.name).map(Draft::peer).collect();
    let listen = vec![draft.multiaddr(), format!("/ip4/127.0.0.1/tcp/{}", draft.p2p)];
    let settings = config::commented(&[
        ("node.name", toml_text(draft.name.as_str())),
        ("rpc.listen", toml_text(&format!("127.0.0.1:{}", draft.rpc))),
        ("p2p.listen", list(listen)),
        ("p2p.peers", list(peers)),
    ]);
    write_file(&home.config_file(), &settings)?;
    genesis.save(&home.genesis_file())?;
    Ok(())
}

/// True when nothing is in the way of a new network.
pub fn is_free(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

/// The directory as others can find it.
pub fn absolute(dir: &Path) -> PathBuf {
    dir.canonicalize().or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use metanode_genesis::Genesis;

    #[test]
    fn a_network_is_laid_out_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let testnet = lay_out(&dir.path().join("t"), 3).expect("laid out");
        let genesis = Genesis::load(&testnet.genesis).expect("valid");
        assert_eq!((genesis.validator_set().len(), genesis.chain_id()), (3, testnet.chain_id));
        assert_eq!(genesis.accounts().len(), 4);
        let mut ports = std::collections::BTreeSet::new();
        for node in &testnet.nodes {
            let home = Home::at(&node.home);
            let config =
                Config::parse(&home.config_file(), &std::fs::read(home.config_file()).expect("there"))
                    .expect("valid");
            assert_eq!(format!("http://{}", config.rpc.listen), node.rpc);
            assert_eq!((config.p2p.peers.len(), config.p2p.listen.len()), (2, 2));
            assert!(!config.p2p.peers.contains(&node.p2p) && node.p2p.starts_with(&config.p2p.listen[0]));
            assert!(ports.insert(node.rpc.clone()) && ports.insert(node.p2p.clone()));
            assert_eq!(Genesis::load(&home.genesis_file()).expect("valid"), genesis);
            let account = crate::keys::load_account(&home.account_key_file()).expect("a key");
            assert!(genesis.validator_set().get(&account.address()).is_some());
        }
        assert!(!is_free(&dir.path().join("t")) && is_free(&dir.path().join("u")));
    }

    #[test]
    fn ports_are_all_different() {
        let ports = free_ports(40).expect("enough");
        let set: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(set.len(), 40);
    }
}
