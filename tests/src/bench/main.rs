//! Benchmarks: programs that print figures, each beside its ceiling measured in the same run.
//!
//! `cargo run --release -p ganger-tests --bin bench -- NAME`. They assert nothing: machines differ,
//! and so do their neighbours.

mod backup;
mod board;
mod calls;
mod ceiling;
mod cluster;
mod failover;
mod figures;
mod idle;
mod load;
mod mail;
mod place;
mod progress;
mod recover;
mod restart;
mod served;
mod simulated;
mod soak;
mod spawn;
mod watch;
mod workers;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

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
    /// From a task's making to its assignment at an idle worker, and under load.
    Dispatch {
        /// Tasks that run, under load.
        #[arg(long, default_value_t = 500)]
        running: usize,
        /// Tasks that wait, under load.
        #[arg(long, default_value_t = 1_000)]
        queued: usize,
        /// Tasks that end in a second, under load.
        #[arg(long, default_value_t = 100)]
        ends: u32,
    },
    /// Workers on streams that have nothing to do.
    Idle {
        /// Workers.
        #[arg(long, default_value_t = 10_000)]
        workers: usize,
        /// Workers that share a connection.
        #[arg(long, default_value_t = 500)]
        per_connection: usize,
        /// Seconds that they are watched for.
        #[arg(long, default_value_t = 30)]
        watched: u64,
    },
    /// From kill -9 of a worker to the start of its task elsewhere.
    Failover {
        /// How often, for each lease.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// How the workers keep their sub-agents apart.
        #[arg(long, default_value = "native")]
        sandbox: String,
    },
    /// Transcript records through a worker and the coordinator to watchers.
    Progress {
        /// Watchers.
        #[arg(long, default_value_t = 10)]
        watchers: usize,
        /// Records.
        #[arg(long, default_value_t = 50_000)]
        records: i64,
    },
    /// kill -9 of a coordinator with a busy fleet, and its start.
    Restart {
        /// Workers, each with a task that runs.
        #[arg(long, default_value_t = 1_000)]
        workers: usize,
        /// Workers that share a connection.
        #[arg(long, default_value_t = 50)]
        per_connection: usize,
    },
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
    /// CreateTask and UpdateTask on boards of growing size, by tens from 1,000 tasks on.
    Growth {
        /// The largest board; any size, for a board has as many teams as it needs.
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
    /// The slowest calls of a mix at half of what the coordinator bears, with a backup, another
    /// worker and a start in between.
    Soak {
        /// Minutes.
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// Calls a second, instead of half of the most that is measured.
        #[arg(long)]
        rate: Option<f64>,
        /// Finished tasks and events that the coordinator keeps.
        #[arg(long, default_value_t = 100_000)]
        kept: u64,
        /// Threads of the coordinator for network work.
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
    /// The slowest calls with and without a backup of a large board.
    Backup {
        /// About how large.
        #[arg(long, default_value_t = 512)]
        mib: u64,
    },
    /// Memory of a coordinator that has nothing to do.
    Rest,
    /// All of the above but `soak` and `backup`.
    All,
    /// What `recover` kills: fills a board and waits.
    #[command(hide = true)]
    Fill {
        tasks: u64,
        open: u64,
        /// Bytes of each task's description.
        #[arg(long, default_value_t = 60)]
        text_len: usize,
    },
    /// A coordinator in a process of its own.
    #[command(hide = true)]
    Serve(Serve),
}

/// How that one is set up, beside the defaults.
#[derive(Clone, clap::Args)]
struct Serve {
    #[arg(long)]
    addr: Option<SocketAddr>,
    #[arg(long)]
    lease_ms: Option<u64>,
    #[arg(long)]
    heartbeat_ms: Option<u64>,
    #[arg(long)]
    tasks_kept: Option<usize>,
    #[arg(long)]
    events_kept: Option<u64>,
    /// Threads for network work.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// A worker in a process of its own.
#[derive(Parser)]
struct Work {
    #[command(flatten)]
    args: ganger_worker::Args,
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
    let mut line = std::env::args_os().skip(1);
    if line.next().is_some_and(|first| first == "work") {
        die_with_parent();
        let line = [OsString::from("bench work")].into_iter().chain(line);
        return ganger_worker::daemon(Work::parse_from(line).args);
    }
    let cli = Cli::parse();
    let setting = Setting {
        span: Duration::from_secs(cli.seconds),
        // Workers take no other.
        dir: std::path::absolute(cli.dir)
            .expect("a path that is not empty, in a directory that is there"),
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

/// In the environment of a benchmark's own processes: the process that they are not to outlive.
const PARENT: &str = "GANGER_BENCH_PARENT";

/// This program again, for a process that ends with this one, however this one ends.
fn again() -> std::io::Result<std::process::Command> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.env(PARENT, std::process::id().to_string());
    Ok(command)
}

/// What `again` is answered with. The kernel means the thread that started this process, which is the
/// benchmark's main thread.
fn die_with_parent() {
    let armed =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    armed.expect("SIGKILL is a signal");
    let parent = rustix::process::getppid().map(|pid| pid.to_string());
    let expected = std::env::var(PARENT).ok();
    // A parent that ended before the signal was armed has left this process to another. A person has
    // started it where none is named.
    if expected.is_some() && expected != parent {
        std::process::exit(1);
    }
}

fn run(bench: &Bench, setting: &Setting) -> anyhow::Result<()> {
    match bench {
        Bench::Create => calls::create(setting),
        Bench::Cycle => workers::cycle(setting),
        Bench::Dispatch {
            running,
            queued,
            ends,
        } => {
            workers::dispatch(setting)?;
            let load = load::Load {
                running: *running,
                queued: *queued,
                ends_per_second: *ends,
            };
            load::dispatch(setting, load)
        }
        Bench::Idle {
            workers,
            per_connection,
            watched,
        } => {
            let span = Duration::from_secs(*watched);
            idle::idle(setting, *workers, *per_connection, span)
        }
        Bench::Failover { rounds, sandbox } => failover::failover(setting, *rounds, sandbox),
        Bench::Progress { watchers, records } => progress::progress(setting, *watchers, *records),
        Bench::Restart {
            workers,
            per_connection,
        } => restart::restart(setting, *workers, *per_connection),
        Bench::Place => place::rounds(),
        Bench::Spawn => spawn::spawn(setting),
        Bench::Recover { tasks, open } => recover::recover(setting, *tasks, *open),
        Bench::Mail => mail::mail(setting),
        Bench::Ready => board::ready(setting),
        Bench::Growth { tasks } => board::growth(setting, *tasks),
        Bench::Memory { tasks } => board::memory(setting, *tasks),
        Bench::Watch => watch::watch(setting),
        Bench::Soak {
            minutes,
            rate,
            kept,
            threads,
        } => {
            let soak = soak::Soak {
                rate: *rate,
                minutes: *minutes,
                kept: *kept,
                threads: *threads,
            };
            soak::soak(setting, soak)
        }
        Bench::Backup { mib } => backup::backup(setting, *mib),
        Bench::Rest => recover::rest(setting),
        Bench::All => {
            calls::create(setting)?;
            workers::cycle(setting)?;
            workers::dispatch(setting)?;
            load::dispatch(setting, load::Load::default())?;
            place::rounds()?;
            spawn::spawn(setting)?;
            mail::mail(setting)?;
            board::ready(setting)?;
            board::growth(setting, 1_000_000)?;
            board::memory(setting, 400_000)?;
            watch::watch(setting)?;
            progress::progress(setting, 10, 50_000)?;
            idle::idle(setting, 10_000, 500, Duration::from_secs(30))?;
            restart::restart(setting, 1_000, 50)?;
            failover::failover(setting, 3, "native")?;
            recover::rest(setting)?;
            recover::recover(setting, 1_000_000, 100_000)
        }
        Bench::Fill {
            tasks,
            open,
            text_len,
        } => {
            die_with_parent();
            recover::fill(setting, *tasks, *open, *text_len)
        }
        Bench::Serve(serve) => {
            die_with_parent();
            cluster::serve(setting, serve)
        }
    }
}
