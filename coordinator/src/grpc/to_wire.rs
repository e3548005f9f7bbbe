//! From what the board tells to what the wire says.

mod brief;
mod event;
mod explain;
mod fleet;
mod mail;
mod team;

use std::time::Duration;

use board::{
    event::Actor,
    id::{Epoch, Fence, InstanceId, TaskId},
    task::{
        Artifact, Asked, AttemptEnding, BlockerFailedPolicy, Claim, EndedAttempt, FailurePolicy,
        Priority, Retry, Runner, Status, StopReason, TaskKind, TaskState, Usage, Word, WordKind,
    },
    time::Time,
    view::{Counts, Phase, TaskView},
};
use ganger_proto::v1;
use uuid::Uuid;

use crate::grpc::tool::json::to_value;

pub use self::{
    brief::{Briefly, brief_task, outline, questions, stuck},
    event::event,
    explain::explained,
    fleet::{agent_type, retention, running_limits, worker},
    mail::{message, receipt},
    team::{member, team},
};

pub fn time(time: Time) -> pbjson_types::Timestamp {
    pbjson_types::Timestamp {
        seconds: time.0.div_euclid(1_000),
        nanos: i32::try_from(time.0.rem_euclid(1_000)).unwrap_or(0) * 1_000_000,
    }
}

pub fn span(span: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A count that people read.
pub fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub fn ids(ids: &[TaskId]) -> Vec<u64> {
    ids.iter().map(|id| id.0).collect()
}

pub fn epoch(epoch: Epoch) -> String {
    Uuid::from_u128(epoch.0).to_string()
}

fn instance(instance: InstanceId) -> String {
    Uuid::from_u128(instance.0).to_string()
}

pub fn actor(actor: &Actor) -> String {
    actor.to_string()
}

pub fn fence(fence: &Fence) -> v1::Fence {
    v1::Fence {
        epoch: epoch(fence.epoch),
        team_uid: fence.team.0,
        task_id: fence.task.0,
        attempt: number(fence.attempt.0),
    }
}

pub fn counts(counts: &Counts) -> v1::TaskCounts {
    v1::TaskCounts {
        pending: count(counts.pending),
        in_progress: count(counts.in_progress),
        completed: count(counts.completed),
        failed: count(counts.failed),
        cancelled: count(counts.cancelled),
    }
}

fn optional(text: &Option<impl ToString>) -> String {
    text.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A task, whole.
pub fn task(view: &TaskView) -> v1::Task {
    let task = &view.task;
    let end = task.end();
    let known_end = end.filter(|_| !view.is_unreadable);
    let metadata = task
        .metadata
        .iter()
        // What is on the board was JSON when it came.
        .filter_map(|(key, json)| {
            let value = serde_json::from_str(json).ok()?;
            Some((key.to_string(), to_value(value)))
        })
        .collect();
    let mut told = v1::Task {
        id: task.id.0,
        team: view.team.to_string(),
        subject: task.subject.to_string(),
        description: task.description.to_string(),
        active_form: task.active_form.to_string(),
        status: status(task.status()).into(),
        owner: optional(&task.owner),
        blocks: ids(&view.blocks),
        blocked_by: ids(&task.blocked_by),
        open_blockers: ids(&view.open_blockers),
        metadata: (!task.metadata.is_empty()).then_some(pbjson_types::Struct { fields: metadata }),
        priority: priority(task.priority).into(),
        labels: task.labels.iter().map(ToString::to_string).collect(),
        agent_type: optional(&task.agent_type),
        prompt: task.prompt.to_string(),
        parent_task_id: task.parent.map_or(0, |id| id.0),
        kind: kind(task.kind).into(),
        deadline: task.deadline.map(time),
        timeout: task.timeout.map(span),
        crash_limit: number(task.crash_limit),
        blocker_failed_policy: blocker_failed_policy(task.blocker_failed_policy).into(),
        inputs: task.inputs.iter().map(artifact).collect(),
        output_globs: task.output_globs.iter().map(ToString::to_string).collect(),
        outputs: task.outputs.iter().map(artifact).collect(),
        result: task.result.to_string(),
        error: task.error.to_string(),
        stop_reason: stop_reason(end.and_then(|end| end.stop_reason)).into(),
        usage: Some(usage(&task.usage)),
        created_at: (!view.is_unreadable).then(|| time(task.created_at)),
        created_by: if view.is_unreadable {
            String::new()
        } else {
            actor(&task.created_by)
        },
        started_at: task.started_at.map(time),
        started_by: String::new(),
        finished_at: end.map(|end| time(end.at)),
        finished_by: known_end.map(|end| actor(&end.by)).unwrap_or_default(),
        revision: task.revision.0,
        phase: view.phase.map_or(v1::TaskPhase::Unspecified, phase).into(),
        phase_reason: view.phase_reason.to_string(),
        phase_since: view.phase_since.map(time),
        runner: String::new(),
        attempts: task.attempts.iter().map(attempt).collect(),
        attempt_count: number(task.last_attempt.0),
        client_task_id: task.client_task_id.to_string(),
        line: view.line(),
        share_todos: task.share_todos,
        retry: task.retry.as_deref().map(retry),
        failure_count: number(task.failures),
        failure_policy: failure_policy(task.failure_policy).into(),
        lease_until: task.claim().and_then(Claim::lease_until).map(time),
        depth: 0,
        worker_labels: task
            .terms()
            .worker_labels
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        window: number(task.terms().window),
        outlive_parent: task.terms().outlives_parent,
        joins_task_id: task.terms().joins.map_or(0, |id| id.0),
        hired_by_attempt: task
            .terms()
            .hired_by
            .map_or(0, |hirer| number(hirer.attempt.0)),
        hired_by_task_id: task.terms().hired_by.map_or(0, |hirer| hirer.task.0),
        question: task
            .placement()
            .and_then(|placed| placed.question.as_ref())
            .map(question),
        doing: view.doing.to_string(),
        unreadable: view.is_unreadable,
    };
    add_running(&mut told, &task.state);
    told
}

/// Something that a sub-agent is to be told.
pub fn word(of: &Fence, word: &Word) -> v1::Word {
    let (kind, question) = match word.kind {
        WordKind::Answer(question) => (v1::WordKind::Answer, question),
        WordKind::NoAnswer(question) => (v1::WordKind::NoAnswer, question),
        WordKind::Steer => (v1::WordKind::Steer, 0),
    };
    v1::Word {
        fence: Some(fence(of)),
        number: number(word.number),
        kind: kind.into(),
        question: number(question),
        text: word.text.to_string(),
        from: actor(&word.by),
    }
}

/// A question of a running sub-agent.
pub fn question(asked: &Asked) -> v1::TaskQuestion {
    v1::TaskQuestion {
        number: number(asked.number),
        text: asked.text.to_string(),
        asked_at: Some(time(asked.at)),
        deadline: Some(time(asked.deadline)),
        message_id: asked.message.0,
    }
}

fn retry(retry: &Retry) -> v1::RetryPolicy {
    v1::RetryPolicy {
        max_attempts: number(retry.max_attempts),
        initial_backoff: Some(span(retry.initial_backoff)),
        max_backoff: Some(span(retry.max_backoff)),
    }
}

fn failure_policy(policy: FailurePolicy) -> v1::FailurePolicy {
    match policy {
        FailurePolicy::Fail => v1::FailurePolicy::Fail,
        FailurePolicy::Pause => v1::FailurePolicy::Pause,
        FailurePolicy::Release => v1::FailurePolicy::Release,
    }
}

/// What is known of the attempt that runs, or of who ran the last one.
fn add_running(told: &mut v1::Task, state: &TaskState) {
    match state {
        TaskState::Placed(placement) => {
            told.runner = placement.worker.to_string();
            told.started_by = placement.worker.to_string();
            told.attempts.push(v1::Attempt {
                number: number(placement.attempt.0),
                runner: placement.worker.to_string(),
                instance_id: instance(placement.instance),
                dispatched_at: Some(time(placement.dispatched_at)),
                started_at: placement.started_at.map(time),
                ..v1::Attempt::default()
            });
        }
        TaskState::Claimed(claim) => {
            told.started_by = claim.by.to_string();
            told.attempts.push(v1::Attempt {
                number: number(claim.attempt.0),
                runner: claim.by.to_string(),
                dispatched_at: Some(time(claim.since)),
                started_at: Some(time(claim.since)),
                ..v1::Attempt::default()
            });
        }
        TaskState::Pending(_) | TaskState::Ended(_) => {
            let last = told.attempts.last();
            told.started_by = last
                .map(|attempt| attempt.runner.clone())
                .unwrap_or_default();
        }
    }
}

fn attempt(attempt: &EndedAttempt) -> v1::Attempt {
    let (runner, instance_id) = match &attempt.runner {
        Runner::Claimant(by) => (by.to_string(), String::new()),
        Runner::Worker(name, id) => (name.to_string(), instance(*id)),
    };
    v1::Attempt {
        number: number(attempt.number.0),
        runner,
        instance_id,
        dispatched_at: Some(time(attempt.dispatched_at)),
        started_at: attempt.started_at.map(time),
        ended_at: Some(time(attempt.ended_at)),
        ending: ending(attempt.ending).into(),
        message: attempt.message.to_string(),
        usage: Some(usage(&attempt.usage)),
    }
}

pub fn artifact(artifact: &Artifact) -> v1::Artifact {
    v1::Artifact {
        sha256: artifact.digest.to_string(),
        path: artifact.path.to_string(),
        size: size(artifact.size),
    }
}

pub fn usage(usage: &Usage) -> v1::Usage {
    v1::Usage {
        wall_time: Some(span(Duration::from_millis(usage.wall_ms))),
        cpu_time: Some(span(Duration::from_millis(usage.cpu_ms))),
        output_bytes: size(usage.output_bytes),
        input_tokens: size(usage.input_tokens),
        output_tokens: size(usage.output_tokens),
    }
}

pub fn status(status: Status) -> v1::TaskStatus {
    match status {
        Status::Pending => v1::TaskStatus::Pending,
        Status::InProgress => v1::TaskStatus::InProgress,
        Status::Completed => v1::TaskStatus::Completed,
        Status::Failed => v1::TaskStatus::Failed,
        Status::Cancelled => v1::TaskStatus::Cancelled,
    }
}

fn priority(priority: Priority) -> v1::TaskPriority {
    match priority {
        Priority::Low => v1::TaskPriority::Low,
        Priority::Normal => v1::TaskPriority::Normal,
        Priority::High => v1::TaskPriority::High,
        Priority::Critical => v1::TaskPriority::Critical,
    }
}

fn kind(kind: TaskKind) -> v1::TaskKind {
    match kind {
        TaskKind::Work => v1::TaskKind::Work,
        TaskKind::Verification => v1::TaskKind::Verification,
    }
}

fn blocker_failed_policy(policy: BlockerFailedPolicy) -> v1::BlockerFailedPolicy {
    match policy {
        BlockerFailedPolicy::Wait => v1::BlockerFailedPolicy::Wait,
        BlockerFailedPolicy::Cancel => v1::BlockerFailedPolicy::Cancel,
        BlockerFailedPolicy::Proceed => v1::BlockerFailedPolicy::Proceed,
    }
}

pub fn stop_reason(reason: Option<StopReason>) -> v1::StopReason {
    match reason {
        None => v1::StopReason::Unspecified,
        Some(StopReason::Deadline) => v1::StopReason::Deadline,
        Some(StopReason::Timeout) => v1::StopReason::Timeout,
        Some(StopReason::Cancelled) => v1::StopReason::Cancelled,
        Some(StopReason::BlockerFailed) => v1::StopReason::BlockerFailed,
        Some(StopReason::CrashLimit) => v1::StopReason::CrashLimit,
        Some(StopReason::ResourceLimit) => v1::StopReason::ResourceLimit,
    }
}

fn ending(ending: AttemptEnding) -> v1::AttemptEnding {
    match ending {
        AttemptEnding::Completed => v1::AttemptEnding::Completed,
        AttemptEnding::Failed => v1::AttemptEnding::Failed,
        AttemptEnding::Cancelled => v1::AttemptEnding::Cancelled,
        AttemptEnding::TimedOut => v1::AttemptEnding::TimedOut,
        AttemptEnding::Lost => v1::AttemptEnding::Lost,
        AttemptEnding::HandedBack => v1::AttemptEnding::HandedBack,
    }
}

fn phase(phase: Phase) -> v1::TaskPhase {
    match phase {
        Phase::Blocked => v1::TaskPhase::Blocked,
        Phase::Queued => v1::TaskPhase::Queued,
        Phase::Dispatched => v1::TaskPhase::Dispatched,
        Phase::Running => v1::TaskPhase::Running,
        Phase::Stopping => v1::TaskPhase::Stopping,
        Phase::BackingOff => v1::TaskPhase::BackingOff,
        Phase::Paused => v1::TaskPhase::Paused,
        Phase::WaitingForAnswer => v1::TaskPhase::WaitingForAnswer,
        Phase::Claimed => v1::TaskPhase::Claimed,
    }
}
