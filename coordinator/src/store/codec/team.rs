//! Teams, members, offered agent types, and the counters of board and store.

use board::{
    id::{Epoch, Incarnation, MemberName, MessageId, Revision, TaskId, TeamName, TeamUid},
    limits,
    record::{Meta, OfferedType},
    team::{Dissolved, Member, MemberKind, Plan, Question, Shutdown, Team},
    time::Time,
};

use crate::attempt_secret::AttemptKey;

use super::{ActorMessage, CodecError, Kind, Names, Numbered, Wide, numbers, open, seal};

const COMMIT: Kind = Kind {
    name: "commit",
    version: 2,
};
const ATTEMPT_KEY: Kind = Kind {
    name: "attempt key",
    version: 1,
};
const META: Kind = Kind {
    name: "board",
    version: 1,
};
const TEAM: Kind = Kind {
    name: "team",
    version: 3,
};
const MEMBER: Kind = Kind {
    name: "member",
    version: 2,
};
const OFFERED: Kind = Kind {
    name: "agent type",
    version: 2,
};

/// What the store notes of its last commit.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::store) struct Commit {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Its time.
    #[prost(int64, tag = "2")]
    pub at: i64,
    /// Bytes of all keys and values after it.
    #[prost(uint64, tag = "3")]
    pub live_bytes: u64,
    /// Of each range that a start reads, the number of records; version 1 has none.
    #[prost(uint64, repeated, tag = "4")]
    pub records: Vec<u64>,
    /// And the sum of the records.
    #[prost(fixed64, repeated, tag = "5")]
    pub sums: Vec<u64>,
    /// How many revisions lie between the oldest and the newest events of all teams.
    #[prost(uint64, tag = "6")]
    pub events: u64,
    /// The sum of where the events of each team begin and end.
    #[prost(fixed64, tag = "7")]
    pub events_sum: u64,
    /// How many ids were handed out in all: of teams, tasks and messages.
    #[prost(uint64, tag = "8")]
    pub ids: u64,
    /// How many revisions were handed out in all.
    #[prost(uint64, tag = "9")]
    pub revisions: u64,
    /// The part of `ids` that was handed out in teams that are gone.
    #[prost(uint64, tag = "10")]
    pub ids_gone: u64,
    /// The same part of `revisions`.
    #[prost(uint64, tag = "11")]
    pub revisions_gone: u64,
}

pub(in crate::store) fn encode_commit(commit: &Commit) -> Vec<u8> {
    seal(COMMIT, commit)
}

pub(in crate::store) fn decode_commit(bytes: &[u8]) -> Result<Commit, CodecError> {
    open(COMMIT, bytes)
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct AttemptKeyMessage {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

impl std::fmt::Debug for AttemptKeyMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AttemptKeyMessage([redacted])")
    }
}

pub(in crate::store) fn encode_attempt_key(key: &AttemptKey) -> Vec<u8> {
    let bytes = key.bytes().to_vec();
    seal(ATTEMPT_KEY, &AttemptKeyMessage { bytes })
}

pub(in crate::store) fn decode_attempt_key(bytes: &[u8]) -> Result<AttemptKey, CodecError> {
    let message: AttemptKeyMessage = open(ATTEMPT_KEY, bytes)?;
    let bytes = message.bytes.try_into();
    let bytes = bytes.map_err(|_| CodecError::Bad("key"))?;
    Ok(AttemptKey::from_bytes(bytes))
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetaMessage {
    #[prost(message, optional, tag = "1")]
    epoch: Option<Wide>,
    #[prost(uint64, tag = "2")]
    last_team: u64,
}

pub(in crate::store) fn encode_meta(meta: &Meta) -> Vec<u8> {
    let message = MetaMessage {
        epoch: Some(meta.epoch.0.into()),
        last_team: meta.last_team.0,
    };
    seal(META, &message)
}

pub(in crate::store) fn decode_meta(bytes: &[u8]) -> Result<Meta, CodecError> {
    let message: MetaMessage = open(META, bytes)?;
    Ok(Meta {
        epoch: Epoch(message.epoch.ok_or(CodecError::Bad("epoch"))?.into()),
        last_team: TeamUid(message.last_team),
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct TeamMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    lead: String,
    #[prost(int64, tag = "4")]
    created_at: i64,
    #[prost(uint64, tag = "5")]
    revision: u64,
    #[prost(uint64, tag = "6")]
    last_task: u64,
    #[prost(uint32, tag = "7")]
    closed_since_verification: u32,
    #[prost(uint64, tag = "8")]
    last_message: u64,
    /// Version 1 has none.
    #[prost(uint32, optional, tag = "9")]
    verification_threshold: Option<u32>,
    #[prost(bool, tag = "10")]
    idle_notices: bool,
    #[prost(message, optional, tag = "11")]
    dissolved: Option<DissolvedMessage>,
    /// None in what was written before teams had a weight: 1.
    #[prost(uint32, optional, tag = "12")]
    weight: Option<u32>,
    #[prost(uint32, tag = "13")]
    max_running: u32,
    #[prost(uint64, tag = "14")]
    expired_through: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DissolvedMessage {
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(message, optional, tag = "2")]
    by: Option<ActorMessage>,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(bool, tag = "4")]
    is_settled: bool,
}

pub(in crate::store) fn encode_team(team: &Team) -> Vec<u8> {
    let message = TeamMessage {
        name: team.name.to_string(),
        description: team.description.to_string(),
        lead: team.lead.to_string(),
        created_at: team.created_at.0,
        revision: team.revision.0,
        last_task: team.last_task.0,
        expired_through: team.expired_through.0,
        closed_since_verification: team.closed_since_verification,
        last_message: team.last_message.0,
        verification_threshold: Some(team.verification_threshold),
        idle_notices: team.idle_notices,
        dissolved: team.dissolved.as_ref().map(|dissolved| DissolvedMessage {
            at: dissolved.at.0,
            by: Some((&dissolved.by).into()),
            reason: dissolved.reason.to_string(),
            is_settled: dissolved.is_settled,
        }),
        weight: Some(team.weight),
        max_running: team.max_running,
    };
    seal(TEAM, &message)
}

pub(in crate::store) fn decode_team(uid: TeamUid, bytes: &[u8]) -> Result<Team, CodecError> {
    let message: TeamMessage = open(TEAM, bytes)?;
    Ok(Team {
        uid,
        name: TeamName::parse(&message.name)?,
        description: message.description.into(),
        lead: MemberName::parse(&message.lead)?,
        created_at: Time(message.created_at),
        revision: Revision(message.revision),
        last_task: TaskId(message.last_task),
        expired_through: TaskId(message.expired_through),
        closed_since_verification: message.closed_since_verification,
        last_message: MessageId(message.last_message),
        verification_threshold: message
            .verification_threshold
            .unwrap_or(limits::VERIFICATION_THRESHOLD),
        idle_notices: message.idle_notices,
        dissolved: message.dissolved.map(decode_dissolved).transpose()?,
        weight: message.weight.unwrap_or(1),
        max_running: message.max_running,
    })
}

fn decode_dissolved(message: DissolvedMessage) -> Result<Dissolved, CodecError> {
    Ok(Dissolved {
        at: Time(message.at),
        by: Names::default().actor(message.by)?,
        reason: message.reason.into(),
        is_settled: message.is_settled,
    })
}

numbers!(MemberKind, "kind of member", 1 => Lead, 2 => Agent, 3 => Hosted, 4 => Worker);

#[derive(Clone, PartialEq, prost::Message)]
struct MemberMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    incarnation: u32,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(string, tag = "4")]
    role: String,
    #[prost(string, tag = "5")]
    description: String,
    #[prost(string, tag = "6")]
    instructions: String,
    #[prost(string, optional, tag = "7")]
    agent_type: Option<String>,
    #[prost(string, tag = "8")]
    model: String,
    #[prost(int64, tag = "9")]
    joined_at: i64,
    #[prost(int64, optional, tag = "10")]
    left_at: Option<i64>,
    /// 0 none is wanted, 1 one is wanted, 2 the lead was asked, 3 approved.
    #[prost(uint32, tag = "11")]
    plan: u32,
    #[prost(uint64, tag = "12")]
    plan_request: u64,
    #[prost(int64, tag = "13")]
    plan_deadline: i64,
    #[prost(message, optional, tag = "14")]
    shutdown: Option<ShutdownMessage>,
    #[prost(message, repeated, tag = "15")]
    questions: Vec<QuestionMessage>,
    #[prost(string, tag = "16")]
    plan_correlation: String,
    #[prost(uint64, tag = "17")]
    handed: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ShutdownMessage {
    #[prost(uint64, tag = "1")]
    request: u64,
    #[prost(string, tag = "2")]
    by: String,
    #[prost(int64, tag = "3")]
    deadline: i64,
    #[prost(string, tag = "4")]
    correlation: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct QuestionMessage {
    #[prost(uint64, tag = "1")]
    message: u64,
    #[prost(int64, tag = "2")]
    at: i64,
    #[prost(string, tag = "3")]
    correlation: String,
    #[prost(string, repeated, tag = "4")]
    asked: Vec<String>,
}

pub(in crate::store) fn encode_member(member: &Member) -> Vec<u8> {
    let (plan, plan_request, plan_deadline, plan_correlation) = match &member.plan {
        Plan::NotRequired => (0, 0, 0, ""),
        Plan::Required => (1, 0, 0, ""),
        Plan::Submitted {
            request,
            correlation,
            deadline,
        } => (2, request.0, deadline.0, &**correlation),
        Plan::Approved => (3, 0, 0, ""),
    };
    let message = MemberMessage {
        name: member.name.to_string(),
        incarnation: member.incarnation.0,
        kind: member.kind.number(),
        role: member.role.to_string(),
        description: member.description.to_string(),
        instructions: member.instructions.to_string(),
        agent_type: member.agent_type.as_ref().map(ToString::to_string),
        model: member.model.to_string(),
        joined_at: member.joined_at.0,
        left_at: member.left_at.map(|at| at.0),
        plan,
        plan_request,
        plan_deadline,
        shutdown: member.shutdown.as_ref().map(|shutdown| ShutdownMessage {
            request: shutdown.request.0,
            by: shutdown.by.to_string(),
            deadline: shutdown.deadline.0,
            correlation: shutdown.correlation.to_string(),
        }),
        questions: member.questions.iter().map(question).collect(),
        plan_correlation: plan_correlation.to_owned(),
        handed: member.handed.0,
    };
    seal(MEMBER, &message)
}

fn question(question: &Question) -> QuestionMessage {
    QuestionMessage {
        message: question.message.0,
        at: question.at.0,
        correlation: question.correlation.to_string(),
        asked: question.asked.iter().map(ToString::to_string).collect(),
    }
}

pub(in crate::store) fn decode_member(
    bytes: &[u8],
    names: &mut Names,
) -> Result<Member, CodecError> {
    let message: MemberMessage = open(MEMBER, bytes)?;
    let plan = match message.plan {
        0 => Plan::NotRequired,
        1 => Plan::Required,
        2 => Plan::Submitted {
            request: MessageId(message.plan_request),
            correlation: message.plan_correlation.into(),
            deadline: Time(message.plan_deadline),
        },
        3 => Plan::Approved,
        _ => return Err(CodecError::Bad("plan")),
    };
    let questions = message.questions.into_iter();
    let questions = questions.map(|question| decode_question(question, names));
    let questions = questions.collect::<Result<_, CodecError>>()?;
    Ok(Member {
        name: names.member(message.name)?,
        incarnation: Incarnation(message.incarnation),
        kind: MemberKind::of(message.kind)?,
        role: message.role.into(),
        description: message.description.into(),
        instructions: message.instructions.into(),
        agent_type: message
            .agent_type
            .map(|name| names.agent_type(name))
            .transpose()?,
        model: message.model.into(),
        joined_at: Time(message.joined_at),
        left_at: message.left_at.map(Time),
        plan,
        shutdown: message
            .shutdown
            .map(|shutdown| decode_shutdown(shutdown, names))
            .transpose()?,
        questions,
        handed: MessageId(message.handed),
    })
}

fn decode_shutdown(message: ShutdownMessage, names: &mut Names) -> Result<Shutdown, CodecError> {
    Ok(Shutdown {
        request: MessageId(message.request),
        correlation: message.correlation.into(),
        by: names.member(message.by)?,
        deadline: Time(message.deadline),
    })
}

fn decode_question(message: QuestionMessage, names: &mut Names) -> Result<Question, CodecError> {
    let asked = message.asked.into_iter().map(|name| names.member(name));
    Ok(Question {
        message: MessageId(message.message),
        correlation: message.correlation.into(),
        asked: asked.collect::<Result<_, _>>()?,
        at: Time(message.at),
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct OfferedMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    runtime: String,
    #[prost(string, tag = "4")]
    digest: String,
    #[prost(int64, optional, tag = "5")]
    last_seen: Option<i64>,
    #[prost(bool, tag = "6")]
    is_interactive: bool,
    #[prost(uint32, tag = "7")]
    hiring_depth: u32,
    /// Version 1 has none: as where nothing is said.
    #[prost(uint32, optional, tag = "8")]
    tasks_max: Option<u32>,
    #[prost(bool, tag = "9")]
    may_create_teams: bool,
    /// Where it isn't said, a program's prompt was taken for one.
    #[prost(bool, optional, tag = "10")]
    prompt_is_script: Option<bool>,
}

pub(in crate::store) fn encode_offered(offered: &OfferedType) -> Vec<u8> {
    let message = OfferedMessage {
        name: offered.name.to_string(),
        description: offered.description.to_string(),
        runtime: offered.runtime.to_string(),
        digest: offered.digest.to_string(),
        last_seen: offered.last_seen.map(|at| at.0),
        is_interactive: offered.is_interactive,
        hiring_depth: offered.hiring_depth,
        tasks_max: Some(offered.tasks_max),
        may_create_teams: offered.may_create_teams,
        prompt_is_script: Some(offered.prompt_is_script),
    };
    seal(OFFERED, &message)
}

pub(in crate::store) fn decode_offered(
    bytes: &[u8],
    names: &mut Names,
) -> Result<OfferedType, CodecError> {
    let message: OfferedMessage = open(OFFERED, bytes)?;
    Ok(OfferedType {
        prompt_is_script: message
            .prompt_is_script
            .unwrap_or(message.runtime == "command"),
        name: names.agent_type(message.name)?,
        description: message.description.into(),
        runtime: message.runtime.into(),
        digest: message.digest.into(),
        last_seen: message.last_seen.map(Time),
        is_interactive: message.is_interactive,
        hiring_depth: message.hiring_depth,
        tasks_max: message.tasks_max.unwrap_or(limits::ATTEMPT_TASKS),
        may_create_teams: message.may_create_teams,
    })
}
