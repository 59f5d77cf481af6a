//! The numbers that are promised, measured on this machine: `cargo bench -p metanode-testnet --profile dev`.
//!
//! Owns the measurements and prints nothing else: start of a network, idle validators, proof bundles, start of a cage
//! beside bubblewrap. The programs measured are built first, under the profile of this bench. What can not be measured
//! is printed as `unavailable` with the reason. Nothing is compared with a target here: readers do that.

use anyhow::{Context, Result, ensure};
use metanode_genesis::Genesis;
use metanode_testnet::cluster::{Cluster, metanode_bin, show};
use metanode_types::bundle::Bundle;
use metanode_types::verify::verify_with_replay;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Networks that are started, one after the other.
const STARTS: usize = 5;
/// How long idle validators are watched.
const IDLE: Duration = Duration::from_secs(60);
/// Verifications of one bundle.
const VERIFICATIONS: usize = 200;
/// Starts of a cage, and as many of bubblewrap.
const CAGES: &str = "50";

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `debug` or the name of the release profile's directory, in which this bench and what it measures were built.
fn profile() -> Result<(PathBuf, String)> {
    let exe = std::env::current_exe()?;
    let dir = exe.parent().and_then(Path::parent).context("target/PROFILE/deps/system")?.to_owned();
    let name = dir.file_name().context("a profile's directory")?.to_string_lossy().into_owned();
    Ok((dir, name))
}

fn cargo(profile: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.args([
        "build",
        "--quiet",
        "--locked",
        "--profile",
        if profile == "debug" { "dev" } else { profile },
    ]);
    command
}

fn build(profile: &str) -> Result<()> {
    let args = ["-p", "metanode-node", "-p", "metanode-cage", "--bins"];
    ensure!(cargo(profile).args(args).status()?.success(), "the programs do not build");
    Ok(())
}

fn machine(profile: &str) -> Result<()> {
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map(|(_, m)| m);
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")).map_or("unavailable", str::trim);
    let load = read("/proc/loadavg");
    println!(
        "machine: {}, {} cores, {memory}",
        model.unwrap_or("model unavailable"),
        std::thread::available_parallelism()?
    );
    println!("kernel: {}; load before: {}", read("/proc/sys/kernel/osrelease").trim(), load.trim());
    println!("programs: {} ({profile} build)", metanode_bin()?.display());
    Ok(())
}

fn wasm() -> String {
    format!("wasm:{}/samples/fibonacci.wat", env!("CARGO_MANIFEST_DIR"))
}

/// From the command `testnet up` to the first deployment that is final; the last network is left running.
fn first_deployment() -> Result<Cluster> {
    let (mut ups, mut finals, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..STARTS {
        drop(last.take());
        let begin = Instant::now();
        let cluster = Cluster::up(4)?;
        ups.push(begin.elapsed().as_secs_f64());
        let deployed = cluster.json(&["deploy", "first", "--job", "--image", &wasm()])?;
        finals.push(begin.elapsed().as_secs_f64());
        ensure!(deployed["height"].is_u64(), "not final: {deployed}");
        last = Some(cluster);
    }
    let (low, high) =
        (finals.iter().copied().fold(f64::MAX, f64::min), finals.iter().copied().fold(0.0, f64::max));
    println!("4 validators up and usable: median {:.2} s of {STARTS}", median(&mut ups));
    println!(
        "up to first final deployment: median {:.2} s of {STARTS} ({low:.2} to {high:.2})",
        median(&mut finals)
    );
    last.context("at least one network was started")
}

/// CPU ticks used by a process and its resident memory in KiB.
fn used(pid: i32) -> Result<(u64, u64)> {
    let stat = read(format!("/proc/{pid}/stat"));
    let rest = stat.rsplit_once(')').context("a running process")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let status = read(format!("/proc/{pid}/status"));
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok((ticks, rss.trim().trim_end_matches(" kB").parse()?))
}

fn idle(cluster: &Cluster) -> Result<()> {
    let ticks_per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("CLK_TCK")? as f64;
    let pids: Vec<i32> = cluster.pids()?.into_iter().flatten().collect();
    let stats = || cluster.json(&["ledger", "stats"]);
    let (before, begin) = (stats()?, Instant::now());
    let start = pids.iter().map(|pid| used(*pid)).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(IDLE);
    let seconds = begin.elapsed().as_secs_f64();
    for (i, pid) in pids.iter().enumerate() {
        let (ticks, rss) = used(*pid)?;
        let percent = (ticks - start[i].0) as f64 / ticks_per_second / seconds * 100.0;
        println!(
            "idle validator {i} over {seconds:.0} s: {percent:.2} % of a core, {:.0} MB resident",
            rss as f64 / 1000.0
        );
    }
    let after = stats()?;
    let grown = |field: &str| {
        let grown = after[field].as_u64().zip(before[field].as_u64()).map(|(a, b)| a - b);
        grown.map_or_else(|| "unavailable".to_owned(), |n| n.to_string())
    };
    println!("meanwhile: {} blocks, {} transactions (heartbeats)", grown("height"), grown("txs"));
    Ok(())
}

fn proofs(cluster: &Cluster) -> Result<()> {
    let receipts = cluster.json(&["receipts", "first"])?;
    let trust = Genesis::load(&cluster.genesis)?.trust_root();
    let file = cluster.scratch().join("proof");
    let path = file.to_str().context("UTF-8 path")?;
    for receipt in receipts.as_array().context("a list")? {
        let (id, tier) = (receipt["id"].as_str().context("id")?, receipt["tier"].as_str().context("tier")?);
        cluster.json(&["proofs", "export", id, "--out", path])?;
        let bytes = std::fs::read(&file)?;
        let mut times = Vec::new();
        for _ in 0..VERIFICATIONS {
            let begin = Instant::now();
            let verdict = verify_with_replay(&Bundle::from_bytes(&bytes)?, &trust, None);
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            ensure!(verdict.verified(), "{id} does not verify: {:?}", verdict.failed());
        }
        let middle = median(&mut times);
        println!(
            "core bundle, {tier}: {} bytes, verified in {middle:.2} ms (median of {VERIFICATIONS})",
            bytes.len()
        );
    }
    Ok(())
}

fn cage_start(dir: &Path, profile: &str) -> Result<()> {
    if !Command::new("bwrap").arg("--version").output().is_ok_and(|o| o.status.success()) {
        println!(
            "cage start beside bubblewrap: unavailable, bwrap is not installed (testnet/setup.sh --with-benches)"
        );
        return Ok(());
    }
    let built = cargo(profile).args(["-p", "metanode-cage", "--example", "start_bench"]).status()?;
    ensure!(built.success(), "start_bench does not build");
    let cage = metanode_bin()?.with_file_name("metanode-cage");
    let run = Command::new(dir.join("examples/start_bench")).arg(CAGES).arg(cage).output()?;
    if run.status.success() {
        print!("{}", String::from_utf8_lossy(&run.stdout));
    } else {
        println!("cage start beside bubblewrap: unavailable, {}", show(&run).trim());
    }
    Ok(())
}

fn main() -> Result<()> {
    let (dir, profile) = profile()?;
    if std::env::var_os("METANODE_BIN").is_none() {
        build(&profile)?;
    }
    machine(&profile)?;
    let cluster = first_deployment()?;
    proofs(&cluster)?;
    idle(&cluster)?;
    drop(cluster);
    cage_start(&dir, &profile)
}
