//! Tasks, whole and as stubs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use board::{
    id::{AttemptNumber, Digest, Revision, TaskId},
    task::{
        Artifact, BlockerFailedPolicy, EndStatus, FailurePolicy, Hirer, Priority, Retry, Status,
        Stub, Task, TaskKind, Terms,
    },
    time::Time,
};

use super::{
    ActorMessage, CodecError, Kind, Names, Numbered, Span, numbers, open, seal,
    state::{
        AttemptMessage, StateMessage, UsageMessage, decode_attempt, decode_state, usage,
        usage_message,
    },
};

const TASK: Kind = Kind {
    name: "task",
    version: 3,
};
const STUB: Kind = Kind {
    name: "task stub",
    version: 2,
};

// What most tasks have is 0 and takes no room.
numbers!(Priority, "priority", 0 => Normal, 1 => Low, 2 => High, 3 => Critical);
numbers!(TaskKind, "kind of task", 0 => Work, 1 => Verification);
numbers!(BlockerFailedPolicy, "policy", 0 => Wait, 1 => Cancel, 2 => Proceed);
numbers!(FailurePolicy, "policy", 0 => Fail, 1 => Pause, 2 => Release);
numbers!(EndStatus, "status", 1 => Completed, 2 => Failed, 3 => Cancelled);
numbers!(
    Status, "status",
    1 => Pending, 2 => InProgress, 3 => Completed, 4 => Failed, 5 => Cancelled,
);

/// Tags up to 15 take one byte: they are for what nearly every task has.
#[derive(Clone, PartialEq, prost::Message)]
struct TaskMessage {
    #[prost(string, tag = "1")]
    subject: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    prompt: String,
    #[prost(string, optional, tag = "4")]
    agent_type: Option<String>,
    #[prost(uint64, repeated, tag = "5")]
    blocked_by: Vec<u64>,
    #[prost(message, optional, tag = "6")]
    created_by: Option<ActorMessage>,
    #[prost(int64, tag = "7")]
    created_at: i64,
    #[prost(uint64, tag = "8")]
    revision: u64,
    #[prost(uint32, tag = "9")]
    crash_limit: u32,
    #[prost(int64, optional, tag = "10")]
    started_at: Option<i64>,
    #[prost(uint32, tag = "11")]
    last_attempt: u32,
    #[prost(oneof = "StateMessage", tags = "12, 13, 14, 15")]
    state: Option<StateMessage>,
    #[prost(message, repeated, tag = "16")]
    attempts: Vec<AttemptMessage>,
    #[prost(string, tag = "17")]
    result: String,
    #[prost(message, optional, tag = "18")]
    usage: Option<UsageMessage>,
    #[prost(string, tag = "19")]
    error: String,
    #[prost(string, optional, tag = "20")]
    owner: Option<String>,
    #[prost(btree_map = "string, string", tag = "21")]
    metadata: BTreeMap<String, String>,
    #[prost(uint32, tag = "22")]
    priority: u32,
    #[prost(string, repeated, tag = "23")]
    labels: Vec<String>,
    #[prost(uint64, optional, tag = "24")]
    parent: Option<u64>,
    #[prost(uint32, tag = "25")]
    kind: u32,
    #[prost(int64, optional, tag = "26")]
    deadline: Option<i64>,
    #[prost(message, optional, tag = "27")]
    timeout: Option<Span>,
    #[prost(uint32, tag = "28")]
    crashes: u32,
    #[prost(uint32, tag = "29")]
    blocker_failed_policy: u32,
    #[prost(message, repeated, tag = "30")]
    inputs: Vec<ArtifactMessage>,
    #[prost(string, repeated, tag = "31")]
    output_globs: Vec<String>,
    #[prost(message, repeated, tag = "32")]
    outputs: Vec<ArtifactMessage>,
    #[prost(string, tag = "33")]
    active_form: String,
    #[prost(string, tag = "34")]
    client_task_id: String,
    #[prost(message, optional, tag = "35")]
    retry: Option<RetryMessage>,
    #[prost(uint32, tag = "36")]
    failures: u32,
    #[prost(uint32, tag = "37")]
    failure_policy: u32,
    #[prost(bool, tag = "38")]
    share_todos: bool,
    #[prost(message, optional, tag = "39")]
    terms: Option<TermsMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TermsMessage {
    #[prost(btree_map = "string, string", tag = "1")]
    worker_labels: BTreeMap<String, String>,
    #[prost(uint32, tag = "2")]
    window: u32,
    #[prost(bool, tag = "3")]
    outlives_parent: bool,
    #[prost(uint64, optional, tag = "4")]
    joins: Option<u64>,
    #[prost(uint32, optional, tag = "5")]
    hired_by: Option<u32>,
    #[prost(uint64, tag = "6")]
    hirer: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct RetryMessage {
    #[prost(uint32, tag = "1")]
    max_attempts: u32,
    #[prost(message, optional, tag = "2")]
    initial_backoff: Option<Span>,
    #[prost(message, optional, tag = "3")]
    max_backoff: Option<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ArtifactMessage {
    #[prost(bytes = "vec", tag = "1")]
    digest: Vec<u8>,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(uint64, tag = "3")]
    size: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StubMessage {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(string, optional, tag = "3")]
    owner: Option<String>,
    #[prost(uint64, repeated, tag = "4")]
    blocked_by: Vec<u64>,
    #[prost(uint64, optional, tag = "5")]
    parent: Option<u64>,
    #[prost(bool, tag = "6")]
    cascade_due: bool,
    #[prost(bool, tag = "7")]
    share_todos: bool,
    /// Version 1 has none: it is in the task.
    #[prost(int64, optional, tag = "8")]
    ended_at: Option<i64>,
}

/// Encodes a task.
pub(in crate::store) fn encode_task(task: &Task) -> Vec<u8> {
    let message = TaskMessage {
        subject: task.subject.to_string(),
        description: task.description.to_string(),
        prompt: task.prompt.to_string(),
        agent_type: task.agent_type.as_ref().map(ToString::to_string),
        blocked_by: task.blocked_by.iter().map(|task| task.0).collect(),
        created_by: Some((&task.created_by).into()),
        created_at: task.created_at.0,
        revision: task.revision.0,
        crash_limit: task.crash_limit,
        started_at: task.started_at.map(|at| at.0),
        last_attempt: task.last_attempt.0,
        state: Some((&task.state).into()),
        attempts: task.attempts.iter().map(Into::into).collect(),
        result: task.result.to_string(),
        usage: usage_message(task.usage),
        error: task.error.to_string(),
        owner: task.owner.as_ref().map(ToString::to_string),
        metadata: task
            .metadata
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        priority: task.priority.number(),
        labels: strings(&task.labels),
        parent: task.parent.map(|task| task.0),
        kind: task.kind.number(),
        deadline: task.deadline.map(|at| at.0),
        timeout: task.timeout.map(Into::into),
        crashes: task.crashes,
        blocker_failed_policy: task.blocker_failed_policy.number(),
        inputs: task.inputs.iter().map(Into::into).collect(),
        output_globs: strings(&task.output_globs),
        outputs: task.outputs.iter().map(Into::into).collect(),
        active_form: task.active_form.to_string(),
        client_task_id: task.client_task_id.to_string(),
        retry: task.retry.as_deref().copied().map(Into::into),
        failures: task.failures,
        failure_policy: task.failure_policy.number(),
        share_todos: task.share_todos,
        terms: task.terms.as_deref().map(Into::into),
    };
    seal(TASK, &message)
}

/// Decodes a task.
pub(in crate::store) fn decode_task(
    id: TaskId,
    bytes: &[u8],
    names: &mut Names,
) -> Result<Task, CodecError> {
    let message: TaskMessage = open(TASK, bytes)?;
    let state = message.state.ok_or(CodecError::Bad("state"))?;
    let metadata = message.metadata.into_iter();
    Ok(Task {
        id,
        subject: message.subject.into(),
        description: message.description.into(),
        active_form: message.active_form.into(),
        prompt: message.prompt.into(),
        owner: message.owner.map(|name| names.member(name)).transpose()?,
        blocked_by: message.blocked_by.into_iter().map(TaskId).collect(),
        metadata: metadata
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        priority: Priority::of(message.priority)?,
        labels: texts(message.labels),
        agent_type: message
            .agent_type
            .map(|name| names.agent_type(name))
            .transpose()?,
        parent: message.parent.map(TaskId),
        kind: TaskKind::of(message.kind)?,
        deadline: message.deadline.map(Time),
        timeout: message.timeout.map(Duration::try_from).transpose()?,
        crash_limit: message.crash_limit,
        crashes: message.crashes,
        blocker_failed_policy: BlockerFailedPolicy::of(message.blocker_failed_policy)?,
        inputs: artifacts(message.inputs)?,
        output_globs: texts(message.output_globs),
        outputs: artifacts(message.outputs)?,
        result: message.result.into(),
        error: message.error.into(),
        usage: usage(message.usage),
        created_at: Time(message.created_at),
        created_by: names.actor(message.created_by)?,
        started_at: message.started_at.map(Time),
        state: decode_state(state, names)?,
        last_attempt: AttemptNumber(message.last_attempt),
        attempts: message
            .attempts
            .into_iter()
            .map(|attempt| decode_attempt(attempt, names))
            .collect::<Result<_, _>>()?,
        revision: Revision(message.revision),
        client_task_id: message.client_task_id.into(),
        retry: message
            .retry
            .map(Retry::try_from)
            .transpose()?
            .map(Box::new),
        failures: message.failures,
        failure_policy: FailurePolicy::of(message.failure_policy)?,
        share_todos: message.share_todos,
        terms: message.terms.map(|terms| Box::new(terms.into())),
    })
}

/// Encodes a stub.
pub(in crate::store) fn encode_stub(stub: &Stub) -> Vec<u8> {
    let message = StubMessage {
        status: stub.status.number(),
        revision: stub.revision.0,
        owner: stub.owner.as_ref().map(ToString::to_string),
        blocked_by: stub.blocked_by.iter().map(|task| task.0).collect(),
        parent: stub.parent.map(|task| task.0),
        cascade_due: stub.cascade_due,
        share_todos: stub.share_todos,
        ended_at: Some(stub.ended_at.0),
    };
    seal(STUB, &message)
}

/// Decodes a stub. `ended_at` is asked when the task ended, where the stub doesn't say it.
pub(in crate::store) fn decode_stub(
    id: TaskId,
    bytes: &[u8],
    names: &mut Names,
    ended_at: impl FnOnce() -> Time,
) -> Result<Stub, CodecError> {
    let message: StubMessage = open(STUB, bytes)?;
    Ok(Stub {
        ended_at: message.ended_at.map_or_else(ended_at, Time),
        id,
        status: EndStatus::of(message.status)?,
        blocked_by: message.blocked_by.into_iter().map(TaskId).collect(),
        owner: message.owner.map(|name| names.member(name)).transpose()?,
        parent: message.parent.map(TaskId),
        revision: Revision(message.revision),
        cascade_due: message.cascade_due,
        share_todos: message.share_todos,
    })
}

impl From<&Terms> for TermsMessage {
    fn from(terms: &Terms) -> Self {
        let labels = terms.worker_labels.iter();
        let labels = labels.map(|(name, value)| (name.to_string(), value.to_string()));
        Self {
            worker_labels: labels.collect(),
            window: terms.window,
            outlives_parent: terms.outlives_parent,
            joins: terms.joins.map(|task| task.0),
            hired_by: terms.hired_by.map(|hirer| hirer.attempt.0),
            hirer: terms.hired_by.map_or(0, |hirer| hirer.task.0),
        }
    }
}

impl From<TermsMessage> for Terms {
    fn from(message: TermsMessage) -> Self {
        let labels = message.worker_labels.into_iter();
        let labels = labels.map(|(name, value)| (name.into(), value.into()));
        Self {
            worker_labels: labels.collect(),
            window: message.window,
            outlives_parent: message.outlives_parent,
            joins: message.joins.map(TaskId),
            hired_by: message.hired_by.map(|attempt| Hirer {
                task: TaskId(message.hirer),
                attempt: AttemptNumber(attempt),
            }),
        }
    }
}

impl From<Retry> for RetryMessage {
    fn from(retry: Retry) -> Self {
        Self {
            max_attempts: retry.max_attempts,
            initial_backoff: Some(retry.initial_backoff.into()),
            max_backoff: Some(retry.max_backoff.into()),
        }
    }
}

impl TryFrom<RetryMessage> for Retry {
    type Error = CodecError;

    fn try_from(retry: RetryMessage) -> Result<Self, CodecError> {
        let backoff = |span: Option<Span>| span.ok_or(CodecError::Bad("back-off"))?.try_into();
        Ok(Self {
            max_attempts: retry.max_attempts,
            initial_backoff: backoff(retry.initial_backoff)?,
            max_backoff: backoff(retry.max_backoff)?,
        })
    }
}

impl From<&Artifact> for ArtifactMessage {
    fn from(artifact: &Artifact) -> Self {
        Self {
            digest: artifact.digest.0.to_vec(),
            path: artifact.path.to_string(),
            size: artifact.size,
        }
    }
}

fn artifacts(messages: Vec<ArtifactMessage>) -> Result<Vec<Artifact>, CodecError> {
    let artifact = |message: ArtifactMessage| {
        let digest = message.digest.try_into();
        Ok(Artifact {
            digest: Digest(digest.map_err(|_| CodecError::Bad("digest"))?),
            path: message.path.into(),
            size: message.size,
        })
    };
    messages.into_iter().map(artifact).collect()
}

fn strings(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn texts(strings: Vec<String>) -> Vec<Arc<str>> {
    strings.into_iter().map(Into::into).collect()
}
