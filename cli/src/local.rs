//! A coordinator and workers of this process, for `ganger up` and `ganger demo`.
//!
//! They are the daemons' own entry points, run as tasks. Whoever drops a [`Local`] kills what it
//! runs; whoever stops it lets the workers drain first, then the coordinator.

use std::{net::SocketAddr, path::PathBuf};

use ganger_worker::Shutdown;
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// What runs.
#[derive(Debug)]
pub struct Local {
    addr: SocketAddr,
    stop: CancellationToken,
    drain: Shutdown,
    coordinator: JoinSet<Result<(), ganger_coordinator::RunError>>,
    workers: JoinSet<Result<(), ganger_worker::RunError>>,
}

impl Local {
    /// Starts a coordinator; answers when it serves.
    ///
    /// # Errors
    /// Why it doesn't.
    pub async fn start(config: ganger_coordinator::Config) -> Result<Self, Failure> {
        let (asked, data_dir) = (config.addr, config.data_dir.clone());
        let (ready, served) = oneshot::channel();
        let stop = CancellationToken::new();
        let mut coordinator = JoinSet::new();
        coordinator.spawn(ganger_coordinator::run(config, stop.clone(), ready));
        match served.await {
            Ok(addr) => Ok(Self {
                addr,
                stop,
                drain: Shutdown::new(),
                coordinator,
                workers: JoinSet::new(),
            }),
            Err(_) => {
                let ended = coordinator.join_next().await;
                Err(unstarted(ended, asked, data_dir))
            }
        }
    }

    /// Where the coordinator listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts a worker.
    pub fn work(&mut self, config: ganger_worker::Config) {
        self.workers
            .spawn(ganger_worker::run(config, self.drain.clone()));
    }

    /// Waits until something ends that should not. Cancel safe.
    pub async fn failed(&mut self) -> Failure {
        tokio::select! {
            Some(ended) = self.workers.join_next() => match ended {
                Ok(Err(error)) => worker_failed(error),
                Ok(Ok(())) => Failure::local("a worker ended by itself"),
                Err(error) => Failure::local(format!("a worker broke: {error}")),
            },
            Some(ended) = self.coordinator.join_next() => match ended {
                Ok(Err(error)) => Failure::local(format!("the coordinator ended: {}", chain(&error))),
                Ok(Ok(())) => Failure::local("the coordinator ended by itself"),
                Err(error) => Failure::local(format!("the coordinator broke: {error}")),
            },
            else => Failure::local("nothing runs"),
        }
    }

    /// Lets the workers drain, then stops the coordinator.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.drain.drain();
        let mut failure = None;
        while let Some(ended) = self.workers.join_next().await {
            if let Ok(Err(error)) = ended {
                failure = Some(worker_failed(error));
            }
        }
        self.stop.cancel();
        if let Some(Ok(Err(error))) = self.coordinator.join_next().await {
            failure = Some(Failure::local(format!(
                "the coordinator did not stop as it should: {}",
                chain(&error)
            )));
        }
        failure.map_or(Ok(()), Err)
    }

    /// Has the workers kill what they run, rather than wait for it.
    pub fn hurry(&self) {
        self.drain.now();
    }
}

type Ended = Option<Result<Result<(), ganger_coordinator::RunError>, tokio::task::JoinError>>;

fn unstarted(ended: Ended, asked: SocketAddr, data_dir: PathBuf) -> Failure {
    let why = match &ended {
        Some(Ok(Err(error))) => chain(error),
        Some(Err(error)) => error.to_string(),
        _ => "it ended at once".into(),
    };
    let next = match &ended {
        Some(Ok(Err(ganger_coordinator::RunError::Serve(_)))) => format!(
            "another one may listen at {asked}: look with `ganger fleet status`, or choose with --addr"
        ),
        Some(Ok(Err(ganger_coordinator::RunError::Store(_)))) => format!(
            "another one may use {}: stop it, or choose with --data-dir",
            data_dir.display()
        ),
        _ => "see `ganger doctor`".into(),
    };
    Failure::local_next(format!("the coordinator can't start: {why}"), next)
}

fn worker_failed(error: ganger_worker::RunError) -> Failure {
    match error {
        ganger_worker::RunError::NoSandbox(report) => no_sandbox(&report),
        ganger_worker::RunError::Driver(error) => Failure::local_next(
            format!("this machine can't hold the sandbox: {}", chain(&error)),
            LAST_RESORT,
        ),
        error => Failure::local(format!("a worker can't go on: {}", chain(&error))),
    }
}

/// What helps where nothing else does.
pub const LAST_RESORT: &str =
    "run without isolation, only for agents you trust as yourself: --sandbox none";

/// This machine can't hold the sandbox: the cause, and what to do.
fn no_sandbox(report: &ganger_worker::sandbox::ProbeReport) -> Failure {
    let (cause, fixes) = match &report.refusal {
        Some(refusal) => (refusal.cause.clone(), refusal.fixes.join("; or: ")),
        None => ("unknown".into(), "see `ganger doctor`".into()),
    };
    Failure::local_next(
        format!(
            "this machine can't hold the {} sandbox: {cause}",
            report.driver
        ),
        fixes,
    )
}

/// An error with all its causes, in a line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors say their source themselves.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
