//! `DelegationService`: one call makes a task and has a worker run it.

use board::{
    command::{Call, Wish},
    event::Event,
    id::{AttemptNumber, Revision, TaskId, TaskKey, TeamName},
    task::{EndStatus, StopReason},
    view::TaskView,
};
use ganger_proto::{
    TASK_ID_KEY,
    v1::{self, delegation_service_server::DelegationService},
};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{
    Services,
    body::{Answers, Gone, Sink},
    caller::Identity,
    from_wire, status,
    team::unexpected,
    to_wire,
    transcript::{self, Tail},
};
use crate::{driver::NotTaken, engine::Told, handle::Unavailable, hub::Watcher};

/// The fields that the three ways to delegate have in common, as a RunTaskRequest.
macro_rules! as_run_task {
    ($request:expr, $cancel_on_disconnect:expr) => {{
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
            cancel_on_disconnect: $cancel_on_disconnect,
        }
    }};
}

#[tonic::async_trait]
impl DelegationService for Services {
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
        let view = self
            .delegate(&identity, as_run_task!(request, false))
            .await?;
        let follow = Follow::new(self, view.team.clone(), view.task.id).await?;
        let (sink, answers) = Sink::new();
        let canceller = cancels.then(|| identity.clone());
        self.tasks.spawn(stream(follow, sink, canceller));
        Ok(with_task_id(answers, view.task.id))
    }

    async fn start_task(
        &self,
        request: Request<v1::StartTaskRequest>,
    ) -> Result<Response<v1::StartTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = as_run_task!(request.into_inner(), false);
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
        let call = Call {
            caller: identity.caller,
            request: id,
            wish: Wish::CancelTask(team, task, request.reason.into()),
        };
        let Told::Task(view) = self.decide(call).await? else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::CancelTaskResponse {
            task: Some(to_wire::task(&view)),
        }))
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
        let follow = Follow::new(self, team, task).await?;
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
        let view = self
            .delegate(&identity, as_run_task!(request, false))
            .await?;
        let follow = Follow::new(self, view.team.clone(), view.task.id).await?;
        let (sink, answers) = Sink::new();
        let services = self.clone();
        self.tasks.spawn(async move {
            let over = tokio::select! {
                over = services.handle.wait(follow.key) => over,
                () = services.stop.cancelled() => Err(closed()),
                () = sink.gone() => {
                    if cancels {
                        follow.cancel(&identity);
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

    /// Makes the task; or finds the one that the same request made.
    async fn delegate(
        &self,
        identity: &Identity,
        request: v1::RunTaskRequest,
    ) -> Result<TaskView, Status> {
        let team = identity.team(&request.team)?;
        // One name for the three ways: the same request joins the same task by any of them.
        let id = identity.request("Delegate", &team, &request.request_id, &request)?;
        let task = from_wire::new_task(from_wire::delegated(request))?;
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

/// Follows one task.
struct Follow {
    services: Services,
    team: TeamName,
    key: TaskKey,
    watcher: Watcher,
    seen: Revision,
}

impl Follow {
    async fn new(services: &Services, team: TeamName, task: TaskId) -> Result<Self, Status> {
        let watched = team.clone();
        let look = move |reader: &mut crate::engine::Reader<'_>| {
            let key = reader.task_key(&watched, task)?;
            reader.watch(&watched).map(|(watcher, _)| (key, watcher))
        };
        let (key, watcher) = services
            .look(look)
            .await?
            .map_err(|refusal| status::refusal(&refusal))?;
        Ok(Self {
            services: services.clone(),
            team,
            key,
            // Nothing is missed: the task is looked at before the first wait.
            seen: watcher.latest(),
            watcher,
        })
    }

    async fn view(&self) -> Result<TaskView, Status> {
        let (team, task) = (self.team.clone(), self.key.1);
        let view = self
            .services
            .look(move |reader| reader.task(&team, task))
            .await?;
        view.map_err(|refusal| status::refusal(&refusal))
    }

    /// Waits until something has happened to the task.
    async fn changed(&mut self) {
        loop {
            self.watcher.past(self.seen).await;
            let latest = self.watcher.latest();
            let missed = usize::try_from(latest.0 - self.seen.0).unwrap_or(usize::MAX);
            let recent = self.watcher.recent(self.seen, missed);
            self.seen = latest;
            let is_about = |event: &Event| event.what.task() == Some(self.key.1);
            // Where the ring doesn't reach back, it may have been among what is not there.
            if recent.is_none_or(|events| events.iter().any(|event| is_about(event))) {
                return;
            }
        }
    }

    fn cancel(&self, identity: &Identity) {
        let reason = "the caller went away".into();
        let call = Call {
            caller: identity.caller.clone(),
            request: None,
            wish: Wish::CancelTask(self.team.clone(), self.key.1, reason),
        };
        if let Err(why) = self.services.handle.call_unheard(call) {
            tracing::warn!(team = %self.team, task = %self.key.1, %why, "can't cancel for a caller that went away");
        }
    }
}

/// Streams what happens to a task until it is over. `canceller` is who wants it cancelled when
/// the reader goes away.
async fn stream(
    mut follow: Follow,
    sink: Sink<v1::StreamTaskResponse>,
    canceller: Option<Identity>,
) {
    let told = tokio::select! {
        told = tell(&mut follow, &sink) => told,
        () = sink.gone() => Err(Stopped::Gone),
    };
    match told {
        Ok(()) => {}
        Err(Stopped::Failed(status)) => sink.fail(status).await,
        Err(Stopped::Gone) => {
            if let Some(identity) = canceller {
                follow.cancel(&identity);
            }
        }
    }
}

/// Why a stream ends before its time.
enum Stopped {
    Gone,
    Failed(Status),
}

impl From<Gone> for Stopped {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<Status> for Stopped {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<crate::transcripts::TranscriptError> for Stopped {
    fn from(error: crate::transcripts::TranscriptError) -> Self {
        Self::Failed(status::transcript(&error))
    }
}

async fn tell(follow: &mut Follow, sink: &Sink<v1::StreamTaskResponse>) -> Result<(), Stopped> {
    let mut attempt = AttemptNumber(0);
    let mut tail: Option<Tail> = None;
    loop {
        // What the task is, is asked before what was written: so that nothing written before its
        // end can be missed.
        let view = follow.view().await?;
        if let Some(begun) = begun_after(&view, attempt) {
            if let Some(tail) = &mut tail {
                drain(tail, sink, follow.key.1, attempt).await?;
            }
            attempt = begun;
            let key = transcript::key(follow.key, attempt);
            tail = Some(Tail::new(&follow.services, key, 0).await?);
            sink.put(v1::StreamTaskResponse {
                r#type: "task_started".into(),
                task_id: follow.key.1.0,
                attempt: i32::try_from(attempt.0).unwrap_or(i32::MAX),
                ..v1::StreamTaskResponse::default()
            })
            .await?;
        }
        if let Some(tail) = &mut tail {
            drain(tail, sink, follow.key.1, attempt).await?;
        }
        if view.task.end().is_some() {
            sink.put(ending(&view, attempt)).await?;
            return Ok(());
        }
        let stop = follow.services.stop.clone();
        tokio::select! {
            () = follow.changed() => {}
            () = news(&mut tail) => {}
            () = stop.cancelled() => return Err(status::unavailable(closed()).into()),
        }
    }
}

/// The latest attempt whose sub-agent has begun, if it is a later one than this.
fn begun_after(view: &TaskView, attempt: AttemptNumber) -> Option<AttemptNumber> {
    let placed = view.task.placement();
    let running = placed.filter(|p| p.started_at.is_some()).map(|p| p.attempt);
    let ended = view.task.attempts.iter().rev();
    let ended = ended.filter(|a| a.started_at.is_some()).map(|a| a.number);
    let latest = running.into_iter().chain(ended).max()?;
    (latest > attempt).then_some(latest)
}

/// Waits for news of a transcript; for ever where there will be none.
async fn news(tail: &mut Option<Tail>) {
    if let Some(open) = tail {
        if open.news().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
    std::future::pending().await
}

async fn drain(
    tail: &mut Tail,
    sink: &Sink<v1::StreamTaskResponse>,
    task: TaskId,
    attempt: AttemptNumber,
) -> Result<(), Stopped> {
    loop {
        let page = tail.page().await?;
        if page.records.is_empty() {
            return Ok(());
        }
        for record in page.records {
            sink.put(v1::StreamTaskResponse {
                r#type: "task_running".into(),
                task_id: task.0,
                attempt: i32::try_from(attempt.0).unwrap_or(i32::MAX),
                kind: record.kind,
                index: record.index,
                message: record.text,
                ..v1::StreamTaskResponse::default()
            })
            .await?;
        }
    }
}

fn ending(view: &TaskView, attempt: AttemptNumber) -> v1::StreamTaskResponse {
    let end = view.task.end();
    let stop_reason = end.and_then(|end| end.stop_reason);
    let kind = match end.map(|end| end.status) {
        Some(EndStatus::Completed) => "task_completed",
        Some(EndStatus::Cancelled) => "task_cancelled",
        _ if stop_reason == Some(StopReason::Timeout) => "task_timed_out",
        _ => "task_failed",
    };
    let task = to_wire::task(view);
    v1::StreamTaskResponse {
        r#type: kind.into(),
        task_id: task.id,
        attempt: i32::try_from(attempt.0).unwrap_or(i32::MAX),
        result: task.result.clone(),
        error: task.error.clone(),
        stop_reason: task.stop_reason,
        usage: task.usage,
        task: Some(task),
        ..v1::StreamTaskResponse::default()
    }
}

/// One reader of one attempt's transcript.
struct WatchTranscript {
    follow: Follow,
    attempt: AttemptNumber,
    after: u64,
    is_following: bool,
}

impl WatchTranscript {
    async fn run(mut self, sink: Sink<v1::WatchTranscriptResponse>) {
        let told = tokio::select! {
            told = self.tell(&sink) => told,
            () = sink.gone() => Err(Stopped::Gone),
        };
        if let Err(Stopped::Failed(status)) = told {
            sink.fail(status).await;
        }
    }

    async fn tell(&mut self, sink: &Sink<v1::WatchTranscriptResponse>) -> Result<(), Stopped> {
        let mut tail: Option<Tail> = None;
        loop {
            let view = self.follow.view().await?;
            if self.attempt.0 == 0 {
                self.attempt = view.task.last_attempt;
            }
            if tail.is_none() && self.attempt.0 != 0 {
                let key = transcript::key(self.follow.key, self.attempt);
                tail = Some(Tail::new(&self.follow.services, key, self.after).await?);
            }
            if let Some(tail) = &mut tail {
                self.drain(tail, sink).await?;
            }
            let runs = view
                .task
                .placement()
                .is_some_and(|placement| placement.attempt == self.attempt);
            let is_over = view.task.end().is_some() || (self.attempt.0 != 0 && !runs);
            if is_over || !self.is_following {
                return Ok(());
            }
            let stop = self.follow.services.stop.clone();
            tokio::select! {
                () = self.follow.changed() => {}
                () = news(&mut tail) => {}
                () = stop.cancelled() => return Err(status::unavailable(closed()).into()),
            }
        }
    }

    async fn drain(
        &self,
        tail: &mut Tail,
        sink: &Sink<v1::WatchTranscriptResponse>,
    ) -> Result<(), Stopped> {
        loop {
            let page = tail.page().await?;
            if page.records.is_empty() {
                return Ok(());
            }
            sink.put(v1::WatchTranscriptResponse {
                records: page.records,
                attempt: i32::try_from(self.attempt.0).unwrap_or(i32::MAX),
                synced_through: i64::try_from(page.synced_through).unwrap_or(i64::MAX),
            })
            .await?;
        }
    }
}
