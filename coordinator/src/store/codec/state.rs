//! Where a task stands and what became of its attempts, as messages.

use std::time::Duration;

use board::{
    event::Actor,
    id::{AttemptNumber, InstanceId, MessageId},
    task::{
        AfterStop, AttemptEnding, Claim, End, EndStatus, EndedAttempt, Paused, Placement, Runner,
        Stop, StopReason, TaskState, Usage, Waiting,
    },
    time::Time,
};

use super::{
    ActorMessage, CodecError, Names, Numbered, Span, Wide, numbers,
    word::{AskedMessage, WordMessage, decode_word},
};

numbers!(
    StopReason, "stop reason",
    1 => Deadline, 2 => Timeout, 3 => Cancelled, 4 => BlockerFailed, 5 => CrashLimit,
    6 => ResourceLimit,
);
numbers!(
    AttemptEnding, "ending of an attempt",
    1 => Completed, 2 => Failed, 3 => Cancelled, 4 => TimedOut, 5 => Lost, 6 => HandedBack,
);

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum StateMessage {
    #[prost(message, tag = "12")]
    Pending(WaitingMessage),
    #[prost(message, tag = "13")]
    Claimed(ClaimMessage),
    #[prost(message, tag = "14")]
    Placed(Box<PlacementMessage>),
    #[prost(message, tag = "15")]
    Ended(EndMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WaitingMessage {
    #[prost(int64, tag = "1")]
    since: i64,
    #[prost(int64, optional, tag = "2")]
    not_before: Option<i64>,
    #[prost(uint32, tag = "3")]
    refusals: u32,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(message, optional, tag = "5")]
    paused: Option<PausedMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PausedMessage {
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(message, optional, tag = "2")]
    by: Option<ActorMessage>,
    #[prost(string, tag = "3")]
    reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClaimMessage {
    #[prost(uint32, tag = "1")]
    attempt: u32,
    /// Version 1 only: the member that holds.
    #[prost(string, tag = "2")]
    member: String,
    #[prost(int64, tag = "3")]
    since: i64,
    #[prost(message, optional, tag = "4")]
    by: Option<ActorMessage>,
    #[prost(message, optional, tag = "5")]
    lease: Option<Span>,
    #[prost(int64, optional, tag = "6")]
    renewed_at: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PlacementMessage {
    #[prost(uint32, tag = "1")]
    attempt: u32,
    #[prost(string, tag = "2")]
    worker: String,
    #[prost(message, optional, tag = "3")]
    instance: Option<Wide>,
    #[prost(int64, tag = "4")]
    dispatched_at: i64,
    #[prost(int64, optional, tag = "5")]
    started_at: Option<i64>,
    #[prost(message, optional, tag = "6")]
    run_limit: Option<Span>,
    #[prost(message, optional, tag = "7")]
    stop: Option<StopMessage>,
    #[prost(string, optional, tag = "8")]
    member: Option<String>,
    #[prost(uint64, tag = "9")]
    mail: u64,
    #[prost(message, optional, tag = "10")]
    question: Option<AskedMessage>,
    #[prost(uint32, tag = "11")]
    questions: u32,
    #[prost(message, repeated, tag = "12")]
    words: Vec<WordMessage>,
    #[prost(uint32, tag = "13")]
    last_word: u32,
    /// From version 3 on.
    #[prost(uint32, tag = "14")]
    tasks_made: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StopMessage {
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(message, optional, tag = "2")]
    by: Option<ActorMessage>,
    #[prost(string, tag = "3")]
    reason: String,
    /// 1 cancel, 2 requeue, 3 fail.
    #[prost(uint32, tag = "4")]
    then: u32,
    #[prost(uint32, tag = "5")]
    failure: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndMessage {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(int64, tag = "2")]
    at: i64,
    #[prost(message, optional, tag = "3")]
    by: Option<ActorMessage>,
    #[prost(uint32, optional, tag = "4")]
    stop_reason: Option<u32>,
    #[prost(bool, tag = "5")]
    cascade_due: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttemptMessage {
    #[prost(uint32, tag = "1")]
    number: u32,
    /// The worker that ran it; in version 1 the member, too.
    #[prost(string, tag = "2")]
    runner: String,
    /// The worker's process; a claimant has none.
    #[prost(message, optional, tag = "3")]
    instance: Option<Wide>,
    #[prost(int64, tag = "4")]
    dispatched_at: i64,
    #[prost(int64, optional, tag = "5")]
    started_at: Option<i64>,
    #[prost(int64, tag = "6")]
    ended_at: i64,
    #[prost(uint32, tag = "7")]
    ending: u32,
    #[prost(string, tag = "8")]
    message: String,
    #[prost(message, optional, tag = "9")]
    usage: Option<UsageMessage>,
    /// Who claimed the task.
    #[prost(message, optional, tag = "10")]
    claimant: Option<ActorMessage>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct UsageMessage {
    #[prost(uint64, tag = "1")]
    wall_ms: u64,
    #[prost(uint64, tag = "2")]
    cpu_ms: u64,
    #[prost(uint64, tag = "3")]
    output_bytes: u64,
    #[prost(uint64, tag = "4")]
    input_tokens: u64,
    #[prost(uint64, tag = "5")]
    output_tokens: u64,
}

impl From<&TaskState> for StateMessage {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Pending(waiting) => Self::Pending(WaitingMessage {
                since: waiting.since.0,
                not_before: waiting.not_before.map(|at| at.0),
                refusals: waiting.refusals,
                reason: waiting.reason.to_string(),
                paused: waiting.paused.as_deref().map(Into::into),
            }),
            TaskState::Claimed(claim) => Self::Claimed(ClaimMessage {
                attempt: claim.attempt.0,
                member: String::new(),
                since: claim.since.0,
                by: Some((&claim.by).into()),
                lease: claim.lease.map(Into::into),
                renewed_at: Some(claim.renewed_at.0),
            }),
            TaskState::Placed(placement) => Self::Placed(Box::new(PlacementMessage {
                attempt: placement.attempt.0,
                worker: placement.worker.to_string(),
                instance: Some(placement.instance.0.into()),
                dispatched_at: placement.dispatched_at.0,
                started_at: placement.started_at.map(|at| at.0),
                run_limit: placement.run_limit.map(Into::into),
                stop: placement.stop.as_ref().map(Into::into),
                member: placement.member.as_ref().map(ToString::to_string),
                mail: placement.mail.0,
                question: placement.question.as_ref().map(Into::into),
                questions: placement.questions,
                words: placement.words.iter().map(Into::into).collect(),
                last_word: placement.last_word,
                tasks_made: placement.tasks_made,
            })),
            TaskState::Ended(end) => Self::Ended(EndMessage {
                status: end.status.number(),
                at: end.at.0,
                by: Some((&end.by).into()),
                stop_reason: end.stop_reason.map(Numbered::number),
                cascade_due: end.cascade_due,
            }),
        }
    }
}

pub(super) fn decode_state(
    state: StateMessage,
    names: &mut Names,
) -> Result<TaskState, CodecError> {
    Ok(match state {
        StateMessage::Pending(waiting) => TaskState::Pending(Waiting {
            since: Time(waiting.since),
            not_before: waiting.not_before.map(Time),
            refusals: waiting.refusals,
            reason: waiting.reason.into(),
            paused: waiting
                .paused
                .map(|paused| decode_paused(paused, names))
                .transpose()?
                .map(Box::new),
        }),
        StateMessage::Claimed(claim) => TaskState::Claimed(Claim {
            attempt: AttemptNumber(claim.attempt),
            by: match claim.by {
                Some(by) => names.actor(Some(by))?,
                None => Actor::Member(names.member(claim.member)?),
            },
            since: Time(claim.since),
            lease: claim.lease.map(Duration::try_from).transpose()?,
            renewed_at: Time(claim.renewed_at.unwrap_or(claim.since)),
        }),
        StateMessage::Placed(placement) => TaskState::Placed(Box::new(Placement {
            attempt: AttemptNumber(placement.attempt),
            worker: names.worker(placement.worker)?,
            instance: InstanceId(
                placement
                    .instance
                    .ok_or(CodecError::Bad("instance"))?
                    .into(),
            ),
            member: placement.member.map(|m| names.member(m)).transpose()?,
            mail: MessageId(placement.mail),
            dispatched_at: Time(placement.dispatched_at),
            started_at: placement.started_at.map(Time),
            run_limit: placement.run_limit.map(Duration::try_from).transpose()?,
            stop: placement
                .stop
                .map(|stop| decode_stop(stop, names))
                .transpose()?,
            question: placement.question.map(Into::into),
            questions: placement.questions,
            words: placement
                .words
                .into_iter()
                .map(|word| decode_word(word, names))
                .collect::<Result<_, _>>()?,
            last_word: placement.last_word,
            tasks_made: placement.tasks_made,
        })),
        StateMessage::Ended(end) => TaskState::Ended(End {
            status: EndStatus::of(end.status)?,
            at: Time(end.at),
            by: names.actor(end.by)?,
            stop_reason: end.stop_reason.map(StopReason::of).transpose()?,
            cascade_due: end.cascade_due,
        }),
    })
}

impl From<&Paused> for PausedMessage {
    fn from(paused: &Paused) -> Self {
        Self {
            at: paused.at.0,
            by: Some((&paused.by).into()),
            reason: paused.reason.to_string(),
        }
    }
}

fn decode_paused(paused: PausedMessage, names: &mut Names) -> Result<Paused, CodecError> {
    Ok(Paused {
        at: Time(paused.at),
        by: names.actor(paused.by)?,
        reason: paused.reason.into(),
    })
}

impl From<&Stop> for StopMessage {
    fn from(stop: &Stop) -> Self {
        let (then, failure) = match stop.then {
            AfterStop::Cancel => (1, 0),
            AfterStop::Requeue => (2, 0),
            AfterStop::Fail(reason) => (3, reason.number()),
        };
        Self {
            at: stop.at.0,
            by: Some((&stop.by).into()),
            reason: stop.reason.to_string(),
            then,
            failure,
        }
    }
}

fn decode_stop(stop: StopMessage, names: &mut Names) -> Result<Stop, CodecError> {
    Ok(Stop {
        at: Time(stop.at),
        by: names.actor(stop.by)?,
        reason: stop.reason.into(),
        then: match stop.then {
            1 => AfterStop::Cancel,
            2 => AfterStop::Requeue,
            3 => AfterStop::Fail(StopReason::of(stop.failure)?),
            _ => return Err(CodecError::Bad("consequence of a stop")),
        },
    })
}

impl From<&EndedAttempt> for AttemptMessage {
    fn from(attempt: &EndedAttempt) -> Self {
        let (claimant, runner, instance) = match &attempt.runner {
            Runner::Claimant(by) => (Some(by.into()), String::new(), None),
            Runner::Worker(name, instance) => (None, name.to_string(), Some(instance.0.into())),
        };
        Self {
            number: attempt.number.0,
            runner,
            instance,
            dispatched_at: attempt.dispatched_at.0,
            started_at: attempt.started_at.map(|at| at.0),
            ended_at: attempt.ended_at.0,
            ending: attempt.ending.number(),
            message: attempt.message.to_string(),
            usage: usage_message(attempt.usage),
            claimant,
        }
    }
}

pub(super) fn decode_attempt(
    attempt: AttemptMessage,
    names: &mut Names,
) -> Result<EndedAttempt, CodecError> {
    let runner = match (attempt.claimant, attempt.instance) {
        (Some(by), _) => Runner::Claimant(names.actor(Some(by))?),
        (None, None) => Runner::Claimant(Actor::Member(names.member(attempt.runner)?)),
        (None, Some(instance)) => {
            Runner::Worker(names.worker(attempt.runner)?, InstanceId(instance.into()))
        }
    };
    Ok(EndedAttempt {
        number: AttemptNumber(attempt.number),
        runner,
        dispatched_at: Time(attempt.dispatched_at),
        started_at: attempt.started_at.map(Time),
        ended_at: Time(attempt.ended_at),
        ending: AttemptEnding::of(attempt.ending)?,
        message: attempt.message.into(),
        usage: usage(attempt.usage),
    })
}

pub(super) fn usage_message(usage: Usage) -> Option<UsageMessage> {
    (usage != Usage::default()).then_some(UsageMessage {
        wall_ms: usage.wall_ms,
        cpu_ms: usage.cpu_ms,
        output_bytes: usage.output_bytes,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
    })
}

pub(super) fn usage(message: Option<UsageMessage>) -> Usage {
    message.map_or_else(Usage::default, |usage| Usage {
        wall_ms: usage.wall_ms,
        cpu_ms: usage.cpu_ms,
        output_bytes: usage.output_bytes,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
    })
}
