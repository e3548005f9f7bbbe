//! `DelegationService`: one call makes a task and has a worker run it.

mod follow;
mod lend;
mod stream;
mod wait;
mod watch;

use board::{
    command::{Sweep, SweepWhat, Wish},
    id::{AttemptNumber, TaskId, TeamName},
    view::TaskView,
};
use ganger_proto::{
    TASK_ID_KEY,
    v1::{self, delegation_service_server::DelegationService},
};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use self::{follow::Follow, watch::WatchTranscript};
use super::{
    Services,
    body::{Answers, Sink},
    caller::Identity,
    from_wire, status,
    team::unexpected,
    to_wire,
};
use crate::{driver::NotTaken, engine::Told, handle::Unavailable};

/// The fields that the three ways to delegate have in common, as a RunTaskRequest.
macro_rules! as_run_task {
    ($request:expr) => {{
        let request = $request;
        v1::RunTaskRequest {
            team: request.team,
            description: request.description,
            prompt: request.prompt,
            agent_type: request.agent_type,
            subagent_type: request.subagent_type,
            request_id: request.request_id,
            client_task_id: request.client_task_id,
            priority: request.priority,
            labels: request.labels,
            blocked_by: request.blocked_by,
            parent_task_id: request.parent_task_id,
            deadline: request.deadline,
            timeout: request.timeout,
            inputs: request.inputs,
            output_globs: request.output_globs,
            metadata: request.metadata,
            share_todos: request.share_todos,
            retry: request.retry,
            failure_policy: request.failure_policy,
            crash_limit: request.crash_limit,
            worker_labels: request.worker_labels,
            outlive_parent: request.outlive_parent,
            window: request.window,
            joins_task_id: request.joins_task_id,
            // Who waits how makes no other request of it.
            cancel_on_disconnect: false,
            return_on_question: false,
        }
    }};
}

#[tonic::async_trait]
impl DelegationService for Services {
    async fn pause_task(
        &self,
        request: Request<v1::PauseTaskRequest>,
    ) -> Result<Response<v1::PauseTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("PauseTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let wish = Wish::PauseTask(team, task, request.reason.into());
        let task = Some(self.change(identity, id, wish).await?);
        Ok(Response::new(v1::PauseTaskResponse { task }))
    }

    async fn resume_task(
        &self,
        request: Request<v1::ResumeTaskRequest>,
    ) -> Result<Response<v1::ResumeTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("ResumeTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let task = Some(
            self.change(identity, id, Wish::ResumeTask(team, task))
                .await?,
        );
        Ok(Response::new(v1::ResumeTaskResponse { task }))
    }

    async fn answer_question(
        &self,
        request: Request<v1::AnswerQuestionRequest>,
    ) -> Result<Response<v1::AnswerQuestionResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("AnswerQuestion", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let number = u32::try_from(request.question)
            .map_err(|_| status::invalid("question", "is below zero"))?;
        let number = (number != 0).then_some(number);
        let wish = Wish::AnswerQuestion(team, task, number, request.text.into());
        let task = Some(self.change(identity, id, wish).await?);
        Ok(Response::new(v1::AnswerQuestionResponse { task }))
    }

    async fn steer_task(
        &self,
        request: Request<v1::SteerTaskRequest>,
    ) -> Result<Response<v1::SteerTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("SteerTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let wish = Wish::SteerTask(team, task, request.text.into());
        let task = Some(self.change(identity, id, wish).await?);
        Ok(Response::new(v1::SteerTaskResponse { task }))
    }

    async fn cancel_tasks(
        &self,
        request: Request<v1::CancelTasksRequest>,
    ) -> Result<Response<v1::CancelTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("CancelTasks", &team, &request.request_id, &request)?;
        let sweep = from_wire::sweep(&team, SweepWhat::Cancel, request.filter, request.reason)?;
        let (changed, more, last_task_id) = self.sweep(identity, id, team, sweep).await?;
        Ok(Response::new(v1::CancelTasksResponse {
            changed,
            more,
            last_task_id,
        }))
    }

    async fn pause_tasks(
        &self,
        request: Request<v1::PauseTasksRequest>,
    ) -> Result<Response<v1::PauseTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("PauseTasks", &team, &request.request_id, &request)?;
        let sweep = from_wire::sweep(&team, SweepWhat::Pause, request.filter, request.reason)?;
        let (changed, more, last_task_id) = self.sweep(identity, id, team, sweep).await?;
        Ok(Response::new(v1::PauseTasksResponse {
            changed,
            more,
            last_task_id,
        }))
    }

    async fn resume_tasks(
        &self,
        request: Request<v1::ResumeTasksRequest>,
    ) -> Result<Response<v1::ResumeTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("ResumeTasks", &team, &request.request_id, &request)?;
        let sweep = from_wire::sweep(&team, SweepWhat::Resume, request.filter, String::new())?;
        let (changed, more, last_task_id) = self.sweep(identity, id, team, sweep).await?;
        Ok(Response::new(v1::ResumeTasksResponse {
            changed,
            more,
            last_task_id,
        }))
    }

    async fn wait_tasks(
        &self,
        request: Request<v1::WaitTasksRequest>,
    ) -> Result<Response<v1::WaitTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        wait::wait(self, &identity, request.into_inner())
            .await
            .map(Response::new)
    }

    /// Never called over the wire, where [`super::run_task`] stands before it to send the task's
    /// id at once; the answer is the same.
    async fn run_task(
        &self,
        request: Request<v1::RunTaskRequest>,
    ) -> Result<Response<v1::RunTaskResponse>, Status> {
        let (metadata, mut answers, _) = self.run(request).await?.into_parts();
        let answer = answers.next().await.unwrap_or_else(|| Err(unexpected()))?;
        Ok(Response::from_parts(
            metadata,
            answer,
            http::Extensions::new(),
        ))
    }

    type StreamTaskStream = Answers<v1::StreamTaskResponse>;

    async fn stream_task(
        &self,
        request: Request<v1::StreamTaskRequest>,
    ) -> Result<Response<Self::StreamTaskStream>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let cancels = request.cancel_on_disconnect;
        let view = self.delegate(&identity, as_run_task!(request)).await?;
        let follow = Follow::new(self, &identity, view.team.clone(), view.task.id).await?;
        let lent = lend::run(&follow, &identity).await?;
        let (sink, answers) = Sink::new();
        let canceller = cancels.then(|| identity.clone());
        self.tasks
            .spawn(stream::stream(follow, sink, canceller, lent));
        Ok(with_task_id(answers, view.task.id))
    }

    async fn start_task(
        &self,
        request: Request<v1::StartTaskRequest>,
    ) -> Result<Response<v1::StartTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = as_run_task!(request.into_inner());
        let view = self.delegate(&identity, request).await?;
        let answer = v1::StartTaskResponse {
            task: Some(to_wire::task(&view)),
        };
        Ok(with_task_id(answer, view.task.id))
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Result<Response<v1::CancelTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("CancelTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let wish = Wish::CancelTask(team, task, request.reason.into());
        let task = Some(self.change(identity, id, wish).await?);
        Ok(Response::new(v1::CancelTaskResponse { task }))
    }

    type WatchTranscriptStream = Answers<v1::WatchTranscriptResponse>;

    async fn watch_transcript(
        &self,
        request: Request<v1::WatchTranscriptRequest>,
    ) -> Result<Response<Self::WatchTranscriptStream>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let after = u64::try_from(request.after_index)
            .map_err(|_| status::invalid("after_index", "is below zero"))?;
        let attempt = u32::try_from(request.attempt)
            .map_err(|_| status::invalid("attempt", "is below zero"))?;
        let limit = usize::try_from(request.limit)
            .map_err(|_| status::invalid("limit", "is below zero"))?;
        let follow = Follow::new(self, &identity, team, task).await?;
        let latest = follow.view().await?.task.last_attempt;
        if attempt > latest.0 {
            let why = format!("is {attempt}, and the task's last one is {latest}");
            return Err(status::invalid("attempt", why));
        }
        let (sink, answers) = Sink::new();
        let watch = WatchTranscript {
            follow,
            attempt: AttemptNumber(attempt),
            after,
            is_following: !request.no_follow,
            left: Some(limit).filter(|limit| *limit > 0),
        };
        self.tasks.spawn(watch.run(sink));
        Ok(Response::new(answers))
    }

    async fn list_agent_types(
        &self,
        _request: Request<v1::ListAgentTypesRequest>,
    ) -> Result<Response<v1::ListAgentTypesResponse>, Status> {
        let types = self.look(|reader| reader.agent_types()).await?;
        Ok(Response::new(v1::ListAgentTypesResponse {
            agent_types: types.iter().map(to_wire::agent_type).collect(),
        }))
    }
}

/// Puts the task's id into the initial metadata of an answer.
fn with_task_id<T>(answer: T, task: TaskId) -> Response<T> {
    let mut response = Response::new(answer);
    response
        .metadata_mut()
        .insert(TASK_ID_KEY, MetadataValue::from(task.0));
    response
}

impl Services {
    /// RunTask as a stream of its one answer, so that the task's id goes out before it.
    pub(super) async fn run(
        &self,
        request: Request<v1::RunTaskRequest>,
    ) -> Result<Response<Answers<v1::RunTaskResponse>>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let cancels = request.cancel_on_disconnect;
        let returns_early = request.return_on_question;
        let view = self.delegate(&identity, as_run_task!(request)).await?;
        let (team, id) = (view.team.clone(), view.task.id);
        let follow = Follow::new(self, &identity, team.clone(), id).await?;
        let lent = lend::run(&follow, &identity).await?;
        let (sink, answers) = Sink::new();
        let services = self.clone();
        self.tasks.spawn(async move {
            let over = async {
                let end = services.handle.wait(follow.key);
                let over = match returns_early {
                    false => end.await?,
                    true => tokio::select! {
                        over = end => over?,
                        view = wait::until_hindered(&services, &identity, team, id) => Ok(view),
                    },
                };
                lent.take_back(&services.handle).await?;
                Ok(over)
            };
            let over = tokio::select! {
                over = over => over,
                () = services.stop.cancelled() => Err(closed()),
                () = sink.gone() => {
                    if cancels {
                        follow.cancel(&identity, "the caller went away");
                    }
                    return;
                }
            };
            match over {
                Ok(Ok(view)) => {
                    let task = Some(to_wire::task(&view));
                    // A reader that left in this very moment has no use for it.
                    let _ = sink.put(v1::RunTaskResponse { task }).await;
                }
                Ok(Err(refusal)) => sink.fail(status::refusal(&refusal)).await,
                Err(why) => sink.fail(status::unavailable(why)).await,
            }
        });
        Ok(with_task_id(answers, view.task.id))
    }

    /// Changes what a filter finds. Answers how many, whether there are more, and where to go on.
    async fn sweep(
        &self,
        identity: Identity,
        id: Option<board::record::Request>,
        team: TeamName,
        sweep: Sweep,
    ) -> Result<(i32, bool, u64), Status> {
        let wish = Wish::SweepTasks(team, Box::new(sweep));
        match self.wish(identity, id, wish).await? {
            Told::Swept {
                count,
                is_more,
                last,
            } => Ok((i32::try_from(count).unwrap_or(i32::MAX), is_more, last.0)),
            _ => Err(unexpected()),
        }
    }

    /// Makes the task; or finds the one that the same request made.
    async fn delegate(
        &self,
        identity: &Identity,
        request: v1::RunTaskRequest,
    ) -> Result<TaskView, Status> {
        let team = identity.team(&request.team)?;
        // One name for the three ways: the same request joins the same task by any of them.
        let id = identity.request("Delegate", &team, &request.request_id, &request)?;
        let mut task = from_wire::new_task(from_wire::delegated(request), &team)?;
        task.is_delegated = true;
        if task.agent_type.is_none() {
            return Err(status::invalid(
                "agent_type",
                "is blank: nobody would run the task",
            ));
        }
        let views = self.create(identity.clone(), team, id, vec![task]).await?;
        views.into_iter().next().ok_or_else(unexpected)
    }
}

fn closed() -> Unavailable {
    Unavailable::NotTaken(NotTaken::Closed)
}
