//! The process itself: strings, clocks, randomness, streams, how it ends, and what a guest does wrong.

use super::*;

const NOW: &str = "wasi:clocks/monotonic-clock#now";
const AFTER: &str = "wasi:clocks/monotonic-clock#subscribe-duration";
const POLLABLE: &str = "wasi:io/poll#[method]pollable.";

#[test]
fn arguments_and_environment_arrive_as_given() {
    let mut guest = Guest::new();
    guest.call("wasi:cli/environment#get-arguments", &[], RET).dump(RET + 4, 4);
    // The list's second element: pointer and length.
    guest.raw(&format!("(i32.store (i32.const {BUFFER}) (i32.load offset=8 (i32.load (i32.const {RET}))))"));
    guest.raw(&format!(
        "(i32.store (i32.const {}) (i32.load offset=12 (i32.load (i32.const {RET}))))",
        BUFFER + 4
    ));
    guest.dump_at(At(BUFFER), At(BUFFER + 4));
    guest.call("wasi:cli/environment#get-environment", &[], RET).dump(RET + 4, 4);
    guest.raw(&format!("(i32.store (i32.const {BUFFER}) (i32.load offset=8 (i32.load (i32.const {RET}))))"));
    guest.dump_at(At(BUFFER), I(3));
    guest.call("wasi:cli/environment#initial-cwd", &[], RET).dump(RET, 1).dump_at(At(RET + 4), At(RET + 8));
    let mut run = Run::of(guest.component(OK));
    run.spec.args = vec!["prog".into(), "\u{e9}t\u{e9}".into()];
    run.spec.env = vec!["KEY=a=b".into()];
    assert_eq!(run.go().stdout, "\u{2}\0\0\0\u{e9}t\u{e9}\u{1}\0\0\0a=b\u{1}/".as_bytes());
}

#[test]
fn a_sleep_of_two_seconds_advances_the_clock_by_exactly_that() {
    let mut guest = Guest::new();
    guest.call(NOW, &[], BUFFER).dump(BUFFER, 8);
    guest.call(AFTER, &[I(2_000_000_000)], BUFFER);
    guest.call(&format!("{POLLABLE}ready"), &[At(BUFFER)], RET).dump(RET, 4);
    guest.call(&format!("{POLLABLE}block"), &[At(BUFFER)], RET);
    guest.call(NOW, &[], BUFFER + 8).dump(BUFFER + 8, 8);
    guest.call(&format!("{POLLABLE}ready"), &[At(BUFFER)], RET).dump(RET, 4);
    guest.call("wasi:clocks/wall-clock#now", &[], RET).dump(RET, 12);
    guest.call("wasi:clocks/monotonic-clock#resolution", &[], RET).dump(RET, 8);
    guest.call("wasi:clocks/wall-clock#resolution", &[], RET).dump(RET, 12);
    let ran = guest.run();
    // Standard output was fetched, then the clock was read: one microsecond each.
    assert_eq!(u64_at(&ran.stdout, 0), 2_000);
    assert_eq!(u32_at(&ran.stdout, 8), 0, "not yet");
    // A dump and the subscription, whose call is the fourth; the deadline lies two seconds behind it.
    assert_eq!(u64_at(&ran.stdout, 12), 4_000 + 2_000_000_000 + 1_000);
    assert_eq!(u32_at(&ran.stdout, 20), 1);
    assert_eq!(u64_at(&ran.stdout, 24), 1_700_000_002, "the wall clock jumped with it");
    assert_eq!((u64_at(&ran.stdout, 36), u64_at(&ran.stdout, 44)), (1_000, 0));
    assert_eq!(u32_at(&ran.stdout, 52), 1_000);
    assert_eq!(ran.outcome.clock_ns, 2_000_004_000 + 1_000 * (ran.outcome.host_calls - 7));
}

#[test]
fn poll_wakes_for_the_earliest_deadline() {
    let mut guest = Guest::new();
    guest.call(AFTER, &[I(9_000_000_000)], BUFFER).call(AFTER, &[I(5_000_000_000)], BUFFER + 4);
    guest.call("wasi:clocks/monotonic-clock#subscribe-instant", &[I(5_000_003_000)], BUFFER + 8);
    guest.call("wasi:io/poll#poll", &[I(BUFFER), I(3)], RET).dump(RET + 4, 4).dump_at(At(RET), I(8));
    guest.call(NOW, &[], RET).dump(RET, 8);
    // Standard input is always ready: no jump now.
    guest.call("wasi:cli/stdin#get-stdin", &[], BUFFER + 16);
    guest.stream("input-stream.subscribe", &[At(BUFFER + 16)], BUFFER + 4);
    guest.call("wasi:io/poll#poll", &[I(BUFFER), I(2)], RET).dump(RET + 4, 4).dump_at(At(RET), I(4));
    guest.call("wasi:io/poll#[resource-drop]pollable", &[At(BUFFER)], RET);
    let ran = guest.run();
    assert_eq!((u32_at(&ran.stdout, 0), u32_at(&ran.stdout, 4), u32_at(&ran.stdout, 8)), (2, 1, 2));
    assert_eq!(u64_at(&ran.stdout, 12), 5_000_003_000 + 3_000, "two dumps and this call later");
    assert_eq!((u32_at(&ran.stdout, 20), u32_at(&ran.stdout, 24)), (1, 1));
    assert!(ran.outcome.clock_ns < 6_000_000_000);
}

#[test]
fn only_what_draws_randomness_depends_on_the_seed() {
    let mut guest = Guest::new();
    guest.call("wasi:random/random#get-random-u64", &[], RET).dump(RET, 8);
    guest.call("wasi:random/random#get-random-bytes", &[I(24)], RET).dump_at(At(RET), At(RET + 4));
    guest.call("wasi:random/insecure#get-insecure-random-u64", &[], RET).dump(RET, 8);
    guest.call("wasi:random/insecure#get-insecure-random-bytes", &[I(8)], RET).dump_at(At(RET), At(RET + 4));
    guest.call("wasi:random/insecure-seed#insecure-seed", &[], RET).dump(RET, 16);
    let mut run = Run::of(guest.component(OK));
    let one = run.go();
    assert_eq!(one.stdout.len(), 64);
    let mut words: Vec<&[u8]> = one.stdout.chunks(8).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 8, "no stream repeats another");
    run.spec.seed = [8; 32];
    let two = run.go();
    assert!(one.stdout.chunks(8).zip(two.stdout.chunks(8)).all(|(one, two)| one != two));
    let mut guest = Guest::new();
    guest.call(NOW, &[], RET).dump(RET, 8);
    let mut run = Run::of(guest.component(OK));
    let one = run.go();
    run.spec.seed = [8; 32];
    let two = run.go();
    assert_eq!(
        (&one.stdout, one.outcome.trace_hash),
        (&two.stdout, two.outcome.trace_hash),
        "nothing was drawn"
    );
    assert_ne!(one.outcome.witness_root, two.outcome.witness_root, "but the seed is an input");
    let mut guest = Guest::new();
    guest.call("wasi:random/random#get-random-bytes", &[I(1 << 40)], RET);
    assert_eq!(trap_of(&guest.run()), TrapKind::BadCall);
}

#[test]
fn standard_streams_carry_bytes_and_end() {
    let mut guest = Guest::new();
    guest.call("wasi:cli/stdin#get-stdin", &[], BUFFER).call("wasi:cli/stdin#get-stdin", &[], BUFFER + 4);
    guest.stream("input-stream.read", &[At(BUFFER), I(0)], RET).dump(RET, 1);
    guest
        .stream("input-stream.read", &[At(BUFFER), I(4)], RET)
        .dump(RET, 1)
        .dump_at(At(RET + 4), At(RET + 8));
    guest.stream("input-stream.skip", &[At(BUFFER + 4), I(2)], RET).dump(RET + 8, 8);
    guest.call("wasi:cli/stderr#get-stderr", &[], BUFFER + 8);
    guest.stream("output-stream.check-write", &[At(BUFFER + 8)], RET).dump(RET + 8, 8);
    guest
        .stream("output-stream.blocking-splice", &[At(BUFFER + 8), At(BUFFER), I(100)], RET)
        .dump(RET + 8, 8);
    guest.stream("output-stream.write-zeroes", &[At(BUFFER + 8), I(2)], RET);
    guest.stream("output-stream.flush", &[At(BUFFER + 8)], RET);
    guest.stream("input-stream.blocking-read", &[At(BUFFER), I(1)], RET).dump(RET, 9);
    guest.call("wasi:io/streams#[resource-drop]input-stream", &[At(BUFFER)], RET);
    guest.call("wasi:cli/terminal-stdout#get-terminal-stdout", &[], RET).dump(RET, 1);
    let mut run = Run::of(guest.component(OK));
    run.stdin = b"0123456789".to_vec();
    let ran = run.go();
    assert_eq!(&ran.stdout[..6], b"\0\x000123");
    assert_eq!([6, 14, 22].map(|at| u64_at(&ran.stdout, at)), [2, 1 << 20, 4]);
    assert_eq!((ran.stdout[30], ran.stdout[34]), (1, 1), "closed at the end");
    assert_eq!(ran.stdout[39], 0, "no terminal");
    assert_eq!(ran.stderr, b"6789\0\0");
}

#[test]
fn exits_say_their_code() {
    let end = |name: &str, code: i64| {
        let mut guest = Guest::new();
        guest.call(name, &[I(code)], RET);
        Run::of(guest.component("unreachable")).end()
    };
    assert_eq!(end("wasi:cli/exit#exit", 0), End::Exited { code: 0 });
    assert_eq!(end("wasi:cli/exit#exit", 1), End::Exited { code: 1 });
    assert_eq!(end("wasi:cli/exit#exit-with-code", 42), End::Exited { code: 42 });
}

#[test]
fn what_breaks_the_rules_traps_the_same_everywhere() {
    let trap = |name: &str, arguments: &[guest::Arg]| {
        let mut guest = Guest::new();
        guest.call(name, arguments, RET);
        trap_of(&guest.run())
    };
    let method = |name: &str| format!("{STREAMS}{name}");
    assert_eq!(trap(&method("input-stream.read"), &[I(77), I(1)]), TrapKind::BadCall, "no such handle");
    assert_eq!(
        trap(&method("input-stream.read"), &[At(8), I(1)]),
        TrapKind::BadCall,
        "a handle of another type"
    );
    assert_eq!(trap(&method("output-stream.write"), &[At(8), I(0), I(1)]), TrapKind::BadCall, "no permit");
    let flushed = method("output-stream.blocking-write-and-flush");
    assert_eq!(trap(&flushed, &[At(8), I(0), I(4097)]), TrapKind::BadCall, "more than can be flushed");
    assert_eq!(trap(&flushed, &[At(8), I(-16), I(32)]), TrapKind::BadCall, "a pointer outside");
    assert_eq!(trap("wasi:io/poll#poll", &[I(0), I(0)]), TrapKind::BadCall, "nothing to wait for");
    assert_eq!(trap("wasi:io/poll#[resource-drop]pollable", &[I(5)]), TrapKind::BadCall, "nothing to drop");
}

#[test]
fn handles_are_bounded_and_calls_cost_fuel() {
    let mut guest = Guest::new();
    guest.raw("(loop").call(AFTER, &[I(0)], BUFFER).raw("(br 0))");
    let ran = guest.run();
    assert_eq!(trap_of(&ran), TrapKind::BadCall);
    assert_eq!(ran.outcome.host_calls, 4097, "standard output is a handle too");
    let mut guest = Guest::new();
    guest.raw("(loop").call("wasi:random/random#get-random-bytes", &[I(65_536)], RET);
    guest.raw("(global.set $heap (i32.const 0x100000)) (br 0))");
    let mut run = Run::of(guest.component(OK));
    run.spec.limits.fuel = 10_000_000;
    let ran = run.go();
    assert_eq!(trap_of(&ran), TrapKind::OutOfFuel);
    assert!(ran.outcome.host_calls <= 10_000_000 / 65_536 + 2, "{} calls", ran.outcome.host_calls);
}
