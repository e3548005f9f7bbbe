//! `ganger up`: a coordinator and a worker on this machine, in one process.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    local::Local,
    signals::Interrupts,
};

/// How.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ctrl-C or SIGTERM stops it: the worker gets its running sub-agents done (25 s at the most), then
the coordinator ends. A second signal ends it at once. Started again with the same data, it goes
on where it was. --addr says where to listen, --token-file what every call must carry.")]
pub struct Args {
    /// Where the data lies
    #[arg(long, value_name = "DIR", default_value = ".ganger")]
    data_dir: PathBuf,
    /// How many sub-agents run at once [default: the number of cores]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// How sub-agents are kept apart: native, or none [default: native]
    #[arg(long, value_name = "DRIVER")]
    sandbox: Option<String>,
    /// A worker's configuration file, with agent types
    #[arg(long, value_name = "FILE")]
    worker_config: Option<PathBuf>,
    /// Listen beyond loopback without a token
    #[arg(long)]
    insecure: bool,
}

/// Runs both until a signal.
///
/// # Errors
/// Why they don't run, or did not end as they should.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()
        .map_err(|error| Failure::local(format!("can't listen to signals: {error}")))?;
    let data_dir = std::path::absolute(&args.data_dir)
        .map_err(|error| Failure::local(format!("--data-dir: {error}")))?;
    let mut worker = ganger_worker::Config::load(ganger_worker::Args {
        config: args.worker_config,
        slots: args.slots,
        data_dir: Some(data_dir.join("worker")),
        sandbox: args.sandbox,
        token_file: context.settings.token_file.clone(),
        ..ganger_worker::Args::default()
    })
    .map_err(|error| Failure::Usage(error.to_string()))?;
    let coordinator = ganger_coordinator::Config::load(&ganger_coordinator::Args {
        addr: Some(listen_addr(&context.settings.addr)),
        data_dir: Some(data_dir.join("coordinator")),
        token_file: context.settings.token_file.clone(),
        insecure: args.insecure,
        // A task may come before the worker is there.
        expect_types: worker.agent_types.keys().cloned().collect(),
        ..ganger_coordinator::Args::default()
    })
    .map_err(|error| Failure::Usage(error.to_string()))?;

    ganger_coordinator::telemetry::init(false);
    let mut local = Local::start(coordinator).await?;
    worker.coordinator = format!("http://{}", dial_addr(local.addr()));
    local.work(worker);
    context.out.note(&format!(
        "up at {}, data in {}; try: ganger run --type shell 'echo hello'",
        local.addr(),
        data_dir.display()
    ));

    let failure = tokio::select! {
        () = interrupts.next() => None,
        failure = local.failed() => Some(failure),
    };
    let stopping = async {
        if failure.is_some() {
            local.hurry();
        } else {
            context.out.note("stopping; Ctrl-C again ends it at once");
        }
        local.stop().await
    };
    let stopped = tokio::select! {
        stopped = stopping => stopped,
        // The sandboxes die with this process, whatever they run.
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    match failure {
        Some(failure) => Err(failure),
        None => stopped.map(|()| Exit::Done),
    }
}

/// Where to listen, of an address that clients understand.
fn listen_addr(addr: &str) -> String {
    let addr = addr.strip_prefix("http://").unwrap_or(addr);
    addr.trim_end_matches('/')
        .replace("localhost:", "127.0.0.1:")
}

/// Where a process on this machine reaches what listens there.
fn dial_addr(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        listening.set_ip(match listening {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    listening
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_dials_loopback_where_all_interfaces_are_listened_at() {
        let dialled = |addr: &str| dial_addr(addr.parse().unwrap()).to_string();

        assert_eq!(dialled("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(dialled("[::]:1"), "[::1]:1");
        assert_eq!(dialled("10.0.0.7:1"), "10.0.0.7:1");
    }

    #[test]
    fn address_of_a_client_is_one_to_listen_at() {
        assert_eq!(listen_addr("http://127.0.0.1:1/"), "127.0.0.1:1");
        assert_eq!(listen_addr("localhost:1"), "127.0.0.1:1");
    }
}
