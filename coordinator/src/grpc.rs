//! The gRPC face: one file per service, over the handle.
//!
//! A service parses what came ([`from_wire`]), asks the [`Handle`], and says what it heard
//! ([`to_wire`], [`status`]). It knows no rule of the board and never sees the store.

mod accept;
mod address;
mod artifact;
mod body;
mod caller;
mod deadline;
mod delegation;
mod door;
mod fleet;
mod from_wire;
mod holder;
mod mailbox;
mod message;
mod peers;
mod run_task;
mod server;
mod share;
mod status;
mod task;
mod team;
mod to_wire;
mod tool;
mod transcript;
mod watch;
mod wording;
mod worker;
mod worker_reports;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    artifact::TURNS as ARTIFACT_TURNS,
    peers::{Bounds, UNREAD_MAX},
    server::{ServeError, Serving, serve, set_health},
    tool::told as tools,
};
use crate::{
    artifacts::ArtifactStore, attempt_secret::AttemptKey, clock::Clock, disk::DiskGauge,
    handle::Handle, transcripts::Transcripts,
};

/// The largest message that is taken: gRPC's own default, set on purpose.
pub const MESSAGE_LEN_MAX: usize = 4 * 1024 * 1024;

/// What the services work with. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The board.
    pub handle: Handle,
    /// What attempts' secrets are made with.
    pub attempt_key: AttemptKey,
    /// The blobs.
    pub artifacts: ArtifactStore,
    /// The transcripts.
    pub transcripts: Transcripts,
    /// The time.
    pub clock: Clock,
    /// Turns to read or write a part of an artifact.
    pub artifact_turns: std::sync::Arc<tokio::sync::Semaphore>,
    /// Whether the disk is nearly full.
    pub disk: DiskGauge,
    /// One backup at a time: each takes room on the disk.
    pub backups: std::sync::Arc<tokio::sync::Semaphore>,
    /// Every task that a service spawns.
    pub tasks: TaskTracker,
    /// The coordinator stops: streams end.
    pub stop: CancellationToken,
    /// What the coordinator tells of itself.
    pub about: std::sync::Arc<About>,
}

/// What the coordinator tells of itself.
#[derive(Debug)]
pub struct About {
    /// Its version.
    pub version: &'static str,
    /// When it began to serve.
    pub serving_since: board::time::Time,
    /// How long it took until then.
    pub recovery_time: std::time::Duration,
    /// Whether the token is asked for.
    pub token_required: bool,
    /// The agent type of members that `spawn_team` makes without one.
    pub default_agent_type: board::id::AgentTypeName,
    /// How long a watcher may take nothing while there is something to tell it.
    pub watch_patience: std::time::Duration,
    /// Where its data lies.
    pub data_dir: std::path::PathBuf,
    /// Which files were removed because no task needs them.
    pub swept: std::sync::Arc<crate::sweeper::Swept>,
}
