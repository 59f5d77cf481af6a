//! Other doors: a program of another architecture, memory that hides in pipes, CPU time beyond the share.

mod common;

use common::Bench;
use metanode_cage::Exit;

#[test]
fn a_32_bit_program_dies_at_its_first_call_needs_root() {
    for mut bench in [Bench::new(), Bench::rootless()] {
        let ran = bench.attempt("elf32");
        // SIGSYS (31) or SIGSEGV (11) where the kernel knows the format, else it cannot be run; 42 is an escape.
        let answer = ran.answer("elf32");
        assert!(["ok:131", "ok:111", "ok:1"].contains(&answer), "{answer} {}", ran.stderr);
    }
}

#[test]
fn pipes_cannot_hold_more_than_the_cage_may_use_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 48 << 20;
    let ran = bench.attempt("fill_pipes");
    assert!(ran.report.usage.max_memory_bytes <= 48 << 20, "{:?}", ran.report.usage);
    assert!(ran.report.usage.max_memory_bytes >= 16 << 20, "the pipes were counted: {:?}", ran.report.usage);
    match ran.report.exit {
        Exit::Oom => {}
        _ => assert!(ran.number("bytes") <= 48 << 20, "{} bytes in pipes", ran.number("bytes")),
    }
}

#[test]
fn the_cpu_share_holds_needs_root() {
    let mut bench = Bench::new();
    bench.spec.limits.cpu_milli = 200;
    let ran = bench.attempt("take_cpu");
    assert!(ran.report.barriers.iter().any(|b| b.name == "cgroup_cpu" && b.installed), "{:?}", ran.report);
    let got: u64 = ran.answer("take_cpu").trim_start_matches("ok:").parse().expect("a number");
    // A fifth of 2000 ms, and one slice of 100 ms at either end.
    assert!((1..=600).contains(&got), "{got} ms of CPU in 2 s");
}
