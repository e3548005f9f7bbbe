//! Benchmarks: programs that print figures, each beside its ceiling measured in the same run.
//!
//! `cargo run --release -p ganger-tests --bin bench -- NAME`. They assert nothing: machines differ,
//! and so do their neighbours.

mod board;
mod calls;
mod ceiling;
mod cluster;
mod figures;
mod mail;
mod place;
mod recover;
mod spawn;
mod watch;
mod workers;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

/// Ganger's benchmarks.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
    /// Seconds that each figure is measured for.
    #[arg(long, global = true, default_value_t = 5)]
    seconds: u64,
    /// Where the data lies while it is measured: on the disk that the figures are about.
    #[arg(long, global = true, default_value = "target/bench")]
    dir: PathBuf,
    /// Threads of the coordinator's runtime.
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Subcommand)]
enum Bench {
    /// Durable CreateTask, one and 64 in flight.
    Create,
    /// Created, assigned, completed by a worker that does nothing, 64 slots.
    Cycle,
    /// From a task's making to its assignment at an idle worker.
    Dispatch,
    /// Rounds of placement: 100,000 queued tasks and 1,000 workers, and a tenth of both.
    Place,
    /// A sub-agent that does nothing, in its sandbox.
    Spawn,
    /// A start after kill -9 with many tasks stored.
    Recover {
        /// Tasks stored in all.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u64,
        /// Those of them that are open.
        #[arg(long, default_value_t = 100_000)]
        open: u64,
    },
    /// Messages sent, delivered on a stream and acknowledged, one pair and 64.
    Mail,
    /// The ready list and the next claim on a large board.
    Ready,
    /// CreateTask and UpdateTask on boards of growing size.
    Growth {
        /// The largest board.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u64,
    },
    /// What a pending task weighs in memory.
    Memory {
        /// Tasks on the board.
        #[arg(long, default_value_t = 400_000)]
        tasks: u64,
    },
    /// A thousand watchers of a team, and a hundred of a busier one.
    Watch,
    /// Memory of a coordinator that has nothing to do.
    Rest,
    /// All of the above.
    All,
    /// What `recover` kills: fills a board and waits.
    #[command(hide = true)]
    Fill { tasks: u64, open: u64 },
    /// A coordinator in a process of its own.
    #[command(hide = true)]
    Serve,
}

/// What every benchmark is told.
#[derive(Clone)]
struct Setting {
    span: Duration,
    dir: PathBuf,
    threads: usize,
}

fn main() -> ExitCode {
    ganger_worker::sandbox::become_launcher_if_asked();
    let cli = Cli::parse();
    let setting = Setting {
        span: Duration::from_secs(cli.seconds),
        dir: cli.dir,
        threads: cli.threads,
    };
    match run(&cli.bench, &setting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: &Bench, setting: &Setting) -> anyhow::Result<()> {
    match bench {
        Bench::Create => calls::create(setting),
        Bench::Cycle => workers::cycle(setting),
        Bench::Dispatch => workers::dispatch(setting),
        Bench::Place => place::rounds(),
        Bench::Spawn => spawn::spawn(setting),
        Bench::Recover { tasks, open } => recover::recover(setting, *tasks, *open),
        Bench::Mail => mail::mail(setting),
        Bench::Ready => board::ready(setting),
        Bench::Growth { tasks } => board::growth(setting, *tasks),
        Bench::Memory { tasks } => board::memory(setting, *tasks),
        Bench::Watch => watch::watch(setting),
        Bench::Rest => recover::rest(setting),
        Bench::All => {
            calls::create(setting)?;
            workers::cycle(setting)?;
            workers::dispatch(setting)?;
            place::rounds()?;
            spawn::spawn(setting)?;
            mail::mail(setting)?;
            board::ready(setting)?;
            board::growth(setting, 1_000_000)?;
            board::memory(setting, 400_000)?;
            watch::watch(setting)?;
            recover::rest(setting)?;
            recover::recover(setting, 1_000_000, 100_000)
        }
        Bench::Fill { tasks, open } => recover::fill(setting, *tasks, *open),
        Bench::Serve => cluster::serve(setting),
    }
}
