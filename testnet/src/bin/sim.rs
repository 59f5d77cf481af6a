//! `sim`: runs simulator seeds from the command line; exits 1 at the first violation and names the seed.
//!
//! Each run prints what happened in it, so that a run in which nothing happened is seen.

#![forbid(unsafe_code)]

use clap::Parser;
use metanode_p2p::mem::Conditions;
use metanode_testnet::sim::{Scenario, Sim};
use std::io::Write;

/// Runs whole validators under virtual time.
#[derive(Parser, Debug)]
struct Args {
    /// First seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds to run, from the first on
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Validators
    #[arg(long, default_value_t = 4)]
    validators: usize,
    /// Real BLS signatures instead of the simulation's twin
    #[arg(long)]
    real_bls: bool,
    /// Gossip messages lost, of a thousand
    #[arg(long, default_value_t = 30)]
    loss: u32,
    /// Lose the consensus journal in every crash: the checkers must notice
    #[arg(long)]
    forget_journal: bool,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let started = std::time::Instant::now();
    let mut steps = 0;
    for seed in args.seed..args.seed.saturating_add(args.count) {
        let scenario = Scenario {
            validators: args.validators,
            real_bls: args.real_bls,
            weather: Conditions { loss_permille: args.loss, ..Conditions::default() },
            mutate_forget_journal: args.forget_journal,
            ..Scenario::default()
        };
        match Sim::new(seed, scenario).run() {
            Ok(o) => {
                steps += o.steps;
                say(&format!(
                    "seed {seed}: {} blocks, {} transfers final, {} crashes, {} partitions, {} steps, trace {}",
                    o.blocks,
                    o.transfers,
                    o.crashes,
                    o.partitions,
                    o.steps,
                    hex::encode(&o.trace[..8])
                ));
            }
            Err(failed) => {
                eprintln!("{failed}");
                return std::process::ExitCode::from(1);
            }
        }
    }
    say(&format!("{} seeds without a violation, {steps} steps in {:.1?}", args.count, started.elapsed()));
    std::process::ExitCode::SUCCESS
}

/// One line on standard output; a reader that has gone away ends the run.
fn say(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
