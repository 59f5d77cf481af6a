//! Floods and bombs: each limit of the specification holds, and the report says which one ended the cage.

mod common;

use std::time::{Duration, Instant};

use common::Bench;
use metanode_cage::Exit;

#[test]
fn tmpfs_bytes_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.tmpfs_bytes = 8 << 20;
        let ran = bench.attempt("fill_bytes");
        assert_eq!(ran.answer("fill_bytes"), "ENOSPC");
        assert!((4 << 20..=8 << 20).contains(&ran.number("bytes")), "{} bytes", ran.number("bytes"));
    }
}

#[test]
fn tmpfs_inodes_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.tmpfs_inodes = 500;
        let ran = bench.attempt("fill_inodes");
        assert_eq!(ran.answer("fill_inodes"), "ENOSPC");
        assert!((300..500).contains(&ran.number("inodes")), "{} inodes", ran.number("inodes"));
    }
}

#[test]
fn memory_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 64 << 20;
    let ran = bench.attempt("eat_memory");
    assert_eq!(ran.report.exit, Exit::Oom, "{:?} {}", ran.report, ran.stdout);
    assert!(ran.report.usage.max_memory_bytes <= 64 << 20);
    assert!(ran.report.usage.max_memory_bytes >= 32 << 20, "{}", ran.report.usage.max_memory_bytes);
    // The next cage in the same slot starts afresh.
    bench.spec.limits.memory_bytes = 256 << 20;
    let ran = bench.attempt("whoami");
    assert_eq!(ran.report.exit, Exit::Code(0));
    assert!(ran.report.usage.max_memory_bytes < 32 << 20, "{}", ran.report.usage.max_memory_bytes);
}

#[test]
fn memory_of_a_rootless_process_needs_root() {
    let mut bench = Bench::rootless();
    bench.spec.limits.memory_bytes = 64 << 20;
    assert_eq!(bench.attempt("eat_memory").answer("eat_memory"), "ENOMEM");
}

#[test]
fn fork_bomb_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.pids = 20;
        let ran = bench.attempt("fork_bomb");
        assert_eq!(ran.answer("fork_bomb"), "EAGAIN");
        assert!((10..20).contains(&ran.number("children")), "{} children", ran.number("children"));
    }
}

#[test]
fn open_files_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.nofile = 64;
        let ran = bench.attempt("many_files");
        assert_eq!(ran.answer("many_files"), "EMFILE");
        assert!((32..64).contains(&ran.number("open")));
    }
}

#[test]
fn output_flood_keeps_the_newest_bytes_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.output_bytes = 1 << 20;
    let ran = bench.attempt("flood");
    assert_eq!(ran.answer("flood"), "ok:0", "the last line was kept");
    let size = |name: &str| std::fs::metadata(bench.spec.state_dir.join(name)).map_or(0, |m| m.len());
    let kept = size("stdout.log") + size("stdout.log.1");
    assert!(kept <= 1 << 20, "{kept} bytes kept");
    assert!(kept >= 1 << 19, "{kept} bytes kept");
    assert!(ran.report.stdout_bytes > 32 << 20);
    assert_eq!(ran.report.output_dropped_bytes, ran.report.stdout_bytes - kept);
    // The digest covers what was dropped too.
    let mut whole = vec![b'x'; 512 * (64 << 10)];
    whole.extend_from_slice(b"\nRAN flood: ok:0\n");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&whole);
    let text: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(ran.report.stdout_digest, text);
}

#[test]
fn wall_clock_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        bench.spec.limits.wall_ms = 300;
        let begin = Instant::now();
        let ran = bench.attempt("spin");
        assert_eq!(ran.answer("spin"), "running");
        assert_eq!(ran.report.exit, Exit::Timeout);
        assert_eq!(ran.code, Some(124));
        assert!(ran.report.usage.wall_ms >= 300);
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn weaker_limits_without_root_are_reported_needs_root() {
    let ran = Bench::rootless().attempt("whoami");
    assert_eq!(ran.report.exit, Exit::Code(0));
    for barrier in ["cgroup_memory", "cgroup_pids", "cgroup_cpu"] {
        let row = ran.report.barriers.iter().find(|b| b.name == barrier).expect(barrier);
        assert!(!row.installed && row.detail.contains("needs root"), "{row:?}");
        assert!(ran.report.weaker.iter().any(|w| w.starts_with(barrier)), "{:?}", ran.report.weaker);
    }
    assert!(ran.report.usage.memory_mib_ms.is_none(), "nothing measured it");
    assert!(ran.report.output_digest.is_some());
}
