//! Carrying artifacts between this worker's disk and the coordinator.
//!
//! A coordinator that is away, or has no room, is waited for: neither is the agent's fault. Whoever calls
//! bounds the wait by dropping the future.

use std::{io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use ganger_proto::v1::{
    Artifact, DownloadArtifactRequest, UploadArtifactRequest, UploadHeader,
    artifact_service_client::ArtifactServiceClient, upload_artifact_request::Part,
};
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::{
    fence::Fence,
    limits::{ARTIFACT_SILENCE_MAX, ARTIFACTS_AT_ONCE, CHUNK_LEN, REDIAL_MAX, REDIAL_MIN},
    secrets::Secrets,
    session::{Caller, Door},
};

/// What is uploaded.
pub(crate) enum Content {
    /// A file that was opened safely; it is read up to this size.
    File(File, u64),
    /// A text of the worker's own making.
    Text(Bytes),
}

/// Why an artifact could not be carried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    /// The coordinator has no such artifact.
    #[error("the coordinator has no artifact {0}")]
    Unknown(String),
    /// The coordinator says no.
    #[error("the coordinator refuses it: {}", .0.message())]
    Refused(Box<Status>),
    /// The content is not what its name says.
    #[error("artifact {0} arrived damaged")]
    Damaged(String),
    /// The coordinator's own copy is damaged: what came of it is a part at most.
    #[error("the coordinator can't send it: {}", .0.message())]
    DamagedAtSource(Box<Status>),
    /// The worker's own disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The coordinator can't be reached, or broke off.
    #[error("the coordinator is away: {}", .0.message())]
    Away(Box<Status>),
    /// The coordinator has no room for it at present: its disk is nearly full, or too much comes at
    /// once.
    #[error("the coordinator has no room: {}", .0.message())]
    NoRoom(Box<Status>),
}

/// The way to the coordinator's artifacts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Artifacts {
    client: ArtifactServiceClient<Caller>,
    secrets: Secrets,
    /// Turns to carry one: a connection may carry only so many at once.
    turns: Arc<Semaphore>,
}

impl Artifacts {
    /// Goes through a door of its own connection, which is opened when it is first wanted.
    pub(crate) fn new(door: &Door, secrets: Secrets) -> Self {
        Self {
            secrets,
            client: ArtifactServiceClient::new(door.lazily()),
            turns: Arc::new(Semaphore::new(ARTIFACTS_AT_ONCE)),
        }
    }

    /// Uploads a blob under an attempt's fence; returns when it is durable.
    pub(crate) async fn upload(
        &self,
        fence: &Fence,
        path: &str,
        mut content: Content,
    ) -> Result<Artifact, ArtifactError> {
        let mut wait = REDIAL_MIN;
        let mut is_told = false;
        let _turn = self.turns.acquire().await;
        loop {
            match self.upload_once(fence, path, &mut content).await {
                Err(ArtifactError::Away(status)) => wait = pause(wait, &status).await,
                Err(ArtifactError::NoRoom(status)) => {
                    if !is_told {
                        is_told = true;
                        tracing::warn!(
                            attempt = %fence,
                            path,
                            status = status.message(),
                            "output is held until the coordinator has room"
                        );
                    }
                    wait = pause(wait, &status).await;
                }
                result => return result,
            }
        }
    }

    /// Downloads a blob into a new file that everybody may read.
    pub(crate) async fn download(
        &self,
        artifact: &Artifact,
        to: &Path,
    ) -> Result<(), ArtifactError> {
        let mut wait = REDIAL_MIN;
        let _turn = self.turns.acquire().await;
        loop {
            match self.download_once(artifact, to).await {
                Err(ArtifactError::Away(status) | ArtifactError::NoRoom(status)) => {
                    wait = pause(wait, &status).await;
                }
                result => return result,
            }
        }
    }

    async fn upload_once(
        &self,
        fence: &Fence,
        path: &str,
        content: &mut Content,
    ) -> Result<Artifact, ArtifactError> {
        let header = UploadHeader {
            path: path.to_owned(),
            sha256: String::new(),
            fence: Some(fence.into()),
        };
        let (parts, stream) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(stream));
        self.secrets
            .sign(&mut request, fence)
            .map_err(from_status)?;
        let mut client = self.client.clone();
        let call = async {
            let answer = client.upload_artifact(request).await;
            answer.map_err(from_status)
        };
        // The feeding ends with an error of its own, or because the call took no more.
        let (fed, answer) = tokio::join!(feed(parts, header, content), call);
        let sha256 = match (fed, &answer) {
            (Err(error), Ok(_)) => return Err(error.into()),
            (fed, _) => fed.unwrap_or_default(),
        };
        let artifact = answer?.into_inner().artifact.unwrap_or_default();
        if artifact.sha256 != sha256 {
            return Err(ArtifactError::Damaged(artifact.sha256));
        }
        Ok(Artifact {
            path: path.to_owned(),
            ..artifact
        })
    }

    async fn download_once(&self, artifact: &Artifact, to: &Path) -> Result<(), ArtifactError> {
        let request = DownloadArtifactRequest {
            sha256: artifact.sha256.clone(),
            offset: 0,
            limit: 0,
        };
        let mut client = self.client.clone();
        let mut stream = patiently(client.download_artifact(request))
            .await?
            .into_inner();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(to)
            .await?;
        let mut hash = Sha256::new();
        let mut len = 0;
        while let Some(part) = patiently(stream.message()).await? {
            len += part.chunk.len() as u64;
            if i64::try_from(len).is_ok_and(|len| len > artifact.size) {
                return Err(ArtifactError::Damaged(artifact.sha256.clone()));
            }
            hash.update(&part.chunk);
            file.write_all(&part.chunk).await?;
        }
        file.set_permissions(PermissionsExt::from_mode(0o644))
            .await?;
        file.flush().await?;
        if hex(hash) == artifact.sha256 {
            Ok(())
        } else {
            Err(ArtifactError::Damaged(artifact.sha256.clone()))
        }
    }
}

/// Sends header and content, and answers the content's hash as far as it was taken.
async fn feed(
    parts: mpsc::Sender<UploadArtifactRequest>,
    header: UploadHeader,
    content: &mut Content,
) -> io::Result<String> {
    let mut hash = Sha256::new();
    let send = async |part| {
        parts
            .send(UploadArtifactRequest { part: Some(part) })
            .await
            .is_ok()
    };
    let mut is_taken = send(Part::Header(header)).await;
    match content {
        Content::Text(text) => {
            let mut rest = text.clone();
            while is_taken && !rest.is_empty() {
                let chunk = rest.split_to(rest.len().min(CHUNK_LEN));
                hash.update(&chunk);
                is_taken = send(Part::Chunk(chunk)).await;
            }
        }
        Content::File(file, size) => {
            file.rewind().await?;
            let mut file = file.take(*size);
            while is_taken {
                let mut chunk = Vec::with_capacity(CHUNK_LEN);
                if (&mut file)
                    .take(CHUNK_LEN as u64)
                    .read_to_end(&mut chunk)
                    .await?
                    == 0
                {
                    break;
                }
                hash.update(&chunk);
                is_taken = send(Part::Chunk(chunk.into())).await;
            }
        }
    }
    Ok(hex(hash))
}

async fn patiently<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, ArtifactError> {
    match timeout(ARTIFACT_SILENCE_MAX, call).await {
        Ok(result) => result.map_err(from_status),
        Err(_) => Err(ArtifactError::Away(Box::new(Status::deadline_exceeded(
            "it kept silent",
        )))),
    }
}

/// Waits before the next try, and answers how long to wait after that.
async fn pause(wait: Duration, status: &Status) -> Duration {
    tracing::debug!(
        status = status.message(),
        ?wait,
        "artifact waits for the coordinator"
    );
    sleep(wait).await;
    (wait * 2).min(REDIAL_MAX)
}

fn from_status(status: Status) -> ArtifactError {
    match status.code() {
        // What a broken connection looks like (UNKNOWN and CANCELLED come from the transport).
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
            ArtifactError::Away(Box::new(status))
        }
        Code::ResourceExhausted => ArtifactError::NoRoom(Box::new(status)),
        Code::NotFound => ArtifactError::Unknown(status.message().to_owned()),
        Code::DataLoss => ArtifactError::DamagedAtSource(Box::new(status)),
        _ => ArtifactError::Refused(Box::new(status)),
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
