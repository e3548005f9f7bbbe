//! What the claims share: a worker of this process, assignments, and patience.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ganger_proto::v1::{Assignment, Fence};
use ganger_worker::{Config, RunError, Shutdown, run, sandbox::DriverKind};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Far longer than anything here takes; it only bounds a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a claim; what it left in the background ends with it.
pub fn prove(claim: impl Future<Output = ()>) {
    let runtime = runtime();
    runtime.block_on(async { timeout(PATIENCE * 2, claim).await.expect("a claim ends") });
    runtime.shutdown_background();
}

/// A worker, with a data directory of its own.
pub struct Worker {
    pub shutdown: Shutdown,
    pub dir: tempfile::TempDir,
    running: AbortOnDropHandle<Result<(), RunError>>,
}

/// A configuration with two slots.
pub fn config(address: &str, dir: &Path, sandbox: DriverKind) -> Config {
    Config {
        coordinator: address.to_owned(),
        name: "w1".into(),
        slots: 2,
        data_dir: dir.to_owned(),
        sandbox,
        ..Config::default()
    }
}

impl Worker {
    /// With real sandboxes.
    pub fn start(address: &str) -> Self {
        Self::with(address, DriverKind::Native, |_| ())
    }

    /// Without walls, for what is about something else.
    pub fn bare(address: &str) -> Self {
        Self::with(address, DriverKind::None, |_| ())
    }

    pub fn with(address: &str, sandbox: DriverKind, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(address, dir.path(), sandbox);
        change(&mut config);
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(config, shutdown.clone()));
        Self {
            shutdown,
            dir,
            running: AbortOnDropHandle::new(running),
        }
    }

    /// How it ended; waits for it.
    pub async fn end(&mut self) -> Result<(), RunError> {
        timeout(PATIENCE, &mut self.running)
            .await
            .expect("the worker ends")
            .unwrap()
    }

    /// What lies in its directory of workspaces.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("workspaces")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with(".lock"))
            .collect()
    }
}

pub fn fence(task_id: u64, attempt: i32) -> Fence {
    Fence {
        epoch: "e".into(),
        team_uid: 1,
        task_id,
        attempt,
    }
}

/// A script for the shell.
pub fn script(task_id: u64, prompt: &str) -> Assignment {
    Assignment {
        fence: Some(fence(task_id, 1)),
        team: "red".into(),
        subject: "try".into(),
        prompt: prompt.into(),
        agent_type: "shell".into(),
        member: format!("task:{task_id}"),
        ..Assignment::default()
    }
}
