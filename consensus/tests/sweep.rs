//! Sweeps of seeded runs: agreement, progress and honesty under loss, partitions, crashes and one liar.
//!
//! A failing seed is named in the panic; `METANODE_SIM_SEED=<seed> cargo nextest run -p metanode-consensus --test
//! sweep` runs only that one.

mod sim;

use sim::{Failure, Mutation, Plan, Sim};

fn seeds(n: u64) -> Vec<u64> {
    match std::env::var("METANODE_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("METANODE_SIM_SEED is a number")],
        Err(_) => (1..=n).collect(),
    }
}

fn clean(plan: Plan, heights: u64) -> Sim {
    let seed = plan.seed;
    let mut sim = Sim::new(plan);
    sim.run(heights, 600_000);
    assert_eq!(sim.failures, [], "METANODE_SIM_SEED={seed}");
    sim
}

#[test]
fn a_quiet_network_decides_in_round_zero() {
    for seed in seeds(10) {
        let sim = clean(Plan::quiet(seed, 4), 20);
        for cert in sim.nodes.iter().flat_map(|n| n.disk.certificates.values()) {
            assert_eq!(cert.round, 0, "seed {seed}, height {}", cert.height);
        }
    }
}

#[test]
fn storms_with_a_liar_never_fork_and_always_go_on() {
    let (mut crashes, mut evidence) = (0, 0);
    for seed in seeds(50) {
        let sim = clean(Plan::stormy(seed), 8);
        crashes += sim.crashes;
        evidence += sim.evidence.len();
    }
    assert!(crashes > 50, "the storm must crash nodes: {crashes}");
    assert!(evidence > 50, "the liar must be caught: {evidence}");
}

#[test]
fn an_amnesiac_forks_nobody() {
    for seed in seeds(30) {
        clean(Plan { liar: None, amnesiac: Some(3), spare_crash: vec![], ..Plan::stormy(seed) }, 8);
    }
}

#[test]
fn two_processes_with_one_key_fork_nobody_and_notice_each_other() {
    let mut noticed = 0;
    for seed in seeds(30) {
        let mut plan =
            Plan { nodes: 5, twin_of: Some(3), liar: None, spare_crash: vec![], ..Plan::stormy(seed) };
        plan.sets = vec![(1, vec![1, 1, 1, 1, 0])];
        noticed += clean(plan, 8).twins;
    }
    assert!(noticed > 30, "{noticed}");
}

#[test]
fn a_silent_validator_costs_rounds_but_not_progress() {
    let mut later_rounds = 0;
    for seed in seeds(20) {
        let sim = clean(Plan { silent: Some(2), ..Plan::quiet(seed, 4) }, 12);
        later_rounds += sim.nodes[0].disk.certificates.values().filter(|c| c.round > 0).count();
    }
    assert!(later_rounds > 20, "its turns are skipped: {later_rounds}");
}

#[test]
fn two_silent_of_four_stop_the_chain_without_harm() {
    let mut sim = Sim::new(Plan { silent: Some(2), followers: vec![3], ..Plan::quiet(1, 4) });
    sim.run(1, 30_000);
    assert_eq!(sim.failures, [Failure::NoProgress { heights: vec![0; 4] }]);
}

/// The long sweep: run by CI at night and by hand after a change here.
#[test]
fn storms_soak() {
    for seed in seeds(400) {
        clean(Plan::stormy(seed + 10_000), 8);
        let mut plan = Plan { nodes: 7, spare_crash: vec![5], liar: Some(5), ..Plan::stormy(seed) };
        plan.amnesiac = Some(6);
        plan.sets = vec![(1, vec![1; 7])];
        clean(plan, 6);
    }
}

#[test]
fn seven_validators_with_unequal_power_and_a_follower() {
    for seed in seeds(10) {
        let mut plan = Plan { nodes: 8, followers: vec![7], ..Plan::stormy(seed) };
        plan.sets = vec![(1, vec![10, 20, 30, 15, 10, 10, 5, 0])];
        clean(plan, 6);
    }
}

#[test]
fn the_validator_set_changes_between_heights() {
    for seed in seeds(20) {
        let mut plan = Plan { nodes: 5, liar: None, spare_crash: vec![], ..Plan::stormy(seed) };
        plan.sets = vec![
            (1, vec![1, 1, 1, 1, 0]),
            (4, vec![1, 1, 1, 1, 3]),
            (7, vec![0, 1, 1, 1, 3]),
            (9, vec![2, 1, 1, 1, 1]),
        ];
        clean(plan, 11);
    }
}

#[test]
fn real_signatures_in_a_storm() {
    for seed in seeds(3) {
        clean(Plan { real_bls: true, ..Plan::stormy(seed) }, 3);
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in seeds(5) {
        let traces: Vec<_> = (0..2).map(|_| clean(Plan::stormy(seed), 5).trace).collect();
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

fn mutated(mutation: Mutation, seed: u64) -> Sim {
    let mut sim =
        Sim::new(Plan { mutation: Some(mutation), liar: None, spare_crash: vec![], ..Plan::stormy(seed) });
    sim.run(8, 120_000);
    sim
}

fn double_signed(sim: &Sim) -> bool {
    sim.failures.iter().any(|f| matches!(f, Failure::DoubleSign { .. }))
}

#[test]
fn mutation_forgetting_log_and_guard_is_caught_as_double_signing() {
    let runs: Vec<Sim> = (1..=20).map(|seed| mutated(Mutation::BothLost, seed)).collect();
    let caught = runs.iter().filter(|sim| double_signed(sim)).count();
    // In other runs the node hears votes of its own, forgotten, life first.
    let noticed = runs.iter().filter(|sim| sim.twins > 0).count();
    let what: Vec<_> = runs.iter().map(|sim| &sim.failures).collect();
    assert!(caught >= 10, "the checker must see double signatures: {caught} of 20 runs: {what:?}");
    assert!(caught + noticed >= 18, "hardly any run may go unnoticed: {caught} + {noticed} of 20: {what:?}");
}

#[test]
fn mutation_forgetting_only_the_log_mutes_instead_of_double_signing() {
    let mut muted = 0;
    for seed in 1..=20 {
        let sim = mutated(Mutation::LogLost, seed);
        assert!(!double_signed(&sim), "seed {seed}: {:?}", sim.failures);
        muted += sim.muted;
    }
    assert!(muted > 20, "the guard must have been ahead of the log: {muted}");
}

#[test]
fn mutation_forgetting_only_the_guard_is_covered_by_the_log() {
    for seed in 1..=20 {
        let sim = mutated(Mutation::GuardLost, seed);
        assert_eq!(sim.failures, [], "seed {seed}");
    }
}

#[test]
fn mutation_skipping_a_sync_is_caught_before_any_crash() {
    for (mutation, missing) in [(Mutation::SyncSkipped, "log"), (Mutation::GuardSkipped, "guard")] {
        let mut sim = Sim::new(Plan { mutation: Some(mutation), ..Plan::quiet(1, 4) });
        sim.run(2, 10_000);
        assert!(
            matches!(sim.failures[..], [Failure::PublishedBeforeDurable { what, .. }, ..] if what == missing),
            "{:?}",
            sim.failures
        );
    }
}
