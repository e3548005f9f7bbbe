//! Teams and their members, from what the wire says.

use board::{
    command::{CreateTeam, NewMember, Removal, TeamChanges},
    id::{AgentTypeName, MemberName, TeamName, TeamUid},
    refusal::Refusal,
    team::MemberKind,
};
use ganger_proto::v1;

use super::{Parsed, known, member_of, name, optional_name, task::bound};
use crate::{
    engine::{DEFAULT_LEAD, TeamPlace},
    grpc::status,
};

pub fn create_team(request: &v1::CreateTeamRequest) -> Parsed<CreateTeam> {
    let lead = if request.lead.is_empty() {
        DEFAULT_LEAD
    } else {
        &request.lead
    };
    let members = request.members.iter();
    let team = name("team_name", &request.team_name, TeamName::parse)?;
    let members = members.map(|member| new_member(member, &team, &MEMBERS_OF_A_TEAM));
    Ok(CreateTeam {
        description: request.description.as_str().into(),
        lead: member_of("lead", lead, &team)?,
        lead_role: request.agent_type.as_str().into(),
        members: members.collect::<Parsed<_>>()?,
        verification_threshold: request
            .verification_threshold
            .map(|count| {
                let why = "is below zero";
                u32::try_from(count).map_err(|_| status::invalid("verification_threshold", why))
            })
            .transpose()?,
        idle_notices: request.idle_notices,
        weight: request
            .weight
            .map(|weight| bound("weight", weight))
            .transpose()?,
        max_running: bound("max_running", request.max_running)?,
        name: team,
    })
}

pub fn team_changes(request: v1::UpdateTeamRequest) -> Parsed<TeamChanges> {
    let number = |field, given: Option<i32>| given.map(|given| bound(field, given)).transpose();
    Ok(TeamChanges {
        weight: number("weight", request.weight)?,
        max_running: number("max_running", request.max_running)?,
        verification_threshold: number("verification_threshold", request.verification_threshold)?,
        idle_notices: request.idle_notices,
        description: request.description.map(Into::into),
    })
}

/// What the fields of a member to be are called where it is described.
struct MemberFields {
    name: &'static str,
    kind: &'static str,
    agent_type: &'static str,
}

const MEMBERS_OF_A_TEAM: MemberFields = MemberFields {
    name: "members.name",
    kind: "members.kind",
    agent_type: "members.agent_type",
};

const ONE_MEMBER: MemberFields = MemberFields {
    name: "member.name",
    kind: "member.kind",
    agent_type: "member.agent_type",
};

fn new_member(member: &v1::NewMember, team: &TeamName, fields: &MemberFields) -> Parsed<NewMember> {
    let agent_type = optional_name(fields.agent_type, &member.agent_type, AgentTypeName::parse)?;
    let kind = match known(fields.kind, member.kind)? {
        v1::MemberKind::Unspecified if agent_type.is_some() => MemberKind::Hosted,
        v1::MemberKind::Unspecified | v1::MemberKind::Agent => MemberKind::Agent,
        v1::MemberKind::Hosted => MemberKind::Hosted,
        // Both are refused by the board.
        v1::MemberKind::Lead => MemberKind::Lead,
        v1::MemberKind::Worker => MemberKind::Worker,
    };
    Ok(NewMember {
        name: member_of(fields.name, &member.name, team)?,
        kind,
        role: member.role.as_str().into(),
        description: member.description.as_str().into(),
        instructions: member.instructions.as_str().into(),
        agent_type,
        model: member.model.as_str().into(),
        plan_required: member.plan_required,
    })
}

pub fn add_member(request: &v1::AddMemberRequest, team: &TeamName) -> Parsed<NewMember> {
    match &request.member {
        Some(member) => new_member(member, team, &ONE_MEMBER),
        None => Err(status::refusal(&Refusal::Blank { field: "member" })),
    }
}

/// Whom the list of a team's members told last, as a page token.
pub fn member_place(token: &str) -> Parsed<Option<MemberName>> {
    optional_name("page_token", token, MemberName::parse)
}

/// Who is to leave this team.
pub fn removed(request: &v1::RemoveMemberRequest, team: &TeamName) -> Parsed<MemberName> {
    member_of("member", &request.member, team)
}

/// Who is to lead this team.
pub fn hand_over_lead(request: &v1::HandOverLeadRequest, team: &TeamName) -> Parsed<MemberName> {
    member_of("to", &request.to, team)
}

pub fn removal(force: bool, reason: &str) -> Removal {
    Removal {
        force,
        reason: reason.into(),
    }
}

/// A team's place in the list of all teams, as a page token: `name/uid`.
pub fn team_place(token: &str) -> Parsed<Option<TeamPlace>> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = || {
        let (name, uid) = token.split_once('/')?;
        Some((TeamName::parse(name).ok()?, TeamUid(uid.parse().ok()?)))
    };
    let why = "is none that a list has answered";
    match place() {
        Some(place) => Ok(Some(place)),
        None => Err(status::invalid("page_token", why)),
    }
}

pub fn team_place_text((name, uid): &TeamPlace) -> String {
    format!("{name}/{uid}")
}
