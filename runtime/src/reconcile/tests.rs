//! The planner against a small world in which its actions are applied.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn key(deployment: u8, index: u32, epoch: u64) -> CageKey {
    let deployment = format!("d{deployment}").parse().expect("a name");
    CageKey { replica: ReplicaId { deployment, index }, epoch }
}

fn wanted(epoch: u64, is_job: bool) -> Wanted {
    Wanted { key: key(0, 0, epoch), is_job }
}

fn cage(epoch: u64, is_job: bool, phase: Phase) -> Observed {
    Observed { key: key(0, 0, epoch), is_job, phase, failures: 1 }
}

const LIVE: Phase = Phase::Live { stopping: false, adopted: true };
const ENDED: Phase = Phase::Ended { at_ms: 1000, reported: true };

#[test]
fn silence_stops_nothing_and_a_crashed_service_comes_back_all_the_same() {
    let observed = [cage(1, false, LIVE)];
    assert_eq!(plan(Desired::Unknown, &observed, 0), []);
    let reason = StopReason::NotDesired;
    assert_eq!(plan(Desired::Final(&[]), &observed, 0), [Action::Stop { key: key(0, 0, 1), reason }]);
    let crashed = [cage(1, false, ENDED)];
    assert_eq!(plan(Desired::Unknown, &crashed, 2000), [Action::Restart(key(0, 0, 1))]);
}

#[test]
fn a_newer_epoch_starts_only_when_the_older_cage_is_gone() {
    let desired = [wanted(2, false)];
    let desired = Desired::Final(&desired);
    let stop = Action::Stop { key: key(0, 0, 1), reason: StopReason::StaleEpoch };
    assert_eq!(plan(desired, &[cage(1, false, LIVE)], 0), [stop]);
    let stopping = Phase::Live { stopping: true, adopted: true };
    assert_eq!(plan(desired, &[cage(1, false, stopping)], 0), []);
    let unreported = Phase::Ended { at_ms: 0, reported: false };
    let next = plan(desired, &[cage(1, false, unreported)], 0);
    assert_eq!(next, [Action::Report(key(0, 0, 1)), Action::Start(wanted(2, false))]);
    let next = plan(desired, &[cage(1, false, ENDED)], 0);
    assert_eq!(next, [Action::CleanUp(key(0, 0, 1)), Action::Start(wanted(2, false))]);
    // An older epoch in the list neither stops the newer cage nor starts beside it.
    assert_eq!(plan(Desired::Final(&[wanted(1, false)]), &[cage(2, false, LIVE)], 0), []);
}

#[test]
fn jobs_run_once_and_services_pause_longer_each_time() {
    let job = [wanted(1, true)];
    assert_eq!(plan(Desired::Final(&job), &[cage(1, true, ENDED)], 1 << 40), []);
    let service = [wanted(1, false)];
    let mut crashed = cage(1, false, ENDED);
    for (failures, pause) in
        [(0, 0), (1, 1000), (2, 2000), (3, 4000), (7, 60_000), (80, 60_000), (u32::MAX, 60_000)]
    {
        crashed.failures = failures;
        assert_eq!(backoff_ms(failures), pause);
        let restart = [Action::Restart(key(0, 0, 1))];
        assert_eq!(plan(Desired::Final(&service), &[crashed.clone()], 1000 + pause), restart);
        if pause > 0 {
            assert_eq!(plan(Desired::Final(&service), &[crashed.clone()], 999 + pause), []);
            assert_eq!(
                plan(Desired::Final(&service), &[crashed.clone()], 5),
                restart,
                "a clock set back blocks nothing"
            );
        }
    }
    assert_eq!(count_failures(5, STABLE_MS - 1), 6);
    assert_eq!(count_failures(5, STABLE_MS), 1);
}

/// Applies actions as a perfect driver would: at once and without failure.
fn apply(actions: &[Action], observed: &mut Vec<Observed>, now_ms: u64) {
    for action in actions {
        let find = |key: &CageKey| observed.iter().position(|cage| cage.key == *key).expect("it exists");
        match action {
            Action::Start(wanted) => {
                assert!(
                    observed.iter().all(|cage| cage.key != wanted.key),
                    "{} is started twice",
                    wanted.key
                );
                observed.push(Observed {
                    key: wanted.key.clone(),
                    is_job: wanted.is_job,
                    phase: LIVE,
                    failures: 0,
                });
            }
            Action::Restart(key) => {
                let at = find(key);
                assert!(!observed[at].is_job, "a job is started twice");
                observed[at].phase = LIVE;
            }
            Action::Stop { key, .. } => {
                let at = find(key);
                observed[at].phase = Phase::Ended { at_ms: now_ms, reported: false };
            }
            Action::Adopt(key) => {
                let at = find(key);
                let Phase::Live { stopping, .. } = observed[at].phase else {
                    panic!("adopting what has ended")
                };
                observed[at].phase = Phase::Live { stopping, adopted: true };
            }
            Action::Report(key) => {
                let at = find(key);
                let Phase::Ended { at_ms, reported: false } = observed[at].phase else {
                    panic!("nothing to report")
                };
                observed[at].phase = Phase::Ended { at_ms, reported: true };
            }
            Action::CleanUp(key) => {
                let at = find(key);
                assert!(
                    matches!(observed[at].phase, Phase::Ended { reported: true, .. }),
                    "removing what is not told"
                );
                observed.remove(at);
            }
        }
    }
}

fn live_replicas(observed: &[Observed]) -> Vec<ReplicaId> {
    let live = observed.iter().filter(|cage| matches!(cage.phase, Phase::Live { .. }));
    live.map(|cage| cage.key.replica.clone()).collect()
}

fn keys() -> impl Strategy<Value = CageKey> {
    (0..3_u8, 0..2_u32, 1..4_u64).prop_map(|(deployment, index, epoch)| key(deployment, index, epoch))
}

fn phases() -> impl Strategy<Value = Phase> {
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(stopping, adopted)| Phase::Live { stopping, adopted }),
        (0..200_000_u64, any::<bool>()).prop_map(|(at_ms, reported)| Phase::Ended { at_ms, reported }),
    ]
}

/// Cages as they can exist: one per key, at most one live per replica.
fn worlds() -> impl Strategy<Value = Vec<Observed>> {
    prop::collection::vec((keys(), any::<bool>(), phases(), 0..20_u32), 0..10).prop_map(|cages| {
        let (mut seen, mut live) = (BTreeSet::new(), BTreeSet::new());
        let mut world = Vec::new();
        for (key, is_job, phase, failures) in cages {
            let is_live = matches!(phase, Phase::Live { .. });
            if seen.insert(key.clone()) && (!is_live || live.insert(key.replica.clone())) {
                world.push(Observed { key, is_job, phase, failures });
            }
        }
        world
    })
}

fn desires() -> impl Strategy<Value = Option<Vec<Wanted>>> {
    prop::option::of(prop::collection::vec(
        (keys(), any::<bool>()).prop_map(|(key, is_job)| Wanted { key, is_job }),
        0..8,
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn plans_settle_and_never_make_two_live_cages(mut world in worlds(), list in desires(), now_ms in 0..400_000_u64) {
        let desired = list.as_deref().map_or(Desired::Unknown, Desired::Final);
        // A cage on its way down ends by itself.
        let settle = |world: &mut Vec<Observed>| for cage in world {
            if let Phase::Live { stopping: true, .. } = cage.phase {
                cage.phase = Phase::Ended { at_ms: now_ms, reported: false };
            }
        };
        for round in 0.. {
            let actions = plan(desired, &world, now_ms);
            apply(&actions, &mut world, now_ms);
            let live = live_replicas(&world);
            prop_assert_eq!(live.iter().collect::<BTreeSet<_>>().len(), live.len(), "two live cages of one replica");
            let before = world.clone();
            settle(&mut world);
            if actions.is_empty() && before == world {
                break;
            }
            prop_assert!(round < 8, "still busy after {} rounds: {:?}", round, actions);
        }
        if let Some(list) = list {
            for cage in &world {
                if matches!(cage.phase, Phase::Live { .. }) {
                    prop_assert!(list.iter().any(|wanted| wanted.key.replica == cage.key.replica));
                }
            }
        }
    }

    #[test]
    fn an_unknown_state_never_stops_starts_or_removes(world in worlds(), now_ms in any::<u64>()) {
        for action in plan(Desired::Unknown, &world, now_ms) {
            prop_assert!(matches!(action, Action::Restart(_) | Action::Adopt(_) | Action::Report(_)), "{:?}", action);
        }
    }

    #[test]
    fn what_was_applied_is_not_planned_again(mut world in worlds(), list in desires(), now_ms in 0..400_000_u64) {
        let desired = list.as_deref().map_or(Desired::Unknown, Desired::Final);
        let actions = plan(desired, &world, now_ms);
        apply(&actions, &mut world, now_ms);
        for action in plan(desired, &world, now_ms) {
            prop_assert!(!actions.contains(&action), "{:?} is planned twice", action);
        }
    }
}
