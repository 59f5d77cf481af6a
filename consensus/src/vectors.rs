//! Outside test-suite: the vote-keeper traces of Malachite's Quint specification, replayed with our types.
//!
//! Every step of every trace feeds one weighted vote and names the threshold that must come out.

use crate::context::{Addr, Block, Ctx, Height, Members, Vote};
use arc_malachitebft_core_consensus as core;
use arc_malachitebft_core_types as types;
use metanode_types::account::AccountSecret;
use metanode_types::bls::{BlsPublic, BlsSignature};
use metanode_types::hash::sha256;
use metanode_types::ids::{Address, BlockId};
use metanode_types::validator::{Validator, ValidatorSet};
use metanode_types::vote::{VoteContent, VoteKind};
use serde_json::Value;
use std::collections::BTreeMap;
use types::{Round, ThresholdParams, ValuePayload};

fn big(v: &Value) -> u64 {
    v["#bigint"].as_str().expect("a big integer").parse().expect("that fits")
}

fn block_of(name: &str) -> BlockId {
    BlockId(sha256(name.as_bytes()))
}

/// Validators of the trace, with their names mapped to our addresses.
fn validators(state: &Value) -> (Members, BTreeMap<String, Address>) {
    let mut names = BTreeMap::new();
    let mut members = Vec::new();
    for (i, pair) in state["bookkeeper"]["validatorSet"]["#map"].as_array().expect("a map").iter().enumerate()
    {
        let account = AccountSecret::from_seed([i as u8 + 1; 32]).public();
        names.insert(pair[0].as_str().expect("a name").to_owned(), account.address());
        members.push(Validator { bls: BlsPublic([i as u8; 48]), account, power: big(&pair[1]) });
    }
    (Members::new(&ValidatorSet::new(members).expect("a valid set")), names)
}

fn keeper_host(members: Members) -> core::State<Ctx> {
    let params = core::Params {
        address: Addr(Address([0; 32])),
        threshold_params: ThresholdParams::default(),
        value_payload: ValuePayload::ProposalAndParts,
        enabled: false,
    };
    core::State::new(Ctx, Height(1), members, params, 1, 1)
}

/// The specification's word for an output of the keeper.
fn expected(state: &Value) -> Option<String> {
    let output = &state["lastEmitted"];
    let value = &output["value"];
    let val = || format!("{:?}", Block(block_of(value["#tup"][1].as_str().expect("a value"))));
    match output["tag"].as_str().expect("a tag") {
        "NoVKOutput" => None,
        "PolkaAnyVKOutput" => Some("PolkaAny".into()),
        "PolkaNilVKOutput" => Some("PolkaNil".into()),
        "PolkaValueVKOutput" => Some(format!("PolkaValue({})", val())),
        "PrecommitAnyVKOutput" => Some("PrecommitAny".into()),
        "PrecommitValueVKOutput" => Some(format!("PrecommitValue({})", val())),
        "SkipVKOutput" => Some(format!("SkipRound(Some({}))", big(value))),
        other => panic!("unknown output {other}"),
    }
}

fn vote_of(v: &Value, names: &BTreeMap<String, Address>) -> types::SignedVote<Ctx> {
    let kind = match v["voteType"]["tag"].as_str().expect("a tag") {
        "Prevote" => VoteKind::Prevote,
        "Precommit" => VoteKind::Precommit,
        other => panic!("unknown vote type {other}"),
    };
    let block = match v["valueId"]["tag"].as_str().expect("a tag") {
        "Nil" => None,
        "Val" => Some(block_of(v["valueId"]["value"].as_str().expect("a value"))),
        other => panic!("unknown value {other}"),
    };
    let round = u32::try_from(big(&v["round"])).expect("a small round");
    let content = VoteContent { kind, height: big(&v["height"]), round, block };
    let voter = Addr(names[v["srcAddress"].as_str().expect("a name")]);
    types::SignedVote::new(Vote::new(content, voter), BlsSignature([0; 96]))
}

/// Replays one trace and returns how many votes it fed.
fn replay(name: &str, trace: &Value) -> usize {
    let states = trace["states"].as_array().expect("states");
    let (members, names) = validators(&states[0]);
    let mut host = keeper_host(members);
    let mut fed = 0;
    for (i, state) in states.iter().enumerate() {
        if state["weightedVote"]["tag"] != "WV" {
            continue;
        }
        let tuple = &state["weightedVote"]["value"]["#tup"];
        let round = Round::new(u32::try_from(big(&tuple[2])).expect("a small round"));
        let output = host.driver.votes_mut().apply_vote(vote_of(&tuple[0], &names), round);
        assert_eq!(output.map(|o| format!("{o:?}")), expected(state), "{name}, step {i}");
        fed += 1;
    }
    fed
}

#[test]
fn every_vote_keeper_trace_of_the_specification_is_followed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/malachite-itf");
    let (mut traces, mut steps) = (0, 0);
    for entry in std::fs::read_dir(dir).expect("the vectors are checked in") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let trace = serde_json::from_str(&text).expect("JSON");
            steps += replay(&path.display().to_string(), &trace);
            traces += 1;
        }
    }
    assert_eq!((traces, steps), (10, 29), "all of them ran");
}
