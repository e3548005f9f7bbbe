//! `TaskService`.

use board::{
    command::{Call, NewTask, Wish},
    id::{Revision, TeamName},
    task::Artifact,
};
use ganger_proto::v1::{self, task_service_server::TaskService};
use tonic::{Request, Response, Status};

use super::{Services, caller::Identity, from_wire, status, team::unexpected, to_wire};
use crate::{
    artifacts::Digest,
    engine::{Reader, Told, ToldUpdate},
};

#[tonic::async_trait]
impl TaskService for Services {
    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Result<Response<v1::CreateTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("CreateTask", &team, &request.request_id, &request)?;
        let tasks = vec![from_wire::new_task(from_wire::item(request), &team)?];
        let views = self.create(identity, team, id, tasks).await?;
        let task = views.first().map(to_wire::task);
        Ok(Response::new(v1::CreateTaskResponse { task }))
    }

    async fn batch_create_tasks(
        &self,
        request: Request<v1::BatchCreateTasksRequest>,
    ) -> Result<Response<v1::BatchCreateTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("BatchCreateTasks", &team, &request.request_id, &request)?;
        let tasks = request.tasks.into_iter();
        let tasks = tasks.map(|task| from_wire::new_task(task, &team));
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
        let views = self.create(identity, team, id, tasks).await?;
        let mut briefly = to_wire::Briefly::default();
        Ok(Response::new(v1::BatchCreateTasksResponse {
            tasks: views.iter().map(|view| briefly.task(view)).collect(),
        }))
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::GetTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let team = identity.team(&request.get_ref().team)?;
        let task = from_wire::task_id("task_id", request.get_ref().task_id)?;
        let look = move |reader: &mut Reader<'_>| reader.task(&team, task, &identity.caller);
        let view = self.look(look).await?;
        let view = view.map_err(|refusal| status::refusal(&refusal))?;
        Ok(Response::new(v1::GetTaskResponse {
            task: Some(to_wire::task(&view)),
        }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let wanted = from_wire::wanted(&request, &team)?;
        let listed = self
            .look(move |reader| reader.tasks(&team, &wanted, &identity.caller))
            .await?
            .map_err(|refusal| status::refusal(&refusal))?;
        let page = listed.page;
        let tasks = page.items.iter().map(|(view, depth)| v1::Task {
            depth: i32::try_from(*depth).unwrap_or(i32::MAX),
            ..to_wire::brief_task(view)
        });
        Ok(Response::new(v1::ListTasksResponse {
            tasks: tasks.collect(),
            next_page_token: page.next.map(from_wire::place_text).unwrap_or_default(),
            revision: listed.revision.0,
        }))
    }

    async fn update_task(
        &self,
        request: Request<v1::UpdateTaskRequest>,
    ) -> Result<Response<v1::UpdateTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("UpdateTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let changes = Box::new(from_wire::update(request, &team)?);
        self.check_uploaded(&changes.add_outputs).await?;
        let wish = Wish::UpdateTask(team, task, changes);
        let Told::Updated(told) = self.wish(identity, id, wish).await? else {
            return Err(unexpected());
        };
        Ok(Response::new(updated(&told, to_wire::task(&told.view))))
    }

    async fn batch_update_tasks(
        &self,
        request: Request<v1::BatchUpdateTasksRequest>,
    ) -> Result<Response<v1::BatchUpdateTasksResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("BatchUpdateTasks", &team, &request.request_id, &request)?;
        let changes = request.updates.into_iter().map(|update| {
            if !update.team.is_empty() || !update.request_id.is_empty() {
                let why = "have a team or a request id of their own";
                return Err(status::invalid("updates", why));
            }
            let task = from_wire::task_id("updates.task_id", update.task_id)?;
            Ok((task, from_wire::update(update, &team)?))
        });
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        for (_, change) in &changes {
            self.check_uploaded(&change.add_outputs).await?;
        }
        let wish = Wish::UpdateTasks(team, changes);
        let Told::Batch(all) = self.wish(identity, id, wish).await? else {
            return Err(unexpected());
        };
        let mut briefly = to_wire::Briefly::default();
        let updates = all
            .iter()
            .map(|told| updated(told, briefly.task(&told.view)));
        Ok(Response::new(v1::BatchUpdateTasksResponse {
            updates: updates.collect(),
        }))
    }

    async fn claim_task(
        &self,
        request: Request<v1::ClaimTaskRequest>,
    ) -> Result<Response<v1::ClaimTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("ClaimTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let expected = from_wire::revision(request.expected_revision);
        let is_said = request.lease.is_some() || request.no_lease;
        let lease = from_wire::lease(request.lease.as_ref(), request.no_lease)?;
        let wish = Wish::ClaimTask(team, task, expected, is_said.then_some(lease));
        let (view, renewed) = match self.wish(identity, id, wish).await? {
            Told::Task(view) => (view, false),
            Told::Renewed(view) => (view, true),
            _ => return Err(unexpected()),
        };
        let task = to_wire::task(&view);
        Ok(Response::new(v1::ClaimTaskResponse {
            attempt: task.attempt_count,
            lease_until: task.lease_until,
            task: Some(task),
            renewed,
        }))
    }

    async fn claim_next_task(
        &self,
        request: Request<v1::ClaimNextTaskRequest>,
    ) -> Result<Response<v1::ClaimNextTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("ClaimNextTask", &team, &request.request_id, &request)?;
        let wish = Wish::ClaimNext(team, from_wire::claim_next(request)?);
        match self.wish(identity, id, wish).await? {
            Told::Task(view) => {
                let task = to_wire::task(&view);
                Ok(Response::new(v1::ClaimNextTaskResponse {
                    attempt: task.attempt_count,
                    lease_until: task.lease_until,
                    task: Some(task),
                }))
            }
            Told::NothingReady => Ok(Response::new(v1::ClaimNextTaskResponse::default())),
            _ => Err(unexpected()),
        }
    }

    async fn renew_claim(
        &self,
        request: Request<v1::RenewClaimRequest>,
    ) -> Result<Response<v1::RenewClaimResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let attempt = from_wire::attempt(request.attempt)?;
        let wish = Wish::RenewClaim(team, task, attempt);
        let Told::Task(view) = self.wish(identity, None, wish).await? else {
            return Err(unexpected());
        };
        let lease = view.task.claim().and_then(|claim| claim.lease);
        let lease_until = lease.map(|lease| to_wire::time(self.clock.now() + lease));
        Ok(Response::new(v1::RenewClaimResponse { lease_until }))
    }

    async fn release_task(
        &self,
        request: Request<v1::ReleaseTaskRequest>,
    ) -> Result<Response<v1::ReleaseTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("ReleaseTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let attempt = from_wire::attempt(request.attempt)?;
        let wish = Wish::ReleaseTask(team, task, attempt, request.reason.into());
        let task = Some(self.change(identity, id, wish).await?);
        Ok(Response::new(v1::ReleaseTaskResponse { task }))
    }

    async fn reopen_task(
        &self,
        request: Request<v1::ReopenTaskRequest>,
    ) -> Result<Response<v1::ReopenTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("ReopenTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let expected = from_wire::revision(request.expected_revision);
        let wish = Wish::ReopenTask(team, task, expected, request.reason.into());
        let Told::Reopened {
            view,
            blocked,
            started,
        } = self.wish(identity, id, wish).await?
        else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::ReopenTaskResponse {
            task: Some(to_wire::task(&view)),
            blocked: to_wire::ids(&blocked),
            started: to_wire::ids(&started),
        }))
    }

    async fn delete_task(
        &self,
        request: Request<v1::DeleteTaskRequest>,
    ) -> Result<Response<v1::DeleteTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("DeleteTask", &team, &request.request_id, &request)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let expected = from_wire::revision(request.expected_revision);
        let wish = Wish::DeleteTask(team, task, expected);
        let Told::Deleted { unblocked } = self.wish(identity, id, wish).await? else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::DeleteTaskResponse {
            unblocked: to_wire::ids(&unblocked),
        }))
    }

    async fn explain_task(
        &self,
        request: Request<v1::ExplainTaskRequest>,
    ) -> Result<Response<v1::ExplainTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let task = from_wire::task_id("task_id", request.task_id)?;
        let size = from_wire::page_size(request.page_size)?;
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(Revision(token.parse().map_err(|_| {
                status::invalid("page_token", "is none that an explanation has answered")
            })?)),
        };
        let look = move |reader: &mut Reader<'_>| {
            reader.explain(&team, task, before, size, &identity.caller)
        };
        let explained = self.look(look).await?;
        let explained = explained.map_err(|refusal| status::refusal(&refusal))?;
        Ok(Response::new(to_wire::explained(&explained)))
    }
}

/// What a change came to, with the task as it is told.
fn updated(told: &ToldUpdate, task: v1::Task) -> v1::UpdateTaskResponse {
    v1::UpdateTaskResponse {
        task: Some(task),
        updated_fields: told.fields.names().map(ToOwned::to_owned).collect(),
        status_change: told.status.map(|(from, to)| v1::StatusChange {
            from: to_wire::status(from).into(),
            to: to_wire::status(to).into(),
        }),
        unblocked: to_wire::ids(&told.unblocked),
        verification_nudge_needed: told.verification_nudge.is_some(),
        verification_nudge: told.verification_nudge.map(nudge).unwrap_or_default(),
    }
}

impl Services {
    /// Puts tasks on a team's board. What they want to have put into their sandboxes must be
    /// there.
    pub(super) async fn create(
        &self,
        identity: Identity,
        team: TeamName,
        request: Option<board::record::Request>,
        tasks: Vec<NewTask>,
    ) -> Result<Vec<board::view::TaskView>, Status> {
        for task in &tasks {
            self.check_uploaded(&task.inputs).await?;
        }
        match self
            .wish(identity, request, Wish::CreateTasks(team, tasks))
            .await?
        {
            Told::Tasks(views) => Ok(views),
            _ => Err(unexpected()),
        }
    }

    /// Refuses artifacts that are not there.
    async fn check_uploaded(&self, files: &[Artifact]) -> Result<(), Status> {
        for file in files {
            let digest = Digest::from(file.digest.0);
            let artifacts = self.artifacts.clone();
            let size = self.block(move || artifacts.hold(&digest)).await?;
            size.map_err(|error| status::artifact(&error))?;
        }
        Ok(())
    }

    /// Has a wish decided.
    pub(super) async fn wish(
        &self,
        identity: Identity,
        request: Option<board::record::Request>,
        wish: Wish,
    ) -> Result<Told, Status> {
        self.decide(Call {
            caller: identity.caller,
            request,
            wish,
        })
        .await
    }

    /// Has a wish decided that is answered with a task.
    pub(super) async fn change(
        &self,
        identity: Identity,
        request: Option<board::record::Request>,
        wish: Wish,
    ) -> Result<v1::Task, Status> {
        match self.wish(identity, request, wish).await? {
            Told::Task(view) => Ok(to_wire::task(&view)),
            _ => Err(unexpected()),
        }
    }

    /// Does something that blocks, off the runtime's own threads.
    pub(super) async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let done = self.tasks.spawn_blocking(work).await;
        done.map_err(|panic| status::internal(&panic))
    }
}

fn nudge(closed: u32) -> String {
    format!(
        "{closed} tasks were completed since the last verification: make a task of kind \
         VERIFICATION for somebody who did none of them, before you go on."
    )
}
