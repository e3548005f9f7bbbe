//! A tool's "no": an answer that a model can use, with what was wrong and what is possible now.

use ganger_proto::v1;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

use super::{
    args::{Object, Wrong},
    json::{self, Case},
};

/// The calls and fields that advice speaks of, as tools have them.
const TOOLS_FOR_CALLS: &[(&str, &str)] = &[
    ("TaskService/ListTasks", "TaskList"),
    ("TaskService/GetTask", "TaskGet"),
    ("TaskService/UpdateTask", "TaskUpdate"),
    ("TaskService/ClaimTask", "claim_task"),
    ("TaskService/ClaimNextTask", "claim_task"),
    ("TeamService/CreateTeam", "TeamCreate"),
    ("TeamService/ListMembers", "check_teammates"),
    ("TeamService/DissolveTeam", "dissolve_team"),
    ("MailboxService/SendMessage", "SendMessage"),
    ("MailboxService/ReceiveMessages", "read_messages"),
    ("DelegationService/CancelTask", "cancel_task"),
    ("DelegationService/PauseTask", "pause_task"),
    ("DelegationService/ResumeTask", "resume_task"),
    ("DelegationService/ListAgentTypes", "list_agent_types"),
    ("DelegationService/WatchTranscript", "read_transcript"),
    ("TaskService/ReleaseTask", "release_task"),
    ("TaskService/ReopenTask", "reopen_task"),
    ("TeamService/ListTeams", "list_teams"),
    ("ArtifactService/DownloadArtifact", "read_artifact"),
    ("DelegationService/AnswerQuestion", "answer_question"),
    ("DelegationService/SteerTask", "steer_task"),
    ("DelegationService/WaitTasks", "wait_tasks"),
    ("with CreateTeam", "with TeamCreate"),
    ("stop_running", "stopRunning"),
    ("add_blocked_by", "addBlockedBy"),
    ("add_blocks", "addBlocks"),
    ("blocked_by", "blockedBy"),
];

/// Why a tool does not do what was asked.
#[derive(Debug)]
pub struct Refusal {
    /// What was wrong.
    pub error: String,
    /// The same as a stable word.
    pub reason: String,
    /// What is possible now.
    pub next: String,
    /// Every variable of the error, and more.
    pub facts: Object,
}

/// Why a tool has no answer.
#[derive(Debug)]
pub enum No {
    /// The answer is no.
    Refused(Box<Refusal>),
    /// Nobody can answer.
    Broken(Status),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Status> for No {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::DeadlineExceeded => Refusal::of(&status).into(),
            _ => Self::Broken(status),
        }
    }
}

impl Refusal {
    /// What a service said.
    fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let (reason, facts) = match details.error_info() {
            Some(info) => (info.reason.clone(), info.metadata.clone()),
            None => ("REFUSED".to_owned(), Default::default()),
        };
        let mut facts: Object = facts
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        let next = match facts.remove("next") {
            Some(Value::String(next)) => in_tools(next),
            _ => "see the message".to_owned(),
        };
        let mut error = status.message().to_owned();
        if let Some(Value::String(field)) = facts.get_mut("field") {
            let argument = in_tools(field.clone());
            if let Some(rest) = error.strip_prefix(field.as_str()) {
                error = format!("{argument}{rest}");
            }
            *field = argument;
        }
        if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
            let seconds = delay.as_secs_f64();
            facts.insert("retry_after_seconds".to_owned(), json!(seconds));
        }
        if let Some(task) = attached_task(status) {
            let task = json::told(&task, Case::Camel);
            facts.insert("current".to_owned(), Value::Object(task));
        }
        Self {
            error,
            reason,
            next,
            facts,
        }
    }

    /// Arguments with a number that JSON doesn't have.
    pub fn no_json(tool: &str) -> Self {
        Self {
            error: format!("{tool}: a number of the arguments is none"),
            reason: "ARGUMENT_INVALID".to_owned(),
            next: format!("call {tool} again with numbers that JSON can write"),
            facts: facts(json!({"tool": tool})),
        }
    }

    /// An argument that the tool doesn't have.
    pub fn unknown_argument(tool: &str, argument: &str, takes: &str) -> Self {
        Self {
            error: format!("{tool} has no argument {argument:?}"),
            reason: "ARGUMENT_UNKNOWN".to_owned(),
            next: format!("call {tool} again with no other arguments than these: {takes}"),
            facts: facts(json!({"tool": tool, "argument": argument, "takes": takes})),
        }
    }

    /// An argument that is wrong, or not there.
    pub fn wrong_argument(tool: &str, wrong: &Wrong) -> Self {
        let Wrong { path, why, .. } = wrong;
        let (reason, next) = if wrong.is_missing {
            ("ARGUMENT_MISSING", format!("call {tool} again with {path}"))
        } else {
            let next = format!("call {tool} again with {path} set right");
            ("ARGUMENT_INVALID", next)
        };
        Self {
            error: format!("{tool}: {path} {why}"),
            reason: reason.to_owned(),
            next,
            facts: facts(json!({"tool": tool, "argument": path})),
        }
    }

    /// The answer: its JSON and its text.
    pub fn told(self) -> (Object, String) {
        let Self {
            error,
            reason,
            next,
            facts,
        } = self;
        let mut text = format!("Refused: {error} ({reason}).");
        for (name, value) in &facts {
            let value = match value {
                Value::String(value) => value.clone(),
                // Too long for a sentence; it stands in the JSON.
                Value::Object(_) => continue,
                other => other.to_string(),
            };
            if !value.is_empty() && !error.contains(&value) && !next.contains(&value) {
                text.push_str(&format!("\n{name}: {value}"));
            }
        }
        text.push_str(&format!("\nPossible now: {next}."));
        let told = json!({
            "success": false,
            "error": error,
            "reason": reason,
            "next": next,
            "facts": facts,
        });
        (self::facts(told), text)
    }
}

fn facts(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// What is said to who has tools, and not calls.
fn in_tools(text: String) -> String {
    TOOLS_FOR_CALLS
        .iter()
        .fold(text, |text, (call, tool)| text.replace(call, tool))
}

/// The record that the caller had another idea of.
fn attached_task(status: &Status) -> Option<v1::Task> {
    let details = pb::Status::decode(status.details()).ok()?.details;
    let mut tasks = details
        .iter()
        .filter(|any| any.type_url.ends_with("/ganger.v1.Task"));
    v1::Task::decode(&tasks.next()?.value[..]).ok()
}
