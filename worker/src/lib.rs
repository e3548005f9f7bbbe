//! Ganger's worker: it offers slots and agent types, takes assignments from the coordinator, runs
//! each sub-agent in a sandbox of its own, and reports what came of it.
//!
//! Map of the crate, from the rules outwards:
//!
//! | module | what |
//! |---|---|
//! | `agenda`, `lease` | pure: what is held, what is owed, what to stop; given `now` |
//! | `transcript` | pure: what an attempt said, as far as it isn't acknowledged |
//! | `engine` | the one task that owns them: waits, tells the agenda, acts |
//! | `session`, `hello` | one stream to the coordinator, and how it begins |
//! | `attempt`, `agent` | one attempt's life; how an agent type becomes a process |
//! | `artifacts` | inputs down, outputs up |
//! | `tools` | what sub-agents have the coordinator called for |
//! | `predecessors` | which processes this worker was before |
//! | `secrets` | what shows that a call in an attempt's name is this worker's |
//! | `descriptors` | how many files may be open, and how many attempts that is enough for |
//! | [`sandbox`] | where sub-agents run |
//! | `daemon` | flags, logs, signals and exit codes around [`run`] |
//! | [`config`], `shutdown`, `clock`, `limits` | environment, signals, time and bounds, each read in one place |
//!
//! A program that embeds a worker calls [`sandbox::become_launcher_if_asked`] first of all, and then
//! [`run`], as often as it likes: a worker has no globals. One that may be a container's pid 1 also calls
//! [`sandbox::become_init_if_pid_1`] before it starts a thread.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;

pub mod config;
pub mod sandbox;

mod agenda;
mod agent;
mod artifacts;
mod attempt;
mod clock;
mod daemon;
mod descriptors;
mod engine;
mod fence;
mod hello;
mod lease;
mod limits;
mod predecessors;
mod secrets;
mod session;
mod shutdown;
mod text;
mod tools;
mod transcript;

/// The pure core, for the simulation of a fleet and for nobody else: it may change at any time.
#[doc(hidden)]
pub mod pure {
    pub use crate::{
        agenda::{Action, Agenda, Outcome, Report, Taken, Terms},
        fence::Fence,
        lease::Lease,
        limits::HANDSHAKE_SPAN,
        session::Backoff,
    };
}

pub use self::{
    config::{AgentType, Args, Config, ConfigError, Protocol},
    daemon::{daemon, main},
    descriptors::Descriptors,
    shutdown::Shutdown,
};

use self::{
    artifacts::Artifacts,
    attempt::Ground,
    engine::Engine,
    hello::Introduction,
    sandbox::{CollectLimits, DriverKind, ProbeReport, SandboxError, Workspaces, WorkspacesError},
    secrets::Secrets,
    session::{Door, DoorError},
    tools::Tools,
};

/// Why a worker doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The token file.
    #[error(
        "cannot read the token from {path}: {source}; give --token-file a file with the coordinator's token"
    )]
    Token {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The data directory.
    #[error("{0}; give --data-dir a directory of this worker's own")]
    Workspaces(#[from] WorkspacesError),
    /// The sandbox driver can't be started.
    #[error(transparent)]
    Driver(#[from] SandboxError),
    /// This machine can't hold the sandbox that is asked for.
    #[error("no sandbox, no work:\n{0}")]
    NoSandbox(Box<ProbeReport>),
    /// The coordinator asks for a token, or for another one.
    #[error(
        "the coordinator doesn't let this worker in: {0}; give --token-file (GANGER_TOKEN_FILE) the file with its token"
    )]
    Unauthenticated(String),
    /// The limit of open files is too low for a single slot.
    #[error(
        "{limit} open files are not enough for one slot, which takes {least}: raise the hard limit (LimitNOFILE= of the unit, --ulimit nofile= of the container, ulimit -Hn of the shell)"
    )]
    OpenFiles {
        /// The hard limit of this process.
        limit: u64,
        /// The least that is enough.
        least: u64,
    },
    /// Signals can't be received.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
    /// This worker and the coordinator have no version of the stream in common.
    #[error("{0}")]
    Version(String),
    /// The coordinator refuses this worker for good.
    #[error("the coordinator refuses this worker: {0}")]
    Rejected(String),
}

/// Runs a worker until it is shut down.
///
/// Everything that it started is gone when this returns. Dropping the future kills what runs, but
/// reports nothing.
///
/// The soft limit of open files of the whole process is raised to the hard one. Where even that is
/// not enough for as many slots as are configured, fewer are offered.
pub async fn run(mut config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    config.check()?;
    let descriptors = Descriptors::raise();
    config.slots = slots_of(&config, descriptors)?;
    let door =
        Door::new(&config.coordinator, config.token_file.as_ref()).map_err(
            |error| match error {
                DoorError::Token { path, source } => RunError::Token { path, source },
                DoorError::Address(address) => ConfigError {
                    problems: vec![format!("coordinator: {address} is not an address")],
                }
                .into(),
            },
        )?;
    let workspaces = open_workspaces(&config).await?;
    let driver = config.sandbox.driver()?;
    let report = driver.probe().await;
    if !report.is_usable() {
        return Err(RunError::NoSandbox(Box::new(report)));
    }
    if config.sandbox == DriverKind::None {
        tracing::warn!("sub-agents run without any isolation, as asked for (--sandbox none)");
    }
    tracing::info!(
        name = config.name, slots = config.slots, coordinator = config.coordinator,
        sandbox = %config.sandbox, mode = report.mode, data_dir = %config.data_dir.display(),
        open_files = descriptors.limit,
        "worker starts"
    );
    let instance_id = uuid::Uuid::new_v4().to_string();
    let ended = predecessors::succeed(&config.data_dir, &instance_id);
    // Only the native driver's sandboxes are sure to have died with the process that made them.
    let ended = match config.sandbox {
        DriverKind::Native => ended,
        DriverKind::None => Vec::new(),
    };
    let introduction = Introduction::new(instance_id, ended, &report.assurance);
    let secrets = Secrets::default();
    let ground = Ground {
        driver,
        workspaces,
        artifacts: Artifacts::new(&door, secrets.clone()),
        tools: Tools::new(&door, secrets.clone()),
        secrets,
        collections: Arc::new(Semaphore::new(descriptors.collections)),
        collect_limits: CollectLimits {
            files: descriptors.collected_files,
            ..CollectLimits::default()
        },
    };
    Engine::new(config, door, ground, introduction, &shutdown)
        .run()
        .await?;
    tracing::info!("worker ends");
    Ok(())
}

/// The slots that are configured, or as many of them as files may be open for.
fn slots_of(config: &Config, descriptors: Descriptors) -> Result<usize, RunError> {
    let depths = config.agent_types.values();
    let borrowers = depths.map(|agent_type| agent_type.hiring_depth).max();
    let borrowers = borrowers.unwrap_or_default();
    let (slots, limit) = (descriptors.slots(borrowers), descriptors.limit);
    if slots == 0 {
        let least = Descriptors::least(borrowers);
        return Err(RunError::OpenFiles { limit, least });
    }
    if slots < config.slots {
        tracing::warn!(
            limit,
            configured = config.slots,
            offered = slots,
            "too few files may be open for all slots: fewer are offered. Raise the hard limit of open \
             files, or lower slots"
        );
    }
    Ok(slots.min(config.slots))
}

/// Takes the data directory and sweeps what an earlier process left in it.
async fn open_workspaces(config: &Config) -> Result<Workspaces, RunError> {
    let path = config.data_dir.join("workspaces");
    let opening = move || {
        let workspaces = Workspaces::open(&path)?;
        let report = workspaces.sweep()?;
        Ok::<_, WorkspacesError>((workspaces, report))
    };
    let opened = tokio::task::spawn_blocking(opening).await;
    let (workspaces, report) = opened.expect("opening and sweeping don't panic")?;
    if report != Default::default() {
        tracing::info!(
            processes = report.processes, workspaces = report.workspaces, failures = ?report.failures,
            "swept what an earlier process left"
        );
    }
    Ok(workspaces)
}
