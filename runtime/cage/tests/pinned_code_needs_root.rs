//! Code that no trapped call shows: untrappable instructions and spins, in a whole pinned cage.

mod common;

use std::process::Command;

use common::{Bench, Ran};
use metanode_cage::spec::Level;

/// Each mode exercises one thing; it refuses to run anywhere but in a test's root.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
static pthread_spinlock_t lock;
static volatile int flag;
static void rest(void) { struct timespec t = {0, 300000000}; nanosleep(&t, 0); }
static void *holder(void *unused) {
    pthread_spin_lock(&lock); flag = 1; rest(); puts("holder lets go"); pthread_spin_unlock(&lock); return 0;
}
static void *setter(void *unused) { rest(); puts("setter sets"); flag = 1; return 0; }
static unsigned long draw(void) {
    unsigned long value; unsigned char ok;
    __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(ok) :: "cc");
    return ok ? value : 0;
}
int main(int argc, char **argv) {
    pthread_t other;
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc < 2 || access("/.metanode-cage-test-root", F_OK)) return 99;
    if (!strcmp(argv[1], "random")) {
        unsigned long cpu, seed;
        printf("%016lx\n", draw());
        if (!fork()) { printf("%016lx\n", draw()); _exit(0); }
        __asm__ volatile("rdpid %0" : "=r"(cpu));
        __asm__ volatile("rdseed %0" : "=r"(seed) :: "cc");
        rest();
        printf("%016lx %016lx cpu %lu\n", draw(), seed, cpu);
        return 0;
    }
    if (!strcmp(argv[1], "lock")) {
        pthread_spin_init(&lock, 0);
        pthread_create(&other, 0, holder, 0);
        while (!flag) ;
        pthread_spin_lock(&lock); puts("spinner has it");
        return pthread_join(other, 0);
    }
    if (!strcmp(argv[1], "flag")) {
        pthread_create(&other, 0, setter, 0);
        while (!flag) ;
        puts("seen");
        return pthread_join(other, 0);
    }
    unsigned char code[] = {0x0f,0xc7,0xf0, 0x0f,0xc7,0xf1, 0x0f,0xc7,0xf2, 0x0f,0xc7,0xf3, 0x0f,0xc7,0xf0, 0xc3};
    int few = !strcmp(argv[1], "jit"), both = !strcmp(argv[1], "writable");
    int protection = PROT_READ | PROT_WRITE | (both ? PROT_EXEC : 0);
    unsigned char *at = mmap(0, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (few) { memcpy(at, code + 12, 4); } else if (!both) { memcpy(at, code, sizeof code); }
    if (!both && mprotect(at, 4096, PROT_READ | PROT_EXEC)) return 98;
    puts("mapped");
    if (few) {
        unsigned eax;
        __asm__ volatile("call *%1" : "=a"(eax) : "r"(at) : "cc", "memory");
        printf("%08x\n", eax);
    }
    return 0;
}
"#;

/// A bench with the program in its root, or nothing where no compiler is.
fn bench(mode: &str) -> Option<Bench> {
    let mut bench = Bench::new();
    let source = bench.dir.path().join("code.c");
    std::fs::write(&source, PROGRAM).expect("write the source");
    let target = bench.root().join("bin/code");
    let flags = ["-O1", "-static", "-pthread", "-mrdrnd", "-mrdseed", "-mrdpid", "-o"];
    match Command::new("cc").args(flags).arg(&target).arg(&source).output() {
        Ok(output) if output.status.success() => {}
        other => {
            println!("SKIPPED: no working C compiler: {other:?}");
            return None;
        }
    }
    bench.spec.argv = vec!["/bin/code".into(), mode.into()];
    bench.spec.level = Level::Pinned;
    Some(bench)
}

fn cpu_has(flag: &str) -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.split_whitespace().any(|word| word == flag)
}

fn completed(ran: Ran) -> Ran {
    assert_eq!(ran.code, Some(0), "{} {} {:?}", ran.stdout, ran.message, ran.report);
    ran
}

#[test]
fn randomness_of_the_cpu_comes_from_the_seed_needs_root() {
    if !["rdrand", "rdseed", "rdpid"].into_iter().all(cpu_has) {
        println!("SKIPPED: this CPU lacks one of the instructions");
        return;
    }
    let Some(mut bench) = bench("random") else { return };
    let first = completed(bench.run());
    let second = completed(bench.run());
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(first.report.trace_hash, second.report.trace_hash);
    assert!(first.stdout.ends_with("cpu 0\n"), "{}", first.stdout);
    let drawn: std::collections::BTreeSet<&str> = first.stdout.split_whitespace().take(4).collect();
    assert_eq!(drawn.len(), 4, "four different numbers: {}", first.stdout);
    bench.spec.seed = "11".repeat(32);
    let other = completed(bench.run());
    assert!(
        other.stdout.lines().zip(first.stdout.lines()).all(|(a, b)| a != b),
        "another seed, other numbers"
    );
}

#[test]
fn a_lock_that_is_spun_for_across_a_sleep_is_handed_over_needs_root() {
    for (mode, order) in [("lock", "holder lets go\nspinner has it\n"), ("flag", "setter sets\nseen\n")] {
        let Some(bench) = bench(mode) else { return };
        let runs: Vec<Ran> = (0..4).map(|_| completed(bench.run())).collect();
        for ran in &runs {
            assert_eq!(ran.stdout, order);
            assert_eq!(ran.report.trace_hash, runs[0].report.trace_hash);
            assert_eq!(ran.report.logical_ns, runs[0].report.logical_ns);
        }
        println!(
            "{mode}: {:?} ms",
            runs.iter().map(|r| r.report.ended_ms - r.report.started_ms).collect::<Vec<_>>()
        );
    }
}

#[test]
fn generated_code_is_watched_refused_or_reported_needs_root() {
    if cpu_has("rdrand") {
        let Some(bench) = bench("jit") else { return };
        let (first, second) = (completed(bench.run()), completed(bench.run()));
        assert_eq!(first.stdout, second.stdout, "answered from the seed through a debug register");
        assert!(first.report.downgraded.is_empty(), "{:?}", first.report.downgraded);
    }
    let Some(bench) = bench("many") else { return };
    let refused = bench.run();
    let told = format!("{:?} {}", refused.report, refused.message);
    assert!(told.contains("E_UNTRAPPED_INSTRUCTION rdrand at "), "{told}");
    assert!(!refused.stdout.contains("mapped"), "before it could run");

    let Some(bench) = self::bench("writable") else { return };
    let weaker = completed(bench.run());
    assert!(weaker.report.downgraded.iter().any(|why| why.contains("writable and executable")));
}
