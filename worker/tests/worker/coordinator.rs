//! A coordinator that does what a claim tells it, frame by frame.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use ganger_proto::{
    ATTEMPT_KEY, ATTEMPT_SECRET_KEY, TEAM_KEY,
    v1::{
        Artifact, Assignment, CallToolRequest, CallToolResponse, ConnectRequest, ConnectResponse,
        DownloadArtifactRequest, DownloadArtifactResponse, Fence, GetArtifactRequest,
        GetArtifactResponse, HeartbeatAck, HeldVerdict, Hello, ListToolsRequest, ListToolsResponse,
        ProgressAck, ReportAck, ReportKind, Stop, TranscriptRecord, UploadArtifactRequest,
        UploadArtifactResponse, Welcome,
        artifact_service_server::{ArtifactService, ArtifactServiceServer},
        connect_request::Message as Said,
        connect_response::Message as Say,
        tool_service_server::{ToolService, ToolServiceServer},
        upload_artifact_request::Part,
        worker_service_server::{WorkerService, WorkerServiceServer},
    },
};
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::support::PATIENCE;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The lease that a welcome gives unless a claim says another.
pub const LEASE: Duration = Duration::from_secs(15);

/// What the service shares with the claim.
#[derive(Clone)]
struct Inside {
    streams: mpsc::Sender<Connection>,
    calls: mpsc::Sender<Call>,
    blobs: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    refusal: Arc<Mutex<Option<Status>>>,
    /// How many uploads find no room yet.
    roomless: Arc<Mutex<u32>>,
}

/// The coordinator.
pub struct Coordinator {
    pub address: String,
    inside: Inside,
    streams: mpsc::Receiver<Connection>,
    calls: mpsc::Receiver<Call>,
    _server: AbortOnDropHandle<()>,
}

/// A call of a tool, to be answered.
pub struct Call {
    /// For which attempt it is made.
    pub attempt: String,
    pub secret: String,
    pub team: String,
    pub request: CallToolRequest,
    pub answer: oneshot::Sender<Result<CallToolResponse, Status>>,
}

/// One stream of a worker.
pub struct Connection {
    /// What the worker showed.
    pub authorization: Option<String>,
    session: u64,
    frames: Streaming<ConnectRequest>,
    answers: mpsc::Sender<Result<ConnectResponse, Status>>,
    /// Heartbeats are answered on the way.
    pub answers_heartbeats: bool,
}

impl Coordinator {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, streams) = mpsc::channel(8);
        let (caller, calls) = mpsc::channel(64);
        let inside = Inside {
            streams: sender,
            calls: caller,
            blobs: Arc::default(),
            refusal: Arc::default(),
            roomless: Arc::default(),
        };
        let serving = tonic::transport::Server::builder()
            .add_service(WorkerServiceServer::new(inside.clone()))
            .add_service(ArtifactServiceServer::new(inside.clone()))
            .add_service(ToolServiceServer::new(inside.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            address,
            inside,
            streams,
            calls,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// The next stream that a worker opens.
    pub async fn connection(&mut self) -> Connection {
        timeout(PATIENCE, self.streams.recv())
            .await
            .expect("a worker dials")
            .unwrap()
    }

    /// The next stream, welcomed: what its Hello said, too.
    pub async fn welcomed(&mut self) -> (Connection, Hello) {
        let mut connection = self.connection().await;
        let hello = connection.hello().await;
        connection.welcome(Vec::new()).await;
        (connection, hello)
    }

    /// The next call of a tool.
    pub async fn call(&mut self) -> Call {
        timeout(PATIENCE, self.calls.recv())
            .await
            .expect("a tool is called")
            .unwrap()
    }

    /// From now on every Connect is refused like this; none accepts them again.
    pub fn refuse(&self, refusal: Option<Status>) {
        *self.inside.refusal.lock().unwrap() = refusal;
    }

    /// So many uploads are refused, as by a disk that is nearly full.
    pub fn have_no_room_for_uploads(&self, count: u32) {
        *self.inside.roomless.lock().unwrap() = count;
    }

    /// Keeps a blob, and names it.
    pub fn keep(&self, path: &str, content: &[u8]) -> Artifact {
        self.inside.keep(path, content)
    }

    /// Damages a blob: it ends with `DATA_LOSS` from now on, as with the real coordinator.
    pub fn damage(&self, artifact: &Artifact) {
        let mut blobs = self.inside.blobs.lock().unwrap();
        blobs.get_mut(&artifact.sha256).unwrap()[0] ^= 1;
    }

    /// A blob's content.
    pub fn blob(&self, artifact: &Artifact) -> Vec<u8> {
        self.inside.blobs.lock().unwrap()[&artifact.sha256].clone()
    }
}

impl Connection {
    pub async fn hello(&mut self) -> Hello {
        match self.frame().await.and_then(|frame| frame.message) {
            Some(Said::Hello(hello)) => hello,
            other => panic!("no Hello, but {other:?}"),
        }
    }

    pub async fn welcome(&mut self, verdicts: Vec<HeldVerdict>) {
        self.welcome_for(LEASE, verdicts).await;
    }

    /// Welcomes with a lease of this length, and three heartbeats in it.
    pub async fn welcome_for(&mut self, lease: Duration, verdicts: Vec<HeldVerdict>) {
        self.say(Say::Welcome(welcome(lease, verdicts))).await;
    }

    pub async fn say(&mut self, message: Say) {
        let response = ConnectResponse {
            session: self.session,
            message: Some(message),
        };
        let _ = self.answers.send(Ok(response)).await;
    }

    pub async fn assign(&mut self, assignment: &Assignment) {
        self.say(Say::Assignment(assignment.clone())).await;
    }

    pub async fn stop(&mut self, fence: &Fence, grace: Duration) {
        let reason = "changed my mind".into();
        self.say(Say::Stop(Stop {
            fence: Some(fence.clone()),
            reason,
            grace: Some(grace.into()),
        }))
        .await;
    }

    pub async fn acknowledge(&mut self, fence: &Fence, kind: ReportKind, accepted: bool) {
        let (fence, kind) = (Some(fence.clone()), kind.into());
        self.say(Say::ReportAck(ReportAck {
            fence,
            kind,
            accepted,
            reason: String::new(),
        }))
        .await;
    }

    pub async fn keep_through(&mut self, fence: &Fence, kept_through: i64) {
        self.say(Say::ProgressAck(ProgressAck {
            fence: Some(fence.clone()),
            kept_through,
        }))
        .await;
    }

    /// The next thing that is said, beside heartbeats; none when the stream is over.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            match self.frame().await?.message.unwrap() {
                Said::Heartbeat(heartbeat) => {
                    if self.answers_heartbeats {
                        self.say(Say::HeartbeatAck(HeartbeatAck {
                            sequence: heartbeat.sequence,
                        }))
                        .await;
                    }
                }
                said => return Some(said),
            }
        }
    }

    /// The sequence of the heartbeat that comes next, before anything else.
    pub async fn heartbeat(&mut self) -> u64 {
        match self.frame().await.and_then(|frame| frame.message) {
            Some(Said::Heartbeat(heartbeat)) => heartbeat.sequence,
            other => panic!("no heartbeat, but {other:?}"),
        }
    }

    /// Everything that is said up to an attempt's last report, each report acknowledged.
    pub async fn settle(&mut self) -> Settled {
        let mut records = Vec::new();
        let mut reports = Vec::new();
        loop {
            match self
                .next()
                .await
                .expect("the worker reports before it leaves")
            {
                Said::Started(started) => {
                    self.acknowledge(&started.fence.unwrap(), ReportKind::Started, true)
                        .await;
                    reports.push("started");
                }
                Said::Progress(progress) => {
                    let last = progress.records.last().unwrap().index;
                    self.keep_through(&progress.fence.unwrap(), last).await;
                    records.extend(progress.records);
                }
                Said::Ended(ended) => {
                    self.acknowledge(ended.fence.as_ref().unwrap(), ReportKind::Ended, true)
                        .await;
                    reports.push("ended");
                    return Settled {
                        records,
                        reports,
                        ended,
                    };
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn frame(&mut self) -> Option<ConnectRequest> {
        timeout(PATIENCE, self.frames.message())
            .await
            .expect("the worker says something")
            .ok()?
    }
}

/// A welcome in the newest version of the stream.
pub fn welcome(lease: Duration, verdicts: Vec<HeldVerdict>) -> Welcome {
    Welcome {
        heartbeat_interval: Some((lease / 3).into()),
        lease_span: Some(lease.into()),
        verdicts,
        epoch: "e".into(),
        version: "0".into(),
        protocol: 3,
        first_heartbeat: None,
    }
}

/// The secret that a task's attempts have here.
pub fn secret_of(task_id: u64) -> String {
    format!("s3cret-of-task-{task_id}")
}

/// What came of an attempt.
pub struct Settled {
    pub records: Vec<TranscriptRecord>,
    pub reports: Vec<&'static str>,
    pub ended: ganger_proto::v1::Ended,
}

fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Inside {
    fn keep(&self, path: &str, content: &[u8]) -> Artifact {
        let sha256 = digest(content);
        self.blobs
            .lock()
            .unwrap()
            .insert(sha256.clone(), content.to_vec());
        Artifact {
            sha256,
            path: path.to_owned(),
            size: content.len() as i64,
        }
    }
}

#[tonic::async_trait]
impl WorkerService for Inside {
    type ConnectStream = Answers<ConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let (answers, stream) = mpsc::channel(64);
        let connection = Connection {
            authorization,
            session: 7,
            frames: request.into_inner(),
            answers,
            answers_heartbeats: true,
        };
        let _ = self.streams.send(connection).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

#[tonic::async_trait]
impl ToolService for Inside {
    async fn list_tools(
        &self,
        _: Request<ListToolsRequest>,
    ) -> Result<Response<ListToolsResponse>, Status> {
        Err(Status::unimplemented("no worker asks"))
    }

    async fn call_tool(
        &self,
        request: Request<CallToolRequest>,
    ) -> Result<Response<CallToolResponse>, Status> {
        let said = |key| {
            request
                .metadata()
                .get(key)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let (attempt, team) = (said(ATTEMPT_KEY), said(TEAM_KEY));
        let secret = said(ATTEMPT_SECRET_KEY);
        let (answer, answered) = oneshot::channel();
        let call = Call {
            attempt,
            secret,
            team,
            request: request.into_inner(),
            answer,
        };
        let _ = self.calls.send(call).await;
        let answered = answered.await;
        answered
            .unwrap_or_else(|_| Err(Status::internal("the claim is over")))
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl ArtifactService for Inside {
    type DownloadArtifactStream = Answers<DownloadArtifactResponse>;

    async fn upload_artifact(
        &self,
        request: Request<Streaming<UploadArtifactRequest>>,
    ) -> Result<Response<UploadArtifactResponse>, Status> {
        let metadata = request.metadata().clone();
        let mut parts = request.into_inner();
        let Some(Part::Header(header)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Status::invalid_argument("no header"));
        };
        let fence = header.fence.expect("a worker uploads under a fence");
        let roomless = self.roomless.lock().unwrap().checked_sub(1);
        if let Some(left) = roomless {
            *self.roomless.lock().unwrap() = left;
            return Err(Status::resource_exhausted(
                "the coordinator's disk is nearly full",
            ));
        }
        let attempt = format!(
            "{}/{}/{}/{}",
            fence.epoch, fence.team_uid, fence.task_id, fence.attempt
        );
        assert_eq!(metadata.get(ATTEMPT_KEY).unwrap(), attempt.as_str());
        let secret = metadata.get(ATTEMPT_SECRET_KEY).unwrap();
        assert_eq!(secret, secret_of(fence.task_id).as_str());
        let mut content = Vec::new();
        while let Some(part) = parts.message().await? {
            let Some(Part::Chunk(chunk)) = part.part else {
                return Err(Status::invalid_argument("no chunk"));
            };
            content.extend(chunk);
        }
        let artifact = Some(self.keep(&header.path, &content));
        Ok(Response::new(UploadArtifactResponse { artifact }))
    }

    async fn download_artifact(
        &self,
        request: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let sha256 = request.into_inner().sha256;
        let content = self.blobs.lock().unwrap().get(&sha256).cloned();
        let content = content.ok_or_else(|| Status::not_found(&sha256))?;
        let is_whole = digest(&content) == sha256;
        let end = (!is_whole).then(|| Err(Status::data_loss("the stored artifact is damaged")));
        let chunks: Vec<_> = content
            .chunks(1_000)
            .map(|chunk| {
                Ok(DownloadArtifactResponse {
                    chunk: chunk.to_vec().into(),
                })
            })
            .chain(end)
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn get_artifact(
        &self,
        _: Request<GetArtifactRequest>,
    ) -> Result<Response<GetArtifactResponse>, Status> {
        Err(Status::unimplemented("no worker asks"))
    }
}
