//! Teams, members, offered agent types, and the counters of board and store.

use board::{
    id::{Epoch, Incarnation, MemberName, Revision, TaskId, TeamName, TeamUid},
    record::{Meta, OfferedType},
    team::{Member, MemberKind, Team},
    time::Time,
};

use super::{CodecError, Kind, Names, Numbered, Wide, numbers, open, seal};

const COMMIT: Kind = Kind {
    name: "commit",
    version: 1,
};
const META: Kind = Kind {
    name: "board",
    version: 1,
};
const TEAM: Kind = Kind {
    name: "team",
    version: 1,
};
const MEMBER: Kind = Kind {
    name: "member",
    version: 1,
};
const OFFERED: Kind = Kind {
    name: "agent type",
    version: 1,
};

/// What the store notes of its last commit.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
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
}

pub(in crate::store) fn encode_commit(commit: Commit) -> Vec<u8> {
    seal(COMMIT, &commit)
}

pub(in crate::store) fn decode_commit(bytes: &[u8]) -> Result<Commit, CodecError> {
    open(COMMIT, bytes)
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
}

pub(in crate::store) fn encode_team(team: &Team) -> Vec<u8> {
    let message = TeamMessage {
        name: team.name.to_string(),
        description: team.description.to_string(),
        lead: team.lead.to_string(),
        created_at: team.created_at.0,
        revision: team.revision.0,
        last_task: team.last_task.0,
        closed_since_verification: team.closed_since_verification,
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
        closed_since_verification: message.closed_since_verification,
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
}

pub(in crate::store) fn encode_member(member: &Member) -> Vec<u8> {
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
    };
    seal(MEMBER, &message)
}

pub(in crate::store) fn decode_member(
    bytes: &[u8],
    names: &mut Names,
) -> Result<Member, CodecError> {
    let message: MemberMessage = open(MEMBER, bytes)?;
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
}

pub(in crate::store) fn encode_offered(offered: &OfferedType) -> Vec<u8> {
    let message = OfferedMessage {
        name: offered.name.to_string(),
        description: offered.description.to_string(),
        runtime: offered.runtime.to_string(),
        digest: offered.digest.to_string(),
        last_seen: offered.last_seen.map(|at| at.0),
    };
    seal(OFFERED, &message)
}

pub(in crate::store) fn decode_offered(
    bytes: &[u8],
    names: &mut Names,
) -> Result<OfferedType, CodecError> {
    let message: OfferedMessage = open(OFFERED, bytes)?;
    Ok(OfferedType {
        name: names.agent_type(message.name)?,
        description: message.description.into(),
        runtime: message.runtime.into(),
        digest: message.digest.into(),
        last_seen: message.last_seen.map(Time),
    })
}
