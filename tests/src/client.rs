//! Typed calls to a coordinator, and what tests do with them again and again.

use ganger_proto::{MEMBER_KEY, TASK_ID_KEY, v1};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use v1::{
    artifact_service_client::ArtifactServiceClient,
    delegation_service_client::DelegationServiceClient, fleet_service_client::FleetServiceClient,
    mailbox_service_client::MailboxServiceClient, task_service_client::TaskServiceClient,
    team_service_client::TeamServiceClient, tool_service_client::ToolServiceClient,
    worker_service_client::WorkerServiceClient,
};

use crate::patiently;

/// A connection that says who calls.
pub type Caller = InterceptedService<Channel, Words>;

/// The metadata that goes with every call.
#[derive(Clone, Debug, Default)]
pub struct Words(Vec<(&'static str, MetadataValue<Ascii>)>);

impl Interceptor for Words {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (key, value) in &self.0 {
            request.metadata_mut().insert(*key, value.clone());
        }
        Ok(request)
    }
}

/// Somebody who calls. The connection is made when it is first used, and again when it broke.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    words: Words,
}

macro_rules! services {
    ($($name:ident: $client:ident),* $(,)?) => {
        $(
            #[doc = concat!("The calls of [`", stringify!($client), "`].")]
            pub fn $name(&self) -> $client<Caller> {
                $client::with_interceptor(self.channel.clone(), self.words.clone())
                    .max_decoding_message_size(usize::MAX)
            }
        )*
    };
}

impl Client {
    /// Somebody who calls this address, `http://host:port`.
    pub fn of(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
        Self {
            channel: endpoint.connect_lazy(),
            words: Words::default(),
        }
    }

    /// The same over a connection that takes little before somebody reads it.
    pub fn narrow(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
        let endpoint = endpoint
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(16 << 20);
        Self {
            channel: endpoint.connect_lazy(),
            words: Words::default(),
        }
    }

    /// The same, with one more word in the metadata.
    #[must_use]
    pub fn saying(mut self, key: &'static str, value: &str) -> Self {
        self.words.0.push((key, value.parse().unwrap()));
        self
    }

    /// The same as a member of the team.
    #[must_use]
    pub fn member(self, name: &str) -> Self {
        self.saying(MEMBER_KEY, name)
    }

    /// The same with a token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.saying("authorization", &format!("Bearer {token}"))
    }

    services! {
        team: TeamServiceClient,
        task: TaskServiceClient,
        delegation: DelegationServiceClient,
        mail: MailboxServiceClient,
        artifact: ArtifactServiceClient,
        fleet: FleetServiceClient,
        tools: ToolServiceClient,
        worker: WorkerServiceClient,
    }

    /// The connection itself, for calls that are not of this contract.
    pub fn caller(&self) -> Caller {
        InterceptedService::new(self.channel.clone(), self.words.clone())
    }

    /// Puts a task on the default team's board.
    pub async fn create(&self, task: v1::CreateTaskRequest) -> v1::Task {
        let answer = patiently("CreateTask", self.task().create_task(task)).await;
        answer.unwrap().into_inner().task.unwrap()
    }

    /// Puts a script on its way, and doesn't wait for it.
    pub async fn start(&self, script: &str) -> v1::Task {
        self.start_task(v1::StartTaskRequest {
            prompt: script.into(),
            ..v1::StartTaskRequest::default()
        })
        .await
    }

    /// The same with more said; what isn't said is that a shell runs it.
    pub async fn start_task(&self, mut request: v1::StartTaskRequest) -> v1::Task {
        if request.description.is_empty() {
            request.description = "a script".into();
        }
        if request.agent_type.is_empty() {
            request.agent_type = "shell".into();
        }
        let answer = patiently("StartTask", self.delegation().start_task(request)).await;
        answer.unwrap().into_inner().task.unwrap()
    }

    /// Tells a task.
    pub async fn get(&self, task_id: u64) -> v1::Task {
        let request = v1::GetTaskRequest {
            task_id,
            ..v1::GetTaskRequest::default()
        };
        let answer = patiently("GetTask", self.task().get_task(request)).await;
        answer.unwrap().into_inner().task.unwrap()
    }

    /// Lists the workers.
    pub async fn workers(&self) -> Vec<v1::Worker> {
        let mut client = self.fleet();
        let answer = client.list_workers(v1::ListWorkersRequest::default());
        let answer = patiently("ListWorkers", answer).await;
        answer.unwrap().into_inner().workers
    }

    /// Cancels a task.
    pub async fn cancel(&self, task_id: u64) -> v1::Task {
        let request = v1::CancelTaskRequest {
            task_id,
            reason: "the test says so".into(),
            ..v1::CancelTaskRequest::default()
        };
        let answer = patiently("CancelTask", self.delegation().cancel_task(request)).await;
        answer.unwrap().into_inner().task.unwrap()
    }

    /// Watches the default team from its beginning.
    pub async fn watch(&self) -> Watch {
        self.watch_after(0).await
    }

    /// Watches the default team after a revision.
    pub async fn watch_after(&self, revision: u64) -> Watch {
        let request = v1::WatchTeamRequest {
            after_revision: Some(revision),
            ..v1::WatchTeamRequest::default()
        };
        let answer = patiently("WatchTeam", self.team().watch_team(request)).await;
        Watch {
            stream: answer.unwrap().into_inner(),
            events: Vec::new(),
        }
    }

    /// Waits until a task is over, and tells it.
    pub async fn ended(&self, task_id: u64) -> v1::Task {
        self.watch().await.ended(task_id).await;
        self.get(task_id).await
    }

    /// Waits until a task's sub-agent has begun.
    pub async fn running(&self, task_id: u64) -> v1::Task {
        self.watch()
            .await
            .until(task_id, v1::EventType::TaskStarted)
            .await;
        self.get(task_id).await
    }

    /// Reads a transcript to its end.
    pub async fn transcript(&self, task_id: u64) -> Transcript {
        let request = v1::WatchTranscriptRequest {
            task_id,
            ..v1::WatchTranscriptRequest::default()
        };
        self.transcript_of(request).await
    }

    /// The same with more said.
    pub async fn transcript_of(&self, request: v1::WatchTranscriptRequest) -> Transcript {
        let mut client = self.delegation();
        let answer = patiently("WatchTranscript", client.watch_transcript(request)).await;
        Transcript {
            stream: answer.unwrap().into_inner(),
            records: Vec::new(),
        }
    }

    /// Uploads a blob.
    pub async fn upload(&self, path: &str, content: &[u8]) -> v1::Artifact {
        use v1::upload_artifact_request::Part;
        let header = Part::Header(v1::UploadHeader {
            path: path.into(),
            ..v1::UploadHeader::default()
        });
        let chunks = content.chunks(64 << 10);
        let chunks = chunks.map(|chunk| Part::Chunk(chunk.to_vec().into()));
        let parts: Vec<_> = [header]
            .into_iter()
            .chain(chunks)
            .map(|part| v1::UploadArtifactRequest { part: Some(part) })
            .collect();
        let mut client = self.artifact();
        let answer = client.upload_artifact(tokio_stream::iter(parts));
        let answer = patiently("UploadArtifact", answer).await;
        answer.unwrap().into_inner().artifact.unwrap()
    }

    /// Downloads a blob.
    pub async fn download(&self, sha256: &str) -> Vec<u8> {
        let request = v1::DownloadArtifactRequest {
            sha256: sha256.into(),
            ..v1::DownloadArtifactRequest::default()
        };
        let mut client = self.artifact();
        let answer = patiently("DownloadArtifact", client.download_artifact(request)).await;
        let mut chunks = answer.unwrap().into_inner();
        let mut content = Vec::new();
        while let Some(chunk) = patiently("a chunk", chunks.message()).await.unwrap() {
            content.extend_from_slice(&chunk.chunk);
        }
        content
    }
}

/// The task's id in an answer's initial metadata.
pub fn task_id_of<T>(response: &Response<T>) -> u64 {
    let value = response.metadata().get(TASK_ID_KEY);
    let value = value.expect("the answer's metadata names the task");
    value.to_str().unwrap().parse().unwrap()
}

/// A team's events, as they come.
#[derive(Debug)]
pub struct Watch {
    stream: Streaming<v1::WatchTeamResponse>,
    /// What came so far.
    pub events: Vec<v1::Event>,
}

impl Watch {
    /// Takes the next events in; the status where the stream ends.
    pub async fn more(&mut self) -> Result<(), Status> {
        match patiently("an event", self.stream.message()).await? {
            Some(answer) => {
                self.events.extend(answer.events);
                Ok(())
            }
            None => Err(Status::unavailable("the stream ended")),
        }
    }

    /// Waits for an event that is looked for, be it that it came already.
    pub async fn find(&mut self, what: &str, is_it: impl Fn(&v1::Event) -> bool) -> v1::Event {
        let mut seen = 0;
        patiently(what, async {
            loop {
                if let Some(event) = self.events[seen..].iter().find(|event| is_it(event)) {
                    return event.clone();
                }
                seen = self.events.len();
                self.more().await.unwrap();
            }
        })
        .await
    }

    /// Waits for an event of a task.
    pub async fn until(&mut self, task_id: u64, kind: v1::EventType) -> v1::Event {
        let what = format!("{} of task {task_id}", kind.as_str_name());
        self.find(&what, |event| {
            event.task_id == task_id && event.r#type() == kind
        })
        .await
    }

    /// Waits for the end of a task.
    pub async fn ended(&mut self, task_id: u64) -> v1::Event {
        let what = format!("the end of task {task_id}");
        self.find(&what, |event| event.task_id == task_id && is_ending(event))
            .await
    }
}

/// Whether an event is the end of its task. A member's update may bring it, too.
pub fn is_ending(event: &v1::Event) -> bool {
    use v1::TaskStatus::{Cancelled, Completed, Failed};
    matches!(event.to_status(), Completed | Failed | Cancelled)
}

/// An attempt's transcript, as it comes.
#[derive(Debug)]
pub struct Transcript {
    stream: Streaming<v1::WatchTranscriptResponse>,
    /// What came so far.
    pub records: Vec<v1::TranscriptRecord>,
}

impl Transcript {
    /// Takes the next records in; false at the end.
    pub async fn more(&mut self) -> Result<bool, Status> {
        match patiently("a record", self.stream.message()).await? {
            Some(answer) => {
                self.records.extend(answer.records);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Waits until this was said.
    pub async fn said(&mut self, text: &str) {
        let what = format!("a transcript says {text:?}");
        patiently(&what, async {
            while !self.text().contains(text) {
                let is_going_on = self.more().await.unwrap();
                assert!(is_going_on, "{what}: it ended with {:?}", self.text());
            }
        })
        .await;
    }

    /// Reads to the end, and answers all that was said.
    pub async fn whole(mut self) -> String {
        while self.more().await.unwrap() {}
        self.text()
    }

    /// What the sub-agent said so far.
    pub fn text(&self) -> String {
        let said = |record: &&v1::TranscriptRecord| record.kind() != v1::TranscriptKind::Worker;
        let texts = self.records.iter().filter(said);
        texts.map(|record| record.text.as_str()).collect()
    }
}
