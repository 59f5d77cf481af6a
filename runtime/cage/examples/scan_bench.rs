//! How long it takes to look for untrappable instructions in the files that programs map as code.
//!
//! Owns one measurement: the scan of a whole file, uncached, as `pinned` does it when a file is first mapped as code;
//! the file itself is in the page cache after the first round. Without arguments it takes what of a usual list
//! this machine has.
//!
//! Usage: `scan_bench [FILE ..]`

use std::path::PathBuf;
use std::time::Instant;

use metanode_cage::find_instructions;

/// Rounds for each file, of which the median is printed.
const ROUNDS: usize = 15;

/// Taken when no file is named.
const USUAL: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/bin/bash",
    "/usr/bin/python3.11",
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/usr/bin/node",
];

fn main() {
    let named: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let usual = || USUAL.iter().map(PathBuf::from).filter(|p| p.exists()).collect();
    let files: Vec<PathBuf> = if named.is_empty() { usual() } else { named };
    println!(
        "{:>9} {:>10} {:>9} {:>7} {:>11}  file",
        "median ms", "KiB code", "confirmed", "cleared", "unconfirmed"
    );
    for path in files {
        let mut times = Vec::with_capacity(ROUNDS);
        let mut found = None;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            match find_instructions(&path) {
                Ok(result) => found = Some(result),
                Err(error) => {
                    println!("{}: {error}", path.display());
                    break;
                }
            }
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let Some(found) = found else { continue };
        times.sort_by(f64::total_cmp);
        let count = |verdict: &str| found.sites.iter().filter(|s| s.verdict == verdict).count();
        println!(
            "{:>9.2} {:>10} {:>9} {:>7} {:>11}  {}",
            times[times.len() / 2],
            found.scanned_bytes / 1024,
            count("confirmed"),
            count("cleared"),
            count("unconfirmed"),
            path.display()
        );
    }
}
