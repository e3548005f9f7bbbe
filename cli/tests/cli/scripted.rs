//! A coordinator that says what a test tells it to say, and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ganger_proto::v1::{
    self,
    delegation_service_server::{DelegationService, DelegationServiceServer},
    task_service_server::{TaskService, TaskServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

pub type Answer<T> = Result<Response<T>, Status>;
pub type Ends<T> = ReceiverStream<Result<T, Status>>;

/// One stream of a task: what goes into it comes out at the client.
pub type Into<T> = mpsc::Sender<Result<T, Status>>;

/// What it is asked, for the test to look at and to answer.
pub enum Asked {
    Created(v1::CreateTaskRequest, tonic::metadata::MetadataMap),
    Listed(v1::ListTasksRequest),
    Streamed(v1::StreamTaskRequest, Into<v1::StreamTaskResponse>),
    Cancelled(v1::CancelTaskRequest),
    Watched(
        v1::WatchTranscriptRequest,
        Into<v1::WatchTranscriptResponse>,
    ),
}

/// What it answers to unary calls, in turn.
#[derive(Default)]
pub struct Script {
    pub created: Vec<Result<v1::CreateTaskResponse, Status>>,
    pub listed: Vec<Result<v1::ListTasksResponse, Status>>,
    pub got: Vec<Result<v1::GetTaskResponse, Status>>,
}

#[derive(Clone)]
struct Services {
    script: Arc<Mutex<Script>>,
    asked: mpsc::Sender<Asked>,
}

/// The coordinator.
pub struct Scripted {
    pub addr: String,
    pub asked: mpsc::Receiver<Asked>,
    server: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scripted {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr: SocketAddr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel(64);
        let services = Services {
            script: Arc::new(Mutex::new(script)),
            asked: tell,
        };
        let server = Server::builder()
            .add_service(TaskServiceServer::new(services.clone()))
            .add_service(DelegationServiceServer::new(services))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            addr: addr.to_string(),
            asked,
            server: tokio::spawn(async move { server.await.unwrap() }),
        }
    }

    pub async fn next(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }
}

impl Services {
    async fn tell(&self, asked: Asked) {
        self.asked.send(asked).await.unwrap();
    }

    fn next<T>(&self, answers: impl Fn(&mut Script) -> &mut Vec<Result<T, Status>>) -> Answer<T> {
        let mut script = self.script.lock().unwrap();
        let answers = answers(&mut script);
        match answers.is_empty() {
            true => Err(Status::internal("the script has no answer to this")),
            false => answers.remove(0).map(Response::new),
        }
    }
}

fn unasked<T>() -> Answer<T> {
    Err(Status::unimplemented("no test asks this"))
}

#[tonic::async_trait]
impl TaskService for Services {
    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Answer<v1::CreateTaskResponse> {
        let metadata = request.metadata().clone();
        self.tell(Asked::Created(request.into_inner(), metadata))
            .await;
        self.next(|script| &mut script.created)
    }

    async fn batch_create_tasks(
        &self,
        _: Request<v1::BatchCreateTasksRequest>,
    ) -> Answer<v1::BatchCreateTasksResponse> {
        unasked()
    }

    async fn get_task(&self, _: Request<v1::GetTaskRequest>) -> Answer<v1::GetTaskResponse> {
        self.next(|script| &mut script.got)
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksResponse> {
        self.tell(Asked::Listed(request.into_inner())).await;
        self.next(|script| &mut script.listed)
    }

    async fn update_task(
        &self,
        _: Request<v1::UpdateTaskRequest>,
    ) -> Answer<v1::UpdateTaskResponse> {
        unasked()
    }

    async fn claim_task(&self, _: Request<v1::ClaimTaskRequest>) -> Answer<v1::ClaimTaskResponse> {
        unasked()
    }
}

#[tonic::async_trait]
impl DelegationService for Services {
    type StreamTaskStream = Ends<v1::StreamTaskResponse>;
    type WatchTranscriptStream = Ends<v1::WatchTranscriptResponse>;

    async fn run_task(&self, _: Request<v1::RunTaskRequest>) -> Answer<v1::RunTaskResponse> {
        unasked()
    }

    async fn stream_task(
        &self,
        request: Request<v1::StreamTaskRequest>,
    ) -> Answer<Self::StreamTaskStream> {
        let (into, out) = mpsc::channel(16);
        self.tell(Asked::Streamed(request.into_inner(), into)).await;
        let mut answer = Response::new(ReceiverStream::new(out));
        answer
            .metadata_mut()
            .insert("ganger-task-id", "7".parse().unwrap());
        Ok(answer)
    }

    async fn start_task(&self, _: Request<v1::StartTaskRequest>) -> Answer<v1::StartTaskResponse> {
        unasked()
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Answer<v1::CancelTaskResponse> {
        self.tell(Asked::Cancelled(request.into_inner())).await;
        Ok(Response::new(v1::CancelTaskResponse::default()))
    }

    async fn watch_transcript(
        &self,
        request: Request<v1::WatchTranscriptRequest>,
    ) -> Answer<Self::WatchTranscriptStream> {
        let (into, out) = mpsc::channel(16);
        self.tell(Asked::Watched(request.into_inner(), into)).await;
        Ok(Response::new(ReceiverStream::new(out)))
    }

    async fn list_agent_types(
        &self,
        _: Request<v1::ListAgentTypesRequest>,
    ) -> Answer<v1::ListAgentTypesResponse> {
        unasked()
    }
}
