//! The tools of the task board: TaskCreate, TaskGet, TaskList, claim_task.

use std::fmt::Write as _;

use ganger_proto::v1::{self, task_service_server::TaskService};
use serde_json::{Value, json};

use super::{
    args::{Object, arguments},
    bound::{self, cut_task, tell_cuts},
    json::{self, Case, ids},
    kinds::{AnyObject, Count, Id, Seconds, Word, Words, number, numbers},
    listing::fits,
    refusal::No,
    registry::{Answer, Caller, Hints, Tool},
};

arguments! {
    /// TaskCreate.
    TaskCreate {
        /// What is to be done, in a line, as an order: "Create migration script".
        subject = "subject": String,
        /// What is to be done, at length, with all that whoever does it must know.
        description = "description": Option<String>,
        /// The same as the subject while it is being done, for the board: "Writing SQL".
        active_form = "activeForm": Option<String>,
        /// Any JSON object that you want kept with the task.
        metadata = "metadata": Option<AnyObject>,
        /// The member whose task it is. A hosted member begins as soon as nothing blocks the task;
        /// others are told by mail.
        owner = "owner": Option<String>,
        /// Ids of tasks that must be completed before this one can begin.
        blocked_by = "blockedBy": Option<Vec<Id>>,
        /// Ids of tasks that can't begin before this one is completed.
        blocks = "blocks": Option<Vec<Id>>,
        /// How soon it should run, compared with others.
        priority = "priority": Option<Word<v1::TaskPriority>>,
        /// Words to find it by.
        labels = "labels": Option<Vec<String>>,
        /// The agent type that is to run it, on a worker. Leave it out for a task that you or a
        /// member will claim.
        agent_type = "agentType": Option<String>,
        /// What the sub-agent is told, where that isn't subject and description: for a command
        /// type such as `shell`, the command.
        prompt = "prompt": Option<String>,
        /// The id of the task that this one is part of.
        parent_task_id = "parentTaskId": Option<Id>,
        /// `verification` for a task that looks whether other work is right.
        kind = "kind": Option<Word<v1::TaskKind>>,
        /// How long one try may run.
        timeout = "timeoutSeconds": Option<Seconds>,
        /// Which files to keep, such as "report.md" or "out/**".
        output_globs = "outputGlobs": Option<Vec<String>>,
        /// Let its sub-agent see this board, rather than only tasks of its own.
        share_todos = "shareTodos": Option<bool>,
    }
}

impl Tool for TaskCreate {
    const NAME: &'static str = "TaskCreate";
    const DESCRIPTION: &'static str = "\
Puts a task on the team's board.\n\
Use it to plan work of several steps: one task for each step, blockedBy for those that must wait \
for others. A task with an agentType, or with a hosted owner, is run by a worker as soon as \
nothing blocks it; every other task waits until somebody claims it (claim_task, or TaskUpdate \
with status in_progress). Answers the task's id.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = v1::CreateTaskRequest {
            team: caller.team.clone(),
            subject: self.subject,
            description: self.description.unwrap_or_default(),
            active_form: self.active_form.unwrap_or_default(),
            owner: self.owner.unwrap_or_default(),
            blocks: numbers(self.blocks),
            blocked_by: numbers(self.blocked_by),
            metadata: self.metadata.map(Into::into),
            priority: number(self.priority),
            labels: self.labels.unwrap_or_default(),
            agent_type: self.agent_type.unwrap_or_default(),
            prompt: self.prompt.unwrap_or_default(),
            parent_task_id: self.parent_task_id.map_or(0, |id| id.0),
            kind: number(self.kind),
            timeout: self.timeout.map(Into::into),
            output_globs: self.output_globs.unwrap_or_default(),
            share_todos: self.share_todos.unwrap_or_default(),
            request_id: caller.request_id.clone(),
            ..v1::CreateTaskRequest::default()
        };
        let answer = caller.services.create_task(caller.say(request)).await?;
        let task = answer.into_inner().task.unwrap_or_default();
        let text = format!("Task #{} created: {}", task.id, task.subject);
        let told = json!({"id": task.id.to_string(), "subject": task.subject});
        Ok(Answer::new(json!({ "task": told }), text))
    }
}

/// The texts of a task that may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongField {
    Description,
    Prompt,
    Result,
    Error,
    Question,
    Metadata,
}

impl Words for LongField {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("description", Self::Description),
        ("prompt", Self::Prompt),
        ("result", Self::Result),
        ("error", Self::Error),
        ("question", Self::Question),
        ("metadata", Self::Metadata),
    ];
}

arguments! {
    /// TaskGet.
    TaskGet {
        /// The task's id.
        task_id = "taskId": Id,
        /// Only this text of the task, a page of it: for one that was cut.
        field = "field": Option<Word<LongField>>,
        /// With field: from which character on.
        offset = "offset": Option<Count>,
    }
}

impl Tool for TaskGet {
    const NAME: &'static str = "TaskGet";
    const DESCRIPTION: &'static str = "\
Tells one task whole: description, owner, status, what it waits for (blockedBy; openBlockers are \
those that still hold it back), what waits for it (blocks), metadata, attempts, result and \
error.\n\
Use it before you begin a task, and to read a finished one. A text that is too long for an answer \
is cut, and cut says where: read on with field and offset.";
    const HINTS: Hints = Hints::LOOKS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::GetTaskRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
        });
        let answer = caller.services.get_task(request).await?.into_inner();
        let mut task = answer.task.unwrap_or_default();
        if let Some(Word(field)) = self.field {
            let offset = self.offset.map_or(0, |offset| offset.0);
            return Ok(page(
                &task,
                field,
                usize::try_from(offset).unwrap_or_default(),
            ));
        }
        let cuts = cut_task(&mut task);
        let mut text = whole(&task);
        let mut told = json::told(&task, Case::Camel);
        json::with_defaults(
            &mut told,
            json!({
                "description": "", "owner": null, "metadata": {},
                "blocks": [], "blockedBy": [], "openBlockers": [],
            }),
        );
        let mut result = Object::new();
        result.insert("task".into(), told.into());
        tell_cuts(&mut result, &mut text, task.id, &cuts);
        Ok(Answer::new(result.into(), text))
    }
}

/// A page of one text of a task.
fn page(task: &v1::Task, field: LongField, offset: usize) -> Answer {
    let question = task.question.as_ref().map(|question| question.text.clone());
    let (name, text) = match field {
        LongField::Description => ("description", task.description.clone()),
        LongField::Prompt => ("prompt", task.prompt.clone()),
        LongField::Result => ("result", task.result.clone()),
        LongField::Error => ("error", task.error.clone()),
        LongField::Question => ("question", question.unwrap_or_default()),
        LongField::Metadata => ("metadata", bound::metadata_text(task)),
    };
    let page = bound::page(&text, offset);
    let mut words = page.text.to_owned();
    let mut result = json!({
        "taskId": task.id.to_string(),
        "field": name,
        "offset": offset,
        "characters": page.of,
        "text": page.text,
    });
    if let Some(next) = page.next {
        result["nextOffset"] = next.into();
        let _ = write!(
            words,
            "\n[Characters {offset} to {next} of {}: go on with offset {next}.]",
            page.of
        );
    }
    Answer::new(result, words)
}

/// A task in words.
fn whole(task: &v1::Task) -> String {
    let mut text = format!(
        "Task {}\nStatus: {}",
        task.line,
        json::status(task.status())
    );
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(text, "\n{name}: {value}");
        }
    };
    add("Owner", &task.owner);
    add("Description", &task.description);
    add("Blocked by", &hashes(&task.blocked_by));
    add("Open blockers", &hashes(&task.open_blockers));
    add("Blocks", &hashes(&task.blocks));
    if let Some(metadata) = &task.metadata {
        let metadata = json::of_struct(metadata.clone()).unwrap_or_default();
        add("Metadata", &Value::Object(metadata).to_string());
    }
    add("Agent type", &task.agent_type);
    add("Prompt", &task.prompt);
    add("Runner", &task.runner);
    add("Phase", &task.phase_reason);
    add("Result", &task.result);
    add("Error", &task.error);
    text
}

/// `#1, #2`.
pub fn hashes(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("#{id}")).collect();
    ids.join(", ")
}

arguments! {
    /// TaskList.
    TaskList {
        /// Only tasks in this status.
        status = "status": Option<Word<v1::TaskStatus>>,
        /// Only tasks of this member.
        owner = "owner": Option<String>,
        /// Only tasks with this label.
        label = "label": Option<String>,
        /// true: only tasks that could begin now; false: only others.
        ready = "ready": Option<bool>,
        /// true: only pending tasks that wait for others; false: only others.
        blocked = "blocked": Option<bool>,
        /// Only tasks that are part of this one.
        parent_task_id = "parentTaskId": Option<Id>,
        /// Only tasks that have this text in subject or description.
        text = "text": Option<String>,
        /// In which order; by id when left out.
        order = "order": Option<Word<v1::TaskOrder>>,
        /// How many at the most; 200 when left out, 1000 at the most.
        limit = "limit": Option<Count>,
        /// The nextPageToken of the last answer, to go on from there.
        page_token = "pageToken": Option<String>,
    }
}

impl Tool for TaskList {
    const NAME: &'static str = "TaskList";
    const DESCRIPTION: &'static str = "\
Lists the team's board, a line for each task: `#3 [pending] Update unit tests [blocked by #2]`, \
with the owner in parentheses and, while it runs, what is being done.\n\
Use it to see what is ready, what is stuck, and what is done. All arguments are filters, and may \
be left out.";
    const HINTS: Hints = Hints::LOOKS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        const LIMIT: i32 = 200;
        let mut request = v1::ListTasksRequest {
            team: caller.team.clone(),
            status: number(self.status),
            owner: self.owner.unwrap_or_default(),
            label: self.label.unwrap_or_default(),
            ready: self.ready,
            blocked: self.blocked,
            parent_task_id: self.parent_task_id.map_or(0, |id| id.0),
            text: self.text.unwrap_or_default(),
            order: number(self.order),
            page_size: self.limit.map_or(LIMIT, |limit| limit.0),
            page_token: self.page_token.unwrap_or_default(),
            ..v1::ListTasksRequest::default()
        };
        loop {
            let asked = caller.say(request.clone());
            let listed = caller.services.list_tasks(asked).await?.into_inner();
            let answer = listed_tasks(&listed);
            if request.page_size == 1 || fits(&answer) {
                return Ok(answer);
            }
            // Fewer of such long ones fit into an answer.
            request.page_size = (request.page_size / 2).max(1);
        }
    }
}

fn listed_tasks(listed: &v1::ListTasksResponse) -> Answer {
    let lines = listed.tasks.iter().map(|task| {
        let indent = usize::try_from(task.depth).unwrap_or_default();
        format!("{}{}", "  ".repeat(indent), task.line)
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    let told: Vec<Value> = listed.tasks.iter().map(entry).collect();
    let mut result = json!({ "tasks": told });
    let more = &listed.next_page_token;
    if !more.is_empty() {
        // Said also where the page is empty: what passes the filter may come later.
        let _ = write!(text, "\nThere is more: go on with pageToken {more:?}.");
        result["nextPageToken"] = more.as_str().into();
    } else if text.is_empty() {
        text.push_str("No tasks found.");
    }
    Answer::new(result, text.trim_start())
}

/// A task in the list.
fn entry(task: &v1::Task) -> Value {
    let mut told = json!({
        "id": task.id.to_string(),
        "subject": task.subject,
        "status": json::status(task.status()),
        "blockedBy": ids(&task.blocked_by),
        "openBlockers": ids(&task.open_blockers),
        "line": task.line,
    });
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            told[key] = value.into();
        }
    };
    add("owner", &task.owner);
    add("activeForm", &task.active_form);
    add("agentType", &task.agent_type);
    add("runner", &task.runner);
    if task.parent_task_id != 0 {
        add("parentTaskId", &task.parent_task_id.to_string());
    }
    told
}

arguments! {
    /// claim_task.
    ClaimTask {
        /// The task's id; left out, the best ready one is yours.
        task_id = "task_id": Option<Id>,
        /// Without a task_id: only tasks with all of these labels.
        labels = "labels": Option<Vec<String>>,
        /// Without a task_id: only tasks of at least this priority.
        priority_min = "priority_min": Option<Word<v1::TaskPriority>>,
        /// How long the claim holds without a call from you; half an hour when left out.
        lease = "lease_seconds": Option<Seconds>,
        /// Hold the task until it is over or given back, however long you are silent.
        no_lease = "no_lease": Option<bool>,
    }
}

impl Tool for ClaimTask {
    const NAME: &'static str = "claim_task";
    const DESCRIPTION: &'static str = "\
Takes a task for yourself and begins it: the one you name or, without task_id, the best ready \
one (your own first, then by priority and age).\n\
Exactly one claimant wins; claiming a task that you hold already renews your claim (renewed: \
true). The claim ends when you are silent for longer than its lease; every \
call of yours renews it. Answers the whole task, or claimed: false where nothing is ready. \
Finish it with TaskUpdate: status completed, and result.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let (task, attempt, lease_until, renewed) = match self.task_id {
            Some(id) => {
                let request = caller.say(v1::ClaimTaskRequest {
                    team: caller.team.clone(),
                    task_id: id.0,
                    request_id: caller.request_id.clone(),
                    lease: self.lease.map(Into::into),
                    no_lease: self.no_lease.unwrap_or_default(),
                    ..v1::ClaimTaskRequest::default()
                });
                let claimed = caller.services.claim_task(request).await?.into_inner();
                let renewed = claimed.renewed;
                (claimed.task, claimed.attempt, claimed.lease_until, renewed)
            }
            None => {
                let request = caller.say(v1::ClaimNextTaskRequest {
                    team: caller.team.clone(),
                    labels: self.labels.unwrap_or_default(),
                    priority_min: number(self.priority_min),
                    lease: self.lease.map(Into::into),
                    no_lease: self.no_lease.unwrap_or_default(),
                    request_id: caller.request_id.clone(),
                });
                let claimed = caller.services.claim_next_task(request).await?.into_inner();
                (claimed.task, claimed.attempt, claimed.lease_until, false)
            }
        };
        let Some(mut task) = task else {
            let text = "Nothing is ready for you now. TaskList tells what the others wait for.";
            return Ok(Answer::new(json!({"claimed": false}), text));
        };
        let cuts = cut_task(&mut task);
        let is_yours = if renewed {
            "is yours already, and your claim is renewed"
        } else {
            "is yours"
        };
        let mut text = format!(
            "Task #{} {is_yours}, attempt {attempt}.\n{}",
            task.id,
            whole(&task)
        );
        let mut result = Object::new();
        result.insert("claimed".into(), true.into());
        result.insert("task_id".into(), task.id.to_string().into());
        result.insert("renewed".into(), renewed.into());
        result.insert("attempt".into(), attempt.into());
        result.insert("lease_until".into(), json!(lease_until));
        result.insert("task".into(), json::told(&task, Case::Snake).into());
        tell_cuts(&mut result, &mut text, task.id, &cuts);
        Ok(Answer::new(result.into(), text))
    }
}
