//! Seeds of the whole-node simulator that every run of the tests covers, and the mutation that must be found.

use metanode_p2p::mem::Conditions;
use metanode_testnet::sim::{Scenario, Sim, Violation};

fn storm() -> Scenario {
    Scenario { weather: Conditions { loss_permille: 30, ..Conditions::default() }, ..Scenario::default() }
}

#[test]
fn forty_seeds_of_storm_hold() {
    let (mut crashes, mut partitions, mut transfers) = (0, 0, 0);
    for seed in 1..=40 {
        let outcome = Sim::new(seed, storm()).run().unwrap_or_else(|failed| panic!("{failed}"));
        crashes += outcome.crashes;
        partitions += outcome.partitions;
        transfers += outcome.transfers;
    }
    // A sweep in which the faults did not fire proves nothing.
    assert!(crashes >= 80, "{crashes} crashes");
    assert!(partitions >= 60, "{partitions} partitions");
    assert!(transfers >= 2_000, "{transfers} transfers became final");
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| Sim::new(seed, storm()).run().unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!(run(77), run(77));
    assert_ne!(run(77).trace, run(78).trace);
}

#[test]
fn real_bls_signatures_hold_slow() {
    for seed in 500..503 {
        let scenario = Scenario { real_bls: true, storm_ms: 12_000, calm_ms: 10_000, ..storm() };
        Sim::new(seed, scenario).run().unwrap_or_else(|failed| panic!("{failed}"));
    }
}

#[test]
fn a_single_validator_holds() {
    for seed in 900..910 {
        let scenario = Scenario { validators: 1, partition_every_ms: 0, ..storm() };
        Sim::new(seed, scenario).run().unwrap_or_else(|failed| panic!("{failed}"));
    }
}

#[test]
fn a_node_that_forgets_its_journal_is_caught() {
    let found = (1..=60).find_map(|seed| {
        let scenario = Scenario { mutate_forget_journal: true, crash_every_ms: 1_500, ..storm() };
        Sim::new(seed, scenario).run().err()
    });
    let failed = found.expect("60 seeds in which validators forget what they signed, and no checker noticed");
    assert!(matches!(failed.violation, Violation::DoubleSigned { .. } | Violation::Fork { .. }), "{failed}");
}
