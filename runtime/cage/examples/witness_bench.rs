//! What recording costs: nanoseconds an event, with and without a file, against hashing the same bytes alone.
//!
//! `cargo run -p metanode-cage --example witness_bench [EVENTS]`. Prints medians of five rounds of CPU
//! time; the rounds of the three kinds take turns, so that a busy machine slows all of them.

use std::hint::black_box;

use metanode_cage::Exit;
use metanode_cage::witness::{Event, Outcome, Recorder, RunHeader};
use sha2::{Digest, Sha256};

const ROUNDS: usize = 5;

fn record(events: u64, data: &[u8], file: Option<std::fs::File>) -> u64 {
    let mut recorder = Recorder::new(&RunHeader::default(), file, 1 << 40).expect("the header is short");
    for seq in 0..events {
        let args = [3, 0x7fff_f7a0_1000 + seq, data.len() as u64, 0, 0, 0];
        let (result, clock_ns) = (data.len() as i64, 1_700_000_000_000_000_000 + 1000 * seq);
        let event = Event { task: 2, number: 1, args, result, clock_ns, data: &[data] };
        recorder.event(&event).expect("the event is recorded");
    }
    let (stdout_digest, stderr_digest) = ("00".repeat(32), "00".repeat(32));
    let exit = Exit::Code(0);
    let outcome = Outcome { exit, stdout_digest, stderr_digest, output_digest: None, logical_ns: 0 };
    recorder.finish(&outcome).expect("the outcome is well formed").bytes
}

/// Nanoseconds that this thread has spent on a CPU.
fn on_cpu_ns() -> u64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel accounts for CPU time");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("the first number is that time")
}

/// CPU nanoseconds an event.
fn timed(events: u64, run: impl FnOnce()) -> f64 {
    let start = on_cpu_ns();
    run();
    (on_cpu_ns() - start) as f64 / events as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let events = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    println!("{events} events a round, {ROUNDS} rounds; CPU ns an event");
    println!("data bytes  record bytes  hashing alone  hash only  with a file  overhead of hash only");
    for size in [0, 64, 1024] {
        let data = vec![b'x'; size];
        let file = || tempfile::tempfile().expect("a temporary file");
        let bytes = record(events, &data, Some(file())) / events;
        let chunk = vec![7u8; 64 << 10];
        let (mut hashing, mut only, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            hashing.push(timed(events, || {
                for _ in 0..events * bytes / chunk.len() as u64 {
                    black_box(Sha256::digest(black_box(&chunk)));
                }
            }));
            only.push(timed(events, || {
                black_box(record(events, &data, None));
            }));
            written.push(timed(events, || {
                black_box(record(events, &data, Some(file())));
            }));
        }
        let (hashing, only, written) = (median(hashing), median(only), median(written));
        let overhead = only - hashing;
        println!("{size:>10}  {bytes:>12}  {hashing:>13.0}  {only:>9.0}  {written:>11.0}  {overhead:>21.0}");
    }
}
