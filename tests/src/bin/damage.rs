//! Damages a board after a clean stop, again and again, and tells what became of each:
//! `cargo run --release -p ganger-tests --bin damage -- --count 500`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Parser;
use ganger_tests::{
    Chance, Programs,
    damage::{Outcome, Specimen},
};

/// Damages one file of a board's data directory at a time, starts a coordinator on it, and judges
/// what comes of it.
#[derive(Debug, Parser)]
struct Args {
    /// How many damages, each to a board of its own.
    #[arg(long, default_value_t = 500)]
    count: u64,
    /// Chance that was shown by an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the programs lie; beside this one if it is not said.
    #[arg(long)]
    programs: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let dir = match args.programs {
        Some(dir) => dir,
        None => std::env::current_exe()?.with_file_name(""),
    };
    let specimen = Specimen::make(Programs {
        coordinator: dir.join("e2e-coordinator"),
        ganger: dir.join("e2e-ganger"),
        worker: dir.join("e2e-worker"),
    })
    .await;
    let mut chance = args.seed.map_or_else(Chance::new, Chance::of);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = 0;
    for number in 1..=args.count {
        let damage = specimen.some_damage(&mut chance);
        let (kind, more) = match specimen.judge(&damage).await {
            Ok(Outcome::Same) => ("same", String::new()),
            Ok(Outcome::Unreadable { reads }) => ("unreadable", format!("{reads} reads fail")),
            Ok(Outcome::Refused { line, is_accepted }) => match is_accepted {
                true => ("refused, then accepted", line),
                false => ("refused", line),
            },
            Err(what) => {
                wrong += 1;
                ("WRONG", what)
            }
        };
        *counts.entry(kind).or_default() += 1;
        println!("{number:>4}  {damage}: {kind} {more}");
    }
    println!("{counts:?}");
    anyhow::ensure!(
        wrong == 0,
        "{wrong} of {} came out as they must not",
        args.count
    );
    Ok(())
}
