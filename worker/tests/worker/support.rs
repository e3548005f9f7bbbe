//! What the claims share: a worker of this process, assignments, and patience.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ganger_proto::v1::{
    Asked, Assignment, Ended, Fence, ReportKind, TranscriptKind, TranscriptRecord,
    connect_request::Message as Said,
};
use ganger_worker::{AgentType, Config, Protocol, RunError, Shutdown, run, sandbox::DriverKind};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::coordinator::{Connection, secret_of};

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

    /// Without walls, with a type whose sub-agents talk.
    pub fn talking(address: &str) -> Self {
        Self::with(address, DriverKind::None, talks)
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

    /// The files below its directory that have a text in them.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let (mut found, mut dirs) = (Vec::new(), vec![self.dir.path().to_owned()]);
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let (entry, path) = entry
                    .map(|entry| (entry.file_type(), entry.path()))
                    .unwrap();
                match entry.unwrap() {
                    kind if kind.is_dir() => dirs.push(path),
                    kind if kind.is_file() => {
                        let bytes = std::fs::read(&path).unwrap();
                        if String::from_utf8_lossy(&bytes).contains(text) {
                            found.push(path);
                        }
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

/// A configuration with the type `talker`, which runs its prompt as a script that talks.
pub fn talks(config: &mut Config) {
    let talker = AgentType {
        protocol: Protocol::Json,
        tools: vec!["TaskList".into(), "SendMessage".into()],
        ..AgentType::shell()
    };
    config.agent_types.insert("talker".into(), talker);
}

/// A script that talks.
pub fn talk(task_id: u64, prompt: &str) -> Assignment {
    Assignment {
        agent_type: "talker".into(),
        ..script(task_id, prompt)
    }
}

/// What a coordinator hears, the rest of it taken and acknowledged on the way.
pub struct Hearing {
    pub connection: Connection,
    pub records: Vec<TranscriptRecord>,
    pub doing: Vec<String>,
}

impl Hearing {
    pub fn of(connection: Connection) -> Self {
        Self {
            connection,
            records: Vec::new(),
            doing: Vec::new(),
        }
    }

    /// The next thing that is neither a start nor progress.
    pub async fn next(&mut self) -> Said {
        loop {
            match self.connection.next().await.expect("the stream is up") {
                Said::Started(started) => {
                    let fence = started.fence.unwrap();
                    self.connection
                        .acknowledge(&fence, ReportKind::Started, true)
                        .await;
                }
                Said::Progress(progress) => {
                    self.doing.extend(progress.doing);
                    if let Some(last) = progress.records.last().map(|record| record.index) {
                        let fence = progress.fence.unwrap();
                        self.connection.keep_through(&fence, last).await;
                    }
                    self.records.extend(progress.records);
                }
                other => return other,
            }
        }
    }

    pub async fn asked(&mut self) -> Asked {
        match self.next().await {
            Said::Asked(asked) => asked,
            other => panic!("no question, but {other:?}"),
        }
    }

    pub async fn heeded(&mut self) -> (Option<Fence>, i32) {
        match self.next().await {
            Said::Heeded(heeded) => (heeded.fence, heeded.through),
            other => panic!("not heeded, but {other:?}"),
        }
    }

    pub async fn refused(&mut self) -> (Option<Fence>, String) {
        match self.next().await {
            Said::Refused(refused) => (refused.fence, refused.reason),
            other => panic!("not refused, but {other:?}"),
        }
    }

    /// The end of the attempt that runs, acknowledged.
    pub async fn ended(&mut self) -> Ended {
        match self.next().await {
            Said::Ended(ended) => {
                let fence = ended.fence.clone().unwrap();
                self.connection
                    .acknowledge(&fence, ReportKind::Ended, true)
                    .await;
                ended
            }
            other => panic!("no end, but {other:?}"),
        }
    }

    /// Waits until the sub-agent has written this, or said it.
    pub async fn until_written(&mut self, text: &str) {
        while !self.records.iter().any(|record| record.text.contains(text)) {
            match self.connection.next().await.expect("the stream is up") {
                Said::Started(_) => {}
                Said::Progress(progress) => self.records.extend(progress.records),
                other => panic!("{text:?} is not written, but {other:?}"),
            }
        }
    }

    /// What the worker itself put into the transcript.
    pub fn notes(&self) -> Vec<&str> {
        self.of_kind(TranscriptKind::Worker)
    }

    pub fn of_kind(&self, kind: TranscriptKind) -> Vec<&str> {
        let records = self.records.iter().filter(|record| record.kind() == kind);
        records.map(|record| record.text.as_str()).collect()
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
        secret: secret_of(task_id),
        ..Assignment::default()
    }
}
