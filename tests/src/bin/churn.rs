//! Makes and finishes tasks on one board, for as long as one likes, and tells how large it is:
//! `cargo run --release -p ganger-tests --bin churn -- --tasks 10000000`.

use std::{io::Write, path::PathBuf, time::Instant};

use clap::Parser;
use ganger_tests::churn::{Churn, Size};

/// Makes and finishes tasks on one board, and tells how large it, its files and this process are.
#[derive(Debug, Parser)]
struct Args {
    /// How many tasks are made in all.
    #[arg(long, default_value_t = 10_000_000)]
    tasks: u64,
    /// How many finished ones are kept.
    #[arg(long, default_value_t = 100_000)]
    kept: usize,
    /// Where the board lies; one that is there already is gone on with.
    #[arg(long, default_value = "target/churn")]
    dir: PathBuf,
    /// Tells each commit's last finished task on a line, instead of sizes.
    #[arg(long)]
    tell_finished: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let churn = Churn {
        dir: args.dir,
        kept: args.kept,
    };
    let began = Instant::now();
    let mut running = churn.start()?;
    let (mut out, mut last) = (std::io::stdout(), board::id::TaskId(0));
    let step = if args.tell_finished { args.tasks } else { 20 };
    let mut due = running.size()?.made;
    while due < args.tasks {
        due = (due + (args.tasks / step).max(1_000)).min(args.tasks);
        running.run(due, &mut |task| {
            last = task;
            if args.tell_finished {
                // Whoever reads it may be gone, and then nobody wants to know.
                let _ = writeln!(out, "{}", task.0).and_then(|()| out.flush());
            }
        })?;
        if !args.tell_finished {
            tell(running.size()?, began);
        }
    }
    running.settle()?;
    running.check(last)?;
    Ok(())
}

fn tell(size: Size, began: Instant) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{:>10} tasks made  {:>8} finished on the board  disk {:>7.1} MiB  memory {:>6.1} MiB  {:.0} s",
        size.made,
        size.finished,
        mib(size.disk),
        mib(size.memory),
        began.elapsed().as_secs_f64()
    );
}
