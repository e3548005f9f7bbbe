//! Teams and their members.

use board::team::{MemberKind, Plan};
use ganger_proto::v1;

use super::{actor, count, counts, ids, number, optional, time};
use crate::engine::{Liveness, MemberView, TeamView};

pub fn team(view: &TeamView) -> v1::Team {
    let team = &view.team;
    let dissolved = team.dissolved.as_ref();
    v1::Team {
        name: team.name.to_string(),
        uid: team.uid.0,
        description: team.description.to_string(),
        lead: team.lead.to_string(),
        lead_agent_id: format!("{}@{}", team.lead, team.name),
        created_at: Some(time(team.created_at)),
        revision: team.revision.0,
        tasks: Some(counts(&view.counts)),
        member_count: count(view.members),
        dissolved_at: dissolved.map(|dissolved| time(dissolved.at)),
        dissolved_by: dissolved
            .map(|dissolved| actor(&dissolved.by))
            .unwrap_or_default(),
        dissolving: dissolved.is_some_and(|dissolved| !dissolved.is_settled),
        closed_since_verification: number(team.closed_since_verification),
        verification_threshold: number(team.verification_threshold),
        verification_nudge_needed: team.verification_due().is_some(),
        idle_notices: team.idle_notices,
        oldest_revision: view.oldest.0,
        weight: number(team.weight),
        max_running: number(team.max_running),
        running: number(view.running),
    }
}

pub fn member(view: &MemberView) -> v1::Member {
    let (member, living) = (&view.member, &view.living);
    let shutdown = member.shutdown.as_ref();
    v1::Member {
        name: member.name.to_string(),
        incarnation: number(member.incarnation.0),
        kind: kind(member.kind).into(),
        role: member.role.to_string(),
        description: member.description.to_string(),
        instructions: member.instructions.to_string(),
        agent_type: optional(&member.agent_type),
        model: member.model.to_string(),
        joined_at: Some(time(member.joined_at)),
        liveness: liveness(living.liveness).into(),
        tasks: ids(&view.tasks),
        liveness_reason: living.reason.clone(),
        last_seen_at: living.seen_at.map(time),
        last_progress_at: living.progress_at.map(time),
        left_at: member.left_at.map(time),
        plan: plan(&member.plan).into(),
        shutdown_deadline: shutdown.map(|shutdown| time(shutdown.deadline)),
        unread: count(view.unread),
    }
}

fn kind(kind: MemberKind) -> v1::MemberKind {
    match kind {
        MemberKind::Lead => v1::MemberKind::Lead,
        MemberKind::Agent => v1::MemberKind::Agent,
        MemberKind::Hosted => v1::MemberKind::Hosted,
        MemberKind::Worker => v1::MemberKind::Worker,
    }
}

pub(super) fn liveness(liveness: Liveness) -> v1::MemberLiveness {
    match liveness {
        Liveness::Working => v1::MemberLiveness::Working,
        Liveness::WaitingForAnswer => v1::MemberLiveness::WaitingForAnswer,
        Liveness::WaitingForApproval => v1::MemberLiveness::WaitingForApproval,
        Liveness::Idle => v1::MemberLiveness::Idle,
        Liveness::Stalled => v1::MemberLiveness::Stalled,
        Liveness::Unreachable => v1::MemberLiveness::Unreachable,
        Liveness::Gone => v1::MemberLiveness::Gone,
    }
}

fn plan(plan: &Plan) -> v1::PlanState {
    match plan {
        Plan::NotRequired => v1::PlanState::Unspecified,
        Plan::Required => v1::PlanState::Required,
        Plan::Submitted { .. } => v1::PlanState::Submitted,
        Plan::Approved => v1::PlanState::Approved,
    }
}
