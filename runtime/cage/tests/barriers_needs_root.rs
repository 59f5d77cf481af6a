//! Every barrier, tried from inside a cage at level `contained`. The table is in `barriers/`; each of its tests runs
//! the probe in real cages, as root and rootless, and looks at the kernel's answers. An attempt that was not made
//! fails the test too.

mod barriers;
mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::Bench;
use metanode_cage::Level;

/// The level at which the table is tried here.
const LEVEL: Level = Level::Contained;

/// Attempts of the probe that have tests of their own, in the other files of this directory.
const ELSEWHERE: &[&str] = &[
    "aio_contexts",
    "burn",
    "count_input",
    "daemon",
    "deep_tree",
    "descriptors_in_circles",
    "descriptors_in_flight",
    "eat_memory",
    "elf32",
    "epoll_nesting",
    "execution_storm",
    "fill_bytes",
    "fill_inodes",
    "fill_memory_files",
    "fill_pipes",
    "fill_shared_memory",
    "fill_sockets",
    "flood",
    "flood_errors",
    "fork_bomb",
    "futex_storm",
    "huge_arguments",
    "inotify_instances",
    "inotify_kept",
    "kill_everything",
    "killed_at_every_point",
    "many_files",
    "message_queues",
    "oom_score_of_my_own",
    "own_memory_by_file",
    "random_calls",
    "robust_cycles",
    "self_ns_root",
    "serve",
    "spin",
    "starve_init",
    "stop_storm",
    "streams_closed",
    "stubborn",
    "take_cpu",
    "thread_bomb",
    "thread_storm",
    "timers",
    "trap_tree",
    "unprivileged",
    "vectors_at_limits",
    "vfork_chain",
    "write_root",
    "zombie_storm",
];

#[test]
fn every_attempt_of_the_probe_is_in_a_test() {
    use barriers::*;
    let output = Command::new(env!("CARGO_BIN_EXE_cage-probe")).arg("list").output().expect("runs");
    let listed = String::from_utf8(output.stdout).expect("names");
    let known: BTreeSet<&str> = listed.lines().collect();
    let tables = [
        files::PROBES,
        hardware::PROBES,
        image::PROBES,
        kernel::PROBES,
        mounts::PROBES,
        namespaces::PROBES,
        network::PROBES,
        processes::PROBES,
        procfs::PROBES,
        races::PROBES,
        tighten::PROBES,
    ];
    let tried: BTreeSet<&str> = tables.into_iter().flatten().chain(ELSEWHERE).copied().collect();
    assert_eq!(known, tried);
    assert!(known.len() - ELSEWHERE.len() >= 200, "{} attempts in the table", known.len() - ELSEWHERE.len());
}

/// A probe that could act outside of a test's root would be an attack on whoever runs the tests.
#[test]
fn the_probe_does_nothing_outside_of_a_test_root() {
    let probe = env!("CARGO_BIN_EXE_cage-probe");
    for words in [&["whoami"][..], &["try", "whoami"]] {
        let output = Command::new(probe).args(words).output().expect("runs");
        assert_eq!(output.status.code(), Some(97));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_attempt_that_is_not_made_leaves_no_answer_needs_root() {
    let ran = Bench::at(LEVEL, false).attempts(&["whoami"]);
    assert_eq!(ran.answer("whoami"), "ok:0");
    assert!(std::panic::catch_unwind(|| ran.answer("mount_tmpfs").to_owned()).is_err());
}

#[test]
fn every_barrier_of_the_report_stands_needs_root() {
    let ran = Bench::new().attempt("whoami");
    let fallen: Vec<_> = ran.report.barriers.iter().filter(|b| !b.installed).collect();
    assert!(fallen.is_empty(), "{fallen:?}");
    assert!(ran.report.barriers.len() >= 20);
    assert_eq!(ran.report.level, "contained");
}
