//! Sample job: counts the primes below its argument and leaves the last ones in a file.
//!
//! Deterministic by nature: the same argument gives the same standard output and the same files, on any node.

fn main() {
    let below: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(100_000);
    if !(3..=50_000_000).contains(&below) {
        eprintln!("error: {below} is not between 3 and 50000000");
        std::process::exit(2);
    }
    let mut composite = vec![false; below];
    let mut primes = Vec::new();
    for n in 2..below {
        if composite[n] {
            continue;
        }
        primes.push(n);
        (n * n..below).step_by(n).for_each(|m| composite[m] = true);
    }
    println!("{} primes below {below}", primes.len());
    let tail = &primes[primes.len().saturating_sub(10)..];
    let text: Vec<String> = tail.iter().map(usize::to_string).collect();
    if let Err(e) = std::fs::write("/tmp/last-primes.txt", text.join("\n") + "\n") {
        eprintln!("error: write /tmp/last-primes.txt: {e}");
        std::process::exit(1);
    }
}
