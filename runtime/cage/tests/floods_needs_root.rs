//! More floods and bombs, programs that misbehave over time, and trees that are traps for whoever reads them.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::Bench;
use metanode_cage::{Exit, Report};

#[test]
fn threads_count_as_processes_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.pids = 20;
        let ran = bench.attempt("thread_bomb");
        assert_eq!(ran.answer("thread_bomb"), "EAGAIN");
        assert!((10..20).contains(&ran.number("threads")), "{} threads", ran.number("threads"));
    }
}

#[test]
fn a_storm_of_zombies_is_reaped_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.pids = 30;
        // 800 processes, half of them orphans, through 30 places: the init must reap while they come.
        assert_eq!(bench.attempt("zombie_storm").answer("zombie_storm"), "ok:0");
    }
}

#[test]
fn killing_everything_ends_only_the_program_s_own_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let ran = bench.attempt("kill_everything");
        assert_eq!(ran.answer("kill_everything"), "ok:0");
        assert_eq!(ran.report.exit, Exit::Code(0));
    }
}

#[test]
fn a_program_that_starves_its_init_harms_only_its_cage_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let ran = bench.attempt("starve_init");
        assert_eq!(ran.answer("starve_init"), "ok:0");
        // The init may fail to tell how the program ended; that everything ended is told all the same.
        assert!(matches!(ran.report.exit, Exit::Code(_) | Exit::Signal(_)), "{:?}", ran.report);
        assert_eq!(bench.attempt("whoami").answer("whoami"), "ok:0", "the next cage is well");
    }
}

#[test]
fn errors_flood_like_output_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.output_bytes = 1 << 20;
        let ran = bench.attempt("flood_errors");
        assert_eq!(ran.answer("flood_errors"), "ok:0");
        assert_eq!(ran.report.stderr_bytes, 16 << 20);
        assert!(ran.report.output_dropped_bytes >= 15 << 20, "{:?}", ran.report);
    }
}

/// Memory that no process maps is counted too. Without root the report says that it is not.
#[test]
fn memory_without_a_process_needs_root() {
    for attempt in ["fill_memory_files", "fill_shared_memory"] {
        let mut bench = Bench::new();
        bench.spec.limits.memory_bytes = 64 << 20;
        let ran = bench.attempt(attempt);
        assert_eq!(ran.report.exit, Exit::Oom, "{attempt}: {:?} {}", ran.report, ran.stdout);
        assert!(ran.report.usage.max_memory_bytes <= 64 << 20);
        let told = ran.stderr.lines().rev().find_map(|l| l.strip_prefix("bytes=")?.parse::<u64>().ok());
        assert!(told.is_some_and(|bytes| bytes <= 64 << 20), "{attempt}: {told:?} bytes");
    }
    let weaker = Bench::rootless().attempt("whoami").report.weaker;
    assert!(weaker.iter().any(|w| w.contains("shared memory") && w.contains("not")), "{weaker:?}");
}

/// Buffers of connections are an account of their own in version 1 of control groups: unlimited unless asked for.
#[test]
fn memory_in_sockets_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 64 << 20;
    let ran = bench.attempt("fill_sockets");
    assert!(matches!(ran.answer("fill_sockets"), "EMFILE" | "ENOMEM" | "EAGAIN"), "{}", ran.stdout);
    assert!((1 << 20..64 << 20).contains(&ran.number("bytes")), "{} bytes in sockets", ran.number("bytes"));
}

#[test]
fn pipes_of_a_rootless_cage_needs_root() {
    // The kernel's own bound for each user, 64 MiB by default, and two pages for each pipe beyond it.
    let ran = Bench::rootless().attempt("fill_pipes");
    assert!(ran.number("bytes") <= 96 << 20, "{} bytes in pipes", ran.number("bytes"));
}

#[test]
fn kernel_objects_are_bounded_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let names = ["timers", "epoll_nesting", "message_queues", "aio_contexts", "descriptors_in_flight"];
        let ran = bench.attempts(&names);
        assert_eq!(ran.answer("timers"), "EAGAIN");
        assert!((100..=512).contains(&ran.number("timers")), "RLIMIT_SIGPENDING");
        assert!(matches!(ran.answer("epoll_nesting"), "ELOOP" | "EINVAL"));
        assert!(ran.number("nested") <= 5);
        assert_eq!(ran.answer("message_queues"), "EACCES", "no file outside of the cage's root: landlock");
        assert_eq!(ran.answer("aio_contexts"), "ENOSYS", "they are counted for the whole machine");
        assert_eq!(ran.answer("descriptors_in_flight"), "ETOOMANYREFS");
        assert!(ran.number("in_flight") * 5 <= 2 * bench.spec.limits.nofile, "{}", ran.number("in_flight"));
    }
}

/// Instances count against whoever owns the namespace on the host: one cage must leave some to root.
#[test]
fn inotify_of_the_host_is_not_used_up_needs_root() {
    let mut bench = Bench::new();
    bench.spec.argv = vec!["/bin/probe".into(), "inotify_kept".into()];
    let cage = bench.dir.path().join("metanode-cage");
    let spec = bench.write_spec();
    let started = Command::new(&cage).args(["start", "--spec"]).arg(spec).output().expect("starts");
    assert!(started.status.success(), "{started:?}");
    let log = bench.spec.state_dir.join("stdout.log");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("RAN inotify_kept: holding")) {
        assert!(Instant::now() < deadline, "the probe never held them");
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: plain integers only.
    let own: Vec<i32> = (0..32).map(|_| unsafe { libc::inotify_init1(libc::IN_CLOEXEC) }).collect();
    let why = std::io::Error::last_os_error();
    // SAFETY: as above; the descriptors were made here and are not used again.
    own.iter().for_each(|fd| _ = unsafe { libc::close(*fd) });
    let stop = ["stop", "--grace-ms", "0", "--state-dir"];
    Command::new(&cage).args(stop).arg(&bench.spec.state_dir).output().expect("stops");
    assert!(own.iter().all(|fd| *fd >= 0), "the host has none left: {why}");
    let told = std::fs::read_to_string(bench.spec.state_dir.join("stderr.log")).expect("log");
    let kept: u64 = told.trim().trim_start_matches("inotify=").parse().expect("a number");
    assert!((1..=16).contains(&kept), "{kept} instances in one cage");
    assert!(matches!(Report::read(&bench.spec.state_dir).expect("report").exit, Exit::Signal(_)));
}

/// Links out, FIFOs, sockets, closed directories, a hole of a pebibyte: read without following, waiting or reading it.
#[test]
fn a_tree_full_of_traps_is_digested_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let begin = Instant::now();
        let ran = bench.attempt("trap_tree");
        assert_eq!(ran.answer("trap_tree"), "ok:0");
        let digest = ran.report.output_digest.expect("a digest");
        assert_eq!(bench.attempt("trap_tree").report.output_digest, Some(digest), "the same tree");
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }
}

/// Too deep to be followed: no digest, said why, and no crash.
#[test]
fn a_bottomless_tree_has_no_digest_needs_root() {
    let mut bench = Bench::rootless();
    bench.spec.limits.tmpfs_inodes = 2000;
    let ran = bench.attempt("deep_tree");
    assert_eq!(ran.answer("deep_tree"), "ENOSPC");
    assert_eq!(ran.report.output_digest, None);
    assert!(ran.report.weaker.iter().any(|w| w.contains("nest deeper")), "{:?}", ran.report.weaker);
}
