//! The tools of delegation: task, check_task, wait_tasks, steer_task, cancel_task.

use std::{fmt::Write as _, time::Duration};

use ganger_proto::v1::{
    self, delegation_service_server::DelegationService, task_service_server::TaskService,
};
use serde_json::{Value, json};

use super::{
    args::{Object, arguments},
    bound::{TEXTS_MAX, cut_task, cut_tasks, tell_cuts},
    json::{self, Case},
    kinds::{AnyObject, Id, Seconds, Word, number, numbers},
    mail::Ack,
    refusal::No,
    registry::{Answer, Caller, Hints, Tool},
};

/// How long wait_tasks waits when nothing is said: what models' hosts commonly allow a call.
const WAIT_SPAN: Duration = Duration::from_secs(300);

/// How many tasks wait_tasks tells; of the others it tells the ids.
const TOLD_MAX: usize = 40;

arguments! {
    /// task.
    Task {
        /// What it is about, in 3 to 5 words; the task's subject.
        description = "description": String,
        /// All that the sub-agent is told. It sees nothing of your conversation: name files,
        /// facts and what you want back. For a command type such as `shell`, the command.
        prompt = "prompt": String,
        /// The agent type that is to do it.
        subagent_type = "subagent_type": String,
        /// Answer the task's id at once, and let it run; read the result later by wait_tasks or
        /// check_task. Otherwise the answer comes when the task is over.
        run_in_background = "run_in_background": Option<bool>,
        /// Ids of tasks that must be completed before; their results go with it.
        blocked_by = "blocked_by": Option<Vec<Id>>,
        /// The id of the task that this one is part of.
        parent_task_id = "parent_task_id": Option<Id>,
        /// How soon it should run, compared with others.
        priority = "priority": Option<Word<v1::TaskPriority>>,
        /// Words to find it by.
        labels = "labels": Option<Vec<String>>,
        /// How long one try may run.
        timeout = "timeout_seconds": Option<Seconds>,
        /// Which files to keep, such as "report.md" or "out/**".
        output_globs = "output_globs": Option<Vec<String>>,
        /// Any JSON object that you want kept with the task.
        metadata = "metadata": Option<AnyObject>,
        /// Let the sub-agent see this board, rather than only tasks of its own.
        share_todos = "share_todos": Option<bool>,
        /// Cancel the task when this call is cancelled or its connection breaks.
        cancel_on_disconnect = "cancel_on_disconnect": Option<bool>,
    }
}

impl Tool for Task {
    const NAME: &'static str = "task";
    const DESCRIPTION: &'static str = "\
Has a sub-agent do something, in a sandbox of its own on a worker, and answers what came out.\n\
Use it for work that can be done apart from your conversation; call it several times with \
run_in_background for work side by side. The task is on the board too, and goes on if your call \
is cut off: check_task and wait_tasks find it by its id. Answers before its end when the \
sub-agent asks something: use answer_question with its task_id, then wait_tasks; and when it \
can't get on without you or a person (stuck: why). A status of failed or cancelled is told with \
the error.";
    const HINTS: Hints = Hints::CHANGES.long();

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let in_background = self.run_in_background.unwrap_or_default();
        let request = v1::RunTaskRequest {
            team: caller.team.clone(),
            description: self.description,
            prompt: self.prompt,
            subagent_type: self.subagent_type,
            priority: number(self.priority),
            labels: self.labels.unwrap_or_default(),
            blocked_by: numbers(self.blocked_by),
            parent_task_id: self.parent_task_id.map_or(0, |id| id.0),
            timeout: self.timeout.map(Into::into),
            output_globs: self.output_globs.unwrap_or_default(),
            metadata: self.metadata.map(Into::into),
            share_todos: self.share_todos.unwrap_or_default(),
            cancel_on_disconnect: self.cancel_on_disconnect.unwrap_or_default(),
            return_on_question: true,
            request_id: caller.request_id.clone(),
            ..v1::RunTaskRequest::default()
        };
        if in_background {
            let request = caller.say(in_the_background(request));
            let started = caller.services.start_task(request).await?.into_inner();
            return Ok(about(started.task.unwrap_or_default(), ""));
        }
        let request = caller.say(request);
        let ran = caller.services.run_task(request).await?.into_inner();
        let task = ran.task.unwrap_or_default();
        if task.finished_at.is_some() || task.question.is_some() {
            return Ok(about(task, ""));
        }
        let look = caller.say(v1::WaitTasksRequest {
            team: caller.team.clone(),
            task_ids: vec![task.id],
            timeout: Some(Seconds(Duration::ZERO).into()),
            ..v1::WaitTasksRequest::default()
        });
        let seen = caller.services.wait_tasks(look).await?.into_inner();
        let mut answer = about(task, "");
        let stuck = seen.stuck.iter();
        for stuck in stuck.clone() {
            let next = "do what it waits for, then wait_tasks for it";
            let _ = write!(answer.text, "\nStuck: {}\nNext: {next}", stuck.because);
        }
        let stuck = stuck.map(waits_in_vain).collect();
        answer.result.insert("stuck".into(), stuck);
        Ok(answer)
    }
}

/// An answer about one task: what was done, and how it stands.
pub fn about(mut task: v1::Task, done: &str) -> Answer {
    let cuts = cut_task(&mut task);
    let mut result = state(&task);
    let mut text = course(&task);
    if !done.is_empty() {
        text = format!("{done}\n{text}");
    }
    tell_cuts(&mut result, &mut text, task.id, &cuts);
    Answer::new(result.into(), text)
}

/// The same without what speaks of waiting.
fn in_the_background(request: v1::RunTaskRequest) -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        team: request.team,
        description: request.description,
        prompt: request.prompt,
        subagent_type: request.subagent_type,
        request_id: request.request_id,
        priority: request.priority,
        labels: request.labels,
        blocked_by: request.blocked_by,
        parent_task_id: request.parent_task_id,
        timeout: request.timeout,
        output_globs: request.output_globs,
        metadata: request.metadata,
        share_todos: request.share_todos,
        ..v1::StartTaskRequest::default()
    }
}

/// How a task stands, and what came out.
fn state(task: &v1::Task) -> Object {
    let keys = [
        "subject",
        "status",
        "owner",
        "runner",
        "phase",
        "phase_reason",
        "question",
        "open_blockers",
        "result",
        "error",
        "stop_reason",
        "outputs",
        "attempt_count",
        "usage",
        "started_at",
        "finished_at",
        "line",
    ];
    let mut state = json::some(json::told(task, Case::Snake), &keys);
    state.insert("task_id".into(), task.id.to_string().into());
    state
}

/// The same in words.
fn course(task: &v1::Task) -> String {
    let mut text = task.line.clone();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(text, "\n{name}: {value}");
        }
    };
    match &task.question {
        Some(question) => {
            add("Asks, and waits for your answer_question", &question.text);
            let id = task.id;
            let next = format!("answer_question with task_id {id}, then wait_tasks for it");
            add("Next", &next);
        }
        None => add("Why", &task.phase_reason),
    }
    add("Result", &task.result);
    add("Error", &task.error);
    for file in &task.outputs {
        add(
            "File",
            &format!(
                "{} ({} bytes, sha256 {})",
                file.path, file.size, file.sha256
            ),
        );
    }
    text
}

arguments! {
    /// check_task.
    CheckTask {
        /// The task's id.
        task_id = "task_id": Id,
    }
}

impl Tool for CheckTask {
    const NAME: &'static str = "check_task";
    const DESCRIPTION: &'static str = "\
Tells how a task stands right now: its status and, while it isn't over, every reason why it \
isn't running or who is at it; once it is, its whole result or error.\n\
Doesn't wait.";
    const HINTS: Hints = Hints::LOOKS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::ExplainTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            page_size: 1,
            ..v1::ExplainTaskRequest::default()
        });
        let told = caller.services.explain_task(request).await?.into_inner();
        let Answer {
            mut result,
            mut text,
        } = about(told.task.unwrap_or_default(), "");
        for because in &told.because {
            let _ = write!(text, "\n{}: {}", because.reason, because.text);
        }
        let because = told
            .because
            .iter()
            .map(|because| json::told(because, Case::Snake));
        result.insert("because".into(), because.collect::<Vec<_>>().into());
        Ok(Answer::new(result.into(), text))
    }
}

arguments! {
    /// wait_tasks.
    WaitTasks {
        /// The tasks to wait for.
        task_ids = "task_ids": Vec<Id>,
        /// all (when left out): until every task is over; any: until one is.
        mode = "mode": Option<Word<v1::WaitUntil>>,
        /// How many seconds at the most; 300 when left out. The tasks go on after that.
        timeout = "timeout": Option<Seconds>,
        /// Wait on although one of them asks, or none can get on.
        wait_on = "wait_on": Option<bool>,
    }
}

impl Tool for WaitTasks {
    const NAME: &'static str = "wait_tasks";
    const DESCRIPTION: &'static str = "\
Waits until tasks are over: completed, failed or cancelled.\n\
Answers before that when one of them asks something (questions: use answer_question with its \
task_id) and when none of them can get on without you or a person (stuck: each with why). Do \
what is wanted, then wait again. \
Use mode any to act on each as it finishes, then wait again for the rest. A time-out stops \
nothing: wait again, or do something else. Long results are cut, and cut says of which tasks: \
TaskGet reads on. Of more than 40 tasks the first are told whole, of the others the ids.";
    const HINTS: Hints = Hints::LOOKS.long();

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let timeout = self.timeout.unwrap_or(Seconds(WAIT_SPAN));
        let request = caller.say(v1::WaitTasksRequest {
            team: caller.team.clone(),
            task_ids: numbers(Some(self.task_ids)),
            until: number(self.mode),
            timeout: Some(timeout.into()),
            wait_on: self.wait_on.unwrap_or_default(),
        });
        let mut waited = caller.services.wait_tasks(request).await?.into_inner();
        let total = waited.tasks.len();
        let others = waited.tasks.split_off(total.min(TOLD_MAX));
        let cuts = cut_tasks(&mut waited.tasks, TEXTS_MAX);
        let mut text = format!("{}/{total} finished", waited.finished);
        if waited.timed_out {
            text.push_str("; the time was over first, and the rest goes on");
        }
        for stuck in waited.stuck.iter().take(TOLD_MAX) {
            let _ = write!(text, "\nStuck: #{} {}.", stuck.task_id, stuck.because);
        }
        let mut tasks = Vec::new();
        for (task, cuts) in waited.tasks.iter().zip(&cuts) {
            let _ = write!(text, "\n{}", course(task));
            let mut told = state(task);
            tell_cuts(&mut told, &mut text, task.id, cuts);
            tasks.push(Value::Object(told));
        }
        let ids = |is_over: bool| {
            let those = others
                .iter()
                .filter(|task| task.finished_at.is_some() == is_over);
            Ack::of(those.map(|task| task.id)).0
        };
        let (over, open) = (ids(true), ids(false));
        if !others.is_empty() {
            let more = others.len();
            let _ = write!(text, "\nand {more} more: check_task tells each.");
        }
        for (name, ids) in [("over", &over), ("not over", &open)] {
            if !ids.is_empty() {
                let _ = write!(text, " {name}: {ids}.");
            }
        }
        if waited.verification_nudge_needed {
            text.push_str("\nIt is time for somebody to verify the work who did none of it.");
        }
        let mut result = json!({
            "finished": waited.finished,
            "total": total,
            "timed_out": waited.timed_out,
            "questions": waited.questions.iter().take(TOLD_MAX).map(asks).collect::<Value>(),
            "stuck": waited.stuck.iter().take(TOLD_MAX).map(waits_in_vain).collect::<Value>(),
            "tasks": tasks,
            "verification_nudge_needed": waited.verification_nudge_needed,
        });
        if !others.is_empty() {
            result["others"] = json!({"over": over, "not_over": open});
        }
        Ok(Answer::new(result, text))
    }
}

fn asks(waiting: &v1::WaitingQuestion) -> Value {
    let question = waiting.question.clone().unwrap_or_default();
    let mut told = json::told(&question, Case::Snake);
    told.insert("task_id".into(), waiting.task_id.to_string().into());
    told.into()
}

fn waits_in_vain(stuck: &v1::StuckTask) -> Value {
    json!({"task_id": stuck.task_id.to_string(), "because": stuck.because})
}

arguments! {
    /// steer_task.
    SteerTask {
        /// The task's id.
        task_id = "task_id": Id,
        /// What its sub-agent is to know from its next step on.
        message = "message": String,
    }
}

impl Tool for SteerTask {
    const NAME: &'static str = "steer_task";
    const DESCRIPTION: &'static str = "\
Tells the sub-agent of a running task something that it has not asked: a correction, a new fact.\n\
It has it before its next step. Refused where its agent type can't be told anything while it \
runs. For what it asks use answer_question.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::SteerTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            text: self.message,
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.steer_task(request).await?.into_inner();
        let task = answer.task.unwrap_or_default();
        let text = format!("The sub-agent of task #{} is told.", task.id);
        Ok(about(task, &text))
    }
}

arguments! {
    /// cancel_task.
    CancelTask {
        /// The task's id.
        task_id = "task_id": Id,
        /// Why, for whoever did it and for the history.
        reason = "reason": Option<String>,
    }
}

impl Tool for CancelTask {
    const NAME: &'static str = "cancel_task";
    const DESCRIPTION: &'static str = "\
Calls a task off.\n\
One that runs is asked to stop, killed after a few seconds, and cancelled when that is \
confirmed; until then its phase is stopping. One that is over is refused.";
    const HINTS: Hints = Hints::ENDS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::CancelTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            reason: self.reason.unwrap_or_default(),
            request_id: caller.request_id.clone(),
        });
        let answer = caller.services.cancel_task(request).await?.into_inner();
        let task = answer.task.unwrap_or_default();
        let text = match task.status() {
            v1::TaskStatus::Cancelled => format!("Task #{} is cancelled.", task.id),
            _ => format!("Task #{} is being stopped.", task.id),
        };
        Ok(about(task, &text))
    }
}
