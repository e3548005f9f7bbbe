//! The worker as a program: flags, logs, signals and exit codes around [`run`].

use std::{io::IsTerminal, process::ExitCode};

use tracing_subscriber::EnvFilter;

use crate::{Args, Config, RunError, Shutdown, run, sandbox, text::causes};

/// The daemon's own program: flags from the command line.
pub fn main() -> ExitCode {
    sandbox::become_launcher_if_asked();
    daemon(<Program as clap::Parser>::parse().args)
}

/// Ganger's worker: runs sub-agents in sandboxes of their own.
#[derive(clap::Parser)]
#[command(name = "ganger-worker", version)]
struct Program {
    #[command(flatten)]
    args: Args,
}

/// The daemon with its flags: logs to standard error, drains at SIGTERM or SIGINT, and ends at once
/// at a second one. The exit code is 0 after a drain, 2 for a wrong configuration, else 1.
///
/// As pid 1 of a container it leaves that place to an init of its own, which reaps orphans: so no
/// thread may be running yet.
pub fn daemon(args: Args) -> ExitCode {
    sandbox::become_init_if_pid_1();
    let checks_only = args.check_config;
    let filter = EnvFilter::new(args.log.as_deref().unwrap_or("info"));
    let config = match Config::load(args) {
        Ok(config) if checks_only => {
            print!("{config}");
            return ExitCode::SUCCESS;
        }
        Ok(config) => config,
        Err(error) => {
            eprintln!("ganger-worker: {error}");
            return ExitCode::from(2);
        }
    };
    // A program that embeds this may log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ganger-worker: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run_with_signals(config));
    // Reads that never end (a name service, a dead disk) don't hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ganger-worker: {}", causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run_with_signals(config: Config) -> Result<(), RunError> {
    let shutdown = Shutdown::new();
    let signals = shutdown.clone();
    tokio::select! {
        biased;
        ended = run(config, shutdown) => ended,
        failed = signals.follow_signals() => {
            let Err(error) = failed;
            Err(RunError::Signals(error))
        }
    }
}
