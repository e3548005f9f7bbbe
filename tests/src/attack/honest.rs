//! Calls of somebody who means no harm.

use std::{
    fmt,
    time::{Duration, Instant},
};

use ganger_proto::v1::{self, upload_artifact_request::Part};
use tonic::Status;

use crate::Client;

/// A call that takes longer has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Every so many calls one is made over a connection of its own.
const NEW_CONNECTION_EVERY: usize = 8;

/// How calls went.
#[derive(Debug, Default)]
pub(super) struct Called {
    times: Vec<Duration>,
    /// The slowest call of all.
    slowest: (Duration, String),
    pub(super) errors: Vec<String>,
}

impl Called {
    pub(super) fn extend(&mut self, other: Self) {
        self.times.extend(other.times);
        self.slowest = std::mem::take(&mut self.slowest).max(other.slowest);
        self.errors.extend(other.errors);
    }

    /// The time that this part of the calls did not exceed.
    pub(super) fn at(&self, part: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        let last = times.len().saturating_sub(1) as f64;
        let time = times.get((last * part) as usize);
        time.copied().unwrap_or_default()
    }

    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// Notes a call.
    pub(super) async fn note(
        &mut self,
        what: &str,
        call: impl Future<Output = Result<(), Status>>,
    ) {
        let began = Instant::now();
        let ended = tokio::time::timeout(CALL_TIMEOUT, call).await;
        let time = began.elapsed();
        self.times.push(time);
        if time > self.slowest.0 {
            self.slowest = (time, what.to_owned());
        }
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(status)) => self.errors.push(format!("{what}: {status}")),
            Err(_) => self.errors.push(format!("{what} took {CALL_TIMEOUT:?}")),
        }
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99] = [0.5, 0.99].map(|part| self.at(part).as_secs_f64() * 1e3);
        let (longest, which) = (self.slowest.0.as_secs_f64() * 1e3, &self.slowest.1);
        let (count, errors) = (self.count(), self.errors.len());
        write!(
            f,
            "{count} calls, p50 {median:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms ({which}), {errors} failed"
        )
    }
}

/// Which calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    All,
    /// Those that need no room on the disk.
    Reads,
}

/// What an honest client does.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) address: String,
    pub(super) kinds: Kinds,
    /// An artifact that is there.
    pub(super) artifact: String,
}

/// Makes calls of these kinds, one after the other, until there are enough.
pub(super) fn calls(errand: &Errand, is_enough: impl Fn(usize) -> bool) -> Called {
    let Errand {
        address,
        kinds,
        artifact,
    } = errand.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::of(&address);
        let mut called = Called::default();
        // The first task is there from the beginning.
        let (mut made, mut artifact) = (1, artifact);
        while !is_enough(called.count()) {
            let number = called.count();
            let client = match number % NEW_CONNECTION_EVERY {
                0 => Client::of(&address),
                _ => client.clone(),
            };
            match number % 6 {
                0 => called.note("GetStatus", status(&client)).await,
                1 if kinds == Kinds::All => {
                    called.note("CreateTask", create(&client, &mut made)).await
                }
                1 | 2 => called.note("GetTask", get(&client, made)).await,
                3 if kinds == Kinds::All => {
                    let uploading = upload(&client, made, &mut artifact);
                    called.note("UploadArtifact", uploading).await;
                }
                3 | 4 => {
                    let downloading = download(&client, &artifact);
                    called.note("DownloadArtifact", downloading).await;
                }
                _ => called.note("ListTasks", list(&client)).await,
            }
        }
        called
    })
}

/// GetStatus.
pub(super) async fn status(client: &Client) -> Result<(), Status> {
    let status = client.fleet().get_status(v1::GetStatusRequest {}).await;
    status.map(drop)
}

async fn create(client: &Client, made: &mut u64) -> Result<(), Status> {
    let request = v1::CreateTaskRequest {
        subject: "an honest task".into(),
        ..v1::CreateTaskRequest::default()
    };
    let answer = client.task().create_task(request).await?.into_inner();
    *made = answer.task.unwrap_or_default().id;
    Ok(())
}

async fn get(client: &Client, task_id: u64) -> Result<(), Status> {
    let request = v1::GetTaskRequest {
        task_id,
        ..v1::GetTaskRequest::default()
    };
    client.task().get_task(request).await.map(drop)
}

async fn upload(client: &Client, number: u64, artifact: &mut String) -> Result<(), Status> {
    let header = Part::Header(v1::UploadHeader::default());
    let chunk = Part::Chunk(format!("artifact {number}").repeat(64).into_bytes().into());
    let parts = [header, chunk].map(|part| v1::UploadArtifactRequest { part: Some(part) });
    let mut artifacts = client.artifact();
    let answer = artifacts.upload_artifact(tokio_stream::iter(parts)).await?;
    *artifact = answer.into_inner().artifact.unwrap_or_default().sha256;
    Ok(())
}

async fn download(client: &Client, sha256: &str) -> Result<(), Status> {
    let request = v1::DownloadArtifactRequest {
        sha256: sha256.into(),
        ..v1::DownloadArtifactRequest::default()
    };
    let answer = client.artifact().download_artifact(request).await?;
    let mut chunks = answer.into_inner();
    while chunks.message().await?.is_some() {}
    Ok(())
}

async fn list(client: &Client) -> Result<(), Status> {
    let request = v1::ListTasksRequest {
        page_size: 10,
        ..v1::ListTasksRequest::default()
    };
    client.task().list_tasks(request).await.map(drop)
}
