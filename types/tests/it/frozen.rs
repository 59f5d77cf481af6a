//! Frozen encodings: `tests/frozen.txt` holds length and SHA-256 of every sample, and the ids and preimages
//! that are hashed under a domain.
//!
//! A line may be added with a new type or variant. A line that changes or goes means that bytes on the wire,
//! in a stored chain or in a proof bundle change: that needs an ADR, and a new version of what holds them.

use crate::samples;
use metanode_types::bundle::{Bundle, Cause};
use metanode_types::codec::{decode, encode};
use metanode_types::hash::{Domain, Hash, hash, sha256};
use metanode_types::vote::{ProposalContent, VoteContent, VoteKind};
use std::fmt::Write as _;

fn digests() -> Vec<(String, Hash)> {
    let first = samples::block(None);
    let second = samples::block(Some(samples::certificate(1, first.id())));
    let tx = &second.txs[0];
    let vote = VoteContent { kind: VoteKind::Precommit, height: 7, round: 2, block: Some(first.id()) };
    let proposal = ProposalContent { height: 7, round: 2, block: first.id(), pol_round: None };
    let named = |name: &str, hash| (name.to_owned(), hash);
    let mut out = vec![
        named("block-id", second.id().0),
        named("tx-id", tx.id().0),
        named("tx-body-hash", tx.body.digest()),
        named("tx-leaf", tx.leaf()),
        named("txs-root", second.header.txs_root),
        named("app-root", second.header.app_root),
        named("address", tx.envelope.sender.0),
        named("params-hash", samples::params().hash()),
        named("validators-hash", samples::validators().hash()),
        named("vote-signed-bytes", vote.signed_bytes(&samples::chain())),
        named("proposal-signed-bytes", proposal.signed_bytes(&samples::chain())),
        named("genesis-leaf", metanode_types::receipt::genesis_leaf(&samples::chain())),
    ];
    out.extend(Domain::ALL.iter().map(|d| (format!("domain {}", d.tag()), hash(*d, &[b"frozen"]))));
    out
}

fn table() -> String {
    let mut out = String::new();
    for s in samples::all() {
        let _ = writeln!(out, "{} {:>5} {}", hex::encode(sha256(&s.bytes)), s.bytes.len(), s.name);
    }
    for (name, hash) in digests() {
        let _ = writeln!(out, "{}     - {name}", hex::encode(hash));
    }
    out
}

#[test]
fn no_byte_changes_without_a_decision() {
    let actual = table();
    let frozen: Vec<&str> = include_str!("../frozen.txt").lines().filter(|l| !l.starts_with('#')).collect();
    let names: Vec<&str> = actual.lines().map(|l| &l[71..]).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "two samples share a name");
    let changed: Vec<String> = actual
        .lines()
        .filter(|line| !frozen.contains(line))
        .map(|line| format!("is now      {line}"))
        .chain(
            frozen.iter().filter(|l| !actual.lines().any(|a| a == **l)).map(|l| format!("was frozen  {l}")),
        )
        .collect();
    assert!(
        changed.is_empty(),
        "encodings differ from tests/frozen.txt. A new type or variant adds its line; any other change needs \
         an ADR and a new version (docs/formats/encoding.md):\n{}",
        changed.join("\n")
    );
}

#[test]
fn distinct_values_have_distinct_bytes_and_digests() {
    let table = table();
    let digests: std::collections::BTreeSet<&str> = table.lines().map(|l| &l[..64]).collect();
    assert_eq!(digests.len(), table.lines().count());
}

#[test]
fn a_bundle_file_is_magic_value_and_checksum() {
    let sample = samples::all().into_iter().find(|s| s.name == "Bundle core").unwrap();
    let bundle: Bundle = decode("bundle", &sample.bytes, sample.cap).unwrap();
    let file = bundle.to_bytes();
    assert_eq!(&file[..8], b"MNPROOF1");
    assert_eq!(&file[8..file.len() - 8], sample.bytes);
    assert_eq!(file[file.len() - 8..], hash(Domain::Bundle, &[&file[..file.len() - 8]])[..8]);
    assert_eq!(Bundle::from_bytes(&file).unwrap(), bundle);
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(Bundle::from_bytes(&altered).is_err(), "byte {at}");
        assert!(Bundle::from_bytes(&file[..at]).is_err(), "cut at {at}");
    }
    let tx = samples::block(Some(samples::certificate(1, samples::block(None).id()))).txs.remove(0);
    assert_eq!(encode(&Cause::of(&tx).envelope), encode(&tx.envelope));
}
