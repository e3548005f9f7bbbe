//! `ArtifactService`.

use std::{pin::Pin, time::Duration};

use board::id::Digest as BoardDigest;
use ganger_proto::v1::{
    self, artifact_service_server::ArtifactService, upload_artifact_request::Part,
};
use prost::bytes::Bytes;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Services,
    body::{Answers, Gone, Sink},
    caller::Identity,
    from_wire, status, to_wire,
};
use crate::{
    artifacts::{ArtifactError, Digest},
    driver::NotTaken,
    handle::Unavailable,
};

/// Artifacts of which a part is read or written at this moment.
pub const TURNS: usize = 16;

/// Bytes of an upload that are written together.
const GATHERED_LEN: usize = 256 * 1024;

/// How long an upload may bring less than this.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(10);
const UPLOAD_LEN_MIN: usize = 4 * 1024;

/// How long nothing of a download may be taken.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(30);

/// Chunks of a download that wait to be taken.
const WAITING_MAX: usize = 2;

#[tonic::async_trait]
impl ArtifactService for Services {
    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let mut incoming = Incoming::new(request.into_inner(), self.stop.clone());
        let Some(Part::Header(header)) = incoming.next().await? else {
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

        let artifacts = self.artifacts.clone();
        let mut upload = self.carry(move || artifacts.upload()).await?;
        let mut is_over = false;
        while !is_over {
            let chunks = incoming.gather().await?;
            is_over = chunks.is_empty();
            let append = move || {
                let mut upload = upload;
                chunks.iter().try_for_each(|chunk| upload.append(chunk))?;
                Ok(upload)
            };
            // The disk may fill up on the way; what was written so far goes again.
            self.check_room()?;
            upload = self.carry(append).await?;
        }
        // Only an upload that came to its end is finished: a broken one ended before.
        let stored = self.carry(move || upload.finish(expected)).await?;
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
            .carry(move || artifacts.reader(&digest, offset, limit))
            .await?;
        let (sink, answers) = Sink::with_room(WAITING_MAX);
        let services = self.clone();
        self.tasks.spawn(async move {
            let (mut reader, mut offset) = (reader, offset);
            loop {
                let read = services
                    .carry(move || reader.next_chunk().map(|chunk| (chunk, reader)))
                    .await;
                let chunk = match read {
                    Ok((Some(chunk), rest)) => {
                        reader = rest;
                        chunk
                    }
                    Ok((None, _)) => return,
                    Err(status) => return sink.cut(status),
                };
                let len = chunk.len() as u64;
                let answer = v1::DownloadArtifactResponse {
                    chunk: chunk.into(),
                };
                let taken = tokio::select! {
                    taken = timeout(DOWNLOAD_PATIENCE, sink.put(answer)) => taken,
                    () = services.stop.cancelled() => {
                        let stopped = Unavailable::NotTaken(NotTaken::Closed);
                        return sink.cut(status::unavailable(stopped));
                    }
                };
                match taken {
                    Ok(Ok(())) => offset += len,
                    Ok(Err(Gone)) => return,
                    Err(_) => {
                        return sink.cut(status::download_stalled(offset, DOWNLOAD_PATIENCE));
                    }
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

impl Services {
    /// Reads or writes a part of an artifact. Few do at once, so that what else blocks never has to
    /// wait for them.
    async fn carry<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, Status> {
        // Nobody closes it.
        let turn = self.artifact_turns.clone().acquire_owned().await.ok();
        let done = self.block(move || {
            let _turn = turn;
            work()
        });
        done.await?.map_err(|error| status::artifact(&error))
    }
}

/// An upload's parts, as they come: no thread waits for them.
struct Incoming {
    parts: Streaming<v1::UploadArtifactRequest>,
    stop: CancellationToken,
    /// When enough must have come again.
    due: Pin<Box<Sleep>>,
    /// Bytes since that was set.
    recent: usize,
    /// Bytes in all.
    bytes: u64,
}

impl Incoming {
    fn new(parts: Streaming<v1::UploadArtifactRequest>, stop: CancellationToken) -> Self {
        Self {
            parts,
            stop,
            due: Box::pin(sleep(UPLOAD_PATIENCE)),
            recent: 0,
            bytes: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<Part>, Status> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                Err(status::unavailable(Unavailable::NotTaken(NotTaken::Closed)))
            }
            // What is there counts, however late it is looked at.
            message = self.parts.message() => match message? {
                None => Ok(None),
                Some(message) => match message.part {
                    None => Err(status::protocol("a message of an upload is empty")),
                    part => Ok(part),
                },
            },
            () = &mut self.due => Err(status::upload_stalled(self.bytes, UPLOAD_PATIENCE)),
        }
    }

    /// From now on it may bring too little for so long.
    fn waits(&mut self) {
        self.recent = 0;
        let due = sleep(UPLOAD_PATIENCE).deadline();
        self.due.as_mut().reset(due);
    }

    /// Chunks worth a turn at the disk; none at the end.
    async fn gather(&mut self) -> Result<Vec<Bytes>, Status> {
        let (mut chunks, mut len) = (Vec::new(), 0);
        // While its last bytes waited for the disk, it could bring no others.
        self.waits();
        while len < GATHERED_LEN {
            let chunk = match self.next().await? {
                None => break,
                Some(Part::Chunk(chunk)) => chunk,
                Some(Part::Header(_)) => {
                    return Err(status::protocol("an upload has one header, then chunks"));
                }
            };
            len += chunk.len();
            self.bytes += chunk.len() as u64;
            self.recent += chunk.len();
            if self.recent >= UPLOAD_LEN_MIN {
                self.waits();
            }
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        Ok(chunks)
    }
}
