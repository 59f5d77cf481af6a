//! Which programs repeat themselves at level pinned, how often, and at what price: writes `docs/what-runs.md`.
//!
//! Owns the page. Every figure on it was measured by the run that wrote it; a program that failed, differed or is not
//! installed has its line too. Needs root, and no network.
//!
//! Usage: `what_runs [--quick] [--jobs N] [--only TEXT] [PAGE]`; without PAGE to standard output. With `--jobs` several
//! programs are measured at a time, each beside the others.

#[path = "../tests/catalogue/mod.rs"]
mod catalogue;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use catalogue::{Bench, Load, Program, Ran};
use metanode_cage::Level;

/// Longest one run may take.
const WALL_MS: u64 = 60_000;

/// How many runs of each kind.
struct Plan {
    idle: usize,
    loaded: usize,
    pairs: usize,
}

/// How often the runs of a program agreed.
#[derive(Default)]
struct Tally {
    kinds: BTreeMap<[String; 5], usize>,
    failures: BTreeMap<String, usize>,
    runs: usize,
}

impl Tally {
    fn add(&mut self, program: &Program, ran: &Ran) {
        self.runs += 1;
        match ran.did(program).and_then(|()| ran.essence()) {
            Ok(essence) => *self.kinds.entry(essence).or_default() += 1,
            Err(why) => *self.failures.entry(why).or_default() += 1,
        }
    }

    /// Runs that agree with the most frequent result.
    fn agreeing(&self) -> usize {
        self.kinds.values().copied().max().unwrap_or(0)
    }

    fn perfect(&self) -> bool {
        self.agreeing() == self.runs
    }
}

fn main() {
    let (mut quick, mut jobs, mut only, mut page) = (false, 1, String::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--jobs" => {
                jobs = arguments.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect("--jobs N");
            }
            "--only" => only = arguments.next().expect("--only TEXT"),
            _ => page = Some(PathBuf::from(argument)),
        }
    }
    let plan =
        if quick { Plan { idle: 2, loaded: 3, pairs: 1 } } else { Plan { idle: 5, loaded: 20, pairs: 5 } };
    let programs: Vec<Program> =
        catalogue::programs().into_iter().filter(|p| p.name.contains(&only)).collect();
    let fresh = measure(&programs, &plan, jobs);
    let earlier = page.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let rows = merge(&programs, fresh, if only.is_empty() { "" } else { &earlier });
    let text = render(&plan, jobs, &rows);
    match page {
        Some(path) => std::fs::write(path, text).expect("write the page"),
        None => print!("{text}"),
    }
}

/// All lines in the order of the catalogue: those just measured, and of the other programs those of an earlier page.
fn merge(measured: &[Program], fresh: Vec<String>, earlier: &str) -> Vec<String> {
    let mut rows: BTreeMap<&str, String> = measured.iter().map(|p| p.name).zip(fresh).collect();
    let line = |program: &Program| {
        let lead = format!("| {} |", program.name);
        let old = || earlier.lines().find(|line| line.starts_with(&lead)).map(|line| format!("{line}\n"));
        rows.remove(program.name).or_else(old)
    };
    catalogue::programs().iter().filter_map(line).collect()
}

/// The lines of all programs, `jobs` of them measured at a time.
fn measure(programs: &[Program], plan: &Plan, jobs: usize) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        let bench = Bench::new(&sibling("metanode-cage"), WALL_MS);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(program) = programs.get(index) else { return };
            let line = row(&bench, program, plan);
            eprint!("{line}");
            done.lock().expect("no other worker panicked").insert(index, line);
        }
    };
    std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().expect("no worker panicked").into_values().collect()
}

fn sibling(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().and_then(Path::parent).expect("target/PROFILE/examples/what_runs").join(name)
}

/// The program's line.
fn row(bench: &Bench, program: &Program, plan: &Plan) -> String {
    if let Some(command) = catalogue::missing(program) {
        return format!("| {} | - | - | | | | | not installed here ({command}) |\n", program.name);
    }
    let mut notes = Vec::new();
    let (mut idle, mut loaded) = (Tally::default(), Tally::default());
    let first = bench.run(program, Level::Pinned, 0);
    idle.add(program, &first);
    // One that fails at once is tried once more beside load, not twenty times.
    let fails = first.did(program).is_err();
    let (idle_runs, loaded_runs) = if fails { (1, 1) } else { (plan.idle, plan.loaded) };
    (1..idle_runs).for_each(|_| idle.add(program, &bench.run(program, Level::Pinned, 0)));
    {
        let _load = Load::start();
        (0..loaded_runs).for_each(|_| loaded.add(program, &bench.run(program, Level::Pinned, 0)));
    }
    let same =
        idle.kinds.keys().chain(loaded.kinds.keys()).collect::<std::collections::BTreeSet<_>>().len() <= 1;
    let pinned = idle.perfect() && loaded.perfect() && same;
    for (why, times) in idle.failures.iter().chain(&loaded.failures) {
        notes.push(format!("{times}x {}", plain(why)));
    }
    if let Ok(report) = &first.report {
        notes.extend(report.downgraded.iter().map(|why| plain(why)));
    }
    let level = if pinned { "pinned" } else { contained(bench, program, &mut notes) };
    format!(
        "| {} | {} {} | {level} | {}/{} | {}/{} | {} | {} | {} |\n",
        program.name,
        program.package,
        version(program.package),
        idle.agreeing(),
        idle.runs,
        loaded.agreeing(),
        loaded.runs,
        if pinned { overhead(bench, program, plan.pairs) } else { "-".into() },
        if pinned { seeds(bench, program, &first) } else { "-" },
        notes.join("; "),
    )
}

/// One line of a table.
fn plain(text: &str) -> String {
    let line: String = text.chars().map(|c| if c == '|' || c.is_control() { ' ' } else { c }).collect();
    line.chars().take(220).collect()
}

fn contained(bench: &Bench, program: &Program, notes: &mut Vec<String>) -> &'static str {
    match bench.run(program, Level::Contained, 0).did(program) {
        Ok(()) => "contained",
        Err(why) => {
            notes.push(format!("contained: {}", plain(&why)));
            "none"
        }
    }
}

/// Median of the ratios of pinned to contained, in pairs, one after the other.
fn overhead(bench: &Bench, program: &Program, pairs: usize) -> String {
    let mut ratios: Vec<f64> = (0..pairs)
        .map(|_| {
            let pinned = bench.run(program, Level::Pinned, 0).wall.as_secs_f64();
            pinned / bench.run(program, Level::Contained, 0).wall.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    format!("{:.2}", ratios[ratios.len() / 2])
}

/// Whether what the program shows depends on the seed.
fn seeds(bench: &Bench, program: &Program, first: &Ran) -> &'static str {
    let other = bench.run(program, Level::Pinned, 1);
    match (first.essence(), other.essence()) {
        (Ok(a), Ok(b)) if a[1] != b[1] || a[3] != b[3] => "yes",
        (Ok(a), Ok(b)) if a[4] != b[4] => "in the trace only",
        (Ok(_), Ok(_)) => "not random",
        _ => "no verdict with the other seed",
    }
}

fn told(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

fn version(package: &str) -> String {
    told("dpkg-query", &["-W", "-f", "${Version}", package])
}

fn render(plan: &Plan, jobs: usize, rows: &[String]) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("unknown", |m| m.1);
    let mut page = String::new();
    let _ = write!(
        page,
        "# What runs at level pinned\n\n\
         Written by `cargo run -p metanode-cage --example what_runs -- docs/what-runs.md` (root, no network). The\n\
         programs are scripts in `runtime/cage/tests/catalogue`; the root is this machine's own, read-only.\n\n\
         The lines of the last run were measured {date} on {model},\n\
         {cpus} processors, {kernel}; load average when it ended: {load}.\n\n\
         {pinned} of {installed} installed programs reached `pinned`: each did its work, and its exit, standard\n\
         output, standard error, output tree and trace hash were equal in all {idle} runs without and {loaded} runs\n\
         with load of our own (a computing process and a half for every processor). One that differed or failed even\n\
         once has the level that is left. A program that the cage refuses in the same way every time counts as having\n\
         done its work; its note says so. *Overhead* is the median ratio of wall times, from launch to report, pinned\n\
         to contained, over {pairs} interleaved pairs; up to {jobs} programs were measured at a time, each beside the\n\
         others. A run with `--only` leaves the lines of the other programs as they were.\n\
         *Seeds*: whether another seed changes the output (`yes`), only the trace, or nothing (`not random`).\n\n\
         | Program | Package | Level | Same, idle | Same, loaded | Overhead | Seeds | Notes |\n\
         |---|---|---|---|---|---|---|---|\n{lines}",
        date = told("date", &["-u", "+%F"]),
        cpus = std::thread::available_parallelism().map_or(0, usize::from),
        kernel = told("uname", &["-sr"]),
        load = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        lines = rows.concat(),
        pinned = rows.iter().filter(|row| row.split(" | ").nth(2) == Some("pinned")).count(),
        installed = rows.iter().filter(|row| !row.contains("not installed here")).count(),
        idle = plan.idle,
        loaded = plan.loaded,
        pairs = plan.pairs,
    );
    page
}
