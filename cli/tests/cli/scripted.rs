//! A coordinator that says what a test tells it to say, and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ganger_proto::v1::{
    self,
    delegation_service_server::{DelegationService, DelegationServiceServer},
    fleet_service_server::{FleetService, FleetServiceServer},
    mailbox_service_server::{MailboxService, MailboxServiceServer},
    task_service_server::{TaskService, TaskServiceServer},
    team_service_server::{TeamService, TeamServiceServer},
    tool_service_server::{ToolService, ToolServiceServer},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

pub type Answer<T> = Result<Response<T>, Status>;
pub type Ends<T> = ReceiverStream<Result<T, Status>>;

/// One stream of a task: what goes into it comes out at the client.
pub type Into<T> = mpsc::Sender<Result<T, Status>>;

/// What it is asked, for the test to look at and to answer.
pub enum Asked {
    Created(Box<v1::CreateTaskRequest>, tonic::metadata::MetadataMap),
    Listed(v1::ListTasksRequest),
    Streamed(Box<v1::StreamTaskRequest>, Into<v1::StreamTaskResponse>),
    Cancelled(v1::CancelTaskRequest),
    Watched(
        v1::WatchTranscriptRequest,
        Into<v1::WatchTranscriptResponse>,
    ),
    MailWatched(v1::WatchMailboxRequest, Into<v1::WatchMailboxResponse>),
    /// Any other call, by its name, as JSON.
    Other(&'static str, Value),
}

/// What it answers to unary calls, in turn.
#[derive(Default)]
pub struct Script {
    pub created: Vec<Result<v1::CreateTaskResponse, Status>>,
    pub listed: Vec<Result<v1::ListTasksResponse, Status>>,
    pub got: Vec<Result<v1::GetTaskResponse, Status>>,
    /// To any other call, by its name, as JSON.
    pub others: Vec<(&'static str, Result<Value, Status>)>,
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
            .add_service(DelegationServiceServer::new(services.clone()))
            .add_service(MailboxServiceServer::new(services.clone()))
            .add_service(TeamServiceServer::new(services.clone()))
            .add_service(FleetServiceServer::new(services.clone()))
            .add_service(ToolServiceServer::new(services))
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

    /// What comes next, which must be this call.
    pub async fn other(&mut self, call: &str) -> Value {
        match self.next().await {
            Asked::Other(name, request) if name == call => request,
            Asked::Other(name, request) => panic!("{name} was asked, not {call}: {request}"),
            _ => panic!("something else was asked, not {call}"),
        }
    }

    /// Whether nothing more was asked.
    pub fn is_asked_no_more(&mut self) -> bool {
        self.asked.try_recv().is_err()
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

    /// Tells of a call, and answers what the script has for it next.
    async fn other<Q: Serialize, A: DeserializeOwned>(
        &self,
        call: &'static str,
        request: Request<Q>,
    ) -> Answer<A> {
        let request = serde_json::to_value(request.into_inner()).unwrap();
        self.tell(Asked::Other(call, request)).await;
        let mut script = self.script.lock().unwrap();
        match script.others.iter().position(|(name, _)| *name == call) {
            None => Err(Status::internal("the script has no answer to this")),
            Some(at) => script
                .others
                .remove(at)
                .1
                .map(|answer| Response::new(serde_json::from_value(answer).unwrap())),
        }
    }
}

/// A service: calls that are told and answered as JSON, then those that are written out.
macro_rules! service {
    ($service:ident { $($call:ident: $request:ident => $answer:ident,)* } $($rest:tt)*) => {
        #[tonic::async_trait]
        impl $service for Services {
            $(
                async fn $call(&self, request: Request<v1::$request>) -> Answer<v1::$answer> {
                    self.other(stringify!($call), request).await
                }
            )*
            $($rest)*
        }
    };
}

service! {
    TaskService {
        batch_create_tasks: BatchCreateTasksRequest => BatchCreateTasksResponse,
        update_task: UpdateTaskRequest => UpdateTaskResponse,
        batch_update_tasks: BatchUpdateTasksRequest => BatchUpdateTasksResponse,
        claim_task: ClaimTaskRequest => ClaimTaskResponse,
        claim_next_task: ClaimNextTaskRequest => ClaimNextTaskResponse,
        renew_claim: RenewClaimRequest => RenewClaimResponse,
        release_task: ReleaseTaskRequest => ReleaseTaskResponse,
        reopen_task: ReopenTaskRequest => ReopenTaskResponse,
        delete_task: DeleteTaskRequest => DeleteTaskResponse,
        explain_task: ExplainTaskRequest => ExplainTaskResponse,
    }

    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Answer<v1::CreateTaskResponse> {
        let metadata = request.metadata().clone();
        self.tell(Asked::Created(request.into_inner().into(), metadata))
            .await;
        self.next(|script| &mut script.created)
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
}

service! {
    DelegationService {
        run_task: RunTaskRequest => RunTaskResponse,
        start_task: StartTaskRequest => StartTaskResponse,
        pause_task: PauseTaskRequest => PauseTaskResponse,
        resume_task: ResumeTaskRequest => ResumeTaskResponse,
        wait_tasks: WaitTasksRequest => WaitTasksResponse,
        answer_question: AnswerQuestionRequest => AnswerQuestionResponse,
        steer_task: SteerTaskRequest => SteerTaskResponse,
        cancel_tasks: CancelTasksRequest => CancelTasksResponse,
        pause_tasks: PauseTasksRequest => PauseTasksResponse,
        resume_tasks: ResumeTasksRequest => ResumeTasksResponse,
        list_agent_types: ListAgentTypesRequest => ListAgentTypesResponse,
    }

    type StreamTaskStream = Ends<v1::StreamTaskResponse>;
    type WatchTranscriptStream = Ends<v1::WatchTranscriptResponse>;

    async fn stream_task(
        &self,
        request: Request<v1::StreamTaskRequest>,
    ) -> Answer<Self::StreamTaskStream> {
        let (into, out) = mpsc::channel(16);
        self.tell(Asked::Streamed(request.into_inner().into(), into)).await;
        let mut answer = Response::new(ReceiverStream::new(out));
        answer
            .metadata_mut()
            .insert("ganger-task-id", "7".parse().unwrap());
        Ok(answer)
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
}

service! {
    MailboxService {
        send_message: SendMessageRequest => SendMessageResponse,
        receive_messages: ReceiveMessagesRequest => ReceiveMessagesResponse,
        ack_messages: AckMessagesRequest => AckMessagesResponse,
    }

    type WatchMailboxStream = Ends<v1::WatchMailboxResponse>;

    async fn watch_mailbox(
        &self,
        request: Request<v1::WatchMailboxRequest>,
    ) -> Answer<Self::WatchMailboxStream> {
        let (into, out) = mpsc::channel(16);
        self.tell(Asked::MailWatched(request.into_inner(), into))
            .await;
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

service! {
    TeamService {
        create_team: CreateTeamRequest => CreateTeamResponse,
        get_team: GetTeamRequest => GetTeamResponse,
        list_teams: ListTeamsRequest => ListTeamsResponse,
        update_team: UpdateTeamRequest => UpdateTeamResponse,
        dissolve_team: DissolveTeamRequest => DissolveTeamResponse,
        add_member: AddMemberRequest => AddMemberResponse,
        remove_member: RemoveMemberRequest => RemoveMemberResponse,
        hand_over_lead: HandOverLeadRequest => HandOverLeadResponse,
        list_members: ListMembersRequest => ListMembersResponse,
    }

    type WatchTeamStream = Ends<v1::WatchTeamResponse>;

    async fn watch_team(
        &self,
        _: Request<v1::WatchTeamRequest>,
    ) -> Answer<Self::WatchTeamStream> {
        Err(Status::unimplemented("no test asks this"))
    }
}

service! {
    ToolService {
        list_tools: ListToolsRequest => ListToolsResponse,
        call_tool: CallToolRequest => CallToolResponse,
    }
}

service! {
    FleetService {
        list_workers: ListWorkersRequest => ListWorkersResponse,
        get_worker: GetWorkerRequest => GetWorkerResponse,
        drain_worker: DrainWorkerRequest => DrainWorkerResponse,
        get_status: GetStatusRequest => GetStatusResponse,
    }

    type BackUpBoardStream = Ends<v1::BackUpBoardResponse>;

    async fn back_up_board(
        &self,
        _: Request<v1::BackUpBoardRequest>,
    ) -> Answer<Self::BackUpBoardStream> {
        Err(Status::unimplemented("no test asks this"))
    }
}
