//! `TaskService`.

use board::{
    command::{Call, NewTask, Wish},
    id::{TaskId, TeamName},
};
use ganger_proto::v1::{self, task_service_server::TaskService};
use tonic::{Request, Response, Status};

use super::{Services, caller::Identity, from_wire, status, team::unexpected, to_wire};
use crate::{artifacts::Digest, engine::Told};

#[tonic::async_trait]
impl TaskService for Services {
    async fn batch_update_tasks(
        &self,
        _request: Request<v1::BatchUpdateTasksRequest>,
    ) -> Result<Response<v1::BatchUpdateTasksResponse>, Status> {
        Err(super::status::pending())
    }

    async fn claim_next_task(
        &self,
        _request: Request<v1::ClaimNextTaskRequest>,
    ) -> Result<Response<v1::ClaimNextTaskResponse>, Status> {
        Err(super::status::pending())
    }

    async fn renew_claim(
        &self,
        _request: Request<v1::RenewClaimRequest>,
    ) -> Result<Response<v1::RenewClaimResponse>, Status> {
        Err(super::status::pending())
    }

    async fn release_task(
        &self,
        _request: Request<v1::ReleaseTaskRequest>,
    ) -> Result<Response<v1::ReleaseTaskResponse>, Status> {
        Err(super::status::pending())
    }

    async fn reopen_task(
        &self,
        _request: Request<v1::ReopenTaskRequest>,
    ) -> Result<Response<v1::ReopenTaskResponse>, Status> {
        Err(super::status::pending())
    }

    async fn delete_task(
        &self,
        _request: Request<v1::DeleteTaskRequest>,
    ) -> Result<Response<v1::DeleteTaskResponse>, Status> {
        Err(super::status::pending())
    }

    async fn explain_task(
        &self,
        _request: Request<v1::ExplainTaskRequest>,
    ) -> Result<Response<v1::ExplainTaskResponse>, Status> {
        Err(super::status::pending())
    }


    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Result<Response<v1::CreateTaskResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("CreateTask", &team, &request.request_id, &request)?;
        let tasks = vec![from_wire::new_task(from_wire::item(request))?];
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
        let tasks = request.tasks.into_iter().map(from_wire::new_task);
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
        let views = self.create(identity, team, id, tasks).await?;
        Ok(Response::new(v1::BatchCreateTasksResponse {
            tasks: views.iter().map(to_wire::brief_task).collect(),
        }))
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::GetTaskResponse>, Status> {
        let team = Identity::of(request.metadata())?.team(&request.get_ref().team)?;
        let task = from_wire::task_id("task_id", request.get_ref().task_id)?;
        let view = self.look(move |reader| reader.task(&team, task)).await?;
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
        let filter = from_wire::filter(&request)?;
        let size = from_wire::page_size(request.page_size)?;
        let after =
            match request.page_token.as_str() {
                "" => TaskId(0),
                token => TaskId(token.parse().map_err(|_| {
                    status::invalid("page_token", "is none that a list has answered")
                })?),
            };
        let listed = self
            .look(move |reader| reader.tasks(&team, &filter, after, size))
            .await?
            .map_err(|refusal| status::refusal(&refusal))?;
        Ok(Response::new(v1::ListTasksResponse {
            tasks: listed.page.items.iter().map(to_wire::brief_task).collect(),
            next_page_token: listed
                .page
                .next
                .map(|id| id.to_string())
                .unwrap_or_default(),
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
        let changes = Box::new(from_wire::update(request)?);
        let call = Call {
            caller: identity.caller,
            request: id,
            wish: Wish::UpdateTask(team, task, changes),
        };
        let Told::Updated {
            view,
            fields,
            status,
            unblocked,
            verification_nudge,
        } = self.decide(call).await?
        else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::UpdateTaskResponse {
            task: Some(to_wire::task(&view)),
            updated_fields: fields.names().map(ToOwned::to_owned).collect(),
            status_change: status.map(|(from, to)| v1::StatusChange {
                from: to_wire::status(from).into(),
                to: to_wire::status(to).into(),
            }),
            unblocked: unblocked.iter().map(|id| id.0).collect(),
            verification_nudge_needed: verification_nudge.is_some(),
            verification_nudge: verification_nudge.map(nudge).unwrap_or_default(),
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
        let call = Call {
            caller: identity.caller,
            request: id,
            wish: Wish::ClaimTask(team, task, expected),
        };
        let Told::Task(view) = self.decide(call).await? else {
            return Err(unexpected());
        };
        let task = to_wire::task(&view);
        Ok(Response::new(v1::ClaimTaskResponse {
            attempt: task.attempt_count,
            task: Some(task),
            lease_until: None,
        }))
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
        for input in tasks.iter().flat_map(|task| &task.inputs) {
            let digest = Digest::from(input.digest.0);
            let artifacts = self.artifacts.clone();
            let size = self.block(move || artifacts.size(&digest)).await?;
            size.map_err(|error| status::artifact(&error))?;
        }
        let call = Call {
            caller: identity.caller,
            request,
            wish: Wish::CreateTasks(team, tasks),
        };
        match self.decide(call).await? {
            Told::Tasks(views) => Ok(views),
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
