//! Simulates the fleet for as long as one likes, or one seed once more:
//! `cargo run -p ganger-tests --bin simulate -- --seeds 1000`.

use std::process::ExitCode;

use clap::Parser;
use ganger_tests::simulation::{Plan, Safeguard, run, run_and_explain};

/// Simulates the whole fleet under virtual time, with everything failing by chance.
#[derive(Debug, Parser)]
struct Args {
    /// The first seed; by chance, where none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, one after another.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many steps of each there are faults.
    #[arg(long, default_value_t = 3_000)]
    steps: u64,
    /// What is taken out of the fleet, to see that it is missed.
    #[arg(long)]
    without: Option<Safeguard>,
    /// Says what comes of each seed.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chance = || u64::from(uuid::Uuid::new_v4().as_u64_pair().0 as u32);
    let first = args.seed.unwrap_or_else(chance);
    let (mut steps, mut failures) = (0, 0);
    for seed in first..first + args.seeds {
        let plan = Plan {
            seed,
            steps: args.steps,
            without: args.without,
        };
        // A trace is of use for one alone.
        let ran = match args.seeds {
            1 => run_and_explain(plan),
            _ => run(plan, false),
        };
        match ran {
            Ok(ran) => {
                steps += ran.steps;
                if args.verbose || args.seeds == 1 {
                    println!("seed {seed}: {ran:?}");
                }
            }
            Err(failure) => {
                failures += 1;
                println!("{failure}");
            }
        }
    }
    println!(
        "{} seeds from {first}, {steps} steps, {failures} failures",
        args.seeds
    );
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
