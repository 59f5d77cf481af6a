//! What a meter reads while a cage runs, and what the report says afterwards.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, NOBODY};
use metanode_cage::usage::live;
use metanode_cage::{Error, LiveUsage, Report};

/// Reads until `enough`; a busy machine gets time, a wrong figure does not get for ever.
fn until(state: &Path, mut enough: impl FnMut(&LiveUsage) -> bool) -> LiveUsage {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let used = live(state).expect("the cage runs");
        if enough(&used) {
            return used;
        }
        assert!(Instant::now() < deadline, "never enough: {used:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a busy cage in the host's own pid namespace, as a node does, and stops it.
fn metered(bench: &mut Bench, as_nobody: bool) -> (LiveUsage, LiveUsage, Report) {
    bench.spec.argv = vec!["probe".into(), "burn".into()];
    let (cage, spec) = (bench.dir.path().join("metanode-cage"), bench.write_spec());
    let command = || {
        let mut command = Command::new("setpriv");
        if as_nobody {
            let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
            command.args([&user, &group, "--clear-groups"]);
        }
        command.arg(&cage);
        command
    };
    let started = command().args(["start", "--spec"]).arg(&spec).output().expect("starts");
    assert!(started.status.success(), "{started:?}");
    let state = bench.spec.state_dir.clone();
    let first = until(&state, |used| used.cpu_ms >= 50 && used.memory_bytes > 0);
    let second = until(&state, |used| used.cpu_ms >= first.cpu_ms + 50);
    let last = match second.memory_mib_ms {
        None if as_nobody => second,
        _ => until(&state, |used| used.memory_mib_ms.is_some()),
    };
    let stopped = command().args(["stop", "--grace-ms", "2000", "--state-dir"]).arg(&state).output();
    assert!(stopped.as_ref().is_ok_and(|o| o.status.success()), "{stopped:?}");
    assert!(matches!(live(&state), Err(Error::NotRunning { .. })), "it has ended");
    (first, last, Report::read(&state).expect("report"))
}

#[test]
fn live_usage_of_the_control_groups_leads_up_to_the_report_needs_root() {
    // Twice: the second cage finds the groups with the first one's CPU time in them.
    for _ in 0..2 {
        let (first, last, report) = metered(&mut Bench::new(), false);
        assert!(first.cpu_ms < 20_000, "an earlier cage's time is not ours: {first:?}");
        assert!(last.cpu_ms <= report.usage.cpu_ms, "{last:?} {:?}", report.usage);
        assert!(last.memory_mib_ms <= report.usage.memory_mib_ms, "{last:?} {:?}", report.usage);
        assert!(last.memory_bytes <= 256 << 20, "{last:?}");
    }
}

#[test]
fn live_usage_without_control_groups_adds_the_processes_up_needs_root() {
    let (first, last, report) = metered(&mut Bench::rootless(), true);
    assert!(first.cpu_ms < last.cpu_ms, "{first:?} {last:?}");
    // Ticks of 10 ms for each of two processes on both sides.
    assert!(last.cpu_ms <= report.usage.cpu_ms + 40, "{last:?} {:?}", report.usage);
    assert!(last.memory_bytes >= 100_000, "{last:?}");
    assert_eq!(last.memory_mib_ms, None);
}
