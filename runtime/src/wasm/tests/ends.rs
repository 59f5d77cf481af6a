//! How runs end: exits, traps, bounds, refusals.

use super::*;

#[test]
fn exit_codes_and_traps_are_told_apart() {
    let end = |body: &str| Run::new(&module(body)).end();
    assert_eq!(end("(call $proc_exit (i32.const 42)) unreachable"), End::Exited { code: 42 });
    let trap = |body: &str| match end(body) {
        End::Trapped { trap } => trap,
        other => panic!("{body} ended with {other:?}"),
    };
    assert_eq!(trap("unreachable"), TrapKind::Unreachable);
    assert_eq!(trap("(drop (i32.load (i32.const -1)))"), TrapKind::MemoryFault);
    assert_eq!(trap("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), TrapKind::Arithmetic);
    assert_eq!(trap("(loop (br 0))"), TrapKind::OutOfFuel);
    let run = Run::new("(module (table 1 funcref) (func (export \"_start\") (call_indirect (i32.const 0))))");
    assert_eq!(run.end(), End::Trapped { trap: TrapKind::TableFault });
    let run = Run::new("(module (func $f (export \"_start\") (call $f)))");
    let ran = run.go();
    assert_eq!(ran.outcome.end, End::Trapped { trap: TrapKind::StackOverflow });
    let run = Run::new("(module (func $s unreachable) (start $s) (func (export \"_start\")))");
    assert_eq!(run.end(), End::Trapped { trap: TrapKind::Unreachable });
}

#[test]
fn dear_host_calls_cost_fuel() {
    let mut run =
        Run::new(&module("(loop (drop (call $random_get (i32.const 0) (i32.const 262144))) (br 0))"));
    run.spec.limits.fuel = 10_000_000;
    let ran = run.go();
    assert_eq!(ran.outcome.end, End::Trapped { trap: TrapKind::OutOfFuel });
    assert!(ran.outcome.host_calls <= 10_000_000 / 262_144 + 1, "{} calls", ran.outcome.host_calls);
    assert_eq!(ran.outcome.fuel_used, 10_000_000);
}

#[test]
fn memory_grows_to_the_cap_and_no_further() {
    let grow = |pages: u32, cap: u64| {
        let body = format!(
            "(i32.store (i32.const {BUFFER}) (memory.grow (i32.const {pages})))
             (i32.store (i32.const {IOVEC}) (i32.const {BUFFER})) (i32.store (i32.const 36) (i32.const 4))
             (drop (call $fd_write (i32.const 1) (i32.const {IOVEC}) (i32.const 1) (i32.const 48)))"
        );
        let text = module(&body).replace("\"memory\") 4 64", "\"memory\") 4");
        let mut run = Run::new(&text);
        run.spec.limits.memory_bytes = cap;
        run.go()
    };
    let page = 65_536;
    assert_eq!(grow(4, 8 * page).stdout, 4_i32.to_le_bytes());
    assert_eq!(grow(4, 8 * page).outcome.memory_peak_bytes, 8 * page);
    assert_eq!(grow(5, 8 * page).stdout, (-1_i32).to_le_bytes());
    assert_eq!(grow(65_536, 8 << 30).stdout, (-1_i32).to_le_bytes(), "past what 32 bits can address");
    let mut run = Run::new(&module(""));
    run.spec.limits.memory_bytes = 3 * page;
    assert!(matches!(run.try_go(), Err(Error::StartModule { .. })), "the initial memory is over the cap");
}

#[test]
fn modules_that_are_no_commands_are_refused_before_they_run() {
    for (text, why) in [
        ("(module)", "_start"),
        ("(module (import \"env\" \"f\" (func)) (func (export \"_start\")))", "env"),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func)) (func (export \"_start\")))",
            "fd_close",
        ),
        ("(module (func (export \"_start\") (param i32)))", "_start"),
    ] {
        let error = Run::new(text).try_go().expect_err("not a command").to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
    let mut run = Run::new("(module (func (export \"_start\")))");
    run.spec.module = digest_of(b"another");
    assert!(matches!(run.try_go(), Err(Error::StartModule { .. })));
}

#[test]
fn not_a_number_has_one_spelling() {
    // A quiet NaN with a payload times one keeps its payload on hardware; the cage makes it the canonical one.
    let body = format!(
        "(f64.store (i32.const {BUFFER}) (f64.mul (f64.const nan:0x8000000001234) (f64.const 1)))
         (i32.store (i32.const {IOVEC}) (i32.const {BUFFER})) (i32.store (i32.const 36) (i32.const 8))
         (drop (call $fd_write (i32.const 1) (i32.const {IOVEC}) (i32.const 1) (i32.const 48)))"
    );
    assert_eq!(Run::new(&module(&body)).go().stdout, 0x7ff8_0000_0000_0000_u64.to_le_bytes());
}

#[test]
fn a_spec_survives_its_json_and_refuses_unknown_fields() {
    let mut spec = Run::new("(module)").spec;
    spec.files = vec![NamedFile { path: "/a".into(), bytes: vec![0, 255] }];
    let text = serde_json::to_string(&spec).expect("json");
    assert_eq!(serde_json::from_str::<WasmSpec>(&text).expect("json"), spec);
    let more = text.replacen('{', "{\"unknown\":1,", 1);
    assert!(serde_json::from_str::<WasmSpec>(&more).is_err());
}

/// Frozen: fuel and outcome of one script that touches clock, randomness, files and streams. When this changes,
/// nodes of two versions disagree about every job, so `CAGE_ABI` must change with it.
#[test]
fn the_outcome_of_a_known_run_is_frozen_with_the_abi() {
    let mut script = Script::new();
    script
        .call("random_get", &[BUFFER, 16])
        .dump(BUFFER, 16)
        .call("clock_time_get", &[0, 0, OUT])
        .dump(OUT, 8);
    script
        .open(b"f", CREAT)
        .write(4, b"contents")
        .call("fd_readdir", &[3, BUFFER, 512, 0, OUT])
        .dump(BUFFER, 80);
    let outcome = script.run().outcome;
    assert_eq!(CAGE_ABI, "wasm-p1-p2/wasmtime-48.0.8/2");
    assert_eq!((outcome.fuel_used, outcome.host_calls, outcome.clock_ns), (2139, 9, 9_000));
    let digest = "sha256:2506af1192d381916c9a1a4fde6cba427084b402c1ef047053044a6d7251dc44";
    assert_eq!(outcome.digest().to_string(), digest);
}
