//! TaskUpdate: a task changes, or goes.

use std::fmt::Write as _;

use ganger_proto::v1::{self, task_service_server::TaskService};
use serde_json::{Value, json};

use super::{
    args::{Object, arguments},
    board::hashes,
    json::{self, camel, ids},
    kinds::{AnyObject, Count, Id, Word, Words, number, numbers},
    refusal::{No, Refusal},
    registry::{Answer, Caller, Hints, Tool},
};

/// What a status may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewStatus {
    Status(v1::TaskStatus),
    Deleted,
}

impl Words for NewStatus {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("pending", Self::Status(v1::TaskStatus::Pending)),
        ("in_progress", Self::Status(v1::TaskStatus::InProgress)),
        ("completed", Self::Status(v1::TaskStatus::Completed)),
        ("failed", Self::Status(v1::TaskStatus::Failed)),
        ("cancelled", Self::Status(v1::TaskStatus::Cancelled)),
        ("deleted", Self::Deleted),
    ];
}

arguments! {
    /// TaskUpdate.
    #[derive(Default, PartialEq)]
    TaskUpdate {
        /// The task's id.
        task_id = "taskId": Id,
        /// Where it stands now. It only moves forward; in_progress begins it, completed, failed
        /// and cancelled end it for good, deleted takes it off the board.
        status = "status": Option<Word<NewStatus>>,
        /// The member whose task it is from now on; "" for nobody's.
        owner = "owner": Option<String>,
        /// The new subject.
        subject = "subject": Option<String>,
        /// The new description.
        description = "description": Option<String>,
        /// What the board shows while it is being done: "Writing SQL".
        active_form = "activeForm": Option<String>,
        /// Ids of tasks that are to wait for this one.
        add_blocks = "addBlocks": Option<Vec<Id>>,
        /// Ids of tasks that this one is to wait for.
        add_blocked_by = "addBlockedBy": Option<Vec<Id>>,
        /// Ids of tasks that are not to wait for this one any more.
        remove_blocks = "removeBlocks": Option<Vec<Id>>,
        /// Ids of tasks that this one is not to wait for any more.
        remove_blocked_by = "removeBlockedBy": Option<Vec<Id>>,
        /// Merged into the task's metadata key by key; null deletes a key.
        metadata = "metadata": Option<AnyObject>,
        /// What came out, when you complete it; what went wrong, when it failed.
        result = "result": Option<String>,
        /// Why it was cancelled or failed.
        reason = "reason": Option<String>,
        /// How soon it should run, compared with others.
        priority = "priority": Option<Word<v1::TaskPriority>>,
        /// Labels to add.
        add_labels = "addLabels": Option<Vec<String>>,
        /// Labels to remove.
        remove_labels = "removeLabels": Option<Vec<String>>,
        /// The agent type that is to run it; "" for none.
        agent_type = "agentType": Option<String>,
        /// What its sub-agent is told.
        prompt = "prompt": Option<String>,
        /// The attempt that your claim began: a later one is then not touched.
        attempt = "attempt": Option<Count>,
        /// Change nothing unless the task's revision is this one.
        expected_revision = "expectedRevision": Option<Id>,
        /// Stop the running attempt where it is in the way of the change, rather than be refused.
        stop_running = "stopRunning": Option<bool>,
    }
}

impl Tool for TaskUpdate {
    const NAME: &'static str = "TaskUpdate";
    const DESCRIPTION: &'static str = "\
Changes a task: all that you say, or nothing.\n\
Set status in_progress when you begin it, and completed (with result) only when it is really \
done; a task that others wait for frees them then. A task with open blockers can't begin. A task \
that a worker runs is ended by its worker alone: use cancel_task to stop it. Answers which \
fields changed, the change of status, which tasks became free (unblocked), and whether somebody \
should verify the work now.";
    const HINTS: Hints = Hints::ENDS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        match self.status {
            Some(Word(NewStatus::Deleted)) => self.delete(caller).await,
            Some(Word(NewStatus::Status(status))) => self.update(caller, status.into()).await,
            None => self.update(caller, 0).await,
        }
    }
}

impl TaskUpdate {
    async fn update(self, caller: &Caller, status: i32) -> Result<Answer, No> {
        let task_id = self.task_id.0;
        let request = caller.say(v1::UpdateTaskRequest {
            team: caller.team.clone(),
            task_id,
            status,
            owner: self.owner,
            subject: self.subject,
            description: self.description,
            active_form: self.active_form,
            add_blocks: numbers(self.add_blocks),
            add_blocked_by: numbers(self.add_blocked_by),
            remove_blocks: numbers(self.remove_blocks),
            remove_blocked_by: numbers(self.remove_blocked_by),
            metadata: self.metadata.map(Into::into),
            priority: number(self.priority),
            result: self.result,
            reason: self.reason.unwrap_or_default(),
            add_labels: self.add_labels.unwrap_or_default(),
            remove_labels: self.remove_labels.unwrap_or_default(),
            agent_type: self.agent_type,
            prompt: self.prompt,
            attempt: self.attempt.map_or(0, |attempt| attempt.0),
            expected_revision: self.expected_revision.map_or(0, |id| id.0),
            stop_running: self.stop_running.unwrap_or_default(),
            request_id: caller.request_id.clone(),
            ..v1::UpdateTaskRequest::default()
        });
        let answer = caller.services.update_task(request).await?.into_inner();
        Ok(updated(task_id, &answer))
    }

    async fn delete(self, caller: &Caller) -> Result<Answer, No> {
        let task_id = self.task_id.0;
        let expected_revision = self.expected_revision.map_or(0, |id| id.0);
        self.refuse_more()?;
        let look = caller.say(v1::GetTaskRequest {
            team: caller.team.clone(),
            task_id,
        });
        // Only to tell what it was: where there is none, the call itself says so, or it has been
        // deleted by the same request before.
        let before = match caller.services.get_task(look).await {
            Ok(answer) => answer.into_inner().task,
            Err(_) => None,
        };
        let request = caller.say(v1::DeleteTaskRequest {
            team: caller.team.clone(),
            task_id,
            expected_revision,
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.delete_task(request).await?.into_inner();
        let from = before.map(|task| json::status(task.status()));
        let mut text = format!("Task #{task_id} deleted.");
        add_unblocked(&mut text, &answer.unblocked);
        let result = json!({
            "success": true,
            "taskId": task_id.to_string(),
            "updatedFields": ["deleted"],
            "statusChange": {"from": from, "to": "deleted"},
            "unblocked": ids(&answer.unblocked),
            "verificationNudgeNeeded": false,
        });
        Ok(Answer::new(result, text))
    }

    /// A task that is deleted takes no other change: doing half of what was asked is worse than
    /// asking again.
    fn refuse_more(&self) -> Result<(), Refusal> {
        let bare = Self {
            task_id: self.task_id,
            status: self.status,
            expected_revision: self.expected_revision,
            ..Self::default()
        };
        if *self == bare {
            return Ok(());
        }
        Err(Refusal {
            error: "a task that is deleted takes no other change".to_owned(),
            reason: "ARGUMENT_INVALID".to_owned(),
            next: "give taskId and status alone, or make the other changes without deleting"
                .to_owned(),
            facts: Object::new(),
        })
    }
}

fn updated(task_id: u64, answer: &v1::UpdateTaskResponse) -> Answer {
    let fields: Vec<String> = answer
        .updated_fields
        .iter()
        .map(|name| camel(name))
        .collect();
    let mut text = if fields.is_empty() {
        format!("Task #{task_id} was so already: nothing changed.")
    } else {
        format!("Updated task #{task_id}: {}.", fields.join(", "))
    };
    let change = answer.status_change.as_ref();
    let change = change.map(|change| (json::status(change.from()), json::status(change.to())));
    if let Some((from, to)) = &change {
        let _ = write!(text, " It was {from}, and is {to}.");
    }
    add_unblocked(&mut text, &answer.unblocked);
    if answer.verification_nudge_needed {
        let _ = write!(text, "\n{}", answer.verification_nudge);
    }
    let mut result = json!({
        "success": true,
        "taskId": task_id.to_string(),
        "updatedFields": fields,
        "unblocked": ids(&answer.unblocked),
        "verificationNudgeNeeded": answer.verification_nudge_needed,
    });
    if let Some((from, to)) = change {
        result["statusChange"] = json!({"from": from, "to": to});
    }
    if answer.verification_nudge_needed {
        result["verificationNudge"] = Value::from(answer.verification_nudge.as_str());
    }
    Answer::new(result, text)
}

fn add_unblocked(text: &mut String, unblocked: &[u64]) {
    if !unblocked.is_empty() {
        let _ = write!(text, " Nothing blocks {} any more.", hashes(unblocked));
    }
}
