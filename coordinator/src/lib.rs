//! The coordinator: a thin shell around the pure board.
//!
//! ```text
//!  grpc ──▶ handle ──▶ driver ──▶ engine ──▶ { board, store, fleet }
//!   │                                │
//!   └── artifacts, transcripts       └── hub ──▶ watchers
//! ```
//!
//! What waits is async and lives in [`grpc`]; what decides is synchronous and lives in [`engine`],
//! which one thread runs, the [`driver`]. It puts a group of inputs through the board, commits
//! what they changed in one durable write, and only then lets out what they came to. So nobody is
//! ever told of something that a crash could undo, and there are no locks around the board.
//!
//! What is absent: [`grpc`] never meets [`store`]; `sled` is named in [`store`] alone; a
//! [`tonic::Status`] is made in `grpc/status.rs` alone; time is read in [`clock`], the environment
//! in [`config`], signals in [`shutdown`].
//!
//! Reading order: [`engine`], [`driver`], [`handle`], then a service of [`grpc`]; [`run`] for how a
//! coordinator begins and ends.

pub mod artifacts;
pub mod attempt_secret;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod disk;
pub mod driver;
pub mod engine;
pub mod fleet;
pub mod grpc;
pub mod handle;
pub mod hub;
mod run;
pub mod shutdown;
pub mod spool;
pub mod store;
pub mod sweeper;
pub mod telemetry;
pub mod transcripts;
pub mod upkeep;
pub mod writeback;

use std::process::ExitCode;

use clap::Parser;
use tokio::sync::oneshot;

pub use self::{
    config::{Args, Config},
    run::{RunError, run},
};

/// Memory comes from mimalloc in every program that has a coordinator in it.
///
/// sled copies a node of its tree for each record that it changes, and what one thread takes, another
/// often gives back: the C library's allocator spends a sixth of a busy coordinator's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The tools that lead agents know, as `ToolService/ListTools` tells them, but for the agent types
/// that are on offer.
pub fn tools() -> Vec<ganger_proto::v1::Tool> {
    grpc::tools()
}

/// The daemon's own command line.
#[derive(Debug, Parser)]
#[command(name = "ganger-coordinator", version, about)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The daemon `ganger-coordinator`.
pub fn main() -> ExitCode {
    main_with(Cli::parse().args)
}

/// The daemon, with its command line read: runs until a signal. 0 when it stopped as asked, 1 when
/// it failed, 2 when its settings are not sound.
pub fn main_with(args: Args) -> ExitCode {
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    if args.check_config {
        println!("{config:#?}");
        return ExitCode::SUCCESS;
    }
    telemetry::init(args.log_json);
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    let mut runtime = if config.threads > 1 {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime
        .worker_threads(config.threads)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let stop = shutdown::on_signals()?;
        let (ready, _) = oneshot::channel();
        Ok(run(config, stop, ready).await?)
    });
    // A blocking call that never ends can't hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}
