//! Calls of the board that tests make again and again.

use ganger_proto::{ATTEMPT_KEY, ATTEMPT_SECRET_KEY, v1};
use tonic::Status;

use crate::{Client, agent, patiently};

/// A task that says no more than what it is.
pub fn new_task(subject: &str) -> v1::NewTask {
    v1::NewTask {
        subject: subject.into(),
        ..v1::NewTask::default()
    }
}

/// The ids of tasks, in their order.
pub fn ids_of(tasks: &[v1::Task]) -> Vec<u64> {
    tasks.iter().map(|task| task.id).collect()
}

impl Client {
    /// The same as the sub-agent of an attempt, as its worker can.
    #[must_use]
    pub fn sub_agent(self, assignment: &v1::Assignment) -> Self {
        let fence = assignment.fence.as_ref();
        let fence = fence.expect("an assignment has a fence");
        self.claiming(fence)
            .saying(ATTEMPT_SECRET_KEY, &assignment.secret)
    }

    /// The same as somebody who says that it is the sub-agent of an attempt, and shows no secret.
    #[must_use]
    pub fn claiming(self, fence: &v1::Fence) -> Self {
        let v1::Fence {
            epoch,
            team_uid,
            task_id,
            attempt,
        } = fence;
        self.saying(
            ATTEMPT_KEY,
            &format!("{epoch}/{team_uid}/{task_id}/{attempt}"),
        )
    }

    /// Makes a team of agents, and speaks as its lead.
    pub async fn team_of(self, team: &str, agents: &[&str]) -> Self {
        self.create_team(team, agents.iter().map(|name| agent(name)))
            .await;
        self.in_team(team)
    }

    /// Puts tasks on the board in one commit, and answers their ids.
    pub async fn plan(&self, tasks: Vec<v1::NewTask>) -> Vec<u64> {
        let request = v1::BatchCreateTasksRequest {
            tasks,
            ..v1::BatchCreateTasksRequest::default()
        };
        let made = patiently("BatchCreateTasks", self.task().batch_create_tasks(request)).await;
        ids_of(&made.unwrap().into_inner().tasks)
    }

    /// Tells a task, where the caller may know it.
    pub async fn try_get(&self, task_id: u64) -> Result<v1::Task, Status> {
        let request = v1::GetTaskRequest {
            task_id,
            ..v1::GetTaskRequest::default()
        };
        let got = patiently("GetTask", self.task().get_task(request)).await?;
        Ok(got.into_inner().task.unwrap())
    }

    /// Changes a task, where that is allowed.
    pub async fn try_update(
        &self,
        task_id: u64,
        change: impl FnOnce(&mut v1::UpdateTaskRequest),
    ) -> Result<v1::UpdateTaskResponse, Status> {
        let mut request = v1::UpdateTaskRequest {
            task_id,
            ..v1::UpdateTaskRequest::default()
        };
        change(&mut request);
        let updated = patiently("UpdateTask", self.task().update_task(request)).await?;
        Ok(updated.into_inner())
    }

    /// Changes a task.
    pub async fn update(
        &self,
        task_id: u64,
        change: impl FnOnce(&mut v1::UpdateTaskRequest),
    ) -> v1::UpdateTaskResponse {
        self.try_update(task_id, change).await.unwrap()
    }

    /// Gives a task another status, where that is allowed.
    pub async fn try_set(
        &self,
        task_id: u64,
        status: v1::TaskStatus,
    ) -> Result<v1::UpdateTaskResponse, Status> {
        self.try_update(task_id, |update| update.status = status.into())
            .await
    }

    /// Gives a task another status.
    pub async fn set(&self, task_id: u64, status: v1::TaskStatus) -> v1::UpdateTaskResponse {
        self.try_set(task_id, status).await.unwrap()
    }

    /// Claims a task for as long as said, where that is allowed.
    pub async fn claim_for(
        &self,
        task_id: u64,
        lease: Option<pbjson_types::Duration>,
    ) -> Result<v1::Task, Status> {
        let request = v1::ClaimTaskRequest {
            task_id,
            no_lease: lease.is_none(),
            lease,
            ..v1::ClaimTaskRequest::default()
        };
        let claimed = patiently("ClaimTask", self.task().claim_task(request)).await?;
        let claimed = claimed.into_inner();
        let task = claimed.task.unwrap();
        assert_eq!(
            (claimed.attempt, claimed.lease_until),
            (task.attempt_count, task.lease_until)
        );
        Ok(task)
    }

    /// Deletes a task, where that is allowed, and answers what that freed.
    pub async fn try_delete(&self, task_id: u64) -> Result<Vec<u64>, Status> {
        let request = v1::DeleteTaskRequest {
            task_id,
            ..v1::DeleteTaskRequest::default()
        };
        let deleted = patiently("DeleteTask", self.task().delete_task(request)).await?;
        Ok(deleted.into_inner().unblocked)
    }

    /// One page of a list.
    pub async fn try_list(
        &self,
        request: v1::ListTasksRequest,
    ) -> Result<v1::ListTasksResponse, Status> {
        let listed = patiently("ListTasks", self.task().list_tasks(request)).await?;
        Ok(listed.into_inner())
    }

    /// A list, all pages of it.
    pub async fn list(&self, ask: impl FnOnce(&mut v1::ListTasksRequest)) -> Vec<v1::Task> {
        let mut request = v1::ListTasksRequest::default();
        ask(&mut request);
        let mut tasks = Vec::new();
        loop {
            let page = self.try_list(request.clone()).await.unwrap();
            tasks.extend(page.tasks);
            if page.next_page_token.is_empty() {
                return tasks;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Why a task is where it is, and the latest of what happened to it.
    pub async fn explain(&self, task_id: u64) -> v1::ExplainTaskResponse {
        self.try_explain(v1::ExplainTaskRequest {
            task_id,
            ..v1::ExplainTaskRequest::default()
        })
        .await
        .unwrap()
    }

    /// The same with more said, where that is allowed.
    pub async fn try_explain(
        &self,
        request: v1::ExplainTaskRequest,
    ) -> Result<v1::ExplainTaskResponse, Status> {
        let explained = patiently("ExplainTask", self.task().explain_task(request)).await?;
        Ok(explained.into_inner())
    }

    /// Waits for tasks, where that is allowed.
    pub async fn try_wait(
        &self,
        request: v1::WaitTasksRequest,
    ) -> Result<v1::WaitTasksResponse, Status> {
        let waited = patiently("WaitTasks", self.delegation().wait_tasks(request)).await?;
        Ok(waited.into_inner())
    }
}
