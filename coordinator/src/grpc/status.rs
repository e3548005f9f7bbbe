//! The only maker of a [`Status`]: refusals and failures in the words of gRPC.
//!
//! Every error carries exactly one `google.rpc.ErrorInfo` with a stable reason, every variable of
//! its message in the metadata, and under `next` what the caller can do.

mod refusals;

use std::{collections::HashMap, time::Duration};

use board::{
    id::{Fence, MemberName, NameError, Revision, TeamName, TeamUid, WorkerName},
    refusal::Refusal,
};
use ganger_proto::{ERROR_DOMAIN, v1};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::{
    artifacts::{ArtifactError, ArtifactRefusal},
    driver::NotTaken,
    engine::Refused,
    fleet::{HelloRefused, PROTOCOL, PROTOCOL_MIN, upgrade},
    handle::Unavailable,
    spool::SpoolError,
    transcripts::TranscriptError,
};

#[cfg(test)]
mod tests;

/// Bytes of a message, and of each fact. An error travels in headers, its message up to three
/// times, and many clients close the connection, with all that runs on it, over headers of more
/// than 8 KiB.
const TEXT_LEN_MAX: usize = 400;

/// Bytes of the record that goes with a refusal: what is left in the headers.
const RECORD_LEN_MAX: usize = 3 * 1024;

/// How long a caller should wait before it tries again what was too much.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// What can be done about a failure.
const INTERNAL_NEXT: &str = "tell who runs the coordinator the reference: its log has the cause";

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
        self.facts.insert(name.to_owned(), cut(value.to_string()));
        self
    }

    /// Makes the status. What is added gets the message as it is told.
    fn status(self, message: String, add: impl FnOnce(&mut ErrorDetails, &str)) -> Status {
        let message = cut(message);
        let mut details = ErrorDetails::with_error_info(self.reason, ERROR_DOMAIN, self.facts);
        add(&mut details, &message);
        Status::with_error_details(self.code, message, details)
    }
}

/// A text that fits into a header; one that is cut ends with `…`.
fn cut(mut text: String) -> String {
    const MARK: char = '…';
    if text.len() > TEXT_LEN_MAX {
        let mut end = TEXT_LEN_MAX - MARK.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(MARK);
    }
    text
}

/// A refusal, with the record that the caller had another idea of where there is one.
pub fn refused(refused: &Refused) -> Status {
    let status = refusal(&refused.refusal);
    match &refused.current {
        Some(current) => with_task(status, super::to_wire::brief_task(current)),
        None => status,
    }
}

/// Adds a task to a status' details: as a list tells it, or in outline where it is still too long.
fn with_task(status: Status, mut task: v1::Task) -> Status {
    if task.encoded_len() > RECORD_LEN_MAX {
        task = super::to_wire::outline(task);
    }
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
    let error = refusals::facts_of(refusal);
    let field = error.facts.get("field").cloned();
    let (code, reason) = (error.code, error.reason);
    error.status(message, |details, message| match code {
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
    Error::new(code, reason, next).status(why.to_string(), |details, _| {
        details.set_retry_info(Some(RETRY_AFTER));
    })
}

/// A field of a request that makes no sense.
pub fn invalid(field: &'static str, why: impl Into<String>) -> Status {
    let why = why.into();
    refusal(&Refusal::BadValue { field, why })
}

/// A member is named by its address in another team than the call is about.
pub fn address_of_other_team(
    field: &'static str,
    member: &MemberName,
    of: &TeamName,
    team: &TeamName,
) -> Status {
    let next = "name a member of the call's team, or name the member's team as the call's";
    let message = format!("{field} is {member}@{of}, and the call is about team {team:?}");
    Error::new(Code::InvalidArgument, "ADDRESS_OF_OTHER_TEAM", next)
        .fact("field", field)
        .fact("member", member)
        .fact("member_team", of)
        .fact("team", team)
        .status(message, |details, message| {
            details.add_bad_request_violation(field, message);
        })
}

/// No token, or another one.
pub fn unauthenticated(message: &str) -> Status {
    let next = "send the fleet token as `authorization: Bearer …`: --token-file, GANGER_TOKEN_FILE";
    Error::new(Code::Unauthenticated, "TOKEN_INVALID", next).status(message.to_owned(), |_, _| {})
}

/// A call in an attempt's name that doesn't show the attempt's secret.
pub fn attempt_secret_missing(attempt: &Fence) -> Status {
    let next =
        "send the secret of the Assignment as `ganger-attempt-secret`: only its worker has it";
    Error::new(Code::Unauthenticated, "ATTEMPT_SECRET_MISSING", next)
        .fact("task", attempt.task)
        .fact("attempt", attempt.attempt)
        .status(
            format!(
                "the call speaks for attempt {} of task #{} and doesn't carry its secret",
                attempt.attempt, attempt.task
            ),
            |_, _| {},
        )
}

/// A call in an attempt's name by somebody who doesn't hold it.
pub fn attempt_secret_wrong(attempt: &Fence) -> Status {
    let next =
        "speak only for an attempt that this worker was assigned, with that attempt's secret";
    Error::new(Code::PermissionDenied, "ATTEMPT_SECRET_WRONG", next)
        .fact("task", attempt.task)
        .fact("attempt", attempt.attempt)
        .status(
            format!(
                "the call doesn't carry the secret of attempt {} of task #{}",
                attempt.attempt, attempt.task
            ),
            |_, _| {},
        )
}

/// The caller's own deadline passed.
pub fn deadline_exceeded() -> Status {
    let next = "the task, if any, goes on: look at it, or repeat the call with its request id";
    let message = "the deadline of the call passed".to_owned();
    Error::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", next).status(message, |_, _| {})
}

/// A call whose one message doesn't come.
pub fn request_stalled() -> Status {
    let next = "send the whole message at once, and call again";
    let message = "the call's message did not come in time".to_owned();
    Error::new(Code::DeadlineExceeded, "REQUEST_STALLED", next).status(message, |_, _| {})
}

/// An upload that brings too little for long.
pub fn upload_stalled(bytes: u64, span: Duration) -> Status {
    let next = "upload again, and send what there is as it is ready";
    Error::new(Code::DeadlineExceeded, "UPLOAD_STALLED", next)
        .fact("bytes", bytes)
        .fact("seconds", span.as_secs())
        .status(
            format!(
                "the upload brought nearly nothing for {} seconds: {bytes} bytes came",
                span.as_secs()
            ),
            |_, _| {},
        )
}

/// A download of which nothing is taken for long.
pub fn download_stalled(offset: u64, span: Duration) -> Status {
    let next = "download again from this offset, and take what comes as it comes";
    Error::new(Code::DeadlineExceeded, "DOWNLOAD_STALLED", next)
        .fact("offset", offset)
        .fact("seconds", span.as_secs())
        .status(
            format!(
                "nothing of the download was taken for {} seconds: go on at byte {offset}",
                span.as_secs()
            ),
            |_, _| {},
        )
}

/// More than the connection or the coordinator may have of something.
fn too_many(reason: &'static str, next: &str, max: usize, message: String) -> Status {
    Error::new(Code::ResourceExhausted, reason, next)
        .fact("max", max)
        .status(message, |details, message| {
            details.add_quota_failure_violation("", message);
            details.set_retry_info(Some(RETRY_AFTER));
        })
}

/// A connection with as many calls that wait as it may have.
pub fn waits_full(max: usize) -> Status {
    let next = "end some of the calls that wait, or use another connection";
    let message = format!("{max} calls of this connection wait already");
    too_many("WAITS_FULL", next, max, message)
}

/// As many uploads or downloads as the connection or the coordinator may have.
pub fn transfers_full(kind: &'static str, max: usize, of: &'static str) -> Status {
    let next = "come again when another one has ended; carry few at a time";
    let reason = match kind {
        "upload" => "UPLOADS_FULL",
        _ => "DOWNLOADS_FULL",
    };
    Error::new(Code::ResourceExhausted, reason, next)
        .fact("max", max)
        .fact("of", of)
        .status(
            format!("{of} has {max} {kind}s under way already"),
            |details, message| {
                details.add_quota_failure_violation("", message);
                details.set_retry_info(Some(RETRY_AFTER));
            },
        )
}

/// A connection that doesn't read the answers to its calls.
pub fn unread_answers() -> Status {
    let next = "read the answers that wait, then call again";
    let max = super::peers::UNREAD_PER_CONNECTION_MAX;
    let message = format!("more than {max} bytes of answers on this connection are unread");
    too_many("ANSWERS_UNREAD", next, max, message)
}

/// A call with more headers than are taken.
pub fn headers_too_large(len: usize, max: usize) -> Status {
    let next = "send less metadata: long texts belong into the message";
    Error::new(Code::ResourceExhausted, "HEADERS_TOO_LARGE", next)
        .fact("bytes", len)
        .fact("max", max)
        .status(
            format!("the call has {len} bytes of headers: at most {max} are taken"),
            |details, message| {
                details.add_quota_failure_violation("", message);
            },
        )
}

/// A Hello that isn't taken.
pub fn hello_refused(refused: &HelloRefused) -> Status {
    let message = refused.to_string();
    match refused {
        HelloRefused::NameTaken { name } => {
            let next = "give this worker another name, or stop the other one";
            Error::new(Code::AlreadyExists, "WORKER_NAME_TAKEN", next)
                .fact("name", name)
                .status(message, |_, _| {})
        }
        HelloRefused::NameReserved { name } => refusal(&Refusal::BadName {
            field: "name",
            text: name.to_string(),
            why: NameError::Reserved,
        }),
        HelloRefused::NameInTeam { name, team, kind } => {
            let next = "give this worker another name, or remove that member from the team";
            Error::new(Code::AlreadyExists, "WORKER_NAME_IN_TEAM", next)
                .fact("name", name)
                .fact("team", team)
                .fact("kind", kind)
                .status(message, |_, _| {})
        }
        HelloRefused::Version { newest, oldest } => {
            let next = match upgrade(*oldest) {
                "coordinator" => "upgrade the coordinator, or run an older worker",
                _ => "upgrade the worker",
            };
            Error::new(Code::FailedPrecondition, "WORKER_VERSION_UNSUPPORTED", next)
                .fact("worker_newest", newest)
                .fact("worker_oldest", oldest)
                .fact("newest", PROTOCOL)
                .fact("oldest", PROTOCOL_MIN)
                .fact("upgrade", upgrade(*oldest))
                .status(message, |details, message| {
                    let reason = "WORKER_VERSION_UNSUPPORTED";
                    details.add_precondition_failure_violation(reason, "", message);
                })
        }
        HelloRefused::Overtaken { name } => {
            let next = "nothing: the later stream of this worker stands";
            Error::new(Code::Aborted, "HELLO_OVERTAKEN", next)
                .fact("name", name)
                .status(message, |_, _| {})
        }
        HelloRefused::DiskFull => refusal(&Refusal::DiskLow),
        HelloRefused::Full => {
            let next = "come again when other workers have left";
            Error::new(Code::ResourceExhausted, "FLEET_FULL", next)
                .fact("max", board::limits::WORKERS_MAX)
                .status(message, |details, _| {
                    details.set_retry_info(Some(Duration::from_secs(10)));
                })
        }
    }
}

/// No worker of that name is there.
pub fn worker_unknown(name: &WorkerName) -> Status {
    let next = "list who is there with FleetService/ListWorkers";
    Error::new(Code::NotFound, "WORKER_NOT_FOUND", next)
        .fact("name", name)
        .status(format!("there is no worker {:?}", name.as_str()), |_, _| {})
}

/// A peer that doesn't keep to the protocol of a stream.
pub fn protocol(message: &str) -> Status {
    let next = "begin the stream again, in the order that its call describes";
    Error::new(Code::InvalidArgument, "PROTOCOL_VIOLATED", next)
        .fact("why", message)
        .status(message.to_owned(), |_, _| {})
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
    error.status(message, |_, _| {})
}

/// A tool that nobody has.
pub fn tool_unknown<'t>(name: &str, known: impl Iterator<Item = &'t str>) -> Status {
    let name: String = name.chars().take(100).collect();
    let known: Vec<&str> = known.collect();
    let next = "call one of the known tools: ToolService/ListTools describes them";
    Error::new(Code::NotFound, "TOOL_UNKNOWN", next)
        .fact("tool", &name)
        .fact("known", known.join(","))
        .status(format!("there is no tool {name:?}"), |_, _| {})
}

/// A watcher that means another team of the same name than there is.
pub fn team_replaced(team: &str, uid: u64) -> Status {
    let next = "watch the present team from its beginning";
    Error::new(Code::FailedPrecondition, "TEAM_REPLACED", next)
        .fact("team", team)
        .fact("team_uid", uid)
        .status(format!("team {team:?} is another one now"), |_, _| {})
}

/// A watcher that has taken nothing for long, though there was something to tell it.
pub fn watcher_slow(team: TeamUid, told: Revision) -> Status {
    let next = "watch again after this revision, and take what comes as it comes";
    Error::new(Code::ResourceExhausted, "WATCHER_SLOW", next)
        .fact("team_uid", team)
        .fact("after_revision", told)
        .status(
            format!("the watcher of team {team} took nothing for long: go on after {told}"),
            |_, _| {},
        )
}

/// An artifact that isn't there, or doesn't fit.
pub fn artifact(error: &ArtifactError) -> Status {
    let refused = match error {
        ArtifactError::Refused(refused) => refused,
        ArtifactError::Damaged { digest } => {
            let next = "upload the same content again to replace it, or make it anew";
            return data_loss(error, "ARTIFACT_DAMAGED", next, |told| {
                told.fact("digest", digest)
            });
        }
        ArtifactError::Io { .. } if error.is_disk_full() => return refusal(&Refusal::DiskLow),
        ArtifactError::Io { .. } => return internal(error),
    };
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    let told = match refused {
        ArtifactRefusal::Unknown { digest } => {
            let next = "upload it with ArtifactService/UploadArtifact";
            Error::new(Code::NotFound, "ARTIFACT_NOT_FOUND", next).fact("digest", digest)
        }
        ArtifactRefusal::TooLarge { bytes_max } => {
            invalid("ARTIFACT_TOO_LARGE", "cut it into several artifacts").fact("max", bytes_max)
        }
        ArtifactRefusal::DigestMismatch { expected, actual } => {
            let next = "upload it again: the content is not what was announced";
            invalid("ARTIFACT_DIGEST_MISMATCH", next)
                .fact("expected", expected)
                .fact("actual", actual)
        }
        ArtifactRefusal::OffsetBeyondEnd {
            digest,
            offset,
            bytes,
        } => {
            let next = "begin at an offset within the artifact";
            invalid("ARTIFACT_OFFSET_INVALID", next)
                .fact("digest", digest)
                .fact("offset", offset)
                .fact("length", bytes)
        }
        ArtifactRefusal::UploadBroken => {
            let code = Code::FailedPrecondition;
            Error::new(code, "ARTIFACT_UPLOAD_BROKEN", "upload it again")
        }
    };
    told.status(error.to_string(), |_, _| {})
}

/// A transcript that can't be read or written.
pub fn transcript(error: &TranscriptError) -> Status {
    match error {
        TranscriptError::Refused(refused) => protocol(&refused.to_string()),
        TranscriptError::Damaged { .. } | TranscriptError::UnknownFormat { .. } => {
            let next =
                "read the attempt's result; who runs the coordinator finds the damage in its log";
            data_loss(error, "TRANSCRIPT_DAMAGED", next, |told| told)
        }
        other => internal(other),
    }
}

/// Another backup is being made or fetched.
pub fn backup_under_way() -> Status {
    let next = "come again when the other backup is fetched";
    Error::new(Code::ResourceExhausted, "BACKUP_UNDER_WAY", next).status(
        "another backup is under way".to_owned(),
        |details, _| {
            details.set_retry_info(Some(Duration::from_secs(10)));
        },
    )
}

/// A backup that came to nothing.
pub fn backup(error: &SpoolError) -> Status {
    match error {
        SpoolError::Abandoned => unavailable(NotTaken::Closed.into()),
        SpoolError::DiskFull => refusal(&Refusal::DiskLow),
        other => internal(other),
    }
}

/// What is stored is not what it was. The log says where.
fn data_loss(
    error: &(dyn std::error::Error + 'static),
    reason: &'static str,
    next: &str,
    facts: impl FnOnce(Error) -> Error,
) -> Status {
    tracing::error!(%error, reason, "stored data is damaged");
    let message = match reason {
        "TRANSCRIPT_DAMAGED" => "a part of the transcript is damaged and cannot be read",
        _ => "the stored artifact is damaged",
    };
    facts(Error::new(Code::DataLoss, reason, next)).status(message.to_owned(), |_, _| {})
}

/// The world broke: the cause goes to the log, a reference to it to the caller.
pub fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    let reference = uuid::Uuid::now_v7();
    let causes: Vec<String> = std::iter::successors(error.source(), |cause| cause.source())
        .map(ToString::to_string)
        .collect();
    tracing::error!(%reference, %error, ?causes, "a call failed");
    Error::new(Code::Internal, "INTERNAL", INTERNAL_NEXT)
        .fact("reference", reference)
        .status(
            format!("internal failure, reference {reference}"),
            |_, _| {},
        )
}
