//! `ArtifactService`.

use board::id::Digest as BoardDigest;
use ganger_proto::v1::{
    self, artifact_service_server::ArtifactService, upload_artifact_request::Part,
};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Services,
    body::{Answers, Sink},
    caller::Identity,
    from_wire, status, to_wire,
};
use crate::artifacts::{ArtifactError, ArtifactStore, Digest, StoredArtifact};

/// Chunks of an upload that wait to be written.
const WAITING_MAX: usize = 4;

#[tonic::async_trait]
impl ArtifactService for Services {
    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|message| message.part);
        let Some(Part::Header(header)) = first else {
            return Err(status::protocol("an upload begins with its header"));
        };
        let expected = match header.sha256.as_str() {
            "" => None,
            text => Some(digest(text)?),
        };
        if header.fence.is_some() {
            let fence = from_wire::fence(header.fence.as_ref())?;
            // Only whose secret was shown, in the metadata, may upload for an attempt.
            match identity.caller.attempt {
                Some(shown) if shown == fence => {}
                Some(_) => return Err(status::attempt_secret_wrong(&fence)),
                None => return Err(status::attempt_secret_missing(&fence)),
            }
            let counts = self.look(move |reader| reader.check_fence(&fence)).await?;
            counts.map_err(|refusal| status::refusal(&refusal))?;
        }
        // Also for what an attempt brings: its worker holds it until there is room.
        self.check_room()?;

        let (chunks, waiting) = mpsc::channel(WAITING_MAX);
        let artifacts = self.artifacts.clone();
        let written = self
            .tasks
            .spawn_blocking(move || write(&artifacts, waiting, expected));
        while let Some(message) = parts.message().await? {
            let Some(Part::Chunk(chunk)) = message.part else {
                return Err(status::protocol("an upload has one header, then chunks"));
            };
            // The disk may fill up on the way; what was written so far goes again.
            self.check_room()?;
            if chunks.send(Some(chunk)).await.is_err() {
                // It was refused half way: what it says is said below.
                break;
            }
        }
        // Only an upload that came to its end is finished: a broken stream drops `chunks` before.
        let _ = chunks.send(None).await;
        let stored = written.await.map_err(|panic| status::internal(&panic))?;
        let stored = stored.map_err(|error| status::artifact(&error))?;
        Ok(Response::new(v1::UploadArtifactResponse {
            artifact: Some(v1::Artifact {
                sha256: stored.digest.to_string(),
                path: header.path,
                size: i64::try_from(stored.bytes).unwrap_or(i64::MAX),
            }),
        }))
    }

    type DownloadArtifactStream = Answers<v1::DownloadArtifactResponse>;

    async fn download_artifact(
        &self,
        request: Request<v1::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let request = request.into_inner();
        let digest = digest(&request.sha256)?;
        let offset = u64::try_from(request.offset)
            .map_err(|_| status::invalid("offset", "is below zero"))?;
        let limit =
            u64::try_from(request.limit).map_err(|_| status::invalid("limit", "is below zero"))?;
        let limit = (limit != 0).then_some(limit);
        let artifacts = self.artifacts.clone();
        let reader = self
            .block(move || artifacts.reader(&digest, offset, limit))
            .await?
            .map_err(|error| status::artifact(&error))?;
        let (sink, answers) = Sink::new();
        let services = self.clone();
        self.tasks.spawn(async move {
            let mut reader = reader;
            loop {
                let read = services.block(move || (reader.next_chunk(), reader)).await;
                let (chunk, rest) = match read {
                    Ok((Ok(Some(chunk)), rest)) => (chunk, rest),
                    Ok((Ok(None), _)) => return,
                    Ok((Err(error), _)) => return sink.fail(status::artifact(&error)).await,
                    Err(status) => return sink.fail(status).await,
                };
                reader = rest;
                let answer = v1::DownloadArtifactResponse {
                    chunk: chunk.into(),
                };
                if sink.put(answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(answers))
    }

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<v1::GetArtifactResponse>, Status> {
        let digest = digest(&request.get_ref().sha256)?;
        let artifacts = self.artifacts.clone();
        let size = self
            .block(move || artifacts.size(&digest))
            .await?
            .map_err(|error| status::artifact(&error))?;
        let artifact = board::task::Artifact {
            digest: BoardDigest(*digest.as_bytes()),
            path: "".into(),
            size,
        };
        Ok(Response::new(v1::GetArtifactResponse {
            artifact: Some(to_wire::artifact(&artifact)),
        }))
    }
}

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse()
        .map_err(|_| status::invalid("sha256", "is not 64 hexadecimal digits in lower case"))
}

/// Writes the chunks that come; `None` among them says that the upload came to its end.
fn write(
    artifacts: &ArtifactStore,
    mut chunks: mpsc::Receiver<Option<Bytes>>,
    expected: Option<Digest>,
) -> Result<StoredArtifact, ArtifactError> {
    let mut upload = artifacts.upload()?;
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk {
            Some(chunk) => upload.append(&chunk)?,
            None => return upload.finish(expected),
        }
    }
    Err(crate::artifacts::ArtifactRefusal::UploadBroken.into())
}
