//! The only maker of a [`Status`]: refusals and failures in the words of gRPC.
//!
//! Every error carries exactly one `google.rpc.ErrorInfo` with a stable reason, every variable of
//! its message in the metadata, and under `next` what the caller can do.

use std::{collections::HashMap, time::Duration};

use board::{id::TaskId, refusal::Refusal};
use ganger_proto::{ERROR_DOMAIN, v1};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::{
    artifacts::{ArtifactError, ArtifactRefusal},
    driver::NotTaken,
    engine::Refused,
    fleet::HelloRefused,
    handle::Unavailable,
    transcripts::TranscriptError,
};

/// How long a caller should wait before it tries again what was too much.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// An error in the making.
struct Error {
    code: Code,
    reason: &'static str,
    facts: HashMap<String, String>,
}

impl Error {
    fn new(code: Code, reason: &'static str, next: &str) -> Self {
        let facts = HashMap::from([("next".to_owned(), next.to_owned())]);
        Self {
            code,
            reason,
            facts,
        }
    }

    fn fact(mut self, name: &str, value: impl ToString) -> Self {
        self.facts.insert(name.to_owned(), value.to_string());
        self
    }

    fn status(self, message: String, add: impl FnOnce(&mut ErrorDetails)) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, ERROR_DOMAIN, self.facts);
        add(&mut details);
        Status::with_error_details(self.code, message, details)
    }
}

/// A refusal, with the record that the caller had another idea of where there is one.
pub fn refused(refused: &Refused) -> Status {
    let status = refusal(&refused.refusal);
    match &refused.current {
        Some(current) => with_task(status, &super::to_wire::task(current)),
        None => status,
    }
}

/// Adds a task to a status' details.
fn with_task(status: Status, task: &v1::Task) -> Status {
    let Ok(mut details) = pb::Status::decode(status.details()) else {
        return status;
    };
    details.details.push(prost_types::Any {
        type_url: "type.googleapis.com/ganger.v1.Task".to_owned(),
        value: task.encode_to_vec(),
    });
    let (code, message) = (status.code(), status.message());
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// A refusal of the board.
pub fn refusal(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    let error = facts_of(refusal);
    let field = error.facts.get("field").cloned();
    let (code, reason) = (error.code, error.reason);
    error.status(message.clone(), |details| match code {
        Code::InvalidArgument => {
            details.add_bad_request_violation(field.unwrap_or_default(), message);
        }
        Code::FailedPrecondition => {
            details.add_precondition_failure_violation(reason, "", message);
        }
        Code::ResourceExhausted => {
            details.add_quota_failure_violation("", message);
            details.set_retry_info(Some(RETRY_AFTER));
        }
        _ => {}
    })
}

fn ids(ids: &[TaskId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

fn facts_of(refusal: &Refusal) -> Error {
    of_field(refusal)
        .or_else(|| of_edge(refusal))
        .or_else(|| of_roster(refusal))
        .or_else(|| of_type(refusal))
        .or_else(|| of_task(refusal))
        .unwrap_or_else(|| {
            // The compiler can't see that the tables have everything; a test does.
            Error::new(Code::FailedPrecondition, "REFUSED", "see the message")
        })
}

fn of_field(refusal: &Refusal) -> Option<Error> {
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    Some(match refusal {
        Refusal::Blank { field } => {
            invalid("FIELD_BLANK", "say something in this field").fact("field", field)
        }
        Refusal::TooLong {
            field,
            len,
            max,
            unit,
        } => invalid("FIELD_TOO_LONG", "shorten it, or upload it as an artifact")
            .fact("field", field)
            .fact("length", len)
            .fact("max", max)
            .fact("unit", unit),
        Refusal::TooMany { field, count, max } => invalid("TOO_MANY", "give fewer")
            .fact("field", field)
            .fact("count", count)
            .fact("max", max),
        Refusal::BadName { field, text, why } => invalid("NAME_INVALID", "choose another name")
            .fact("field", field)
            .fact("text", text)
            .fact("why", why),
        Refusal::BadValue { field, why } => invalid("VALUE_INVALID", "correct this field")
            .fact("field", field)
            .fact("why", why),
        Refusal::CommandTooLarge { size, max, unit } => {
            invalid("COMMAND_TOO_LARGE", "do it in several calls")
                .fact("size", size)
                .fact("max", max)
                .fact("unit", unit)
        }
        _ => return None,
    })
}

fn of_edge(refusal: &Refusal) -> Option<Error> {
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    Some(match refusal {
        Refusal::SelfEdge { task } => {
            invalid("EDGE_TO_SELF", "name another task").fact("task", task)
        }
        Refusal::DuplicateEdge { task, blocker } => {
            invalid("EDGE_DUPLICATE", "leave this edge out: it is there")
                .fact("task", task)
                .fact("blocker", blocker)
        }
        Refusal::Cycle { path } => {
            let next = "remove one of the edges on the path first";
            invalid("EDGE_CYCLE", next).fact("path", ids(path))
        }
        Refusal::ReferenceUnknown { field, task, team } => {
            let next = "list the team's tasks with TaskService/ListTasks";
            Error::new(Code::NotFound, "TASK_NOT_FOUND", next)
                .fact("field", field)
                .fact("task", task)
                .fact("team", team)
        }
        _ => return None,
    })
}

fn of_roster(refusal: &Refusal) -> Option<Error> {
    let unknown = |reason, next| Error::new(Code::NotFound, reason, next);
    let exists = |reason, next| Error::new(Code::AlreadyExists, reason, next);
    let denied = |reason, next| Error::new(Code::PermissionDenied, reason, next);
    Some(match refusal {
        Refusal::TeamUnknown { team } => {
            let next = "list the teams with TeamService/ListTeams, or make it with CreateTeam";
            unknown("TEAM_NOT_FOUND", next).fact("team", team)
        }
        Refusal::MemberUnknown { member, team } => {
            let next = "list the members with TeamService/ListMembers";
            unknown("MEMBER_NOT_FOUND", next)
                .fact("member", member)
                .fact("team", team)
        }
        Refusal::TaskUnknown { task, team } => {
            let next = "list the team's tasks with TaskService/ListTasks";
            unknown("TASK_NOT_FOUND", next)
                .fact("task", task)
                .fact("team", team)
        }
        Refusal::IncarnationStale {
            member,
            wanted,
            present,
        } => {
            let next = "stop: somebody else has this name now";
            Error::new(Code::Aborted, "INCARNATION_STALE", next)
                .fact("member", member)
                .fact("wanted", wanted)
                .fact("present", present)
        }
        Refusal::TeamExists { team } => {
            let next = "use the team that is there, or choose another name";
            exists("TEAM_EXISTS", next).fact("team", team)
        }
        Refusal::MemberExists { member } => {
            exists("MEMBER_EXISTS", "choose another name").fact("member", member)
        }
        Refusal::RequestIdReused => exists(
            "REQUEST_ID_REUSED",
            "use a new request id for a new request",
        ),
        Refusal::LeadOnly { action, member } => denied("LEAD_ONLY", "ask the lead to do it")
            .fact("action", action)
            .fact("member", member),
        Refusal::NotOwner {
            task,
            owner,
            member,
        } => {
            let next = "claim the task if it is free, or ask its owner or the lead";
            denied("NOT_OWNER", next)
                .fact("task", task)
                .fact("owner", owner.as_ref().map_or("", |owner| owner.as_str()))
                .fact("member", member)
        }
        _ => return None,
    })
}

fn of_type(refusal: &Refusal) -> Option<Error> {
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    Some(match refusal {
        Refusal::AgentTypeUnknown {
            agent_type,
            on_offer,
        } => {
            let on_offer: Vec<&str> = on_offer.iter().map(|name| name.as_str()).collect();
            let next = "use a type on offer, start a worker that offers this one, or start the \
                        coordinator with --expect-type";
            Error::new(Code::FailedPrecondition, "AGENT_TYPE_UNKNOWN", next)
                .fact("agent_type", agent_type)
                .fact("on_offer", on_offer.join(","))
        }
        Refusal::PromptMissing { agent_type } => {
            invalid("PROMPT_MISSING", "give the command to run as the prompt")
                .fact("field", "prompt")
                .fact("agent_type", agent_type)
        }
        Refusal::AgentTypeMissing { owner } => {
            let next = "name one of the worker's agent types: see FleetService/ListWorkers";
            invalid("AGENT_TYPE_MISSING", next)
                .fact("field", "agent_type")
                .fact("owner", owner)
        }
        _ => return None,
    })
}

fn of_task(refusal: &Refusal) -> Option<Error> {
    let failed = |reason, next| Error::new(Code::FailedPrecondition, reason, next);
    let aborted = |reason, next| Error::new(Code::Aborted, reason, next);
    Some(match refusal {
        Refusal::TaskBlocked { task, blockers } => {
            failed("TASK_BLOCKED", "wait for the blockers, or remove the edges")
                .fact("task", task)
                .fact("blockers", ids(blockers))
        }
        Refusal::TaskHeld { task, holder } => {
            let next = "choose another task; the lead may take it away with stop_running";
            failed("TASK_HELD", next)
                .fact("task", task)
                .fact("holder", holder)
        }
        Refusal::TaskRunning {
            task,
            worker,
            attempt,
        } => failed(
            "TASK_RUNNING",
            "wait for its end, cancel it, or say stop_running",
        )
        .fact("task", task)
        .fact("worker", worker)
        .fact("attempt", attempt),
        Refusal::TaskOver { task, status } => failed("TASK_OVER", "make a new task for more work")
            .fact("task", task)
            .fact("status", status.word()),
        Refusal::LateEnding { task, status } => {
            aborted("TASK_OVER", "take the task as it is: its first end stands")
                .fact("task", task)
                .fact("status", status.word())
        }
        Refusal::StatusBackward { task, from, to } => {
            failed("STATUS_BACKWARD", "a status only moves forward")
                .fact("task", task)
                .fact("from", from.word())
                .fact("to", to.word())
        }
        Refusal::RevisionMismatch {
            task,
            expected,
            actual,
        } => {
            let next = "look at the task as it is now, which is attached, and decide again";
            aborted("REVISION_MISMATCH", next)
                .fact("task", task)
                .fact("expected", expected)
                .fact("actual", actual)
        }
        Refusal::Stale { why } => {
            let next = "stop this attempt: it does not count any more";
            aborted("ATTEMPT_STALE", next).fact("why", why)
        }
        Refusal::Full { what, max } => {
            let next = "come again when there is less, or use another team";
            Error::new(Code::ResourceExhausted, "BOARD_FULL", next)
                .fact("what", what)
                .fact("max", max)
        }
        _ => return None,
    })
}

/// The driver can't be asked, or did not answer.
pub fn unavailable(why: Unavailable) -> Status {
    let (code, reason, next) = match why {
        Unavailable::NotTaken(NotTaken::Full) => (
            Code::ResourceExhausted,
            "QUEUE_FULL",
            "come again a little later",
        ),
        Unavailable::NotTaken(NotTaken::Closed) => (
            Code::Unavailable,
            "SHUTTING_DOWN",
            "come again when the coordinator has started again",
        ),
        Unavailable::Unanswered => (
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "repeat the call with the same request id",
        ),
    };
    Error::new(code, reason, next).status(why.to_string(), |details| {
        details.set_retry_info(Some(RETRY_AFTER));
    })
}

/// A field of a request that makes no sense.
pub fn invalid(field: &'static str, why: impl Into<String>) -> Status {
    let why = why.into();
    refusal(&Refusal::BadValue { field, why })
}

/// No token, or another one.
pub fn unauthenticated(message: &str) -> Status {
    let next = "send the fleet token as `authorization: Bearer …`: --token-file, GANGER_TOKEN_FILE";
    Error::new(Code::Unauthenticated, "TOKEN_INVALID", next).status(message.to_owned(), |_| {})
}

/// The caller's own deadline passed.
pub fn deadline_exceeded() -> Status {
    let next = "the task, if any, goes on: look at it, or repeat the call with its request id";
    let message = "the deadline of the call passed".to_owned();
    Error::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", next).status(message, |_| {})
}

/// A Hello that isn't taken.
pub fn hello_refused(refused: &HelloRefused) -> Status {
    let message = refused.to_string();
    match refused {
        HelloRefused::NameTaken { name } => {
            let next = "give this worker another name, or stop the other one";
            Error::new(Code::AlreadyExists, "WORKER_NAME_TAKEN", next)
                .fact("name", name)
                .status(message, |_| {})
        }
        HelloRefused::Full => {
            let next = "come again when other workers have left";
            Error::new(Code::ResourceExhausted, "FLEET_FULL", next).status(message, |details| {
                details.set_retry_info(Some(Duration::from_secs(10)));
            })
        }
    }
}

/// A peer that doesn't keep to the protocol of a stream.
pub fn protocol(message: &str) -> Status {
    let next = "begin the stream again, in the order that its call describes";
    Error::new(Code::InvalidArgument, "PROTOCOL_VIOLATED", next)
        .fact("why", message)
        .status(message.to_owned(), |_| {})
}

/// What tonic says of a message that it can't read, or of a call that it doesn't know.
pub fn of_tonic(said: &Status) -> Status {
    let message = said.message();
    let is_too_large = match said.code() {
        Code::OutOfRange => true,
        Code::ResourceExhausted => message.contains("size limit"),
        _ => false,
    };
    let (code, reason, next) = match said.code() {
        _ if is_too_large => (
            Code::InvalidArgument,
            "MESSAGE_TOO_LARGE",
            "do it in several calls, or upload long texts as artifacts",
        ),
        Code::Internal | Code::InvalidArgument => (
            Code::InvalidArgument,
            "MESSAGE_MALFORMED",
            "send what the call's descriptor says: see reflection",
        ),
        Code::Unimplemented if message.is_empty() => (
            Code::Unimplemented,
            "CALL_UNKNOWN",
            "list the services and their calls by reflection",
        ),
        Code::Unimplemented => (
            Code::Unimplemented,
            "ENCODING_UNKNOWN",
            "send the message plain, or compressed by gzip",
        ),
        Code::NotFound => (
            Code::NotFound,
            "NOT_FOUND",
            "list what there is by reflection",
        ),
        code => (code, "TRANSPORT", "repeat the call"),
    };
    let error = Error::new(code, reason, next).fact("why", message);
    let error = if is_too_large {
        error.fact("max", super::MESSAGE_LEN_MAX)
    } else {
        error
    };
    let message = if message.is_empty() {
        "there is no such call".to_owned()
    } else {
        message.to_owned()
    };
    error.status(message, |_| {})
}

/// A watcher that means another team of the same name than there is.
pub fn team_replaced(team: &str, uid: u64) -> Status {
    let next = "watch the present team from its beginning";
    Error::new(Code::FailedPrecondition, "TEAM_REPLACED", next)
        .fact("team", team)
        .fact("team_uid", uid)
        .status(format!("team {team:?} is another one now"), |_| {})
}

/// An artifact that isn't there, or doesn't fit.
pub fn artifact(error: &ArtifactError) -> Status {
    let ArtifactError::Refused(refused) = error else {
        return internal(error);
    };
    let (code, reason, next) = match refused {
        ArtifactRefusal::Unknown { .. } => (
            Code::NotFound,
            "ARTIFACT_NOT_FOUND",
            "upload it with ArtifactService/UploadArtifact",
        ),
        ArtifactRefusal::TooLarge { .. } => (
            Code::InvalidArgument,
            "ARTIFACT_TOO_LARGE",
            "cut it into several artifacts",
        ),
        ArtifactRefusal::DigestMismatch { .. } => (
            Code::InvalidArgument,
            "ARTIFACT_DIGEST_MISMATCH",
            "upload it again: the content is not what was announced",
        ),
        ArtifactRefusal::OffsetBeyondEnd { .. } => (
            Code::InvalidArgument,
            "ARTIFACT_OFFSET_INVALID",
            "begin at an offset within the artifact",
        ),
        ArtifactRefusal::UploadBroken => (
            Code::FailedPrecondition,
            "ARTIFACT_UPLOAD_BROKEN",
            "upload it again",
        ),
    };
    Error::new(code, reason, next).status(error.to_string(), |_| {})
}

/// A transcript that can't be read or written.
pub fn transcript(error: &TranscriptError) -> Status {
    match error {
        TranscriptError::Refused(refused) => protocol(&refused.to_string()),
        other => internal(other),
    }
}

/// The world broke: the cause goes to the log, a reference to it to the caller.
pub fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    let reference = uuid::Uuid::now_v7();
    let causes: Vec<String> = std::iter::successors(error.source(), |cause| cause.source())
        .map(ToString::to_string)
        .collect();
    tracing::error!(%reference, %error, ?causes, "a call failed");
    let next = "tell who runs the coordinator the reference: its log has the cause";
    Error::new(Code::Internal, "INTERNAL", next)
        .fact("reference", reference)
        .status(format!("internal failure, reference {reference}"), |_| {})
}
