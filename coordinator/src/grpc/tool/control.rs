//! The tools that hold a task, give it back, or begin it anew: pause_task, resume_task,
//! release_task, reopen_task.

use std::fmt::Write as _;

use ganger_proto::v1::{
    self, delegation_service_server::DelegationService, task_service_server::TaskService,
};

use super::{
    args::arguments,
    board::hashes,
    delegation::about,
    json::ids,
    kinds::{Count, Id},
    refusal::No,
    registry::{Answer, Caller, Hints, Tool},
};

arguments! {
    /// pause_task.
    PauseTask {
        /// The task's id.
        task_id = "task_id": Id,
        /// Why, for whoever finds it paused.
        reason = "reason": Option<String>,
    }
}

impl Tool for PauseTask {
    const NAME: &'static str = "pause_task";
    const DESCRIPTION: &'static str = "\
Holds a pending task: no worker gets it and nobody can claim it until resume_task.\n\
Use it to keep work back while you think or wait for somebody. A task that is running is \
refused: cancel_task stops it.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::PauseTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            reason: self.reason.unwrap_or_default(),
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.pause_task(request).await?.into_inner();
        let task = answer.task.unwrap_or_default();
        let text = format!("Task #{} is paused.", task.id);
        Ok(about(task, &text))
    }
}

arguments! {
    /// resume_task.
    ResumeTask {
        /// The task's id.
        task_id = "task_id": Id,
    }
}

impl Tool for ResumeTask {
    const NAME: &'static str = "resume_task";
    const DESCRIPTION: &'static str = "\
Lets a paused task go on: one that you paused, or one that the coordinator holds because its \
tries were used up.\n\
Answers how it stands now.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::ResumeTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.resume_task(request).await?.into_inner();
        let task = answer.task.unwrap_or_default();
        let text = format!("Task #{} goes on.", task.id);
        Ok(about(task, &text))
    }
}

arguments! {
    /// release_task.
    ReleaseTask {
        /// The task's id.
        task_id = "task_id": Id,
        /// The attempt that your claim began: a later one is then not touched.
        attempt = "attempt": Option<Count>,
        /// Why, for whoever takes it next.
        reason = "reason": Option<String>,
    }
}

impl Tool for ReleaseTask {
    const NAME: &'static str = "release_task";
    const DESCRIPTION: &'static str = "\
Gives a claimed task back unfinished: it is pending again, and others can claim it.\n\
Use it when you can't finish what you claimed. A lead can release a member's claim.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::ReleaseTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            attempt: self.attempt.map_or(0, |attempt| attempt.0),
            reason: self.reason.unwrap_or_default(),
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.release_task(request).await?.into_inner();
        let task = answer.task.unwrap_or_default();
        let text = format!("Task #{} is given back.", task.id);
        Ok(about(task, &text))
    }
}

arguments! {
    /// reopen_task.
    ReopenTask {
        /// The task's id.
        task_id = "task_id": Id,
        /// Why, for whoever does it again.
        reason = "reason": String,
        /// Reopen it only if its revision is still this one.
        expected_revision = "expected_revision": Option<Id>,
    }
}

impl Tool for ReopenTask {
    const NAME: &'static str = "reopen_task";
    const DESCRIPTION: &'static str = "\
Puts a task that is over back to pending, for another attempt: say what was wrong.\n\
Pending tasks that depend on it are blocked again (blocked); those that have started since go on \
(started), and may need a look.";
    const HINTS: Hints = Hints::CHANGES;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::ReopenTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            reason: self.reason,
            expected_revision: self.expected_revision.map_or(0, |id| id.0),
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.reopen_task(request).await?.into_inner();
        let task = answer.task.unwrap_or_default();
        let mut text = format!("Task #{} is open again.", task.id);
        if !answer.blocked.is_empty() {
            let _ = write!(text, " Blocked by it now: {}.", hashes(&answer.blocked));
        }
        if !answer.started.is_empty() {
            let started = hashes(&answer.started);
            let _ = write!(text, " Started since it was over: {started}.");
        }
        let mut told = about(task, &text);
        told.result.insert("blocked".into(), ids(&answer.blocked));
        told.result.insert("started".into(), ids(&answer.started));
        Ok(told)
    }
}
