//! What determinism costs a module: an integer loop under the cage's settings (fuel, NaN canonicalisation, a
//! stated target) against the same loop under plain wasmtime, in pairs on one machine.
//!
//! Both sides compile and run the module from its bytes; what a loop of no rounds takes is subtracted, so that the
//! ratio is that of the loops alone. Time is that of this thread on a processor, so that a busy machine changes
//! little. Prints the median of the paired ratios, and exits with 1 when it is above the
//! promised 1.1. `cargo run --example wasm_cost [PAIRS]`.

use std::process::ExitCode;
use std::time::Duration;

use metanode_runtime::wasm::{End, Output, WasmLimits, WasmSpec, execute};
use metanode_types::hash::sha256;
use metanode_types::ids::ContentDigest;

const PROMISED: f64 = 1.1;
const ROUNDS: u64 = 200_000_000;

/// A sum of squares: as little work in a round as a loop can have, so the checks weigh most.
fn tight(rounds: u64) -> Vec<u8> {
    let text = format!(
        "(module (memory (export \"memory\") 1)
           (func (export \"_start\") (local $left i64) (local $sum i64)
             (local.set $left (i64.const {rounds}))
             (block $done (loop $again
               (br_if $done (i64.eqz (local.get $left)))
               (local.set $sum (i64.add (local.get $sum) (i64.mul (local.get $left) (local.get $left))))
               (local.set $left (i64.sub (local.get $left) (i64.const 1)))
               (br $again)))
             (i64.store (i32.const 0) (local.get $sum))))"
    );
    wat::parse_str(text).expect("valid text")
}

/// A xorshift generator with a multiplication and a data-dependent select: the integer work of a hash or a parser.
fn xorshift(rounds: u64) -> Vec<u8> {
    let text = format!(
        "(module (memory (export \"memory\") 1)
           (func (export \"_start\") (local $left i64) (local $x i64) (local $sum i64)
             (local.set $left (i64.const {rounds})) (local.set $x (i64.const 88172645463325252))
             (block $done (loop $again
               (br_if $done (i64.eqz (local.get $left)))
               (local.set $left (i64.sub (local.get $left) (i64.const 1)))
               (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
               (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
               (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
               (local.set $sum (i64.add (local.get $sum) (i64.mul (local.get $x) (i64.const 2685821657736338717))))
               (local.set $sum (select (i64.add (local.get $sum) (i64.const 1)) (local.get $sum)
                 (i32.wrap_i64 (i64.and (local.get $x) (i64.const 1)))))
               (br $again)))
             (i64.store (i32.const 0) (local.get $sum))))"
    );
    wat::parse_str(text).expect("valid text")
}

/// How long this thread has been running.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("scheduler statistics");
    let ns = text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
    Duration::from_nanos(ns)
}

fn caged(bytes: &[u8]) -> Duration {
    let spec = WasmSpec {
        module: ContentDigest(sha256(bytes)),
        args: Vec::new(),
        env: Vec::new(),
        seed: [0; 32],
        epoch_ns: 0,
        files: Vec::new(),
        limits: WasmLimits::default(),
    };
    let output = Output {
        stdout: Box::new(std::io::sink()),
        stderr: Box::new(std::io::sink()),
        witness: None,
        give_up: None,
    };
    let started = on_cpu();
    let outcome = execute(&spec, bytes, Vec::new(), output).expect("a run");
    let took = on_cpu() - started;
    assert_eq!(outcome.end, End::Exited { code: 0 });
    took
}

fn plain(bytes: &[u8]) -> Duration {
    let started = on_cpu();
    let compiler = wasmtime::Engine::default();
    let module = wasmtime::Module::new(&compiler, bytes).expect("a module");
    let mut store = wasmtime::Store::new(&compiler, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("_start");
    start.call(&mut store, ()).expect("a run");
    on_cpu() - started
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs one loop in pairs and prints what came of it; the median of the paired ratios.
fn compare(name: &str, module: fn(u64) -> Vec<u8>, pairs: usize) -> f64 {
    let (empty, full) = (module(0), module(ROUNDS));
    let net = |run: fn(&[u8]) -> Duration| {
        let base = run(&empty);
        run(&full).saturating_sub(base).as_secs_f64()
    };
    let (mut ratios, mut plains, mut cageds) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        // The order alternates, so that a machine that slows down favours neither.
        let (one, two) = if pair % 2 == 0 {
            let one = net(plain);
            (one, net(caged))
        } else {
            let two = net(caged);
            (net(plain), two)
        };
        ratios.push(two / one);
        plains.push(one);
        cageds.push(two);
    }
    let per_round = |seconds: Vec<f64>| median(seconds) * 1e9 / ROUNDS as f64;
    let ratio = median(ratios);
    println!(
        "{name}: plain {:.3} ns, caged {:.3} ns a round, caged / plain {ratio:.3} (medians of {pairs} pairs)",
        per_round(plains),
        per_round(cageds)
    );
    ratio
}

fn main() -> ExitCode {
    let pairs = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(11).max(1);
    let judged = compare("xorshift", xorshift, pairs);
    compare("sum of squares", tight, pairs);
    println!("promised for xorshift: at most {PROMISED}");
    if judged <= PROMISED { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
